"""Extract stored values from pixel words (PS3.5 8.1.1) and detect padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from rarl.scans.header_allowlist import optional
from rarl.scans.windowing import Values

UNUSED_BITS = (
    "Some pixels use bits that the header declares unused: those bits were ignored, and the "
    "values of these pixels may be wrong."
)
NO_SUCH_BITS = (
    "The header places the pixel values at bits that do not exist (High Bit, Bits Stored): the "
    "lowest bits were taken, and the values may be wrong."
)


@dataclass(frozen=True, slots=True)
class Cell:
    """The bits of a word that hold a stored value.

    Attributes:
        allocated: bits of the word.
        stored: bits of the value.
        shift: bits below the value.
        signed: whether the value is a two's complement number.
        padding: lowest and highest value that only pads (PS3.3 C.7.5.1.1.2), where given.
        misplaced: whether the header names bits that the word does not have.
    """

    allocated: int
    stored: int
    shift: int
    signed: bool
    padding: tuple[float, float] | None
    misplaced: bool = False

    @property
    def lowest(self) -> float:
        """The lowest value that the cell holds."""
        return -float(1 << (self.stored - 1)) if self.signed else 0.0

    @property
    def highest(self) -> float:
        """The highest value that the cell holds."""
        return float((1 << (self.stored - self.signed)) - 1)


def cell_of(dataset: Dataset, big_endian: bool) -> Cell:
    """The cell that the Image Pixel module describes (PS3.3 C.7.6.3).

    Args:
        dataset: with Bits Allocated, Bits Stored and Pixel Representation checked to be numbers.
        big_endian: byte order of the file, for a padding value that is stored as bytes.
    """
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = optional(dataset, "HighBit")
    shift = int(high) + 1 - stored if isinstance(high, int) else 0
    misplaced = not 0 <= shift <= allocated - stored
    signed = int(optional(dataset, "PixelRepresentation") or 0) == 1
    return Cell(
        allocated=allocated,
        stored=stored,
        shift=0 if misplaced else shift,
        signed=signed,
        padding=_padding(dataset, allocated, signed, big_endian),
        misplaced=misplaced,
    )


def stored_values(words: Values, cell: Cell, precision: int | None) -> tuple[Values, bool]:
    """The values in words as they are stored.

    Bits outside the cell are ignored and the sign is taken from the cell's highest bit. A word
    that equals a padding value too wide for the cell keeps that value.

    Args:
        words: integers of any width.
        cell: see `cell_of`.
        precision: bits of a sample in the codestream of a compressed frame, else None.

    Returns:
        (values, whether bits were ignored that held something)
    """
    native = words.astype(words.dtype.newbyteorder("="), copy=False)
    size = native.dtype.itemsize
    width = 8 * size
    stored, shift = min(cell.stored, width), cell.shift
    if precision is not None:
        # An encoder may have been given the value alone, without the bits around it.
        shift = shift if precision >= shift + stored else 0
        stored = min(stored, max(precision, 1))
    top = width - stored - shift
    if top < 0:
        shift, top = 0, width - stored
    raw = native.view(f"u{size}")
    kind = np.dtype(f"{'i' if cell.signed else 'u'}{size}")
    below = raw.dtype.type((1 << shift) - 1)
    above = raw.dtype.type(((1 << top) - 1) << (shift + stored))
    outside = (raw & (below | above)) != 0
    if not cell.signed and not outside.any():
        return (raw >> raw.dtype.type(shift)) if shift else raw, False
    values = np.left_shift(raw, raw.dtype.type(top)).view(kind) >> kind.type(top + shift)
    if cell.signed:  # ones above a negative value only extend its sign
        outside &= ((raw & below) != 0) | ((raw & above) != above) | (values >= 0)
    if cell.padding is not None and outside.any():
        whole = raw.view(kind)
        pads = outside & (whole >= cell.padding[0]) & (whole <= cell.padding[1])
        values = np.where(pads, whole, values)
        outside &= ~pads
    return values, bool(outside.any())


def _padding(
    dataset: Dataset, allocated: int, signed: bool, big_endian: bool
) -> tuple[float, float] | None:
    """The padding range as stored values, whatever the VR of its elements."""
    for first, last in (
        ("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
        ("DoubleFloatPixelPaddingValue", "DoubleFloatPixelPaddingRangeLimit"),
    ):
        value = optional(dataset, first)
        if isinstance(value, float):
            limit = optional(dataset, last)
            return _ordered(value, limit if isinstance(limit, float) else value)
    value = _word(dataset, "PixelPaddingValue", big_endian)
    if value is None:
        return None
    limit = _word(dataset, "PixelPaddingRangeLimit", big_endian)
    ends = [
        _as_stored(end, allocated, signed) for end in (value, value if limit is None else limit)
    ]
    return _ordered(*ends)


def _word(dataset: Dataset, keyword: str, big_endian: bool) -> int | None:
    """An element of one number, which may be stored as US, SS, text or bytes."""
    value: Any = optional(dataset, keyword)
    if not isinstance(value, (str, bytes)) and hasattr(value, "__iter__"):
        value = next(iter(value), None)
    if isinstance(value, bytes):
        # UN is always little endian (PS3.5 6.2.2).
        big = big_endian and dataset[keyword].VR != "UN"
        return int.from_bytes(value, "big" if big else "little") if 0 < len(value) <= 8 else None
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _as_stored(value: int, allocated: int, signed: bool) -> float:
    """A number of the wrong sign as the bits of a word mean it."""
    width = 16 if abs(value) < 1 << 16 and allocated > 16 else allocated
    word = value & ((1 << width) - 1)
    return float(word - (1 << width) if signed and word >> (width - 1) else word)


def _ordered(first: float, last: float) -> tuple[float, float]:
    return min(first, last), max(first, last)
