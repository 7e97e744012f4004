"""What was measured, as a DICOM presentation state: read back, and checked by dcmtk."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.sr import ComprehensiveSR
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from rarl.cli import main
from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, MeasuredValue, Measurement, Report, Shown
from rarl.reports import Reports, with_measurement
from rarl.reports.dicom_gsps import _srgb, as_presentation_state
from rarl.reports.dicom_sr import as_sr, picture_of
from rarl.review import ReviewStore

MakeCase = Callable[..., CaseSnapshot]
UIDS = {
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "SOPInstanceUID": "1.2.3.4.5",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
}


def drawn(kind: Any = "ruler", **more: Any) -> Measurement:
    """On the picture of a case, which has 40 rows and 30 columns."""
    points = ((1, 2), (4, 6), (9, 2)) if kind == "angle" else ((1, 2), (5, 4))
    values = {
        "ruler": ("length", "mm"), "angle": ("angle", "deg"),
        "rectangle": ("area", "mm2"), "ellipse": ("area", "mm2"),
    }  # fmt: skip
    quantity, unit = values[kind]
    fields = {"at": "patient", "size": (40, 30), "number": 0, "points": points, **more}
    return Measurement(
        kind=kind, values=(MeasuredValue(quantity=quantity, value=12.5, unit=unit),), **fields
    )


def state_of(store: ReviewStore, case: CaseSnapshot) -> Dataset:
    report = report_on(store, case)
    content = as_presentation_state(report, case)
    assert content == as_presentation_state(report, case)
    return pydicom.dcmread(io.BytesIO(content))


def report_on(store: ReviewStore, case: CaseSnapshot) -> Report:
    store.add_case(case)
    return Reports(store.for_person("bo@example.org", "reader")).begin(case.id)


def case_with(make_case: MakeCase, *drawings: Measurement, **changes: Any) -> CaseSnapshot:
    case = make_case(modality="DX")
    picture = case.pictures[0].model_copy(update={"shown": Shown()})
    return case.model_copy(update={"measurements": drawings, "pictures": (picture,), **changes})


def graphics(state: Dataset) -> dict[str, tuple[str, list[float]]]:
    """Label to the type and the points of each drawing."""
    return {
        one.TrackingID: (one.GraphicType, [round(float(part), 3) for part in one.GraphicData])
        for annotation in state.GraphicAnnotationSequence
        for one in annotation.GraphicObjectSequence
    }


def test_each_kind_is_read_back(home_store: ReviewStore, make_case: MakeCase) -> None:
    kinds = ("ruler", "angle", "rectangle", "ellipse")
    case = case_with(make_case, *map(drawn, kinds))
    state = state_of(home_store, case)
    assert state.SOPClassUID.name == "Grayscale Softcopy Presentation State Storage"
    assert graphics(state) == {
        "ruler": ("POLYLINE", [1, 2, 5, 4]),
        "angle": ("POLYLINE", [1, 2, 4, 6, 9, 2]),
        "rectangle": ("POLYLINE", [1, 2, 5, 2, 5, 4, 1, 4, 1, 2]),
        "ellipse": ("ELLIPSE", [1, 3, 5, 3, 3, 2, 3, 4]),
    }
    (annotation,) = state.GraphicAnnotationSequence
    texts = [one.UnformattedTextValue for one in annotation.TextObjectSequence]
    assert texts == ["12.5 mm", "12.5°", "12.5 mm²", "12.5 mm²"]
    assert {one.GraphicAnnotationUnits for one in annotation.GraphicObjectSequence} == {"PIXEL"}
    # It is about the picture that goes with the SR, in the same study.
    picture = pydicom.dcmread(io.BytesIO(picture_of(case) or b""))
    (series,) = state.ReferencedSeriesSequence
    (image,) = series.ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == picture.SOPInstanceUID
    assert state.StudyInstanceUID == picture.StudyInstanceUID
    report = pydicom.dcmread(io.BytesIO(as_sr(report_on(home_store, case), case)))
    assert state.StudyInstanceUID == report.StudyInstanceUID
    assert state.PatientID == report.PatientID and state.PatientIdentityRemoved == "YES"
    (area,) = state.DisplayedAreaSelectionSequence
    assert list(area.DisplayedAreaBottomRightHandCorner) == [30, 40]


def test_a_picture_with_square_pixels_takes_the_points_of_a_file_without(
    home_store: ReviewStore, make_case: MakeCase
) -> None:
    # Stored with half as many rows as are shown.
    state = state_of(home_store, case_with(make_case, drawn(size=(20, 30))))
    assert graphics(state)["ruler"][1] == [1, 4, 5, 8]


def test_only_what_lies_on_the_picture_is_drawn(
    home_store: ReviewStore, make_case: MakeCase
) -> None:
    elsewhere = [
        drawn(slice=1), drawn(frame=1), drawn(plane="coronal"), drawn(series=1), drawn(size=None),
    ]  # fmt: skip
    case = case_with(make_case, drawn("angle"), *elsewhere)
    assert set(graphics(state_of(home_store, case))) == {"angle"}
    with pytest.raises(ReviewError, match="Nothing that was measured lies on the picture"):
        state_of(home_store, case_with(make_case, *elsewhere))
    bare = case.pictures[0].model_copy(update={"png": None})
    with pytest.raises(ReviewError, match="Nothing that was measured"):
        state_of(home_store, case.model_copy(update={"pictures": (bare,), "id": "1" * 32}))


def test_the_files_own_frames_where_the_site_keeps_uids(
    home_store: ReviewStore, make_case: MakeCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RARL_KEEP_UIDS", "1")
    # Sorted otherwise than stored: the number in the file counts, not the place on the screen.
    case = case_with(
        make_case,
        drawn(slice=4, number=3, size=(64, 50), points=((1, 2), (50, 64))),
        drawn("angle", slice=0, number=7, size=(64, 50)),
        drawn("rectangle", plane="coronal", number=None, size=(9, 9)),
        attributes={**UIDS, "SOPClassUID": EnhancedCTImageStorage},
    )
    state = state_of(home_store, case)
    assert set(graphics(state)) == {"ruler", "angle"}
    third, seventh = state.GraphicAnnotationSequence
    for annotation, number in ((third, 3), (seventh, 7)):
        (image,) = annotation.ReferencedImageSequence
        assert image.ReferencedSOPInstanceUID == "1.2.3.4.5"
        assert image.ReferencedFrameNumber == number
    # The SR names the same frame.
    report = report_on(home_store, case)
    section = report.sections[0].key
    report = with_measurement(report, section, case.measurements[0])
    document = pydicom.dcmread(io.BytesIO(as_sr(report, case)))
    (group,) = ComprehensiveSR.from_dataset(document).content.get_image_measurement_groups()  # type: ignore[attr-defined]
    (place,) = group.get_measurements()[0].referenced_coordinates
    (named,) = place.ContentSequence[0].ReferencedSOPSequence
    assert named.ReferencedFrameNumber == 3
    no_frames = case.model_copy(update={"attributes": UIDS, "id": "3" * 32})
    with pytest.raises(ReviewError, match="its kind of image has none in DICOM"):
        state_of(home_store, no_frames)
    # Of two scans nobody knows which the one image is.
    picture = case.pictures[0]
    two = case.model_copy(update={"pictures": (picture, picture), "id": "2" * 32})
    with pytest.raises(ReviewError, match="Nothing that was measured"):
        state_of(home_store, two)


def test_a_colour_picture(home_store: ReviewStore, make_case: MakeCase) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 40), "red").save(buffer, "PNG")
    case = case_with(make_case, drawn())
    picture = case.pictures[0].model_copy(update={"png": buffer.getvalue()})
    picture = picture.model_copy(update={"sha256": hashlib.sha256(picture.png or b"").hexdigest()})
    state = state_of(home_store, case.model_copy(update={"pictures": (picture,)}))
    assert state.SOPClassUID.name == "Color Softcopy Presentation State Storage"
    assert state.ICCProfile


def test_dcmtk_reads_it(home_store: ReviewStore, make_case: MakeCase, tmp_path: Path) -> None:
    dcmdump = shutil.which("dcmdump")
    if dcmdump is None:
        if os.environ.get("CI"):
            pytest.fail("dcmdump is not installed, and CI validates DICOM")
        pytest.skip("dcmdump is not installed (Debian: apt-get install dcmtk)")
    case = case_with(make_case, drawn(), drawn("ellipse"))
    report = report_on(home_store, case)
    out = tmp_path / "drawings.dcm"
    assert main(["review", "report", case.id, "--format", "gsps", "--out", str(out)]) == 0
    assert pydicom.dcmread(out).InstanceNumber == report.version
    dumped = subprocess.run([dcmdump, out], capture_output=True, text=True, check=False)
    assert dumped.returncode == 0 and "GraphicData" in dumped.stdout
    assert not [line for line in dumped.stderr.splitlines() if line.startswith(("E:", "W:"))]


def test_the_case_of_a_region_is_its_whole_picture(
    home_store: ReviewStore, make_case: MakeCase
) -> None:
    case = case_with(make_case, drawn())
    cropped = case.pictures[0].model_copy(update={"shown": Shown(crop=(0, 0, 9, 9))})
    with pytest.raises(ReviewError, match="Nothing that was measured"):
        state_of(home_store, case.model_copy(update={"pictures": (cropped,)}))
    assert np.asarray(case.image()).shape == (40, 30)


def test_a_file_does_not_depend_on_the_clock() -> None:
    # Little CMS writes the time of creation here.
    assert _srgb()[24:36] == bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])
