"""Orthanc, a PACS of Debian's packages, on loopback and out of a temporary folder."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

ORTHANC = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
MISSING = "Orthanc and its DICOMweb plugin are not installed (apt: orthanc, orthanc-dicomweb)."
USER, PASSWORD = "ada", "not-for-any-log"


def installed() -> bool:
    """Whether it can be started here."""
    return ORTHANC is not None and PLUGIN.is_file()


@contextmanager
def orthanc(folder: Path, files: Iterable[bytes]) -> Iterator[str]:
    """Start it with these DICOM files in it; yields the address of its DICOMweb service."""
    assert ORTHANC is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "store"),
        "IndexDirectory": str(folder / "store"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(PLUGIN)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen(
            [ORTHANC, "orthanc.json"], cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{port}", auth=(USER, PASSWORD), timeout=30
            ) as client:
                _wait(client, process)
                for file in files:
                    client.post("/instances", content=file).raise_for_status()
            yield f"http://127.0.0.1:{port}/dicom-web"
        finally:
            process.kill()
            process.wait()


def _wait(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            client.get("/system").raise_for_status()
            return
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < deadline, "Orthanc did not start"
            time.sleep(0.05)
