"""A case as one page of PDF, to print, to file or to discuss."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from xml.sax.saxutils import escape

import matplotlib
from PIL import Image, ImageDraw
from reportlab.lib.colors import Color
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

from rarl.records import CaseSnapshot, Picture
from rarl.response import problem_sentence
from rarl.scans.header_allowlist import UID_KEYWORDS

# All lengths are points (1/72 inch); `y` falls from the top of the page to its foot.
_WIDTH, _HEIGHT = A4
_MARGIN = 14.0 * mm
_INNER = _WIDTH - 2 * _MARGIN
_PICTURE = 84.0 * mm
_FOOT = 34.0 * mm
_GAP = 4.0 * mm
# Point sizes of the answers, largest first; then texts are cut to so many characters.
_SIZES = (9.0, 8.0, 7.0, 6.0)
_CUTS = (1500, 700, 300, 120, 40)
_LEADING = 1.3  # line height, in font sizes
_NOTICE = "For research. Not a medical device, not for diagnosis."
REGULAR, BOLD = "RARL-Regular", "RARL-Bold"
"""The fonts, once `drawable` has been called."""
_REGION = (255, 140, 0)


def case_sheet(case: CaseSnapshot, remarks: Sequence[str] = ()) -> bytes:
    """Draw the page: picture with its region, question, answers, readers' remarks, revisions.

    Text too long for one page is set smaller, and in the end cut, which the page then says.

    Args:
        case: the case.
        remarks: what readers wrote about it, a sentence each.

    Returns:
        The PDF file.
    """
    for size in _SIZES:
        page = _Page(case, remarks, size)
        if page.fits:
            return page.pdf()
    for most in _CUTS:
        page = _Page(_shortened(case, most), [_short(remark, most) for remark in remarks],
                     _SIZES[-1], cut=True)  # fmt: skip
        if page.fits:
            break
    return page.pdf()


@cache
def _font_characters() -> frozenset[int]:
    """Register the fonts with reportlab; the code points that the regular one can draw."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    regular = TTFont(REGULAR, str(folder / "DejaVuSans.ttf"))
    pdfmetrics.registerFont(regular)
    pdfmetrics.registerFont(TTFont(BOLD, str(folder / "DejaVuSans-Bold.ttf")))
    return frozenset(regular.face.charToGlyph)


def drawable(text: str) -> str:
    """The text with a replacement mark for each letter that the fonts lack."""
    known = _font_characters()
    return "".join(
        letter if ord(letter) in known or letter == "\n" else "\ufffd" for letter in text
    )


