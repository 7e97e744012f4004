"""Score reasoning against a free-text explanation without annotated facts.

Both texts are read as claims (`rarl.rewards.claims`). A claim of the reference earns credit where
the candidate states it, in whatever words, and none where the candidate states the opposite, the
other side or another number. Words without an order, questions and suppositions state nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from rarl.rewards.claims import Claim, claim_texts, pair_features, read_claims, valence
from rarl.rewards.head import Match, apply, shipped_head
from rarl.text.encoder import shipped_encoder
from rarl.text.normalise import tokens
from rarl.text.opposites import stem
from rarl.text.order import order_score, words_and_marks

# Below this a score is chance likeness.
_FLOOR = 0.08
# Raises middling scores, so that a paraphrase earns clearly more than half.
_POWER = 0.85
_SURE = 0.5
# Of an answer, the share of neighbours that the explanation has apart, and the least word order.
_APART = 0.4
_ORDERED = -1.0
_FEWEST_ORDERED = 5
# Valence of a question such as "which kidney is affected?".
_ASKS_FOR_DISEASE = 0.5
_MARKS = " .,;:!"
_YES_OR_NO = re.compile(
    r"\s*(?:is|are|was|were|does|do|did|has|have|had|can|could)\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparison of reasoning with an explanation.

    Attributes:
        score: 0 to 1.
        claims: of the explanation.
        covered: those that the reasoning states.
        contradicted: those of which it states the opposite.
        neutral: clauses of the reasoning of which the explanation does not speak.
        stated: all clauses of the reasoning.
    """

    score: float
    claims: int
    covered: int
    contradicted: int
    neutral: int
    stated: int


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
        return Comparison(0.0, len(reference), 0, 0, len(candidate), len(candidate))
    match = match_claims(reference, candidate, order_features(reasoning, explanation))
    return Comparison(
        score=max(0.0, (match.score - _FLOOR) / (1 - _FLOOR)) ** _POWER,
        claims=len(reference),
        covered=int((match.covered >= _SURE).sum()),
        contradicted=int((match.contradicted >= _SURE).sum()),
        neutral=int((match.supported < _SURE).sum()),
        stated=len(candidate),
    )


def answer_score(answer: str, question: str, explanation: str) -> float:
    """Probability that an explanation states a short answer, where no reference answer exists.

    Every claim of the answer must be stated in full by one claim of the explanation. The other
    side, the opposite, words without an order and words of the question alone earn nothing. Where a
    question asks for disease, a claim that denies disease does not bear the answer out.

    Returns:
        0, or 0.5 to 1.

    Raises:
        ModelError: the sentence encoder is missing.

    >>> known = "There is a stone in the right kidney. The left kidney is normal."
    >>> asked = "Which kidney is affected?"
    >>> answer_score("right kidney", asked, known) > 0.5
    True
    >>> [answer_score(text, asked, known) for text in ("left kidney", "kidney", "both kidneys")]
    [0.0, 0.0, 0.0]
    """
    known = _reference(explanation)
    reply, _, rest = answer.strip().partition(" ")
    verdict = reply.strip(_MARKS).casefold()
    first, _, last = answer.strip(_MARKS).rpartition(" ")
    if last.casefold() in {"yes", "no"}:
        verdict, rest = last.casefold(), first
    scores = []
    if verdict in {"yes", "no"} and _YES_OR_NO.match(question):
        scores.append(_verdict(verdict == "yes", question, known))
        if set(tokens(rest)) <= set(tokens(question)):
            answer = ""
        elif verdict == "yes" or reply[-1] in _MARKS or rest == first:
            answer = rest
    if tokens(answer):
        scores.append(_stated(answer, question, explanation))
    return min(scores, default=0.0)


def _stated(answer: str, question: str, explanation: str) -> float:
    """The least sure claim of an answer that is more than a yes or no."""
    words, asked = set(tokens(answer)), set(tokens(question))
    if words <= asked and "or" not in asked:
        return 0.0
    if len(tokens(answer)) >= _FEWEST_ORDERED:
        order, apart = order_features(answer, explanation)
        if apart > _APART or order < _ORDERED:
            return 0.0
    probe = shipped_head().probe
    encoder = shipped_encoder()
    claims = read_claims(answer, encoder)
    if not claims:
        # A side alone: of that which the question and the explanation name.
        stems = {stem for claim in _reference(explanation) for stem in claim.stems}
        subject = [word for word in tokens(question) if stem(word) in stems]
        claims = read_claims(" ".join([answer, *subject]), encoder)
    normal = any(claim.normal for claim in claims)
    disease = not normal and valence(encoder([question])[0].vector, probe) > _ASKS_FOR_DISEASE
    known = [other for other in _reference(explanation) if not (disease and other.normal)]
    if any(claim.supposed for claim in claims):
        return 0.0
    scores = [
        max((_pair(claim, other)[0] for other in known if _may_state(other, claim)), default=0.0)
        for claim in claims
    ]
    least = min(scores, default=0.0)
    return least if least >= _SURE else 0.0


def _verdict(affirmed: bool, question: str, known: Sequence[Claim]) -> float:
    """How surely an explanation answers a closed question with yes or with no.

    One claim that states what is asked outweighs others that deny it elsewhere.
    """
    asked = read_claims(f"{question.rstrip(' ?.')}? Yes.", shipped_encoder())
    if not asked or not known:
        return 0.0
    probe = shipped_head().probe
    yes, no = 1.0, 0.0
    for claim in asked:
        pairs = [(_pair(claim, other), other) for other in known]
        if claim.normal:
            ill = [
                other for other in known if not other.normal and set(other.stems) & set(claim.stems)
            ]
            no = max([no, *(valence(other.vector, probe) for other in ill)])
            pairs = [(pair, claim) for pair, claim in pairs if claim.normal]
        yes = min(yes, max((covered for (covered, _), _ in pairs), default=0.0))
        no = max([no, *(against for (_, against), _ in pairs)])
    if no >= _SURE and any(claim.normal for claim in asked):
        yes = 0.0
    score = yes if affirmed else no * (yes < _SURE)
    return score if score >= _SURE else 0.0


def _may_state(known: Claim, claim: Claim) -> bool:
    """Whether a claim names every side of another, and denies what that denies."""
    affirmed = {stem for stem, under in zip(known.stems, known.denied, strict=True) if not under}
    if any(
        under and stem in affirmed for stem, under in zip(claim.stems, claim.denied, strict=True)
    ):
        return False
    return claim.side & ~known.side == 0 and (known.normal or not claim.normal)


def _pair(claim: Claim, other: Claim) -> tuple[float, float]:
    """How surely one claim entails another, and how surely it contradicts it."""
    match = match_claims([claim], [other], (2.5, 0.0))
    return float(match.covered[0]), float(match.contradicted[0])


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
