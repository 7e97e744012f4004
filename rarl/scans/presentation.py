"""DICOM pixel values to what a workstation shows (PS3.4 N.2: modality, VOI, presentation)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing

from rarl.scans.header import optional
from rarl.scans.windowing import Values, distinct, percentile_window, to_eight_bit

NO_WINDOW = "The file gives no window: brightness and contrast were set from the picture itself."
BAD_WINDOW = (
    "The window in the file cannot be used: brightness and contrast were set from the picture."
)


def present_grey(stored: Values, dataset: Dataset) -> tuple[NDArray[np.uint8], str | None]:
    """Stored values to grey levels, 0 black and 255 white.

    Modality LUT or rescale (PS3.3 C.11.1), then VOI LUT or window (C.11.2), then inversion for
    MONOCHROME1 (C.7.6.3.1.2: the lowest value is shown white). Full depth until the window.

    Returns:
        The picture (rows x columns) and a warning sentence where no usable window was given.
    """
    values, index = distinct(stored)
    physical = apply_modality_lut(values, dataset)
    table = _through_window(physical, dataset)
    warning = None
    # Black or white all over, though the picture is not uniform, is no better than no window.
    if table is None or (table.size > 1 and table.min() == table.max()):
        given = optional(dataset, "WindowCenter") or optional(dataset, "VOILUTSequence")
        warning = BAD_WINDOW if given is not None else NO_WINDOW
        low, high = percentile_window(physical[index[~_is_padding(values, dataset)[index]]])
        table = to_eight_bit(physical, low, high)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        table = 255 - table
    return table[index], warning


def present_palette(stored: Values, dataset: Dataset) -> NDArray[np.uint8]:
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


def present_colour(stored: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """RGB of any depth to 8 bits (PS3.3 C.7.6.3.1.2); colour knows neither LUT nor window."""
    if stored.dtype == np.uint8:
        return stored
    return to_eight_bit(stored, 0, float(2 ** int(dataset.BitsStored) - 1))


def _through_window(physical: Values, dataset: Dataset) -> NDArray[np.uint8] | None:
    """The 8-bit level of each value by the file's VOI LUT or window; None without a usable one."""
    try:
        if optional(dataset, "VOILUTSequence") is not None:
            return _through_lut(physical, dataset)
        if optional(dataset, "WindowCenter") is None or optional(dataset, "WindowWidth") is None:
            return None
        # The window's output range is what it makes of the two extremes.
        ends = np.array([-1e30, 1e30])
        with np.errstate(over="ignore"):
            levels = apply_windowing(np.concatenate([physical.astype(np.float64), ends]), dataset)
        return to_eight_bit(levels[:-2], levels[-2], levels[-1])
    except Exception:  # whatever is wrong with the window, the picture itself is still there
        return None


def _through_lut(physical: Values, dataset: Dataset) -> NDArray[np.uint8]:
    item = dataset.VOILUTSequence[0]
    entries, first, depth = (int(part) for part in item.LUTDescriptor)
    # pydicom indexes in the type of the LUT's entries, which wraps for 8-bit entries: widened.
    item.LUTDescriptor = [entries, first, 16]
    inside = np.clip(np.rint(physical), first, first + (entries or 1 << 16) - 1).astype(np.int64)
    return to_eight_bit(apply_voi(inside, dataset), 0, float(2**depth - 1))


def _is_padding(values: Values, dataset: Dataset) -> NDArray[np.bool_]:
    """Which stored values only pad the picture (PS3.3 C.7.5.1.1.2); none where that is all."""
    first = optional(dataset, "PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(values.shape, np.bool_)
    limit = optional(dataset, "PixelPaddingRangeLimit")
    last = limit if isinstance(limit, int) else first
    padding: NDArray[np.bool_] = (values >= min(first, last)) & (values <= max(first, last))
    return padding
