"""A case on one page of PDF."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

import pytest
from pypdf import PdfReader

from rarl.review import CaseSnapshot
from rarl.review.case_pdf import case_sheet

MakeCase = Callable[..., CaseSnapshot]


def test_any_case_is_one_page_with_its_picture(make_case: MakeCase) -> None:
    short = case_sheet(make_case(), ["Flag on RL: missed finding."])
    long = case_sheet(make_case(rarl=f"<think>{'The lungs are clear. ' * 900}</think>"))
    for pdf in (short, long):
        assert pdf.startswith(b"%PDF")
        (page,) = PdfReader(io.BytesIO(pdf)).pages
        assert len(page.images) == 1
        # What did not fit was set smaller or cut, not drawn over the edge.
        heights: list[float] = []
        page.extract_text(
            visitor_text=lambda text, matrix, transform, *_, heights=heights: (
                heights.append(transform[5] + matrix[5]) if text.strip() else None
            )
        )
        assert len(heights) > 10 and min(heights) > 0 and max(heights) < page.mediabox.height


def text_of(pdf: bytes) -> str:
    return " ".join(PdfReader(io.BytesIO(pdf)).pages[0].extract_text().split())


def test_the_page_holds_question_answers_remarks_and_revisions(make_case: MakeCase) -> None:
    case = make_case(question="Größer als 5 µm & <b>rund</b>?")
    text = text_of(case_sheet(case, ["Flag on RL: missed finding.", "Two readers agree."]))
    assert "Größer als 5 µm & <b>rund</b>?" in text
    assert "No line of the pleura." in text and "Stopped by the reader." in text
    assert "Flag on RL: missed finding. Two readers agree." in text
    assert case.id in text and all(answer.revision in text for answer in case.answers)
    assert "cut to fit" not in text
    assert "cut to fit" in text_of(case_sheet(make_case(rarl="The lungs are clear. " * 900)))


def test_keywords_of_the_header_are_words(make_case: MakeCase) -> None:
    case = make_case().model_copy(
        update={"attributes": {"PatientSex": "F", "ManufacturerModelName": "M 1"}}
    )
    text = text_of(case_sheet(case))
    assert "Patient sex: F" in text and "Manufacturer model name: M 1" in text


def test_letters_that_the_font_lacks_reach_no_log(
    make_case: MakeCase, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        case_sheet(make_case(question="肺に結節はありますか"))
    assert "肺" not in caplog.text


def test_nothing_of_the_pictures_own_metadata_is_in_the_file(make_case: MakeCase) -> None:
    assert b"Mustermann" not in case_sheet(make_case())
