"""Signed reports go to a PACS (Orthanc) and to a FHIR server, and to nobody else."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pydicom
import pytest
from fhir.resources.R4B.bundle import Bundle
from orthanc import MISSING, PASSWORD, USER, installed, orthanc

from rarl.cli import main
from rarl.errors import PacsError, RarlError, ReviewError
from rarl.records import CaseSnapshot, Report
from rarl.reports import Reports, with_kept
from rarl.reports.fhir import as_bundle
from rarl.reports.sending import FhirServer, send_to_fhir, send_to_pacs
from rarl.review import ReviewStore
from rarl.scans.dicomweb import Pacs
from rarl.settings import read_settings
from tests.browser.app_process import missing

MakeCase = Callable[..., CaseSnapshot]
TOKEN = "not-for-any-log"


@dataclass
class Stub:
    """A server on loopback that answers with one status, and remembers what it was sent."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""
    paths: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    sent: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def stub(status: int, **headers: str) -> Iterator[Stub]:
    state = Stub(status, headers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            state.paths.append(self.path)
            state.sent.append({name.lower(): text for name, text in self.headers.items()})
            state.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(state.status)
            for name, text in state.headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/base"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def store(home_store: ReviewStore) -> ReviewStore:
    return home_store


@pytest.fixture
def case(store: ReviewStore, make_case: MakeCase) -> CaseSnapshot:
    made = make_case()
    store.add_case(made)
    return made


@pytest.fixture
def draft(store: ReviewStore, case: CaseSnapshot) -> Report:
    return Reports(store.for_person("bo", "reader")).begin(case.id)


@pytest.fixture
def signed(store: ReviewStore, draft: Report) -> Report:
    report = draft
    for sentence in draft.undecided():
        report = with_kept(report, sentence.key)
    return Reports(store.for_person("bo", "reader")).sign(report)


def test_orthanc_takes_the_report_and_its_picture(
    tmp_path: Path,
    case: CaseSnapshot,
    signed: Report,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not installed():
        missing(MISSING)
    with orthanc(tmp_path, []) as url:
        monkeypatch.setenv("RARL_DICOMWEB", url)
        monkeypatch.setenv("RARL_DICOMWEB_USER", USER)
        monkeypatch.setenv("RARL_DICOMWEB_PASSWORD", PASSWORD)
        for _ in range(2):  # what is sent again is stored once
            assert main(["review", "report", case.id, "--send", "pacs"]) == 0
        assert "sent to pacs" in capsys.readouterr().out
        client = httpx.Client(auth=(USER, PASSWORD), timeout=30)
        root = url.removesuffix("/dicom-web")
        names = client.get(f"{root}/instances").json()
        stored = [
            pydicom.dcmread(io.BytesIO(client.get(f"{root}/instances/{name}/file").content))
            for name in names
        ]
    assert sorted(one.Modality for one in stored) == ["CR", "SR"]
    document = next(one for one in stored if one.Modality == "SR")
    assert document.VerificationFlag == "VERIFIED"
    assert len({one.StudyInstanceUID for one in stored}) == 1


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "refuses the sign-in"),
        (404, "takes no files over DICOMweb"),
        (409, "did not store all"),
        (202, "did not store all"),
        (302, "sends elsewhere"),
        (500, "HTTP status 500"),
    ],
)
def test_a_pacs_that_does_not_take_it(status: int, sentence: str) -> None:
    with stub(status, Location="http://127.0.0.1:9/") as server, pytest.raises(
        PacsError, match=sentence
    ):  # fmt: skip
        Pacs(server.url).store([b"x"])
    assert server.paths == ["/base/studies"]
    assert server.sent[0]["content-type"].startswith('multipart/related; type="application/dicom"')


def test_a_fhir_server_gets_the_bundle(
    case: CaseSnapshot,
    signed: Report,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with stub(200) as server:
        monkeypatch.setenv("RARL_FHIR_SERVER", server.url)
        monkeypatch.setenv("RARL_FHIR_TOKEN", TOKEN)
        assert main(["review", "report", case.id, "--send", "fhir"]) == 0
    assert "sent to fhir" in capsys.readouterr().out
    (body,), (headers,) = server.bodies, server.sent
    assert server.paths == ["/base"]
    assert headers["content-type"] == "application/fhir+json"
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert body.decode("utf-8") == as_bundle(signed, case)
    bundle = Bundle.model_validate(json.loads(body))
    assert bundle.type == "transaction" and bundle.entry[0].resource.status == "final"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "refuses the token; check RARL_FHIR_TOKEN"),
        (404, "no FHIR server that takes bundles there"),
        (302, "sends elsewhere"),
        (422, "HTTP status 422"),
        (500, "HTTP status 500"),
        (204, "HTTP status 204"),
    ],
)
def test_a_fhir_server_that_does_not_take_it(status: int, sentence: str) -> None:
    with stub(status, Location="http://127.0.0.1:9/") as server, pytest.raises(
        ReviewError, match=sentence
    ) as refused:  # fmt: skip
        FhirServer(server.url, TOKEN).post("{}")
    assert len(server.paths) == 1 and TOKEN not in str(refused.value)


def test_a_fhir_server_that_is_not_there() -> None:
    with stub(200) as server:
        pass
    with pytest.raises(ReviewError, match="cannot be reached; check RARL_FHIR_SERVER"):
        FhirServer(server.url).post("{}")


@pytest.mark.parametrize(
    "address", ["fhir.example.org", "ftp://a/b", "http://", "https://u:p@a/b", "https://a/b?c=d"]
)
def test_an_address_that_cannot_be_used(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_FHIR_SERVER", address)
    with pytest.raises(ReviewError, match="RARL_FHIR_SERVER must be"):
        FhirServer.from_settings(read_settings())


def test_what_is_not_signed_or_has_no_server_is_not_sent(
    case: CaseSnapshot, draft: Report, signed: Report
) -> None:
    settings = read_settings()
    for send in (send_to_pacs, send_to_fhir):
        with pytest.raises(ReviewError, match="sign it first"):
            send(draft, case, settings)
    with pytest.raises(RarlError, match="set RARL_DICOMWEB"):
        send_to_pacs(signed, case, settings)
    with pytest.raises(RarlError, match="set RARL_FHIR_SERVER"):
        send_to_fhir(signed, case, settings)
    assert "RARL_FHIR_TOKEN" not in repr(settings) and FhirServer.from_settings(settings) is None
