"""Negation, sides, numbers and opposites as free text is read."""

import numpy as np
import pytest

from rarl.rewards.claims import claim_texts, read_claims
from rarl.text.encoder import SentenceEncoder, shipped_encoder
from rarl.text.negation import is_normal, negated, supposes
from rarl.text.opposites import base_of, other_grade, pole, stem
from rarl.text.sentences import clauses, sentences


@pytest.mark.parametrize(
    ("clause", "denied"),
    [
        ("no fracture or dislocation", {"fracture", "or", "dislocation"}),
        ("the disc is not only bulging", set()),
        ("fluid is absent", {"fluid", "is"}),
        ("a clot was ruled out", {"a", "clot", "was"}),
        ("a non calcified nodule", {"calcified"}),
        ("no doubt a fracture", set()),
        ("the duct is free of stones", {"stones"}),
        ("not without risk", {"without"}),
    ],
)
def test_a_negation_ends_where_its_clause_does(clause: str, denied: set[str]) -> None:
    words = clause.split()
    assert {word for word, under in zip(words, negated(words), strict=True) if under} == denied


def test_negation_stays_within_its_clause() -> None:
    parts = clauses("There is no effusion, but the heart is enlarged.")
    assert len(parts) == 2
    assert not any(negated(parts[1].rstrip(".").split()))


def test_suppositions_and_normality_are_told_from_statements() -> None:
    assert supposes("a tumour cannot be excluded".split())
    assert not supposes("a tumour is excluded".split())
    assert is_normal("no fracture".split()) and not is_normal("the duct is not patent".split())


def test_each_word_takes_the_side_that_is_nearest() -> None:
    (claim,) = read_claims("A cyst of the left kidney touches the right ovary.", shipped_encoder())
    sides = dict(zip(claim.plain, claim.sides.tolist(), strict=True))
    assert (sides["kidney"], sides["ovary"], claim.side) == (1, 2, 3)


def test_a_text_with_one_side_lends_it_to_clauses_without() -> None:
    texts = "The left hip is fractured. The joint space is preserved."
    assert [claim.side for claim in read_claims(texts, shipped_encoder())] == [1, 1]


def test_lengths_are_compared_in_millimetres() -> None:
    (claim,) = read_claims("Two nodules of 1.5 cm each.", shipped_encoder())
    values = {(number.value, number.unit) for number in claim.numbers}
    assert (15.0, "mm") in values and any(value == 2 for value, _ in values)


def test_opposites() -> None:
    for one, two in (("enlarged", "small"), ("acute", "chronic"), ("upper", "lower")):
        mine, theirs = pole(stem(one)), pole(stem(two))
        assert mine is not None and theirs is not None
        assert mine[0] == theirs[0] and mine[1] == -theirs[1]
    assert base_of("uninflamed", "inflamed") and not base_of("kidney", "liver")
    assert other_grade("hyperechoic", "hypoechoic")


def test_questions_state_nothing_unless_answered() -> None:
    assert claim_texts("Is the spleen large?") == []
    assert claim_texts("Is the spleen large? No.") == ["no the spleen large"]


def test_a_number_ends_no_sentence() -> None:
    assert sentences("It is 1.5 cm wide, e.g. by fluid. It is round.") == [
        "It is 1.5 cm wide, e.g by fluid.",
        "It is round",
    ]


def test_an_encoding_does_not_depend_on_the_texts_beside_it() -> None:
    texts = ["The heart is enlarged.", "There is no pleural effusion on either side.", "Bone."]
    encoder = SentenceEncoder()
    together = encoder(texts)
    encoder.forget()
    for text, encoded in zip(texts, together, strict=True):
        assert np.array_equal(encoder([text])[0].vector, encoded.vector)
