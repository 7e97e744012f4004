"""The allow-list of DICOM header elements that are kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import isfinite
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from rarl.scans.phi import Identifiers

_OFTEN_WITH_TEXT = frozenset(["US", "IVUS", "SC", "OT"])
# Defined terms of Modality (PS3.3 C.7.3.1.1.1) whose objects hold pictures, retired ones included.
_MODALITIES = frozenset(
    "AR BI BMD CD CF CP CR CS CT DD DF DG DM DS DX EC EM ES FA FS GM HC IO IVOCT IVUS KER LP LS MA "
    "MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PT PX RF RG RTDOSE RTIMAGE SC SEG "
    "SM SRF ST TG US VA VF XA XC".split()
)
_VIEWS = frozenset(
    "AP PA LL RL LLAT RLAT LAT LATERAL OBL OBLIQUE RLD LLD RLO LLO RAO LAO RPO LPO ANT POST AXIAL "
    "TANG CC MLO ML LM LMO SIO XCC XCCL XCCM FB ISO SWIMMERS SUNRISE TOWNE WATERS "
    "STANDING SUPINE PRONE ERECT".split()
)
# Defined terms of Body Part Examined (PS3.16 Annex L) and the shorthand in common use.
_BODY_PARTS = frozenset(
    "ABDOMEN ABDOMENPELVIS ADRENAL ANKLE ANUS AORTA ARM ATLANTOAXIAL AXILLA BACK BILEDUCT BLADDER "
    "BRAIN BREAST BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CHEST "
    "CHESTABDOMEN CHESTABDPELVIS CHESTABDOMENPELVIS CIRCLEOFWILLIS CLAVICLE COCCYX COLON CORNEA "
    "CORONARYARTERY CSPINE CTSPINE DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR "
    "FINGER FOOT FOREARM GALLBLADDER GROIN HAND HEAD HEADNECK HEART HIP HUMERUS ILEUM ILIUM IAC "
    "JAW JAWBONE JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LIMB LOWLEG LSPINE LSSPINE LUMBARSPINE LUNG "
    "MANDIBLE MAXILLA MEDIASTINUM MOUTH NASALBONE NECK NECKCHEST NECKCHESTABDOMEN "
    "NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PAROTID PATELLA PELVIS PENIS PHANTOM PHARYNX "
    "PITUITARY PROSTATE RECTUM RIB RIBS SCALP SCAPULA SCLERA SCROTUM SELLA SHOULDER SINUS SINUSES "
    "SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR TEMPORALBONE TESTIS THIGH THORAX "
    "THUMB THYMUS THYROID TLSPINE TMJ TOE TONGUE TOOTH TRACHEA TSPINE UPPERARM URETER URETHRA "
    "UTERUS VAGINA VULVA WHOLEBODY WRIST ZYGOMA".split()
)
UID_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
"""What `RARL_KEEP_UIDS` keeps."""
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


def functional(dataset: Dataset, index: int, sequence: str, keyword: str) -> Any:
    """A value of a frame's functional groups, its own or the shared ones; else the image's own.

    PS3.3 C.7.6.16.2; a damaged group counts as absent.
    """
    for holder, place in (
        ("PerFrameFunctionalGroupsSequence", index),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        try:
            value = optional(dataset[holder].value[place][sequence].value[0], keyword)
        except Exception:
            continue
        if value is not None:
            return value
    return optional(dataset, keyword)


def kept_attributes(dataset: Dataset, identifiers: Identifiers, secret: bytes) -> dict[str, str]:
    """The attributes that may leave the file, DICOM keyword to text.

    Everything else is left behind: names, identifiers, dates and UIDs (PS3.15 Annex E removes or
    replaces them), and free text. What is kept must also be a defined term or of a strict form, and
    a model must name nothing that identifies someone elsewhere in the header, because people type
    names into the wrong field.

    Units: PixelSpacing and ImagerPixelSpacing in mm as "row x column"; WindowCenter and
    WindowWidth in the units after the modality LUT (HU for CT); PatientAge in whole years, 90
    for everyone older (PS3.15 E.1: rare ages identify).
    """
    kept: dict[str, str] = {}
    for keyword, form in _KEPT.items():
        text = form(optional(dataset, keyword))
        if text and not (form is _model and _names_someone(text, identifiers, secret)):
            kept[keyword] = text
    return kept


def study_uids(dataset: Dataset) -> dict[str, str]:
    """The UIDs of study, series and image, keyword to UID; see `RARL_KEEP_UIDS`."""
    values = {keyword: optional(dataset, keyword) for keyword in UID_KEYWORDS}
    return {
        keyword: str(value)
        for keyword, value in values.items()
        if isinstance(value, str) and UID(value).is_valid
    }


def _names_someone(text: str, identifiers: Identifiers, secret: bytes) -> bool:
    words = re.findall(r"\w{3,}", text)
    return any(identifiers.knows(word, secret) for word in (text, *words))


def modality_of(dataset: Dataset) -> str | None:
    """The Modality (PS3.3 C.7.3.1.1.1), or None where it is absent or no defined term."""
    return known_modality(optional(dataset, "Modality")) or None


def header_warnings(dataset: Dataset) -> list[str]:
    """Sentences on what the header says about the pixels themselves.

    Burned-in text is pixel data, which no header cleaning removes (PS3.15 E.3.1).
    """
    warnings: list[str] = []
    if _says_text_is_burned_in(dataset):
        warnings.append(
            "The file says that text is burned into the picture: check that it names nobody."
        )
    elif text_likely(dataset):
        warnings.append(
            "Pictures of this kind often have text burned in: check that it names nobody."
        )
    return warnings


def overlay_groups(dataset: Dataset) -> list[int]:
    """The groups 60xx that hold a drawing over the picture (PS3.3 C.9.2)."""
    tags = tuple(dataset.keys())  # not the elements: reading one may raise
    return [tag.group for tag in tags if tag.group & 0xFF01 == 0x6000 and tag.element == 0x3000]


def text_likely(dataset: Dataset) -> bool:
    """Whether text is burned into the pixels, or often is in pictures of this kind.

    What the file says (PS3.3 C.7.6.1.1.1), ultrasound, secondary captures and photographed
    screens. A file that says NO is not believed for these: the flag is often set by habit.
    """
    return bool(
        _says_text_is_burned_in(dataset)
        or modality_of(dataset) in _OFTEN_WITH_TEXT
        or optional(dataset, "ConversionType") in ("WSD", "DV", "DI", "SD", "SI", "DF")
        or _is_capture(dataset)
    )


def _says_text_is_burned_in(dataset: Dataset) -> bool:
    return bool(optional(dataset, "BurnedInAnnotation") == "YES")


def _is_capture(dataset: Dataset) -> bool:
    return str(optional(dataset, "SOPClassUID") or "").startswith(_SECONDARY_CAPTURE)


def known_modality(value: Any) -> str:
    """A Modality whose objects hold pictures as it is, anything else as ""."""
    return value if value in _MODALITIES else ""


def _view(value: Any) -> str:
    return value.strip() if isinstance(value, str) and value.strip().upper() in _VIEWS else ""


def known_body_part(value: Any) -> str:
    """A Body Part Examined that is a defined term or common shorthand, anything else as ""."""
    plain = re.sub(r"[ _-]", "", value.upper()) if isinstance(value, str) else ""
    return value.strip() if plain in _BODY_PARTS else ""


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


def numbers(value: Any) -> list[float]:
    """The finite numbers of an element with one or several values; empty where there are none.

    >>> numbers([1, "2", None, float("inf")])
    [1.0]
    """
    if isinstance(value, (int, float)):
        value = [value]
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        floats = (float(item) for item in value if isinstance(item, (int, float)))
        return [number for number in floats if isfinite(number)]
    return []


def _spacing(value: Any) -> str:
    lengths = numbers(value)
    return " x ".join(f"{number:g}" for number in lengths) if min(lengths, default=0) > 0 else ""


def _window(value: Any) -> str:
    return ", ".join(f"{number:g}" for number in numbers(value))


_KEPT: dict[str, Callable[[Any], str]] = {
    "Modality": known_modality,
    "BodyPartExamined": known_body_part,
    "ViewPosition": _view,
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
