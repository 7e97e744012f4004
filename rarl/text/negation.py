"""Negation, certainty and normality of words, after ConText (Harkema et al., 2009).

A cue negates the words behind it up to the end of its clause; some phrases negate what stands
before them ("is absent", "was ruled out"). The lists hold words of general English, never organs
or diagnoses.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

# Words that deny what follows.
NEGATIONS = frozenset(
    "no not none without absent negative denies never nor neither cannot isn aren doesn".split()
)
_FORWARD = NEGATIONS - {"absent", "negative"} | frozenset(
    "non lacks lack lacking wasn weren don didn hasn haven nothing nobody minus".split()
)
# Phrases, over the words of the normal form.
_FORWARD_PHRASES = (
    ("absence", "of"),
    ("free", "of"),
    ("free", "from"),
    ("negative", "for"),
    ("rather", "than"),
    ("instead", "of"),
    ("fails", "to"),
    ("fail", "to"),
    ("devoid", "of"),
)
_BACKWARD = frozenset("absent excluded lacking missing resolved disappeared negative".split())
# "not seen" denies what was to be seen.
_SEEN = frozenset(
    "seen present visible identified evident detected found noted demonstrated observed"
    " appreciated shown apparent recognised recognized visualised visualized discernible".split()
)
_NOT_NEGATING = (("not", "only"), ("no", "doubt"), ("without", "doubt"), ("no", "longer", "than"))
# A clause with one of these supposes and does not state.
SUPPOSING = frozenset("if whether would could may might perhaps possibly maybe".split())
_UNCERTAIN = SUPPOSING | frozenset(
    "possible potentially either uncertain unclear unsure conceivable conceivably unknown"
    " indeterminate equivocal depends".split()
)
_NORMAL = frozenset(
    "normal normally unremarkable intact preserved clear healthy regular unchanged undamaged"
    " unharmed unaffected symmetric symmetrical patent sharp smooth homogeneous within harmless"
    " physiological uniform maintained".split()
)
_ABNORMAL = frozenset(
    "abnormal abnormally pathological pathologic diseased remarkable damaged impaired".split()
)


def negated(words: Sequence[str]) -> list[bool]:
    """For each word of a clause, whether it is denied.

    >>> words = "the ventricles are not enlarged".split()
    >>> [word for word, denied in zip(words, negated(words)) if denied]
    ['enlarged']
    >>> words = "a fracture is not seen".split()
    >>> [word for word, denied in zip(words, negated(words)) if denied]
    ['a', 'fracture', 'is']
    """
    denied = [False] * len(words)
    count = len(words)
    place = 0
    while place < count:
        rest = tuple(words[place : place + 3])
        skipped = next((p for p in _NOT_NEGATING if rest[: len(p)] == p), None)
        if skipped is not None:
            place += len(skipped)
            continue
        phrase = next((p for p in _FORWARD_PHRASES if rest[: len(p)] == p), None)
        if phrase is not None:
            _deny(denied, place + len(phrase), count)
            place += len(phrase)
            continue
        if words[place] == "non":
            _deny(denied, place + 1, min(place + 2, count))
        elif words[place] in _FORWARD:
            follows = next(
                (i for i in range(place + 1, min(place + 4, count)) if words[i] in _SEEN), None
            )
            if follows is not None and words[place] in {"not", "cannot", "never"}:
                _deny(denied, 0, place)
                _deny(denied, follows + 1, count)
                place = count
            else:
                _deny(denied, place + 1, count)
        elif _denies_before(words, place):
            _deny(denied, 0, place)
        place += 1
    return denied


def supposes(words: Sequence[str]) -> bool:
    """Whether a clause supposes instead of stating.

    >>> supposes("it could be a cyst".split()), supposes("most likely a cyst".split())
    (True, False)
    """
    return any(word in _UNCERTAIN for word in words) or bool(
        re.search(r"\b(?:cannot|can not|not) be (?:excluded|ruled out)\b", " ".join(words))
    )


def is_normal(words: Sequence[str]) -> bool:
    """Whether a clause denies disease, by negation or by a word such as "normal".

    >>> is_normal("the heart is normal".split()), is_normal("the heart is not normal".split())
    (True, False)
    >>> is_normal("no effusion".split()), is_normal("the heart is enlarged".split())
    (True, False)
    """
    # "Non-contrast" and the like deny a property, not disease.
    kept = [word for word in words if word != "non"]
    words, denied = kept, negated(kept)
    normal = False
    for word, under in zip(words, denied, strict=True):
        if word in _NORMAL:
            if under:
                return False
            normal = True
        elif word in _ABNORMAL:
            return under
    return normal or any(denied)


def _deny(denied: list[bool], start: int, end: int) -> None:
    for place in range(start, end):
        denied[place] = not denied[place]


def _denies_before(words: Sequence[str], place: int) -> bool:
    """Whether a cue denies its subject ("is absent"), not a noun behind it ("absent uptake")."""
    if list(words[place : place + 2]) == ["ruled", "out"]:
        return True
    verbs = {"is", "are", "was", "were", "been", "has", "have", "completely"}
    return words[place] in _BACKWARD and place > 0 and words[place - 1] in verbs
