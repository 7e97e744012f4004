"""Lookup tables of a header: each encoding that writers use, and what is wrong with a word."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from drawn import drawn, saved
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian

from rarl.scans import Stack, open_stack
from rarl.scans.voi_lut import RESCALED_TABLE, SHORT_TABLE, UNUSABLE_TABLE

RAMP = np.arange(256, dtype=np.uint16).repeat(4).reshape(32, 32)


def opened(dataset: FileDataset, big_endian: bool = False) -> Stack:
    if not big_endian:
        return open_stack([saved(dataset)])
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    return open_stack([buffer.getvalue()])


def picture(stack: Stack) -> np.ndarray:
    return np.asarray(stack.scan().image).astype(int)


def encoded(entries: np.ndarray, how: str, big_endian: bool = False) -> tuple[str, object]:
    """VR and value of a table's data."""
    order = ">u2" if big_endian else "<u2"
    if how == "US":
        return "US", entries.tolist()
    if how == "packed":  # two 8-bit entries a word, the first in the lower half
        words = np.frombuffer(entries.astype(np.uint8).tobytes(), "<u2")
        return "OW", words.astype(order).tobytes()
    if how == "OB":
        return "OB", entries.astype(np.uint8).tobytes()
    if how == "UN":
        return "UN", entries.astype("<u2").tobytes()
    return "OW", entries.astype(order).tobytes()


def table(entries: np.ndarray, bits: int, first: int = 0, vr: str = "US", **how: object) -> Dataset:
    item = Dataset()
    item.add_new(0x00283002, vr, [len(entries), first, bits])
    item.add_new(0x00283006, *encoded(entries, **how))
    return item


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("bits", "declared", "how", "word"),
    [
        (8, 8, "OW", None),
        (8, 8, "packed", None),
        (8, 8, "OB", None),
        (8, 8, "US", None),
        (8, 16, "packed", RESCALED_TABLE),  # 8-bit entries, 16 declared
        (8, 16, "OW", RESCALED_TABLE),
        (12, 12, "OW", None),
        (12, 16, "OW", RESCALED_TABLE),
        (12, 16, "US", RESCALED_TABLE),
        (12, 8, "OW", RESCALED_TABLE),
        (16, 16, "OW", None),
        (16, 16, "UN", None),
        (16, 8, "OW", RESCALED_TABLE),
    ],
)
def test_voi_lut(bits: int, declared: int, how: str, word: str | None, big_endian: bool) -> None:
    level = np.arange(256)[::-1]
    entries = level * ((1 << bits) - 1) // 255
    dataset = drawn(RAMP)
    dataset.VOILUTSequence = Sequence([table(entries, declared, how=how, big_endian=big_endian)])
    stack = opened(dataset, big_endian)
    assert np.abs(picture(stack) - (255 - RAMP.astype(int))).max() <= 1
    assert stack.warnings == ((word,) if word else ())


@pytest.mark.parametrize("vr", ["US", "SS"])
def test_a_signed_first_value(vr: str) -> None:
    values = (RAMP.astype(int) - 128).astype(np.int16)
    entries = np.arange(256) * 257
    first = -128 if vr == "SS" else 65536 - 128
    for rescaled in (False, True):
        dataset = drawn(RAMP if rescaled else values)
        if rescaled:
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, -128
        count = 256
        item = table(entries, 16, 0, how="OW")
        item.add_new(0x00283002, vr, [count, first, 16])
        dataset.VOILUTSequence = Sequence([item])
        stack = opened(dataset)
        assert np.array_equal(picture(stack), RAMP) and stack.warnings == ()


