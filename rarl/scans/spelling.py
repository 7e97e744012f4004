# ruff: noqa: RUF001 - letters of many alphabets
"""One name in its spellings: accents, ae for ä, inflected, or inside a sentence without spaces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_EXPANDED = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "œ": "oe", "þ": "th",
     "ð": "dh"}
)  # fmt: skip
# Letters that are no letter with an accent to Unicode.
_PLAIN = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "đ": "d", "ł": "l", "ı": "i", "ħ": "h"}
)  # fmt: skip
# Scripts without spaces between words: kana, Chinese characters, Hangul; Thai, Lao, Khmer, Burmese.
_CHINESE = "㐀-䶿一-鿿豈-﫿々〆〇"
_KANA = "ぁ-ゟァ-ヿｦ-ﾟー"
_HANGUL = "가-힣"
_RUNS = re.compile(rf"[{_CHINESE}{_KANA}]+")
_HANGUL_RUNS = re.compile(rf"[{_HANGUL}]+")
_INDIC_RUNS = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
_ONLY_KANA = re.compile(rf"[{_KANA}]+")
_CHINESE_MARK = re.compile(rf"[{_CHINESE}]")
_AFTER_A_NAME = re.compile(r"(?:さん|ちゃん|くん|さま|の|は|が|を|に|へ|と|も|で)")
_TITLES = "さん|様|氏|殿|君|先生|女士|小姐|太太|医生|醫生|씨|님"
_SURNAME = re.compile(rf"([{_CHINESE}{_HANGUL}])(?:{_TITLES})")
_LONGEST = 10
_ENDING = 3
_SHORTEST_LATIN, _SHORTEST_OTHER = 6, 4
_WORD = re.compile(r"[^\W\d_]+")


def normal(text: str) -> str:
    """Case, accents, kana and punctuation taken away; words stay apart by one space."""
    folded = unicodedata.normalize("NFKD", text.casefold().translate(_PLAIN))
    kept = (mark if mark.isalnum() or mark == "ー" else " " for mark in folded
            if not unicodedata.combining(mark))  # fmt: skip
    return " ".join("".join(map(_hiragana, kept)).split())


def _hiragana(mark: str) -> str:
    return chr(ord(mark) - 0x60) if "ァ" <= mark <= "ヶ" else mark


def forms(text: str) -> tuple[str, ...]:
    """A text as `normal` has it, and the same with ae for ä where that differs.

    >>> forms("Müller"), forms("Mueller")
    (('muller', 'mueller'), ('mueller',))
    """
    composed = unicodedata.normalize("NFC", text.casefold())
    return tuple(dict.fromkeys((normal(text), normal(composed.translate(_EXPANDED)))))


def readings(text: str) -> tuple[str, ...]:
    """A header's text, and what it says where its character set was not declared.

    pydicom reads undeclared bytes as Latin-1.
    """
    if not any("\x80" <= mark <= "ÿ" for mark in text):
        return (text,)
    spellings = [text]
    for encoding in ("utf-8", "gb18030", "shift_jis", "euc_kr", "cp1251"):
        try:
            spellings.append(text.encode("latin-1").decode(encoding))
        except UnicodeError:
            continue
        if encoding == "utf-8":
            break
    return tuple(spellings)


def name_words(text: str) -> Iterator[str]:
    """Ways to type a Person Name (PS3.5 6.2.1.2) beyond its single words, in `normal` form.

    In Chinese characters, kana and Hangul family and given name stand together; a family name of
    one character is found where a title follows it (see `surnames`).
    """
    for group in text.split("="):
        parts = [part for part in group.split("^")[:2] if part.strip()]
        if not parts or not _without_spaces(parts[0]):
            continue
        if len(parts) > 1:
            yield normal("".join(parts)).replace(" ", "")
            yield normal("".join(reversed(parts))).replace(" ", "")
        if len(parts[0].strip()) == 1:
            yield surname(parts[0])


def _without_spaces(text: str) -> bool:
    return bool(_RUNS.search(text) or _HANGUL_RUNS.search(text) or _INDIC_RUNS.search(text))


def surname(mark: str) -> str:
    """The form under which a family name of one character is kept."""
    return f"surname {normal(mark)}"


def surnames(text: str) -> Iterator[tuple[int, int, str]]:
    """Positions of a character before a title, with the form to look it up by."""
    for match in _SURNAME.finditer(text):
        yield *match.span(), surname(match[1])


def names_inside(text: str) -> Iterator[tuple[int, int]]:
    """Positions where names may stand inside longer words, the longer first.

    Pieces of sentences without spaces, and words without an ending of up to three letters.
    """
    for match in _RUNS.finditer(text):
        start, end = match.span()
        for first, last in _pieces(start, end, 2):
            if _stands_alone(text, first, last, start, end):
                yield first, last
    for match in _HANGUL_RUNS.finditer(text):
        # A particle may follow a name; before it stands at most the family name.
        for first, last in _pieces(*match.span(), 2):
            if first - match.start() <= 1:
                yield first, last
    for match in _INDIC_RUNS.finditer(text):
        yield from _pieces(*match.span(), 4)
    for match in _WORD.finditer(text):
        start, end = match.span()
        if _without_spaces(match[0]):
            continue
        latin = match[0][0].lower() < "ͰͰ"
        shortest = _SHORTEST_LATIN if latin else _SHORTEST_OTHER
        for cut in range(1, _ENDING + 1):
            if end - cut - start >= shortest or (cut == 1 and latin and match[0][-1] in "sS"):
                yield start, end - cut
            if not latin and end - start - cut >= shortest:  # "and", "the" and "to" are joined
                yield start + cut, end


def _pieces(start: int, end: int, shortest: int) -> Iterator[tuple[int, int]]:
    for length in range(min(_LONGEST, end - start), shortest - 1, -1):
        for first in range(start, end - length + 1):
            yield first, first + length


def _stands_alone(text: str, first: int, last: int, start: int, end: int) -> bool:
    """Whether a piece is no middle of a word: kana only between other marks or before a particle.

    A name of two kana is part of many words; Chinese characters stand for themselves.
    """
    if _CHINESE_MARK.search(text, first, last):
        return True
    before = first == start or not _ONLY_KANA.fullmatch(text[first - 1])
    after = last == end or not _ONLY_KANA.fullmatch(text[last])
    return before and (after or _AFTER_A_NAME.match(text, last) is not None)


def stems(word: str) -> Iterator[str]:
    """A name in Cyrillic without the ending that its case changes.

    >>> list(stems("иванова")), list(stems("smith"))
    (['иванов'], [])
    """
    if len(word) >= 5 and re.fullmatch(r"[Ѐ-ӿ]+", word):
        stem = re.sub(r"[аеёиоуыэюяйьъ]{1,2}$", "", word)
        if len(stem) >= 4 and stem != word:
            yield stem
