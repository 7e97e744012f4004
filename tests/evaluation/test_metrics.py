import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rarl.evaluation.metrics import (
    ALL_GROUP,
    BASICS_GROUP,
    differences,
    figures,
    groups,
    measured_frame,
    strata,
)
from rarl.evaluation.rows import Row, to_frame
from rarl.evaluation.tables import as_text, figure_table, percent

ROW = Row(
    id="vqa_rad/1", source="vqa_rad", split="test", category="PRES", kind="closed", reworded=False,
    modality="ct", organ="chest", image="a", condition="scan", shown="a", arm="sft", mode="reason",
    draw=0, question="?", text="", reference="no", reasoning="", answer="no", problems=(),
    exact=True, f1=1.0, bleu1=1.0, credit=1.0, hedged=False, facts=None, facts_covered=None,
    facts_contradicted=None, agrees=None, tokens=3, seconds=0.1, temperature=0.0,
    max_new_tokens=9, model="m", model_revision="b" * 12, revision="s" * 12, prompt="p" * 12,
    seed=0,
)  # fmt: skip


def rows() -> list[Row]:
    """Four VQA-RAD questions, a label and a modality, for sft and rarl."""
    wrong = {"exact": False, "f1": 0.0, "answer": "yes"}
    asked = [
        replace(ROW, image="b", id="vqa_rad/2", **wrong),  # type: ignore[arg-type]
        ROW,
        replace(ROW, image="b", id="vqa_rad/3", kind="open", f1=0.5, exact=False, answer="left"),
        replace(ROW, image="c", id="vqa_rad/4"),
        replace(ROW, image="d", id="busi/1", source="busi", category="label", answer="benign"),
        replace(ROW, image="d", id="busi/2", source="busi", category="modality", kind="open"),
        replace(ROW, image="a", id="basics/1", source="basics", category="organ", kind="open"),
        replace(ROW, image="e", id="busi/3", source="busi", split="train", category="organ"),
    ]
    rarl = [replace(row, arm="rarl", revision="r" * 12) for row in asked]
    rarl[0] = replace(rarl[0], exact=True, f1=1.0, answer="no", problems=("no-think",))
    return asked + rarl


def test_groups_tell_kinds_and_tasks_apart() -> None:
    frame = to_frame(rows())
    found = {name: int(mask.sum()) for name, mask in groups(frame).items()}
    assert found == {
        "vqa_rad test closed": 6,
        "vqa_rad test open": 2,
        "vqa_rad test overall": 8,
        "busi test label": 2,
        BASICS_GROUP: 4,  # the organ of a training row is not held out
        ALL_GROUP: 16,
    }


def test_figures_by_hand() -> None:
    found = {(one.group, one.arm, one.metric): one for one in figures(measured_frame(rows()))}
    closed = found["vqa_rad test closed", "sft", "exact"]
    assert closed.value == pytest.approx(2 / 3)
    assert (closed.n, closed.images, closed.seed) == (3, 3, 0)
    assert (closed.revision, closed.model_revision) == ("s" * 12, "b" * 12)
    assert found["vqa_rad test open", "sft", "f1"].value == 0.5
    assert found["vqa_rad test open", "sft", "f1"].low is None
    assert found["vqa_rad test overall", "sft", "exact"].value == 0.5
    assert found[BASICS_GROUP, "sft", "exact"].n == 2
    assert found[ALL_GROUP, "sft", "well_formed"].value == 1
    assert found[ALL_GROUP, "rarl", "well_formed"].value == pytest.approx(7 / 8)
    assert (ALL_GROUP, "sft", "exact") not in found


def test_differences_pair_the_same_rows() -> None:
    blank = [
        replace(row, condition="blank", exact=False)
        for row in rows()
        if row.source == "vqa_rad" and row.kind == "closed"
    ]
    found = {
        (one.group, one.first, one.second): one
        for one in differences(measured_frame(rows() + blank))
    }
    arms = found["vqa_rad test closed", "rarl scan", "sft scan"]
    assert arms.value == pytest.approx(1 / 3)
    assert (arms.n, arms.only_first, arms.only_second, arms.p) == (3, 1, 0, 1.0)
    assert arms.revisions == ("r" * 12, "s" * 12)
    assert arms.changed == pytest.approx(1 / 3)
    assert found[ALL_GROUP, "rarl scan", "sft scan"].changed == pytest.approx(1 / 8)
    image = found["vqa_rad test closed", "sft scan", "sft blank"]
    assert (image.n, image.value) == (3, pytest.approx(2 / 3))
    # Open questions were not asked about blank pictures, so "overall" has no blank rate.
    assert ("vqa_rad test overall", "sft scan", "sft blank") not in found
    blanks = {
        one.group for one in figures(measured_frame(rows() + blank)) if one.condition == "blank"
    }
    assert blanks == {"vqa_rad test closed"}


def test_strata_tell_modality_and_question_type_apart() -> None:
    asked = [
        ROW,
        replace(ROW, id="vqa_rad/2", modality="mri", category="SIZE", exact=False),
        replace(ROW, id="vqa_rad/3", modality="mri", exact=False),
        replace(ROW, id="vqa_rad/4", modality=None, image="b"),
        replace(ROW, id="vqa_rad/5", kind="open", modality="mri"),
    ]
    found = {one.group: (one.value, one.n) for one in strata(measured_frame(asked))}
    assert found == {
        "vqa_rad test closed, modality ct": (1.0, 1),
        "vqa_rad test closed, modality mri": (0.0, 2),
        "vqa_rad test closed, category PRES": (pytest.approx(2 / 3), 3),
        "vqa_rad test closed, category SIZE": (0.0, 1),
    }


