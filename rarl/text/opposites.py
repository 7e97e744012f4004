"""Antonyms of general English, and prefixes that negate a word."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

# One axis a line: words of one pole, then of the other. A word may lie on one axis only.
_AXES = (
    "increased elevated high higher raised large larger enlarged dilated dilatation thick thickened"
    " wide widened widening big bigger swollen enlargement distended prominent expanded thickening"
    " / decreased reduced low small smaller narrow narrowed narrowing thin thinned shrunken"
    " atrophic atrophy reduction loss short shortened collapsed",
    "bright hyperdense hyperintense hyperechoic dense opaque opacified echogenic opacity"
    " sclerotic radiopaque avid / dark hypodense hypointense hypoechoic lucent radiolucent black"
    " anechoic lytic photopenic",
    "sharp smooth circumscribed demarcated distinct delineated / blunted"
    " irregular spiculated blurred indistinct jagged ragged lobulated nodular hazy uneven obscured",
    "acute fresh recent sudden new hyperacute / chronic old longstanding remote previous healed",
    "benign harmless innocent / malignant cancerous malignancy cancer carcinoma suspicious",
    "intact preserved continuous unbroken unharmed / ruptured torn broken fractured"
    " disrupted interrupted discontinuous lacerated destroyed eroded tear rupture fracture",
    "patent open permeable perfused / occluded blocked obstructed closed thrombosed obstruction"
    " occlusion",
    "single solitary / multiple several many numerous",
    "solid / cystic",
    "focal localized localised circumscript / diffuse widespread generalized generalised global",
    "severe marked advanced extensive pronounced / mild slight minimal subtle minor",
    "homogeneous uniform / heterogeneous mixed inhomogeneous patchy",
    "stable unchanged / progressive worsening growing",
    "improved better resolved / worse worsened",
    "hot / cold",
    "mobile / immobile fixed paralysed paralyzed stuck",
    "enhancing / nonenhancing",
    "aerated aeration / airless consolidated",
    "normal unremarkable healthy / abnormal pathological diseased",
    "upper superior top apex apical / lower inferior bottom base basal",
    "anterior ventral front / posterior dorsal back",
    "medial inner internal / lateral outer external",
    "proximal / distal",
    "central / peripheral",
)
# Values of which an image has one.
_CHOICES = ("ct mri ultrasound xray mammography scintigraphy endoscopy histology",)
_PREFIXES = ("non", "un", "in", "im", "ir", "il", "dis", "ab", "a", "an")
_GRADES = ("hyper", "hypo", "iso", "normo")
_SHORTEST = 4


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    return import_module("snowballstemmer").stemmer("english")


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending, in American spelling.

    >>> stem("haemorrhages") == stem("hemorrhage"), stem("dilated") == stem("dilatation")
    (True, True)
    """
    if len(word) > _SHORTEST:
        word = word.replace("ae", "e").replace("oe", "e")
        if word.endswith(("our", "ours")):
            word = word.replace("our", "or")
        if word.endswith(("tre", "bre")):
            word = word[:-2] + "er"
    plain: str = _stemmer().stemWord(word)
    # A noun of an action and its verb share what is left ("dilatation", "dilated").
    if plain.endswith("at") and len(plain) > _SHORTEST + 1:
        plain = plain[:-2]
    return plain


@lru_cache(maxsize=1)
def _poles() -> dict[str, tuple[int, int]]:
    poles: dict[str, tuple[int, int]] = {}
    for axis, line in enumerate(_AXES):
        for sign, words in zip((1, -1), line.split("/"), strict=True):
            for word in words.split():
                poles.setdefault(stem(word), (axis, sign))
    return poles


@lru_cache(maxsize=1)
def _choices() -> dict[str, int]:
    return {stem(word): group for group, line in enumerate(_CHOICES) for word in line.split()}


def pole(stemmed: str) -> tuple[int, int] | None:
    """The axis of a stem and its sign on it, or None.

    >>> pole(stem("enlarged"))[1], pole(stem("shrunken"))[1], pole(stem("spleen"))
    (1, -1, None)
    """
    return _poles().get(stemmed)


def choice(stemmed: str) -> int | None:
    """The group of values to which a stem belongs, of which only one holds; None for others."""
    return _choices().get(stemmed)


def base_of(word: str, other: str) -> bool:
    """Whether one word is the other with a denying prefix.

    >>> base_of("irregular", "regular"), base_of("incompressible", "compressible")
    (True, True)
    >>> base_of("inner", "ner"), base_of("hyperintense", "hypointense")
    (False, False)
    """
    long, short = (word, other) if len(word) > len(other) else (other, word)
    if len(short) < _SHORTEST or not long.endswith(short):
        return False
    return long[: len(long) - len(short)] in _PREFIXES


def other_grade(word: str, other: str) -> bool:
    """Whether two words differ in their degree ("hyperintense", "hypointense").

    >>> other_grade("hyperdense", "hypodense"), other_grade("hyperdense", "hyperdense")
    (True, False)
    """
    grades = [
        (grade, text.removeprefix(grade))
        for text in (word, other)
        for grade in _GRADES
        if text.startswith(grade)
    ]
    return len(grades) == 2 and grades[0][1] == grades[1][1] and grades[0][0] != grades[1][0]
