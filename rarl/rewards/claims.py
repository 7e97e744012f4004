"""Free text as claims: clauses with polarity, side, numbers and embeddings; pairs as features.

Nothing here knows an organ or a diagnosis. Words are matched by stem and by embedding; conflicts
come from negation, side, number, and general words that exclude each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rarl.text.encoder import WIDTH, Encoded, SentenceEncoder
from rarl.text.negation import is_normal, negated, supposes
from rarl.text.normalise import NUMBERS, canonical, normalise, tokens
from rarl.text.opposites import base_of, choice, other_grade, pole, stem
from rarl.text.sentences import clauses, sentences

Floats = NDArray[np.float32]

SUPPORT = (
    *("cosine", "stems", "soft", "weakest", "stems_back", "soft_back", "cosine_whole", "exact"),
)
CONFLICT = (
    *("polarity", "polarity_any", "normality", "valence", "poles", "prefix", "sides", "sides_all"),
    *("numbers", "choices"),
)
RELATED = ("cosine", "stems", "soft")

_TOKEN = re.compile(r"[a-z]+|\d+(?:\.\d+)?")
_SIDES = {
    **{word: 1 for word in ("left", "leftward", "leftwards", "sinistral")},
    **{word: 2 for word in ("right", "rightward", "rightwards", "dextral")},
    **{word: 3 for word in ("both", "bilateral", "bilaterally")},
}
_FUNCTION = frozenset(
    "a an the this that these those there it its they them their he she his her we you i is are was"
    " were be been being am has have had do does did can could may might must shall should will"
    " would not no nor neither either each any all some such of in on at to from by with"
    " without within into onto as than and or but if whether because so although though while"
    " whereas when where which who whose what how why then thus hence therefore however also very"
    " well up out non none never cannot s t absence free isn aren doesn lack".split()
)
# Words that most reports have: they say little about what is found.
_COMMON = {
    stem(word): 0.3
    for word in (
        "show seen see image imaging scan present visible sign evidence consistent suggest indicate"
        " finding area region patient appear demonstrate noted identified measure contain lie"
        " keeping typical feature characteristic likely most suspicious side part up same other"
        " study view axial coronal sagittal ct mri xray ultrasound contrast enhanced film"
        " non section slice chest abdomen head body human anatomy case"
    ).split()
}
_LENGTHS = {"mm": 1.0, "cm": 10.0, "millimetre": 1.0, "centimetre": 10.0, "millimeters": 1.0}
_MICRO = {"micrometre": 0.001, "micrometres": 0.001, "um": 0.001}


@dataclass(frozen=True, slots=True)
class Number:
    """A number with what stands around it.

    Attributes:
        value: lengths in millimetres.
        unit: "mm" for lengths, else the word behind it, "" at the end of a clause.
        before: the word before it, or "".
    """

    value: float
    unit: str
    before: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One clause of a text.

    Attributes:
        text: in canonical form.
        stems: of its content words.
        plain: the content words themselves.
        denied: for each content word, whether it is denied.
        sides: for each content word 0, 1 (left), 2 (right) or 3 (both).
        weights: of each content word.
        vectors: (words, 384), unit length.
        vector: (384,), unit length.
        numbers: in the clause.
        side: of the clause as a whole, as the bits above.
        normal: whether the clause denies disease.
        supposed: whether it supposes and does not state.
    """

    text: str
    stems: tuple[str, ...]
    plain: tuple[str, ...]
    denied: NDArray[np.bool_]
    sides: NDArray[np.int8]
    weights: Floats
    vectors: Floats
    vector: Floats
    numbers: tuple[Number, ...]
    side: int
    normal: bool
    supposed: bool

    @property
    def weight(self) -> float:
        """Sum over the words, so that a long clause counts for more."""
        return float(self.weights.sum())


