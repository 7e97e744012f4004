"""What is drawn in the viewer is measured by the server, kept with the scan, and with the case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from drawn import drawn, saved
from opened import report_of, scan_of, session_with
from PIL import Image
from pydicom.dataset import Dataset
from scripted import ScriptedEngine
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo.authentication import Person
from demo.services import kept_sessions
from demo.services.asking import ask
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk, case_of
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.phantoms import ct_series
from demo.services.volumes import Budget
from demo.serving.caller import Caller
from demo.session import OpenScan, Session
from demo.viewer import FrameServer, open_scan, page_spec, question_words, take_report
from demo.viewer.measuring import take_drawings
from rarl.errors import QuestionError
from rarl.records import FlagDraft
from rarl.review import ReviewStore
from rarl.scans import Stack, identity_in_text, open_stack

ELLIPSE = {"kind": "ellipse", "points": [[3.5, 4], [19, 17.25]]}
RECTANGLE = {"kind": "rectangle", "points": [[3, 4], [21, 17]]}
RULER = {"kind": "ruler", "points": [[3, 4], [6, 8]]}
ANGLE = {"kind": "angle", "points": [[3, 4], [6, 8], [9, 4]]}
ALL = (RULER, ANGLE, RECTANGLE, ELLIPSE)


def drawing(shape: dict[str, Any], number: int = 1, **place: Any) -> dict[str, Any]:
    return {
        "key": f"{number:032x}",
        "plane": "acquired",
        "slice": 0,
        "frame": 0,
        **shape,
        **place,
    }


class Page:
    """A scan as it stands on a page, and the address that the page measures at."""

    def __init__(self, stack: Stack) -> None:
        self.frames = FrameServer()
        self.scan: OpenScan = open_scan(stack, self.frames, "Your scan", checked=True)
        self.client = TestClient(Starlette(routes=self.frames.routes()))

    def send(self, body: Any, token: str | None = None) -> Any:
        headers = {"X-Scan-Token": self.scan.token if token is None else token}
        return self.client.post("/scan/measure", json=body, headers=headers)

    def measure(self, *drawings: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self.send({"drawings": list(drawings)})
        assert answer.status_code == 200 and answer.headers["Cache-Control"] == "no-store"
        replies: list[dict[str, Any]] = answer.json()["drawings"]
        return replies

    def values(self, shape: dict[str, Any], **place: Any) -> dict[str, tuple[float, str]]:
        (reply,) = self.measure(drawing(shape, **place))
        assert "trouble" not in reply
        (made,) = self.scan.volume.measurements
        return {value.quantity: (value.value, value.unit) for value in made.values}

    def lines(self, shape: dict[str, Any], **place: Any) -> list[str]:
        (reply,) = self.measure(drawing(shape, **place))
        lines: list[str] = reply["lines"]
        return lines


def inside(values: np.ndarray) -> np.ndarray:
    """The pixels of `ELLIPSE`, one by one."""
    (left, top), (right, bottom) = ELLIPSE["points"]
    chosen = [
        values[row, column]
        for row in range(values.shape[0])
        for column in range(values.shape[1])
        if ((column + 0.5 - (left + right) / 2) / ((right - left) / 2)) ** 2
        + ((row + 0.5 - (top + bottom) / 2) / ((bottom - top) / 2)) ** 2
        <= 1
    ]
    return np.array(chosen, np.float64)


def near(number: float) -> Any:
    return pytest.approx(number, rel=1e-3)


def sample(name: str) -> tuple[Dataset, Stack]:
    path = Path(pydicom.data.get_testdata_file(name))
    return pydicom.dcmread(path), open_stack([path.read_bytes()])


def test_a_real_ct_in_hounsfield_units() -> None:
    dataset, stack = sample("CT_small.dcm")
    page = Page(stack)
    stored = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    expected, (rows, columns) = inside(stored), map(float, dataset.PixelSpacing)
    values = page.values(ELLIPSE)
    assert values["mean"] == (near(expected.mean()), "HU")
    assert values["sd"] == (near(expected.std()), "HU")
    assert values["minimum"][0] == expected.min() and values["maximum"][0] == expected.max()
    assert values["area"] == (near(np.pi / 4 * 15.5 * 13.25 * rows * columns), "mm2")
    assert page.values(RULER)["length"] == (near(np.hypot(3 * columns, 4 * rows)), "mm")
    assert page.lines(ELLIPSE)[1] == f"mean {expected.mean():.1f} HU, SD {expected.std():.1f}"


def test_a_picture_without_spacing_is_measured_in_pixels() -> None:
    page = Page(scan_of(Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(48, 64))).stack)
    assert page.lines(RULER) == ["5.0 pixels"]
    (reply,) = page.measure(drawing(ELLIPSE))
    assert reply["lines"][0].endswith("square pixels") and "(stored)" in reply["lines"][1]
    assert reply["notes"] == ["The file states no pixel spacing: lengths and areas are in pixels."]
    assert "mm" not in reply["text"]


def test_each_frame_of_a_recording_and_each_plane_of_a_volume() -> None:
    volume = np.random.default_rng(4).integers(0, 900, (3, 40, 60)).astype(np.int16)
    page = Page(open_stack([saved(drawn(volume, NumberOfFrames=3, FrameTime=5.0))]))
    for place in range(3):
        assert page.values(RECTANGLE, slice=place)["mean"][0] == near(
            volume[place, 4:17, 3:21].mean()
        )
    phantom = open_stack(ct_series(64, 12))
    page = Page(phantom)
    (reply,) = page.measure(drawing(RULER, plane="coronal", slice=20))
    rows, columns = phantom.scales("coronal", 20)[0].rows, phantom.scales("coronal", 20)[0].columns
    (made,) = page.scan.volume.measurements
    assert made.values[0].value == near(np.hypot(3 * columns, 4 * rows))
    assert made.plane == "coronal" and "computed from slices" in reply["notes"][0]


def test_a_four_dimensional_volume() -> None:
    nibabel = pytest.importorskip("nibabel")
    cells = np.random.default_rng(2).integers(0, 900, (30, 28, 6, 3)).astype(np.int16)
    image = nibabel.Nifti1Image(cells, np.diag([-2.0, -3.0, 4.0, 1.0]))
    image.header.set_xyzt_units("mm", "sec")
    page = Page(open_stack([image.to_bytes()]))
    values = page.values(ELLIPSE, plane="axial", slice=4, frame=2)
    assert values["mean"] == (near(inside(cells[:, :, 4, 2].T).mean()), "stored")
    assert page.values(RULER, plane="axial", slice=4, frame=2)["length"] == (
        near(np.hypot(6, 12)),
        "mm",
    )


def test_a_colour_picture() -> None:
    page = Page(scan_of(Image.new("RGB", (64, 48), "red")).stack)
    (reply,) = page.measure(drawing(ELLIPSE))
    assert len(reply["lines"]) == 1 and "colour" in reply["notes"][1]


def test_ultrasound_counts_within_its_regions() -> None:
    dataset, stack = sample("examples_ybr_color.dcm")
    (region, *_) = dataset.SequenceOfUltrasoundRegions
    left, top = region.RegionLocationMinX0, region.RegionLocationMinY0
    ends = [[left + 10, top + 10], [left + 40, top + 50]]
    page = Page(stack)
    across, down = (abs(float(region[f"PhysicalDelta{axis}"].value)) * 10 for axis in "XY")
    assert page.values({"kind": "ruler", "points": ends})["length"] == (
        near(np.hypot(30 * across, 40 * down)),
        "mm",
    )
    (reply,) = page.measure(drawing({"kind": "ruler", "points": [[0, 0], ends[1]]}))
    assert reply["lines"][0].endswith("pixels") and "calibrated part" in reply["notes"][0]


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ({"ImagerPixelSpacing": [0.2, 0.2]}, "1.0 mm at detector"),
        ({"ImagerPixelSpacing": [0.2, 0.2], "PixelSpacing": [0.1, 0.1]}, "0.5 mm"),
        ({"PixelSpacing": [0.2, 0.2]}, "1.0 mm, calibration not stated"),
        ({}, "5.0 pixels"),
    ],
    ids=["imager", "calibrated", "unsure", "none"],
)
def test_a_radiograph_says_where_its_lengths_are(header: dict[str, Any], line: str) -> None:
    values = np.arange(2400, dtype=np.uint16).reshape(40, 60)
    page = Page(open_stack([saved(drawn(values, Modality="DX", **header))]))
    (reply,) = page.measure(drawing(RULER))
    assert reply["lines"] == [line] and line in reply["text"]
    assert bool(reply["notes"]) == (line != "0.5 mm")


def test_what_is_drawn_is_replaced_as_a_whole() -> None:
    page = Page(scan_of().stack)
    shapes = [drawing(shape, number) for number, shape in enumerate(ALL)]
    assert [reply["kind"] for reply in page.measure(*shapes)] == [one["kind"] for one in ALL]
    before = page.scan.volume.measurements
    shapes[0] = drawing({**RULER, "points": [[0, 0], [30, 40]]}, 0)
    assert page.measure(*shapes)[0]["lines"] == ["50.0 pixels"]
    after = page.scan.volume.measurements
    # What did not change is not computed again.
    assert after[1:] == before[1:] and all(
        a is b for a, b in zip(after[1:], before[1:], strict=True)
    )
    page.measure(shapes[2])
    assert [made.kind for made in page.scan.volume.measurements] == ["rectangle"]
    assert page.measure() == [] and page.scan.volume.measurements == ()


def test_what_cannot_be_measured_says_why_and_is_not_kept() -> None:
    page = Page(scan_of().stack)
    good, gone = drawing(RULER, 1), drawing({"kind": "ruler", "points": [[1, 1], [99, 1]]}, 2)
    replies = page.measure(good, gone, drawing(RULER, 3, slice=4), drawing(RULER, 4, plane="x"))
    assert "outside of the picture" in replies[1]["trouble"]
    assert "no slice 5" in replies[2]["trouble"] and "no plane x" in replies[3]["trouble"]
    assert [made.key for made in page.scan.volume.measurements] == [good["key"]]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"drawings": 1},
        {"drawings": [1]},
        {"drawings": [drawing(RULER), drawing(RULER)]},
        {"drawings": [drawing(RULER, number) for number in range(101)]},
        {"drawings": [drawing(RULER, key="../x")]},
        {"drawings": [drawing(RULER, kind="circle")]},
        {"drawings": [drawing(RULER, plane=None)]},
        {"drawings": [drawing(RULER, slice="0")]},
        {"drawings": [drawing(RULER, slice=True)]},
        {"drawings": [drawing(RULER, points=[[1, 2]] * 4)]},
        {"drawings": [drawing(RULER, points=[[1, 2], [1]])]},
        {"drawings": [drawing(RULER, points=[[1, 2], ["1", 2]])]},
    ],
    ids=range(14),
)
def test_a_page_cannot_send_what_is_no_drawing(body: Any) -> None:
    page = Page(scan_of().stack)
    page.measure(drawing(RULER))
    assert page.send(body).status_code == 400
    assert len(page.scan.volume.measurements) == 1
    if isinstance(body, dict) and "drawings" in body:
        session = session_with(page.scan)
        with pytest.raises(QuestionError, match="reload"):
            take_report(session, report_of(session, **body))


def test_only_the_page_that_opened_a_scan_measures_on_it() -> None:
    page = Page(scan_of().stack)
    body = {"drawings": [drawing(RULER)]}
    assert page.send(body, "").status_code == page.send(body, "x" * 43).status_code == 404
    page.scan.volume.shown = False
    assert page.send(body).status_code == 404 and page.scan.volume.measurements == ()


# Kept with the session, the exchange and the case


def asked(session: Session, **report: Any) -> None:
    told = report_of(session, **report)
    list(ask(EngineLoader(ScriptedEngine).start(), session, "Is it?", "reason", "compare", told))


def test_measurements_go_along_with_the_question_and_into_its_case(tmp_path: Path) -> None:
    session = session_with(scan_of(), scan_of())
    asked(session, drawings=[drawing(RULER), drawing(ELLIPSE, 2)])
    assert session.asked is not None
    places = [(made.series, made.kind) for made in session.asked.measurements]
    assert places == [(0, "ruler"), (0, "ellipse"), (1, "ruler"), (1, "ellipse")]
    assert session.history[0].measurements == session.asked.measurements
    case = case_of(session.asked)
    store = ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}")
    store.add_case(case)
    assert store.case(case.id) == case and len(case.measurements) == 4
    store.close()


def test_what_is_measured_after_the_answer_belongs_to_its_case(tmp_path: Path) -> None:
    desk = Desk(ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}"))
    session, reader = session_with(scan_of()), Person("bo", "reader")
    asked(session)
    take_drawings(session.scans[0].volume, [drawing(RULER)])
    case_id = desk.keep(session, reader)  # type: ignore[arg-type]
    (made,) = desk.open().case(case_id).measurements
    assert made.kind == "ruler" and made.values[0].value == 5
    # A stored case never changes; what is drawn later is still known to the page.
    take_report(session, report_of(session, drawings=[drawing(RULER), drawing(ELLIPSE, 2)]))
    assert desk.keep(session, reader) == case_id  # type: ignore[arg-type]
    assert len(desk.open().case(case_id).measurements) == 1
    assert [one.kind for one in session.measured_on(case_id)] == ["ruler", "ellipse"]
    assert session.measured_on("0" * 32) == ()
    desk.open().close()


def test_measurements_outlive_a_reload(tmp_path: Path) -> None:
    scan = open_scan(open_stack(ct_series(16, 4)), FrameServer(), "Your scan", checked=True)
    session, keeper = session_with(scan), KeptSessions(tmp_path / "sessions", Keep())
    asked(session, drawings=[drawing({"kind": "ruler", "points": [[1, 1], [4, 5]]}, slice=2)])
    place = keeper.place(Caller(name="xavier", browser="cookie-of-a-browser"), "0123456789abcdef")
    assert place is not None
    keeper.save(session, place)
    again = Session()
    assert keeper.restore(again, place, FrameServer(), Budget(), "page")
    assert again.scans[0].volume.measurements == scan.volume.measurements != ()
    assert again.asked is not None and session.asked is not None
    assert again.asked.measurements == session.asked.measurements != ()
    (spec,) = page_spec(again.scans, again.active, 1)["scans"]
    (told,) = spec["drawings"]
    assert told["slice"] == 2 and told["points"] == [[1, 1], [4, 5]] and told["lines"]


def test_a_session_that_an_earlier_version_has_kept_comes_back() -> None:
    (frame, *_) = open_stack(ct_series(16, 4)).parts[0].frames
    old = object.__new__(type(frame))
    for name in ("slope", "intercept", "spacing"):
        object.__setattr__(old, name, getattr(frame, name))
    made = kept_sessions._whole(old)
    assert (made.spacing, made.regions, made.at) == (frame.spacing, (), "patient")


def test_a_measurement_in_a_question_names_nobody() -> None:
    page = Page(open_stack(ct_series(64, 12)))
    page.measure(*(drawing(shape, number) for number, shape in enumerate(ALL)))
    words = [question_words(made) for made in page.scan.volume.measurements]
    assert words[0].startswith("Measured in the region (ruler): length ")
    assert words[0].endswith(" mm.")
    assert identity_in_text(" ".join(words)) == ()


def test_flagging_goes_on_after_a_measurement(tmp_path: Path) -> None:
    desk = Desk(ReviewStore(f"sqlite:///{tmp_path / 'review.sqlite3'}"))
    session = session_with(scan_of())
    asked(session)
    before = session.asked
    take_report(session, report_of(session, drawings=[drawing(RULER)]))
    assert before is not None and session.asked is not before and before.is_same(session.asked)
    assert session.asked is not None
    flag = FlagDraft.checked(
        case_id="1" * 32, arm="rl", category="style", severity="minor", key="2" * 32
    )
    stored = desk.flag(flag, session.asked, Person("bo", "reader"))
    assert len(desk.open().case(stored.case_id).measurements) == 1
    desk.open().close()
