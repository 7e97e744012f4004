"""Read TIFF pages of every supported bit depth, planar layout and photometric tag.

Pillow knows a list of layouts, shows some of them as negatives and refuses most others. tifffile
gives the samples as they are stored; what they mean is decided here (TIFF 6.0, sections 4 to 8,
16 and 18).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.voi_lut import narrowed
from rarl.scans.windowing import Values, to_eight_bit

NO_PHOTOMETRIC = (
    "The TIFF file does not state whether low values are black or white: black was assumed."
)
REDUCED = "Smaller copies of the picture in the TIFF file were left out."

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_FAX = frozenset([2, 3, 4])  # compressions whose pages have ink as 1
_JPEG = frozenset([6, 7])
_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED = 1, 2, 3, 4
_ALPHA = {1: "associated", 2: "unassociated"}
_PHOTOMETRIC, _ORIENTATION, _INK_SET = 262, 274, 332
_BITS = frozenset([*range(1, 17), 32, 64])
_OTHER_COLOURS = (
    "The TIFF file stores its colours in a way that cannot be shown here; save it as RGB or grey."
)
_OTHER_SAMPLES = (
    "The TIFF file stores several channels or numbers of an unusual kind; save the one channel in "
    "question as grey of 8 or 16 bits."
)
_DAMAGED = "The picture is damaged or not complete; export it again and upload the new copy."


def looks_like_tiff(data: bytes) -> bool:
    """Whether the content begins as a TIFF file of either byte order does."""
    return data.startswith((b"II*\0", b"MM\0*"))


def read_tiff(
    data: bytes,
    limits: Limits,
    tick: Callable[[], None],
    by_pillow: Callable[[int], Values],
) -> tuple[list[Values], list[str]]:
    """The pages of a TIFF file, upright.

    Args:
        data: the whole file.
        limits: checked against each page's header before it is decoded.
        tick: called before each page is decoded.
        by_pillow: decodes the page of a number; asked for JPEG and YCbCr pages.

    Returns:
        (pages, sentences for the reader): grey as stored or uint8, colour as uint8 x 3.

    Raises:
        ScanError: too large, or of a kind that cannot be shown.
        Exception: of any type where the file is damaged.
    """
    import tifffile  # here, since only this format needs it

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what the tags say
    pages: list[Values] = []
    warnings: list[str] = []
    total = 0
    with tifffile.TiffFile(BytesIO(data)) as file:
        for number, page in enumerate(_listed(file, limits)):
            tick()
            if number and page.subfiletype & 0b101:  # a smaller copy, or a mask
                warnings.append(REDUCED)
                continue
            limits.check_pixels(page.imagewidth, page.imagelength)
            limits.check_frames(len(pages) + 1)
            total += page.imagewidth * page.imagelength
            limits.check_total(total)
            photometric = _photometric(page)
            if _PHOTOMETRIC not in page.tags and photometric < _RGB:
                warnings.append(NO_PHOTOMETRIC)
            if photometric == _YCBCR or page.compression in _JPEG:
                pages.append(by_pillow(number))
                continue
            samples = _samples(page, len(data))
            shown = _shown(samples, page, photometric)
            pages.append(np.ascontiguousarray(_upright(shown, page)))
    if not pages:
        raise ScanError(_DAMAGED)
    return pages, list(dict.fromkeys(warnings))


def _listed(file: Any, limits: Limits) -> Iterator[Any]:
    """The pages of a file, which may be more than are read."""
    for number, page in enumerate(file.pages):
        limits.check_frames(number + 1)
        yield page.aspage()


def _photometric(page: Any) -> int:
    if _PHOTOMETRIC in page.tags:
        return int(page.photometric)
    if page.samplesperpixel >= 3:
        return _RGB
    return _WHITE_IS_ZERO if page.compression in _FAX else _BLACK_IS_ZERO


def _samples(page: Any, size: int) -> Values:
    """The samples of a page, (rows, columns, samples), in the file's depth."""
    bits = page.bitspersample
    if not isinstance(bits, int) or bits not in _BITS or page.imagedepth != 1:
        raise ScanError(_OTHER_SAMPLES)
    if page.sampleformat not in (_UNSIGNED, _SIGNED, _FLOAT, _UNDEFINED):
        raise ScanError(_OTHER_SAMPLES)
    if not 1 <= page.samplesperpixel <= 5:
        raise ScanError(_OTHER_SAMPLES)
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    # A segment that is missing would come out as zeros.
    if any(count < 1 or offset < 1 or offset + count > size for offset, count in segments):
        raise ScanError(_DAMAGED)
    rows, columns = page.imagelength, page.imagewidth
    separate = page.planarconfig == 2 and page.samplesperpixel > 1
    if page.compression == 1 and not page.is_tiled:
        line = (columns * bits * (1 if separate else page.samplesperpixel) + 7) // 8
        if sum(count for _, count in segments) < line * rows * (
            page.samplesperpixel if separate else 1
        ):
            raise ScanError(_DAMAGED)
    values: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.shape[1] != 1:
        raise ScanError(_OTHER_SAMPLES)
    if separate:  # (samples, depth, rows, columns, 1)
        return np.moveaxis(values[:, 0, :, :, 0], 0, -1)
    joined: Values = values[0, 0]
    return joined


