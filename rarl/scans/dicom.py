"""Read DICOM into a `Part`: all frames at full depth, geometry, no identity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.codestream import ends_early, read_codestream
from rarl.scans.decoded_file import Frame, Part, Vector, VoiFunction
from rarl.scans.directions import direction_letters, unit_vectors
from rarl.scans.framing import framed
from rarl.scans.header_allowlist import (
    functional,
    header_warnings,
    kept_attributes,
    modality_of,
    numbers,
    optional,
    study_uids,
    text_likely,
)
from rarl.scans.jpeg import decoder_plugin
from rarl.scans.lookup_table import Table, palette_bits, read_palette
from rarl.scans.missing_decoder import missing_decoder
from rarl.scans.overlay import overlay_bitmaps
from rarl.scans.phi import Identifiers, header_digests, keyed_hash
from rarl.scans.refusal import refused_as
from rarl.scans.scale import regions_of
from rarl.scans.spacing import Spacing, spacing_of
from rarl.scans.stored_bits import NO_SUCH_BITS, UNUSED_BITS, Cell, cell_of, stored_values
from rarl.scans.transfer_syntax import correct_transfer_syntax, inflated_dataset, native_length
from rarl.scans.voi_lut import (
    RESCALED_TABLE,
    colour_levels,
    modality_table,
    narrowed,
    palette_levels,
    scaling,
    voi_lut,
)
from rarl.scans.windowing import Values, Window, distinct

_DAMAGED = "The DICOM file is damaged or not complete; send it again from the archive."
_NO_PICTURE = (
    "The DICOM file holds no complete picture (it may be a report, a plan or cut short); "
    "choose an image file or send it again."
)
_ENDS_EARLY = (
    "The compressed picture has no end mark: part of it may be missing; compare it with the "
    "archive."
)
_BAD_SLOPE = "The rescale slope in the file cannot be used: values are shown as they are stored."
_UNDECODABLE = (
    "The picture in the DICOM file is damaged, not complete or compressed in a way that cannot be "
    "decoded here; send it again, or export it uncompressed or as PNG."
)
_COLOURS = frozenset(["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"])
_GREYS = frozenset(["MONOCHROME1", "MONOCHROME2"])
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_UNITS = {"BQML": "Bq/ml", "CNTS": "counts", "GML": "g/ml", "PCNT": "%", "CPS": "counts/s"}
# Explanations of windows that say no more than which tissue they are for.
_WINDOW_NAMES = frozenset(
    "ABDOMEN BONE BRAIN CHEST HARDER HEAD LIVER LUNG MEDIASTINUM NORMAL SOFT SOFTER SOFT_TISSUE "
    "SPINE STROKE WINDOW1 WINDOW2 WINDOW3".split()
)


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
        decoding = _prepared(dataset, frames)
        pixels = tuple(_decoded(dataset, frames, decoding, tick))
    with refused_as(_DAMAGED):
        part = _part(dataset, pixels, decoding, secret)
        return framed(part, dataset, limits, secret)


@dataclass
class _Decoding:
    """Decoding parameters of the pixels of one file.

    Attributes:
        cell: where in a word the values lie.
        big_endian: byte order of the file.
        precision: bits of a sample in the codestream, None where there is none.
        modality: the modality LUT.
        palette: the red, green and blue table of a PALETTE COLOR image.
        warnings: sentences for the reader, in the order in which they arose.
    """

    cell: Cell
    big_endian: bool
    precision: int | None = None
    modality: Table | None = None
    palette: tuple[Table, Table, Table] | None = None
    warnings: list[str] = field(default_factory=list)

    def warn(self, sentence: str | None) -> None:
        """Note a sentence once."""
        if sentence and sentence not in self.warnings:
            self.warnings.append(sentence)


def _parse(data: bytes, limits: Limits) -> FileDataset:
    preamble = data[128:132] == b"DICM"
    dataset = dcmread(BytesIO(inflated_dataset(data, limits)), force=not preamble)
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


def _prepared(dataset: FileDataset, frames: int) -> _Decoding:
    """Check that the pixels can be decoded, and read the tables that they pass through."""
    if not any(optional(dataset, keyword) is not None for keyword in _PIXELS):
        raise ScanError(_NO_PICTURE)
    big_endian = not dataset.original_encoding[1]
    decoding = _Decoding(cell_of(dataset, big_endian), big_endian)
    decoding.warn(correct_transfer_syntax(dataset, frames, native_length(dataset, frames)))
    _check_decodable(dataset, frames, decoding)
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        decoding.palette = read_palette(dataset, decoding.cell.lowest, big_endian)
        if palette_bits(decoding.palette) != max(table.bits for table in decoding.palette):
            decoding.warn(RESCALED_TABLE)
    elif kind in _GREYS:
        decoding.modality, sentence = modality_table(dataset, decoding.cell, big_endian)
        decoding.warn(sentence)
    if decoding.cell.misplaced:
        decoding.warn(NO_SUCH_BITS)
    return decoding


def _check_decodable(dataset: FileDataset, frames: int, decoding: _Decoding) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    columns, rows = int(dataset.Columns), int(dataset.Rows)
    samples, bits = int(dataset.SamplesPerPixel), int(dataset.BitsAllocated)
    if not syntax.is_compressed:
        needed = native_length(dataset, frames)
        stored_bytes = len(
            next(dataset[keyword].value for keyword in _PIXELS if keyword in dataset)
        )
        if stored_bytes < needed:
            raise ScanError(
                f"The DICOM file is cut short: it holds {stored_bytes} of {needed} bytes of the "
                "picture; send it again from the archive."
            )
        return
    if syntax == RLELossless and bits % 8:
        raise ScanError(
            f"The DICOM file packs {bits}-bit pixels with RLE, which is defined for whole bytes "
            "only (PS3.5 Annex G); export it uncompressed."
        )
    try:
        available = bool(decoder_plugin(syntax)) or get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise ScanError(missing_decoder(syntax))
    offsets = optional(dataset, "ExtendedOffsetTable")
    lengths = optional(dataset, "ExtendedOffsetTableLengths")
    extended = (offsets, lengths) if offsets is not None and lengths is not None else None
    streams = generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=extended)
    count = 0
    for frame in streams:
        count += 1
        stream = read_codestream(frame)
        if stream is None:
            continue
        if (stream.width, stream.height, stream.components) != (columns, rows, samples):
            # The decoder would believe the codestream, and allocate for it.
            raise ScanError(_DAMAGED)
        decoding.precision = stream.precision
        if ends_early(frame):
            decoding.warn(_ENDS_EARLY)
    if count < frames:
        raise ScanError(
            f"The DICOM file is cut short: it holds {count} of {frames} frames; "
            "send it again from the archive."
        )


def _decoded(
    dataset: FileDataset, frames: int, decoding: _Decoding, tick: Callable[[], None]
) -> Iterator[Values]:
    """Frame by frame what is stored: grey (rows, columns), or colour as uint8 x 3."""
    samples = int(dataset.SamplesPerPixel)
    kind = dataset.PhotometricInterpretation
    shape = (int(dataset.Rows), int(dataset.Columns), *((samples,) if samples > 1 else ()))
    syntax = dataset.file_meta.TransferSyntaxUID
    # pylibjpeg-rle panics on damaged data, and a Rust panic is no `Exception`.
    plugin = "pydicom" if syntax == RLELossless else decoder_plugin(syntax)
    count = 0
    tick()
    # Unused bits and the sign are corrected here, by High Bit as well.
    corrections: dict[str, Any] = {
        "correct_unused_bits": False,
        "apply_jls_sign_correction": False,
    }
    for words in iter_pixels(dataset, decoding_plugin=plugin, **corrections):
        count += 1
        if count > frames:
            return
        if words.shape != shape or (samples > 1) != (kind in _COLOURS):
            raise ScanError(_DAMAGED)
        stored = words
        if words.dtype.kind in "iu" and decoding.cell.allocated > 1:
            stored, lost = stored_values(words, decoding.cell, decoding.precision)
            decoding.warn(UNUSED_BITS if lost else None)
        if decoding.palette is not None:
            yield palette_levels(stored, decoding.palette)
        elif kind in _COLOURS:
            yield colour_levels(stored, dataset)
        elif decoding.modality is not None:
            values, index = distinct(stored)
            yield narrowed(decoding.modality(values))[index]
        else:
            yield narrowed(stored)
        tick()
    if count < frames:
        raise ScanError(_UNDECODABLE)


def _part(
    dataset: FileDataset, pixels: tuple[Values, ...], decoding: _Decoding, secret: bytes
) -> Part:
    grey = dataset.PhotometricInterpretation in _GREYS
    function = _function(dataset)
    frames = tuple(
        _frame(dataset, index, decoding if grey else None, function) for index in range(len(pixels))
    )
    regions, is_alone = regions_of(dataset), len(pixels) == 1
    frames = tuple(
        replace(frame, regions=regions, number=0 if is_alone else number)
        for number, frame in enumerate(frames, 1)
    )
    spacing = _spacing(dataset, 0)
    decoding.warn(spacing.warning)
    lut = None
    if grey:
        lowest = _lowest(decoding, frames[0])
        lut, sentence = voi_lut(dataset, lowest, decoding.big_endian)
        decoding.warn(sentence)
    scaled = not grey or decoding.modality is not None or _rescale(dataset, 0) is not None
    decoding.warn(None if scaled else _BAD_SLOPE)
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
        warnings=(*header_warnings(dataset), *decoding.warnings),
        unit=_unit(dataset) if scaled else "",
        function=function or "LINEAR",
        lut=lut,
        inverted=dataset.PhotometricInterpretation == "MONOCHROME1",
        window_unusable=given,
        text_likely=text_likely(dataset),
        study=_hashed(dataset, "StudyInstanceUID", secret),
        series=_hashed(dataset, "SeriesInstanceUID", secret),
        identifiers=digests,
        overlays=overlay_bitmaps(dataset, (height, width), len(pixels)),
        uids=study_uids(dataset),
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
            functional_value = functional(dataset, 0, sequence, keyword)
            if value is None and functional_value is not None:
                setattr(flat, keyword, functional_value)
    return flat


def _numbers(dataset: Dataset, index: int, sequence: str, keyword: str) -> list[float]:
    return numbers(functional(dataset, index, sequence, keyword))


def _frame(
    dataset: Dataset, index: int, grey: _Decoding | None, function: VoiFunction | None
) -> Frame:
    slope, intercept = 1.0, 0.0
    windows: tuple[Window, ...] = ()
    padding = None
    if grey is not None:
        padding = grey.cell.padding
        if grey.modality is None:
            slope, intercept = _rescale(dataset, index) or (slope, intercept)
        elif padding is not None:
            first, last = (float(value) for value in grey.modality(np.array(padding)))
            padding = min(first, last), max(first, last)
        windows = _windows(dataset, index, function)
    right, down = unit_vectors(
        _numbers(dataset, index, "PlaneOrientationSequence", "ImageOrientationPatient")
    )
    position = _numbers(dataset, index, "PlanePositionSequence", "ImagePositionPatient")
    spacing = _spacing(dataset, index)
    return Frame(
        slope=slope,
        intercept=intercept,
        windows=windows,
        padding=padding,
        position=(position[0], position[1], position[2]) if len(position) == 3 else None,
        right=right,
        down=down,
        toward=_toward(dataset, right, down),
        spacing=spacing.lengths,
        aspect=spacing.aspect,
        at=spacing.at,
    )


def _rescale(dataset: Dataset, index: int) -> tuple[float, float] | None:
    """Rescale Slope and Intercept of a frame; None where they are given and cannot be used."""
    sequence = "PixelValueTransformationSequence"
    slope = (_numbers(dataset, index, sequence, "RescaleSlope") or [1.0])[0]
    intercept = (_numbers(dataset, index, sequence, "RescaleIntercept") or [0.0])[0]
    return (slope, intercept) if scaling(slope, intercept) == (slope, intercept) else None


def _lowest(decoding: _Decoding, frame: Frame) -> float:
    """The lowest value that may occur after the modality LUT."""
    if decoding.modality is not None:
        return 0.0
    ends = (decoding.cell.lowest, decoding.cell.highest)
    return min(frame.slope * end + frame.intercept for end in ends)


def _spacing(dataset: Dataset, index: int) -> Spacing:
    return spacing_of(
        dataset,
        _numbers(dataset, index, "PixelMeasuresSequence", "PixelSpacing"),
        _numbers(dataset, index, "FramePixelDataPropertiesSequence", "ImagerPixelSpacing"),
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
    windows: list[Window] = []
    for place, (center, width) in enumerate(zip(centers, widths, strict=False)):
        name = str(names[place]).strip() if place < len(names) else ""
        known = name.upper().replace(" ", "_") in _WINDOW_NAMES
        if function is not None and width >= smallest:
            windows.append(Window(center, width, name if known else ""))
    return tuple(windows)


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


def _unit(dataset: Dataset) -> str:
    """Of the values after the modality LUT (PS3.3 C.11.1.1.2, C.8.9.1.1.3)."""
    modality = optional(dataset, "Modality")
    sequence = "PixelValueTransformationSequence"
    kind = functional(dataset, 0, sequence, "RescaleType") or _modality_type(dataset)
    rescaled = functional(dataset, 0, sequence, "RescaleIntercept") is not None
    if kind == "HU" or (modality == "CT" and rescaled and kind in (None, "US")):
        return "HU"
    unit = optional(dataset, "Units")
    return _UNITS.get(unit, "") if modality == "PT" and isinstance(unit, str) else ""


def _modality_type(dataset: Dataset) -> Any:
    """The unit that a modality LUT gives (PS3.3 C.11.1.1.2)."""
    try:
        return dataset.ModalityLUTSequence[0].ModalityLUTType
    except Exception:
        return None
