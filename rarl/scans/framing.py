"""Classify the frames of a DICOM file: slices, time points, dose planes or tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from rarl.limits import Limits
from rarl.scans.decoded_file import Frame, Part, Vector
from rarl.scans.description import series_description
from rarl.scans.directions import direction_letters, unit_vectors
from rarl.scans.header_allowlist import functional, numbers, optional
from rarl.scans.phi import keyed_hash
from rarl.scans.windowing import Values

NO_DOSE_SCALE = "The file gives no scale of its dose: the values are as they are stored, not in Gy."
NO_OFFSETS = "The file does not say how far apart its dose planes lie."
UNKNOWN_FRAMES = "The file does not say how its frames lie in the patient: they are in its order."
UNKNOWN_MOSAIC = (
    "This picture is a mosaic of several slices, and the file does not say of how many: it is "
    "shown as it is, and lengths are withheld."
)
NO_MOSAIC_STEP = "The file does not say how far apart the slices of its mosaic lie."
_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_LOCALIZERS = frozenset(["LOCALIZER", "LOCALISER", "SCOUT", "TOPOGRAM"])
# What counts the frames in time (PS3.3 C.7.6.6.1.1).
_IN_TIME = ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate")
# What else counts the frames of nuclear medicine (PS3.3 C.8.4.9) beside their slice.
_NUCLEAR_VECTORS = (
    "EnergyWindowVector",
    "DetectorVector",
    "PhaseVector",
    "RotationVector",
    "RRIntervalVector",
    "TimeSlotVector",
    "AngularViewVector",
    "TimeSliceVector",
)


def framed(part: Part, dataset: Dataset, limits: Limits, secret: bytes) -> Part:
    """A part whose frames are what the file says they are, with its place in the series.

    PS3.3 C.7.6.6 (multi-frame), C.7.6.16 (functional groups), C.7.6.17.3 (tiles), C.8.4.9 and
    C.8.4.15 (nuclear medicine), C.8.8.3 (dose).

    Args:
        part: one frame for each frame of the file, its header read as if it held for all.
        dataset: the file.
        limits: for the size of a picture that is put together from tiles.
        secret: for the hash of the SOP Instance UID.
    """
    part = _in_its_series(part, dataset, secret)
    if "MOSAIC" in _image_type(dataset) or _united_imaging_count(dataset):
        return _mosaic(part, dataset, limits)
    if str(optional(dataset, "SOPClassUID")) == _DOSE or part.modality == "RTDOSE":
        return _dose(part, dataset)
    if _tiled(part, dataset):
        return _tiles(part, dataset, limits)
    if len(part.frames) == 1:
        location = numbers(optional(dataset, "SliceLocation"))
        place = location[0] if location else None
        return replace(part, frames=(replace(part.frames[0], location=place),))
    if "PerFrameFunctionalGroupsSequence" in dataset:
        return _enhanced(part, dataset)
    if "SliceVector" in dataset:
        return _nuclear(part, dataset)
    return _classic(part, dataset)


def _in_its_series(part: Part, dataset: Dataset, secret: bytes) -> Part:
    uid = optional(dataset, "SOPInstanceUID")
    number = numbers(optional(dataset, "InstanceNumber"))
    description = series_description(optional(dataset, "SeriesDescription"))
    return replace(
        part,
        instance=keyed_hash(str(uid), secret) if uid is not None else None,
        number=int(number[0]) if number and abs(number[0]) < 1 << 31 else None,
        localizer=not _LOCALIZERS.isdisjoint(_image_type(dataset)),
        description=description or series_description(optional(dataset, "ProtocolName")),
    )


def _image_type(dataset: Dataset) -> frozenset[str]:
    value = optional(dataset, "ImageType")
    values = [value] if isinstance(value, str) else list(value or [])
    return frozenset(str(item).upper() for item in values)


def _moved(frames: Sequence[Frame], steps: Sequence[NDArray[np.float64] | None]) -> list[Frame]:
    """Frames away from the position of the first by so much, in mm; None: no position."""
    moved = []
    for frame, step in zip(frames, steps, strict=True):
        place: Vector | None = None
        if step is not None and frame.position is not None:
            x, y, z = (np.array(frame.position) + step).tolist()
            place = (x, y, z)
        moved.append(replace(frame, position=place))
    return moved


def _normal(frame: Frame) -> NDArray[np.float64] | None:
    if frame.right is None or frame.down is None:
        return None
    normal: NDArray[np.float64] = np.cross(frame.right, frame.down)
    return normal


# --- Dose -------------------------------------------------------------------------------------


def _dose(part: Part, dataset: Dataset) -> Part:
    """Planes by Grid Frame Offset Vector, values in Gy by Dose Grid Scaling (PS3.3 C.8.8.3.2)."""
    warnings = list(part.warnings)
    frames = list(part.frames)
    unit = ""
    scale = numbers(optional(dataset, "DoseGridScaling"))
    if scale and 0 < scale[0] < 1e8:
        frames = [replace(frame, slope=scale[0], intercept=0.0) for frame in frames]
        unit = "Gy" if optional(dataset, "DoseUnits") == "GY" else ""
    else:
        warnings.append(NO_DOSE_SCALE)
    if len(frames) > 1:
        offsets = numbers(optional(dataset, "GridFrameOffsetVector"))
        normal = _normal(frames[0])
        if len(offsets) != len(frames) or len(set(offsets)) != len(offsets):
            frames = _moved(frames, [None] * len(frames))
            warnings.append(NO_OFFSETS)
        elif normal is not None and frames[0].position is not None:
            first = offsets[0]
            # Not from 0: coordinates along the body's axis, whichever way the planes face.
            along = normal if first == 0 else np.array([0.0, 0.0, 1.0])
            frames = _moved(frames, [along * (offset - first) for offset in offsets])
    return replace(part, frames=tuple(frames), unit=unit, warnings=tuple(warnings))


# --- Frames of one file -----------------------------------------------------------------------


def _classic(part: Part, dataset: Dataset) -> Part:
    """Frames without a header of their own: a recording, or slices of unknown place."""
    if any(optional(dataset, keyword) is not None for keyword in _IN_TIME):
        return part
    if all(frame.position is None for frame in part.frames):
        return part
    # The position is that of the first frame; where the others lie nobody knows.
    frames = _moved(part.frames, [None] * len(part.frames))
    return replace(part, frames=tuple(frames), warnings=(*part.warnings, UNKNOWN_FRAMES))


def _nuclear(part: Part, dataset: Dataset) -> Part:
    """Reconstructed slices of nuclear medicine (PS3.3 C.8.4.15), and what they repeat over."""
    count = len(part.frames)
    slices = numbers(optional(dataset, "SliceVector"))
    step = numbers(optional(dataset, "SpacingBetweenSlices"))
    orientation, position = _detector(dataset)
    right, down = unit_vectors(orientation)
    if len(slices) != count or not step or step[0] == 0 or right is None or len(position) != 3:
        return _classic(part, dataset)
    assert down is not None
    normal = np.cross(right, down)
    times = _combined(dataset, count)
    frames = []
    for index, frame in enumerate(part.frames):
        # The sign of the spacing says on which side of the first slice the others lie.
        x, y, z = (np.array(position) + normal * step[0] * (slices[index] - 1)).tolist()
        frames.append(
            replace(
                frame,
                position=(x, y, z),
                right=right,
                down=down,
                toward=direction_letters(right, down),
                time=times[index],
            )
        )
    return replace(part, frames=tuple(frames))


def _detector(dataset: Dataset) -> tuple[list[float], list[float]]:
    """Orientation and position of the first slice, of the first detector or of the image."""
    try:
        holder = dataset.DetectorInformationSequence[0]
    except Exception:
        holder = dataset
    both = []
    for keyword in ("ImageOrientationPatient", "ImagePositionPatient"):
        both.append(numbers(optional(holder, keyword)) or numbers(optional(dataset, keyword)))
    return both[0], both[1]


def _combined(dataset: Dataset, count: int) -> list[int]:
    """One index for each frame out of the vectors that count them, in the order of the file."""
    vectors = [numbers(optional(dataset, keyword)) for keyword in _NUCLEAR_VECTORS]
    known = [vector for vector in vectors if len(vector) == count]
    seen: dict[tuple[float, ...], int] = {}
    return [
        seen.setdefault(tuple(vector[index] for vector in known), len(seen))
        for index in range(count)
    ]


def _enhanced(part: Part, dataset: Dataset) -> Part:
    """Frames with functional groups: their time points, and what else they repeat over."""
    count = len(part.frames)
    frames = list(part.frames)
    if all(_own(dataset, index, "PlanePositionSequence") is None for index in range(count)) and (
        functional(dataset, 0, "PlanePositionSequence", "ImagePositionPatient")
        is optional(dataset, "ImagePositionPatient")
    ):
        part = _classic(part, dataset)
        frames = list(part.frames)
    indices = [
        numbers(functional(dataset, index, "FrameContentSequence", "TemporalPositionIndex"))
        for index in range(count)
    ]
    if all(indices):
        frames = [
            replace(frame, time=int(index[0])) for frame, index in zip(frames, indices, strict=True)
        ]
    warnings = list(part.warnings)
    for sequence, keyword, noun in _REPEATS:
        values = {
            str(functional(dataset, index, sequence, keyword))
            for index in range(count)
            if _own(dataset, index, sequence) is not None
        }
        if len(values) > 1:
            warnings.append(
                f"The frames are of {len(values)} {noun}: where slices repeat, time points stand "
                "for these."
            )
    return replace(part, frames=tuple(frames), warnings=tuple(warnings))


_REPEATS = (
    ("SegmentIdentificationSequence", "ReferencedSegmentNumber", "segments"),
    ("MREchoSequence", "EffectiveEchoTime", "echo times"),
    ("MRDiffusionSequence", "DiffusionBValue", "b-values"),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", "cardiac phases"),
)


def _own(dataset: Dataset, index: int, sequence: str) -> Any:
    """A functional group of one frame, None where it has none of its own."""
    try:
        return dataset.PerFrameFunctionalGroupsSequence[index][sequence].value[0]
    except Exception:
        return None


# --- Tiles of one picture -----------------------------------------------------------------------


def _mosaic(part: Part, dataset: Dataset, limits: Limits) -> Part:
    """The slices of a mosaic, as scanners store a functional volume in one picture."""
    rows, columns = part.pixels[0].shape[:2]
    count = _mosaic_count(dataset)
    side = ceil(sqrt(count)) if count else 0
    whole = side > 1 and rows % side == columns % side == 0
    height, width = (rows // side, columns // side) if whole else (0, 0)
    if len(part.pixels) != 1 or min(height, width) < limits.smallest_side:
        frames = [replace(frame, spacing=None, position=None) for frame in part.frames]
        return replace(part, frames=tuple(frames), warnings=(*part.warnings, UNKNOWN_MOSAIC))
    # The slices are cut out of the file's own picture.
    picture, frame = part.pixels[0], replace(part.frames[0], number=None, regions=())
    pixels = []
    for index in range(count):
        top, left = index // side * height, index % side * width
        pixels.append(np.ascontiguousarray(picture[top : top + height, left : left + width]))
    steps = _mosaic_steps(frame, dataset, count, (rows - height, columns - width))
    frames = _moved([frame] * count, steps)
    warnings = part.warnings if steps[0] is not None else (*part.warnings, NO_MOSAIC_STEP)
    return replace(part, pixels=tuple(pixels), frames=tuple(frames), overlays=(), warnings=warnings)


def _mosaic_steps(
    frame: Frame, dataset: Dataset, count: int, excess: tuple[int, int]
) -> Sequence[NDArray[np.float64] | None]:
    """From the stated position to that of each slice, in mm; None where that is unknown.

    The position in the header is that of a picture as large as the mosaic, centred where the
    slices are (as nibabel's `MosaicWrapper` corrects it).

    Args:
        frame: of the mosaic.
        dataset: the file.
        count: how many slices.
        excess: rows and columns by which the mosaic is larger than a slice.
    """
    between = numbers(optional(dataset, "SpacingBetweenSlices"))
    normal = _normal(frame)
    if normal is None or frame.spacing is None or not between or between[0] == 0:
        return [None] * count
    facing = _mosaic_normal(dataset)
    if facing is not None and float(facing @ normal) < 0:
        normal = -normal
    down, right = np.array(frame.down), np.array(frame.right)
    start = (down * frame.spacing[0] * excess[0] + right * frame.spacing[1] * excess[1]) / 2
    return [start + normal * abs(between[0]) * index for index in range(count)]


def _mosaic_count(dataset: Dataset) -> int:
    """The number of slices of a mosaic, 0 where the file does not state it."""
    count = _private(dataset, 0x0019, "SIEMENS MR HEADER", 0x0A)
    if not count:
        count = _united_imaging_count(dataset)
    if not count:
        count = _siemens(dataset, "NumberOfImagesInMosaic")
    given = numbers(count)
    return int(given[0]) if given and 1 < given[0] < 10_000 else 0


def _united_imaging_count(dataset: Dataset) -> Any:
    return _private(dataset, 0x0065, "Image Private Header", 0x50)


def _mosaic_normal(dataset: Dataset) -> NDArray[np.float64] | None:
    given = numbers(_siemens(dataset, "SliceNormalVector"))
    return np.array(given) if len(given) == 3 else None


def _siemens(dataset: Dataset, name: str) -> Any:
    """An item of the Siemens image header (CSA), a list; None where there is none."""
    if (0x0029, 0x0010) not in dataset:
        return None
    from nibabel.nicom import csareader  # here, since few files have such a header

    try:
        header = csareader.get_csa_header(dataset, "image")
        return header["tags"][name]["items"] if header else None
    except Exception:  # a private header may be anything
        return None


def _private(dataset: Dataset, group: int, creator: str, offset: int) -> Any:
    try:
        value = dataset.private_block(group, creator)[offset].value
    except Exception:
        return None
    if isinstance(value, bytes):
        return int.from_bytes(value[:2], "little")
    return value


def _tiled(part: Part, dataset: Dataset) -> bool:
    """Whether the frames are tiles of one larger picture (PS3.3 C.8.12.14)."""
    rows, columns = part.pixels[0].shape[:2]
    total = _matrix(dataset)
    return total is not None and (total[0] > rows or total[1] > columns)


def _matrix(dataset: Dataset) -> tuple[int, int] | None:
    """Rows and columns of the whole picture of which the frames are tiles."""
    rows = numbers(optional(dataset, "TotalPixelMatrixRows"))
    columns = numbers(optional(dataset, "TotalPixelMatrixColumns"))
    return (int(rows[0]), int(columns[0])) if rows and columns else None


def _tiles(part: Part, dataset: Dataset, limits: Limits) -> Part:
    """One picture for each focal plane and stain, put together from its tiles."""
    total = _matrix(dataset)
    assert total is not None  # `_tiled` asked for it
    height, width = part.pixels[0].shape[:2]
    across, downward = ceil(total[1] / width), ceil(total[0] / height)
    places = _tile_places(dataset, len(part.pixels), (height, width), across, downward)
    layers = sorted({layer for layer, _, _ in places})
    pixels = total[0] * total[1]
    enough = 4 * len(part.pixels) * height * width >= pixels * len(layers)
    if not places or not enough or pixels > limits.frame_pixels:
        sentence = (
            f"The picture is cut into {across * downward} tiles: they are shown one by one, "
            "beginning with tile 1."
            if len(part.pixels) > 1
            else f"This is one tile of {across * downward} of a larger picture."
        )
        frames = [replace(frame, position=None) for frame in part.frames]
        return replace(part, frames=tuple(frames), warnings=(*part.warnings, sentence))
    first = part.pixels[0]
    pictures: dict[int, Values] = {
        layer: np.full((*total, *first.shape[2:]), 255 if first.ndim == 3 else 0, first.dtype)
        for layer in layers
    }
    for tile, (layer, top, left) in zip(part.pixels, places, strict=True):
        inside = tile[: max(0, total[0] - top), : max(0, total[1] - left)]
        pictures[layer][top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    frame = replace(part.frames[0], position=None, time=None, number=None, regions=())
    if frame.spacing is None:
        frame = replace(frame, spacing=_slide_spacing(dataset, total))
    missing = across * downward * len(layers) - len(set(places))
    warnings = list(part.warnings)
    if missing > 0:
        whole = across * downward * len(layers)
        warnings.append(
            f"Tiles are missing from the picture ({missing} of {whole}): their places are blank."
        )
    return replace(
        part,
        pixels=tuple(pictures[layer] for layer in layers),
        frames=(frame,) * len(layers),
        overlays=(),
        warnings=tuple(warnings),
    )


def _tile_places(
    dataset: Dataset, count: int, size: tuple[int, int], across: int, downward: int
) -> list[tuple[int, int, int]]:
    """(layer, top, left) of each tile, from 0; empty where the file does not say.

    Stated frame by frame, or in the order of PS3.3 C.7.6.17.3: along rows, then rows, then focal
    planes and stains.
    """
    stated: list[tuple[int, int, int]] = []
    seen: dict[tuple[str, str], int] = {}
    group = "PlanePositionSlideSequence"
    for index in range(count):
        position = _own(dataset, index, group)
        if position is None:
            break
        left = numbers(optional(position, "ColumnPositionInTotalImagePixelMatrix"))
        top = numbers(optional(position, "RowPositionInTotalImagePixelMatrix"))
        if not left or not top or min(left[0], top[0]) < 1:
            break
        layer = (
            str(optional(position, "ZOffsetInSlideCoordinateSystem")),
            str(functional(dataset, index, "OpticalPathIdentificationSequence",
                           "OpticalPathIdentifier")),
        )  # fmt: skip
        number = seen.setdefault(layer, len(seen))
        stated.append((number, int(top[0]) - 1, int(left[0]) - 1))
    if len(stated) == count:
        return stated
    if stated or optional(dataset, "DimensionOrganizationType") == "TILED_SPARSE":
        return []
    each = across * downward
    offset = numbers(optional(dataset, "ConcatenationFrameOffsetNumber"))
    first = int(offset[0]) if offset else 0
    if not offset and count % each:
        return []
    height, width = size
    return [
        (number // each, number % each // across * height, number % across * width)
        for number in range(first, first + count)
    ]


def _slide_spacing(dataset: Dataset, total: tuple[int, int]) -> tuple[float, float] | None:
    """Millimetres between rows and columns, from the size of the imaged volume (C.8.12.4)."""
    width = numbers(optional(dataset, "ImagedVolumeWidth"))
    height = numbers(optional(dataset, "ImagedVolumeHeight"))
    if not width or not height or min(width[0], height[0]) <= 0:
        return None
    return height[0] / total[0], width[0] / total[1]
