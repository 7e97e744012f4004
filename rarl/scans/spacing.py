"""Pixel spacing in millimetres: which DICOM element gives it, and what it measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from rarl.scans.header_allowlist import numbers, optional

if TYPE_CHECKING:  # the decoder process needs no records
    from rarl.records.report import Where

Pair = tuple[float, float]

AT_DETECTOR = (
    "Lengths are those at the detector: in the patient they are smaller, by the magnification of "
    "the projection."
)
NO_CALIBRATION = (
    "The file does not state how its pixel spacing was calibrated: lengths in a projection may be "
    "those at the detector."
)
OUTSIDE_REGION = (
    "Lengths hold only inside the ultrasound picture, and not in curves or scales beside it."
)
TWO_RATIOS = (
    "The file states a pixel aspect ratio that differs from its pixel spacing: the spacing was "
    "used."
)
_PER_CM = 3
_SAME_SPACING = 1e-3
_SAME_RATIO = 1e-2
_PROJECTIONS = frozenset(["CR", "DX", "MG", "RF", "XA", "RG", "IO", "PX", "DR", "RTIMAGE"])


@dataclass(frozen=True, slots=True)
class Spacing:
    """The pixel spacing that a header states, and its meaning.

    Attributes:
        lengths: millimetres between rows and between columns, None where unknown.
        aspect: height and width of a pixel in any unit, where only their ratio is known.
        warning: a sentence for the reader, or "".
    """

    lengths: Pair | None = None
    aspect: Pair | None = None
    warning: str = ""

    @property
    def at(self) -> Where:
        """Where lengths are measured."""
        if self.warning == AT_DETECTOR:
            return "detector"
        return "unknown" if self.warning == NO_CALIBRATION else "patient"


def same_spacing(first: Pair | None, second: Pair | None) -> bool:
    """Whether two spacings are equal but for how many digits they were written with.

    >>> same_spacing((0.488281, 0.488281), (0.48828125, 0.48828125))
    True
    >>> same_spacing((0.5, 0.5), (0.6, 0.6))
    False
    """
    if first is None or second is None:
        return first is second
    return all(abs(a - b) <= _SAME_SPACING * max(a, b) for a, b in zip(first, second, strict=True))


def spacing_of(dataset: Dataset, given: Sequence[float], detector: Sequence[float]) -> Spacing:
    """The spacing in the patient where the file gives it, else at the detector, else by region.

    PS3.3 10.7.1.3: Pixel Spacing beside an equal Imager Pixel Spacing is not calibrated; both are
    distances at the detector, and so is Nominal Scanned Pixel Spacing on a film (C.8.6.1.1.4).

    Args:
        dataset: the image.
        given: Pixel Spacing of the frame, empty where there is none.
        detector: Imager Pixel Spacing of the frame, empty where there is none.
    """
    modality = str(optional(dataset, "Modality") or "")
    spacing = Spacing()
    patient, imager = _pair(given), _pair(detector)
    for keyword in ("NominalScannedPixelSpacing", "ImagePlanePixelSpacing"):
        imager = imager or _pair(numbers(optional(dataset, keyword)))
    calibrated = optional(dataset, "PixelSpacingCalibrationType") is not None
    if patient is not None and (calibrated or imager is None):
        unsure = modality in _PROJECTIONS and not calibrated
        spacing = Spacing(patient, warning=NO_CALIBRATION if unsure else "")
    elif patient is not None and not same_spacing(patient, imager):
        spacing = Spacing(patient)
    elif imager is not None:
        factor = _magnification(dataset)
        if factor is None:
            spacing = Spacing(imager, warning=AT_DETECTOR)
        else:
            spacing = Spacing((imager[0] / factor, imager[1] / factor))
    else:
        spacing = _region_spacing(dataset)
    aspect = _pair(numbers(optional(dataset, "PixelAspectRatio")))
    if aspect is None or not 0.01 < aspect[0] / aspect[1] < 100:
        return spacing
    if spacing.lengths is None:
        return Spacing(aspect=aspect, warning=spacing.warning)
    ratio = spacing.lengths[0] / spacing.lengths[1]
    if abs(aspect[0] / aspect[1] - ratio) > _SAME_RATIO * ratio and not spacing.warning:
        return Spacing(spacing.lengths, warning=TWO_RATIOS)
    return spacing


def _pair(lengths: Sequence[float]) -> Pair | None:
    usable = len(lengths) == 2 and all(1e-6 < length < 1e4 for length in lengths)
    return (lengths[0], lengths[1]) if usable else None


def _magnification(dataset: Dataset) -> float | None:
    """The Estimated Radiographic Magnification Factor, None where there is none of use."""
    factor = numbers(optional(dataset, "EstimatedRadiographicMagnificationFactor"))
    return factor[0] if factor and 1 <= factor[0] < 100 else None


def _region_spacing(dataset: Dataset) -> Spacing:
    """From the ultrasound regions (PS3.3 C.8.5.5), where all that are measured in cm agree."""
    spacings: set[Pair] = set()
    others = False
    try:
        for region in dataset.SequenceOfUltrasoundRegions:
            if region.PhysicalUnitsXDirection == region.PhysicalUnitsYDirection == _PER_CM:
                rows, columns = region.PhysicalDeltaY, region.PhysicalDeltaX
                spacings.add((abs(float(rows)) * 10, abs(float(columns)) * 10))
            else:
                others = True
    except Exception:
        return Spacing()
    lengths = _pair(min(spacings)) if spacings else None
    if lengths is None or not all(same_spacing(lengths, other) for other in spacings):
        return Spacing()
    return Spacing(lengths, warning=OUTSIDE_REGION if others else "")
