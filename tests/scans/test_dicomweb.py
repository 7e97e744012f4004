"""Studies of a PACS: Orthanc as it should be, and servers on loopback that are not."""

from __future__ import annotations

import gzip
import io
import json
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from orthanc import MISSING, PASSWORD, USER, installed, orthanc
from planted import planted

from rarl.cli import main
from rarl.errors import PacsError
from rarl.scans import Limits, open_stack
from rarl.scans.dicomweb import Pacs
from rarl.settings import read_settings
from tests.browser.app_process import missing

FILES = Path(pydicom.data.__file__).parent / "test_files"
SERIES = sorted((FILES / "dicomdirtests/98892003/MR700").iterdir())
ACCESSION = "ACC.7"
PLANTED = planted()
SILENCE = 0.2


def _changed(path: Path, **values: str) -> bytes:
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pacs]:
    """A series of seven, a report in its study, and the file full of identifiers."""
    if not installed():
        missing(MISSING)
    named = {"AccessionNumber": ACCESSION, "PatientID": "1", "StudyInstanceUID": "1.2.826.7"}
    files = [_changed(path, **named) for path in SERIES]
    files.append(_changed(FILES / "reportsi.dcm", **named))
    with orthanc(tmp_path_factory.mktemp("orthanc"), [*files, PLANTED.data]) as url:
        yield Pacs(url, USER, PASSWORD)


def test_a_series_arrives_as_it_would_from_files(pacs: Pacs) -> None:
    (series,) = pacs.search(ACCESSION)  # the report is no picture
    assert (series.modality, series.images) == ("MR", len(SERIES))
    assert pacs.search("1.2.826.7") == (series,)
    found = open_stack(list(pacs.files(series)))
    expected = open_stack([path.read_bytes() for path in SERIES])
    assert found.frames() == expected.frames() == len(SERIES)
    for frame in range(len(SERIES)):
        plane = found.planes[0]
        assert np.array_equal(found.values(plane, frame), expected.values(plane, frame))
    assert (found.attributes, found.warnings) == (expected.attributes, expected.warnings)


def test_what_is_offered_and_opened_names_nobody(pacs: Pacs) -> None:
    dataset = pydicom.dcmread(io.BytesIO(PLANTED.data))
    (series,) = pacs.search(str(dataset.AccessionNumber))
    leaked = set(PLANTED.identifiers) & set(map(str, astuple(series)))
    # Its description is what people choose by; the two UIDs are what it is fetched by.
    needed = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SeriesDescription)
    assert leaked == set(map(str, needed))
    assert not [one for one in PLANTED.identifiers if one in repr(series)]
    stack = open_stack(list(pacs.files(series)))
    assert stack.text_likely
    assert not [one for one in PLANTED.identifiers if one in repr(stack.attributes)]


@pytest.mark.parametrize(
    ("wanted", "change", "limits", "sentence"),
    [
        ("1.2.3", {}, {}, "has no study of this"),
        ("", {}, {}, "Type a whole accession number"),
        ("A*", {}, {}, "Type a whole accession number"),
        (f"{ACCESSION},X", {}, {}, "Type a whole accession number"),
        (ACCESSION, {"password": "guessed"}, {}, "refuses the sign-in"),
        (ACCESSION, {"url": "http://127.0.0.1:1/dicom-web"}, {}, "cannot be reached"),
        (ACCESSION, {}, {"series_bytes": 2000}, "larger than 0 MB"),
        (ACCESSION, {}, {"entries": 3}, "more than 3 files"),
    ],
)
def test_a_refusal_is_one_sentence(
    pacs: Pacs, wanted: str, change: dict[str, str], limits: dict[str, int], sentence: str
) -> None:
    with pytest.raises(PacsError, match=sentence):
        (series,) = replace(pacs, **change).search(wanted)  # type: ignore[arg-type]
        list(pacs.files(series, Limits(**limits)))  # type: ignore[arg-type]


def test_the_command_line(
    pacs: Pacs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scan", "--study", ACCESSION]) == 2
    assert capsys.readouterr().err.startswith("No PACS is set")
    for name, value in (("", pacs.url), ("_USER", USER), ("_PASSWORD", PASSWORD)):
        monkeypatch.setenv(f"RARL_DICOMWEB{name}", value)
    assert main(["scan", "--study", ACCESSION, "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["series"], record["modality"], record["frames"]) == (1, "MR", len(SERIES))


@contextmanager
def _server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def _say(handler: BaseHTTPRequestHandler, body: bytes, kind: str, *, missing: int = 0) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) + missing))
    handler.end_headers()
    handler.wfile.write(body)


