"""Every variable that the code reads is known, and a mistyped one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rarl.errors import SettingError
from rarl.settings import check_settings, known_settings

ROOT = Path(__file__).resolve().parents[1]


def test_all_variables_of_the_code_are_known() -> None:
    files = [ROOT / "app.py", *(ROOT / "scripts").iterdir()]
    for folder in ("rarl", "demo"):
        files += (ROOT / folder).rglob("*.py")
    read = {
        name
        for path in files
        if path.is_file()
        for name in re.findall(r"\bRARL_[A-Z]+(?:_[A-Z]+)*\b", path.read_text("utf-8", "replace"))
    }
    assert read - {"RARL_LIMIT"} <= set(known_settings())
    check_settings(dict.fromkeys(known_settings(), ""))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("RARL_HOEM", "RARL_HOME"),
        ("RARL_DATABSE_URL", "RARL_DATABASE_URL"),
        ("RARLDATA", "RARL_DATA"),
        ("RARL_SIGNIN", "RARL_SIGN_IN"),
        ("RARL_LIMIT_FRAME", "RARL_LIMIT_FRAMES"),
        ("RARL_LIMT_FRAMES", "RARL_LIMIT_FRAMES"),
        ("RARL_MODELS", "RARL_MODEL"),
        ("rarl_model", "RARL_MODEL"),
        ("RARL_LIMIT_EVERYTHING", "RARL_LIMIT_FILE_BYTES"),
    ],
)
def test_a_mistyped_variable_is_refused(name: str, meant: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_settings({name: "x", "PATH": "/bin"})
    assert name in str(caught.value) and meant in str(caught.value)


def test_a_variable_of_the_site_is_left_alone() -> None:
    check_settings({"RARL_BACKUP_FOLDER": "/x", "OTHER_MODEL": "y", "RARL_TEAM": "z"})


@pytest.mark.parametrize("name", ["RARL_PIXELS", "RARL_FLAGS_PIXELS", "RARL_WEIGHTS"])
def test_a_mistyped_value_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be"):
        check_settings({name: "kep"})
