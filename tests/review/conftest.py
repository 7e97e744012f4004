"""A store of its own in each database, and a case as the app would make it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from PIL import Image

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import CaseSnapshot, ReviewStore, Shown, case_from
from rarl.review.store import open_store
from rarl.scans import Scan

# Orthanc is started by a module of another folder.
sys.path.append(str(Path(__file__).parents[1] / "scans"))

ARMS = (
    Arm("base", "Base", "000000000000"),
    Arm("sft", "SFT", "aaaaaaaaaaaa"),
    Arm("rl", "RL", "bbbbbbbbbbbb"),
    Arm("rarl", "RARL", "cccccccccccc"),
)

MakeCase = Callable[..., CaseSnapshot]


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server of the test run's own, reached by a socket in its folder."""

    programs: Path
    folder: Path
    user: str | None

    def run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments],
            user=self.user,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder}"
        # The machine is never switched off in a test, so the disk need not be waited for.
        options += " -c fsync=off"
        log = str(self.folder / "log")
        self.run("pg_ctl", "-D", "data", "-w", "-t", "300", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")

    def new_database(self) -> str:
        name = f"review_{uuid4().hex}"
        with psycopg.connect(
            host=str(self.folder), user="rarl", dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return f"postgresql://rarl@/{name}?host={self.folder}"


def _programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    programs = _programs()
    if programs is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed, and CI tests both databases")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    # The server refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="rarl-pg-"))
    if user is not None:
        shutil.chown(folder, user)
    running = Server(programs, folder, user)
    try:
        running.run("initdb", "-D", "data", "-U", "rarl", "-A", "trust", "-E", "UTF8", "--no-sync")
        running.start()
        yield running
        running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'review.sqlite3'}"
    running: Server = request.getfixturevalue("server")
    return running.new_database()


@pytest.fixture
def store(address: str) -> Iterator[ReviewStore]:
    opened = ReviewStore(address)
    yield opened
    opened.close()


@pytest.fixture
def home_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewStore]:
    """The store that the command line opens, with no setting of reports or databases."""
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "home"))
    for name in ("RARL_DATABASE_URL", "RARL_KEEP_UIDS", "RARL_DICOMWEB", "RARL_FHIR_SERVER"):
        monkeypatch.delenv(name, raising=False)
    opened = open_store()
    yield opened
    opened.close()


@pytest.fixture
def make_case() -> MakeCase:
    def make(
        question: str = "Is there a pneumothorax?",
        modality: str | None = "CR",
        *,
        pixel_seed: int = 3,
        blind: bool = False,
        sampled: bool = False,
        **more: str,
    ) -> CaseSnapshot:
        pixels = np.random.default_rng(pixel_seed).integers(0, 256, (40, 30), np.uint8)
        image = Image.fromarray(pixels)
        image.info["Patient"] = "Mustermann"
        texts = {
            "sft": "<think>The lungs are clear.</think><answer>no</answer>",
            "rl": "<answer>yes</answer>",
            "rarl": "<think>No line of the pleura.</think><answer>no</answer>",
            **more,
        }
        return case_from(
            Question(
                (NamedImage(image),), question, tuple(texts), decoding=Decoding(64, 0.7, 0.9, 5)
            ),
            [
                Answer(
                    arm,
                    parse_response(text),
                    12,
                    1.25,
                    done=True,
                    stopped=arm == "rl",
                    note="Memory ran out." if arm == "rarl" else "",
                )
                for arm, text in texts.items()
            ],
            arms=ARMS,
            model="pocket",
            prompt_hash="f" * 64,
            scan=Scan(image, "dicom", modality, {"ViewPosition": "PA"}),
            shown_order=("rarl", "sft", "rl"),
            shown=[
                Shown("axial", 3, 0, (40.0, 400.5), True, (1, 2, 30, 40), None, ((0, 0, 5, 5),))
            ],
            blind=blind,
            sampled=sampled,
        )

    return make
