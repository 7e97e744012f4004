"""A report as a DICOM structured report (PS3.3 A.35.3, Comprehensive SR).

A report with measurements is a Measurement Report (PS3.16 TID 1500) that also holds the sections;
without, it is a Basic Diagnostic Imaging Report (TID 2000). Each sentence names its observer: the
model for what a reader kept as it was proposed, the reader for all else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from itertools import groupby

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ComprehensiveSR,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    RelationshipTypeValues,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr import Measurement as NumericMeasurement
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pydicom.valuerep import DT

from rarl import __version__
from rarl.records import CaseSnapshot, MeasuredValue, Measurement, Report, Sentence
from rarl.records.report import Heading
from rarl.reports.identity import Identity, identity_of, uid_of
from rarl.reports.words import (
    NOTICE,
    authorship,
    filled,
    is_own_text,
    model_of,
    shown_text,
    signature,
    software,
)

_OWN_CODES = "99RARL"
# Heading to the code of the section (PS3.16 CID 7001) and of its sentences (CID 7002).
_HEADINGS: dict[Heading, tuple[Code, Code]] = {
    "history": (codes.cid7001.History, codes.cid7002.History),
    "technique": (codes.cid7001.CurrentProcedureDescriptions, codes.cid7002.ProcedureDescription),
    "comparison": (codes.cid7001.PreviousFindings, codes.cid7002.PreviousFinding),
    "findings": (codes.cid7001.Findings, codes.cid7002.Finding),
    "impression": (codes.cid7001.Impressions, codes.cid7002.Impression),
}
_PIXEL = Code("{pixels}", "UCUM", "pixels")
_UNITS: dict[str, Code] = {
    "mm": codes.UCUM.Millimeter,
    "px": _PIXEL,
    "deg": codes.UCUM.Degree,
    "mm2": codes.UCUM.SquareMillimeter,
    "px2": Code("{pixels}2", "UCUM", "square pixels"),
    "HU": codes.UCUM.HounsfieldUnit,
    "stored": codes.UCUM.NoUnits,
}
_STORED = Code("stored-value", _OWN_CODES, "Stored pixel value")
_NAMES: dict[str, Code] = {
    "length": codes.SCT.Length,
    "angle": codes.SCT.Angle,
    "area": codes.SCT.Area,
}
_DERIVATIONS: dict[str, Code] = {
    "mean": codes.SCT.Mean,
    "sd": codes.SCT.StandardDeviation,
    "minimum": codes.SCT.Minimum,
    "maximum": codes.SCT.Maximum,
}
_METHODS: dict[str, Code] = {
    "detector": Code("at-detector", _OWN_CODES, "Measured at the detector"),
    "unknown": Code("not-calibrated", _OWN_CODES, "Calibration not stated"),
}


def as_sr(report: Report, case: CaseSnapshot) -> bytes:
    """The report as a DICOM file, the same for the same version.

    Args:
        report: to write; one that is not signed becomes a partial, unverified document.
        case: that it is on.

    Returns:
        The file.
    """
    return written(_document(report, case, identity_of(case)))


def picture_of(case: CaseSnapshot) -> bytes | None:
    """The image that the document refers to, as a secondary capture; None where it needs none.

    It is the first picture of the case. Where the site keeps the UIDs of a single image, or only
    the hashes of pictures, there is none to send.

    Args:
        case: that the report is on.

    Returns:
        The DICOM file.
    """
    identity = identity_of(case)
    if identity.keeps_image or case.png is None:
        return None
    image = case.image()
    return written(_secondary_capture(image, case, identity))


def _document(report: Report, case: CaseSnapshot, identity: Identity) -> Dataset:
    evidence = evidence_of(case, identity)
    version = str(report.version)
    document = ComprehensiveSR(
        evidence=[evidence],
        content=_content(report, case, identity, evidence),
        series_instance_uid=uid_of("report", report.id),
        series_number=1,
        sop_instance_uid=uid_of("report", report.id, version),
        instance_number=report.version,
        manufacturer="RARL",
        manufacturer_model_name="RARL",
        software_versions=__version__,
        device_serial_number=report.revision or "unknown",
        is_complete=not report.undecided(),
        is_final=report.signed,
        is_verified=report.signed,
        verifying_observer_name=person_name(report.reader) if report.signed else None,
        verifying_organization="Not stated" if report.signed else None,
        series_description=_plain(report.title),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
    )
    if report.signed:
        signed = DT(f"{report.created:%Y%m%d%H%M%S}")
        document.VerifyingObserverSequence[0].VerificationDateTime = signed
    return dated(document, report.created)


def dated(document: Dataset, created: datetime) -> Dataset:
    """A document of this moment, UTC, whenever it is written."""
    for moment in ("Content", "Series", "InstanceCreation", "PresentationCreation"):
        if f"{moment}Date" in document:
            setattr(document, f"{moment}Date", f"{created:%Y%m%d}")
            setattr(document, f"{moment}Time", f"{created:%H%M%S}")
    document.TimezoneOffsetFromUTC = "+0000"
    for equipment in document.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = DT(f"{created:%Y%m%d%H%M%S}")
    return document


def _content(report: Report, case: CaseSnapshot, identity: Identity, evidence: Dataset) -> Dataset:
    """The root of the document's tree."""
    person = _person_context(report.reader)
    device = _device_context(report, case)
    context = ObservationContext(person, device)
    procedure = codes.cid100.ImagingProcedure
    if stated := report.stated():
        groups = [_group(one, case, identity, evidence) for one in stated]
        root = MeasurementReport(context, procedure, groups)[0]
    else:
        root = ContainerContentItem(name=codes.cid7000.DiagnosticImagingReport, template_id="2000")
        root.ContentSequence = ContentSequence(
            [
                *LanguageOfContentItemAndDescendants(CodedConcept("en-US", "RFC5646", "English")),
                *context,
                CodeContentItem(
                    name=codes.DCM.ProcedureReported,
                    value=procedure,
                    relationship_type=RelationshipTypeValues.HAS_CONCEPT_MOD,
                ),
            ]
        )
    for heading, sections in groupby(filled(report), lambda pair: pair[0].heading):
        part, name = _HEADINGS[heading]
        items: list[ContentItem] = []
        for section, sentences in sections:
            texts = [_text(name, shown_text(one), _observer(one, person, device))
                    for one in sentences]  # fmt: skip
            title = Code(section.key, _OWN_CODES, _plain(section.title))
            items += texts if section.key == heading else [_container(title, texts)]
        root.ContentSequence.append(_container(part, items))
    notes = [authorship(report), signature(report), identity.sentence, software() + ". " + NOTICE]
    if report.amends:
        earlier = uid_of("report", report.amends)
        notes.insert(1, f"This report corrects the one of the series {earlier}.")
    root.ContentSequence.extend(_text(codes.DCM.Comment, note) for note in notes)
    return root


