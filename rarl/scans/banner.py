"""Text burned into the pixels, found in the pixels: boxes to propose for masking."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from rarl.scans.stack import Box, Stack, View


def proposed_masks(stack: Stack, view: View | None = None) -> tuple[Box, ...]:
    """Boxes around what looks like lines of text, for pictures of a kind that often has them.

    Connected marks of the size of letters that stand in a row, as banners of ultrasound machines,
    secondary captures and screenshots have them. A proposal for a person to correct: it misses
    text on a busy background and may cover a scale.

    Returns:
        Boxes in pixels of the displayed plane, merged where they touch; none for other kinds.
    """
    if not stack.text_likely:
        return ()
    levels = np.asarray(stack.scan(view).image.convert("L"), np.int16)
    height, width = levels.shape
    # Letters differ from what lies around them; the median of a window as high as a line tells.
    around = ndimage.uniform_filter(levels, 25, mode="nearest")
    marks = np.abs(levels - around) > 40
    labels, count = ndimage.label(marks, np.ones((3, 3)))
    lines = np.zeros((height, width), bool)
    for place in ndimage.find_objects(labels, count):
        rows, columns = place
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if 5 <= tall <= 48 and 1 <= wide <= 3 * tall:
            lines[rows, columns] = True
    del labels
    gap = 12
    joined = ndimage.binary_closing(np.pad(lines, gap), np.ones((1, 2 * gap + 1)))[
        gap:-gap, gap:-gap
    ]
    boxes: list[Box] = []
    for rows, columns in ndimage.find_objects(ndimage.label(joined, np.ones((3, 3)))[0]):
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        if wide >= 2.5 * tall:
            boxes.append(Box(columns.start - 4, rows.start - 4, columns.stop + 4, rows.stop + 4))
    return tuple(
        Box(max(box.left, 0), max(box.top, 0), min(box.right, width), min(box.bottom, height))
        for box in boxes
    )
