"""Map values of any depth to 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""Integers or floats of any depth."""

_PERCENTILES = (0.5, 99.5)
_SAMPLE = 500_000


@dataclass(frozen=True, slots=True)
class Window:
    """A VOI window (DICOM PS3.3 C.11.2), in the units after the modality LUT (HU for CT).

    Attributes:
        center: Window Center.
        width: Window Width, above 0.
        name: Window Center & Width Explanation, where it is one of the plain names in use.
    """

    center: float
    width: float
    name: str = ""


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
    wide = values if values.dtype == np.float32 else values.astype(np.float64)
    scaled = (wide - low) * (255.0 / (high - low))
    return np.floor(np.clip(scaled, 0, 255) + 0.5).astype(np.uint8)


def window_of(low: float, high: float, function: str) -> Window:
    """The window that shows `low` black and `high` white under a VOI LUT function.

    LINEAR counts a width of n as n - 1 steps (PS3.3 C.11.2.1.2.1).
    """
    if function == "LINEAR":
        return Window((low + high + 1) / 2, high - low + 1)
    return Window((low + high) / 2, max(high - low, 1e-9))


def through_window(values: Values, window: Window, function: str) -> NDArray[np.uint8]:
    """Grey levels by PS3.3 C.11.2.1.2.1 (LINEAR), C.11.2.1.3.2 (LINEAR_EXACT) or C.11.2.1.3.1.

    >>> through_window(np.array([-200, 40, 41, 300]), Window(40, 400), "LINEAR")
    array([  0, 128, 128, 255], dtype=uint8)
    """
    if function == "SIGMOID":
        steep = np.clip(-4 * (values.astype(np.float64) - window.center) / window.width, -700, 700)
        return np.floor(255 / (1 + np.exp(steep)) + 0.5).astype(np.uint8)
    if function == "LINEAR":
        middle, half = window.center - 0.5, (window.width - 1) / 2
    else:
        middle, half = window.center, window.width / 2
    if half <= 0:
        return np.where(values > middle, np.uint8(255), np.uint8(0))
    return to_eight_bit(values, middle - half, middle + half)


def distinct(values: Values) -> tuple[Values, Any]:
    """The values that may occur, ascending, and each pixel's index among them.

    Every step from value to screen treats each pixel alone, so it is enough to present the
    distinct values (65 536 at most for 16 bits) and to look the pixels up: quick, and a picture of
    100 megapixels never exists in double precision. Floats are left as they are.

    Returns:
        (found, index) with `found[index]` equal to `values`.
    """
    if values.dtype.kind in "iub":
        low, high = int(values.min()), int(values.max())
        if high - low < 1 << 17:
            return np.arange(low, high + 1, dtype=np.int64), values.astype(np.int64) - low
    return values, ...
