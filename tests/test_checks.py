"""What in an answer contradicts the file's header, the question or the answer itself."""

from __future__ import annotations

import pytest

from rarl.checks import HeaderFacts, check_answer, header_facts, reads_as_english
from rarl.inference.checking import check_answers
from rarl.inference.engine import Answer
from rarl.response import CHECK_SENTENCES, PROBLEM_SENTENCES, parse_response, problem_sentence

CT_HEAD = header_facts([("CT", {"BodyPartExamined": "HEAD"})], ["axial"])
KNEE = header_facts([("DX", {"BodyPartExamined": "KNEE", "ImageLaterality": "R"})])
CHEST_PA = header_facts([("CR", {"BodyPartExamined": "CHEST", "ViewPosition": "PA"})])
ULTRASOUND = header_facts([("US", {"BodyPartExamined": "BREAST", "Laterality": "L"})])
NOTHING = HeaderFacts()


def names(question: str, answer: str, reasoning: str, facts: HeaderFacts) -> list[str]:
    return [check.name for check in check_answer(question, answer, reasoning, facts)]


@pytest.mark.parametrize(
    ("question", "answer", "reasoning", "facts", "expected"),
    [
        ("Mass?", "no", "This is an MRI of the brain.", CT_HEAD, "contradicts-modality"),
        ("What kind of scan is this?", "MRI", "", CT_HEAD, "contradicts-modality"),
        ("Mass?", "no", "The CT scan shows the breast.", ULTRASOUND, "contradicts-modality"),
        ("Fracture?", "no", "This is an ultrasound image.", KNEE, "contradicts-modality"),
        ("Mass?", "no", "This is a CT scan of the abdomen.", CT_HEAD, "contradicts-body-part"),
        ("Which organ is shown?", "liver", "", CHEST_PA, "contradicts-body-part"),
        ("Fracture?", "no", "The left knee is normal.", KNEE, "contradicts-side"),
        ("Which side is this?", "left", "", KNEE, "contradicts-side"),
        ("Effusion?", "no", "This is a lateral view.", CHEST_PA, "contradicts-view"),
        ("Effusion?", "no", "This is an AP view of the chest.", CHEST_PA, "contradicts-view"),
        ("Which plane is this?", "sagittal", "", CT_HEAD, "contradicts-view"),
        ("What is shown?", "infarct", "The answer is frontal lobe.", NOTHING, "contradicts-itself"),
        ("Is there a mass?", "yes", "There is no mass.", NOTHING, "contradicts-itself"),
        ("Where is the tumour?", "no", "", NOTHING, "wrong-kind-of-answer"),
        ("What does it show?", "Yes.", "", NOTHING, "wrong-kind-of-answer"),
        ("How many nodules are there?", "left lung", "", NOTHING, "wrong-kind-of-answer"),
        ("Is this a frontal or lateral view?", "yes", "", NOTHING, "wrong-kind-of-answer"),
        ("Is there pneumonia?", "pleural effusion", "", NOTHING, "wrong-kind-of-answer"),
        ("Does the scan show a glioma?", "Meningioma.", "", NOTHING, "wrong-kind-of-answer"),
    ],
)
def test_a_contradiction_is_marked(
    question: str, answer: str, reasoning: str, facts: HeaderFacts, expected: str
) -> None:
    assert expected in names(question, answer, reasoning, facts)


@pytest.mark.parametrize(
    ("question", "answer", "reasoning", "facts"),
    [
        ("Is there pneumonia?", "pneumonia", "", NOTHING),
        ("Is there pneumonia?", "No pneumonia.", "", NOTHING),
        ("Is there a fracture?", "absent", "", NOTHING),
        ("Is the scan normal?", "It looks abnormal.", "", NOTHING),
        ("Is there a fracture, and where is it?", "left femur", "", NOTHING),
        ("Is it a glioma or a meningioma?", "meningioma", "", NOTHING),
        ("Can you describe the scan?", "a chest radiograph", "", NOTHING),
        ("Haemorrhage?", "no", "This is a CT of the head. No bleed is seen.", CT_HEAD),
        ("Mass?", "yes", "An MRI is recommended for further evaluation.", CT_HEAD),
        ("Mass?", "no", "This is not an MRI. The brain is normal.", CT_HEAD),
        ("Is there a fracture?", "no", "The right knee has no fracture.", KNEE),
        ("Is there a fracture?", "no", "The left side of the patella is smooth.", KNEE),
        ("Is the heart enlarged?", "no", "The left lung is clear on this chest X-ray.", CHEST_PA),
        ("Which view is this?", "frontal", "This is a posteroanterior view.", CHEST_PA),
        ("How many nodules are there?", "none", "", NOTHING),
        ("How many masses are there?", "There are two.", "", NOTHING),
        ("Is there a mass or not?", "no", "", NOTHING),
        ("Is it benign or malignant?", "benign", "", ULTRASOUND),
        ("What is shown?", "glioma", "The answer is glioma.", NOTHING),
        ("Is there a mass?", "yes", "There is a mass in the liver.", NOTHING),
        ("What is shown?", "", "", CT_HEAD),
    ],
)
def test_a_consistent_answer_is_not_marked(
    question: str, answer: str, reasoning: str, facts: HeaderFacts
) -> None:
    assert names(question, answer, reasoning, facts) == []


