"""A DICOM file with 200 identifiers planted wherever one can stand, and a banner in its pixels."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

from rarl.scans import Box

COUNT = 200
WIDTH, HEIGHT = 320, 240
BANNER_HEIGHT = 28


@dataclass(frozen=True, slots=True)
class Planted:
    """What was built.

    Attributes:
        data: the file.
        identifiers: COUNT words, dates and UIDs that stand in it, each once at least.
        file_name: one of them, as scanners name files after patients.
        banner: where the pixels carry a name and a number.
        picture: the pixels (HEIGHT, WIDTH, 3) with the banner black.
    """

    data: bytes
    identifiers: tuple[str, ...]
    file_name: str
    banner: Box
    picture: np.ndarray


def planted(seed: int = 0) -> Planted:
    """An ultrasound picture of a patient who does not exist."""
    words = _Words(random.Random(seed))
    dataset = _empty_file(words)
    _fill_keywords(dataset, words)
    _fill_groups(dataset, words)
    _fill_sequences(dataset, words)
    clean = _tissue(seed)
    shown, written = _with_banner(clean, f"{words.word()}  {words.word()}")
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = HEIGHT, WIDTH, 3
    dataset.PhotometricInterpretation, dataset.PlanarConfiguration = "RGB", 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = shown.tobytes()
    dataset.DataSetTrailingPadding = words.all[0].encode() + b"\0"
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=False)
    assert len(set(words.all)) == COUNT, len(words.all)
    return Planted(buffer.getvalue(), tuple(words.all), f"{words.all[3]}.dcm", written, clean)


@dataclass
class _Words:
    """Draws identifiers, each of them once."""

    source: random.Random
    all: list[str] = field(default_factory=list)

    def word(self) -> str:
        letters = "".join(self.source.choice("BCDFGHJKLMNPQRSTVWXZ") for _ in range(5))
        self.all.append(f"Q{letters}{len(self.all):03d}")
        return self.all[-1]

    def name(self) -> str:
        return f"{self.word()}^{self.word()}"

    def day(self) -> str:
        month = self.source.randrange(1, 13)
        year = self.source.randrange(10, 70)
        self.all.append(f"19{year}{month:02d}{len(self.all) % 28 + 1:02d}")
        return self.all[-1]

    def uid(self) -> str:
        number = self.source.randrange(10**9, 10**10)
        self.all.append(f"1.2.826.0.1.{number}.{len(self.all)}")
        return self.all[-1]


def _empty_file(words: _Words) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = words.uid()
    meta.SourceApplicationEntityTitle = words.word()
    meta.ImplementationVersionName = words.word()
    meta.PrivateInformationCreatorUID = words.uid()
    meta.PrivateInformation = words.word().encode() + b" "
    preamble = words.word().encode().ljust(128, b"\0")
    dataset = FileDataset("", {}, file_meta=meta, preamble=preamble)
    dataset.SOPClassUID = UltrasoundImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "US"
    return dataset


def _fill_keywords(dataset: FileDataset, words: _Words) -> None:
    """Texts, names and dates of the standard's attributes."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        setattr(dataset, keyword, words.uid())
    for keyword in (
        "PatientName PatientBirthName PatientMotherBirthName OtherPatientNames "
        "ReferringPhysicianName PhysiciansOfRecord PerformingPhysicianName OperatorsName "
        "NameOfPhysiciansReadingStudy RequestingPhysician ResponsiblePerson"
    ).split():
        setattr(dataset, keyword, words.name())
    for keyword in (
        "PatientID OtherPatientIDs AccessionNumber StudyID InstitutionName InstitutionAddress "
        "InstitutionalDepartmentName StationName PatientAddress PatientTelephoneNumbers "
        "MilitaryRank BranchOfService MedicalRecordLocator EthnicGroup Occupation PatientComments "
        "AdditionalPatientHistory ImageComments StudyComments DeviceSerialNumber "
        "RequestedProcedureID ScheduledProcedureStepID AdmissionID IssuerOfPatientID "
        "PatientReligiousPreference CountryOfResidence CurrentPatientLocation "
        "InsurancePlanIdentification PlateID DetectorID ProtocolName StudyDescription "
        "SeriesDescription DerivationDescription RequestedProcedureDescription "
        # Fields that are kept where they hold what they should: here they hold a name.
        "BodyPartExamined ViewPosition"
    ).split():
        setattr(dataset, keyword, words.word())
    dataset.ManufacturerModelName = f"{dataset.PatientName.family_name} Scanner"
    for keyword in (
        "PatientBirthDate StudyDate SeriesDate AcquisitionDate ContentDate InstanceCreationDate "
        "LastMenstrualDate AdmittingDate"
    ).split():
        setattr(dataset, keyword, words.day())
    dataset.AcquisitionDateTime = words.day() + "112233"
    dataset.PatientAge, dataset.PatientSex = "097Y", "F"