def _container(name: Code, items: Sequence[ContentItem]) -> ContainerContentItem:
    container = ContainerContentItem(name=name, relationship_type=RelationshipTypeValues.CONTAINS)
    container.ContentSequence = ContentSequence(items)
    return container


def _text(name: Code, text: str, children: Sequence[ContentItem] = ()) -> TextContentItem:
    item = TextContentItem(name=name, value=text, relationship_type=RelationshipTypeValues.CONTAINS)
    if children:
        item.ContentSequence = ContentSequence(children)
    return item


def _observer(
    sentence: Sentence, person: ObserverContext | None, device: ObserverContext
) -> Sequence[ContentItem]:
    """Who says a sentence. What the file says is stated by nobody."""
    says: ObserverContext | None = None
    if is_own_text(sentence):
        says = person
    elif sentence.origin == "ai":
        says = device
    return [] if says is None else [item for item in says]


def _plain(title: str) -> str:
    """A title as a short text of DICOM (VR LO): a backslash would part it."""
    return title.replace("\\", "/")[:64]


def person_name(name: str | None) -> str:
    """A person's name in DICOM's form (PS3.5 6.2.1): one that is not in parts is a family name."""
    plain = "".join(" " if sign in "^=\\" else sign for sign in name or "")
    return f"{plain[:60].strip()}^"


def _person_context(name: str | None) -> ObserverContext | None:
    if name is None:
        return None
    attributes = PersonObserverIdentifyingAttributes(name=person_name(name))
    return ObserverContext(codes.DCM.Person, attributes)


def _device_context(report: Report, case: CaseSnapshot) -> ObserverContext:
    return ObserverContext(
        codes.DCM.Device,
        DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", report.arm, report.revision),
            name=f"{report.label} (AI)",
            manufacturer_name="RARL",
            model_name=f"{report.arm} on {model_of(case)}",
            serial_number=report.revision or None,
        ),
    )


