"""Reports as text, PDF, DICOM SR and FHIR, read back; and what the command line writes."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from fhir.resources.R4B.bundle import Bundle
from highdicom.sr import ComprehensiveSR
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pypdf import PdfReader

from rarl.cli import main
from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, MeasuredValue, Measurement, Report, Shown
from rarl.reports import (
    Reports,
    with_deleted,
    with_inserted,
    with_kept,
    with_measurement,
    with_text,
)
from rarl.reports.dicom_sr import as_sr, picture_of
from rarl.reports.fhir import as_bundle
from rarl.reports.forms import FORMS, chosen_report, written_as
from rarl.reports.identity import GENERATED, KEPT, identity_of, uid_of
from rarl.reports.text import as_pdf, as_text
from rarl.review import ReviewStore
from rarl.review.case_pdf import case_sheet
from rarl.review.transfer.writer import export
from rarl.scans import open_stack
from rarl.scans.header_allowlist import UID_KEYWORDS

MakeCase = Callable[..., CaseSnapshot]
FILES = Path(pydicom.data.__file__).parent / "test_files"
REASONING = "The heart is enlarged. There is no pleural effusion. The view is rotated."
PERSON = "dr. bø@example.org"
UIDS = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "SOPInstanceUID": "1.2.3.4.5",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
}
RULER = Measurement(
    kind="ruler",
    points=((1, 2), (4, 6)),
    values=(MeasuredValue(quantity="length", value=12.5, unit="mm"),),
    at="detector",
    label="Heart width",
    notes=("Lengths are those at the detector.",),
    size=(40, 30),
    number=0,
)
ELLIPSE = Measurement(
    kind="ellipse",
    points=((1, 2), (5, 4)),
    values=(
        MeasuredValue(quantity="area", value=6.25, unit="px2"),
        MeasuredValue(quantity="mean", value=-12, unit="HU"),
        MeasuredValue(quantity="sd", value=3, unit="stored"),
    ),
    size=(40, 30),
    number=0,
)


@pytest.fixture
def store(home_store: ReviewStore) -> ReviewStore:
    return home_store


@pytest.fixture
def case(store: ReviewStore, make_case: MakeCase) -> CaseSnapshot:
    made = make_case(modality="DX", sft=f"<think>{REASONING}</think><answer>no</answer>")
    known = {"BodyPartExamined": "CHEST", "ViewPosition": "PA", "PatientSex": "F", **UIDS}
    made = made.model_copy(update={"attributes": known, "answers": made.answers[:1]})
    store.add_case(made)
    return made


def reports(store: ReviewStore) -> Reports:
    return Reports(store.for_person(PERSON, "reader"))


@pytest.fixture
def draft(store: ReviewStore, case: CaseSnapshot) -> Report:
    return reports(store).begin(case.id)


@pytest.fixture
def signed(store: ReviewStore, draft: Report) -> Report:
    """One AI sentence is edited, one deleted, the others are kept; one is the reader's own."""
    _, pleura, heart, other, _ = (one.key for one in draft.sentences())
    report: Report = with_text(draft, pleura, "No effusion <100 ml & no fluid.")
    report = with_deleted(report, other)
    report = with_inserted(report, "heart", "The aorta is\u00a0calcified.", after=heart)
    for sentence in report.undecided():
        report = with_kept(report, sentence.key)
    return reports(store).sign(report)


@pytest.fixture
def measured(store: ReviewStore, signed: Report) -> Report:
    report: Report = with_measurement(reports(store).amend(signed.id), "heart", RULER)
    return reports(store).sign(with_measurement(report, "lungs", ELLIPSE))


# Text and PDF


def test_the_text_says_what_stands_and_who_signed(case: CaseSnapshot, signed: Report) -> None:
    text = as_text(signed, case)
    assert "Pleura:\nNo effusion <100 ml & no fluid.\n\nHeart and mediastinum:\n" in text
    assert "rotated" not in text and "Lungs" not in text
    assert f"Signed by {PERSON} on {signed.created:%Y-%m-%d %H:%M} UTC." in text
    assert (
        "had proposed 4 sentences: 2 kept, 1 edited, 1 deleted, 0 not reviewed; 1 was added" in text
    )
    assert "reviewed]" not in text


