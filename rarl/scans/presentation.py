"""DICOM stored values on their way to the screen (PS3.4 N.2), where a table is needed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi

from rarl.scans.header import optional
from rarl.scans.part import Lut
from rarl.scans.windowing import Values, distinct, to_eight_bit

_INT32 = np.iinfo(np.int32)
# Stored values and intercepts up to the first, times the second, stay within float32.
_LARGEST = 1e29
_STEEPEST = 1e8


def narrowed(stored: Values) -> Values:
    """Values of any type in the smallest of our types that holds them: up to int32, or float32.

    What is not finite becomes 0. The result owns its memory, rows one after the other.
    """
    native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if native.dtype.kind == "b":
        return native.astype(np.uint8)
    if native.dtype.kind == "f":
        finite = np.nan_to_num(native, nan=0.0, posinf=0.0, neginf=0.0)
        return np.ascontiguousarray(np.clip(finite, -_LARGEST, _LARGEST).astype(np.float32))
    if native.itemsize > 2 and native.dtype != np.int32:
        fits = native.min() >= _INT32.min and native.max() <= _INT32.max
        return native.astype(np.int32 if fits else np.float32)
    return np.array(native, order="C")


def scaling(slope: float, intercept: float) -> tuple[float, float]:
    """Slope and intercept of value = stored * slope + intercept; 1 and 0 where unusable.

    Unusable are a slope of 0, what is not finite, and what would leave the range of float32.
    """
    usable = 0 < abs(slope) <= _STEEPEST and abs(intercept) <= _LARGEST
    return (slope, intercept) if usable else (1.0, 0.0)


def modality_lut(stored: Values, dataset: Dataset) -> Values:
    """Values through the Modality LUT Sequence (PS3.3 C.11.1)."""
    values, index = distinct(stored)
    physical: Values = narrowed(apply_modality_lut(values, dataset))[index]
    return physical


def voi_lut(dataset: Dataset) -> Lut | None:
    """The first usable VOI LUT (PS3.3 C.11.2.1.1), entries brought to 8 bits."""
    try:
        if optional(dataset, "VOILUTSequence") is None:
            return None
        item = dataset.VOILUTSequence[0]
        entries, first, depth = (int(part) for part in item.LUTDescriptor)
        # pydicom indexes in the type of the LUT's entries, which wraps for 8-bit entries: widened.
        item.LUTDescriptor = [entries, first, 16]
        inside = np.arange(first, first + (entries or 1 << 16), dtype=np.int64)
        levels = to_eight_bit(apply_voi(inside, dataset), 0, float(2**depth - 1))
        return Lut(first, levels.tobytes())
    except Exception:  # whatever is wrong with the LUT, the picture itself is still there
        return None


def palette_levels(stored: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """PALETTE COLOR to RGB (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6), rows x columns x 3."""
    entries, first, depth = (int(item) for item in dataset.RedPaletteColorLookupTableDescriptor)
    values, index = distinct(stored)
    # Values outside the table take its ends; pydicom would wrap those that overflow its type.
    clipped = np.clip(values, first, first + (entries or 1 << 16) - 1)
    colours = apply_color_lut(clipped, dataset)[:, :3]
    if (depth > 8 and colours.dtype.itemsize > 1) or colours.max(initial=0) > 255:
        colours = colours >> 8
    rgb: NDArray[np.uint8] = colours.astype(np.uint8)[index]
    return rgb


def colour_levels(stored: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """RGB of any depth to 8 bits (PS3.3 C.7.6.3.1.2); colour knows neither LUT nor window."""
    if stored.dtype == np.uint8:
        return np.array(stored, order="C")
    return to_eight_bit(stored, 0, float(2 ** int(dataset.BitsStored) - 1))
