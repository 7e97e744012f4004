"""A report as plain text and as PDF."""

from __future__ import annotations

import io
from xml.sax.saxutils import escape

from rarl.records import CaseSnapshot, Report
from rarl.reports.words import NOTICE, authorship, filled, shown_text, signature


def as_text(report: Report, case: CaseSnapshot) -> str:
    """The report as plain text: its title, its sections, who signed it, and what AI has written.

    Args:
        report: to write.
        case: that it is on.
    """
    lines = [report.title.upper(), ""]
    for section, sentences in filled(report):
        lines += [f"{section.title}:", *(shown_text(one) for one in sentences), ""]
    lines.append(signature(report))
    if report.amends:
        lines.append("This report corrects an earlier one.")
    lines += [authorship(report), NOTICE, f"Case {case.id}, report {report.id}."]
    return "\n".join(lines) + "\n"


def as_pdf(report: Report, case: CaseSnapshot) -> bytes:
    """The report as PDF, A4, on as many pages as it takes.

    Args:
        report: to write.
        case: that it is on.

    Returns:
        The file.
    """
    # Here, since they load reportlab, which only the app needs.
    from reportlab.lib.colors import Color
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.platypus import Flowable, Paragraph, SimpleDocTemplate

    from rarl.review.case_pdf import BOLD, REGULAR, drawable

    file = io.BytesIO()
    grey = Color(0.35, 0.35, 0.35)
    title = ParagraphStyle("title", fontName=BOLD, fontSize=15, leading=20)
    head = ParagraphStyle("head", fontName=BOLD, fontSize=10, leading=14, spaceBefore=8)
    body = ParagraphStyle("body", fontName=REGULAR, fontSize=10, leading=14)
    small = ParagraphStyle("small", fontName=REGULAR, fontSize=8, leading=11, textColor=grey)

    def written(text: str, style: ParagraphStyle) -> Flowable:
        return Paragraph(escape(drawable(text)).replace("\n", "<br/>"), style)

    page: list[Flowable] = [written(report.title, title), written(NOTICE, small)]
    for section, sentences in filled(report):
        page.append(written(section.title, head))
        page += [written(shown_text(one), body) for one in sentences]
    page += [written("Signature", head), written(signature(report), body)]
    if report.amends:
        page.append(written("This report corrects an earlier one.", body))
    page.append(written(authorship(report), small))
    page.append(written(f"Case {case.id}, report {report.id}.", small))
    SimpleDocTemplate(
        file, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=18 * mm,
        bottomMargin=18 * mm, title=report.title, author="", creator="RARL", invariant=True,
    ).build(page)  # fmt: skip
    return file.getvalue()