def claim_texts(text: str, question: str = "") -> list[str]:
    """The clauses of a text in canonical form; questions state nothing, unless answered.

    >>> claim_texts("Is there a mass? The liver is smooth, and the spleen is large.")
    ['the liver is smooth', 'and the spleen is large']
    >>> claim_texts("Is there a mass? No.")
    ['no there a mass']
    """
    asked = normalise(question)
    claims: list[str] = []
    open_question = ""
    for sentence in sentences(text):
        if sentence.endswith("?") or normalise(sentence) == asked:
            open_question = canonical(sentence).rstrip(" ?.")
            continue
        plain = canonical(sentence)
        words = tokens(plain)
        if open_question and words and len(words) <= 4:
            frame = re.sub(r"^(is|are|was|does|do|has)\s+", "", open_question)
            reply = "" if words == ["yes"] else plain.rstrip(".")
            plain = f"{reply} {frame}".strip()
        open_question = ""
        claims += [part.strip(" .;:,") for part in clauses(plain)]
    return [text for text in claims if text and any(c.isalnum() for c in text)]


def read_claims(text: str, encoder: SentenceEncoder, question: str = "") -> list[Claim]:
    """The claims of a text with their embeddings; those without a content word are left out."""
    texts = claim_texts(text, question)
    claims = [_claim(part, encoded) for part, encoded in zip(texts, encoder(texts), strict=True)]
    return _with_side([claim for claim in claims if claim.stems])


def _with_side(claims: list[Claim]) -> list[Claim]:
    """Give the clauses that name no side the text's side, where that is one alone."""
    named = {claim.side for claim in claims if claim.side}
    if len(named) != 1:
        return claims
    side = named.pop()
    return [claim if claim.side else replace(claim, side=side) for claim in claims]


def _claim(text: str, encoded: Encoded) -> Claim:
    matches = list(_TOKEN.finditer(text))
    words = [NUMBERS.get(match[0], match[0]) for match in matches]
    under = negated(words)
    nearest = _nearest_sides(words)
    kept = [
        place
        for place, word in enumerate(words)
        if word not in _FUNCTION and word not in _SIDES and not (word.isdigit() and len(words) > 40)
    ]
    stems = tuple(stem(words[place]) for place in kept)
    vectors = np.zeros((len(kept), WIDTH), np.float32)
    for row, place in enumerate(kept):
        start, end = matches[place].span()
        own = [i for i, (a, b) in enumerate(encoded.spans) if a < end and b > start]
        if own:
            mean = encoded.words[own].mean(0)
            vectors[row] = mean / max(float(np.linalg.norm(mean)), 1e-9)
    side = 0
    for word in words:
        side |= _SIDES.get(word, 0)
    return Claim(
        text=text,
        stems=stems,
        plain=tuple(words[place] for place in kept),
        denied=np.array([under[place] for place in kept], bool),
        sides=np.array([nearest[place] for place in kept], np.int8),
        weights=np.array([_COMMON.get(stem, 1.0) for stem in stems], np.float32),
        vectors=vectors,
        vector=encoded.vector,
        numbers=tuple(_numbers(words)),
        side=side,
        normal=is_normal(words),
        supposed=supposes(words),
    )


def _nearest_sides(words: Sequence[str]) -> list[int]:
    """For each word the side named nearest to it, the one before it where two are as near."""
    places = [(place, _SIDES[word]) for place, word in enumerate(words) if word in _SIDES]
    if not places:
        return [0] * len(words)
    return [
        min(places, key=lambda item, at=place: (abs(item[0] - at), item[0] > at))[1]  # type: ignore[misc]
        for place in range(len(words))
    ]


def _numbers(words: Sequence[str]) -> list[Number]:
    numbers = []
    for place, word in enumerate(words):
        if not word[0].isdigit():
            continue
        unit = words[place + 1] if place + 1 < len(words) else ""
        before = words[place - 1] if place else ""
        value = float(word)
        for names in (_LENGTHS, _MICRO):
            if unit in names:
                value, unit = value * names[unit], "mm"
                break
        numbers.append(Number(value, stem(unit) if unit else "", before))
    return numbers


