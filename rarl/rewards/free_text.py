"""Reasoning against an explanation where no fact is annotated, as in the paper's data.

Both texts are read as claims (`rarl.rewards.claims`). A claim of the reference earns credit where
the candidate states it, in whatever words, and none where the candidate states the opposite, the
other side or another number. Words without an order, questions and suppositions state nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rarl.rewards.claims import Claim, claim_texts, pair_features, read_claims
from rarl.rewards.head import Match, apply, shipped_head
from rarl.text.encoder import shipped_encoder
from rarl.text.order import order_score, words_and_marks

# Below this a score is chance likeness.
_FLOOR = 0.08
# Raises middling scores, so that a paraphrase earns clearly more than half.
_POWER = 0.85
_SURE = 0.5


@dataclass(frozen=True, slots=True)
class Comparison:
    """How reasoning compares with an explanation.

    Attributes:
        score: 0 to 1.
        claims: of the explanation.
        covered: those that the reasoning states.
        contradicted: those of which it states the opposite.
        neutral: clauses of the reasoning of which the explanation does not speak.
    """

    score: float
    claims: int
    covered: int
    contradicted: int
    neutral: int


@lru_cache(maxsize=20_000)
def compare(reasoning: str, explanation: str, question: str = "") -> Comparison:
    """Compare two texts.

    Args:
        reasoning: the candidate.
        explanation: the reference.
        question: sentences of the candidate that only repeat it count for nothing.

    Raises:
        ModelError: the sentence encoder is missing.

    >>> known = "There is a stone in the left kidney. The bladder is normal."
    >>> compare(known, known).score > 0.9
    True
    >>> compare("There is a stone in the right kidney. The bladder is normal.", known).contradicted
    1
    """
    reference = _reference(explanation)
    candidate = read_claims(reasoning, shipped_encoder(), question)
    if not reference or not candidate:
        return Comparison(0.0, len(reference), 0, 0, len(candidate))
    match = match_claims(reference, candidate, order_features(reasoning, explanation))
    return Comparison(
        score=max(0.0, (match.score - _FLOOR) / (1 - _FLOOR)) ** _POWER,
        claims=len(reference),
        covered=int((match.covered >= _SURE).sum()),
        contradicted=int((match.contradicted >= _SURE).sum()),
        neutral=int((match.supported < _SURE).sum()),
    )


def answer_score(answer: str, question: str, explanation: str) -> float:
    """How surely an explanation states a short answer, where there is no reference answer.

    A weak measure where the explanation names several places.
    """
    return compare(explanation, f"{question.rstrip(' ?.')}? {answer.rstrip(' .')}.").score


def encode_together(reasonings: Sequence[str], questions: Sequence[str]) -> None:
    """Encode the claims of many texts in a few batches, ahead of `compare`."""
    shipped_encoder()(
        [
            claim
            for reasoning, question in zip(reasonings, questions, strict=True)
            for claim in claim_texts(reasoning, question)
        ]
    )


def match_claims(
    reference: Sequence[Claim], candidate: Sequence[Claim], order: Sequence[float]
) -> Match:
    """Apply the shipped head to claims."""
    head = shipped_head()
    return apply(head, pair_features(reference, candidate, head.probe), order)


def order_features(reasoning: str, explanation: str) -> tuple[float, float]:
    """Word order of the reasoning, and how far words of the explanation stand out of order.

    Returns:
        The order score, held between -3 and 4 (2.5 for short or foreign texts); and the share of
        neighbours in the reasoning that are both words of the explanation, but no neighbours there.
    """
    score = order_score(reasoning, explanation)
    words = words_and_marks(reasoning)
    theirs = words_and_marks(explanation)
    known, near = set(theirs), set(pairwise(theirs))
    pairs = list(pairwise(words))
    apart = [pair for pair in pairs if pair[0] in known and pair[1] in known and pair not in near]
    return (
        2.5 if score is None else min(max(score, -3.0), 4.0),
        len(apart) / len(pairs) if pairs else 0.0,
    )


@lru_cache(maxsize=4096)
def _reference(explanation: str) -> tuple[Claim, ...]:
    return tuple(read_claims(explanation, shipped_encoder()))
