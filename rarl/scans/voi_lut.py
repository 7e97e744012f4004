"""Apply lookup tables to DICOM stored values (PS3.4 N.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rarl.scans.decoded_file import Lut
from rarl.scans.lookup_table import Table, palette_bits, read_table
from rarl.scans.stored_bits import Cell
from rarl.scans.windowing import Values, distinct, to_eight_bit

RESCALED_TABLE = (
    "The file's display table does not use the range that it declares: brightness was set from the "
    "table's own range."
)
UNUSABLE_TABLE = "A lookup table in the file is empty or damaged: it was ignored."
SHORT_TABLE = (
    "A lookup table in the file holds fewer entries than it declares: its last entry stands for "
    "the rest."
)
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


def modality_table(dataset: Dataset, cell: Cell, big_endian: bool) -> tuple[Table | None, str]:
    """The first usable table of the Modality LUT Sequence (PS3.3 C.11.1).

    Returns:
        (table or None, a sentence for the reader or "")
    """
    return _first_table(dataset, "ModalityLUTSequence", cell.lowest, big_endian)


def voi_lut(dataset: Dataset, lowest: float, big_endian: bool) -> tuple[Lut | None, str]:
    """The first usable VOI LUT (PS3.3 C.11.2.1.1), entries brought to 8 bits.

    Args:
        dataset: the image.
        lowest: lowest value that may occur after the modality LUT.
        big_endian: byte order of the file.

    Returns:
        (table or None, a sentence for the reader or "")
    """
    table, warning = _first_table(dataset, "VOILUTSequence", lowest, big_endian)
    if table is None:
        return None, warning
    levels = to_eight_bit(table.entries, 0, float(table.full_scale))
    if not table.uses_declared_range:
        warning = RESCALED_TABLE
    return Lut(table.first, levels.tobytes()), warning


def _first_table(
    dataset: Dataset, sequence: str, lowest: float, big_endian: bool
) -> tuple[Table | None, str]:
    try:
        items = list(dataset.get(sequence) or [])
    except Exception:
        return None, UNUSABLE_TABLE
    for item in items:
        table = read_table(item, lowest, big_endian)
        if table is not None:
            return table, SHORT_TABLE if table.short else ""
    return None, UNUSABLE_TABLE if items else ""


def palette_levels(stored: Values, tables: tuple[Table, Table, Table]) -> NDArray[np.uint8]:
    """PALETTE COLOR to RGB (PS3.3 C.7.6.3.1.5 and C.7.6.3.1.6), rows x columns x 3."""
    values, index = distinct(stored)
    spare = max(palette_bits(tables) - 8, 0)
    colours = np.stack([table(values) >> spare for table in tables], axis=-1)
    rgb: NDArray[np.uint8] = colours.clip(0, 255).astype(np.uint8)[index]
    return rgb


def colour_levels(stored: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """RGB of any depth to 8 bits (PS3.3 C.7.6.3.1.2); colour knows neither LUT nor window."""
    if stored.dtype == np.uint8:
        return np.array(stored, order="C")
    return to_eight_bit(stored, 0, float(2 ** int(dataset.BitsStored) - 1))