@dataclass(frozen=True, slots=True)
class PairFeatures:
    """Everything the scorer reads about a reference and a candidate.

    Attributes:
        support: (reference claims, units, features), units being clauses and the whole candidate.
        conflict: (reference claims, candidate clauses, features).
        related: (reference claims, candidate clauses, features).
        weights: (reference claims,), they sum to 1.
        stated: (units,), 0 where a unit only supposes.
        back: (candidate clauses, features), support of each by the reference as a whole.
        own: (candidate clauses,), weights that sum to 1.
    """

    support: Floats
    conflict: Floats
    related: Floats
    weights: Floats
    stated: Floats
    back: Floats
    own: Floats


def pair_features(
    reference: Sequence[Claim], candidate: Sequence[Claim], probe: Floats
) -> PairFeatures:
    """Compare claims.

    Args:
        reference: at least one.
        candidate: at least one.
        probe: (385,), direction of "describes disease" in the embedding and its offset.
    """
    # Clauses alone, each with the one behind it, and the whole text.
    spans = [(i, i + 1) for i in range(len(candidate))]
    spans += [(i, i + 2) for i in range(len(candidate) - 1)]
    if len(candidate) > 2:
        spans.append((0, len(candidate)))
    bounds = np.cumsum([0, *(len(claim.stems) for claim in candidate)])
    own_vectors = np.concatenate([claim.vectors for claim in candidate])
    own_stems = [stem for claim in candidate for stem in claim.stems]
    own_weights = np.concatenate([claim.weights for claim in candidate])
    unit_vectors = [_mean([claim.vector for claim in candidate[a:b]]) for a, b in spans]
    whole_reference = _mean([claim.vector for claim in reference])
    whole_candidate = _mean([claim.vector for claim in candidate])
    whole = float(whole_reference @ whole_candidate)
    support = np.zeros((len(reference), len(spans), len(SUPPORT)), np.float32)
    conflict = np.zeros((len(reference), len(candidate), len(CONFLICT)), np.float32)
    related = np.zeros((len(reference), len(candidate), len(RELATED)), np.float32)
    alike_all = []
    for row, claim in enumerate(reference):
        alike = claim.vectors @ own_vectors.T
        same: NDArray[np.bool_] = np.array([[a == b for b in own_stems] for a in claim.stems], bool)
        alike = np.where(same, 1.0, np.minimum(alike, 0.97))
        alike_all.append(alike)
        weights = claim.weights / claim.weights.sum()
        for column, (a, b) in enumerate(spans):
            part = slice(bounds[a], bounds[b])
            best = alike[:, part].max(1)
            exact = same[:, part].any(1)
            back = alike[:, part].max(0)
            own = own_weights[part] / own_weights[part].sum()
            support[row, column] = (
                float(claim.vector @ unit_vectors[column]),
                float((weights * exact).sum()),
                float((weights * best).sum()),
                _weakest(best, weights),
                float((own * same[:, part].any(0)).sum()),
                float((own * back).sum()),
                whole,
                float(exact.all()),
            )
        for column, other in enumerate(candidate):
            part = slice(bounds[column], bounds[column + 1])
            conflict[row, column] = _conflict(claim, other, alike[:, part], same[:, part], probe)
            related[row, column] = support[row, column, :3]
    everything = np.concatenate(alike_all)
    nearest = everything.max(0)
    hit: NDArray[np.bool_] = np.asarray((everything >= 1.0).any(0))
    back_rows = np.zeros((len(candidate), 3), np.float32)
    for column, other in enumerate(candidate):
        part = slice(bounds[column], bounds[column + 1])
        own = own_weights[part] / own_weights[part].sum()
        back_rows[column] = (
            max(float(claim.vector @ other.vector) for claim in reference),
            float((own * hit[part]).sum()),
            float((own * nearest[part]).sum()),
        )
    weights = np.array([claim.weight for claim in reference], np.float32)
    own = np.array([claim.weight for claim in candidate], np.float32)
    stated = np.array([float(not any(c.supposed for c in candidate[a:b])) for a, b in spans])
    return PairFeatures(
        support,
        conflict,
        related,
        weights / weights.sum(),
        stated.astype(np.float32),
        back_rows,
        own / own.sum(),
    )


