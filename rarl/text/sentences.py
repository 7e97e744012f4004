"""Split text into sentences and clauses."""

from __future__ import annotations

import re

# A full stop inside a number or before a small letter ends no sentence.
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+|(?<=\w)[.!;]+$")
_ABBREVIATION = re.compile(r"\b(e\.g|i\.e|approx|Dr|vs|fig|no)\.\s", re.IGNORECASE)
_PUNCTUATION = re.compile(r"[;:,()]")
_JOINT = re.compile(
    r"\s+(?=(?:and|but|while|whereas|with|without|so|which|that|because|although|though|however"
    r"|indicating|suggesting|when|where|as|since)\b)",
    re.IGNORECASE,
)
_LIST = re.compile(r"\b(?:no|without|neither|nor|free of|absence of|not)\b.*\b(?:or|nor)\b", re.I)
_PREDICATE = re.compile(r"\b(?:is|are|was|were|no|not|without|shows?)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_LIGHT = frozenset(
    "a an the is are was were be been it its this that these those there and but while whereas"
    " with without so which because although though however when where as since of in on at to"
    " for from by has have had no not or nor seen shown means mean indicates suggests therefore"
    " thus hence".split()
)


def sentences(text: str) -> list[str]:
    """The sentences of a text, without blanks around them.

    >>> sentences("The node is 1.5 cm wide. No effusion; the heart is normal.")
    ['The node is 1.5 cm wide.', 'No effusion;', 'the heart is normal']
    """
    kept = _ABBREVIATION.sub(lambda match: f"{match[1]} ", text)
    return [part.strip() for part in _SENTENCE.split(kept) if part.strip()]


def clauses(sentence: str) -> list[str]:
    """The clauses of a sentence; each has a predicate or two words that carry meaning.

    >>> clauses("There is no pleural effusion and the heart is normal in size.")
    ['There is no pleural effusion', 'and the heart is normal in size.']
    >>> clauses("No effusion, consolidation or pneumothorax, but the heart is large.")
    ['No effusion, consolidation or pneumothorax', 'but the heart is large.']
    """
    parts: list[str] = []
    for piece in _at_punctuation(sentence):
        for part in _JOINT.split(piece):
            parts.append(part.strip())
    joined: list[str] = []
    for part in parts:
        if not part:
            continue
        if joined and not (_stands_alone(part) and _stands_alone(joined[-1])):
            joined[-1] = f"{joined[-1]} {part}"
        else:
            joined.append(part)
    return joined


def _at_punctuation(sentence: str) -> list[str]:
    """Split at punctuation, but keep a denied list ("no a, b or c") in one piece."""
    pieces = _PUNCTUATION.split(sentence)
    if "," not in sentence:
        return pieces
    kept: list[str] = []
    for piece in pieces:
        together = f"{kept[-1]},{piece}" if kept else piece
        if kept and _LIST.search(together) and not _starts_anew(piece):
            kept[-1] = together
        else:
            kept.append(piece)
    return kept


def _starts_anew(piece: str) -> bool:
    words = _WORD.findall(piece.lower())
    return bool(words) and words[0] in {
        *("and", "but", "so", "which", "with", "while", "whereas", "although", "however", "there"),
        *("the", "without", "no", "it", "this"),
    }


def _stands_alone(part: str) -> bool:
    weight = _weight(part)
    return weight > 1 or (weight == 1 and _PREDICATE.search(part) is not None)


def _weight(part: str) -> int:
    return sum(word not in _LIGHT for word in _WORD.findall(part.lower()))
