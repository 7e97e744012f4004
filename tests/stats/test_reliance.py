"""Figures of reliance on known answers, and intervals that cover over readers and cases."""

from __future__ import annotations

import numpy as np
import pytest

from rarl.stats.reliance import Timing, figures, rows_of, values
from rarl.stats.simulated_readers import (
    Readers,
    coverage,
    power,
    simulate,
    truth,
    with_difference,
)
from rarl.stats.two_way import two_way_mean

Answer = tuple[
    str, str, Timing, float | None, float | None, float | None, float | None, float | None,
    float | None, str,
]  # fmt: skip


def two_steps(reader: str, case: str, advice: float, first: float, last: float) -> Answer:
    """A closed question: whoever differs from wrong advice is right."""
    return (
        reader, case, "after", advice, first, last, float(first == advice), float(last == advice),
        30.0, "trainee" if reader == "a" else "specialist",
    )  # fmt: skip


def test_each_figure_on_answers_that_are_known() -> None:
    answers = [
        two_steps("a", "1", 1, 0, 1),  # takes right advice
        two_steps("a", "2", 1, 0, 0),  # does not
        two_steps("a", "3", 0, 1, 0),  # is misled
        two_steps("b", "1", 0, 1, 1),  # resists
        two_steps("b", "2", 0, 1, 1),
        two_steps("b", "3", 1, 1, 1),
        ("a", "4", "none", None, None, 1.0, None, None, 40.0, "trainee"),
        ("b", "4", "none", None, None, 1.0, None, None, 40.0, "specialist"),
        ("a", "5", "first", 0.0, None, 0.0, None, 1.0, 10.0, "trainee"),
        ("b", "5", "first", 0.0, None, 1.0, None, 0.0, 10.0, "specialist"),
    ]
    rows = rows_of(answers)
    found = {name: each.value for name, each in figures(rows).items() if each is not None}
    assert found == pytest.approx(
        {
            "accuracy_without": 1, "accuracy_ai_first": 1 / 2, "accuracy_before": 4 / 6,
            "accuracy_after": 4 / 6, "gain": 0, "switched_to_right": 1 / 6,
            "switched_to_wrong": 1 / 6, "rair": 1 / 2, "rsr": 2 / 3, "automation_bias": 1 / 3,
            "lost_to_wrong_advice": 1 / 2, "anchoring": 1 / 2 - 1 / 3, "time_saved_ai_first": 0.75,
            "time_saved_after": 0.25,
        }
    )  # fmt: skip
    assert found == pytest.approx(dict(values(rows)))
    trainees = figures(rows.of_group("trainee"))
    assert trainees["rsr"] is not None and trainees["rsr"].value == 0
    assert trainees["rsr"].low is None and trainees["rsr"].readers == 1
    assert set(figures(rows_of([])).values()) == {None}


def test_an_interval_widens_where_answers_share_their_reader() -> None:
    rng = np.random.default_rng(0)
    readers, cases = (each.ravel() for each in np.indices((8, 50)))
    alone = (rng.random(400) < 0.5).astype(float)
    alike = np.repeat([1.0, 1, 1, 1, 0, 0, 0, 0], 50)
    alike[::7] = 1 - alike[::7]

    def width(answers: np.ndarray) -> float:
        found = two_way_mean([(1, answers)], readers, cases, "share")
        assert found is not None and found.low is not None and found.high is not None
        return found.high - found.low

    assert width(alike) > 3 * width(alone)
    # Where all are alike, the exact interval of as many trials as there are cases.
    sure = two_way_mean([(1, np.ones(400))], readers, cases, "share")
    assert sure is not None and sure.high == 1 and sure.low == pytest.approx(0.025 ** (1 / 50))
    same = two_way_mean([(1, np.zeros(400))], readers, cases, "difference")
    assert same is not None and (same.low, same.high) == (0, 0)


def test_intervals_cover_the_truth_of_simulated_readers() -> None:
    # The short form; 500 studies are run by `review power --check`.
    held = coverage(Readers(), readers=10, cases=40, studies=60, seed=1)
    assert len(held) == 14
    assert 0.92 <= np.mean(list(held.values())) <= 0.98
    assert min(held.values()) >= 0.85


def test_power_grows_with_the_study_and_the_wished_difference_is_met() -> None:
    known = with_difference(Readers(), "automation_bias", 0.2)
    assert truth(known, 3)["automation_bias"] == pytest.approx(0.2, abs=0.01)
    small, large = power(known, "automation_bias", [4, 16], [40], studies=25)
    assert (small.readers, large.readers) == (4, 16)
    assert large.power > 0.8 and large.power >= small.power and large.width < small.width
    with pytest.raises(ValueError, match="lies between"):
        with_difference(Readers(), "gain", 0.9)
    with pytest.raises(ValueError, match="choose from"):
        with_difference(Readers(), "rsr", 0.5)


def test_a_simulated_study_has_its_share_of_wrong_advice() -> None:
    rows = simulate(Readers(wrong_share=0.25), 4, 32, np.random.default_rng(0))
    assert len(rows.readers) == 128
    for timing in (1, 2):
        chosen = rows.timing == timing
        assert np.mean(rows.advice_right[chosen] == 0) == pytest.approx(0.25, abs=0.08)