def test_reasoning_is_counted_over_the_rows_that_have_facts() -> None:
    asked = [
        replace(ROW, facts=4, facts_covered=2, facts_contradicted=1, agrees=True),
        replace(ROW, id="vqa_rad/2", facts=2, facts_covered=2, facts_contradicted=5, agrees=False),
        replace(ROW, id="vqa_rad/3", facts=0, facts_covered=0, facts_contradicted=0, agrees=True),
        replace(ROW, id="vqa_rad/4"),
    ]
    found = {
        one.metric: one
        for one in figures(measured_frame(asked))
        if one.group == "vqa_rad test closed"
    }
    assert (found["covered"].value, found["covered"].n) == (0.75, 2)
    # Statements that contradict may outnumber the facts; the share ends at one.
    assert (found["contradicted"].value, found["contradicted"].n) == (0.625, 2)
    assert (found["agrees"].value, found["agrees"].n) == (pytest.approx(2 / 3), 3)
    assert "bleu1" not in found and found["exact"].n == 4


def test_holm_is_over_the_arms_of_a_table() -> None:
    right = [replace(ROW, id=f"vqa_rad/{i}", image=str(i)) for i in range(12)]
    wrong = [replace(row, arm="rarl", exact=False, answer="yes") for row in right]
    same = [replace(row, arm="rl") for row in right]
    blank = [replace(row, condition="blank") for row in (*right, *wrong, *same)]
    found = differences(measured_frame([*right, *wrong, *same, *blank]))  # type: ignore[list-item]
    closed = [one for one in found if one.group == "vqa_rad test closed"]
    arms = {(one.first, one.second): one for one in closed if one.second.endswith("scan")}
    assert arms["rarl scan", "sft scan"].p == pytest.approx(2 / 2**12)
    # Closed and overall, three pairs each: the smallest p counts six times.
    assert arms["rarl scan", "sft scan"].p_holm == pytest.approx(6 * 2 / 2**12)
    assert arms["rl scan", "sft scan"].p_holm == 1
    every = next(one for one in found if one.group == ALL_GROUP)
    assert every.p_holm == every.p


def test_an_unseen_set_keeps_its_own_tasks() -> None:
    asked = [
        replace(ROW, id=f"covid/{task}", source="covid", split="unseen", category=task)
        for task in ("label", "modality", "organ")
    ]
    assert set(groups(to_frame(asked))) == {
        "covid unseen label",
        "covid unseen modality",
        "covid unseen organ",
        ALL_GROUP,
    }


def test_a_split_is_called_what_it_is() -> None:
    unseen = [replace(ROW, split="unseen"), replace(ROW, split="unseen", id="vqa_rad/2")]
    named = {
        one.group for one in figures(measured_frame(unseen), {("vqa_rad", "unseen"): "images seen"})
    }
    assert named == {"vqa_rad images seen closed", "vqa_rad images seen overall", ALL_GROUP}


def test_tables() -> None:
    assert percent(0.5, 0.25, 0.75) == "50.0 [25.0, 75.0]"
    from dataclasses import asdict

    summary = {
        "figures": [asdict(one) for one in figures(measured_frame(rows()))],
        "differences": [asdict(one) for one in differences(measured_frame(rows()))],
    }
    table = figure_table(summary, "reason", "exact")
    assert list(table.columns) == ["questions", "n", "images", "sft", "rarl"]
    assert table["questions"].tolist()[0] == "vqa_rad test closed"
    assert figure_table(summary, "answer", "exact").empty
    text = as_text(summary)
    assert "vqa_rad test open" in text and "rarl scan - sft scan" in text


@pytest.fixture(scope="module")
def floors() -> dict[str, Any]:
    return runpy.run_path(str(Path(__file__).parents[2] / "scripts/floors"))


def measured(floors: dict[str, Any], value: float) -> dict[str, Any]:
    arms = floors["ARMS"]
    common = {"mode": "reason", "n": 100, "low": value - 0.01, "high": value + 0.01, "value": value}
    return {
        "figures": [
            common | {"group": group, "metric": metric, "arm": arm, "condition": "scan"}
            for group, metric, _ in floors["SHARES"]
            for arm in arms
        ],
        "differences": [
            common | {"group": group, "first": f"{arm} scan", "second": f"{arm} blank"}
            for group in floors["NEED_THE_IMAGE"]
            for arm in arms
        ]
        + [
            common | {"group": ALL_GROUP, "first": f"{second} scan", "second": f"{first} scan",
                      "changed": value}
            for first, second in (("sft", "rl"), ("sft", "rarl"), ("rl", "rarl"))
        ],
    }  # fmt: skip


def test_floors_pass_fail_and_miss(floors: dict[str, Any]) -> None:
    norms = dict.fromkeys(floors["TRAINED"], 0.5)
    check = floors["check"]
    good = check(measured(floors, 0.99), norms)
    assert len(good) == 12 * 4 + 3 * 4 + 3 + 3
    assert all(floor.passed for floor in good)
    assert not any(floor.passed for floor in check(measured(floors, 0.0), {}))
    nothing = check({"figures": [], "differences": []}, norms)
    assert {floor.shown for floor in nothing if not floor.passed} == {"not measured"}
    low = {(floor.name, floor.arm): floor for floor in check(measured(floors, 0.71), norms)}
    assert low["vqa_rad test closed, exact", "rl"].passed
    assert not low["busi_breast_us test label, exact", "rl"].passed
    assert low["busi_breast_us test label, exact", "rl"].shown == "71.0 [70.0, 72.0]"
    base_alone = check(measured(floors, 0.99), {}, ["base"])
    assert {floor.arm for floor in base_alone} == {"base"} and len(base_alone) == 12 + 3
