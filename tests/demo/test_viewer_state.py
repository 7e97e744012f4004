"""What the page is told, what it may say, and what frames it gets: without a browser."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from opened import report_of, scan_of, session_with
from PIL import Image

from demo.pages import render
from demo.pages.ask import side_panels
from demo.services.identity import doubts
from demo.services.phantoms import ct_series
from demo.services.uploads import Uploads, open_uploads, sweep
from demo.services.volumes import Volume
from demo.serving.caller import NOBODY, Caller
from demo.session import OpenScan, Session
from demo.viewer import FrameServer, open_scan, page_spec, take_report
from demo.viewer.frames import frame_bytes
from rarl.errors import QuestionError, ScanError
from rarl.inference.engine import Seen
from rarl.scans import Box, Stack, View, Window, open_stack


@pytest.fixture(scope="module")
def volume() -> Stack:
    return open_stack(ct_series(64, 12))


def on_page(stack: Stack) -> OpenScan:
    return open_scan(stack, FrameServer(), "Your scan")


def test_the_page_is_told_all_that_its_controls_need(volume: Stack) -> None:
    scan = on_page(volume)
    spec = page_spec([scan], scan, 3)
    assert spec["active"] == scan.token and spec["serial"] == 3
    (scan_spec,) = spec["scans"]
    assert scan_spec["frames"] == {"acquired": 12, "axial": 12, "coronal": 64, "sagittal": 64}
    assert scan_spec["start"] == 6 and scan_spec["unit"] == "HU"
    assert scan_spec["steps"] == pytest.approx(
        {"acquired": 25, "axial": 25, "coronal": 380 / 64, "sagittal": 380 / 64}, rel=1e-4
    )
    labels = [preset["label"] for preset in scan_spec["presets"]]
    assert labels[0].startswith("As in the file")
    assert {"Lung", "Mediastinum", "Bone", "Brain", "Stroke", "Abdomen"} < set(labels)
    assert scan_spec["thumbnail"].startswith("data:image/png;base64,")
    # A picture without a unit gets sliders that fit its own values, and no presets of CT.
    plain = scan_of()
    (scan_spec,) = page_spec([plain], plain, 1)["scans"]
    assert [preset["key"] for preset in scan_spec["presets"]] == ["file", "auto"]


@pytest.mark.parametrize("plane", ["acquired", "coronal"])
def test_a_frame_travels_whole(volume: Stack, plane: str) -> None:
    facts, body = frame_bytes(volume, plane, 5, 0)
    values = volume.values(plane, 5, 0)
    assert facts["type"] == "int16" and facts["channels"] == 1
    arrived = np.frombuffer(body, "<i2").reshape(facts["rows"], facts["columns"])
    assert np.array_equal(arrived, values)
    assert facts["window"] == [40, 400] and not facts["picture"]
    assert facts["letters"][:2] == ("R", "L")


def test_colour_and_wide_values_travel_in_their_own_type() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    facts, body = frame_bytes(scan_of(Image.fromarray(picture)).stack, "acquired", 0, 0)
    assert (facts["type"], facts["channels"]) == ("uint8", 3)
    assert body == picture.tobytes()
    wide = np.linspace(0, 65535, 600, dtype=np.uint16).reshape(20, 30)
    buffer = io.BytesIO()
    Image.fromarray(wide).save(buffer, "PNG")
    facts, body = frame_bytes(open_stack([buffer.getvalue()]), "acquired", 0, 0)
    assert facts["type"] == "int32"
    assert np.array_equal(np.frombuffer(body, "<i4"), wide.ravel())


def test_a_voi_lut_travels_as_the_picture_it_makes(sample_with_lut: Stack) -> None:
    facts, body = frame_bytes(sample_with_lut, "acquired", 0, 0)
    count = facts["rows"] * facts["columns"]
    assert facts["picture"]
    assert body[-count:] == sample_with_lut.scan().image.tobytes()


@pytest.fixture
def sample_with_lut() -> Stack:
    from drawn import drawn, saved
    from pydicom.dataset import Dataset

    lut = Dataset()
    lut.LUTDescriptor = [256, 0, 8]
    lut.add_new("LUTData", "US", [round(255 * (level / 255) ** 2) for level in range(256)])
    dataset = drawn(np.arange(400, dtype=np.uint16).reshape(20, 20) % 256, Modality="MR")
    dataset.VOILUTSequence = [lut]
    return open_stack([saved(dataset)])


def test_a_token_lives_as_long_as_its_scan(volume: Stack) -> None:
    frames = FrameServer()
    short, held = Volume(open_stack(ct_series(16, 2))), Volume(volume)
    token, other = frames.admit(short), frames.admit(held)
    assert token != other and len(token) >= 43
    assert set(frames._open) == {token, other}
    del short
    assert set(frames._open) == {other}


def test_the_session_takes_over_what_the_page_shows(volume: Stack) -> None:
    session = session_with(on_page(volume))
    report = report_of(
        session,
        plane="coronal",
        frame=20,
        window=[-600, 1500],
        invert=True,
        masks=[[0, 0, 8, 4]],
        region=[10, 12, 30, 40],
    )
    take_report(session, report)
    (scan,) = session.scans
    assert scan.view == View("coronal", 20, 0, Window(-600, 1500), True)
    assert scan.masks == (Box(0, 0, 8, 4),) and scan.region == Box(10, 12, 30, 40)
    (whole, region), (how, cropped) = session.pictures()
    assert how.plane == "coronal" and how.window == (-600, 1500) and how.masks == ((0, 0, 8, 4),)
    assert how.region == cropped.crop == (10, 12, 30, 40) and how.crop is cropped.region is None
    assert (whole.name, region.name) == ("scan", "region")
    assert np.array_equal(np.asarray(region.image), np.asarray(whole.image)[12:40, 10:30])
    assert not np.asarray(whole.image)[:4, :8].any()
    height = whole.image.height
    assert session.region_words() == (
        f"The region spans (156,{round(12000 / height)}) to (469,{round(40000 / height)})."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"plane": "oblique"},
        {"frame": 12},
        {"frame": -1},
        {"frame": "x"},
        {"time": 1},
        {"window": [40]},
        {"window": [float("nan"), 1]},
        {"window": [0, 0]},
        {"masks": [[0, 0, 65, 4]]},
        {"masks": [[5, 0, 5, 4]]},
        {"masks": [[0, 0, 8, 4]] * 101},
        {"masks": None},
        {"region": [0, 0]},
        {"role": "boss"},
        {"token": "another"},
    ],
)
def test_a_page_cannot_report_what_cannot_be(volume: Stack, change: dict[str, Any]) -> None:
    session = session_with(on_page(volume))
    before = session.scans[0].view
    with pytest.raises(QuestionError, match="reload"):
        take_report(session, report_of(session, **change))
    assert session.scans[0].view == before
    for nonsense in (None, [], "report", {"scans": 3}, {"scans": [1]}):
        with pytest.raises(QuestionError):
            take_report(session, nonsense)


def test_a_tiny_region_is_widened_inside_the_picture(volume: Stack) -> None:
    session = session_with(on_page(volume))
    take_report(session, report_of(session, region=[63, 0, 64, 1]))
    assert session.pictures()[0][1].image.size == (16, 16)


def test_scans_beside_each_other_get_names_of_their_own() -> None:
    session = session_with(*(scan_of() for _ in range(4)))
    assert [scan.role for scan in session.scans] == ["current", "prior", "frontal", "lateral"]
    assert not session.has_room(1)
    assert [picture.name for picture in session.pictures()[0]] == [
        scan.role for scan in session.scans
    ]
    session.change(*session.scans[1:])
    assert session.active is session.scans[-1] and session.has_room(1)


def test_two_projections_are_called_so() -> None:
    def chest(position: str) -> OpenScan:
        from drawn import drawn, saved

        dataset = drawn(np.arange(400, dtype=np.uint16).reshape(20, 20), Modality="DX")
        dataset.ViewPosition = position
        return on_page(open_stack([saved(dataset)]))

    session = session_with(chest("PA"), chest("LL"))
    assert [scan.role for scan in session.scans] == ["frontal", "lateral"]


def take_uploads(paths: list[str], cache: Path) -> list[Stack]:
    """As a request does: what Gradio has written gets names, and the names are opened."""
    uploads = Uploads(cache)
    names = [uploads.admit(path, NOBODY) for path in paths]
    return [opened.stack() for opened in open_uploads(uploads.read(names, NOBODY))]


def test_uploads_are_their_senders_alone(tmp_path: Path) -> None:
    uploads, ada, bo = Uploads(tmp_path), Caller(name="ada"), Caller(name="bo")
    names = []
    for caller in (ada, bo):  # equal bytes have one path
        (tmp_path / "hash").mkdir(exist_ok=True)
        (tmp_path / "hash" / "scan-0").write_bytes(b"pixels")
        names.append(uploads.admit(str(tmp_path / "hash" / "scan-0"), caller))
    file = uploads.file(names[0], ada)
    for foreign in (names[0], str(file), "scan-0", str(tmp_path), "../scan-0", "", "http://a/b"):
        with pytest.raises(ScanError, match="try again"):
            uploads.read([foreign], bo)
    assert uploads.read([names[0]], ada) == uploads.read([names[1]], bo) == [b"pixels"]
    with pytest.raises(ScanError, match="try again"):
        uploads.read([names[0]], ada)
    assert not any(tmp_path.iterdir())


def test_uploads_are_read_once_and_only_from_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folders = []
    for number, data in enumerate(ct_series(32, 5)):
        folder = cache / f"hash{number}"
        folder.mkdir(parents=True)
        (folder / f"scan-{number}").write_bytes(data)
        folders.append(folder)
    (stack,) = take_uploads([str(folder / folder.name.replace("hash", "scan-"))
                             for folder in folders], cache)  # fmt: skip
    assert stack.frames() == 5
    assert not any(cache.iterdir())

    outside = tmp_path / "secret.png"
    Image.new("L", (20, 20)).save(outside)
    for path in (outside, cache / ".." / "secret.png"):
        with pytest.raises(ScanError, match="try again"):
            take_uploads([str(path)], cache)
        assert outside.exists()


def test_a_few_files_that_are_no_series_are_a_scan_each(tmp_path: Path) -> None:
    paths = []
    for number in range(2):
        Image.new("L", (30 + number, 20), 50).save(path := tmp_path / f"{number}.png")
        paths.append(str(path))
    assert len(take_uploads(paths, tmp_path)) == 2


def test_one_bad_file_does_not_cost_the_others(tmp_path: Path) -> None:
    def paths() -> list[str]:
        folder = tmp_path / "upload"
        folder.mkdir(exist_ok=True)
        for name, width in (("0", 30), ("2", 31)):
            Image.new("L", (width, 20), 50).save(folder / name, "PNG")
        (folder / "1").write_bytes(b"\x89PNG\r\n\x1a\nbut no more")
        return [str(folder / name) for name in "102"]

    first, second = take_uploads(paths(), tmp_path)
    assert [stack.values().shape[1] for stack in (first, second)] == [30, 31]
    assert first.warnings[-1] == "Left out 1 file: a damaged file." and not second.warnings
    (only,) = take_uploads(paths()[:2], tmp_path)
    assert only.warnings[-1] == "Left out 1 file: a damaged file."
    with pytest.raises(ScanError, match="damaged"):
        take_uploads(paths()[:1], tmp_path)


def test_what_a_crashed_run_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile; sys.path.insert(0, '.');"
        f"tempfile.tempdir = {str(tmp_path)!r};"
        "from demo.services.uploads import private_cache; folder = private_cache();"
        "(folder / 'left').write_text('Jane'); print(folder, flush=True);"
        "os._exit(1) if len(sys.argv) > 1 else sys.stdin.read()"
    )
    root = Path(__file__).resolve().parents[2]
    crashed = subprocess.run(
        [sys.executable, "-c", code, "crash"], cwd=root, capture_output=True, text=True
    )
    left = Path(crashed.stdout.strip())
    assert (left / "left").exists() and stat.S_IMODE(left.stat().st_mode) == 0o700
    running = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert running.stdout and running.stdin
    mine = Path(running.stdout.readline().strip())
    try:
        assert not left.exists()  # the second run swept the first one's
        (tmp_path / "rarl-not-ours").mkdir()
        assert sweep(tmp_path) == 0
        assert (mine / "left").exists()
    finally:
        running.stdin.close()
        running.wait(60)
    assert not mine.exists()
    assert (tmp_path / "rarl-not-ours").exists()
    with FileLock(tmp_path / "free", timeout=0):
        assert os.path.exists(tmp_path / "free")


def test_words_of_the_header_are_doubted_without_being_kept() -> None:
    from planted import planted

    built = planted(3)
    scan = on_page(open_stack([built.data]))
    session = session_with(scan)
    assert not scan.decided and scan.proposed
    (sentence,) = doubts(f"Is {built.identifiers[7]} better?", session)
    assert built.identifiers[7] in sentence
    assert not doubts("Is the liver better?", session)
    assert doubts("Seen on 3 March 2021", Session())
    # Covers lie on one plane: another has to be looked through by itself.
    for decided in (True, False):
        take_report(session, report_of(session, decided=decided))
        assert scan.decided is decided
    page = render.doubt((sentence, "<b>"), "the question")
    assert "&lt;b&gt;" in page and 'data-event="keep"' in page


def test_what_the_model_sees_is_shown_with_its_tokens() -> None:
    picture = Seen(Image.new("RGB", (56, 84)), 6)
    page = side_panels.inside((("current", picture), ("<b>", picture)))
    assert page.count("56 × 84 pixels, 6 image tokens") == 2
    assert "Current: " in page and "<b>:" not in page
