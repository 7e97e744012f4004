"""Overlay planes of a DICOM file (PS3.3 C.9.2), one bit a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rarl.scans.header_allowlist import overlay_groups


def overlay_bitmaps(dataset: Dataset, shape: tuple[int, int], frames: int) -> tuple[bytes, ...]:
    """Bitmaps of all overlays of a file, by frame.

    A damaged overlay is left out, and so are the retired ones in unused bits of the pixels. Only
    the bitmap is taken: labels and descriptions, which people fill with names, stay behind.

    Args:
        dataset: with its overlay groups (60xx).
        shape: rows and columns of a frame.
        frames: how many there are.

    Returns:
        A bitmap a frame, packed by `numpy.packbits` row by row, empty where nothing is drawn over
        that frame; () where nothing is drawn at all.
    """
    drawn = np.zeros((0, *shape), bool)
    for group in overlay_groups(dataset):
        try:
            # pydicom unpacks all that is there: a plane larger than the picture is none of it.
            if 8 * len(dataset[group, 0x3000].value) > 2 * frames * shape[0] * shape[1] + 64:
                continue
            planes = dataset.overlay_array(group)
            planes = planes.reshape(-1, *planes.shape[-2:])
            top, left = (int(edge) - 1 for edge in dataset[group, 0x0050].value)
            origin = dataset.get((group, 0x0051))
            first = None if origin is None else int(origin.value) - 1
        except Exception:  # whatever is wrong with it, the picture itself is still there
            continue
        if not len(drawn):
            drawn = np.zeros((frames, *shape), bool)
        everywhere = len(planes) == 1 and first is None
        for index, plane in enumerate(planes, first or 0):
            if everywhere or 0 <= index < frames:
                _put(drawn[:] if everywhere else drawn[index : index + 1], plane, top, left)
    if not drawn.any():
        return ()
    return tuple(np.packbits(bits).tobytes() if bits.any() else b"" for bits in drawn)


def _put(drawn: NDArray[np.bool_], plane: NDArray[np.uint8], top: int, left: int) -> None:
    """Add a plane to bitmaps (frames, rows, columns), its corner at (top, left)."""
    rows, columns = drawn.shape[1:]
    inside = plane[max(-top, 0) : max(rows - top, 0), max(-left, 0) : max(columns - left, 0)]
    height, width = inside.shape
    top, left = max(top, 0), max(left, 0)
    drawn[:, top : top + height, left : left + width] |= inside.astype(bool)
