"""File names: natural sort order, and names that are safe to show."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

# The words of ordinary file names on patient discs and in exports. A name of other words may be a
# person's and is never shown.
_WORDS = frozenset(
    "a about archive autoplay autorun axial back banner befund bericht bild bmp brain bvec bval "
    "calibration capture cd chest config content contents copy cor coronal cr ct data desktop "
    "dicom dicomdir directory disc disk display dll doc docx dose ds dwi dx eula exam exe exec "
    "export file flair folder frame front gif gz hdr head header help htm html icon image images "
    "im img inf info information ini install installer instance jpeg jpg js json key kopie label "
    "labels lat lateral left legend licence license loc localiser localizer logo manual mask md "
    "mg mha mhd movie mp mr mri msi nifti nii nm note notes nrrd ob of page pa pal pdf pet pic "
    "picture plan png pr preview protocol pt raw read readme report rtdose rtplan rtstruct run sag "
    "sagittal save scan scout screen screenshot sec section seg segmentation ser serie series "
    "setup sl slice slices splash sr start store study summary system thumb thumbnail thumbnails "
    "thumbs tif tiff topogram tra txt us version view viewer volume xa xml xr xray zip dcm db t "
    "the img1 me i s".split()
)
_MOST_DIGITS = 5
_MOST_NUMBERS = 2


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sorting key that takes digits as numbers, so that IM2 comes before IM10.

    >>> sorted(["IM10", "im2", "IM1"], key=natural_key)
    ['IM1', 'im2', 'IM10']
    """
    pieces = re.findall(r"\d+|\D+", name.casefold())
    return tuple(
        (0, int(piece), "") if piece.isdecimal() and len(piece) < 1000 else (1, 0, piece)
        for piece in pieces
    )


def harmless_name(path: str) -> str:
    """The last part of a path where it is made of ordinary words and short numbers, else "".

    File names often name patients, and what is said about a file may be copied elsewhere.

    >>> harmless_name("DICOM/IM4 (1)"), harmless_name("viewer/logo.png")
    ('IM4 (1)', 'logo.png')
    >>> harmless_name("Doe, Jane.jpg"), harmless_name("19331224.dcm")
    ('', '')
    """
    name = PurePosixPath(path.replace("\\", "/")).name
    if not re.fullmatch(r"[A-Za-z0-9 ._()+-]{1,64}", name):
        return ""
    words = re.findall(r"[a-z]+", name.lower())
    figures = re.findall(r"\d+", name)
    ordinary = bool(words) and all(word in _WORDS for word in words)
    short = len(figures) <= _MOST_NUMBERS and all(
        len(run.lstrip("0")) <= _MOST_DIGITS for run in figures
    )
    return name if ordinary and short else ""


def is_system_file(path: str) -> bool:
    """Whether a file belongs to an operating system's file browser and not to its user.

    >>> is_system_file("__MACOSX/DICOM/._IM1"), is_system_file("DICOM/IM1")
    (True, False)
    """
    parts = [part.casefold() for part in path.replace("\\", "/").split("/") if part]
    if not parts:
        return False
    return (
        "__macosx" in parts
        or parts[-1].startswith("._")
        or parts[-1] in {".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".localized"}
    )