def _shown(samples: Values, page: Any, photometric: int) -> Values:
    """Convert samples to grey in its own depth, or to 8-bit RGB, on black."""
    bits, whole = int(page.bitspersample), page.sampleformat in (_UNSIGNED, _UNDEFINED)
    highest = (1 << bits) - 1
    extra = [int(kind) for kind in page.extrasamples]
    colours = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4}
    count = colours.get(photometric)
    if count is None:
        raise ScanError(_OTHER_COLOURS)
    spare = samples.shape[2] - count
    if spare < 0 or spare > 1 or (spare and count in (1, 4) and not set(extra) & set(_ALPHA)):
        raise ScanError(_OTHER_SAMPLES)
    main = samples[..., :count]
    shown: Values
    if photometric == _PALETTE:
        shown = _through_palette(main[..., 0], page, whole)
    elif photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        shown = _grey(main[..., 0], photometric == _WHITE_IS_ZERO, bits, page.sampleformat)
    else:
        if not whole:
            raise ScanError(_OTHER_SAMPLES)
        if photometric == _CMYK and int(page.tags.valueof(_INK_SET, 1)) != 1:
            raise ScanError(_OTHER_COLOURS)
        shown = main if bits == 8 else to_eight_bit(main, 0, float(highest))
        if photometric == _CMYK:
            inks = 255 - shown.astype(np.uint16)
            shown = ((inks[..., :3] * inks[..., 3:] + 127) // 255).astype(np.uint8)
    if not spare or not extra or extra[0] not in _ALPHA:
        return shown
    if not whole or shown.dtype != np.uint8:
        raise ScanError(_OTHER_SAMPLES)
    if _ALPHA[extra[0]] == "associated" and photometric != _WHITE_IS_ZERO:
        return shown  # already multiplied
    levels: Values = to_eight_bit(samples[..., -1], 0, float(highest))
    opacity = levels.astype(np.int32).reshape(levels.shape + (1,) * (shown.ndim - 2))
    on_black: Values = ((shown * opacity + 127) // 255).astype(np.uint8)
    return on_black


def _grey(samples: Values, white_is_zero: bool, bits: int, sample_format: int) -> Values:
    """Grey with black as the lowest value: 8 bits where there are at most 8, else its own depth."""
    if sample_format == _FLOAT:
        if white_is_zero:
            raise ScanError(
                "The TIFF file stores fractions with white as zero; save it with black as zero."
            )
        return narrowed(samples)
    if sample_format == _SIGNED:
        return narrowed(-1 - samples if white_is_zero else samples)
    highest = samples.dtype.type((1 << bits) - 1)
    values = highest - samples if white_is_zero else samples
    if bits < 8:
        return to_eight_bit(values, 0, float(highest))
    return narrowed(values)


def _through_palette(indices: Values, page: Any, whole: bool) -> NDArray[np.uint8]:
    table = page.colormap
    if table is None or not whole or table.shape != (3, 1 << page.bitspersample):
        raise ScanError(_DAMAGED)
    levels: Values = np.asarray(table, np.uint16)
    if levels.max() > 255:  # some writers store 8-bit levels
        levels = levels >> 8
    colours: NDArray[np.uint8] = np.moveaxis(levels.astype(np.uint8)[:, indices], 0, -1)
    return colours


def _upright(values: Values, page: Any) -> Values:
    """Turn by the Orientation tag (TIFF 6.0, section 8)."""
    orientation = int(page.tags.valueof(_ORIENTATION, 1))
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values
