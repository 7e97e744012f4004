"""Without a short answer, the answer block is scored against the claims of the explanation."""

import pytest

from rarl.rewards import accuracy_reward
from rarl.rewards.accuracy import is_right

# Explanation, question, right answers, wrong answers.
CASES = [
    (
        "CT shows a stone of 9 mm in the right kidney. The left kidney is normal.",
        "Which kidney is affected?",
        ("right kidney", "The right kidney.", "right"),
        ("left kidney", "left", "both kidneys", "kidney", "Which kidney is affected?", "liver"),
    ),
    (
        "There is no pleural effusion and the heart is normal in size.",
        "Is there a pleural effusion?",
        ("no", "No.", "no pleural effusion"),
        ("yes", "pleural effusion", "yes or no", "left"),
    ),
    (
        "The aorta is dilated to 5.2 cm with mural thrombus.",
        "Is the aorta dilated?",
        ("yes",),
        ("no", "normal", "dilated aorta no", "thrombus with to mural the cm 5.2 dilated is aorta"),
    ),
    (
        "Contrast-enhanced MRI shows three ring-enhancing lesions, most likely metastases.",
        "How many lesions are there?",
        ("3", "three", "three lesions"),
        ("4", "two", "lesions", "many", "no lesions"),
    ),
    (
        "The spleen is enlarged and contains several hypodense wedge-shaped areas, signs of"
        " infarction.",
        "What is the diagnosis?",
        ("infarction", "infarction of the spleen", "splenic infarction"),
        ("abscess", "no infarction", "normal spleen", "could be infarction"),
    ),
    (
        "Fundus photography shows a macular hole in the left eye; the optic disc is unremarkable.",
        "What does the photograph show?",
        ("a macular hole", "macular hole in the left eye"),
        ("macular hole in the right eye", "retinal detachment", "no macular hole", "no hole"),
    ),
]


def credit(answer: str, question: str, explanation: str) -> float:
    completion = f"<think>It is seen.</think><answer>{answer}</answer>"
    columns = {"question": [question], "explanation": [explanation], "kind": ["open"]}
    return accuracy_reward([""], [completion], answer=[""], **columns)[0]


@pytest.mark.parametrize(("explanation", "question", "right", "wrong"), CASES)
def test_a_right_answer_earns_far_more_than_a_wrong_one(
    explanation: str, question: str, right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    good = {answer: credit(answer, question, explanation) for answer in right}
    bad = {answer: credit(answer, question, explanation) for answer in wrong}
    assert min(good.values()) >= 0.5, good
    assert max(bad.values()) == 0.0, bad


def test_listing_answers_divides_the_credit() -> None:
    explanation, question, _, _ = CASES[4]
    alone = credit("infarction", question, explanation)
    assert credit("infarction, abscess or tumour", question, explanation) <= alone / 3


@pytest.mark.parametrize(
    ("answer", "right"),
    [("right kidney", True), ("left kidney", False), ("right or left kidney", False), ("", False)],
)
def test_an_answer_counts_as_right_where_the_explanation_states_it(
    answer: str, right: bool
) -> None:
    explanation, question = CASES[0][:2]
    assert is_right(answer, "", question, explanation) is right
    assert not is_right(answer, "liver", question, explanation)
