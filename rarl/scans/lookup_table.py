"""Lookup tables of a DICOM header: modality, VOI and palette, with common encoding errors.

PS3.3 C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.5, C.7.6.3.1.6 and C.7.9.2 (palettes).
The standard defines the entries by a descriptor of three numbers. Writers disagree about the VR of
both elements, pack 8-bit entries two to a word or one to a word, and declare more or fewer bits
than the entries use. Every table is therefore read from its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Entries = NDArray[np.int64]

_WORD = 1 << 16
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True, slots=True)
class Table:
    """One lookup table.

    Attributes:
        first: the input that the first entry stands for; inputs beyond either end take its entry.
        entries: the outputs, at least one.
        bits: bits of an entry, as declared.
        short: whether the table holds fewer entries than it declares.
    """

    first: int
    entries: Entries
    bits: int
    short: bool = False

    def __call__(self, values: NDArray[Any]) -> Entries:
        """The entry of each value."""
        last = self.first + self.entries.size - 1
        place = np.clip(np.rint(values), self.first, last).astype(np.int64) - self.first
        looked_up: Entries = self.entries[place]
        return looked_up

    @property
    def full_scale(self) -> int:
        """The output that is white: the declared range where it is used, else the table's own.

        A table that declares 16 bits and holds 12-bit entries would show a black picture, and one
        that declares 8 bits and holds more a white one.
        """
        highest = int(self.entries.max())
        declared = (1 << self.bits) - 1
        return declared if highest.bit_length() == self.bits else max(highest, 1)

    @property
    def uses_declared_range(self) -> bool:
        """Whether the highest entry needs as many bits as are declared."""
        return int(self.entries.max()).bit_length() == self.bits


def read_table(item: Dataset, lowest: float, big_endian: bool) -> Table | None:
    """The table of an item of the Modality or VOI LUT Sequence.

    Args:
        item: holds LUT Descriptor and LUT Data.
        lowest: lowest input that may occur; where it is negative, the first value mapped is a
            signed number, whatever the VR of the descriptor.
        big_endian: byte order of the file.

    Returns:
        None where there is no usable table.
    """
    return _table(item, "LUTDescriptor", "LUTData", lowest, big_endian)


def read_palette(dataset: Dataset, lowest: float, big_endian: bool) -> tuple[Table, Table, Table]:
    """The red, green and blue table of a PALETTE COLOR image, segmented ones expanded.

    Raises:
        ValueError: one is missing or unusable.
    """
    tables = []
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        table = _table(dataset, f"{name}Descriptor", f"{name}Data", lowest, big_endian)
        if table is None:
            segmented = f"Segmented{name}Data"
            table = _table(dataset, f"{name}Descriptor", segmented, lowest, big_endian, True)
        if table is None:
            raise ValueError(f"no usable {colour} palette")
        tables.append(table)
    red, green, blue = tables
    return red, green, blue


def palette_bits(tables: tuple[Table, Table, Table]) -> int:
    """The bits that the entries of a palette really have: 8, 12 or 16, for all three tables.

    Some writers declare 16 bits and store 8-bit levels, and the reverse. A palette may well be
    dark, so that declared bits hold unless no entry comes near them.
    """
    declared = max(table.bits for table in tables)
    needed = max(int(table.entries.max()) for table in tables).bit_length()
    if needed <= 8 or declared == 8 or (declared == 16 and needed <= 12):
        return 8 if needed <= 8 else 12 if needed <= 12 else 16
    return max(declared, needed)


def _table(
    holder: Dataset,
    descriptor: str,
    data: str,
    lowest: float,
    big_endian: bool,
    segmented: bool = False,
) -> Table | None:
    try:
        count, first, bits = (int(number) for number in holder[descriptor].value)
        words = _words(holder, data, big_endian)
    except Exception:  # absent, empty or damaged: there is no table
        return None
    count = count & 0xFFFF or _WORD
    if not 1 <= bits <= 16 or not words.size:
        return None
    packed = _bytes_of(words)
    entries: NDArray[Any]
    if segmented:
        entries = _expanded(packed if bits <= 8 else words, count)
    elif words.size >= count:
        entries = words
    elif bits <= 8:
        entries = packed if packed.size >= count or words.max() > 255 else words
    else:
        entries = packed if words.size == (count + 1) // 2 else words
    entries = entries[:count].astype(np.int64)
    if not entries.size:
        return None
    return Table(_first(first, count, lowest), entries, bits, short=entries.size < count)


def _first(number: int, count: int, lowest: float) -> int:
    """The first value mapped, as a signed number where the inputs are, whatever its VR says."""
    unsigned = number & 0xFFFF
    if unsigned < _WORD // 2:
        return unsigned
    signed = unsigned - _WORD
    reaches_inputs = lowest < 0 and signed + count > lowest
    beyond_words = number < 0 and unsigned + count > _WORD
    return signed if reaches_inputs or beyond_words else unsigned


def _words(holder: Dataset, keyword: str, big_endian: bool) -> NDArray[np.uint16]:
    """An element as 16-bit words, whether it is US, OW, OB or UN."""
    element = holder[keyword]
    value = element.value
    if isinstance(value, (bytes, bytearray)):
        # UN is always little endian (PS3.5 6.2.2), and so are bytes packed two to a word.
        order = ">u2" if big_endian and element.VR == "OW" else "<u2"
        padded = bytes(value) + b"\0" * (len(value) % 2)
        return np.frombuffer(padded, order).astype(np.uint16)
    numbers = [value] if isinstance(value, int) else list(value)
    return np.array([int(number) & 0xFFFF for number in numbers], np.uint16)


def _bytes_of(words: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Entries packed two to a word, the first in the lower half (PS3.5 8.1.1)."""
    return np.frombuffer(words.astype("<u2").tobytes(), np.uint8)


def _expanded(segments: NDArray[Any], count: int) -> NDArray[np.int64]:
    """A segmented palette as a plain one (PS3.3 C.7.9.2)."""
    source = [int(number) for number in segments]
    narrow = segments.dtype == np.uint8
    entries: list[int] = []
    place, back, left = 0, -1, 0
    while place + 2 <= len(source) and len(entries) < count:
        kind, length = source[place], source[place + 1]
        place += 2
        if kind == 0:
            entries += source[place : place + length]
            place += length
        elif kind == 1 and entries and place < len(source):
            start, end = entries[-1], source[place]
            steps = np.rint(start + (end - start) * np.arange(1, length + 1) / max(length, 1))
            entries += [int(step) for step in steps]
            place += 1
        elif kind == 2 and back < 0 and place + (4 if narrow else 2) <= len(source):
            # Repeats `length` segments from a byte offset, then goes on behind this one.
            parts = source[place : place + (4 if narrow else 2)]
            offset = sum(part << (8 if narrow else 16) * index for index, part in enumerate(parts))
            back, left = place + len(parts), length
            place = offset if narrow else offset // 2
            continue
        else:
            break
        if back >= 0:
            left -= 1
            if left <= 0:
                place, back = back, -1
    return np.array(entries[:count], np.int64)