def valence(vector: Floats, probe: Floats) -> float:
    """Whether an embedding describes disease (towards 1) or its absence (towards -1)."""
    return float(np.tanh(vector @ probe[:-1] + probe[-1]))


def _conflict(
    claim: Claim, other: Claim, alike: Floats, same: NDArray[np.bool_], probe: Floats
) -> tuple[float, ...]:
    best = alike.argmax(1)
    rows = np.arange(len(best))
    sure = np.clip((alike[rows, best] - 0.6) / 0.4, 0, 1) * claim.weights
    total = float(claim.weights.sum())
    flipped = claim.denied != other.denied[best]
    # A word that stands both ways in the other clause denies nothing.
    exact = same[rows, best]
    either = np.array(
        [
            bool(((other.denied == claim.denied[i]) & same[i]).any()) if exact[i] else False
            for i in rows
        ],
        bool,
    )
    flipped &= ~either
    sides_a, sides_b = claim.sides, other.sides[best]
    apart = (sides_a > 0) & (sides_b > 0) & ((sides_a & sides_b) == 0)
    value = valence(claim.vector, probe) * valence(other.vector, probe)
    poles, prefix, chosen = _opposed(claim, other)
    return (
        float((sure * flipped).sum()) / total,
        float((exact & flipped & (claim.weights > 0.5)).any()),
        float(claim.normal != other.normal),
        max(0.0, -value),
        poles,
        prefix,
        float((sure * apart).sum()) / total,
        float(claim.side > 0 and other.side > 0 and claim.side & other.side == 0),
        _numbers_differ(claim.numbers, other.numbers),
        chosen,
    )


def _opposed(claim: Claim, other: Claim) -> tuple[float, float, float]:
    poles = prefix = chosen = 0.0
    shared = set(claim.stems) & set(other.stems)
    for i, (word_stem, plain) in enumerate(zip(claim.stems, claim.plain, strict=True)):
        if word_stem in shared:
            continue
        mine, group = pole(word_stem), choice(word_stem)
        for j, (two, word) in enumerate(zip(other.stems, other.plain, strict=True)):
            if two in shared:
                continue
            agree = bool(claim.denied[i]) == bool(other.denied[j])
            theirs = pole(two)
            if mine and theirs and mine[0] == theirs[0]:
                if (mine[1] != theirs[1]) == agree:
                    poles = 1.0
            elif (base_of(plain, word) and agree) or (other_grade(plain, word) and agree):
                prefix = 1.0
            if group is not None and choice(two) == group:
                chosen = 1.0
    return poles, prefix, chosen


def _numbers_differ(mine: Sequence[Number], theirs: Sequence[Number]) -> float:
    """1 where a number of the same unit or context has another value and none has the same."""
    for number in mine:
        alike = [two for two in theirs if _comparable(number, two)]
        if alike and not any(
            abs(number.value - two.value) <= 0.051 * number.value for two in alike
        ):
            return 1.0
    if len(mine) == 1 == len(theirs) and not _comparable(mine[0], theirs[0]):
        counts = all(number.unit != "mm" and number.value < 20 for number in (mine[0], theirs[0]))
        return 0.5 * float(counts and mine[0].value != theirs[0].value)
    return 0.0


def _comparable(first: Number, two: Number) -> bool:
    return first.unit == two.unit or (first.before == two.before and bool(first.before))


def _weakest(best: Floats, weights: Floats) -> float:
    """Mean match of the third of the words, by weight, that are matched worst."""
    order = np.argsort(best)
    left, total = float(weights.sum()) / 3, 0.0
    whole = left
    for place in order:
        share = min(left, float(weights[place]))
        total += share * float(best[place])
        left -= share
        if left <= 1e-6:
            break
    return total / max(whole, 1e-6)


def _mean(vectors: Sequence[Floats]) -> Floats:
    total: Floats = np.mean(vectors, axis=0)
    unit: Floats = total / max(float(np.linalg.norm(total)), 1e-9)
    return unit
