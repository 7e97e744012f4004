"""`Part`: the decoded content of one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from rarl.scans.scale import Scale
from rarl.scans.windowing import Values, Window

if TYPE_CHECKING:  # the decoder process needs no records
    from rarl.records.report import Where

VoiFunction = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Lut:
    """A VOI LUT (DICOM PS3.3 C.11.2.1.1), its entries already brought to 8 bits.

    Attributes:
        first: the value (after the modality LUT) that the first entry stands for.
        levels: one grey level a byte; values beyond either end take the end's level.
    """

    first: int
    levels: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known of one frame; lengths in mm, directions and positions in DICOM's patient
    coordinates (PS3.3 C.7.6.2.1.1: x to the left, y to the back, z to the head).

    Attributes:
        slope: value = stored * slope + intercept (PS3.3 C.11.1); 1 where a LUT was applied.
        intercept: see `slope`.
        windows: VOI windows of the file, in values after the modality LUT.
        padding: lowest and highest stored value that only pads (PS3.3 C.7.5.1.1.2).
        position: centre of the first pixel.
        right: direction in which the columns advance; None where unknown.
        down: direction in which the rows advance; None where unknown.
        toward: letters of the right and the lower edge, known for projections too.
        spacing: distance between rows and between columns.
        aspect: height and width of a pixel in any unit, where their ratio alone is known.
        time: index of the time point, where the file states it.
        location: Slice Location in mm, which orders slices that have no position.
        at: whether `spacing` is measured in the patient.
        regions: of an ultrasound picture, whose parts are measured each for itself.
        number: of the frame in its file, from 1; 0 for the only one; None where the picture is not
            the file's own, but put together or cut out of it, or the file is no DICOM.
    """

    slope: float = 1.0
    intercept: float = 0.0
    windows: tuple[Window, ...] = ()
    padding: tuple[float, float] | None = None
    position: Vector | None = None
    right: Vector | None = None
    down: Vector | None = None
    toward: tuple[str, str] | None = None
    spacing: tuple[float, float] | None = None
    aspect: tuple[float, float] | None = None
    time: int | None = None
    location: float | None = None
    at: Where = "patient"
    regions: tuple[Scale, ...] = ()
    number: int | None = None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is no part of what was opened.

    Attributes:
        name: its name where that names nobody (see `harmless_name`), else "".
        kind: what it is or why it was left out, in a few words with an article.
        source: place among the files that were handed over; of an archive, the archive's.
    """

    name: str
    kind: str
    source: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """One file's share of a stack; it may cross a process boundary. Its UIDs are its only identity.

    Attributes:
        pixels: one array a frame, (rows, columns) in the stored type, or uint8
            (rows, columns, 3). All of a file's frames are grey or all are colour.
        frames: as many as `pixels`.
        format: "dicom"; a research volume's "nifti", "metaimage", "nrrd" or "mgh"; a picture's
            "png", "jpeg", "tiff", "webp", "bmp" or "avif".
        modality: DICOM Modality.
        attributes: DICOM keyword to text, an allow-list (see `kept_attributes`).
        warnings: sentences for the reader.
        unit: of the values after the modality LUT: "HU", "Bq/ml", ... or "" for raw values.
        function: how a window maps values (PS3.3 C.11.2.1.2 and C.11.2.1.3).
        lut: the file's VOI LUT.
        inverted: whether the lowest value is shown white (MONOCHROME1).
        window_unusable: whether the file gives a window that cannot be applied.
        text_likely: whether text is burned into the pixels, or often is in this kind.
        study: keyed hash of the Study Instance UID; see `rarl.scans.phi`.
        series: keyed hash of the Series Instance UID.
        number: Instance Number, the place within the series where positions do not tell.
        identifiers: keyed hashes of the words in the header that identify someone.
        overlays: drawings over the frames, see `overlay_bitmaps`; () without any.
        instance: keyed hash of the SOP Instance UID.
        localizer: whether the file says that it is a localizer (scout, topogram).
        description: of the series, made of known words alone (see `series_description`).
        name: the file's name where that names nobody, else "".
        source: see `LeftOut.source`.
        uids: of study, series and image; `decode` drops them unless the site keeps them.
    """

    pixels: tuple[Values, ...]
    frames: tuple[Frame, ...]
    format: str
    modality: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    unit: str = ""
    function: VoiFunction = "LINEAR_EXACT"
    lut: Lut | None = None
    inverted: bool = False
    window_unusable: bool = False
    text_likely: bool = False
    study: str | None = None
    series: str | None = None
    number: int | None = None
    identifiers: frozenset[bytes] = frozenset()
    overlays: tuple[bytes, ...] = ()
    instance: str | None = None
    localizer: bool = False
    description: str = ""
    name: str = ""
    source: int = 0
    uids: Mapping[str, str] = field(default_factory=dict, repr=False)
