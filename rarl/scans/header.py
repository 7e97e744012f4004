"""What of a DICOM header is kept: an allow-list, so that nobody's identity can pass."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from pydicom.dataset import Dataset

_ULTRASOUND = "US"
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def optional(dataset: Dataset, keyword: str) -> Any:
    """An element's value; None where it is absent, empty or damaged.

    A damaged age or spacing is no reason to refuse the picture, and pydicom converts a value
    (and so raises, with nearly any type) only when it is asked for.
    """
    try:
        value = dataset.get(keyword)
    except Exception:
        return None
    return None if value is None or value == "" else value


def kept_attributes(dataset: Dataset) -> dict[str, str]:
    """The attributes that may leave the file, DICOM keyword to text.

    Everything else is left behind: names, identifiers, dates and UIDs (PS3.15 Annex E removes or
    replaces them), and free text. What is kept must also look as its value representation
    demands, because people type names into the wrong field.

    Units: PixelSpacing and ImagerPixelSpacing in mm as "row x column"; WindowCenter and
    WindowWidth in the units after the modality LUT (HU for CT); PatientAge in whole years, 90
    for everyone older (PS3.15 E.1: rare ages identify).
    """
    kept: dict[str, str] = {}
    for keyword, form in _KEPT.items():
        text = form(optional(dataset, keyword))
        if text:
            kept[keyword] = text
    return kept


def modality_of(dataset: Dataset) -> str | None:
    """The Modality (PS3.3 C.7.3.1.1.1), or None where it is absent or no defined term."""
    return _code(optional(dataset, "Modality")) or None


def header_warnings(dataset: Dataset) -> list[str]:
    """Sentences on what the header says about the pixels themselves.

    Burned-in text is pixel data, which no header cleaning removes (PS3.15 E.3.1).
    """
    said: list[str] = []
    if optional(dataset, "BurnedInAnnotation") == "YES":
        said.append(
            "The file says that text is burned into the picture: check that it names nobody."
        )
    elif modality_of(dataset) == _ULTRASOUND or _is_capture(dataset):
        said.append("Pictures of this kind often have text burned in: check that it names nobody.")
    spacing = _numbers(optional(dataset, "PixelSpacing"))
    if len(spacing) == 2 and min(spacing) > 0 and max(spacing) > 1.01 * min(spacing):
        said.append("The pixels are not square: the proportions of the picture are not true.")
    tags = tuple(dataset.keys())  # not the elements: reading one may raise
    if any(tag.group & 0xFF01 == 0x6000 and tag.element == 0x3000 for tag in tags):
        said.append("The file has an overlay (drawing or text) that is not shown.")
    return said


def _is_capture(dataset: Dataset) -> bool:
    return str(optional(dataset, "SOPClassUID") or "").startswith(_SECONDARY_CAPTURE)


def _code(value: Any) -> str:
    """A code string (PS3.5 6.2, CS)."""
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else ""


def _side(value: Any) -> str:
    return value if value in ("L", "R", "U", "B") else ""


def _sex(value: Any) -> str:
    return value if value in ("M", "F", "O") else ""


def _age(value: Any) -> str:
    match = re.fullmatch(r"(\d{3})([DWMY])", value) if isinstance(value, str) else None
    if match is None:
        return ""
    in_a_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]]
    return str(min(round(int(match[1]) / in_a_year), 90))


def _model(value: Any) -> str:
    """A device's model: letters, digits and the marks found in product names."""
    text = value.strip() if isinstance(value, str) else ""
    return text if re.fullmatch(r"[\w .,()/+\-]{1,64}", text, re.ASCII) else ""


def _numbers(value: Any) -> list[float]:
    if isinstance(value, (int, float)):
        return [float(value)]
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return [float(item) for item in value if isinstance(item, (int, float))]
    return []


def _spacing(value: Any) -> str:
    numbers = _numbers(value)
    return " x ".join(f"{number:g}" for number in numbers) if min(numbers, default=0) > 0 else ""


def _window(value: Any) -> str:
    return ", ".join(f"{number:g}" for number in _numbers(value))


_KEPT: dict[str, Callable[[Any], str]] = {
    "Modality": _code,
    "BodyPartExamined": _code,
    "ViewPosition": _code,
    "Laterality": _side,
    "ImageLaterality": _side,
    "PixelSpacing": _spacing,
    "ImagerPixelSpacing": _spacing,
    "WindowCenter": _window,
    "WindowWidth": _window,
    "ManufacturerModelName": _model,
    "PatientAge": _age,
    "PatientSex": _sex,
}