def _fill_groups(dataset: FileDataset, words: _Words) -> None:
    """Private blocks, overlays and a curve."""
    for group in (0x0009, 0x0019, 0x0099):
        block = dataset.private_block(group, words.word(), create=True)
        for offset, vr in enumerate(("LO", "PN", "SH", "LT", "ST", "UT", "UC", "AE")):
            block.add_new(offset, vr, words.word())
        block.add_new(0x20, "UN", words.word().encode() + b" ")
        block.add_new(0x21, "OB", words.word().encode() + b" ")
        inner = Dataset()
        inner.PatientName = words.name()
        block.add_new(0x22, "SQ", Sequence([inner]))
    for group in (0x6000, 0x6002):  # overlays
        dataset.add_new((group, 0x0010), "US", 8)
        dataset.add_new((group, 0x0011), "US", 8)
        dataset.add_new((group, 0x0022), "LO", words.word())
        dataset.add_new((group, 0x0040), "CS", "G")
        dataset.add_new((group, 0x0050), "SS", [1, 1])
        dataset.add_new((group, 0x0100), "US", 1)
        dataset.add_new((group, 0x0102), "US", 0)
        dataset.add_new((group, 0x1500), "LO", words.word())
        dataset.add_new((group, 0x3000), "OW", bytes(8))
        dataset.add_new((group, 0x4000), "LT", words.word())
    dataset.add_new((0x5000, 0x0022), "LO", words.word())  # a curve's description and label
    dataset.add_new((0x5000, 0x2500), "LO", words.word())


def _fill_sequences(dataset: FileDataset, words: _Words) -> None:
    """Attributes within attributes, and a private block with all that is left to plant."""
    dataset.GraphicAnnotationSequence = Sequence([_annotation(words.word()) for _ in range(4)])

    def nested(depth: int) -> Sequence:
        item = Dataset()
        item.PatientName, item.PatientID, item.StudyDate = words.name(), words.word(), words.day()
        item.ReferencedSOPInstanceUID = words.uid()
        if depth:
            item.ContentSequence = nested(depth - 1)
        return Sequence([item])

    dataset.ReferencedStudySequence = nested(3)
    dataset.RequestAttributesSequence = nested(0)
    dataset.ReferencedPatientSequence = nested(1)
    rest = dataset.private_block(0x0011, "REST", create=True)
    for offset in range(COUNT - 2 - len(words.all)):
        rest.add_new(offset, "LO", words.word())


def spellings(identifier: str) -> Iterator[bytes]:
    """How an identifier might turn up in a file."""
    for text in (identifier, identifier.lower(), identifier.capitalize()):
        yield text.encode()
        yield text.encode("utf-16-le")
    if identifier.isdigit():  # a date
        year, month, day = identifier[:4], identifier[4:6], identifier[6:]
        for text in (f"{year}-{month}-{day}", f"{day}.{month}.{year}", f"{month}/{day}/{year}"):
            yield text.encode()


def _annotation(text: str) -> Dataset:
    item, annotation = Dataset(), Dataset()
    item.UnformattedTextValue = text
    annotation.TextObjectSequence = Sequence([item])
    return annotation


def _tissue(seed: int) -> np.ndarray:
    """Speckle under a black bar."""
    speckle = np.random.default_rng(seed).normal(90, 25, (HEIGHT, WIDTH)).clip(10, 250)
    speckle[:BANNER_HEIGHT] = 0
    return np.repeat(speckle.astype(np.uint8)[:, :, None], 3, axis=2)


def _with_banner(clean: np.ndarray, text: str) -> tuple[np.ndarray, Box]:
    image = Image.fromarray(clean)
    draw = ImageDraw.Draw(image)
    draw.text((6, 5), text, fill=(255, 255, 255), font_size=14)
    left, top, right, bottom = (int(edge) for edge in draw.textbbox((6, 5), text, font_size=14))
    return np.asarray(image), Box(left, top, right + 1, bottom + 1)
