"""DICOM to a `Part`: all frames at full depth, what geometry is known, no identity."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.scans.codestream import codestream_size
from rarl.scans.directions import direction_letters, unit_vectors
from rarl.scans.framing import framed
from rarl.scans.header import (
    functional,
    header_warnings,
    kept_attributes,
    modality_of,
    numbers,
    optional,
    text_likely,
)
from rarl.scans.identity import Identifiers, header_digests, keyed_hash
from rarl.scans.limits import Limits, refused_as
from rarl.scans.overlay import overlay_bitmaps
from rarl.scans.part import Frame, Part, Vector, VoiFunction
from rarl.scans.presentation import (
    colour_levels,
    modality_lut,
    narrowed,
    palette_levels,
    scaling,
    voi_lut,
)
from rarl.scans.windowing import Values, Window

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
_UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "GML": "g/ml", "PCNT": "%", "CPS": "counts/s"}
# Explanations of windows that say no more than which tissue they are for.
_WINDOW_NAMES = frozenset(
    "ABDOMEN BONE BRAIN CHEST HARDER HEAD LIVER LUNG MEDIASTINUM NORMAL SOFT SOFTER SOFT_TISSUE "
    "SPINE STROKE WINDOW1 WINDOW2 WINDOW3".split()
)
_PER_CM = 3


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


def read_dicom(data: bytes, limits: Limits, secret: bytes, tick: Callable[[], None]) -> Part:
    """Decode all frames and keep what the allow-list of `kept_attributes` names.

    PS3.3 C.7.6.3 (image pixel), C.7.6.2 (image plane), C.7.6.16 (functional groups), C.11.1
    (modality LUT), C.11.2 (VOI LUT); PS3.15 Annex E.

    Args:
        data: the whole file.
        limits: Rows x Columns x Number of Frames, and the size a compressed frame announces
            itself, are checked before decoding.
        secret: for the keyed hashes of what identifies someone.
        tick: called before each frame is decoded.

    Raises:
        ScanError: damaged, without picture, too large, or compressed in a way that cannot be
            decoded here.
    """
    with refused_as(_DAMAGED):
        dataset = _parse(data, limits)
        frames = _check_size(dataset, limits)
    with refused_as(_UNDECODABLE):
        _check_decodable(dataset, frames)
        pixels = tuple(_decoded(dataset, frames, tick))
    with refused_as(_DAMAGED):
        return framed(_part(dataset, pixels, secret), dataset, limits, secret)


def _parse(data: bytes, limits: Limits) -> FileDataset:
    preamble = data[128:132] == b"DICM"
    dataset = dcmread(BytesIO(_inflated(data, limits)), force=not preamble)
    if not preamble and "SOPClassUID" not in dataset:
        raise ScanError(
            "The file is no scan that can be opened here, or it is damaged; "
            "export it as DICOM, NIfTI, PNG or JPEG."
        )
    if "DirectoryRecordSequence" in dataset:
        raise ScanError(
            "The file is only the index of a disc (DICOMDIR); choose the images beside it.",
            "the index of the disc",
        )
    if not any(keyword in dataset for keyword in _PIXELS) or "Rows" not in dataset:
        raise ScanError(_NO_PICTURE, "a DICOM file without a picture")
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
    body = limits.inflated(zlib.decompressobj(-zlib.MAX_WBITS), data[start:])
    whole = data[:start].replace(_DEFLATED, _EXPLICIT) + body
    if _DEFLATED in whole:
        raise ScanError(_DAMAGED)
    return whole


def _check_size(dataset: Dataset, limits: Limits) -> int:
    """Check what the header announces (PS3.3 C.7.6.3.1, C.7.6.6); returns the frames."""
    frames = _whole(dataset, "NumberOfFrames", 1)
    limits.check_pixels(_whole(dataset, "Columns"), _whole(dataset, "Rows"), frames)
    if _whole(dataset, "SamplesPerPixel") not in (1, 3) or _whole(dataset, "BitsAllocated") > 64:
        raise ScanError(_DAMAGED)
    if dataset.PhotometricInterpretation not in _GREYS | _COLOURS | {"PALETTE COLOR"}:
        raise ScanError(
            "The DICOM file stores its colours in a way that cannot be shown here; "
            "export the picture as PNG."
        )
    return frames


def _whole(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """An integer that decoding needs; the sentence names the element and never its value."""
    try:
        value = dataset.get(keyword)
        return int(default if value is None and default is not None else value)
    except Exception:
        raise ScanError(
            f"The DICOM header is damaged: {keyword} is missing or no number; "
            "send the file again from the archive."
        ) from None


def _check_decodable(dataset: FileDataset, frames: int) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    columns, rows = int(dataset.Columns), int(dataset.Rows)
    samples, bits = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated)
    if not syntax.is_compressed:
        halved = dataset.PhotometricInterpretation == "YBR_FULL_422"  # two pixels share a colour
        needed = (columns * rows * frames * (2 if halved else samples) * bits + 7) // 8
        held = len(next(dataset[keyword].value for keyword in _PIXELS if keyword in dataset))
        if held < needed:
            raise ScanError(
                f"The DICOM file is cut short: it holds {held} of {needed} bytes of the picture; "
                "send it again from the archive."
            )
        return
    if syntax == RLELossless and bits % 8:
        raise ScanError(
            f"The DICOM file packs {bits}-bit pixels with RLE, which is defined for whole bytes "
            "only (PS3.5 Annex G); export it uncompressed."
        )
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ScanError(
            "There is no decoder here for the way the DICOM file is compressed; "
            "export it uncompressed or as PNG."
        )
    offsets = optional(dataset, "ExtendedOffsetTable")
    lengths = optional(dataset, "ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if offsets is not None and lengths is not None else None
    streams = generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=extended)
    count = 0
    for stream in streams:
        count += 1
        found = codestream_size(stream)
        if found is not None and found != (columns, rows, samples):
            # The decoder would believe the codestream, and allocate for it.
            raise ScanError(_DAMAGED)
    if count < frames:
        raise ScanError(
            f"The DICOM file is cut short: it holds {count} of {frames} frames; "
            "send it again from the archive."
        )


def _decoded(dataset: FileDataset, frames: int, tick: Callable[[], None]) -> Iterator[Values]:
    """Frame by frame what is stored: grey (rows, columns), or colour as uint8 x 3."""
    samples = int(dataset.SamplesPerPixel)
    kind = dataset.PhotometricInterpretation
    shape = (int(dataset.Rows), int(dataset.Columns), *((samples,) if samples > 1 else ()))
    # pylibjpeg-rle panics on damaged data, and a Rust panic is no `Exception`.
    plugin = "pydicom" if dataset.file_meta.TransferSyntaxUID == RLELossless else ""
    count = 0
    tick()
    for stored in iter_pixels(dataset, decoding_plugin=plugin):
        count += 1
        if count > frames:
            return
        if stored.shape != shape or (samples > 1) != (kind in _COLOURS):
            raise ScanError(_DAMAGED)
        if kind == "PALETTE COLOR":
            yield palette_levels(stored, dataset)
        elif kind in _COLOURS:
            yield colour_levels(stored, dataset)
        elif optional(dataset, "ModalityLUTSequence") is not None:
            yield modality_lut(stored, dataset)
        else:
            yield narrowed(stored)
        tick()
    if count < frames:
        raise ScanError(_UNDECODABLE)


def _part(dataset: FileDataset, pixels: tuple[Values, ...], secret: bytes) -> Part:
    grey = dataset.PhotometricInterpretation in _GREYS
    function = _function(dataset)
    frames = tuple(_frame(dataset, index, grey, function) for index in range(len(pixels)))
    lut = voi_lut(dataset) if grey else None
    given = any(
        optional(dataset, keyword) is not None
        for keyword in ("VOILUTSequence", "WindowCenter", "WindowWidth")
    )
    digests = header_digests(dataset, secret)
    height, width = pixels[0].shape[:2]
    return Part(
        pixels=pixels,
        frames=frames,
        format="dicom",
        modality=modality_of(dataset),
        attributes=kept_attributes(_with_first_frame(dataset), Identifiers(digests), secret),
        warnings=tuple(header_warnings(dataset)),
        unit=_unit(dataset),
        function=function or "LINEAR",
        lut=lut,
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
        window_unusable=given,
        text_likely=text_likely(dataset),
        study=_hashed(dataset, "StudyInstanceUID", secret),
        series=_hashed(dataset, "SeriesInstanceUID", secret),
        identifiers=digests,
        overlays=overlay_bitmaps(dataset, (height, width), len(pixels)),
    )


def _hashed(dataset: Dataset, keyword: str, secret: bytes) -> str | None:
    value = optional(dataset, keyword)
    return keyed_hash(str(value), secret) if value is not None else None


def _with_first_frame(dataset: Dataset) -> Dataset:
    """The header with the first frame's spacing and window where single frames have them."""
    flat = Dataset()
    for tag in tuple(dataset.keys()):
        if tag.group in (0x0008, 0x0010, 0x0018, 0x0020, 0x0028):
            flat[tag] = dataset.get_item(tag)
    for sequence in ("PixelMeasuresSequence", "FrameVOILUTSequence"):
        for keyword in ("PixelSpacing", "WindowCenter", "WindowWidth"):
            value = optional(flat, keyword)
            found = functional(dataset, 0, sequence, keyword)
            if value is None and found is not None:
                setattr(flat, keyword, found)
    return flat


