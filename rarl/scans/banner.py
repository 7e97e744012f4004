"""Text burned into the pixels, found in the pixels: boxes to propose for masking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rarl.scans.stack import Box, Stack, View

_EDGE = 30
_INK = 40
_EVEN = 12
_LETTER_GAP = 10
_LINE_GAPS = (0, 3, 6)
_LOWEST = 7
_TALLEST = 0.3
_HIGHEST_BAR = 0.2
_RING = 4
_MARGIN = 3


def proposed_masks(stack: Stack, view: View | None = None) -> tuple[Box, ...]:
    """Boxes around what looks like text drawn into the picture, for kinds that often have it.

    Writing differs from anatomy in that it is drawn: strokes of one brightness on an even ground.
    So marks are looked for that stand by themselves on an even ground and are either ink or
    ground: the banners and captions of ultrasound machines, secondary captures and screenshots. A
    proposal for a person to correct: text on tissue is missed, a scale or a colour bar may be
    covered.

    Args:
        stack: only kinds with `Stack.text_likely` are searched.
        view: the frame to search; the file's own window unless it says otherwise.

    Returns:
        Boxes in pixels of the displayed plane, from the top; none for other kinds.
    """
    from scipy import ndimage  # here, since the decoding process imports this package as well

    if not stack.text_likely:
        return ()
    levels = np.asarray(stack.scan(view).image.convert("L"), np.int16)
    height, width = levels.shape
    span = ndimage.maximum_filter(levels, 3) - ndimage.minimum_filter(levels, 3)
    busy = span > _EDGE
    found = np.zeros((height, width), bool)
    for gap in _LINE_GAPS:  # lines by themselves, then paragraphs
        for rows, columns in _joined(busy, gap):
            tall, wide = rows.stop - rows.start, columns.stop - columns.start
            fits = _LOWEST <= tall <= _TALLEST * height and wide >= _LOWEST
            if fits and _is_written(levels, busy, rows, columns):
                found[_widened(rows, _MARGIN, height), _widened(columns, _MARGIN, width)] = True
    found[: _strip(levels)] = True
    found[height - _strip(levels[::-1]) :] = True
    blocks = ndimage.find_objects(ndimage.label(found)[0])
    return tuple(
        Box(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in blocks
    )


def _strip(levels: NDArray[np.int16]) -> int:
    """Rows of a bar with writing along the upper edge; 0 without one."""
    ground = int(np.bincount(levels[:_RING].reshape(-1)).argmax())
    even = (np.abs(levels - ground) <= _EVEN).mean(axis=1)
    rows = int(np.argmin(even > 0.45))
    if not _LOWEST < rows <= _HIGHEST_BAR * len(even):
        return 0
    # A bar ends at once; black above a head thins out.
    abrupt = even[rows - 3 : rows].mean() > 0.5 and even[rows + 2 : rows + 5].mean() < 0.2
    written = float((np.abs(levels[:rows] - ground) > _INK).mean())
    return rows if abrupt and written > 0.02 else 0


def _joined(busy: NDArray[np.bool_], line_gap: int) -> list[tuple[slice, slice]]:
    """Regions of marks, letters joined to lines and lines to paragraphs."""
    from scipy import ndimage

    pad = _LETTER_GAP  # closing eats what touches the border
    near = (2 * line_gap + 1, 2 * _LETTER_GAP + 1)
    marks = np.pad(busy, pad).view(np.uint8)
    closed = ndimage.minimum_filter(ndimage.maximum_filter(marks, near), near)[pad:-pad, pad:-pad]
    regions: list[tuple[slice, slice]] = ndimage.find_objects(
        ndimage.label(closed, np.ones((3, 3)))[0]
    )
    return regions


def _is_written(
    levels: NDArray[np.int16], busy: NDArray[np.bool_], rows: slice, columns: slice
) -> bool:
    """Whether a region stands on an even ground and holds ink and ground, little between them.

    The ground is looked for beside it, since above and below may be the next line or the picture,
    and all around it for a banner as wide as the picture.
    """
    height, width = levels.shape
    outer = _widened(rows, _RING, height), _widened(columns, _RING, width)
    outside = np.ones((outer[0].stop - outer[0].start, outer[1].stop - outer[1].start), bool)
    inner = slice(columns.start - outer[1].start, columns.stop - outer[1].start)
    level_rows = slice(rows.start - outer[0].start, rows.stop - outer[0].start)
    outside[level_rows, inner] = False
    beside = np.zeros_like(outside)
    beside[level_rows] = outside[level_rows]
    for ring in (beside, outside):
        if not ring.any() or busy[outer][ring].mean() > 0.2:
            continue
        low, ground, high = np.percentile(levels[outer][ring], (15, 50, 85))
        away = np.abs(levels[rows, columns] - ground)
        strongest = np.percentile(away, 98)
        ink = float((away > max(_INK, 0.6 * strongest)).mean())
        even = float((away <= max(12.0, 0.15 * strongest)).mean())
        if high - low <= _EVEN and strongest > _INK and 0.03 < ink < 0.7 and ink + even > 0.68:
            return True
    return False


def _widened(side: slice, by: int, most: int) -> slice:
    return slice(max(side.start - by, 0), min(side.stop + by, most))
