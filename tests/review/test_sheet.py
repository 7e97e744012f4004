"""A case on one page of PDF."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Callable

import pytest

from rarl.review import CaseSnapshot
from rarl.review.sheet import case_sheet

MakeCase = Callable[..., CaseSnapshot]


def pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


def drawn(pdf: bytes) -> str:
    """The page's own drawing commands; text is in glyph numbers of each font's subset."""
    streams = re.findall(rb"/FlateDecode[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    texts = []
    for stream in streams:
        try:
            texts.append(zlib.decompress(stream).decode("latin-1"))
        except zlib.error:
            continue
    return next(text for text in texts if " Tj" in text or "] TJ" in text)


def test_any_case_is_one_page_with_its_picture(make_case: MakeCase) -> None:
    short = case_sheet(make_case(), ["Flag on RL: missed finding."])
    long = case_sheet(make_case(rarl=f"<think>{'The lungs are clear. ' * 900}</think>"))
    for pdf in (short, long):
        assert pdf.startswith(b"%PDF") and pages(pdf) == 1
        assert b"/Subtype /Image" in pdf
    # What did not fit was set smaller or cut, not drawn over the edge.
    heights = [float(y) for y in re.findall(r"BT [\d.]+ (-?[\d.]+) Td", drawn(long))]
    assert heights and min(heights) > 0


def test_letters_that_the_font_lacks_reach_no_log(
    make_case: MakeCase, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        case_sheet(make_case(question="肺に結節はありますか"))
    assert "肺" not in caplog.text


def test_nothing_of_the_pictures_own_metadata_is_in_the_file(make_case: MakeCase) -> None:
    assert b"Mustermann" not in case_sheet(make_case())
