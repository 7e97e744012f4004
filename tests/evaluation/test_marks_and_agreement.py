"""Counts of what the app would mark, and what it is worth that variants agree."""

from __future__ import annotations

from dataclasses import replace

import pytest

from demo.pages.results.run import Results
from demo.services.agreed import NOT_MEASURED, Agreement
from rarl.checks import kind_of_question
from rarl.data.example import Example
from rarl.evaluation.metrics import checked
from rarl.evaluation.row_scores import score
from rarl.evaluation.rows import Row, to_frame
from rarl.evaluation.tables import check_table
from rarl.evaluation.worth import worth_of_agreement
from rarl.inference.engine import Answer, Arm
from rarl.response import CHECK_SENTENCES, parse_response

REVISIONS = {"sft": "s" * 12, "rarl": "r" * 12}
ROW = Row(
    id="vqa_rad/1", source="vqa_rad", split="test", category="PRES", kind="closed", reworded=False,
    modality="ct", organ="chest", image="a", condition="scan", shown="a", arm="sft", mode="reason",
    draw=0, question="?", text="", reference="no", reasoning="", answer="no", problems=(),
    exact=True, f1=1.0, bleu1=1.0, credit=1.0, hedged=False, facts=None, facts_covered=None,
    facts_contradicted=None, agrees=None, tokens=3, seconds=0.1, temperature=0.0,
    max_new_tokens=9, model="m", model_revision="b" * 12, revision="s" * 12, prompt="p" * 12,
    seed=0,
)  # fmt: skip


def asked(number: int, sft: str, rarl: str, right: bool, **fields: object) -> list[Row]:
    row = replace(ROW, id=f"vqa_rad/{number}", image=f"picture {number}", exact=right, **fields)  # type: ignore[arg-type]
    return [
        replace(row, answer=sft),
        replace(row, answer=rarl, arm="rarl", revision="r" * 12, exact=right and sft == rarl),
    ]


def test_what_contradicts_the_annotation_is_counted() -> None:
    example = Example(
        id="set/1", image=None, question="Where is the mass?", answer="left lung", explanation=None,
        kind="open", modality="ct", organ="chest", facts=(), source="set", licence="", split="test",
    )  # fmt: skip
    text = "<think>This is an ultrasound image.</think><answer>no</answer>"
    assert score(text, "reason", example)["checks"] == (
        "contradicts-modality",
        "wrong-kind-of-answer",
    )
    assert score(text, "reason", example, "blank")["checks"] == ()
    rows = [
        replace(ROW, checks=("contradicts-modality", "wrong-kind-of-answer")),
        replace(ROW, id="2", checks=("contradicts-modality",)),
        replace(ROW, id="3"),
        replace(ROW, id="3", draw=1, checks=("contradicts-side",)),
        replace(ROW, id="3", arm="rarl"),
    ]
    found = {(one.arm, one.check): (one.count, one.n) for one in checked(rows)}
    assert found == {
        ("sft", "any"): (2, 3),
        ("sft", "contradicts-modality"): (2, 3),
        ("sft", "wrong-kind-of-answer"): (1, 3),
        ("rarl", "any"): (0, 1),
    }
    table = check_table({"checks": [vars_of(one) for one in checked(rows)]}, "reason")
    assert list(table.columns) == ["mark", "sft", "rarl"]
    assert table.iloc[0].tolist() == ["At least one mark", "2 of 3", "0 of 1"]
    assert CHECK_SENTENCES["contradicts-modality"] in table["mark"].tolist()
    assert check_table({}, "reason").empty


def vars_of(one: object) -> dict[str, object]:
    return {name: getattr(one, name) for name in ("arm", "mode", "check", "count", "n")}


def test_agreement_is_worth_what_was_measured() -> None:
    rows = [row for n in range(30) for row in asked(n, "no", "No.", n < 12)]
    rows += [row for n in range(30, 60) for row in asked(n, "no", "yes", True)]  # they differ
    rows += [row for n in range(60, 90) for row in asked(n, "no", "no", True, reworded=True)]
    rows += [row for n in range(90, 120) for row in asked(n, "ct", "ct", True, category="modality")]
    rows += [row for n in range(120, 150) for row in asked(n, "no", "no", True, split="train")]
    frame = to_frame(rows)
    worth = worth_of_agreement(frame, REVISIONS, "closed", "reason")
    assert worth is not None and (worth.value, worth.n) == (pytest.approx(0.4), 30)
    assert worth.low is not None and worth.high is not None and worth.low < 0.4 < worth.high
    for revisions, kind in (
        (REVISIONS, "open"),
        ({"sft": "s" * 12}, "closed"),
        ({**REVISIONS, "rarl": "other"}, "closed"),
        ({**REVISIONS, "rl": "l" * 12}, "closed"),
    ):
        assert worth_of_agreement(frame, revisions, kind, "reason") is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is there a mass?", "closed"),
        ("Does it look benign or malignant?", "closed"),
        ("Are the lungs clear", "closed"),
        ("Where is the mass?", "open"),
        ("In which plane was this taken?", "open"),
        ("How many lesions are there?", "open"),
        ("Describe the abnormality.", "open"),
    ],
)
def test_the_kind_of_a_question(question: str, kind: str) -> None:
    assert kind_of_question(question) == kind


def test_the_page_says_what_agreement_is_worth() -> None:
    arms = [Arm(name, name.upper(), revision) for name, revision in REVISIONS.items()]
    shipped = [
        Arm(one["name"], one["label"], one["revision"])
        for one in Results().summary()["arms"]
        if one["name"] != "base"
    ]
    agreement = Agreement(Results())

    def answers(*texts: str) -> list[Answer]:
        return [
            Answer(arm.name, parse_response(f"<answer>{text}</answer>"), 3, 0.1, done=True)
            for arm, text in zip(arms, texts, strict=False)
        ]

    assert agreement.sentence(answers("yes", "no"), arms, "Mass?", "reason") == ""
    assert agreement.sentence(answers("yes"), arms[:1], "Mass?", "reason") == ""
    assert agreement.sentence(answers("no", "No"), arms, "Mass?", "reason") == NOT_MEASURED
    sentence = agreement.sentence(answers("no", "no"), shipped, "Is there a mass?", "reason")
    assert sentence.startswith("Where they agreed on held-out yes/no or choice questions")
    assert "n " in sentence and "95 % interval" in sentence
