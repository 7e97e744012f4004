"""Text burned into the pixels, found in the pixels: boxes to propose for masking.

The detector is PP-OCRv6's small one (`assets/text_detector`): it finds where writing stands and
reads none of it. Rules of our own (strokes on an even ground) were here before; they missed small
letters, faint ones and every letter on tissue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from rarl.scans.stack import Box, Stack, View

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_MODEL = Path(__file__).parents[2] / "assets" / "text_detector" / "PP-OCRv6_det_small.onnx"
# The picture is brought to this many pixels along its longer side, small ones enlarged.
_LONGER_SIDE = (960, 1920)
_MOST_ENLARGED = 3
_STRIDE = 32
# Lower than what reading asks for (0.3 and 0.5): to miss a name costs more than a needless box.
_MAYBE, _LIKELY = 0.2, 0.35
# The detector marks the core of a line; as a share of that core's height.
_WIDENED = 0.7
_TALLEST_LINE = 0.2


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
    from scipy import ndimage

    least, most = _LONGER_SIDE
    longer = max(image.size)
    scale = min(max(1.0, min(least / longer, _MOST_ENLARGED)), most / longer)
    width, height = (max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in image.size)
    shown = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    # The mean and deviation of ImageNet, with which the detector was trained.
    levels = (np.asarray(shown, np.float32) / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    batch = levels.transpose(2, 0, 1)[None].astype(np.float32)
    session = _detector()
    (probability,) = session.run(None, {session.get_inputs()[0].name: batch})
    score = probability[0, 0]
    marks, _ = ndimage.label(score > _MAYBE)
    x, y = image.width / width, image.height / height
    for number, (rows, columns) in enumerate(ndimage.find_objects(marks), 1):
        inside = marks[rows, columns] == number
        thickness = min(inside.shape)
        if score[rows, columns][inside].mean() < _LIKELY:
            continue
        if thickness > _TALLEST_LINE * min(width, height):
            continue  # the anatomy itself
        room = _WIDENED * thickness
        yield Box(
            max(int((columns.start - room) * x), 0),
            max(int((rows.start - room) * y), 0),
            min(int((columns.stop + room) * x) + 1, image.width),
            min(int((rows.stop + room) * y) + 1, image.height),
        )


@cache
def _detector() -> InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False  # pictures differ in size: the arena would only grow
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(_MODEL, options, providers=["CPUExecutionProvider"])