class _Page:
    """One try at the page.

    Args:
        case: what is drawn.
        remarks: what readers wrote.
        size: of the answers, in points.
        cut: whether texts were cut.
    """

    def __init__(
        self, case: CaseSnapshot, remarks: Sequence[str], size: float, cut: bool = False
    ) -> None:
        self._file = io.BytesIO()
        self._canvas = Canvas(self._file, pagesize=A4)
        self._canvas.setTitle("RARL case")
        self._y = _MARGIN
        self._head(case)
        self._question(case)
        self._answers(case, size)
        self._remarks(remarks, size)
        self.fits = self._y <= _HEIGHT - _FOOT
        self._provenance(case, cut)

    def pdf(self) -> bytes:
        """The file; the page cannot be drawn on afterwards."""
        self._canvas.showPage()
        self._canvas.save()
        return self._file.getvalue()

    def _write(
        self,
        text: str,
        size: float,
        *,
        bold: bool = False,
        left: float = _MARGIN,
        width: float | None = None,
        grey: int = 20,
    ) -> None:
        """Draw text below the last one, and move down by its height.

        Args:
            text: plain text; a line break starts a new line.
            size: of the font, in points.
            bold: whether it is bold.
            left: of the column, in points from the left edge.
            width: of the column, in points; None reaches to the right margin.
            grey: 0 is black, 255 white.
        """
        known = drawable(text)
        style = ParagraphStyle(
            "text",
            fontName=BOLD if bold else REGULAR,
            fontSize=size,
            leading=size * _LEADING,
            textColor=Color(grey / 255, grey / 255, grey / 255),
        )
        paragraph = Paragraph(escape(known).replace("\n", "<br/>"), style)
        _, height = paragraph.wrap(width or _WIDTH - _MARGIN - left, _HEIGHT)
        paragraph.drawOn(self._canvas, left, _HEIGHT - self._y - height)
        self._y += height

    def _head(self, case: CaseSnapshot) -> None:
        self._write("RARL case", 15, bold=True)
        self._write(f"{case.created:%Y-%m-%d %H:%M} UTC. {_NOTICE}", 8, grey=90)
        self._y += 3 * mm

    def _question(self, case: CaseSnapshot) -> None:
        top = self._y
        kept = [picture for picture in case.pictures if picture.png is not None]
        bottom = top
        for place, picture in enumerate(kept[:4]):
            side = _PICTURE if len(kept) == 1 else (_PICTURE - _GAP) / 2
            left = _MARGIN + (place % 2) * (side + _GAP)
            above = top + (place // 2) * (side + _GAP)
            self._canvas.drawImage(
                ImageReader(_with_region(picture)),
                left,
                _HEIGHT - above - side,
                side,
                side,
                preserveAspectRatio=True,
            )
            bottom = max(bottom, above + side)
        known = [
            (key, value)
            for key, value in case.attributes.items()
            if value and key not in UID_KEYWORDS
        ][:12]
        facts = [f"{_in_words(key)}: {value}" for key, value in known]
        if case.modality and not any(line.startswith("Modality") for line in facts):
            facts.insert(0, f"Modality: {case.modality}")
        facts += [f"Picture: {_looked_at(picture)}" for picture in case.pictures]
        if not kept:
            facts.append("This site keeps only the hashes of pictures.")
        beside = _MARGIN + (_PICTURE + _GAP * 2 if kept else 0)
        self._write(case.question, 12, bold=True, left=beside)
        self._y += 1 * mm
        self._write("\n".join(facts), 8, left=beside, grey=70)
        self._y = max(bottom, self._y) + _GAP

    def _answers(self, case: CaseSnapshot, size: float) -> None:
        top = self._y
        width = (_INNER - _GAP * (len(case.answers) - 1)) / len(case.answers)
        bottom = top
        for place, answer in enumerate(case.answers):
            left = _MARGIN + place * (width + _GAP)
            self._y = top
            self._write(answer.label, size + 1, bold=True, left=left, width=width)
            self._write(f"weights {answer.revision}", 6.5, left=left, width=width, grey=90)
            self._y += 1 * mm
            self._write(answer.answer or "no answer", size + 3, bold=True, left=left, width=width)
            self._y += 1 * mm
            if answer.reasoning:
                self._write(answer.reasoning, size, left=left, width=width, grey=40)
            faults = [problem_sentence(problem) for problem in answer.problems]
            if answer.stopped:
                faults = ["Stopped by the reader."]
            faults += [answer.note] if answer.note else []
            if faults:
                self._write(" ".join(faults), size - 1, left=left, width=width, grey=90)
            bottom = max(bottom, self._y)
        self._y = bottom + _GAP

    def _remarks(self, remarks: Sequence[str], size: float) -> None:
        self._write("Readers' remarks", size + 1, bold=True)
        self._write("\n".join(remarks) or "None yet.", size)

    def _provenance(self, case: CaseSnapshot, cut: bool) -> None:
        self._y = _HEIGHT - _FOOT + 6 * mm
        decoding = case.decoding
        sampling = "greedy" if decoding.temperature == 0 else (
            f"temperature {decoding.temperature:g}, top-p {decoding.top_p:g}, seed {decoding.seed}"
        )  # fmt: skip
        lines = [
            f"Case {case.id}. Model {Path(case.model).name}, mode {case.mode}, prompt "
            f"{case.prompt_hash}, {sampling}, at most {decoding.max_new_tokens} tokens, "
            f"RARL {case.app_version}{', read blind' if case.blind else ''}.",
            *(f"{picture.name or 'Picture'}: SHA-256 {picture.sha256}"
              for picture in case.pictures[:4]),
        ]  # fmt: skip
        if cut:
            lines.insert(0, "Texts were cut to fit the page; the case itself holds them whole.")
        self._write("\n".join(lines), 6, grey=90)


def _in_words(keyword: str) -> str:
    """A DICOM keyword as people read it.

    >>> _in_words("ManufacturerModelName"), _in_words("KVP"), _in_words("PatientSex")
    ('Manufacturer model name', 'KVP', 'Patient sex')
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", keyword).split()
    return " ".join([words[0], *(w if w.isupper() else w.lower() for w in words[1:])])


def _with_region(picture: Picture) -> Image.Image:
    image = picture.image().convert("RGB")
    if picture.shown.region is not None:
        width = max(2, max(image.size) // 200)
        ImageDraw.Draw(image).rectangle(picture.shown.region, outline=_REGION, width=width)
    return image


def _looked_at(picture: Picture) -> str:
    shown = picture.shown
    words = [picture.name, f"{picture.width} x {picture.height} pixels"]
    if shown.plane != "acquired":
        words.append(shown.plane)
    words.append(f"slice {shown.frame + 1}")
    if shown.window:
        words.append(f"level {shown.window[0]:g}, width {shown.window[1]:g}")
    words += ["inverted"] * shown.invert
    words += ["region marked"] if shown.region else []
    words += [f"{len(shown.masks)} covered"] if shown.masks else []
    return ", ".join(word for word in words if word)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _shortened(case: CaseSnapshot, most: int) -> CaseSnapshot:
    answers = tuple(
        answer.model_copy(
            update={
                "answer": _short(answer.answer, most),
                "reasoning": _short(answer.reasoning, most),
            }
        )
        for answer in case.answers
    )
    return case.model_copy(update={"question": _short(case.question, most), "answers": answers})
