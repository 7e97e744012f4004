"""Multiple choice: the order of options, their letters, and which option an answer names.

An answer counts for an option only where it names that option and no other, by its letter or by its
words. Nothing is guessed: an answer that names two options is ambiguous, and wrong.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

from rarl.text.normalise import tokens

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_OPTIONS = 10

_AND = r"(?:\s*(?:,|;|/|&|\band\b|\bor\b)\s*)+"
# Nothing but letters: "b", "(B).", "A and C".
_BARE = re.compile(rf"^\W*(?:[A-Z]|\([A-Z]\))(?:{_AND}(?:[A-Z]|\([A-Z]\)))*\W*$")
_BARE_SMALL = re.compile(r"^\W*[a-z]\W*$")
# A letter that stands as a label: "B.", "(B)", "B:", "\boxed{B}".
_LABEL = re.compile(
    r"(?:^|(?<=[\s,;:]))\(?([A-Z])[).:](?=\s|$)|\(([A-Z])\)|\\boxed\{\s*([A-Z])\s*\}"
)
# "option B", "the answer is B", "options A and C".
_NAMED = re.compile(
    rf"\b(?i:options?|choices?|answers?|letters?)(?i:\s+is|\s+are)?\s*:?\s*"
    rf"\(?([A-Z])\b(?!')\)?((?:{_AND}\(?[A-Z]\b\)?)*)"
)
_LETTER = re.compile(r"(?<![A-Za-z])[A-Za-z](?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Choice:
    """The option that an answer names.

    Attributes:
        index: place of the option, from 0; None where none is named, or more than one.
        named: places of all options that the answer names, in their order.
    """

    index: int | None
    named: tuple[int, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether the answer names more than one option."""
        return len(self.named) > 1


def read_choice(answer: str, options: Sequence[str]) -> Choice:
    """Which option an answer names.

    A letter counts where it stands alone or as a label; the words of an option count where they
    stand together in the answer and are no part of a longer option that stands there too. Letter
    and words must agree.

    Args:
        answer: text of the answer block.
        options: as shown, the first is A.

    >>> organs = ["left lung", "lung", "liver", "spleen"]
    >>> read_choice("B", organs).index, read_choice("The left lung.", organs).index
    (1, 0)
    >>> read_choice("C. liver", organs).index, read_choice("D. liver", organs)
    (2, Choice(index=None, named=(2, 3)))
    >>> read_choice("a tumor", organs), read_choice("liver or spleen", organs).ambiguous
    (Choice(index=None, named=()), True)
    """
    named = set(_by_letter(answer, len(options))) | set(_by_words(answer, options))
    return Choice(next(iter(named)) if len(named) == 1 else None, tuple(sorted(named)))


def in_words(answer: str, options: Sequence[str]) -> str:
    """The words of the option that an answer names; the answer itself where it names no single one.

    >>> in_words("B", ["liver", "spleen"]), in_words("kidney", ["liver", "spleen"])
    ('spleen', 'kidney')
    """
    chosen = read_choice(answer, options).index if options else None
    return answer if chosen is None else options[chosen]


def option_lines(options: Sequence[str]) -> str:
    r"""Options as the prompt shows them, a line each.

    >>> option_lines(["liver", "spleen"])
    'A. liver\nB. spleen'
    """
    return "\n".join(labelled(options, place) for place in range(len(options)))


def labelled(options: Sequence[str], place: int) -> str:
    """An option with its letter, as a reference answer has it.

    >>> labelled(["liver", "spleen"], 1)
    'B. spleen'
    """
    return f"{LETTERS[place]}. {options[place]}"


def shuffled(options: Sequence[str], seed: str, turns: int = 0) -> tuple[str, ...]:
    """The options in an order drawn with the seed, then moved on by so many places.

    Over as many turns as there are options each option stands once at every place.

    >>> first = shuffled(["a", "b", "c"], "0 one")
    >>> shuffled(["a", "b", "c"], "0 one", 1) == (*first[1:], first[0])
    True
    """
    order = list(options)
    random.Random(crc32(seed.encode())).shuffle(order)
    turns %= max(1, len(order))
    return (*order[turns:], *order[:turns])


def _by_letter(answer: str, count: int) -> list[int]:
    if _BARE.match(answer) or _BARE_SMALL.match(answer):
        letters = _LETTER.findall(answer)
    else:
        letters = [next(filter(None, match)) for match in _LABEL.findall(answer)]
        for first, more in _NAMED.findall(answer):
            letters += [first, *re.findall(r"[A-Z]\b", more)]
    places = [LETTERS.index(letter.upper()) for letter in letters]
    return [place for place in places if place < count]


def _by_words(answer: str, options: Sequence[str]) -> list[int]:
    whole = " ".join(answer.split()).casefold().rstrip(".")
    same = [
        place
        for place, option in enumerate(options)
        if whole == " ".join(option.split()).casefold().rstrip(".")
    ]
    if same:
        return same
    answer_words = tokens(answer)
    wanted = [tokens(option) for option in options]
    named = []
    # Longer options first, so that "lung" is not read out of "left lung".
    for place in sorted(range(len(options)), key=lambda number: -len(wanted[number])):
        words = wanted[place]
        starts = [
            start
            for start in range(len(answer_words) - len(words) + 1)
            if words and answer_words[start : start + len(words)] == words
        ]
        for start in starts:
            answer_words[start : start + len(words)] = [""] * len(words)
        if starts:
            named.append(place)
    return named
