"""TIFF of every depth, layout and photometric tag: right, or refused in one sentence."""

from __future__ import annotations

from io import BytesIO

import imagecodecs
import numpy as np
import pytest
import tifffile
from tiff_files import tiff

from rarl.errors import ScanError
from rarl.scans import open_stack
from rarl.scans.tiff import NO_PHOTOMETRIC

ROW, COLUMN = np.mgrid[:24, :37]
GREY = COLUMN / 36 * 0.7 + ROW / 23 * 0.3  # 0 to 1


def values(data: bytes) -> np.ndarray:
    return open_stack([data]).values().astype(float)


def scaled(shown: np.ndarray) -> np.ndarray:
    return (shown - shown.min()) / (shown.max() - shown.min())


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 32])
def test_grey(bits: int, order: str) -> None:
    highest = (1 << bits) - 1
    level = np.rint(GREY * highest).astype(np.uint32)
    pictures = [
        values(tiff(samples, bits, photometric, order=order, deflated=deflated))
        for photometric, samples in ((1, level), (0, highest - level))
        for deflated in (False, True)
    ]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)
    assert np.allclose(scaled(pictures[0]), level / highest, atol=0.003)
    if bits >= 8:  # depth is kept
        assert np.allclose(pictures[0], level, rtol=1e-6)


@pytest.mark.parametrize("sample_format", [2, 3])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_and_fractions(bits: int, sample_format: int) -> None:
    kind = {2: "i", 3: "f"}[sample_format]
    if (bits, kind) == (8, "f"):
        return
    level = ((GREY - 0.5) * 100).astype(f"{kind}{bits // 8}")
    shown = values(tiff(level, bits, 1, sample_format=sample_format))
    assert np.allclose(shown, level, rtol=1e-3)
    if kind == "i":
        assert np.array_equal(values(tiff(-1 - level, bits, 0, sample_format=2)), level)
    else:
        with pytest.raises(ScanError, match="fractions with white as zero"):
            open_stack([tiff(level, bits, 0, sample_format=3)])


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [4, 8, 12, 16, 32])
def test_colour(bits: int, planar: int) -> None:
    colour = np.stack([GREY, 1 - GREY, GREY * 0.5, np.full_like(GREY, 0.5)], -1)
    samples = np.rint(colour * ((1 << bits) - 1)).astype(np.uint32)
    level = samples * (255 / ((1 << bits) - 1))
    for extra, factor in ((None, 1), ([0], 1), ([1], 1), ([2], level[0, 0, 3] / 255)):
        channels = samples if extra else samples[..., :3]
        tags = {"t338": extra} if extra else {}
        for order in "<>":
            shown = values(tiff(channels, bits, 2, planar=planar, order=order, **tags))
            assert np.abs(shown - level[..., :3] * factor).max() <= 1.5


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize("bits", [8, 16])
def test_inks(bits: int, planar: int) -> None:
    inks = np.stack([GREY, 1 - GREY, GREY * 0.5, GREY * 0.3], -1)
    samples = np.rint(inks * ((1 << bits) - 1)).astype(np.uint32)
    expected = (1 - inks[..., :3]) * (1 - inks[..., 3:]) * 255
    assert np.abs(values(tiff(samples, bits, 5, planar=planar)) - expected).max() <= 2
    with pytest.raises(ScanError, match="colours in a way that cannot be shown"):
        open_stack([tiff(samples, bits, 5, planar=planar, t332=[2])])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette(bits: int) -> None:
    count = 1 << bits
    index = np.arange(GREY.size).reshape(GREY.shape) % count
    table = np.stack([np.linspace(0, 65535, count), np.linspace(65535, 0, count)])
    table = np.vstack([table, np.full((1, count), 30000)]).astype(int)
    expected = np.moveaxis(table[:, index], 0, -1) / 257
    assert np.abs(values(tiff(index, bits, 3, t320=table.ravel().tolist())) - expected).max() <= 1
    levels = (table >> 8).ravel().tolist()
    assert np.abs(values(tiff(index, bits, 3, t320=levels)) - expected).max() <= 1


def test_transparency_of_grey() -> None:
    pair = np.dstack([np.rint(GREY * 255), np.full_like(GREY, 128)]).astype(np.uint16)
    assert np.abs(values(tiff(pair, 8, 1, t338=[2])) - pair[..., 0] * 128 / 255).max() <= 1
    with pytest.raises(ScanError, match="several channels"):
        open_stack([tiff(pair, 8, 1, t338=[0])])


@pytest.mark.parametrize("photometric", [4, 8, 9, 10, 32803, 32844, 34892])
def test_other_colours_are_refused(photometric: int) -> None:
    samples = np.dstack([np.rint(GREY * 255)] * 3).astype(np.uint16)
    with pytest.raises(ScanError, match="colours in a way that cannot be shown"):
        open_stack([tiff(samples, 8, photometric)])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation: int) -> None:
    stored = np.rint(GREY * 255)
    upright = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored),
    }[orientation]  # fmt: skip
    assert np.array_equal(values(tiff(stored.astype(int), 8, 1, t274=[orientation])), upright)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("options", [
    {"compression": "lzw", "predictor": True}, {"compression": "zstd", "rowsperstrip": 5},
    {"tile": (16, 16)}, {"compression": "jpeg"},
])  # fmt: skip
def test_compressions(options: dict[str, object], photometric: str) -> None:
    buffer = BytesIO()
    level = np.rint(GREY * 255).astype(np.uint8)
    tifffile.imwrite(buffer, level, photometric=photometric, **options)
    expected = level if photometric == "minisblack" else 255 - level
    assert np.abs(values(buffer.getvalue()) - expected).max() <= 4


def test_without_a_photometric_tag() -> None:
    data = tiff(np.rint(GREY * 255).astype(int), 8, 1)
    entry = data.index(b"\x06\x01\x03\x00")
    stack = open_stack([data[:entry] + b"\xfd\xff" + data[entry + 2 :]])
    assert NO_PHOTOMETRIC in stack.warnings and stack.values()[0, 0] < stack.values()[0, -1]


def test_what_is_cut_short_is_refused() -> None:
    whole = tiff(np.rint(GREY * 65535).astype(int), 16, 0)
    with pytest.raises(ScanError, match="damaged"):
        open_stack([whole[: len(whole) // 2]])
    place = whole.index(b"\x17\x01\x04\x00") + 8  # the byte count of its only strip
    with pytest.raises(ScanError, match="damaged"):
        open_stack([whole[:place] + (100).to_bytes(4, "little") + whole[place + 4 :]])


@pytest.mark.parametrize("kind", ["12 bits", "lossless", "JPEG-LS"])
def test_jpeg_files_of_other_processes(kind: str) -> None:
    level = np.rint(GREY * 4095).astype(np.uint16)
    data = {
        "12 bits": lambda: imagecodecs.jpeg8_encode(level, 100, bitspersample=12),
        "lossless": lambda: imagecodecs.jpeg8_encode(level, lossless=True, bitspersample=12),
        "JPEG-LS": lambda: imagecodecs.jpegls_encode(level),
    }[kind]()
    assert np.abs(values(data) - level).max() <= 2
    with pytest.raises(ScanError, match="damaged"):
        open_stack([data[:-20]])
