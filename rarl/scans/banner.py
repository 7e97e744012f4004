"""Text burned into the pixels, found in the pixels: boxes to propose for masking.

RapidOCR's text detector finds where writing stands; what it says is never read. Rules of our own
(strokes on an even ground) were here before; they missed small letters, faint ones and every
letter on tissue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rarl.scans.stack import Box, Stack, View

if TYPE_CHECKING:
    from rapidocr import RapidOCR

# Lower than what reading asks for (0.3 and 0.5): to miss a name costs more than a needless box.
_MAYBE, _LIKELY = 0.2, 0.35
# The detector marks the core of a line; how much wider the box is made, as it defines it.
_WIDENED = 2.0
# A taller mark, as a share of the picture's shorter side, is the anatomy itself.
_TALLEST_LINE = 0.2
# How many times as long as wide a picture is given to the detector.
_LONGEST_STRIP = 64


def proposed_masks(stack: Stack, view: View | None = None) -> tuple[Box, ...]:
    """Boxes around what looks like writing in the picture, for kinds that often have it.

    A proposal for a person to correct: something may be missed, and a scale or an edge of the
    anatomy may be covered. Of several frames the first, the last and the one in view are searched,
    since banners stay where they are.

    Args:
        stack: only kinds with `Stack.text_likely` are searched.
        view: the frame and window to search in; the file's own unless it says otherwise.

    Returns:
        Boxes in pixels of the displayed plane, from the top; none for other kinds.
    """
    from scipy import ndimage  # here, since the decoding process imports this package as well

    if not stack.text_likely:
        return ()
    view = view or View()
    found: np.ndarray | None = None
    for frame in sorted({0, view.frame, stack.frames(view.plane) - 1}):
        image = stack.scan(replace(view, frame=frame)).image
        if found is None:
            found = np.zeros((image.height, image.width), bool)
        for box in _lines(image):
            found[box.top : box.bottom, box.left : box.right] = True
    blocks = ndimage.find_objects(ndimage.label(found)[0])  # lines that touch are one paragraph
    return tuple(
        Box(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in blocks
    )


def _lines(image: Image.Image) -> Iterator[Box]:
    """The lines of writing in a picture, with some room around them."""
    from rapidocr.ch_ppocr_det import TextDetOutput

    # The detector scales the longer side down, and a narrow strip to nothing.
    narrowest = -(-max(image.size) // _LONGEST_STRIP)
    padded = Image.new("RGB", (max(image.width, narrowest), max(image.height, narrowest)))
    padded.paste(image.convert("RGB"))
    found = _detector()(np.asarray(padded))
    if not isinstance(found, TextDetOutput) or found.boxes is None:
        return  # it has another type for nothing at all
    for corners in found.boxes:
        left, top = np.floor(corners.min(0)).astype(int).tolist()
        right, bottom = np.ceil(corners.max(0)).astype(int).tolist()
        if min(right - left, bottom - top) <= _TALLEST_LINE * min(image.size):
            yield Box(max(left, 0), max(top, 0), min(right, image.width), min(bottom, image.height))


@cache
def _detector() -> RapidOCR:
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "Global.use_cls": False,
            "Global.use_rec": False,
            "Global.log_level": "critical",
            "Det.thresh": _MAYBE,
            "Det.box_thresh": _LIKELY,
            "Det.unclip_ratio": _WIDENED,
        }
    )