def _frame(dataset: Dataset, index: int, grey: bool, function: VoiFunction | None) -> Frame:
    def values(sequence: str, keyword: str) -> list[float]:
        return numbers(functional(dataset, index, sequence, keyword))

    slope, intercept = 1.0, 0.0
    windows: tuple[Window, ...] = ()
    if grey:
        if optional(dataset, "ModalityLUTSequence") is None:
            transformation = "PixelValueTransformationSequence"
            slope, intercept = scaling(
                (values(transformation, "RescaleSlope") or [1.0])[0],
                (values(transformation, "RescaleIntercept") or [0.0])[0],
            )
        windows = _windows(dataset, index, function)
    right, down = unit_vectors(values("PlaneOrientationSequence", "ImageOrientationPatient"))
    position = values("PlanePositionSequence", "ImagePositionPatient")
    return Frame(
        slope=slope,
        intercept=intercept,
        windows=windows,
        padding=_padding(dataset),
        position=(position[0], position[1], position[2]) if len(position) == 3 else None,
        right=right,
        down=down,
        toward=_toward(dataset, right, down),
        spacing=_spacing(dataset, values("PixelMeasuresSequence", "PixelSpacing")),
    )


def _function(dataset: Dataset) -> VoiFunction | None:
    """The VOI LUT Function (PS3.3 C.11.2.1.3); None where it is none of the three."""
    name = functional(dataset, 0, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
    known: dict[str, VoiFunction] = {
        "LINEAR": "LINEAR",
        "LINEAR_EXACT": "LINEAR_EXACT",
        "SIGMOID": "SIGMOID",
    }
    return known.get(str(name))


def _windows(dataset: Dataset, index: int, function: VoiFunction | None) -> tuple[Window, ...]:
    sequence = "FrameVOILUTSequence"
    centers = numbers(functional(dataset, index, sequence, "WindowCenter"))
    widths = numbers(functional(dataset, index, sequence, "WindowWidth"))
    named = functional(dataset, index, sequence, "WindowCenterWidthExplanation")
    names = [named] if isinstance(named, str) else list(named or [])
    smallest = 1.0 if function == "LINEAR" else 1e-9
    found: list[Window] = []
    for place, (center, width) in enumerate(zip(centers, widths, strict=False)):
        name = str(names[place]).strip() if place < len(names) else ""
        known = name.upper().replace(" ", "_") in _WINDOW_NAMES
        if function is not None and width >= smallest:
            found.append(Window(center, width, name if known else ""))
    return tuple(found)


def _toward(dataset: Dataset, right: Vector | None, down: Vector | None) -> tuple[str, str] | None:
    """Letters of the right and lower edge: from the cosines, or Patient Orientation."""
    if right is not None and down is not None:
        return direction_letters(right, down)
    given = optional(dataset, "PatientOrientation")
    if given is None or isinstance(given, str) or len(given) != 2:
        return None
    first, second = (str(item)[:1] for item in given)
    known = first in "RLAPHF" and second in "RLAPHF" and bool(first) and bool(second)
    return (first, second) if known else None


def _spacing(dataset: Dataset, given: list[float]) -> tuple[float, float] | None:
    """Millimetres between rows and columns: calibrated, else at the detector, else ultrasound's."""
    detector = numbers(optional(dataset, "ImagerPixelSpacing"))
    magnification = numbers(optional(dataset, "EstimatedRadiographicMagnificationFactor"))
    if not _usable(given) and _usable(detector):
        factor = magnification[0] if magnification and magnification[0] >= 1 else 1.0
        given = [length / factor for length in detector]
    if not _usable(given):
        given = _region_spacing(dataset)
    return (given[0], given[1]) if _usable(given) else None


def _usable(lengths: list[float]) -> bool:
    return len(lengths) == 2 and all(1e-6 < length < 1e4 for length in lengths)


def _region_spacing(dataset: Dataset) -> list[float]:
    """From the ultrasound regions (PS3.3 C.8.5.5), where all that are measured in cm agree."""
    found: set[tuple[float, float]] = set()
    try:
        for region in dataset.SequenceOfUltrasoundRegions:
            if region.PhysicalUnitsXDirection == region.PhysicalUnitsYDirection == _PER_CM:
                rows, columns = region.PhysicalDeltaY, region.PhysicalDeltaX
                found.add((abs(float(rows)) * 10, abs(float(columns)) * 10))
    except Exception:
        return []
    return list(found.pop()) if len(found) == 1 else []


def _padding(dataset: Dataset) -> tuple[float, float] | None:
    first = optional(dataset, "PixelPaddingValue")
    if not isinstance(first, int):
        return None
    limit = optional(dataset, "PixelPaddingRangeLimit")
    last = limit if isinstance(limit, int) else first
    return float(min(first, last)), float(max(first, last))


def _unit(dataset: Dataset) -> str:
    """Of the values after the modality LUT (PS3.3 C.11.1.1.2, C.8.9.1.1.3)."""
    modality = optional(dataset, "Modality")
    sequence = "PixelValueTransformationSequence"
    kind = functional(dataset, 0, sequence, "RescaleType")
    rescaled = functional(dataset, 0, sequence, "RescaleIntercept") is not None
    if kind == "HU" or (modality == "CT" and rescaled and kind in (None, "US")):
        return "HU"
    unit = optional(dataset, "Units")
    return _UNITS.get(unit, "") if modality == "PT" and isinstance(unit, str) else ""
