"""A case as one page of PDF, to print, to file or to discuss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.fonts import TTFFont
from PIL import Image, ImageDraw

from rarl.response import problem_sentence
from rarl.review.case import CaseSnapshot, Picture

# A4 in mm, and what may stand on it.
_WIDTH, _HEIGHT, _MARGIN = 210.0, 297.0, 14.0
_INNER = _WIDTH - 2 * _MARGIN
_PICTURE = 84.0
_FOOT = 34.0
_GAP = 4.0
# Point sizes of the answers, largest first; then texts are cut to so many characters.
_SIZES = (9.0, 8.0, 7.0, 6.0)
_CUTS = (1500, 700, 300, 120, 40)
_NOTICE = "For research. Not a medical device, not for diagnosis."
_FAMILY = "body"
_REGION = (255, 140, 0)


def case_sheet(case: CaseSnapshot, remarks: Sequence[str] = ()) -> bytes:
    """The page: picture with its region, question, answers, what readers said, revisions.

    Text too long for one page is set smaller, and in the end cut, which the page then says.

    Args:
        case: what was asked and answered.
        remarks: what readers said of it, a sentence each.

    Returns:
        The PDF file.
    """
    for size in _SIZES:
        page = _Page(case, remarks, size)
        if page.fits:
            return bytes(page.output())
    for most in _CUTS:
        page = _Page(_shortened(case, most), [_short(remark, most) for remark in remarks],
                     _SIZES[-1], cut=True)  # fmt: skip
        if page.fits:
            break
    return bytes(page.output())


class _Page(FPDF):
    """One try at the page.

    Args:
        case: what is drawn.
        remarks: what readers said.
        size: of the answers, in points.
        cut: whether texts were cut.
    """

    def __init__(
        self, case: CaseSnapshot, remarks: Sequence[str], size: float, cut: bool = False
    ) -> None:
        super().__init__(format="A4")
        fonts = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
        self.add_font(_FAMILY, "", fonts / "DejaVuSans.ttf")
        self.add_font(_FAMILY, "B", fonts / "DejaVuSans-Bold.ttf")
        font = self.fonts[_FAMILY]
        assert isinstance(font, TTFFont)
        self._known = font.cmap.keys()
        self.set_auto_page_break(False)
        self.set_title("RARL case")
        self.set_margin(_MARGIN)
        self.add_page()
        self._head(case)
        self._asked(case)
        self._answers(case, size)
        self._remarks(remarks, size)
        self.fits = self.get_y() <= _HEIGHT - _FOOT
        self._foot(case, cut)

    def write_in(self, text: str, size: float, style: str = "", width: float = 0.0,
                 grey: int = 20) -> None:  # fmt: skip
        """Text in a column of this width from here down; 0 is to the right margin."""
        self.set_font(_FAMILY, style, size)
        self.set_text_color(grey)
        # What the font lacks would be named in a log, and the text is the person's.
        shown = "".join(one if ord(one) in self._known or one == "\n" else "\ufffd" for one in text)
        self.multi_cell(width, size * 0.46, shown, align="L", new_x="LEFT", new_y="NEXT")

    def _head(self, case: CaseSnapshot) -> None:
        self.write_in("RARL case", 15, "B")
        self.write_in(f"{case.created:%Y-%m-%d %H:%M} UTC. {_NOTICE}", 8, grey=90)
        self.ln(3)

    def _asked(self, case: CaseSnapshot) -> None:
        top = self.get_y()
        kept = [picture for picture in case.pictures if picture.png is not None]
        bottom = top
        for place, picture in enumerate(kept[:4]):
            side = _PICTURE if len(kept) == 1 else (_PICTURE - _GAP) / 2
            left = _MARGIN + (place % 2) * (side + _GAP)
            above = top + (place // 2) * (side + _GAP)
            shown = _with_region(picture)
            self.image(shown, x=left, y=above, w=side, h=side, keep_aspect_ratio=True)
            bottom = max(bottom, above + side)
        self.set_xy(_MARGIN + (_PICTURE + _GAP * 2 if kept else 0), top)
        self.write_in(case.question, 12, "B")
        self.ln(1)
        told = [f"{key}: {value}" for key, value in case.attributes.items() if value][:12]
        if case.modality and not any(line.startswith("Modality") for line in told):
            told.insert(0, f"Modality: {case.modality}")
        told += [f"Picture: {_looked_at(picture)}" for picture in case.pictures]
        if not kept:
            told.append("This site keeps only the hashes of pictures.")
        self.set_x(_MARGIN + (_PICTURE + _GAP * 2 if kept else 0))
        self.write_in("\n".join(told), 8, grey=70)
        self.set_xy(_MARGIN, max(bottom, self.get_y()) + _GAP)

    def _answers(self, case: CaseSnapshot, size: float) -> None:
        top = self.get_y()
        width = (_INNER - _GAP * (len(case.answers) - 1)) / len(case.answers)
        bottom = top
        for place, answer in enumerate(case.answers):
            self.set_xy(_MARGIN + place * (width + _GAP), top)
            self.write_in(answer.label, size + 1, "B", width)
            self.write_in(f"weights {answer.revision}", 6.5, "", width, grey=90)
            self.ln(1)
            self.set_x(_MARGIN + place * (width + _GAP))
            self.write_in(answer.answer or "no answer", size + 3, "B", width)
            self.ln(1)
            self.set_x(_MARGIN + place * (width + _GAP))
            if answer.reasoning:
                self.write_in(answer.reasoning, size, "", width, grey=40)
            faults = [problem_sentence(problem) for problem in answer.problems]
            if answer.stopped:
                faults = ["Stopped by the reader."]
            faults += [answer.note] if answer.note else []
            if faults:
                self.write_in(" ".join(faults), size - 1, "", width, grey=90)
            bottom = max(bottom, self.get_y())
        self.set_xy(_MARGIN, bottom + _GAP)

    def _remarks(self, remarks: Sequence[str], size: float) -> None:
        self.write_in("What readers said", size + 1, "B")
        self.write_in("\n".join(remarks) or "Nothing yet.", size)

    def _foot(self, case: CaseSnapshot, cut: bool) -> None:
        self.set_xy(_MARGIN, _HEIGHT - _FOOT + 6)
        decoding = case.decoding
        way = "greedy" if decoding.temperature == 0 else (
            f"temperature {decoding.temperature:g}, top-p {decoding.top_p:g}, seed {decoding.seed}"
        )  # fmt: skip
        told = [
            f"Case {case.id}. Model {Path(case.model).name}, mode {case.mode}, prompt "
            f"{case.prompt_hash}, {way}, at most {decoding.max_new_tokens} tokens, "
            f"RARL {case.app_version}{', read blind' if case.blind else ''}.",
            *(f"{picture.name or 'Picture'}: SHA-256 {picture.sha256}"
              for picture in case.pictures[:4]),
        ]  # fmt: skip
        if cut:
            told.insert(0, "Texts were cut to fit the page; the case itself has them whole.")
        self.write_in("\n".join(told), 6, grey=90)


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
        replace(one, answer=_short(one.answer, most), reasoning=_short(one.reasoning, most))
        for one in case.answers
    )
    return replace(case, question=_short(case.question, most), answers=answers)