def test_a_draft_marks_what_nobody_has_read(case: CaseSnapshot, draft: Report) -> None:
    text = as_text(draft, case)
    assert "[AI, not reviewed] The heart is enlarged." in text
    assert "[from the file, not reviewed] Modality DX, body part CHEST, view PA." in text
    assert "Not signed: a draft." in text


def test_the_pdf_has_as_many_pages_as_it_takes(
    store: ReviewStore, case: CaseSnapshot, draft: Report, signed: Report
) -> None:
    (page,) = PdfReader(io.BytesIO(as_pdf(signed, case))).pages
    text = page.extract_text()
    assert "No effusion <100 ml & no fluid." in text and f"Signed by {PERSON}" in text
    long = with_inserted(draft, "heart", "wide " * 390)
    for _ in range(4):
        long = with_inserted(long, "heart", "wide " * 390)
    pages = PdfReader(io.BytesIO(as_pdf(long, case))).pages
    assert len(pages) > 1 and sum(one.extract_text().count("wide") for one in pages) == 5 * 390


# DICOM SR


def texts_of(item: pydicom.Dataset, name: str) -> list[pydicom.Dataset]:
    found = []
    for child in item.get("ContentSequence", ()):
        if child.ValueType == "TEXT" and child.ConceptNameCodeSequence[0].CodeMeaning == name:
            found.append(child)
        found += texts_of(child, name)
    return found


def observer_of(item: pydicom.Dataset) -> str:
    """Person, Device, or nobody."""
    kinds = [
        child.ConceptCodeSequence[0].CodeMeaning
        for child in item.get("ContentSequence", ())
        if child.RelationshipType == "HAS OBS CONTEXT" and child.ValueType == "CODE"
    ]
    return kinds[0] if kinds else ""


def test_the_document_is_read_back(case: CaseSnapshot, signed: Report) -> None:
    document = pydicom.dcmread(io.BytesIO(as_sr(signed, case)))
    assert ComprehensiveSR.from_dataset(document).content
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    flags = (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag)
    assert flags == ("COMPLETE", "VERIFIED", "FINAL")
    (verifying,) = document.VerifyingObserverSequence
    assert str(verifying.VerifyingObserverName) == f"{PERSON}^"
    assert str(verifying.VerificationDateTime)[:14] == f"{signed.created:%Y%m%d%H%M%S}"
    assert document.ContentDate == f"{signed.created:%Y%m%d}"
    observers = {one.TextValue: observer_of(one) for one in texts_of(document, "Finding")}
    assert observers == {
        "No effusion <100 ml & no fluid.": "Person",
        "The heart is enlarged.": "Device",
        "The aorta is\u00a0calcified.": "Person",
    }
    assert observer_of(texts_of(document, "Procedure Description")[0]) == ""
    parts = [one.ConceptNameCodeSequence[0] for one in document.ContentSequence
             if one.ValueType == "CONTAINER"]  # fmt: skip
    assert [(one.CodeValue, one.CodingSchemeDesignator) for one in parts] == [
        ("55111-9", "LN"), ("59776-5", "LN"), ("19005-8", "LN"),
    ]  # fmt: skip
    device = [one.TextValue for one in texts_of(document, "Device Observer Name")]
    assert set(device) == {"SFT (AI)"}


def test_a_draft_is_partial_and_unverified(case: CaseSnapshot, draft: Report) -> None:
    document = pydicom.dcmread(io.BytesIO(as_sr(draft, case)))
    flags = (document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag)
    assert flags == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in document
    told = [one.TextValue for one in texts_of(document, "Finding")]
    assert all(text.startswith("[AI, not reviewed] ") for text in told) and len(told) == 3


def test_the_same_version_is_the_same_file(
    store: ReviewStore, case: CaseSnapshot, draft: Report, signed: Report
) -> None:
    assert as_sr(signed, case) == as_sr(reports(store).report(signed.id), case)
    one, other = (pydicom.dcmread(io.BytesIO(as_sr(each, case))) for each in (draft, signed))
    assert one.SOPInstanceUID != other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID


