# ruff: noqa: RUF001 - letters of many alphabets
"""Dates with a day in typed text, in the languages of most archives."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from functools import cache

from rarl.scans.months import months_by_name, plain

_ISO = re.compile(r"(?<!\d)(\d{4})(?:[-./]|\. )(\d{1,2})(?:[-./]|\. )(\d{1,2})(?!\d)")
_NUMERIC = re.compile(
    r"(?<![\d.])(\d{1,2})(?:[-./]|\. )(\d{1,2})(?:[-./]|\. )(\d{4}|\d{2})(?![\d.]*\d)"
)
_COMPACT = re.compile(r"(?<![\d.])((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?![\d.]*\d)")
_EAST_ASIAN = re.compile(r"(?<!\d)(\d{4})\s*[年년]\s*(\d{1,2})\s*[月월]\s*(\d{1,2})\s*[日号號일]?")
_WRITTEN = re.compile(
    r"([〇零一二三四五六七八九]{4})年([一二三四五六七八九十]{1,3})月([一二三四五六七八九十]{1,3})[日号號]"
)
_ERA = re.compile(
    r"(令和|平成|昭和|大正|明治|民國|民国)\s*(元|\d{1,3})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日"
)
# The year before the first of each era.
_ERAS = {
    "令和": 2018,
    "平成": 1988,
    "昭和": 1925,
    "大正": 1911,
    "明治": 1867,
    "民國": 1911,
    "民国": 1911,
}
_VIETNAMESE = re.compile(
    r"(?<!\d)(\d{1,2}) th[áa]ng (\d{1,2})(?:,| n[ăa]m)? (\d{4})(?!\d)", re.IGNORECASE
)
_DIGITS = {mark: number for number, mark in enumerate("〇一二三四五六七八九")} | {"零": 0}
_BUDDHIST = 543


def dates_in(text: str) -> Iterator[tuple[re.Match[str], list[date]]]:
    """Find dates, with the days each may mean (day or month first, either century).

    >>> [match[0] for match, _ in dates_in("visto el 3 de marzo de 2021, 12 mm")]
    ['3 de marzo de 2021']
    """
    for match in _ISO.finditer(text):
        yield match, days(match[1], match[2], match[3])
    for match in _NUMERIC.finditer(text):
        candidates = [
            day
            for year in _years(match[3])
            for first, second in ((match[1], match[2]), (match[2], match[1]))
            for day in days(year, second, first)
        ]
        # "1.5.10" may be a version and "3/4/12" a score; only what is a day counts.
        if candidates:
            yield match, candidates
    for match in _COMPACT.finditer(text):
        candidates = days(match[1], match[2], match[3])
        if candidates:
            yield match, candidates
    yield from _in_words(text)
    yield from _in_east_asia(text)
    for match in _VIETNAMESE.finditer(text):
        yield match, days(match[3], match[2], match[1])


def days(year: str, month: str, day: str) -> list[date]:
    """The day that three numbers name; none where there is no such day."""
    try:
        number = int(year)
        if number >= 2400:  # the Buddhist calendar of Thailand
            number -= _BUDDHIST
        return [date(number, int(month), int(day))]
    except ValueError:
        return []


def _years(text: str) -> list[str]:
    return [text] if len(text) == 4 else [f"19{text}", f"20{text}"]


@cache
def _named() -> tuple[dict[str, tuple[int, ...]], tuple[re.Pattern[str], ...]]:
    """The months by name, and the patterns of dates that name one: day, month or year first.

    Made when a text is first looked at. Each pattern has the groups `day`, `month` and `year`.
    """
    months = months_by_name()
    names = "|".join(re.escape(name) for name in sorted(months, key=len, reverse=True))
    month = rf"(?P<month>{names})"
    day = r"(?<![A-Za-z0-9_.,])(?P<day>\d{1,2})"
    year = r"(?P<year>\d{4})(?!\d)"
    ordinal = r"(?:st|nd|rd|th|er|ère|e|º|ª|°|\.|-?(?:го|е|й))?"
    between = r"[ \-./]*(?:of |de |del |di |den |do |d['’]|ב)?"
    after = r"\.?,?[ \-./]*(?:de |del |of |do )?"
    return months, (
        re.compile(rf"{day}{ordinal}{between}{month}{after}{year}", re.IGNORECASE),
        # A year of two digits only where marks join it: "3 may 12" may be about millimetres.
        re.compile(rf"{day}[-./]{month}[-./'’](?P<year>\d{{2}})(?!\d)", re.IGNORECASE),
        re.compile(
            rf"(?<![^\W\d_]){month}\.? (?P<day>\d{{1,2}}){ordinal},?(?: de| del| of)? {year}",
            re.IGNORECASE,
        ),
        re.compile(
            rf"(?<!\d)(?P<year>\d{{4}})(?:\. ?| m\. |,? |-|/){month}[ \-./]*"
            r"(?P<day>\d{1,2})(?!\d)",
            re.IGNORECASE,
        ),
    )


def _in_words(text: str) -> Iterator[tuple[re.Match[str], list[date]]]:
    months, patterns = _named()
    for pattern in patterns:
        for match in pattern.finditer(text):
            name = match["month"].lower()
            numbers = months.get(name) or months.get(plain(name), ())
            candidates = [
                day
                for year in _years(match["year"])
                for number in numbers
                for day in days(year, str(number), match["day"])
            ]
            if candidates:
                yield match, candidates


def _in_east_asia(text: str) -> Iterator[tuple[re.Match[str], list[date]]]:
    for match in _EAST_ASIAN.finditer(text):
        yield match, days(match[1], match[2], match[3])
    for match in _WRITTEN.finditer(text):
        year = "".join(str(_DIGITS[mark]) for mark in match[1])
        yield match, days(year, str(_written(match[2])), str(_written(match[3])))
    for match in _ERA.finditer(text):
        number = 1 if match[2] == "元" else int(match[2])
        yield match, days(str(_ERAS[match[1]] + number), match[3], match[4])


def _written(text: str) -> int:
    """A Chinese numeral up to 99.

    >>> _written("二十四"), _written("十"), _written("三")
    (24, 10, 3)
    """
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return _DIGITS.get(text, 0)
    return 10 * _DIGITS.get(tens, 1) + _DIGITS.get(ones, 0)
