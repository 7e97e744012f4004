"""Read NIfTI-1 and NIfTI-2 into a `Part`, in canonical orientation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.decoded_file import Frame, Part
from rarl.scans.refusal import refused_as
from rarl.scans.voi_lut import narrowed, scaling

_DAMAGED = "The NIfTI volume is damaged or not complete; export it again and upload the new copy."
_UNORIENTED = (
    "The NIfTI file does not say how the volume lies in the patient: planes and sides may be wrong."
)
_TWO_SPACINGS = (
    "The NIfTI file states two voxel sizes (pixdim and sform): that of the sform was used, which "
    "also gives the orientation."
)
_SHEARED = (
    "The axes of the NIfTI volume are not at right angles: lengths and angles across them are "
    "wrong."
)
_NO_UNIT = "The NIfTI file states an unknown unit of length: millimetres were assumed."
_MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units, its three lowest bits
_SAME_LENGTH = 1e-2
_RIGHT_ANGLE = 1e-2
_MAGIC = {b"n+1\0": 344, b"n+2\0": 4}
_PAIRED = {b"ni1\0": 344, b"ni2\0": 4}


def looks_like_nifti(data: bytes) -> bool:
    """Whether the content is a single-file NIfTI, or the header of a pair."""
    return any(
        data[place : place + 4] == magic for magic, place in (*_MAGIC.items(), *_PAIRED.items())
    ) and data[:4] in (
        b"\x5c\x01\0\0", b"\0\0\x01\x5c", b"\x1c\x02\0\0", b"\0\0\x02\x1c",
    )  # fmt: skip


def read_nifti(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    """Decode a volume, three- or four-dimensional, to axial frames in DICOM's directions.

    Turned by nibabel to the nearest axes (RAS+), then to L, P, H, so that the patient's right is
    on the left of the screen. Its name and descriptions stay behind.

    Args:
        data: the whole file, decompressed.
        limits: the announced size is checked before anything is decoded.
        tick: called before each volume is decoded.

    Raises:
        ScanError: damaged, cut short, too large, one of a pair of files, or of complex numbers or
            vectors.
    """
    if any(data[place : place + 4] == magic for magic, place in _PAIRED.items()):
        raise ScanError(
            "This is only one of a pair of NIfTI files; save the volume as a single .nii file."
        )
    with refused_as(_DAMAGED):
        return _read(data, limits, tick)


def _read(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    import nibabel as nib  # here, since it takes longer to load than all the rest

    logging.getLogger("nibabel").setLevel(logging.CRITICAL)  # it logs what the header says
    kind: Any = nib.Nifti1Image if data[344:348] in _MAGIC else nib.Nifti2Image
    image = kind.from_bytes(data)
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 4 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) > 4:
        raise ScanError("The NIfTI file holds vectors; save the one component to be looked at.")
    if len(shape) < 2 or min(shape) < 1:
        raise ScanError(_DAMAGED)
    width, height, depth, times = (*shape, 1, 1)[:4]
    limits.check_pixels(width, height, depth * times)
    dtype = image.get_data_dtype()
    needed = width * height * depth * times * dtype.itemsize
    offset = int(image.dataobj.offset)
    if offset < 0 or len(data) - offset < needed:
        raise ScanError(
            f"The NIfTI volume is cut short: it holds {max(len(data) - offset, 0)} of {needed} "
            "bytes; export it again and upload the new copy."
        )
    if dtype.kind == "c":
        raise ScanError("The NIfTI file holds complex numbers; save magnitude or phase by itself.")
    tick()
    stored = np.asarray(image.dataobj.get_unscaled()).reshape(width, height, depth, times)
    if dtype.names is not None:
        if any(dtype[name] != np.uint8 for name in dtype.names) or len(dtype.names) < 3:
            raise ScanError(_DAMAGED)
        stored = np.stack([stored[name] for name in dtype.names[:3]], axis=-1)
    header = image.header
    oriented = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
    affine = np.asarray(image.affine, np.float64)
    turn = nib.io_orientation(affine)
    if not np.isfinite(affine).all() or np.isnan(turn).any():
        turn, oriented = nib.io_orientation(np.diag([-1.0, -1.0, 1.0, 1.0])), False
    # To L, P, H: what nibabel calls canonical is R, A, S.
    wanted = nib.orientations.axcodes2ornt(("L", "P", "S"))
    moved = nib.apply_orientation(stored, nib.orientations.ornt_transform(turn, wanted))
    steps, warnings = _steps(header, affine, oriented)
    known = all(1e-6 < step < 1e4 for step in steps)
    sides = [1.0, 1.0, 1.0]
    for axis, (target, _) in enumerate(nib.orientations.ornt_transform(turn, wanted)):
        sides[int(target)] = steps[axis] if known else 1.0
    # Not from the header, in which nibabel resets them on reading.
    slope, intercept = scaling(float(image.dataobj.slope), float(image.dataobj.inter))
    pixels, frames = [], []
    for time in range(moved.shape[3]):
        tick()
        for place in range(moved.shape[2]):
            cut = np.moveaxis(moved[:, :, place, time], 0, 1)
            pixels.append(narrowed(cut) if dtype.names is None else np.array(cut, order="C"))
            frames.append(
                Frame(
                    slope=slope,
                    intercept=intercept,
                    position=(0.0, 0.0, place * sides[2]),
                    right=(1.0, 0.0, 0.0),
                    down=(0.0, 1.0, 0.0),
                    toward=("L", "P") if oriented else None,
                    spacing=(sides[1], sides[0]) if known else None,
                    time=time,
                )
            )
    if not oriented:
        warnings.append(_UNORIENTED)
    return Part(tuple(pixels), tuple(frames), "nifti", warnings=tuple(warnings))


def _steps(
    header: Any, affine: NDArray[np.float64], oriented: bool
) -> tuple[list[float], list[str]]:
    """Millimetres between voxels along each array axis, and sentences for the reader.

    Taken from the affine that gives the orientation, so that both agree; from pixdim where no
    affine is set. Units are those of xyzt_units (NIfTI-1.1, nifti1.h).

    Args:
        header: of nibabel.
        affine: (4, 4), in the file's units.
        oriented: whether the affine can be used.
    """
    warnings = []
    code = int(header["xyzt_units"]) & 7
    scale = _MILLIMETRES.get(code)
    if scale is None:
        warnings.append(_NO_UNIT)
        scale = 1.0
    zooms = np.asarray(header.get_zooms()[:3], np.float64)
    stated = np.abs(np.concatenate([zooms, np.ones(3 - zooms.size)]))
    steps = stated
    if oriented:
        columns = affine[:3, :3]
        steps = np.linalg.norm(columns, axis=0)
        steps[zooms.size :] = 1.0  # a slice has no thickness here
        directions = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-30)
        angles = directions.T @ directions - np.eye(3)
        if np.abs(angles).max() > _RIGHT_ANGLE:
            warnings.append(_SHEARED)
        if np.abs(steps - stated).max() > _SAME_LENGTH * max(float(steps.max()), 1e-30):
            warnings.append(_TWO_SPACINGS)
    return [float(step) * scale for step in steps], warnings