@pytest.mark.parametrize("kind", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("what", ["empty", "no data", "no bits", "no item"])
def test_an_empty_table_is_ignored(kind: str, what: str) -> None:
    item = Dataset()
    item.add_new(0x00283002, "US", {"no data": [256, 0, 16], "no bits": [256, 0, 0]}.get(what))
    item.add_new(0x00283006, "OW", b"\1\0" * 256 if what == "no bits" else b"")
    dataset = drawn(RAMP, WindowCenter=128, WindowWidth=256)
    setattr(dataset, kind, Sequence([] if what == "no item" else [item]))
    stack = opened(dataset)
    assert np.abs(picture(stack) - RAMP).max() <= 1 and np.array_equal(stack.values(), RAMP)
    assert stack.warnings == (() if what == "no item" else (UNUSABLE_TABLE,))


def test_the_next_table_serves_where_the_first_is_empty() -> None:
    dataset = drawn(RAMP)
    good = table(np.arange(256)[::-1], 8, how="OW")
    dataset.VOILUTSequence = Sequence([Dataset(), good])
    assert np.array_equal(picture(opened(dataset)), 255 - RAMP)


def test_a_table_that_is_cut_short_is_said() -> None:
    dataset = drawn(RAMP)
    item = table(np.arange(200) * 257, 16, how="OW")
    item.add_new(0x00283002, "US", [256, 0, 16])
    dataset.ModalityLUTSequence = Sequence([item])
    stack = opened(dataset)
    assert SHORT_TABLE in stack.warnings
    assert np.array_equal(stack.values(), np.minimum(RAMP, 199).astype(int) * 257)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("how", ["OW", "US", "packed"])
def test_modality_lut(how: str, big_endian: bool) -> None:
    entries = np.arange(256)[::-1] if how == "packed" else np.arange(256)[::-1] * 16
    bits = 8 if how == "packed" else 12
    dataset = drawn(RAMP)
    item = table(entries, bits, how=how, big_endian=big_endian)
    item.ModalityLUTType = "US"
    dataset.ModalityLUTSequence = Sequence([item])
    assert np.array_equal(opened(dataset, big_endian).values(), entries[RAMP])


def test_padding_passes_through_the_modality_lut() -> None:
    values = RAMP.copy()
    values[:16] = 255
    dataset = drawn(values, PixelPaddingValue=255)
    entries = np.arange(256) * 10
    entries[255] = 60000
    dataset.ModalityLUTSequence = Sequence([table(entries, 16, how="OW")])
    assert picture(opened(dataset))[16:].std() > 50


def palette(dataset: FileDataset, levels: np.ndarray, bits: int, how: str, big: bool) -> None:
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    for colour, entries in zip(("Red", "Green", "Blue"), levels, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [len(entries), 0, bits])
        dataset.add_new(f"{name}Data", *encoded(entries, how, big))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize(
    ("bits", "declared", "how", "word"),
    [
        (8, 8, "packed", False), (8, 8, "OW", False), (8, 16, "OW", True), (8, 16, "packed", True),
        (16, 16, "OW", False), (16, 8, "OW", True), (12, 16, "OW", True), (16, 16, "US", False),
    ],
)  # fmt: skip
def test_palette(bits: int, declared: int, how: str, word: bool, big_endian: bool) -> None:
    ramp = np.arange(256)
    colours = np.stack([ramp, 255 - ramp, ramp // 2])
    dataset = drawn(RAMP)
    palette(dataset, colours << (bits - 8), declared, how, big_endian)
    stack = opened(dataset, big_endian)
    assert np.array_equal(picture(stack), np.moveaxis(colours[:, RAMP], 0, -1))
    assert (RESCALED_TABLE in stack.warnings) == word


def test_a_segmented_palette() -> None:
    """PS3.3 C.7.9.2: a discrete, a linear, and an indirect segment that repeats the first."""
    dataset = drawn(np.minimum(RAMP, 23))
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    segments = [0, 4, 0, 65280, 0, 65280, 1, 16, 32768, 2, 1, 0, 0]
    line = np.rint(65280 + (32768 - 65280) * np.arange(1, 17) / 16).astype(int)
    expected = np.concatenate([[0, 65280, 0, 65280], line, [0, 65280, 0, 65280]]) >> 8
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{name}Descriptor", "US", [24, 0, 16])
        data = np.array(segments, "<u2").tobytes()
        dataset.add_new(f"Segmented{name}Data", "OW", data)
    shown = picture(opened(dataset))
    assert np.array_equal(shown[..., 0], expected[np.minimum(RAMP, 23)])
