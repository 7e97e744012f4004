"""Normalise answers; exact match and token overlap.

Rewards and evaluation share this module, so that a model is trained on what it is measured by.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_ARTICLES = frozenset({"a", "an", "the"})

NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()
    )
}

# Canonical word -> other ways to write it, after punctuation became spaces. Longer ones win.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    "xray": ("x ray", "x rays", "xrays", "radiograph", "radiographs", "radiography", "plain film"),
    "chest xray": ("cxr",),
    "ct": (
        "ct scan",
        "cat scan",
        "computed tomography",
        "computed tomography scan",
        "computerized tomography",
        "computerised tomography",
    ),
    "mri": (
        "mr",
        "mri scan",
        "mr imaging",
        "mr image",
        "magnetic resonance",
        "magnetic resonance image",
        "magnetic resonance imaging",
    ),
    "ultrasound": ("ultrasonography", "sonography", "sonogram", "ultrasound scan"),
    "pa": ("posteroanterior", "posterior anterior", "postero anterior"),
    "ap": ("anteroposterior", "anterior posterior", "antero posterior"),
    "axial": ("transverse", "transaxial"),
    "tumor": ("tumour", "tumors", "tumours"),
    "edema": ("oedema",),
    "hemorrhage": ("haemorrhage",),
    "hematoma": ("haematoma",),
    "esophagus": ("oesophagus",),
}
_CANONICAL = {other: word for word, others in _SYNONYMS.items() for other in others}
_LONGEST_FIRST = "|".join(sorted(_CANONICAL, key=len, reverse=True))
_OTHERS = re.compile(rf"(?<![a-z0-9])(?:{_LONGEST_FIRST})(?![a-z0-9])")
_DASH = re.compile(r"(?<=[a-z])[-\u2010-\u2014/](?=[a-z])")
# Chinese has no spaces: each sign is a word.
_WORDS = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[\u3400-\u9fff]")


def normalise(text: str) -> str:
    r"""Lower case, no punctuation or articles, digits for numbers, one word per synonym.

    Sides stay as they are: left and right are never the same.

    >>> normalise("The chest X-ray, PA view.")
    'chest xray pa view'
    >>> normalise("\u5de6\u80ba\u3002")
    '\u5de6 \u80ba'
    >>> normalise("Two"), normalise("Magnetic Resonance Imaging"), normalise("Left-sided")
    ('2', 'mri', 'left sided')
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(
        NUMBERS.get(word, word) for word in _WORDS.findall(plain) if word not in _ARTICLES
    )
    return _OTHERS.sub(lambda match: _CANONICAL[match[0]], words)


def canonical(text: str) -> str:
    """Lower case, plain dashes and one word per synonym; punctuation and articles stay.

    >>> canonical("The chest X-ray shows a non-calcified nodule.")
    'the chest xray shows a non calcified nodule.'
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return _OTHERS.sub(lambda match: _CANONICAL[match[0]], _DASH.sub(" ", plain))


def tokens(text: str) -> list[str]:
    """The words of the normal form."""
    return normalise(text).split()


def exact_match(prediction: str, reference: str) -> bool:
    """Whether both have the same normal form; an empty prediction matches nothing.

    >>> exact_match("A radiograph.", "X-Ray"), exact_match("left lung", "right lung")
    (True, False)
    """
    predicted = normalise(prediction)
    return bool(predicted) and predicted == normalise(reference)


def token_f1(prediction: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the words of both normal forms.

    >>> token_f1("pleural effusion", "a left pleural effusion")
    0.8
    >>> token_f1("", "yes")
    0.0
    """
    given, wanted = Counter(tokens(prediction)), Counter(tokens(reference))
    shared = (given & wanted).total()
    return 2 * shared / (given.total() + wanted.total()) if shared else 0.0
