"""Read FreeSurfer volumes (.mgh, .mgz) into a `Part`.

The format: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from rarl.limits import Limits
from rarl.scans.decoded_file import Part
from rarl.scans.refusal import refused_as
from rarl.scans.volume import check_shape, read_volume, shaped

_DAMAGED = (
    "The FreeSurfer volume is damaged or not complete; export it again and upload the new copy."
)
_HEADER = struct.Struct(">7ih")
_PIXELS = 284
_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}


def looks_like_mgh(data: bytes) -> bool:
    """Whether the content begins with the header of a FreeSurfer volume."""
    if len(data) < _HEADER.size:
        return False
    version, *sizes, kind, _, _ = _HEADER.unpack_from(data)
    return version == 1 and kind in _TYPES and all(0 < side < 1 << 16 for side in sizes)


def read_mgh(data: bytes, limits: Limits, tick: Callable[[], None]) -> Part:
    """Decode a volume, three- or four-dimensional.

    Args:
        data: the whole file, decompressed.
        limits: the announced size is checked before anything is decoded.
        tick: called before each step that takes time.

    Raises:
        ScanError: damaged, cut short or too large.
    """
    with refused_as(_DAMAGED):
        _, *sizes, kind, _, oriented = _HEADER.unpack_from(data)
        check_shape(tuple(sizes), limits)
        dtype: np.dtype[Any] = np.dtype(_TYPES[kind])
        tick()
        values = shaped(data[_PIXELS:], dtype, tuple(sizes), "FreeSurfer")
        import nibabel as nib  # here, since it takes longer to load than all the rest

        whole: Any = nib.freesurfer.mghformat.MGHImage.from_bytes(data)
        affine = np.asarray(whole.affine, np.float64)
        return read_volume(values, affine, oriented == 1, "mgh", limits, tick)
