"""Where a variant fails: parts with intervals, corrected for many looks, and the answers behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from rarl.evaluation.failures import FIELDS, clusters, crossings, strata_of
from rarl.evaluation.metrics import measured_frame
from rarl.evaluation.rows import Row, to_frame
from rarl.evaluation.tables import crossing_table, failure_table
from rarl.stats.strata import clustered_excess
from tests.evaluation.test_metrics import ROW


def many(count: int = 60) -> list[Row]:
    """CT is wrong nine times in ten, MRI one time in ten; reasoning is long where it is wrong."""
    rows = []
    for number in range(count):
        ct = number % 2 == 0
        wrong = (number // 2) % 10 != 0 if ct else (number // 2) % 10 == 0
        rows.append(
            replace(
                ROW, id=f"one/{number}", image=f"{number}.png", modality="ct" if ct else "mri",
                exact=not wrong, kind="closed", category=None, arm="sft", condition="scan",
                reasoning="word " * (30 if wrong else 5), facts=2, facts_covered=1,
                facts_contradicted=0 if wrong else 1, picture_side=200 if ct else 600,
                picture_contrast=40.0, reworded=False,
            )
        )  # fmt: skip
    return rows


def test_the_worst_part_comes_first_and_is_corrected_for_all_looks() -> None:
    found = clusters(measured_frame(many()))
    closed = [one for one in found if one.group.endswith("closed")]
    first = next(one for one in closed if one.field == "modality")
    assert (first.stratum, first.n, first.images) == ("ct", 30, 30)
    assert first.wrong == pytest.approx(0.9) and first.rest == pytest.approx(0.1)
    assert first.excess_low is not None and 0 < first.excess_low < 0.8 < (first.excess_high or 0)
    assert first.p < first.p_holm < 0.001
    assert [one.excess for one in closed] == sorted((one.excess for one in closed), reverse=True)
    assert {one.field for one in closed} <= FIELDS.keys()
    # Parts of ten rows at the least, and no part that is the whole group.
    assert all(10 <= one.n <= 50 for one in found)
    assert not [one for one in found if one.field == "contrast"]


def test_parts_follow_from_picture_and_reasoning() -> None:
    frame = measured_frame(many(4))
    assert list(strata_of(frame, "size")) == ["under 256 pixels", "512 to 1023 pixels"] * 2
    assert set(strata_of(frame, "contrast")) == {"30 to 59 grey levels"}
    assert set(strata_of(frame, "length")) <= {"1 to 20 words", "21 to 60 words"}
    # The table on disk has the words themselves; an older one lacks the picture's measures.
    kept = to_frame(many(4)).drop(columns=["picture_side"])
    assert list(strata_of(kept, "length")) == list(strata_of(frame, "length"))
    assert strata_of(kept, "size").isna().all()
    silent = to_frame([replace(many(1)[0], reasoning="")])
    assert list(strata_of(silent, "length")) == ["no reasoning"]


def test_reasoning_and_answer_part() -> None:
    (of,) = [one for one in crossings(measured_frame(many())) if one.group.endswith("closed")]
    # Every wrong answer has right reasoning here, and every right one wrong reasoning.
    assert (of.n, of.unlucky, of.lucky) == (60, pytest.approx(0.5), pytest.approx(0.5))
    assert of.unlucky_low is not None and of.unlucky_low < 0.5


def test_the_excess_is_that_of_a_regression_with_clusters() -> None:
    rng = np.random.default_rng(0)
    values, inside = rng.random(80), rng.random(80) < 0.4
    images = [f"{number}" for number in rng.integers(0, 25, 80)]
    found = clustered_excess(values.tolist(), inside.tolist(), images)
    fit = sm.OLS(values, sm.add_constant(inside.astype(float))).fit(
        cov_type="cluster",
        cov_kwds={"groups": np.asarray(images, int), "use_correction": False},
        use_t=True,
    )
    count = len(set(images))
    error = fit.bse[1] * np.sqrt(count / (count - 1))
    assert found.value == pytest.approx(fit.params[1])
    assert found.low is not None and found.high is not None
    from scipy.stats import t

    assert found.high - found.value == pytest.approx(t.ppf(0.975, count - 1) * error)
    assert found.p == pytest.approx(2 * t.sf(abs(fit.params[1]) / error, count - 1))
    assert clustered_excess([1, 0], [True, False], ["a", "a"]).p == 1.0
    with pytest.raises(ValueError, match="empty"):
        clustered_excess([1, 0], [True, True], ["a", "b"])


def test_tables_name_parts_and_ways() -> None:
    frame = measured_frame(many())
    summary = {
        "failures": [vars_of(one) for one in clusters(frame)],
        "crossings": [vars_of(one) for one in crossings(frame)],
    }
    mode = ROW.mode
    assert "Modality: ct" in set(failure_table(summary, mode)["part"])
    assert "reasoning right, answer wrong" in crossing_table(summary, mode)


def vars_of(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in one.__slots__}  # type: ignore[attr-defined]