def test_measurements_are_a_measurement_report(case: CaseSnapshot, measured: Report) -> None:
    document = pydicom.dcmread(io.BytesIO(as_sr(measured, case)))
    content = ComprehensiveSR.from_dataset(document).content
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    ruler, ellipse = content.get_image_measurement_groups()  # type: ignore[attr-defined]
    (length,) = ruler.get_measurements()
    assert (length.name, length.value) == (codes.SCT.Length, 12.5)
    assert length.unit == codes.UCUM.Millimeter
    assert length.method.meaning == "Measured at the detector"
    assert ruler.tracking_identifier == "Heart width"
    told = [(one.value, one.unit.value, one.derivation) for one in ellipse.get_measurements()]
    assert told == [
        (6.25, "{pixels}2", None),
        (-12, "[hnsf'U]", codes.SCT.Mean),
        (3, "1", codes.SCT.StandardDeviation),
    ]
    comments = [one.TextValue for one in texts_of(document, "Comment")]
    assert any(str(uid_of("report", measured.amends or "")) in text for text in comments)
    assert texts_of(document, "Impression")


def test_a_measurement_whose_sentence_is_deleted_is_not_sent(
    store: ReviewStore, case: CaseSnapshot, measured: Report
) -> None:
    draft = reports(store).amend(measured.id)
    for sentence in draft.sentences():
        if sentence.measurement:
            draft = with_deleted(draft, sentence.key)
    document = pydicom.dcmread(io.BytesIO(as_sr(draft, case)))
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    assert "Measured at the detector" not in as_bundle(draft, case)


def test_generated_uids_are_called_so(case: CaseSnapshot, measured: Report) -> None:
    content = as_sr(measured, case)
    document = pydicom.dcmread(io.BytesIO(content))
    assert GENERATED in [one.TextValue for one in texts_of(document, "Comment")]
    assert not [
        uid for name, uid in UIDS.items() if name != "SOPClassUID" and uid.encode() in content
    ]
    assert document.PatientID == f"RARL-{case.id[:12]}" and document.PatientSex == "F"
    assert document.PatientIdentityRemoved == "YES" and not document.PatientBirthDate
    picture = pydicom.dcmread(io.BytesIO(picture_of(case) or b""))
    evidence = document.CurrentRequestedProcedureEvidenceSequence[0]
    series = evidence.ReferencedSeriesSequence[0]
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == picture.SOPInstanceUID
    assert picture.StudyInstanceUID == document.StudyInstanceUID == evidence.StudyInstanceUID
    assert np.array_equal(picture.pixel_array, np.asarray(case.image()))


