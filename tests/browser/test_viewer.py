"""The viewer in a real browser: what it shows is, pixel by pixel, what a model would be given."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pydicom.data
import pytest
from app_process import ROOT, SAMPLES, missing, served
from orthanc import MISSING, PASSWORD, USER, installed, orthanc
from planted import planted, spellings

from demo.services.phantoms import ct_series
from rarl.scans import Box, Stack, View, Window, open_stack, open_stack_file

pytestmark = pytest.mark.browser

STAGE = "#viewer .viewer-stage"
MR_SERIES = Path(pydicom.data.__file__).parent / "test_files/dicomdirtests/98892003/MR700"

# Keeps all that the page receives, byte by byte, in Latin-1.
RECORDER = """
window.received = [];
const keep = (start) => window.received.push(start) - 1;
const latin = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const utf8 = (text) => latin(new TextEncoder().encode(text));
const real = window.fetch;
window.fetch = async (...parts) => {
  const answer = await real(...parts);
  const at = keep(utf8(`${answer.url} ${[...answer.headers].join(" ")}\\n`));
  (async () => {
    const reader = answer.clone().body?.getReader();
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
      window.received[at] += latin(part.value);
    }
  })().catch(() => {});
  return answer;
};
window.XMLHttpRequest = class extends XMLHttpRequest {
  constructor() {
    super();
    this.addEventListener("load", () => {
      keep(utf8(`${this.responseURL} ${this.getAllResponseHeaders()} ${this.responseText}`));
    });
  }
};
window.EventSource = class extends EventSource {
  constructor(...parts) {
    super(...parts);
    const at = keep(utf8(`${parts[0]}\\n`));
    this.addEventListener("message", (event) => { window.received[at] += utf8(event.data); });
  }
};
"""


@pytest.fixture(scope="module")
def app(model: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """One app for all of these: its address, and the folder of all that it writes."""
    folder = tmp_path_factory.mktemp("viewer")
    with ExitStack() as stack:
        settings = {}
        if installed():
            held = [planted().data]
            settings = {
                "RARL_DICOMWEB": stack.enter_context(
                    orthanc(tmp_path_factory.mktemp("pacs"), held)
                ),
                "RARL_DICOMWEB_USER": USER,
                "RARL_DICOMWEB_PASSWORD": PASSWORD,
            }
        address, _ = stack.enter_context(served(folder / "home", model, **settings))
        yield address, folder


@pytest.fixture
def address(app: tuple[str, Path]) -> str:
    return app[0]


def report(page: Any) -> dict[str, Any]:
    """What would go along with a question: the entry of the scan on the stage."""
    report_now = page.evaluate("RarlViewer.report()")
    return next(entry for entry in report_now["scans"] if entry["token"] == report_now["active"])


def shown(page: Any, rows: int, columns: int) -> np.ndarray:
    """The canvas at one to one, (rows, columns, 3)."""
    page.focus("#viewer canvas")
    page.keyboard.press("z")
    page.wait_for_selector(f"{STAGE}[data-scale='1']")
    flat = page.evaluate(
        """([rows, columns]) => {
          const canvas = document.querySelector("#viewer canvas");
          const left = Math.round(canvas.width / 2 - columns / 2);
          const top = Math.round(canvas.height / 2 - rows / 2);
          return [...canvas.getContext("2d").getImageData(left, top, columns, rows).data];
        }""",
        [rows, columns],
    )
    return np.array(flat, np.int16).reshape(rows, columns, 4)[:, :, :3]


def assert_same_picture(page: Any, stack: Stack) -> dict[str, Any]:
    """The page shows what `Stack.scan` gives for what it reports; returns the report."""
    report_now = report(page)
    window = Window(*report_now["window"]) if report_now["window"] else None
    view = View(
        report_now["plane"], report_now["frame"], report_now["time"], window, report_now["invert"]
    )
    picture = stack.scan(view, [Box(*corners) for corners in report_now["masks"]]).image
    expected = np.asarray(picture.convert("RGB"), np.int16)
    found = shown(page, *expected.shape[:2])
    assert np.abs(found - expected).max() <= 1
    assert np.ptp(expected) > 100  # something is to be seen
    return report_now


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """From one point of the canvas to another, in fractions of it."""
    box = page.locator("#viewer canvas").bounding_box()

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)))
    page.mouse.move(*at(end))
    page.mouse.up()


def test_a_real_series_opens_sorted_and_as_python_shows_it(
    address: str,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    stack = open_stack_file([MR_SERIES])
    page = open_page(address)
    page.set_input_files("#viewer .viewer-folder", str(MR_SERIES))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    assert f"/ {stack.frames()}" in page.inner_text(f"{STAGE} .bottom-left")
    assert_same_picture(page, stack)
    first = report(page)["frame"]

    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector(f"{STAGE}[data-frame='1']")
    assert first != 1 or stack.frames() > 2
    assert_same_picture(page, stack)
    # By key, by number and by slider; each time the picture follows.
    page.keyboard.press("Shift+ArrowRight")
    page.fill("#viewer [data-input=level-number]", "300")
    page.press("#viewer [data-input=level-number]", "Tab")
    page.wait_for_selector(f"{STAGE}[data-window^='300,']")
    assert assert_same_picture(page, stack)["window"][0] == 300
    page.focus("#viewer [data-input=width]")
    page.keyboard.press("ArrowLeft")
    page.focus("#viewer canvas")
    page.keyboard.press("i")
    page.wait_for_selector("#viewer [data-do=invert][aria-pressed=true]")
    assert assert_same_picture(page, stack)["invert"]

    # The names of the files stayed in the browser: the page itself was told neutral ones.
    assert page.locator("#viewer .viewer-scans li").count() == 1


def test_a_volume_in_three_planes_and_in_time(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    file = SAMPLES / "example4d.nii.gz"
    if not file.exists():
        missing(f"{file.name} is not in RARL_DATA.")
    stack = open_stack([file.read_bytes()])
    page = open_page(address)
    page.set_input_files("#viewer .viewer-files", str(file))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    page.focus("#viewer canvas")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f"{STAGE}[data-time='1']")
    for plane in stack.planes:
        page.select_option("#viewer [data-input=plane]", plane)
        page.wait_for_selector(f"{STAGE}[data-plane={plane}]")
        letters = page.locator("#viewer .viewer-letters b").all_inner_texts()
        assert tuple(letters) == stack.letters(plane, report(page)["frame"])
        assert assert_same_picture(page, stack)["time"] == 1


def test_window_box_and_cover_go_into_the_question(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    stack = open_stack(ct_series())
    page = open_page(address)
    page.click("#notice [data-page=dismiss]")
    page.click("[data-key=phantom-ct]")
    page.wait_for_selector(f"{STAGE}[data-frame='{stack.frames() // 2}']")
    assert_same_picture(page, stack)
    page.wait_for_selector("#viewer .viewer-scale:visible")

    page.select_option("#viewer [data-input=preset]", "lung")
    page.wait_for_selector(f"{STAGE}[data-window='-600,1500']")
    page.focus("#viewer canvas")
    page.mouse.wheel(0, 0)
    page.keyboard.press("PageUp")
    page.wait_for_selector(f"{STAGE}[data-frame='{stack.frames() // 2 - 10}']")
    assert_same_picture(page, stack)

    # The value under the cursor is the scan's own.
    box = page.locator("#viewer canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_function("document.querySelector('.bottom-left').innerText.includes(' HU')")
    place, value = page.inner_text(f"{STAGE} .bottom-left").split("\n")[0].split(": ")
    column, row = map(int, place.split(","))
    values = stack.values("acquired", report(page)["frame"], 0)
    assert int(value.removesuffix(" HU")) == values[row, column]

    # Dragging changes the window, drags a box, moves nothing else.
    drag(page, (0.5, 0.5), (0.6, 0.5))
    assert report(page)["window"][1] > 1500
    page.keyboard.press("r")
    drag(page, (0.45, 0.45), (0.6, 0.6))
    page.keyboard.press("k")
    drag(page, (0.3, 0.3), (0.4, 0.35))
    page.wait_for_selector("#viewer .viewer-boxes .region")
    page.wait_for_selector("#viewer .viewer-boxes .mask")
    report_now = assert_same_picture(page, stack)
    assert len(report_now["masks"]) == 1 and report_now["region"][2] - report_now["region"][0] > 10

    page.wait_for_selector(".pill.ready")
    page.click("#viewer [data-do=see]")
    page.wait_for_selector("#seen figure")
    assert page.locator("#seen figure").count() == 2
    assert "image tokens" in page.inner_text("#seen figure >> nth=1")
    page.keyboard.press("Escape")
    page.wait_for_selector("#seen .drawer", state="detached")

    page.click("#arms input")
    page.click("[role=option]:has-text('RARL alone')")
    page.fill("#question textarea", "Is there a mass?")
    page.press("#question textarea", "Enter")
    page.click("#after [data-event=behind]:enabled")
    page.wait_for_selector("#seen pre")
    drawer_text = page.inner_text("#seen")
    assert "Scan: 256 × 256 pixels" in drawer_text and "Region: " in drawer_text
    left, top, *_ = (round(1000 * corner / 256) for corner in report_now["region"])
    assert f"The region spans ({left},{top})" in drawer_text


def test_several_scans_carry_names_of_their_own(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.click("#notice [data-page=dismiss]")
    page.click("[data-key=phantom-chest]")
    page.wait_for_selector(f"{STAGE}[data-frame]")
    first = page.get_attribute(STAGE, "data-token")
    with page.expect_file_chooser() as chooser:
        page.click("#viewer [data-do=add]")
    chooser.value.set_files(str(ROOT / "demo" / "static" / "phantom-chest.png"))
    page.wait_for_selector(f"{STAGE}[data-frame]:not([data-token='{first}'])")
    roles = "[...document.querySelectorAll('[data-role]')].map((one) => one.value)"
    assert page.evaluate(roles) == ["current", "prior"]
    # To take a name that another has is to swap.
    page.select_option("[data-role] >> nth=1", "current")
    assert page.evaluate(roles) == ["prior", "current"]
    report_now = page.evaluate("RarlViewer.report()")
    assert [entry["role"] for entry in report_now["scans"]] == ["prior", "current"]

    page.click("#viewer .remove >> nth=1")
    page.wait_for_function("document.querySelectorAll('.viewer-scans li').length === 1")
    page.wait_for_selector(f"{STAGE}[data-token='{first}']")


def test_two_scans_side_by_side_go_together(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.click("#notice [data-page=dismiss]")
    page.set_input_files("#viewer .viewer-folder", str(MR_SERIES))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    token = page.get_attribute(STAGE, "data-token")
    assert page.locator(".viewer-pane").count() == 1
    with page.expect_file_chooser() as chooser:
        page.click("#viewer [data-do=add]")
    chooser.value.set_files([str(file) for file in sorted(MR_SERIES.iterdir())])
    page.wait_for_selector(f"{STAGE}[data-frame]:not([data-token='{token}'])")
    page.wait_for_selector(".viewer-pane >> nth=1")

    def frames() -> list[int]:
        return [entry["frame"] for entry in page.evaluate("RarlViewer.report()")["scans"]]

    start = frames()
    page.focus("#viewer canvas")
    page.keyboard.press("ArrowDown")
    assert frames() == [start[0] + 1, start[1] + 1]
    page.keyboard.press("j")  # apart from here on
    page.keyboard.press("ArrowDown")
    assert frames() == [start[0] + 1, start[1] + 2]
    page.keyboard.press("j")  # together again, as far apart as they are
    page.keyboard.press("ArrowDown")
    assert frames() == [start[0] + 2, start[1] + 3]
    slices = page.locator(".viewer-pane .bottom-left").all_inner_texts()
    assert [f"Slice {frame + 1} /" in text for frame, text in zip(frames(), slices, strict=True)]

    # Both show what Python would: each half of the canvas, fitted alike, is one picture or other.
    drag(page, (0.2, 0.5), (0.21, 0.5))  # who touches the left one works on it
    page.wait_for_selector(f"{STAGE}[data-token='{token}']")
    page.keyboard.press("+")
    page.wait_for_function("document.querySelector('.viewer').hasAttribute('data-zoomed')")
    widths = page.evaluate(
        "[...document.querySelectorAll('.viewer-pane .viewer-scale i')].map((e) => e.style.width)"
    )
    assert len(widths) == 2 and abs(float(widths[0][:-2]) - float(widths[1][:-2])) < 0.5
    page.keyboard.press("b")
    page.wait_for_function("document.querySelectorAll('.viewer-pane').length === 1")


def test_an_overlay_is_drawn_but_not_asked_about(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    file = Path(str(pydicom.data.get_testdata_file("examples_overlay.dcm")))
    stack = open_stack_file([file])
    drawn = stack.overlay()
    assert drawn is not None and 50 < drawn.sum() < 5000
    page = open_page(address)
    page.set_input_files("#viewer .viewer-files", str(file))
    page.wait_for_selector(f"{STAGE}[data-frame]")
    found = shown(page, *drawn.shape)
    picture = np.asarray(stack.scan().image, np.int16)
    assert np.abs(found - picture[:, :, None]).max(axis=2)[~drawn].max() <= 1
    assert (found[drawn] == (0x70, 0xD6, 0xC4)).all()
    page.keyboard.press("o")
    page.wait_for_selector("#viewer [data-do=overlay][aria-pressed=false]")
    assert_same_picture(page, stack)


def test_typed_identity_is_asked_about(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.click("#notice [data-page=dismiss]")
    page.click("[data-key=phantom-chest]")
    page.wait_for_selector(f"{STAGE}[data-frame]")
    page.click("#arms input")
    page.click("[role=option]:has-text('RARL alone')")
    page.fill("#question textarea", "Effusion since 3 March 2021?")
    page.press("#question textarea", "Enter")
    page.wait_for_selector("#note .doubt:has-text('3 March 2021')")
    assert page.locator("#board .flag").count() == 0
    page.click("#note [data-event=keep]")
    page.wait_for_selector("#board .flag")
    assert page.locator("#note .doubt").count() == 0


def test_nothing_that_identifies_is_left_anywhere(
    app: tuple[str, Path],
    tmp_path: Path,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    """Two hundred identifiers go in; after upload, cover, answer, flag and export none is found."""
    address, folder = app
    built = planted()
    file = tmp_path / built.file_name
    file.write_bytes(built.data)
    page = open_page(address)
    page.add_init_script(RECORDER)
    page.reload()
    page.wait_for_selector(STAGE)
    page.click("#notice [data-page=dismiss]")
    page.set_input_files("#viewer .viewer-files", str(file))
    page.wait_for_selector(f"{STAGE}[data-frame]")

    # Nothing is asked, and so nothing kept, before the banner was dealt with.
    page.click("#arms input")
    page.click("[role=option]:has-text('RARL alone')")
    page.fill("#question textarea", "Is there a mass?")
    page.press("#question textarea", "Enter")
    page.wait_for_selector("#board .trouble:has-text('burned into')")
    page.click("#viewer [data-do=accept]")
    page.click("#viewer [data-do=clean]:has-text('Everything is covered')")
    page.wait_for_selector("#viewer .viewer-notice", state="hidden")
    report_now = report(page)
    found = shown(page, *built.picture.shape[:2])
    covered = np.zeros(built.picture.shape[:2], bool)
    for left, top, right, bottom in report_now["masks"]:
        covered[top:bottom, left:right] = True
    banner = built.banner
    assert covered[banner.top : banner.bottom, banner.left : banner.right].all()
    expected = np.where(covered[:, :, None], 0, built.picture)
    assert np.array_equal(found, expected)

    page.wait_for_selector(".pill.ready")
    page.click("#viewer [data-do=see]")
    page.wait_for_selector("#seen figure")
    page.click("#seen [data-page=close]")
    page.click("#ask")
    page.wait_for_selector("#after [data-event=behind]:enabled")
    page.click("#board .flag")
    page.click("#flag-category label >> nth=0")
    page.click("#flag-severity label >> nth=0")
    page.fill("#flag-comment textarea", "The answer is not about this organ.")
    page.click("#flag-save")
    page.wait_for_selector("#note .done")
    page.click("#pages > .tab-wrapper [role=tab]:has-text('Review')")
    page.click("#flag-list [data-flag]")
    page.wait_for_selector("#case img")
    exports = []
    page.click("#review-tabs [role=tab]:has-text('Data')")
    for form in ("JSONL", "one row per flag"):
        page.click(f"#export-form label:has-text('{form}')")
        with page.expect_download() as download:
            page.click("#export-go")
        exports.append(Path(download.value.path()).read_bytes())
    assert all(b"not about this organ" in export for export in exports)

    left = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    left |= {f"export {number}": export for number, export in enumerate(exports)}
    left["page"] = page.content().encode()
    received = page.evaluate("window.received")
    left |= {f"response {n}": text.encode("latin-1") for n, text in enumerate(received)}
    assert any(b"SQLite format 3" in data for data in left.values())
    # The recorder heard the upload, the frames, and the events of the page.
    for mark in (b"/upload", b"/scan/frame", b"process_completed"):
        assert any(mark in data for name, data in left.items() if name.startswith("response"))
    everything = b"\0\0".join(left.values())
    hits = [
        identifier
        for identifier in built.identifiers
        if any(spelling in everything for spelling in spellings(identifier))
    ]
    assert not hits, [name for name, data in left.items() if hits[0].encode() in data]
    assert not [path for path in left if built.file_name in path]


def test_a_study_of_the_pacs_opens_like_a_file(
    app: tuple[str, Path],
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    """Found, fetched and shown, with covers proposed; nothing of it is written anywhere."""
    if not installed():
        missing(MISSING)
    address, folder = app
    built = planted()
    number = str(pydicom.dcmread(io.BytesIO(built.data)).AccessionNumber)
    page = open_page(address)
    page.fill("#pacs-number input", "no-such-number")
    page.press("#pacs-number input", "Enter")
    page.wait_for_selector("#pacs-found .trouble:has-text('has no study')")
    page.fill("#pacs-number input", number)
    page.click("#pacs-find")
    page.click("#pacs-found li button:has-text('US')")
    page.wait_for_selector(f"{STAGE}[data-frame]")
    page.wait_for_selector("#viewer .viewer-notice [data-do=accept]:visible")
    page.wait_for_selector("#scan-facts:has-text('From the PACS')")
    assert page.input_value("#pacs-number input") == ""
    assert page.locator("#pacs-found p").count() == 0
    everything = b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert b"Running on" in everything and PASSWORD.encode() not in everything
    for identifier in built.identifiers:
        assert not any(spelling in everything for spelling in spellings(identifier))

    # Who does not have the key is a visitor here, and no reader.
    page.context.clear_cookies()
    page.goto(address)
    page.wait_for_selector("#pacs-number input")
    page.fill("#pacs-number input", number)
    page.click("#pacs-find")
    page.wait_for_selector("#pacs-found .trouble:has-text('takes the role of reader')")


def test_files_chosen_before_the_modules_arrive_are_opened(
    address: str,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    page = open_page(address)
    held: list[Any] = []
    page.route("**/modules/*/main.js", lambda route: held.append(route))
    with page.expect_request("**/modules/*/main.js"):
        page.reload()
    page.wait_for_selector("#viewer .viewer-stage")
    page.set_input_files(
        "#viewer .viewer-files", str(ROOT / "demo" / "static" / "phantom-chest.png")
    )
    assert page.evaluate("window.RarlPage") is None
    for route in held:
        route.continue_()
    page.wait_for_selector("#viewer .viewer-stage[data-frame]")


def test_a_page_without_its_modules_says_so(
    address: str,
    open_page: Callable,  # type: ignore[type-arg]
) -> None:
    page = open_page(address)
    page.route("**/modules/*/main.js", lambda route: route.abort())
    page.reload()
    page.wait_for_selector("#out-of-reach:has-text('The page did not load completely')")


def test_frames_are_for_the_page_that_opened_them(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.click("[data-key=phantom-chest]")
    page.wait_for_selector(f"{STAGE}[data-frame]")
    token = page.get_attribute(STAGE, "data-token")
    place = f"{address}/scan/frame?plane=acquired&frame=0&time=0"

    def get(url: str, with_token: str | None) -> int:
        request = urllib.request.Request(url)
        if with_token is not None:
            request.add_header("X-Scan-Token", with_token)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                facts = json.loads(answer.headers["X-Frame"])
                count = facts["rows"] * facts["columns"] * np.dtype(facts["type"]).itemsize
                assert len(answer.read()) == count
                return int(answer.status)
        except urllib.error.HTTPError as error:
            assert error.headers["Cache-Control"] == "no-store"
            return error.code

    assert get(place, token) == 200
    assert get(place, None) == get(place, token[:-1]) == 404
    assert get(place.replace("frame=0", "frame=1"), token) == 404
    assert get(place.replace("acquired", "axial"), token) == 404
    assert get(place.replace("time=0", "time=x"), token) == 404
    # Another scan on the page: the first can no longer be read. (Examples are everybody's.)
    file = str(ROOT / "demo" / "static" / "phantom-chest.png")
    page.set_input_files("#viewer .viewer-files", file)
    page.wait_for_selector(f"{STAGE}[data-frame]:not([data-token='{token}'])")
    own = page.get_attribute(STAGE, "data-token")
    assert get(place, own) == 200
    page.click("#viewer .remove")
    page.wait_for_selector(f"{STAGE}[data-empty]")
    assert get(place, own) == 404


def test_on_a_phone_the_viewer_fits(address: str, open_page: Callable) -> None:  # type: ignore[type-arg]
    page = open_page(address)
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("[data-key=phantom-ct]")
    page.wait_for_selector(f"{STAGE}[data-frame]")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.evaluate("scrollTo(0, 0)")  # the example lies below the scan
    box = page.locator("#viewer canvas").bounding_box()
    assert box["width"] > 330 and box["height"] > 300

    # Two fingers zoom.
    fingers = page.context.new_cdp_session(page)
    fingers.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    before = float(page.get_attribute(STAGE, "data-scale"))
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for kind, apart in (("Start", 30), ("Move", 45), ("Move", 60)):
        points = [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"document.querySelector('{STAGE}').dataset.scale > {1.5 * before}")
