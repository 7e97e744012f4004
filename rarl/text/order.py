"""Detect whether the words of a text stand in a plausible English order.

The likelihood of a text under a bigram model of word classes is compared with that of the same
words in random orders. Content words are classed by their ending, so that no term is unknown;
function words are classes of their own. A language whose function words are not in the model gets
no verdict.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from itertools import pairwise
from math import log

_FUNCTION_WORDS = frozenset(
    "a an the this that these those there it its they them their he she his her we you i our your"
    " is are was were be been being am has have had do does did can could may might must shall"
    " should will would not no nor neither either both each every all any some many few several"
    " more most less least other another such same of in on at to from by with without within into"
    " onto over under above below between among through across along around near beyond behind"
    " before after during since until against towards toward about as than and or but if whether"
    " because so although though while whereas when where which who whose what how why then thus"
    " hence therefore however also only very too well still just out up down off again further"
    " one two three here".split()
)
_ENDINGS = (
    "ing ed ly tion sion ment ness ity ance ence ism ist ous ive able ible ful less ical ic al ary"
    " ory ar oid ate ize ise ify er or est itis oma osis emia logy graphy graph scopy gram ure um"
    " us is a ss es s y th"
).split()
_BY_LENGTH = sorted(_ENDINGS, key=len, reverse=True)
_WORD = re.compile(r"[^\W_]+(?:'[a-z]+)?|[.,;:?!]")
_ORDERS = 24
_FEWEST = 5
# Of the words, at least so many must be English function words for a verdict.
_FEWEST_KNOWN = 2
_START = "<s>"


def word_class(word: str) -> str:
    """A function word itself, the mark or number as such, else the ending of the word.

    >>> word_class("the"), word_class("haemorrhage"), word_class("dilatation"), word_class("14")
    ('the', '-', '-tion', '9')
    """
    if word in _FUNCTION_WORDS:
        return word
    if word[0] in ".;:?!":
        return "."
    if word == ",":
        return ","
    if word[0].isdigit():
        return "9"
    return "-" + next((end for end in _BY_LENGTH if word.endswith(end) and word != end), "")


def words_and_marks(text: str) -> list[str]:
    """Lower-case words and punctuation marks."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, slots=True)
class OrderModel:
    """Bigram counts of word classes, with absolute discounting."""

    pairs: dict[str, dict[str, int]]
    singles: dict[str, int]

    def likelihood(self, first: str, second: str) -> float:
        """Log-likelihood ratio of the second class behind the first against anywhere."""
        total = sum(self.singles.values())
        alone = (self.singles.get(second, 0) + 1) / (total + len(self.singles) + 1)
        row = self.pairs.get(first)
        if not row:
            return 0.0
        seen = sum(row.values())
        discount = 0.75
        behind = max(row.get(second, 0) - discount, 0.0) / seen
        behind += discount * len(row) / seen * alone
        return log(behind / alone)


def count(texts: Iterable[str]) -> OrderModel:
    """A model of the texts."""
    pairs: dict[str, dict[str, int]] = {}
    singles: dict[str, int] = {}
    for text in texts:
        before = _START
        for word in words_and_marks(text):
            now = word_class(word)
            row = pairs.setdefault(before, {})
            row[now] = row.get(now, 0) + 1
            singles[now] = singles.get(now, 0) + 1
            before = _START if now == "." else now
    return OrderModel(pairs, singles)


@lru_cache(maxsize=1)
def _shipped() -> OrderModel:
    kept = json.loads(files("rarl.text").joinpath("order_model.json").read_text("utf-8"))
    return OrderModel(kept["pairs"], kept["singles"])


@lru_cache(maxsize=1 << 16)
def _link(first: str, second: str) -> float:
    return _shipped().likelihood(first, second)


def order_score(text: str, reference: str = "") -> float | None:
    """How much likelier a text's word order is than random orders of its words.

    Args:
        text: any text.
        reference: a text whose neighbouring words count as known neighbours.

    Returns:
        The difference in mean log-likelihood per word from the random orders, in units of their
        standard deviation; None for short texts and for those that are not English.
    """
    words = [word for word in words_and_marks(text) if word[0] not in ".,;:?!"]
    if len(words) < _FEWEST:
        return None
    classes = [word_class(word) for word in words]
    if (
        sum(word_class in _FUNCTION_WORDS for word_class in classes) < _FEWEST_KNOWN
        and len(words) < 12
    ):
        return None
    near = _neighbours(reference)
    own = _mean_likelihood(words, classes, near)
    rng = random.Random(0)
    others = []
    places = list(range(len(words)))
    for _ in range(_ORDERS):
        rng.shuffle(places)
        others.append(
            _mean_likelihood([words[i] for i in places], [classes[i] for i in places], near)
        )
    mean = sum(others) / len(others)
    spread = (sum((value - mean) ** 2 for value in others) / len(others)) ** 0.5
    return (own - mean) / max(float(spread), 1e-6)


def _mean_likelihood(
    words: Sequence[str], classes: Sequence[str], near: frozenset[tuple[str, str]]
) -> float:
    total = 0.0
    for (first, second), pair in zip(pairwise(classes), pairwise(words), strict=True):
        total += max(_link(first, second), 1.0) if pair in near else _link(first, second)
    return total / len(words)


@lru_cache(maxsize=4096)
def _neighbours(reference: str) -> frozenset[tuple[str, str]]:
    words = words_and_marks(reference)
    return frozenset(pairwise(words))
