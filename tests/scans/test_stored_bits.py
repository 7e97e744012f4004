"""Stored values by PS3.5 8.1.1, padding whatever its VR, and pixel data under a wrong syntax."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from drawn import drawn, saved
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.scans import Limits, open_stack, open_stack_file
from rarl.scans.jpeg import decoder_plugin
from rarl.scans.stored_bits import NO_SUCH_BITS, UNUSED_BITS
from rarl.scans.transfer_syntax import WRONG_SYNTAX

RAMP = np.arange(1024, dtype=np.uint16).reshape(32, 32)


def cell(
    words: np.ndarray, stored: int, high: int, signed: bool = False, **header: object
) -> bytes:
    dataset = drawn(
        words, BitsStored=stored, HighBit=high, PixelRepresentation=int(signed), **header
    )
    return saved(dataset)


@pytest.mark.parametrize("shift", [0, 2, 4])
def test_a_value_in_the_middle_of_a_word(shift: int) -> None:
    words = RAMP << shift
    stack = open_stack([cell(words, 12, 11 + shift)])
    assert np.array_equal(stack.values(), RAMP) and UNUSED_BITS not in stack.warnings


def test_the_sign_is_that_of_the_cell() -> None:
    numbers = RAMP.astype(int) - 512
    for above in (0, 0xFC00):  # zeros above a negative value, or its sign
        words = np.where(numbers < 0, numbers & 0x3FF | above, numbers).astype(np.uint16)
        stack = open_stack([cell(words, 10, 9, signed=True)])
        assert np.array_equal(stack.values(), numbers) and UNUSED_BITS not in stack.warnings


def test_unused_bits_are_said() -> None:
    stack = open_stack([cell(RAMP | 0x8000, 12, 11)])
    assert np.array_equal(stack.values(), RAMP) and UNUSED_BITS in stack.warnings
    stack = open_stack([cell(RAMP, 12, 15)])  # the values lie below their cell
    assert np.array_equal(stack.values(), RAMP >> 4) and UNUSED_BITS in stack.warnings


def test_a_cell_outside_the_word_is_said() -> None:
    stack = open_stack([cell(RAMP, 12, 5)])
    assert np.array_equal(stack.values(), RAMP) and NO_SUCH_BITS in stack.warnings


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("vr", ["US", "SS", "UN", "OW", "IS"])
def test_padding_of_any_vr_does_not_set_the_contrast(vr: str, signed: bool) -> None:
    words = RAMP.copy()
    words[:20] = 63536  # -2000 as a signed number
    dataset = drawn(words, PixelRepresentation=int(signed))
    value = {
        "US": 63536, "SS": -2000, "UN": b"\x30\xf8", "OW": b"\x30\xf8", "IS": "-2000",
    }[vr]  # fmt: skip
    dataset.add_new("PixelPaddingValue", vr, value)
    stack = open_stack([saved(dataset)])
    window = stack.auto_window()
    assert window.width < 500 and np.asarray(stack.scan().image)[20:].std() > 60


def test_padding_wider_than_its_cell_stays_apart() -> None:
    words = RAMP.copy()
    words[:20] = 63536
    data = cell(words, 12, 11, PixelPaddingValue=63536)
    stack = open_stack([data])
    assert (stack.values()[:20] == 63536).all() and UNUSED_BITS not in stack.warnings
    assert stack.auto_window().width < 500


def compressed(stream: bytes, syntax: str, like: np.ndarray, **header: object) -> FileDataset:
    dataset = drawn(like, **header)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def lossless(words: np.ndarray, bits: int) -> bytes:
    return bytes(imagecodecs.jpeg8_encode(words, lossless=True, bitspersample=bits))


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 16])
def test_jpeg_of_every_depth_with_a_sign(bits: int) -> None:
    numbers = np.linspace(-(1 << (bits - 1)), (1 << (bits - 1)) - 1, 1024).astype(int)
    words = (numbers & ((1 << bits) - 1)).astype(np.uint16).reshape(32, 32)
    header = {"BitsStored": bits, "HighBit": bits - 1, "PixelRepresentation": 1}
    for stream, syntax in (
        (lossless(words, bits), JPEGLosslessSV1),
        (lossless(words, 16), JPEGLosslessSV1),  # the whole word was encoded
        (imagecodecs.jpegls_encode(words), JPEGLSLossless),
    ):
        stack = open_stack([saved(compressed(stream, syntax, words, **header))])
        assert np.array_equal(stack.values(), numbers.reshape(32, 32))


@pytest.mark.parametrize(
    "stream",
    [
        lossless(RAMP, 12), imagecodecs.jpegls_encode(RAMP),
        imagecodecs.jpeg2k_encode(RAMP, codecformat="j2k", reversible=True, level=0),
        imagecodecs.jpeg8_encode(RAMP, 100, bitspersample=12),
    ],
    ids=["lossless JPEG", "JPEG-LS", "JPEG 2000", "JPEG of 12 bits"],
)  # fmt: skip
@pytest.mark.parametrize(
    "syntax",
    [JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000, RLELossless,
     ExplicitVRLittleEndian],
)  # fmt: skip
def test_a_codestream_under_another_syntax(stream: bytes, syntax: str) -> None:
    header = {"BitsStored": 12, "HighBit": 11}
    stack = open_stack([saved(compressed(stream, syntax, RAMP, **header))])
    assert np.abs(stack.values().astype(int) - RAMP).max() <= 2
    # Without items, as some converters leave it.
    bare = compressed(stream, syntax, RAMP, **header)
    bare["PixelData"].is_undefined_length = False
    bare.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    bare.PixelData = stream + b"\0" * (len(stream) % 2)
    stack = open_stack([saved(bare)])
    assert np.abs(stack.values().astype(int) - RAMP).max() <= 2 and WRONG_SYNTAX in stack.warnings


def test_run_lengths_and_plain_pixels_under_another_syntax(packaged: Callable[[str], Path]) -> None:
    expected = open_stack_file([packaged("MR_small.dcm")]).values()
    dataset = dcmread(packaged("MR_small_RLE.dcm"))
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    assert np.array_equal(open_stack([saved(dataset)]).values(), expected)
    plain = saved(dcmread(packaged("MR_small.dcm")))
    assert plain.count(b"1.2.840.10008.1.2.1\0") == 1
    renamed = plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    stack = open_stack([renamed])
    assert np.array_equal(stack.values(), expected) and WRONG_SYNTAX in stack.warnings


def test_a_scan_header_that_ends_at_zero() -> None:
    """12-bit JPEG whose Se is 0, as in NEMA's WG04 set; the field means nothing here."""
    stream = bytearray(imagecodecs.jpeg8_encode(RAMP, 100, bitspersample=12))
    scan = stream.index(b"\xff\xda\x00\x08\x01")
    assert stream[scan + 7 : scan + 10] == b"\x00\x3f\x00"
    stream[scan + 8] = 0
    header = {"BitsStored": 12, "HighBit": 11}
    stack = open_stack([saved(compressed(bytes(stream), JPEGExtended12Bit, RAMP, **header))])
    assert np.abs(stack.values().astype(int) - RAMP).max() <= 2


