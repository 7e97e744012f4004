"""DICOM to `Scan`: the first frame as a workstation presents it, without identity."""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.scans.codestream import codestream_size
from rarl.scans.header import header_warnings, kept_attributes, modality_of
from rarl.scans.limits import Limits, refused_as
from rarl.scans.presentation import present_colour, present_grey, present_palette
from rarl.scans.scan import Scan
from rarl.scans.windowing import Values

_DAMAGED = "The DICOM file is damaged or not complete; send it again from the archive."
_NO_PICTURE = (
    "The DICOM file holds no complete picture (it may be a report, a plan or cut short); "
    "choose an image file or send it again."
)
_UNDECODABLE = (
    "The picture in the DICOM file is damaged, not complete or compressed in a way that cannot be "
    "decoded here; send it again, or export it uncompressed or as PNG."
)
_COLOURS = frozenset(["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"])
_GREYS = frozenset(["MONOCHROME1", "MONOCHROME2"])
_DEFLATED = str(DeflatedExplicitVRLittleEndian).encode()
_EXPLICIT = str(ExplicitVRLittleEndian).encode().ljust(len(_DEFLATED), b"\0")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

# One file at a time: decoding needs several times the picture's memory, and Python's warning
# filters, silenced below, are shared by all threads.
_one_at_a_time = Lock()


def looks_like_dicom(data: bytes) -> bool:
    """Whether the content is DICOM, by its preamble (PS3.10 7.1) or its first element.

    Old files come without preamble; those begin with an element of group 0002 or 0008, and
    `read_dicom` still asks for what makes them an image.
    """
    if data[128:132] == b"DICM":
        return True
    group, rest = data[:4], data[4:8]
    little = group[:2] in (b"\x02\x00", b"\x08\x00") and group[3:] == b"\x00"
    big = group[:3] in (b"\x00\x02\x00", b"\x00\x08\x00")
    return (little or big) and len(rest) == 4


def read_dicom(data: bytes, limits: Limits) -> Scan:
    """Decode the first frame and keep what the allow-list of `kept_attributes` names.

    PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT); PS3.15 Annex E.

    Args:
        data: the whole file.
        limits: Rows x Columns x Number of Frames, and the size a compressed frame announces
            itself, are checked before decoding.

    Raises:
        ScanError: damaged, without picture, too large, or compressed in a way that cannot be
            decoded here.
    """
    with _quiet():
        with refused_as(_DAMAGED):
            dataset = _parse(data, limits)
            frames = _check_size(dataset, limits)
        with refused_as(_UNDECODABLE):
            _check_decodable(dataset, frames)
            stored = pixel_array(dataset, index=0, decoding_plugin=_decoder_of(dataset))
            _check_decoded(stored, dataset)
        with refused_as(_DAMAGED):
            _take_first_frame_functions(dataset)
            picture, warning = _present(stored, dataset)
            said = header_warnings(dataset)
            if warning:
                said.append(warning)
            if frames > 1:
                said.append(f"The file has {frames} frames: only the first is shown.")
            return Scan(
                Image.fromarray(np.ascontiguousarray(picture)),
                "dicom",
                modality_of(dataset),
                kept_attributes(dataset),
                tuple(said),
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence pydicom's warnings: they quote header values, which must not reach a log."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parse(data: bytes, limits: Limits) -> FileDataset:
    preamble = data[128:132] == b"DICM"
    dataset = dcmread(BytesIO(_inflated(data, limits)), force=not preamble)
    if not preamble and "SOPClassUID" not in dataset:
        raise ScanError("The file is none of DICOM, PNG or JPEG; export the scan in one of these.")
    if "DirectoryRecordSequence" in dataset:
        raise ScanError(
            "The file is only the index of a disc (DICOMDIR); choose one of the images beside it."
        )
    if not any(keyword in dataset for keyword in _PIXELS) or "Rows" not in dataset:
        raise ScanError(_NO_PICTURE)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        uncompressed = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else uncompressed
    return dataset


def _inflated(data: bytes, limits: Limits) -> bytes:
    """Undo a deflated data set (PS3.5 A.5) within the limits; pydicom would inflate without any.

    The result says that it is not deflated, so that pydicom has nothing left to inflate.
    """
    if _DEFLATED not in data:
        return data
    # (0002,0000), always the first element, says where the data set begins (PS3.10 7.1).
    first = 132 if data[128:132] == b"DICM" else 0
    start = first + 12 + int.from_bytes(data[first + 8 : first + 12], "little")
    if data[first : first + 6] != b"\x02\x00\x00\x00UL" or start > len(data):
        raise ScanError(_DAMAGED)
    body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:], limits.file_bytes + 1)
    limits.check_bytes(len(body))
    whole = data[:start].replace(_DEFLATED, _EXPLICIT) + body
    if _DEFLATED in whole:
        raise ScanError(_DAMAGED)
    return whole


def _check_size(dataset: Dataset, limits: Limits) -> int:
    """Check what the header announces (PS3.3 C.7.6.3.1, C.7.6.6); returns the frames."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    limits.check_pixels(int(dataset.Columns), int(dataset.Rows), frames)
    if int(dataset.SamplesPerPixel) not in (1, 3) or int(dataset.BitsAllocated) > 64:
        raise ScanError(_DAMAGED)
    if dataset.PhotometricInterpretation not in _GREYS | _COLOURS | {"PALETTE COLOR"}:
        raise ScanError(
            "The DICOM file stores its colours in a way that cannot be shown here; "
            "export the picture as PNG."
        )
    return frames


def _check_decodable(dataset: FileDataset, frames: int) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ScanError(
            "There is no decoder here for the way the DICOM file is compressed; "
            "export it uncompressed or as PNG."
        )
    size = codestream_size(get_frame(dataset.PixelData, 0, number_of_frames=frames))
    if size is not None and size != (int(dataset.Columns), int(dataset.Rows)):
        raise ScanError(_DAMAGED)  # the decoder would believe the codestream, and allocate for it


def _decoder_of(dataset: FileDataset) -> str:
    """The plugin to decode with; "" leaves the choice to pydicom.

    pylibjpeg-rle, which it would take, panics on damaged data, and a Rust panic is no `Exception`.
    """
    return "pydicom" if dataset.file_meta.TransferSyntaxUID == RLELossless else ""


def _check_decoded(stored: Values, dataset: Dataset) -> None:
    samples = int(dataset.SamplesPerPixel)
    shape = (int(dataset.Rows), int(dataset.Columns), *((samples,) if samples > 1 else ()))
    if stored.shape != shape or (samples > 1) != (dataset.PhotometricInterpretation in _COLOURS):
        raise ScanError(_DAMAGED)


def _take_first_frame_functions(dataset: Dataset) -> None:
    """Bring an enhanced image's rescale, window and spacing to where single frames have them.

    They stand in functional groups, shared or per frame (PS3.3 C.7.6.16.2.1, .9, .10).
    """
    for holder in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        groups = dataset.get(holder)
        if not groups:
            continue
        for sequence in (
            "PixelMeasuresSequence",
            "PixelValueTransformationSequence",
            "FrameVOILUTSequence",
        ):
            for element in (groups[0].get(sequence) or [Dataset()])[0]:
                if element.tag not in dataset:
                    dataset.add(element)


def _present(stored: Values, dataset: Dataset) -> tuple[NDArray[np.uint8], str | None]:
    kind = dataset.PhotometricInterpretation
    if kind in _GREYS:
        return present_grey(stored, dataset)
    if kind == "PALETTE COLOR":
        return present_palette(stored, dataset), None
    return present_colour(stored, dataset), None
