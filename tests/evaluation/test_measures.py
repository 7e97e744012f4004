from dataclasses import replace
from math import exp

import pytest

from rarl.data.example import Example, Fact
from rarl.evaluation.image_ablations import reference_under
from rarl.evaluation.row_scores import bleu_1, hedges, score

EXAMPLE = Example(
    id="x/1", image=None, question="Is there a pleural effusion?", answer="no", explanation=None,
    kind="closed", modality="x-ray", organ="chest",
    facts=(
        Fact("modality", "x-ray", True, "This is an X-ray."),
        Fact("organ", "chest", True, "It shows the chest."),
        Fact("finding", "pleural effusion", False, "There is no pleural effusion."),
    ),
    source="x", licence="CC0-1.0", split="test",
)  # fmt: skip


def test_reasoning_is_held_against_the_annotated_facts() -> None:
    good = score(
        "<think>This is an X-ray of the chest. There is no pleural effusion.</think>"
        "<answer>no</answer>",
        "reason",
        EXAMPLE,
    )
    assert (good["facts"], good["facts_covered"], good["facts_contradicted"]) == (3, 3, 0)
    assert good["agrees"] is True and good["exact"] and good["problems"] == ()
    wrong = score(
        "<think>This is an MRI. There is a pleural effusion.</think><answer>no</answer>",
        "reason",
        EXAMPLE,
    )
    assert (wrong["facts_covered"], wrong["facts_contradicted"]) == (0, 2)
    assert wrong["agrees"] is False and wrong["exact"]


def test_where_no_reasoning_is_asked_for_none_is_judged() -> None:
    answered = score("<answer>no</answer>", "answer", EXAMPLE)
    assert (answered["facts"], answered["agrees"]) == (None, None)
    cut = score("<think></think><answer>no</answer>", "reason", EXAMPLE)
    assert (cut["facts"], cut["agrees"], cut["problems"]) == (None, None, ("empty-think",))
    mirrored = score("<think>Clear.</think><answer>no</answer>", "reason", EXAMPLE, "mirrored")
    assert mirrored["facts"] is None and mirrored["exact"]


def test_without_a_short_answer_the_explanation_is_the_reference() -> None:
    stone = replace(
        EXAMPLE,
        question="Which kidney is affected?",
        answer="",
        kind="open",
        explanation="There is a stone in the right kidney. The left kidney is normal.",
        facts=(),
    )
    right = score("<think>.</think><answer>right kidney</answer>", "reason", stone)
    wrong = score("<think>.</think><answer>left kidney</answer>", "reason", stone)
    assert right["exact"] and not wrong["exact"]
    assert right["credit"] > 0.5 > wrong["credit"]
    assert reference_under(stone, "mirrored") is None


def test_a_mirrored_reference_is_what_counts() -> None:
    side = replace(EXAMPLE, question="Which lung?", answer="left lung", kind="open")
    found = score("<think>.</think><answer>right lung</answer>", "reason", side, "mirrored")
    assert (found["reference"], found["exact"], found["credit"]) == ("right lung", True, 1.0)
    assert not score("<answer>right lung</answer>", "answer", side)["exact"]


@pytest.mark.parametrize(
    ("answer", "reference", "value"),
    [
        ("left pleural effusion", "left pleural effusion", 1.0),
        ("the the the cat", "the cat", 1.0),  # articles are no words of the normal form
        ("cat cat cat", "cat dog", 1 / 3),  # clipped: Papineni et al., section 2.1
        ("effusion", "left pleural effusion", exp(1 - 3)),
        ("", "yes", 0.0),
        ("yes", "", 0.0),
    ],
)
def test_bleu_1(answer: str, reference: str, value: float) -> None:
    assert bleu_1(answer, reference) == pytest.approx(value)


@pytest.mark.parametrize(
    ("answer", "hedged"),
    [
        ("no", False),
        ("pneumonia or edema", True),
        ("possibly pneumonia", True),
        ("It cannot be determined", True),
        ("yes, no", True),
        ("left and right lung", False),
        ("color doppler", False),
    ],
)
def test_hedging(answer: str, hedged: bool) -> None:
    assert hedges(answer, "pneumonia") is hedged
