"""`review power` says how large a study must be, and how often its intervals hold the truth."""

from __future__ import annotations

import json

import pytest

from rarl.cli import main


def test_power_by_size(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["review", "power", "--readers", "4,12", "--cases", "40", "--studies", "12"]
    assert main([*words, "--difference", "0.25", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["readers"], one["cases"]) for one in found["sizes"]] == [(4, 40), (12, 40)]
    assert found["smallest"] in found["sizes"]
    assert main([*words, "--difference", "0.25", "--wished", "0.9999"]) == 0
    assert "4 readers,  40 cases: power" in capsys.readouterr().out
    assert main([*words, "--difference", "0.9"]) == 2
    assert "lies between" in capsys.readouterr().err


def test_the_intervals_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["review", "power", "--check", "--readers", "8", "--cases", "24", "--studies", "8"]
    assert main([*words, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 14
    assert main(words) == 0
    output = capsys.readouterr().out
    assert "8 simulated studies of 8 readers and 24 cases" in output and "Automation bias" in output


@pytest.mark.parametrize(
    "wrong",
    [["--difference", "2"], ["--readers", "1"], ["--cases", "few"]],
    ids=["no share", "one reader", "no number"],
)
def test_sizes_that_are_none(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["review", "power", *wrong])
    assert "number" in capsys.readouterr().err
