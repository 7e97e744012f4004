"""An honest right answer earns the most; no trick out-scores it."""

import json
import math
import random

import pytest

from rarl.response import MODES
from rarl.rewards import accuracy_reward, format_reward, reasoning_reward
from rarl.rewards.accuracy import score_answer
from rarl.rewards.reasoning import reasoning_score
from rarl.text.normalise import exact_match, normalise, token_f1
from rarl.training.recipe import load_recipe

FACTS = [
    {"kind": "modality", "value": "x-ray", "present": True, "statement": "This is an X-ray."},
    {"kind": "organ", "value": "chest", "present": True, "statement": "It shows the chest."},
    {
        "kind": "finding",
        "value": "pneumothorax",
        "present": False,
        "statement": "There is no pneumothorax.",
    },
    {
        "kind": "side",
        "value": "left",
        "present": True,
        "statement": "Which side is the pleural effusion on? Left.",
    },
    {
        "kind": "finding",
        "value": "pleural effusion",
        "present": True,
        "statement": "There is a pleural effusion.",
    },
]
EXPLANATION = (
    "This is an X-ray of the chest. There is a pleural effusion."
    " Which side is the pleural effusion on? Left."
)
QUESTION = "Which side is the pleural effusion on?"
HONEST = (
    "<think>This is a chest radiograph. There is a pleural effusion. The effusion is on the left"
    " side.</think><answer>left</answer>"
)
WORDS = "shadow lung field margin opacity density heart border apex hilum bronchus vessel".split()
CHATTER = " ".join(random.Random(0).choices(WORDS, k=2000))

TRICKS = {
    "keywords": "<think>x-ray ct mri ultrasound chest abdomen brain left right effusion pleural"
    " pneumothorax no yes</think><answer>left</answer>",
    "hedging": "<think>This is a chest X-ray. There is a pleural effusion. It may be on the left or"
    " the right side.</think><answer>left, right or both</answer>",
    "empty think": "<think></think><answer>left</answer>",
    "blank think": "<think> . </think><answer>left</answer>",
    "answer inside think": "<think>left <answer>left</answer></think>",
    "no answer": "<think>This is a chest X-ray with a left pleural effusion.</think>",
    "bare answer": "left",
    "echo": f"<think>{QUESTION}</think><answer>left</answer>",
    "echo of the prompt": f"<think>{QUESTION} Reason in think, then answer in answer.</think>"
    "<answer>left</answer>",
    "unclosed think": "<think>This is a chest X-ray. The effusion is on the left.",
    "unclosed answer": "<think>A chest X-ray with a left pleural effusion.</think><answer>left",
    "two answers": f"{HONEST}<answer>right</answer>",
    "the other side": "<think>This is a chest X-ray. There is a pleural effusion. The effusion is"
    " on the right side.</think><answer>left</answer>",
    "both wrong": "<think>The effusion is on the right side.</think><answer>right</answer>",
    "denied finding": "<think>This is a chest X-ray. There is a pneumothorax. There is a pleural"
    " effusion. The effusion is on the left side.</think><answer>left</answer>",
    "other modality": "<think>This is a CT scan of the brain. There is a pleural effusion. The"
    " effusion is on the left side.</think><answer>left</answer>",
    "repetition": "<think>This is a chest X-ray. There is a pleural effusion. There is a pleural"
    " effusion. The effusion is on the left side.</think><answer>left</answer>",
    "two thousand words": f"<think>{CHATTER}</think><answer>left</answer>",
    "two thousand words more": HONEST.replace("</think>", f" {CHATTER}.</think>"),
    "nested tags": f"<think><think>{QUESTION}</think> The effusion is on the left side.</think>"
    "<answer>left</answer>",
    "another language": "<think>Dies ist ein Röntgenbild des Brustkorbs. Der Erguss liegt links."
    "</think><answer>links</answer>",
    "both sides": "<think>This is a chest X-ray. There is a pleural effusion. The effusion is on"
    " the left side. The effusion is on the right side.</think><answer>left</answer>",
    "supposing": "<think>If this were a chest X-ray with a pleural effusion on the left side, it"
    " would be left.</think><answer>left</answer>",
    "maybe all of it": "<think>This may or may not be a chest X-ray. There might be a pleural"
    " effusion. The effusion could be on the left side.</think><answer>left</answer>",
    "praise of itself": "<think>The reasoning is sound and agrees with the reference explanation."
    "</think><answer>left</answer>",
    "taking it back": "<think>This is a chest X-ray. There is a pleural effusion. The effusion is"
    " on the left side. There is no pleural effusion.</think><answer>left</answer>",
    "hidden answer": HONEST.replace("<answer>left", "<answer>left <!-- right -->"),
    "nothing": "",
}


