"""Stored values of any depth to the 8 bits that a screen shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""Integers or floats of any depth."""

_PERCENTILES = (0.5, 99.5)
_SAMPLE = 4_000_000


def percentile_window(values: Values) -> tuple[float, float]:
    """The range that holds all but the darkest and brightest half per cent.

    Percentiles rather than extremes, since a single metal marker or a padding value would
    otherwise flatten everything else. Large pictures are sampled at regular steps.

    Returns:
        (low, high) in the units of `values`; equal only where all values are.

    >>> percentile_window(np.arange(1001))
    (5.0, 995.0)
    """
    flat = values.reshape(-1)
    if flat.size == 0:
        return 0.0, 0.0
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    low, high = (float(bound) for bound in np.percentile(sample, _PERCENTILES))
    if low == high:
        low, high = float(flat.min()), float(flat.max())
    return low, high


def to_eight_bit(values: Values, low: float, high: float) -> NDArray[np.uint8]:
    """Map low..high linearly onto 0..255 and clip what lies outside.

    `low` may be the larger of the two, which inverts. Equal bounds give black.

    >>> to_eight_bit(np.array([-1, 0, 5, 10, 11]), 0, 10)
    array([  0,   0, 128, 255, 255], dtype=uint8)
    """
    if low == high:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.floor(np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)


def distinct(stored: Values) -> tuple[Values, NDArray[np.intp] | NDArray[np.int32]]:
    """The values that may occur, ascending, and each pixel's index among them.

    Every step from stored value to screen treats each pixel alone, so it is enough to present
    the distinct values (65 536 at most for 16 bits) and to look the pixels up: quick, and a
    picture of 100 megapixels never exists in double precision.

    Returns:
        (values, index) with `values[index] == stored`.
    """
    if stored.dtype.kind in "iub" and stored.dtype.itemsize <= 2:
        wide = stored.astype(np.int32)
        low, high = int(wide.min()), int(wide.max())
        return np.arange(low, high + 1, dtype=np.int64), wide - low
    finite = np.nan_to_num(stored)
    values, index = np.unique(finite, return_inverse=True)
    return values, index.reshape(stored.shape)