@pytest.mark.parametrize(
    ("question", "answer", "reasoning"),
    [
        ("Is there pneumonia?", "yes", "There is a pleural effusion on the left."),
        ("Is there pneumonia?", "Pneumonia is present.", "The heart is enlarged."),
        ("Is there a pneumothorax?", "Yes.", "Is there a pneumothorax? A fracture is seen."),
        ("Does the scan show a fracture?", "yes", "A rounded mass lies in the upper lobe."),
        ("Is there a mass?", "yes", "There is a fracture of the humerus. No effusion."),
    ],
)
def test_a_reasoning_about_another_finding_does_not_support_the_answer(
    question: str, answer: str, reasoning: str
) -> None:
    assert "another-finding" in names(question, answer, reasoning, NOTHING)


@pytest.mark.parametrize(
    ("question", "answer", "reasoning"),
    [
        # Other words for the finding, and what readers give as its signs.
        ("Is there pneumonia?", "yes", "There is consolidation, and a pleural effusion."),
        ("Is there pneumonia?", "yes", "A patchy opacity lies beside the effusion."),
        ("Is there cardiomegaly?", "yes", "The heart is enlarged. There is an effusion."),
        ("Is there cardiomegaly?", "yes", "Enlarged heart with pleural effusion."),
        ("Is there pulmonary edema?", "yes", "Cardiomegaly and effusions are seen."),
        ("Is there a hemorrhage?", "yes", "A hyperdense collection, beside a fracture."),
        ("Is there a tumor?", "yes", "The image shows a glioma."),
        ("Is there atelectasis?", "yes", "Volume loss below the effusion."),
        ("Is there a pneumothorax?", "yes", "No lung markings beyond a rib fracture."),
        # Nothing else is named, or not as being there.
        ("Is there pneumonia?", "yes", "The right lower lobe looks abnormal."),
        ("Is there pneumonia?", "yes", "There is no effusion. The right base is dense."),
        ("Is there pneumonia?", "yes", ""),
        # An answer no, an open question, a choice, a finding that the list does not know.
        ("Is there pneumonia?", "no", "There is a pleural effusion."),
        ("What is abnormal?", "pneumonia", "There is a pleural effusion."),
        ("Is it pneumonia or an effusion?", "pneumonia", "There is a pleural effusion."),
        ("Is there a foreign body?", "yes", "There is a pleural effusion."),
        ("Is there pneumonia or an effusion?", "yes", "There is a pleural effusion."),
    ],
)
def test_a_reasoning_about_the_finding_by_any_name_is_not_marked(
    question: str, answer: str, reasoning: str
) -> None:
    assert "another-finding" not in names(question, answer, reasoning, NOTHING)


def test_a_mark_names_both_findings() -> None:
    (check,) = check_answer("Is there pneumonia?", "yes", "There is a pleural effusion.", NOTHING)
    assert check.sentence.startswith(
        "The reasoning speaks of pleural effusion and not of pneumonia"
    )


def test_pictures_of_two_modalities_allow_both() -> None:
    facts = header_facts([("CT", {}), ("MR", {})])
    assert names("Mass?", "no", "This is a CT scan.", facts) == []
    assert names("Mass?", "no", "This is an ultrasound image.", facts) == ["contradicts-modality"]


def test_a_sentence_names_both_values() -> None:
    (check,) = check_answer("Mass?", "no", "This is a CT scan.", header_facts([("US", {})]))
    assert check.sentence == "The text says CT; the file's header says ultrasound."


@pytest.mark.parametrize(
    "question",
    [
        "Gibt es eine Raumforderung in der Leber?",
        "Y a-t-il une masse dans le foie ?",
        "¿Hay una masa en el hígado?",
        "肝脏有肿块吗",
        "هل توجد كتلة في الكبد؟",
    ],
)
def test_another_language_is_recognised(question: str) -> None:
    assert not reads_as_english(question)
    checks = check_answer(question, "no", "", NOTHING, english_only=True)
    assert [check.name for check in checks] == ["unread-language"]
    assert check_answer(question, "no", "", NOTHING) == ()


@pytest.mark.parametrize(
    "question", ["Is there a mass in the liver?", "pneumothorax?", "T2 FLAIR lesion, left frontal"]
)
def test_english_and_terms_alone_are_read(question: str) -> None:
    assert reads_as_english(question)


def test_answers_that_have_not_ended_are_left_alone() -> None:
    response = parse_response("<think>This is a CT scan.</think><answer>no</answer>")
    ended = Answer("sft", response, 9, 1.0, done=True)
    running = Answer("rl", response, 9, 1.0, done=False)
    stopped = Answer("rarl", response, 9, 1.0, done=True, stopped=True)
    facts = header_facts([("US", {})])
    checked = check_answers((ended, running, stopped), "Mass?", facts)
    assert [len(answer.checks) for answer in checked] == [1, 0, 0]


def test_every_stored_name_has_a_sentence() -> None:
    for name in (*PROBLEM_SENTENCES, *CHECK_SENTENCES):
        assert problem_sentence(name) != name


def test_an_option_answers_a_question_of_yes_or_no() -> None:
    asked = ("Is the lesion seen here", "glioma", "", NOTHING)
    assert check_answer(*asked)
    assert not check_answer(*asked, has_options=True)
