"""PNG and JPEG."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from rarl.errors import ScanError
from rarl.scans import Limits, open_scan

PATIENT = "Mustermann"


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def gradient(mode: str = "L", size: tuple[int, int] = (40, 30)) -> Image.Image:
    return Image.linear_gradient("L").resize(size).convert(mode)


def png_header(width: int, height: int) -> bytes:
    """A valid PNG that announces a size and has no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("mode", "kind", "shown"),
    [
        ("L", "PNG", "L"),
        ("1", "PNG", "L"),
        ("RGB", "PNG", "RGB"),
        ("P", "PNG", "RGB"),
        ("RGBA", "PNG", "RGB"),
        ("LA", "PNG", "RGB"),
        ("L", "JPEG", "L"),
        ("RGB", "JPEG", "RGB"),
        ("CMYK", "JPEG", "RGB"),
    ],
)
def test_modes(mode: str, kind: str, shown: str) -> None:
    scan = open_scan(encoded(gradient(mode), kind))
    assert (scan.format, scan.image.mode, scan.image.size) == (kind.lower(), shown, (40, 30))
    assert scan.modality is None and not scan.attributes and scan.warnings == ()


def test_pixels_are_untouched() -> None:
    image = gradient("RGB")
    assert np.array_equal(open_scan(encoded(image)).image, image)


def test_sixteen_bits_keep_their_contrast() -> None:
    values = np.linspace(20_000, 30_000, 64 * 64).reshape(64, 64).astype(np.uint16)
    values[0, 0] = 65_535  # a marker, which must not take the whole range
    shown = np.asarray(open_scan(encoded(Image.fromarray(values))).image)
    assert shown.dtype == np.uint8
    assert shown[1, 0] < 10 and shown[-1, -1] == 255
    assert 100 < shown[32, 0] < 155


def test_transparent_becomes_black() -> None:
    image = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    assert open_scan(encoded(image)).image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_transparent_colour_of_a_palette() -> None:
    image = Image.new("P", (32, 32), 3)
    image.putpalette([250] * 768)
    assert open_scan(encoded(image, transparency=3)).image.getpixel((0, 0)) == (0, 0, 0)


def test_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees
    image = Image.new("L", (40, 20))
    image.paste(255, (0, 0, 10, 20))
    scan = open_scan(encoded(image, "JPEG", exif=exif))
    assert scan.image.size == (20, 40)
    assert scan.image.getpixel((10, 2)) > 240 and scan.image.getpixel((10, 38)) < 15


def test_metadata_stays_behind() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Patient", PATIENT)
    exif = Image.Exif()
    exif[0x010E] = PATIENT
    for data in (
        encoded(gradient(), pnginfo=text, exif=exif),
        encoded(gradient("RGB"), "JPEG", exif=exif, comment=PATIENT.encode()),
    ):
        assert PATIENT.encode() in data
        scan = open_scan(data)
        assert not scan.image.info and not scan.image.getexif()
        assert PATIENT.encode() not in encoded(scan.image)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_header_is_refused_before_decoding() -> None:
    with pytest.raises(ScanError, match="more than 100 megapixels"):
        open_scan(png_header(20_000, 20_000))
    with pytest.raises(ScanError, match="more than 100 megapixels"):
        open_scan(png_header(12_000, 9_000))


def test_limits_are_the_callers() -> None:
    data = encoded(gradient())
    with pytest.raises(ScanError, match="megapixels"):
        open_scan(data, Limits(frame_pixels=1000))
    with pytest.raises(ScanError, match="larger than 0 MB"):
        open_scan(data, Limits(file_bytes=50))
    assert open_scan(data, Limits(frame_pixels=1200)).image.size == (40, 30)


def test_small_pictures_are_refused() -> None:
    with pytest.raises(ScanError, match="smaller than 8 x 8 pixels"):
        open_scan(encoded(Image.new("L", (7, 400))))
    assert open_scan(encoded(Image.new("L", (8, 8)))).image.size == (8, 8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_truncated(kind: str) -> None:
    data = encoded(Image.effect_noise((200, 200), 80), kind)
    for length in (9, 60, len(data) // 2, len(data) - 200):
        with pytest.raises(ScanError, match=r"damaged"):
            open_scan(data[:length])
