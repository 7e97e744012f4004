"""Where a variant fails: parts with intervals, corrected for many looks, and the answers behind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm

from rarl.data.example import Example, Fact
from rarl.evaluation.failures import FIELDS, clusters, crossings, reasoned_right, strata_of
from rarl.evaluation.metrics import measured_frame
from rarl.evaluation.row_scores import score
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
                claims=1, claims_covered=1, facts_contradicted=0 if wrong else 1,
                picture_side=200 if ct else 600,
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


BRAIN = Example(
    id="brain/1", image=None, question="Which type of tumor is shown, if any?", answer="glioma",
    explanation="This is an MRI of the brain. It shows a glioma.", kind="open", modality="mri",
    organ="brain",
    facts=(
        Fact("modality", "mri", True, "This is an MRI."),
        Fact("organ", "brain", True, "It shows the brain."),
        Fact("finding", "glioma", True, "It shows a glioma."),
    ),
    source="one", licence="CC0-1.0", split="test",
)  # fmt: skip
KIND = replace(
    BRAIN, question="What imaging modality is this?", answer="mri",
    explanation="It shows the brain. This is an MRI.",
)  # fmt: skip
# No explanation: the question with its answer is the reference.
CHEST = replace(
    BRAIN, question="Is there a pleural effusion?", answer="no", explanation=None, kind="closed",
    modality="x-ray", organ="chest",
    facts=(
        Fact("modality", "x-ray", True, "This is an X-ray."),
        Fact("organ", "chest", True, "It shows the chest."),
        Fact("finding", "pleural effusion", False, "There is no pleural effusion."),
        Fact("finding", "cardiomegaly", True, "There is cardiomegaly."),
    ),
)  # fmt: skip
REPORTED = replace(
    BRAIN, facts=(), question="What is the diagnosis?", answer="pneumonia",
    explanation="There is an opacity in the left lower lobe. The finding suggests pneumonia.",
)  # fmt: skip


@pytest.mark.parametrize(
    ("example", "reasoning", "right", "wrong"),
    [
        (BRAIN, "This is an MRI.", False, False),
        (BRAIN, "This is an MRI of the brain. A slice is shown.", False, False),
        (BRAIN, "It shows a glioma.", True, False),
        (BRAIN, "This is an MRI of the brain. It shows a glioma.", True, False),
        (BRAIN, "This is a CT of the brain. It shows a glioma.", False, True),
        (BRAIN, "This is an MRI of the brain. It shows a meningioma.", False, True),
        (BRAIN, "It may be a glioma.", False, False),
        (KIND, "This is an MRI.", False, False),
        (KIND, "This is an MRI of the brain.", True, False),
        (CHEST, "This is an X-ray of the chest.", False, False),
        (CHEST, "This is an X-ray of the chest. There is cardiomegaly.", False, False),
        (CHEST, "There is no pleural effusion.", True, False),
        (CHEST, "There is a pleural effusion.", False, True),
        (REPORTED, "There is an opacity.", False, False),
        (
            REPORTED,
            "There is an opacity in the left lower lobe. The finding suggests pneumonia.",
            True,
            False,
        ),
    ],
    ids=[
        "modality-alone", "kind-alone", "finding", "all", "other-modality", "other-finding",
        "supposed", "one-of-two-kinds", "both-kinds", "kind-for-a-finding", "another-finding",
        "reference-stated", "reference-denied", "part-of-a-text", "whole-text",
    ],
)  # fmt: skip
def test_reasoning_is_right_where_it_says_what_the_reference_says(
    example: Example, reasoning: str, right: bool, wrong: bool
) -> None:
    # The other answer, so that reasoning and answer part where the reasoning is right.
    answer = "yes" if example is CHEST else "cyst"
    scores = score(f"<think>{reasoning}</think><answer>{answer}</answer>", "reason", example)
    row = replace(ROW, **scores)
    frame = to_frame([row])
    assert not row.exact and list(reasoned_right(frame)) == [right]
    assert bool(row.facts_contradicted) == wrong
    (of,) = {one.unlucky for one in crossings(measured_frame([row]))}
    assert of == float(right)


def test_a_table_of_an_older_version_says_nothing_of_reasoning() -> None:
    older = to_frame(many(4)).drop(columns=["claims", "claims_covered"])
    assert not reasoned_right(older).any() and crossings(older) == []


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
