"""Valid headers around known pixels, by chance: what RARL shows is right, or it says what is not.

The reference is written for this test from the standard's formulas, value by value, and shares no
code with RARL or with pydicom's own pipeline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO

import imagecodecs
import numpy as np
import pytest
from drawn import drawn, saved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.scans import Stack, open_stack
from rarl.scans.stack import BAD_WINDOW, NO_WINDOW
from rarl.scans.stored_bits import UNUSED_BITS

ROWS, COLUMNS = 10, 12
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEGLosslessSV1,
)
DIRECTIONS = {
    "axial": ((1, 0, 0), (0, 1, 0), "LP"),
    "coronal": ((1, 0, 0), (0, 0, -1), "LF"),
    "sagittal": ((0, 1, 0), (0, 0, -1), "PF"),
    "turned": ((-1, 0, 0), (0, -1, 0), "RA"),
    "oblique": ((0.96, 0.28, 0), (-0.28, 0.96, 0), "LP"),
}


@dataclass
class Case:
    """A file, and what a reader of the standard makes of it."""

    data: bytes
    values: list[list[list[float]]]  # frames, rows, columns
    levels: list[list[float]] | None  # of the first frame, where a window or table gives them
    spacing: tuple[float, float] | None
    letters: str | None
    lossy_words: bool  # whether bits outside the cell hold something


def meaning(word: int, stored: int, shift: int, signed: bool) -> int:
    """The number in a word (PS3.5 8.1.1)."""
    number = (word >> shift) % (1 << stored)
    return number - (1 << stored) if signed and number >= 1 << (stored - 1) else number


def window_level(value: float, center: float, width: float) -> float:
    """PS3.3 C.11.2.1.2.1, to 0..255."""
    if value <= center - 0.5 - (width - 1) / 2:
        return 0.0
    if value > center - 0.5 + (width - 1) / 2:
        return 255.0
    return ((value - (center - 0.5)) / (width - 1) + 0.5) * 255


def table_entry(table: list[int], first: int, value: float) -> int:
    return table[min(max(round(value) - first, 0), len(table) - 1)]


def run_lengths(frame: np.ndarray) -> bytes:
    """PS3.5 Annex G, literal runs alone: a segment for each byte of a word, the highest first."""
    planes = frame.astype(frame.dtype.newbyteorder(">")).view(np.uint8)
    planes = planes.reshape(*frame.shape, frame.itemsize)
    segments = [
        b"".join(bytes([COLUMNS - 1]) + row.tobytes() for row in planes[..., index])
        for index in range(frame.itemsize)
    ]
    offsets = [64 + sum(map(len, segments[:index])) for index in range(len(segments))]
    header = [len(segments), *offsets, *[0] * (15 - len(segments))]
    return np.array(header, "<u4").tobytes() + b"".join(segments)


def written(dataset: FileDataset, syntax: str, words: np.ndarray, precision: int) -> bytes:
    """The file in a transfer syntax; words are (frames, rows, columns), unsigned."""
    dataset.file_meta.TransferSyntaxUID = syntax
    little = syntax != ExplicitVRBigEndian
    dataset.PixelData = words.astype(words.dtype.newbyteorder("<" if little else ">")).tobytes()
    dataset["PixelData"].VR = "OW"
    if words.itemsize == 1:
        dataset["PixelData"].VR = "OB"
    if syntax in (JPEGLSLossless, JPEGLosslessSV1, RLELossless):
        frames = []
        for frame in words:
            if syntax == RLELossless:
                frames.append(run_lengths(frame))
            elif syntax == JPEGLSLossless:
                frames.append(imagecodecs.jpegls_encode(frame))
            else:
                frames.append(
                    imagecodecs.jpeg8_encode(frame, lossless=True, bitspersample=precision)
                )
        dataset.PixelData = encapsulate(frames)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
    if little:
        return saved(dataset)
    buffer = BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    return buffer.getvalue()


def lut_item(
    table: list[int], first: int, bits: int, little: bool, packed: bool
) -> tuple[Dataset, int]:
    """An item of a LUT sequence; 8-bit entries two to a word where asked."""
    item = Dataset()
    item.add_new(0x00283002, "US", [len(table), first % 65536, bits])
    order = "<u2" if little else ">u2"
    if packed:
        halves = np.array(table, np.uint8).tobytes()
        data = np.frombuffer(halves, "<u2").astype(order).tobytes()
    else:
        data = np.array(table).astype(order).tobytes()
    item.add_new(0x00283006, "OW", data)
    return item, first


@st.composite
def cases(draw: st.DrawFn) -> Case:
    allocated = draw(st.sampled_from([8, 16, 16, 16, 32]))
    stored = draw(st.integers(2, allocated))
    shift = draw(st.integers(0, allocated - stored)) if draw(st.booleans()) else 0
    signed = draw(st.booleans())
    frames = draw(st.integers(1, 3))
    options = [name for name in SYNTAXES if allocated <= 16 or "JPEG" not in name.name]
    syntax = draw(st.sampled_from(options))
    junk = draw(st.integers(0, 3)) == 0
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    numbers = random.integers(0, 1 << stored, (frames, ROWS, COLUMNS), np.uint64)
    words = numbers << np.uint64(shift)
    if junk:
        words |= random.integers(0, 1 << allocated, words.shape, np.uint64) & np.uint64(
            ((1 << allocated) - 1) ^ (((1 << stored) - 1) << shift)
        )
    lossy = bool((words != numbers << np.uint64(shift)).any())
    words = words.astype(f"u{allocated // 8}")
    plain = [
        [[meaning(int(word), stored, shift, signed) for word in row] for row in frame]
        for frame in words
    ]

    dataset = drawn(
        np.zeros((ROWS, COLUMNS), np.uint16),
        BitsAllocated=allocated,
        BitsStored=stored,
        HighBit=stored + shift - 1,
        PixelRepresentation=int(signed),
        NumberOfFrames=frames,
        PhotometricInterpretation=draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
    )
    little = syntax != ExplicitVRBigEndian
    lowest = -(1 << (stored - 1)) if signed else 0

    modality = draw(st.sampled_from(["none", "rescale", "rescale", "table"]))
    slope, intercept = 1.0, 0.0
    if modality == "rescale":
        slope = draw(st.sampled_from([1, 2, 0.5, 0.25, -1, 0.0005]))
        intercept = draw(st.sampled_from([0, -1024, 1000, 0.5]))
        dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)
    physical: list[list[list[float]]]
    if modality == "table" and stored <= 16:
        count = draw(st.sampled_from([16, 256, 1000]))
        first = draw(st.integers(max(lowest, -300), 300))
        bits = draw(st.sampled_from([8, 12, 16]))
        table = random.integers(0, 1 << bits, count).tolist()
        packed = bits == 8 and count % 2 == 0 and draw(st.booleans())
        item, _ = lut_item(table, first, bits, little, packed)
        item.ModalityLUTType = "US"
        dataset.ModalityLUTSequence = Sequence([item])
        physical = [
            [[table_entry(table, first, value) for value in row] for row in frame]
            for frame in plain
        ]
        low_physical = 0.0
    else:
        physical = [
            [[value * slope + intercept for value in row] for row in frame] for frame in plain
        ]
        high = (1 << (stored - signed)) - 1
        low_physical = min(lowest * slope + intercept, high * slope + intercept)

    levels: list[list[float]] | None = None
    shown = draw(st.sampled_from(["none", "window", "window", "table", "narrow table"]))
    first_frame = physical[0]
    if shown == "window":
        spread = max(map(max, first_frame)) - min(map(min, first_frame))
        center = round(sum(map(sum, first_frame)) / (ROWS * COLUMNS), 1)
        width = max(round(spread / 2), 2)
        dataset.WindowCenter, dataset.WindowWidth = str(center), str(width)
        levels = [[window_level(value, center, width) for value in row] for row in first_frame]
    elif "table" in shown:
        bits = draw(st.sampled_from([8, 12, 16]))
        count = 256
        first = max(math.floor(low_physical), -20000)
        top = 1 << (bits if shown == "table" else max(bits - 4, 1))
        table = random.integers(0, top, count).tolist()
        table[draw(st.integers(0, count - 1))] = top - 1
        packed = bits == 8 and draw(st.booleans())
        item, _ = lut_item(table, first, bits, little, packed)
        if -20000 <= first < 32768:
            dataset.VOILUTSequence = Sequence([item])
            levels = [
                [table_entry(table, first, value) * 255 / (top - 1) for value in row]
                for row in first_frame
            ]
    if levels is not None and dataset.PhotometricInterpretation == "MONOCHROME1":
        levels = [[255 - level for level in row] for row in levels]

    spacing = None
    kind = draw(st.sampled_from(["none", "given", "detector", "magnified", "groups"]))
    side = draw(st.sampled_from([0.5, 0.48828125, 1.25]))
    if kind in ("given", "groups"):
        spacing = (side, side)
    if kind == "given":
        dataset.PixelSpacing = [str(side), str(side)]
    if kind in ("detector", "magnified"):
        dataset.ImagerPixelSpacing = [str(side), str(side)]
        spacing = (side, side)
    if kind == "magnified":
        dataset.EstimatedRadiographicMagnificationFactor = "1.25"
        spacing = (side / 1.25, side / 1.25)
    letters = None
    place = draw(st.sampled_from(["none", *DIRECTIONS]))
    if place != "none":
        right, down, letters = DIRECTIONS[place]
        if kind == "groups":
            measures, plane, shared = Dataset(), Dataset(), Dataset()
            measures.PixelSpacing = [str(side), str(side)]
            plane.ImageOrientationPatient = [*right, *down]
            shared.PixelMeasuresSequence = Sequence([measures])
            shared.PlaneOrientationSequence = Sequence([plane])
            dataset.SharedFunctionalGroupsSequence = Sequence([shared])
        else:
            dataset.ImageOrientationPatient = [*right, *down]
    elif kind == "groups":
        spacing = None
    precision = allocated if junk else max(stored + shift, 9 if allocated > 8 else 2)
    data = written(dataset, syntax, words, precision)
    return Case(data, physical, levels, spacing, letters, lossy)


def opened(case: Case) -> Stack | None:
    try:
        return open_stack([case.data])
    except ScanError:
        return None


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_shown_as_the_standard_says_or_with_a_word(case: Case) -> None:
    stack = opened(case)
    assert stack is not None, "a valid file is refused"
    warnings = set(stack.warnings)
    for number, expected in enumerate(case.values):
        shown = stack.values("acquired", number).astype(float)
        right = np.array(expected)
        scale = max(1.0, float(np.abs(right).max()))
        agrees = np.allclose(shown, right, rtol=1e-6, atol=2e-7 * scale)
        # A signed word may extend its sign into the unused bits.
        assert agrees or UNUSED_BITS in warnings, "values differ without a word"
    if not case.lossy_words:
        assert UNUSED_BITS not in warnings, "a sound file is suspected"
    if case.levels is not None and not {BAD_WINDOW, NO_WINDOW} & warnings:
        picture = np.asarray(stack.scan().image).astype(float)
        assert np.abs(picture - np.array(case.levels)).max() <= 1.01, "the picture differs"
    if case.spacing is None:
        assert stack.spacing() is None
    else:
        assert stack.spacing() == pytest.approx(case.spacing, rel=1e-4)
    letters = stack.letters()
    assert (letters and letters[1] + letters[3]) == case.letters


def test_the_reference_itself() -> None:
    assert meaning(0b1001_1000, 5, 3, True) == -13 and meaning(0xF00F, 4, 0, False) == 15
    assert window_level(40, 40, 400) == pytest.approx(127.82, abs=0.01)
    assert [table_entry([7, 8, 9], -1, value) for value in (-5, 0, 30)] == [7, 8, 9]