_JSON = "application/dicom+json"
_STUDY = {"0020000D": {"Value": ["1.2.3"]}, "00080050": {"Value": ["A"]}}
_PARTS = 'multipart/related; type="application/dicom"; boundary=x'
_PART = b"--x\r\nContent-Type: application/dicom\r\n\r\n1234"


@pytest.mark.parametrize(
    ("body", "kind", "sentence"),
    [
        (b"<html>", "text/html", "no DICOMweb server"),
        (b"{}", _JSON, "no DICOMweb server"),
        (b"[null]", _JSON, "no DICOMweb server"),
        (json.dumps([_STUDY] * 99).encode(), _JSON, "More than 10 studies"),
        (json.dumps([{**_STUDY, "00080050": {"Value": ["B"]}}]).encode(), _JSON, "has no study"),
        (json.dumps([{**_STUDY, "0020000D": {"Value": ["1/.."]}}]).encode(), _JSON, "no DICOMweb"),
        (b" " * 10_000_001, _JSON, "too much"),
    ],
)
def test_a_search_that_answers_nonsense(body: bytes, kind: str, sentence: str) -> None:
    with (
        _server(lambda handler: _say(handler, body, kind)) as url,
        pytest.raises(PacsError, match=sentence),
    ):
        Pacs(url).search("A")


@pytest.mark.parametrize(
    ("body", "kind", "missing", "sentence"),
    [
        (_PART, _PARTS, 9, "broke off"),
        (_PART, _PARTS, 0, "did not arrive whole"),
        (b"1234", _PARTS, 0, "did not arrive whole"),
        (b"1234", "text/plain", 0, "no DICOMweb server"),
    ],
)
def test_a_series_that_does_not_arrive(body: bytes, kind: str, missing: int, sentence: str) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.path.startswith("/studies?"):
            _say(handler, json.dumps([_STUDY]).encode(), _JSON)
        elif "?" in handler.path:
            series = [{"0020000E": {"Value": ["1.2.4"]}, "00080060": {"Value": ["CT"]}}]
            _say(handler, json.dumps(series).encode(), _JSON)
        else:
            _say(handler, body, kind, missing=missing)

    with _server(answer) as url:
        (series,) = Pacs(url).search("A")
        with pytest.raises(PacsError, match=sentence):
            list(Pacs(url).files(series))


def test_compressed_answers_are_not_unpacked() -> None:
    """Compressed twice, 300 bytes would become two hundred megabytes in memory."""
    packed = gzip.compress(gzip.compress(bytes(200_000_000), 9), 9)
    asked: list[str | None] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers["Accept-Encoding"])
        handler.send_response(200)
        handler.send_header("Content-Type", _JSON)
        handler.send_header("Content-Encoding", "gzip, gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with _server(answer) as url, pytest.raises(PacsError, match="compressed answers"):
        Pacs(url).search("A")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    assert asked == ["identity"]


def test_no_other_host_is_asked_and_silence_ends() -> None:
    asked: list[str] = []
    with _server(lambda handler: asked.append(handler.path)) as other:

        def elsewhere(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", other)
            handler.end_headers()

        with _server(elsewhere) as url, pytest.raises(PacsError, match="not followed"):
            Pacs(url, USER, PASSWORD).search("A")
        assert asked == []
    done = threading.Event()
    with _server(lambda _: bool(done.wait(60))) as url:
        with pytest.raises(PacsError, match="does not answer in time"):
            Pacs(url, patience=SILENCE).search("A")
        done.set()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"": "pacs.example.org"}, "must be the address"),
        ({"": "file:///etc/passwd"}, "must be the address"),
        ({"": "https://ada:secret@pacs.example.org"}, "holds a user or password"),
        ({"": "https://pacs.example.org", "_USER": "ada", "_TOKEN": "t"}, "not both"),
    ],
)
def test_settings_that_cannot_be_used(given: dict[str, str], sentence: str) -> None:
    environment = {f"RARL_DICOMWEB{name}": value for name, value in given.items()}
    with pytest.raises(PacsError, match=sentence) as refused:
        Pacs.from_settings(read_settings(environment))
    assert "secret" not in str(refused.value)
    assert Pacs.from_settings(read_settings({})) is None
