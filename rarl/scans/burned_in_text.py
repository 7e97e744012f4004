"""Detect text burned into the pixels and propose boxes for redaction.

RapidOCR's detector finds what may be writing, and its recognizer tells writing from anatomy: of a
line that nobody wrote it reads a sign or two, or is not sure of it. What a line says is looked at
here and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from rarl.scans.stack import Box, Stack, View

if TYPE_CHECKING:
    from rapidocr import RapidOCR

# Lower than what reading asks for (0.3 and 0.5): to miss a name costs more than a needless box.
_MAYBE, _LIKELY = 0.2, 0.35
# The detector marks the core of a line; how much wider the box is made, as it defines it.
_WIDENED = 2.0
# A taller mark, as a share of the picture's shorter side, is the anatomy itself.
_TALLEST_LINE = 0.2
# A picture that is longer than this times its width is padded before it is searched.
_LONGEST_STRIP = 64
# A line of at least so many letters or digits, read with at least this certainty, is writing.
# Fewer are marks of side and projection (R, AP), and what a recognizer makes of round anatomy (O).
_SHORTEST_LINE, _READ = 3, 0.6
# A longer line is believed with less: anatomy is hardly ever read as so many.
_LONG_LINE, _READ_LONG = 5, 0.4
# Small pictures are enlarged for the detector, which misses small signs, and large ones reduced,
# since the time grows with the area: pixels, and the largest factor.
_SHORTER_SIDE, _LONGEST_SIDE, _MOST_ENLARGED = 736, 1280, 4.0
# The detector misses lines that touch the border, where banners stand: pixels that are put around.
_MARGIN = 48
_AROUND = ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0))
# Of the ground that is taken away: wider than strokes, narrower than anatomy. Pixels; and factor.
_GROUND, _GAIN = 12, 3.0
# The detector keeps its settings of a call to itself, and takes some hundred megabytes a call.
_one_at_a_time = Lock()


def proposed_masks(stack: Stack, view: View | None = None) -> tuple[Box, ...]:
    """Boxes around what looks like writing in the picture, whatever its kind.

    A proposal for a person to correct: something may be missed, and a scale or an edge of the
    anatomy may be covered. Where `Stack.text_likely`, all that may be writing is proposed, and
    elsewhere only what can be read, see `writing`. Of several frames the first, the last and the
    one in view are searched, since banners stay where they are.

    Args:
        stack: any.
        view: the frame and window to search in; the file's own unless it says otherwise.

    Returns:
        Boxes in pixels of the displayed plane, from the top.
    """
    from scipy import ndimage  # here, since the decoding process imports this package as well

    view = view or View()
    covered: np.ndarray | None = None
    for frame in sorted({0, view.frame, stack.frames(view.plane) - 1}):
        image = stack.scan(replace(view, frame=frame)).image
        if covered is None:
            covered = np.zeros((image.height, image.width), bool)
        for box in _lines(image, read=not stack.text_likely):
            covered[box.top : box.bottom, box.left : box.right] = True
    blocks = ndimage.find_objects(ndimage.label(covered)[0])  # lines that touch are one paragraph
    return tuple(
        Box(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in blocks
    )


def writing(image: Image.Image) -> tuple[Box, ...]:
    """Boxes around the lines that can be read in a picture; () where nothing can.

    Marks of side and projection are passed over. `scripts/bench_burned_in` measures how many names
    are found, and how often there is nothing.

    Args:
        image: any mode and size.
    """
    return tuple(_lines(image, read=True))


def _lines(image: Image.Image, read: bool) -> Iterator[Box]:
    """The lines of writing in a picture, with some room around them.

    Args:
        image: any mode and size.
        read: leave out the lines that cannot be read.
    """
    shown = image.convert("RGB")
    factor = min(
        max(1.0, min(_MOST_ENLARGED, _SHORTER_SIDE / min(shown.size))),
        _LONGEST_SIDE / max(shown.size),
    )
    if factor != 1:
        size = (max(1, round(shown.width * factor)), max(1, round(shown.height * factor)))
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    times = 1 / factor
    shown = Image.fromarray(np.pad(np.asarray(shown), _AROUND, mode="edge"))
    # The detector scales the longer side down, and a narrow strip to nothing.
    narrowest = -(-max(shown.size) // _LONGEST_STRIP)
    if min(shown.size) < narrowest:
        padded = Image.new("RGB", (max(shown.width, narrowest), max(shown.height, narrowest)))
        padded.paste(shown)
        shown = padded
    for corners in (*_detected(shown, read), *(_detected(_flattened(shown), read) if read else ())):
        left, top = np.floor((corners.min(0) - _MARGIN) * times).astype(int).tolist()
        right, bottom = np.ceil((corners.max(0) - _MARGIN) * times).astype(int).tolist()
        box = Box(max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))
        inside = box.left < box.right and box.top < box.bottom
        if inside and min(right - left, bottom - top) <= _TALLEST_LINE * min(image.size):
            yield box


def _detected(image: Image.Image, read: bool) -> list[NDArray[np.float32]]:
    """The corners of each line, (4, 2) in pixels, x first."""
    from rapidocr.ch_ppocr_det import TextDetOutput
    from rapidocr.utils.output import RapidOCROutput

    with _one_at_a_time:
        result = _detector()(np.asarray(image), use_rec=read)
    if isinstance(result, RapidOCROutput) and result.boxes is not None:
        lines = zip(result.boxes, result.txts or (), result.scores or (), strict=True)
        return [corners for corners, text, score in lines if _is_writing(text, float(score))]
    if isinstance(result, TextDetOutput) and result.boxes is not None:
        return list(result.boxes)
    return []  # it has another type for nothing at all


def _flattened(image: Image.Image) -> Image.Image:
    """The picture without its ground, so that faint strokes stand out on bright tissue."""
    grey = image.convert("L")
    ground = np.asarray(grey.filter(ImageFilter.BoxBlur(_GROUND)), np.float32)
    strokes = 128 + _GAIN * (np.asarray(grey, np.float32) - ground)
    return Image.fromarray(strokes.clip(0, 255).astype(np.uint8)).convert("RGB")


def _is_writing(text: str, score: float) -> bool:
    signs = sum(sign.isalnum() for sign in text)
    if signs >= _LONG_LINE:
        return score >= _READ_LONG
    return signs >= _SHORTEST_LINE and score >= _READ


@cache
def _detector() -> RapidOCR:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.text_score": 0.0,  # `_READ` decides
            "Global.log_level": "critical",
            "Det.limit_side_len": 32,  # `_lines` sees to the size
            "Det.thresh": _MAYBE,
            "Det.box_thresh": _LIKELY,
            "Det.unclip_ratio": _WIDENED,
        }
    )