def scored(text: str, mode: str = "reason") -> dict[str, float]:
    columns = {
        "question": [QUESTION],
        "explanation": [EXPLANATION],
        "facts": [json.dumps(FACTS)],
        "answer": ["left"],
        "kind": ["open"],
        "mode": [mode],
    }
    turns = [[{"role": "assistant", "content": text}]]
    rewards = {
        "accuracy": accuracy_reward([""], turns, **columns)[0],
        "format": format_reward([""], turns, **columns)[0],
        "reasoning": reasoning_reward([""], turns, **columns)[0],
    }
    return {name: value for name, value in rewards.items() if value is not None}


def test_an_honest_right_answer_earns_everything() -> None:
    assert scored(HONEST) == {"accuracy": 1.0, "format": 1.0, "reasoning": 1.0}


@pytest.mark.parametrize("name", [name for name in TRICKS if name != "two thousand words more"])
def test_no_trick_reaches_the_honest_answer(name: str) -> None:
    got = scored(TRICKS[name])
    weights = load_recipe("rarl").rewards
    honest = sum(weights[kind] for kind in ("accuracy", "format", "reasoning"))
    assert sum(weights[kind] * value for kind, value in got.items()) < honest - 0.1, got
    assert all(0 <= value <= 1 for value in got.values())


def test_length_earns_nothing() -> None:
    assert scored(TRICKS["two thousand words more"])["reasoning"] <= 1.0
    assert scored(TRICKS["two thousand words"])["reasoning"] == 0.0
    known = (FACTS, EXPLANATION)
    short = reasoning_score(
        "Chest X-ray with a pleural effusion on the left side.",
        "left",
        QUESTION,
        json.dumps(known[0]),
        known[1],
    )
    assert short == 1.0


@pytest.mark.parametrize(
    "name",
    [
        *("empty think", "blank think", "echo", "unclosed think", "repetition"),
        *("answer inside think", "supposing", "maybe all of it", "praise of itself"),
    ],
)
def test_reasoning_that_is_none_earns_none(name: str) -> None:
    assert scored(TRICKS[name])["reasoning"] == 0.0


def test_contradictions_cost_and_silence_on_unknown_things_does_not() -> None:
    right = scored(HONEST)["reasoning"]
    unknown = scored(HONEST.replace("</think>", " The ribs are intact.</think>"))["reasoning"]
    assert unknown == right
    for name in ("the other side", "denied finding", "other modality"):
        assert scored(TRICKS[name])["reasoning"] < right - 0.1, name


def test_reasoning_that_denies_its_own_answer_is_halved() -> None:
    thought = (
        "This is a chest X-ray. There is a pleural effusion. The effusion is on the left side."
    )
    facts = json.dumps(FACTS)
    agreed = reasoning_score(thought, "left", QUESTION, facts, EXPLANATION)
    assert reasoning_score(thought, "right", QUESTION, facts, EXPLANATION) == agreed / 2
    asked = "Is there a pleural effusion?"
    assert reasoning_score(thought, "yes", asked, facts, EXPLANATION) == agreed
    assert reasoning_score(thought, "no", asked, facts, EXPLANATION) == agreed / 2


def test_another_tumor_is_a_contradiction() -> None:
    facts = json.dumps(
        [{"kind": "finding", "value": "glioma", "present": True, "statement": "It shows a glioma."}]
    )
    ask, known = "What is the diagnosis?", "It shows a glioma."
    assert reasoning_score("It shows a glioma.", "glioma", ask, facts, known) == 1.0
    assert reasoning_score("It shows a meningioma.", "meningioma", ask, facts, known) == 0.0
    assert reasoning_score("It shows no tumor.", "no tumor", ask, facts, known) == 0.0
    both = reasoning_score("A glioma or a meningioma.", "glioma", ask, facts, known)
    assert 0 < both < 0.7


