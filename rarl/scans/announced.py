"""Read the uncompressed size that a scan's header announces.

A label map or a black slice may compress a thousandfold. What its header announces is no reason
for suspicion; anything beyond that is.
"""

from __future__ import annotations

import zipfile
from io import BytesIO
from struct import unpack_from

from pydicom import dcmread

from rarl.scans.nifti import looks_like_nifti
from rarl.scans.transfer_syntax import native_length

HEAD_BYTES = 1 << 16
"""As much of a file as is read for its header."""

_SPARE_BYTES = 1 << 20  # of header and of what stands behind the pixels


def announced_bytes(head: bytes) -> int:
    """The size that the header of a NIfTI volume or a DICOM file announces; 0 where none does.

    Args:
        head: the beginning of the unpacked file, `HEAD_BYTES` or the whole of it.
    """
    try:
        if head[128:132] == b"DICM":
            dataset = dcmread(BytesIO(head), stop_before_pixels=True)
            frames = int(dataset.get("NumberOfFrames") or 1)
            return max(native_length(dataset, frames), 0) + _SPARE_BYTES
        if looks_like_nifti(head):
            return _nifti_bytes(head) + _SPARE_BYTES
    except Exception:  # whatever is wrong with the header, it announces nothing
        return 0
    return 0


def _nifti_bytes(head: bytes) -> int:
    """Bytes of the voxels (nifti1.h, nifti2.h: dim and bitpix)."""
    order = "<" if head[:1] in (b"\x5c", b"\x1c") else ">"
    second = head[4:7] == b"n+2"
    rank, *sides = unpack_from(f"{order}8{'q' if second else 'h'}", head, 16 if second else 40)
    (bits,) = unpack_from(f"{order}h", head, 14 if second else 72)
    count = 1
    for side in sides[: max(0, min(rank, 7))]:
        count *= max(side, 1)
    return int(count * max(bits, 0) // 8)


def announced_in_archive(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> int:
    """Bytes of an archive's files that their own headers announce."""
    total = 0
    for entry in entries:
        with archive.open(entry) as file:
            total += min(entry.file_size, announced_bytes(file.read(HEAD_BYTES)))
    return total