def _group(
    measurement: Measurement, case: CaseSnapshot, identity: Identity, evidence: Dataset
) -> MeasurementsAndQualitativeEvaluations:
    """A measurement with all its values (TID 1501)."""
    tracking = TrackingIdentifier(
        uid=uid_of("measurement", measurement.key),
        identifier=measurement.label or measurement.kind,
    )
    coordinates = _coordinates(measurement, case, identity, evidence)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        measurements=[_numeric(one, measurement, coordinates) for one in measurement.values],
    )


def _numeric(
    value: MeasuredValue,
    measurement: Measurement,
    coordinates: Sequence[CoordinatesForMeasurement],
) -> NumericMeasurement:
    in_pixels = value.quantity not in _NAMES
    values = codes.DCM.AttenuationCoefficient if value.unit == "HU" else _STORED
    is_length = value.unit in ("mm", "mm2")
    return NumericMeasurement(
        name=values if in_pixels else _NAMES[value.quantity],
        value=value.value,
        unit=_UNITS[value.unit],
        derivation=_DERIVATIONS.get(value.quantity),
        method=_METHODS.get(measurement.at) if is_length else None,
        referenced_coordinates=coordinates or None,
    )


def _coordinates(
    measurement: Measurement, case: CaseSnapshot, identity: Identity, evidence: Dataset
) -> list[CoordinatesForMeasurement]:
    """Where it was drawn. Only the file's own image has the pixels that the points count."""
    if not identity.keeps_image or not lies_on_file(measurement, case):
        return []
    shape, points = shape_of(measurement)
    frames = [measurement.number] if measurement.number else None
    image = SourceImageForRegion(evidence.SOPClassUID, evidence.SOPInstanceUID, frames)
    return [CoordinatesForMeasurement(shape, points, image)]


def lies_on_file(measurement: Measurement, case: CaseSnapshot) -> bool:
    """Whether it was drawn on the pixels of the one file that a case is about."""
    wholes = [picture for picture in case.pictures if picture.shown.crop is None]
    return measurement.number is not None and len(wholes) <= 1


def shape_of(measurement: Measurement) -> tuple[str, NDArray[np.float64]]:
    """A drawing as DICOM knows it.

    Returns:
        POLYLINE, or ELLIPSE by the ends of its longer axis and then of the other; and its points,
        (n, 2), column and row.
    """
    points = np.array(measurement.points, dtype=np.float64)
    if measurement.kind in ("ruler", "angle"):
        return "POLYLINE", points
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    if measurement.kind == "rectangle":
        corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        return "POLYLINE", np.array(corners)
    middle = ((left + right) / 2, (top + bottom) / 2)
    across = [(left, middle[1]), (right, middle[1])]
    down = [(middle[0], top), (middle[0], bottom)]
    return "ELLIPSE", np.array(across + down if right - left >= bottom - top else down + across)


def evidence_of(case: CaseSnapshot, identity: Identity) -> Dataset:
    """The image that a document is on, without pixels."""
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID = identity.image_class
    image.SOPInstanceUID = identity.image
    image.StudyInstanceUID = identity.study
    image.SeriesInstanceUID = identity.series
    image.PatientID = identity.patient
    image.PatientName = "Anonymous^"
    sex = case.attributes.get("PatientSex", "")
    image.PatientSex = sex if sex in ("M", "F", "O") else ""
    for empty in ("PatientBirthDate", "AccessionNumber", "StudyID", "StudyDate", "StudyTime",
                  "ReferringPhysicianName"):  # fmt: skip
        setattr(image, empty, "")
    image.PatientIdentityRemoved = "YES"
    image.DeidentificationMethod = "RARL keeps an allow-list of the header"
    return image


def _secondary_capture(image: Image.Image, case: CaseSnapshot, identity: Identity) -> Dataset:
    dataset = evidence_of(case, identity)
    dataset.Modality = case.modality or "OT"
    dataset.ConversionType = "WSD"
    dataset.SeriesNumber = 2
    dataset.InstanceNumber = 1
    dataset.SecondaryCaptureDeviceManufacturer = "RARL"
    pixels = np.asarray(image)
    dataset.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    dataset.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    data = pixels.astype(np.uint8).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def written(dataset: Dataset) -> bytes:
    """A document as the bytes of a file."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