def test_a_stream_that_ends_early_is_said() -> None:
    stream = lossless(RAMP, 12)
    header = {"BitsStored": 12, "HighBit": 11}
    half = compressed(stream[: len(stream) // 2], JPEGLosslessSV1, RAMP, **header)
    assert "part of it may be missing" in " ".join(open_stack([saved(half)]).warnings)


def test_jpeg_needs_no_other_decoder() -> None:
    for syntax in (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless):
        assert decoder_plugin(syntax) == "imagecodecs"


def test_a_file_that_mentions_a_syntax() -> None:
    dataset = drawn(RAMP, StudyDescription=f"was {DeflatedExplicitVRLittleEndian}")
    assert np.array_equal(open_stack([saved(dataset)]).values(), RAMP)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert np.array_equal(open_stack([saved(dataset)]).values(), RAMP)
    dataset.file_meta.ImplementationVersionName = "1.2.840.10008.1"
    dataset.file_meta.SourceApplicationEntityTitle = "1.2.840.10008.1"
    assert np.array_equal(open_stack([saved(dataset)]).values(), RAMP)


LABELS = np.zeros((200, 200, 60), np.uint8)
LABELS[50:90, 50:90, 20:40] = 3
SMALL = Limits(unsuspicious_bytes=100_000)


def test_label_maps_are_judged_by_their_own_header() -> None:
    volume = nib.Nifti1Image(LABELS, np.eye(4)).to_bytes()
    packed = gzip.compress(volume)
    assert len(volume) > 200 * len(packed)
    assert open_stack([packed], SMALL).frames() == 60
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.nii", volume)
    assert open_stack([buffer.getvalue()], SMALL).frames() == 60
    with pytest.raises(ScanError, match="more than 200 times its size"):
        open_stack([gzip.compress(volume + bytes(9_000_000))], SMALL)
    with pytest.raises(ScanError, match="unpacks to more than 2 MB"):
        open_stack([packed], Limits(unsuspicious_bytes=100_000, series_bytes=2_000_000))
    with pytest.raises(ScanError, match="megapixels in all frames together"):
        open_stack([packed], Limits(unsuspicious_bytes=100_000, total_pixels=1_000_000))


def test_a_deflated_label_map() -> None:
    frames = np.ascontiguousarray(LABELS.T).astype(np.uint16)
    dataset = drawn(frames, NumberOfFrames=60)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert open_stack([saved(dataset)], SMALL).frames() == 60


@pytest.mark.parametrize("size", [10, 349, 3000, 10**6])
def test_gzip_members(size: int) -> None:
    """RFC 1952, 2.2: as bgzip, mgzip and parallel compressors write them."""
    values = np.random.default_rng(1).integers(0, 99, (20, 16, 12), np.int16)
    volume = nib.Nifti1Image(values, np.diag([2.0, 2, 3, 1])).to_bytes()
    pieces = [volume[start : start + size] for start in range(0, len(volume), size)]
    packed = b"".join(map(gzip.compress, [b"", *pieces, b""]))
    stack = open_stack([packed])
    assert stack.frames() == 12 and stack.step() == 3
    assert open_stack([packed + bytes(512)]).frames() == 12  # filled up with zeros
    with pytest.raises(ScanError, match=r"cut short|damaged"):
        open_stack([b"".join(map(gzip.compress, pieces))[:-9]])
