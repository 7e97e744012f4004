"""An explanation says what annotations say, and no test row's annotation is among them."""

import json
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rarl.data.example import Example, Fact
from rarl.data.explanations import basic_facts, compose, fact_from_answer
from rarl.data.root import read_rows
from rarl.data.vqa_rad import vqa_rad, vqa_rad_basics

Sets = dict[str, list[Example]]
NAMED_MODALITY = {"mri": ("mri", "mr"), "ct": ("ct",), "x-ray": ("x-ray", "xray", "film")}


def statements(row: Example) -> set[str]:
    """What the facts of a row's image allow to be said."""
    allowed = {fact.statement for fact in row.facts}
    known = {fact.kind: fact for fact in row.facts if fact.kind in {"modality", "organ"}}
    if len(known) == 2:  # the two are told in one sentence
        organ = known["organ"].statement.removeprefix("It shows ")
        for fact in row.facts:
            if fact.kind == "modality":
                allowed.add(f"{fact.statement.removesuffix('.')} of {organ}")
    return allowed


def is_made_of(text: str, parts: set[str]) -> bool:
    """Whether the text is a sequence of parts with a space between."""
    if not text:
        return True
    return any(
        is_made_of(text[len(part) :].removeprefix(" "), parts)
        for part in parts
        if text.startswith(part)
    )


@pytest.mark.parametrize(
    "name",
    [
        "vqa_rad",
        "vqa_rad_basics",
        "brain_tumor_mri",
        "busi_breast_us",
        "bccd_blood",
        "covid_chestxray",
        "vqa_med_2019_mini",
        "slake",
    ],
)
def test_every_sentence_is_backed_by_a_fact_of_the_image(local_sets: Sets, name: str) -> None:
    allowed: dict[str, set[str]] = {}
    for row in local_sets[name]:
        if row.explanation is None:
            assert row.split != "train" or name == "slake"
            continue
        assert row.image is not None
        parts = allowed.setdefault(row.image.key, statements(row))
        answer = " ".join(row.answer.lower().split()).rstrip(" .")
        own = parts | {f"The answer is {answer}."}
        assert is_made_of(row.explanation, own), (row.id, row.explanation)


def test_no_sentence_contradicts_its_article(local_sets: Sets) -> None:
    explanations = " ".join(row.explanation or "" for rows in local_sets.values() for row in rows)
    for wrong in ("a no ", "There is any ", "There is no any ", "no no ", " an a ", ".."):
        assert wrong not in explanations, wrong


def test_held_out_rows_of_vqa_rad_have_no_explanation(local_sets: Sets) -> None:
    assert all((row.explanation is None) == (row.split != "train") for row in local_sets["vqa_rad"])


@pytest.fixture(scope="module")
def without_test_rows(local_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "vqa_rad").mkdir()
    for name in ("qa.jsonl", "qa_mevf_split.jsonl"):
        rows = read_rows(local_root / "vqa_rad" / name)
        # Test questions stay in qa.jsonl with another answer: their wording names the repeats.
        changed = [
            {**row, "answer": "unsaid"} if row["split"] == "test" else row
            for row in rows
            if name == "qa.jsonl" or row["split"] != "test"
        ]
        text = "\n".join(json.dumps(row) for row in changed)
        (root / "vqa_rad" / name).write_text(text)
    return root


def test_no_test_answer_is_among_the_facts(local_sets: Sets, without_test_rows: Path) -> None:
    rebuilt = vqa_rad(without_test_rows)
    assert [row.id for row in rebuilt] == [row.id for row in local_sets["vqa_rad"]]
    for row, again in zip(local_sets["vqa_rad"], rebuilt, strict=True):
        assert (row.facts, row.explanation) == (again.facts, again.explanation)
    basics = vqa_rad_basics(without_test_rows)
    assert [row.facts for row in basics] == [row.facts for row in local_sets["vqa_rad_basics"]]


def test_no_modality_is_known_from_test_questions_alone(local_root: Path, local_sets: Sets) -> None:
    answered: dict[str, set[str]] = defaultdict(set)
    settled = {}
    for row in read_rows(local_root / "vqa_rad" / "qa_mevf_split.jsonl"):
        if row["question_type"] == "MODALITY":
            answered[row["image"]].add(row["split"])
        if row["modality_source"] == "qa":
            settled[f"vqa_rad/{row['image']}"] = answered[row["image"]]
    # The paper's rule knows chest and abdomen without asking; a head may be CT or MRI.
    rule = {"chest": {"x-ray"}, "abdomen": {"ct"}, "brain": set()}
    explanations = [
        ({fact.value for fact in row.facts if fact.kind == "modality"}, row.organ)
        for row in local_sets["vqa_rad"]
        if row.image and settled.get(row.image.key) == {"test"}
    ]
    assert explanations
    assert all(values == rule[organ or ""] for values, organ in explanations)


@pytest.mark.parametrize(
    ("question", "answer", "category", "statement"),
    [
        (
            "Is there any evidence of a pneumothorax?",
            "Yes",
            "PRES",
            "There is evidence of a pneumothorax.",
        ),
        ("Are there masses in this image?", "no", None, "There are no masses."),
        ("Is/Are there air present?", "no", "PRES", "There is no air."),
        ("Which  side?", "Left ", "POS", "Which side? Left."),
        ("How many ribs?", "3", "COUNT", "How many ribs? 3."),
        ("What plane?", "Axial", "PLANE", "The plane is axial."),
        ("How was this taken?", "MRI", "MODALITY", "This is an MRI."),
    ],
)
def test_an_answer_becomes_a_statement(
    question: str, answer: str, category: str | None, statement: str
) -> None:
    assert fact_from_answer(question, answer, category).statement == statement


def test_what_kind_of_image_it_is_comes_first_and_the_answer_last() -> None:
    basics = basic_facts("ct", "abdomen", "axial")
    own = fact_from_answer("Is the liver enlarged?", "yes", "SIZE")
    asked = fact_from_answer("Where is the liver lesion?", "left lobe", "POS")
    stated = fact_from_answer("Is there a liver mass?", "no", "PRES")
    unrelated = fact_from_answer("Is there free air?", "yes", "PRES")
    explanation = compose(basics, [unrelated, asked, stated], own, "Is the liver enlarged?")
    assert explanation == (
        "This is a CT scan of the abdomen. The plane is axial. There is no liver mass."
        " The answer is yes."
    )


WORDS = st.text("abc de?", min_size=1, max_size=12).filter(str.strip)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["yes", "no", "left", "2", "a mass"]))), WORDS)
def test_nothing_but_facts_is_told(pairs: list[tuple[str, str]], question: str) -> None:
    facts = [fact_from_answer(asked, answer, None) for asked, answer in pairs]
    own = Fact("other", "x", True, "It is x.")
    explanation = compose(basic_facts("mri", None), facts, own, question)
    parts = {fact.statement for fact in facts} | {own.statement, "This is an MRI."}
    assert explanation.endswith(own.statement) and is_made_of(explanation, parts)
