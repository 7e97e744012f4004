"""Convert volumes of other research formats through the NIfTI path."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.decoded_file import Part
from rarl.scans.nifti import read_nifti
from rarl.scans.windowing import Values

LPS_TO_RAS: NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Turns an affine to L, P, S (DICOM, MetaImage, NRRD) into one to R, A, S (NIfTI)."""

_COLOUR = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


def read_volume(
    values: Values,
    affine: NDArray[np.float64],
    oriented: bool,
    name: str,
    limits: Limits,
    tick: Callable[[], None],
) -> Part:
    """A volume through `read_nifti`, so that all formats are turned and scaled in one way.

    Args:
        values: (x, y, z) or (x, y, z, time), of numbers or of what `colour_of` returns.
        affine: (4, 4), from indices to mm towards R, A, S.
        oriented: whether the file says how the volume lies in the patient.
        name: the format, for `Part.format`.
        limits: see `read_nifti`.
        tick: see `read_nifti`.

    Raises:
        ScanError: as for `read_nifti`.
    """
    import nibabel as nib  # here, since it takes longer to load than all the rest

    logging.getLogger("nibabel").setLevel(logging.CRITICAL)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 1 and values.dtype != np.uint8:
        values = values.astype(np.int16)
    # Without an affine NIfTI's codes say that the orientation is unknown.
    image: Any = nib.Nifti2Image(values, affine if oriented else None)
    if not oriented:
        sides = np.linalg.norm(affine[:3, :3], axis=0)
        image.header.set_zooms((*sides, *(1.0,) * (values.ndim - 3)))
    image.header.set_xyzt_units("mm", "sec")
    part = read_nifti(image.to_bytes(), limits, tick)
    warnings = tuple(sentence.replace("NIfTI file", "file") for sentence in part.warnings)
    return replace(part, format=name, warnings=warnings)


def colour_of(values: Values) -> Values:
    """uint8 (..., 3 or 4) as the structured array that NIfTI calls RGB; the fourth is left out."""
    return np.ascontiguousarray(values[..., :3]).view(_COLOUR)[..., 0]


def shaped(
    content: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], format_name: str
) -> Values:
    """Raw values, the first index fastest.

    Raises:
        ScanError: there are fewer bytes than the shape needs.
    """
    count = int(np.prod(shape, dtype=np.int64))
    needed = count * dtype.itemsize
    if len(content) < needed:
        raise ScanError(
            f"The {format_name} volume is cut short: it holds {len(content)} of {needed} bytes; "
            "export it again and upload the new copy."
        )
    values = np.frombuffer(content, dtype, count).reshape(shape, order="F")
    return values.astype(dtype.newbyteorder("="), copy=False)


def check_shape(sizes: tuple[int, ...], limits: Limits) -> None:
    """Refuse a size by what the header announces, before anything is unpacked.

    Raises:
        ScanError: no size of a picture, or beyond the limits.
    """
    width, height, *rest = sizes
    frames = 1
    for side in rest:
        frames *= side
    limits.check_pixels(width, height, frames)