def test_counts_are_compared() -> None:
    fact = {
        "kind": "count",
        "value": "3",
        "present": True,
        "statement": "There are 3 white blood cells.",
    }
    ask, facts = "How many white blood cells are shown?", json.dumps([fact])
    score = [
        reasoning_score(
            f"There are {count} white blood cells.", str(count), ask, facts, fact["statement"]
        )
        for count in ("3", "three", "4")
    ]
    assert score == [1.0, 1.0, 0.0]


def test_without_facts_the_explanation_is_compared() -> None:
    known = "Enlarged cardiac silhouette suggests cardiomegaly."
    good = reasoning_score("The cardiac silhouette is enlarged.", "yes", "Heart?", "[]", known)
    assert 0.5 < good < 1.0
    assert reasoning_score("Clear fluid levels.", "yes", "Heart?", "[]", known) == 0.0


@pytest.mark.parametrize(
    ("answer", "reference", "kind", "low", "high"),
    [
        ("Yes.", "yes", "closed", 1, 1),
        ("yes or no", "yes", "closed", 0, 0),
        ("No", "yes", "closed", 0, 0),
        ("X-Ray", "radiograph", "open", 1, 1),
        ("chest radiograph", "x-ray", "open", 0.6, 0.7),
        ("right lung", "left lung", "open", 0, 0),
        ("no effusion", "effusion", "open", 0, 0),
        ("glioma, meningioma, pituitary tumor", "glioma", "open", 0.01, 1 / 3),
        ("glioma/meningioma", "glioma", "open", 0.01, 1 / 2),
        ("liver and spleen", "liver and spleen", "open", 1, 1),
        ("three", "3", "open", 1, 1),
        ("", "yes", "open", 0, 0),
    ],
)
def test_answers(answer: str, reference: str, kind: str, low: float, high: float) -> None:
    assert low <= score_answer(answer, reference, kind) <= high


@pytest.mark.parametrize("mode", MODES)
def test_form_follows_the_mode(mode: str) -> None:
    texts = {
        "reason": HONEST,
        "answer": "<answer>left</answer>",
        "answer-then-reason": "<answer>left</answer><think>The effusion is left.</think>",
    }
    got = {name: format_reward([""], [text], mode=[mode])[0] for name, text in texts.items()}
    assert got == {name: float(name == mode) for name in texts}


def test_no_reasoning_is_asked_in_answer_mode() -> None:
    assert scored("<answer>left</answer>", "answer") == {"accuracy": 1.0, "format": 1.0}


def test_plain_text_and_chat_turns_earn_alike() -> None:
    columns = {"answer": ["left"], "kind": ["open"]}
    chat = [[{"role": "assistant", "content": HONEST}]]
    assert accuracy_reward([""], [HONEST], **columns) == accuracy_reward([""], chat, **columns)


def test_any_text_is_scored() -> None:
    rng = random.Random(1)
    parts = ["<think>", "</think>", "<answer>", "</answer>", "left", "?", ".", "no", "é", "\n", " "]
    for _ in range(500):
        got = scored("".join(rng.choices(parts, k=rng.randrange(30))))
        assert all(math.isfinite(value) and 0 <= value <= 1 for value in got.values())


def test_sides_never_merge_and_synonyms_do() -> None:
    assert normalise("Left") != normalise("right")
    assert exact_match("Computed tomography", "CT scan") and not exact_match("", "")
    assert token_f1("no", "yes") == 0.0


def test_statements_are_counted_for_the_log() -> None:
    logged: dict[str, float] = {}
    text = HONEST.replace("</think>", " The ribs are intact. There is a pneumothorax.</think>")
    columns = {"question": [QUESTION], "explanation": [EXPLANATION], "facts": [json.dumps(FACTS)]}
    reasoning_reward([""], [text], mode=["reason"], log_metric=logged.__setitem__, **columns)
    assert logged["reasoning/contradicted"] == 1 and logged["reasoning/neutral"] == 1
    assert logged["reasoning/covered"] >= 3 and logged["reasoning/disagrees"] == 0


def test_without_its_contradiction_term_the_reward_forgives_what_annotations_deny() -> None:
    text = HONEST.replace("</think>", " There is a pneumothorax.</think>")
    columns = {"question": [QUESTION], "explanation": [EXPLANATION], "facts": [json.dumps(FACTS)]}
    honest, wrong, forgiven = (
        reasoning_reward([""], [completion], mode=["reason"], contradictions=term, **columns)[0]
        for completion, term in ((HONEST, True), (text, True), (text, False))
    )
    assert wrong < forgiven == honest
