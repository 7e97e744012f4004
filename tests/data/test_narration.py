"""Explanations in other words say what the annotation says, and no more."""

from hypothesis import given
from hypothesis import strategies as st

from rarl.data.example import Fact
from rarl.data.explanations import basic_facts
from rarl.data.narration import MOST, lead_sentences, narrate, question_sentences

EFFUSION = Fact("finding", "pleural effusion", True, "There is a pleural effusion.")


def test_a_lead_never_gives_the_answer_away() -> None:
    basics = basic_facts("mri", "brain", "axial")
    assert all("MRI" not in lead for lead in lead_sentences(basics, skip="modality"))
    assert all("brain" not in lead for lead in lead_sentences(basics, skip="organ"))
    assert all("axial" not in lead for lead in lead_sentences(basics, skip="plane"))
    assert any("axial" in lead for lead in lead_sentences(basics, skip="finding"))


def test_every_explanation_ends_in_or_begins_with_the_fact() -> None:
    ends = question_sentences(EFFUSION)
    texts = narrate(basic_facts("x-ray", "chest"), ["The heart is large."], ends, "finding")
    assert len(set(texts)) == len(texts) == MOST
    assert all(any(end in text for end in ends) for text in texts)
    assert len({text.split(".")[0] for text in texts}) > 3


def test_a_denied_finding_is_denied_in_all_words() -> None:
    none = Fact("finding", "pneumothorax", False, "There is no pneumothorax.")
    assert all("no " in text.lower() for text in question_sentences(none))


def test_an_answered_question_is_answered() -> None:
    asked = Fact("other", "left lobe", True, "Where is the lesion? Left lobe.")
    assert all("left lobe" in text for text in question_sentences(asked))


SENTENCES = st.lists(
    st.sampled_from(["The heart is large.", "There is a mass.", "There is no mass."]), max_size=3
)


@given(SENTENCES, st.sampled_from(["ct", "mri", None]), st.sampled_from(["chest", None]))
def test_nothing_but_given_sentences_is_told(
    others: list[str], modality: str | None, organ: str | None
) -> None:
    basics = basic_facts(modality, organ)
    ends = question_sentences(EFFUSION)
    allowed = {*others, *ends}
    for lead in lead_sentences(basics, "finding"):
        allowed |= {f"{part.rstrip('.')}." for part in lead.split(". ")}
    for text in narrate(basics, others, ends, "finding"):
        parts = [f"{part.rstrip('.')}." for part in text.split(". ")]
        assert set(parts) <= allowed, text