def test_the_studys_own_uids_where_the_site_keeps_them(
    case: CaseSnapshot, measured: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_KEEP_UIDS", "1")
    document = pydicom.dcmread(io.BytesIO(as_sr(measured, case)))
    assert document.StudyInstanceUID == "1.2.3" and picture_of(case) is None
    assert KEPT in [one.TextValue for one in texts_of(document, "Comment")]
    content = ComprehensiveSR.from_dataset(document).content
    ruler, ellipse = content.get_image_measurement_groups()  # type: ignore[attr-defined]
    line, oval = (
        group.get_measurements()[0].referenced_coordinates[0] for group in (ruler, ellipse)
    )
    assert np.array_equal(line.value, [[1, 2], [4, 6]]) and line.graphic_type.value == "POLYLINE"
    assert np.array_equal(oval.value, [[1, 3], [5, 3], [3, 2], [3, 4]])
    image = line.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == "1.2.3.4.5"
    assert json.loads(as_bundle(measured, case))["entry"][1]["resource"]["status"] == "available"


def test_a_case_of_several_files_keeps_the_study_alone(
    case: CaseSnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_KEEP_UIDS", "1")
    known = {name: UIDS[name] for name in UID_KEYWORDS[:2]}
    identity = identity_of(case.model_copy(update={"attributes": known}))
    assert identity.keeps_study and not identity.keeps_image
    assert identity.study == "1.2.3" and UID(identity.series).is_valid
    assert identity.series.startswith("2.25.") and identity.image.startswith("2.25.")
    damaged = identity_of(case.model_copy(update={"attributes": {"StudyInstanceUID": "1.02"}}))
    assert not damaged.keeps_study


@pytest.mark.parametrize("is_kept", [False, True], ids=["removed", "kept"])
def test_opening_keeps_uids_where_the_site_says_so(
    is_kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_KEEP_UIDS", "1" if is_kept else "0")
    path = FILES / "CT_small.dcm"
    dataset = pydicom.dcmread(path)
    kept = {name: text for name, text in open_stack([path.read_bytes()]).attributes.items()
            if name in UID_KEYWORDS}  # fmt: skip
    assert kept == ({name: str(dataset[name].value) for name in UID_KEYWORDS} if is_kept else {})
    series = sorted((FILES / "dicomdirtests/98892003/MR700").iterdir())
    several = open_stack([file.read_bytes() for file in series]).attributes
    assert ("StudyInstanceUID" in several) == is_kept and "SOPInstanceUID" not in several


def test_exports_and_sheets_hold_no_uids(
    store: ReviewStore, case: CaseSnapshot, tmp_path: Path
) -> None:
    assert "1.2.3.4" in str(store.case(case.id).attributes)
    for names in (False, True):
        export(store, tmp_path / f"{names}.jsonl", "jsonl", names=names)
        assert "1.2.3.4" not in (tmp_path / f"{names}.jsonl").read_text("utf-8")
    (page,) = PdfReader(io.BytesIO(case_sheet(case))).pages
    assert "1.2.3" not in page.extract_text()


@pytest.mark.parametrize("which", ["draft", "signed", "measured", "kept"])
def test_dsrdump_finds_nothing_wrong(
    which: str, request: pytest.FixtureRequest, case: CaseSnapshot, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        if os.environ.get("CI") == "true":
            pytest.fail("dsrdump is not installed, and CI validates DICOM SR")
        pytest.skip("dsrdump is not installed (Debian: apt-get install dcmtk)")
    report = request.getfixturevalue("measured" if which == "kept" else which)
    if which == "kept":
        monkeypatch.setenv("RARL_KEEP_UIDS", "1")
    (tmp_path / "report.dcm").write_bytes(as_sr(report, case))
    done = subprocess.run(
        [dsrdump, "+Pl", tmp_path / "report.dcm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    complaints = [line for line in done.stderr.splitlines() if line.strip()]
    # It says of every document in UTF-8 that it cannot check those letters.
    assert [line for line in complaints if "ISO_IR 192" not in line] == []
    assert "The heart is enlarged." in done.stdout


def test_names_and_titles_that_dicom_parts(
    store: ReviewStore, case: CaseSnapshot, draft: Report
) -> None:
    odd = draft.model_copy(update={"title": "A\\B" * 30, "reader": "a^b=c\\d" * 20})
    document = pydicom.dcmread(io.BytesIO(as_sr(odd, case)))
    assert document.SeriesDescription.startswith("A/BA/B")
    text = with_inserted(draft, "heart", "a\\b \u6771\u4eac \U0001f600")
    read = pydicom.dcmread(io.BytesIO(as_sr(text, case)))
    assert "a\\b \u6771\u4eac \U0001f600" in [one.TextValue for one in texts_of(read, "Finding")]


# FHIR


def test_the_bundle_is_read_back(case: CaseSnapshot, measured: Report) -> None:
    bundle = Bundle.model_validate_json(as_bundle(measured, case))
    resources = [entry.resource for entry in bundle.entry]
    kinds = [resource.get_resource_type() for resource in resources]
    assert kinds == [
        "DiagnosticReport", "ImagingStudy", "Device", *["Observation"] * 9, "Provenance",
    ]  # fmt: skip
    report, study, device = resources[:3]
    assert (report.status, report.code.text) == ("corrected", "Chest radiograph")
    assert report.performer[0].display == PERSON
    assert report.conclusion == "Is there a pneumothorax? Answer: no"
    (form,) = json.loads(as_bundle(measured, case))["entry"][0]["resource"]["presentedForm"]
    assert base64.b64decode(form["data"]).decode("utf-8") == as_text(measured, case)
    names = {entry.fullUrl for entry in bundle.entry}
    assert len(names) == len(kinds)
    assert {one.reference for one in report.result} <= names
    assert study.note[0].text == GENERATED and study.status == "unknown"
    assert device.serialNumber == "aaaaaaaaaaaa"
    told = {one.valueString: one for one in resources[3:-1] if one.valueString}
    assert told["The heart is enlarged."].device.reference == bundle.entry[2].fullUrl
    assert told["No effusion <100 ml & no fluid."].device is None
    assert told["No effusion <100 ml & no fluid."].performer[0].display == PERSON
    ruler, ellipse = (one for one in resources[3:-1] if one.component)
    length = ruler.component[0].valueQuantity
    assert (float(length.value), length.code, ruler.method.text) == (
        12.5, "mm", "Measured at the detector",
    )  # fmt: skip
    assert [one.text for one in ruler.note] == list(RULER.notes) and not ellipse.note
    codes_of = [one.valueQuantity.code for one in ellipse.component]
    assert codes_of == ["{pixels}2", "[hnsf'U]", "1"]
    agents = [one.type.coding[0].code for one in resources[-1].agent]
    assert agents == ["assembler", "verifier"]
    assert all(entry.request.ifNoneExist for entry in bundle.entry[:-1])


def test_a_draft_is_preliminary(case: CaseSnapshot, draft: Report) -> None:
    bundle = json.loads(as_bundle(draft, case))
    report = bundle["entry"][0]["resource"]
    assert report["status"] == "preliminary" and "performer" not in report
    assert report["conclusion"].startswith("[AI, not reviewed] ")
    agents = [one["type"]["coding"][0]["code"] for one in bundle["entry"][-1]["resource"]["agent"]]
    assert agents == ["assembler", "author"]


# Forms and the command line


def test_every_form_and_none_else(case: CaseSnapshot, signed: Report, measured: Report) -> None:
    whole = case.pictures[0].model_copy(update={"shown": Shown()})
    case = case.model_copy(update={"pictures": (whole,)})
    for form, name in FORMS.items():
        found, content = written_as(form, measured, case)
        assert found == name and content
    with pytest.raises(ReviewError, match="choose one of json, text"):
        written_as("docx", signed, case)


def test_the_report_that_is_meant(store: ReviewStore, case: CaseSnapshot, signed: Report) -> None:
    mine = reports(store)
    assert chosen_report(mine, case.id) == signed
    begun = chosen_report(mine, case.id, template="free")
    assert begun.template == "free" and chosen_report(mine, case.id) == begun
    assert chosen_report(mine, case.id, signed.id) == signed
    with pytest.raises(ReviewError, match="on another case"):
        chosen_report(mine, "f" * 32, signed.id)


def test_the_command_writes_each_form(
    store: ReviewStore, case: CaseSnapshot, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["review", "report", case.id, "--as", "ada"]) == 0
    assert "[AI, not reviewed] The heart is enlarged." in capsys.readouterr().out
    (report,) = reports(store).of_case(case.id)
    assert report.reader == "ada"
    assert main(["review", "report", case.id, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == report.plain()
    assert main(["review", "report", case.id, "--format", "fhir"]) == 0
    assert json.loads(capsys.readouterr().out)["resourceType"] == "Bundle"
    for form in ("sr", "pdf"):
        out = tmp_path / f"report.{form}"
        assert main(["review", "report", case.id, "--format", form, "--out", str(out)]) == 0
        assert report.id in capsys.readouterr().out
        assert out.stat().st_mode & 0o077 == 0
    assert pydicom.dcmread(tmp_path / "report.sr").Modality == "SR"
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--format", "sr"], "name a file with --out"),
        (["--format", "gsps"], "name a file with --out"),
        (["--format", "gsps", "--out", "drawings.dcm"], "Nothing that was measured lies on"),
        (["--template", "elbow"], "no template"),
        (["--arm", "rarl"], "choose from sft"),
        (["--report", "f" * 32], "no such report"),
        (["--send", "pacs"], "Only a signed report"),
        (["--send", "fhir"], "Only a signed report"),
    ],
    ids=["binary", "drawings", "nothing", "template", "arm", "report", "pacs", "fhir"],
)
def test_bad_arguments_are_one_sentence(
    store: ReviewStore, case: CaseSnapshot, arguments: list[str], sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["review", "report", case.id, *arguments]) == 2
    assert sentence in capsys.readouterr().err
