"""PNG and JPEG to `Scan`."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from rarl.errors import ScanError
from rarl.scans.limits import Limits, refused_as
from rarl.scans.scan import Scan
from rarl.scans.windowing import percentile_window, to_eight_bit

_DAMAGED = "The picture is damaged or not complete; export it again and upload the new copy."


def read_plain(data: bytes, limits: Limits) -> Scan:
    """Decode a PNG or JPEG, upright, on black where it is transparent.

    Text, EXIF and colour profile stay behind: the picture is rebuilt from its pixels alone.

    Args:
        data: the whole file.
        limits: checked against the header before anything is decoded.

    Raises:
        ScanError: damaged, truncated, too large or too small.
    """
    with refused_as(_DAMAGED):
        picture = _open(data, limits)
        limits.check_pixels(*picture.size)
        kind = "png" if picture.format == "PNG" else "jpeg"  # MPO, a JPEG with more behind it
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        if upright.mode in {"I;16", "I;16B", "I;16L", "I"}:
            return Scan(_window(upright), kind)
        return Scan(_flat(upright), kind)


def _open(data: bytes, limits: Limits) -> Image.Image:
    """Read the header; Pillow itself refuses what would fill the memory."""
    try:
        return Image.open(BytesIO(data), formats=["PNG", "JPEG"])
    except Image.DecompressionBombError:
        raise limits.too_many_pixels() from None


def _window(picture: Image.Image) -> Image.Image:
    """16 bits by percentile: Pillow itself would clip everything above 255 to white."""
    values = np.asarray(picture)
    low, high = percentile_window(values)
    start = int(values.min())
    table = to_eight_bit(np.arange(start, int(values.max()) + 1), low, high)
    if table.size > 1 << 16:
        raise ScanError("The picture has more than 16 bits per pixel; export it with 8 or 16.")
    return Image.fromarray(table[values.astype(np.int32) - start])


def _flat(picture: Image.Image) -> Image.Image:
    """Any 8-bit mode to L or RGB."""
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)
    mode = "L" if picture.mode in {"1", "L"} else "RGB"
    # Rebuilt from the pixels: convert() would carry the file's text along in `info`.
    return Image.fromarray(np.array(picture.convert(mode)))
