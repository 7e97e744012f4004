"""Limits, archives and the decoding process."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from traps import picture, png_header, traps, volume, zipped

from rarl.errors import ScanError, SettingError
from rarl.scans import Limits, open_stack, open_stack_file, proposed_masks
from rarl.settings import read_settings

Find = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]


def test_every_trap_opens_or_is_refused_by_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    hostile = traps()
    caplog.clear()  # pydicom warns of the values that were written into them
    for number, data in enumerate(hostile):
        try:
            stack = open_stack([data])
        except ScanError as error:
            assert str(error).endswith(".") and "\n" not in str(error), number
        else:
            stack.scan()
    # No decoder raised what its reader did not foresee, died or had to be stopped.
    assert caplog.messages == []


def test_a_short_fuzz_run() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "fuzz_scans"), "--json"]
    run = subprocess.run(
        [*command, "--files", "330", "--seed", "3"], capture_output=True, text=True, check=False
    )
    found = json.loads(run.stdout.splitlines()[-1])
    assert run.returncode == 0 and run.stderr == ""
    assert found["opened"] + found["refused"] == 330 and found["opened"] > 30
    assert found["foreign_errors"] == found["hangs"] == 0


def test_a_decode_that_takes_too_long_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    buffer = BytesIO()
    noise = np.random.default_rng(1).integers(0, 256, (3000, 3000), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG", compress_level=1)
    with pytest.raises(ScanError, match=r"took longer than 0\.001 seconds and was stopped"):
        open_stack([buffer.getvalue()], Limits(decode_seconds=0.001))
    assert caplog.messages == ["decoder stopped: too slow"]
    assert open_stack([buffer.getvalue()]).frames() == 1  # and the next one is served


def decoders() -> list[psutil.Process]:
    """The decoding processes of this one."""
    return [
        child
        for child in psutil.Process().children()
        if child.status() != psutil.STATUS_ZOMBIE
        and any("rarl.scans.decoder_process" in word for word in child.cmdline())
    ]


def test_a_decoder_that_dies_takes_nothing_with_it() -> None:
    open_stack([picture("PNG")])
    workers = decoders()
    assert workers
    for worker in workers:
        worker.kill()
        worker.wait()
    assert open_stack([picture("PNG")]).frames() == 1


def _opened_in_a_daemon(path: Path, answers: multiprocessing.SimpleQueue) -> None:
    answers.put((multiprocessing.current_process().daemon, open_stack_file([path]).frames()))


def test_inside_a_daemonic_process(packaged: Find) -> None:
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(
        target=_opened_in_a_daemon, args=(packaged("MR_small.dcm"), answers), daemon=True
    )
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert answers.get() == (True, 1)


def test_the_decoding_process_knows_no_secret_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it was started with; a fresh one, by ending those that wait.
    for child in decoders():
        child.kill()
        child.wait()
    monkeypatch.setenv("RARL_DATABASE_URL", "postgresql://eva:secret@db/cases")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    open_stack([picture("PNG")])
    (worker,) = decoders()
    assert "secret" not in json.dumps(worker.environ())


@pytest.mark.parametrize(
    ("data", "limits", "says"),
    [
        (zipped(zipped(b"x")), Limits(), "an archive inside the archive"),
        (zipped(*[b"x"] * 6), Limits(entries=5), "more than 5 files"),
        (zipped(bytes(100_000_000)), Limits(), "more than 200 times its size"),
        (zipped(bytes(3_000_000)), Limits(series_bytes=2_000_000), "more than 2 MB"),
        (zipped(), Limits(), "no scan in the archive"),
        (zipped(b"note", b"<svg/>"), Limits(), "no scan in the archive"),
        (zipped(b"<svg/>"), Limits(), "a web page or drawing"),
        (zipped(picture("PNG"))[:-30], Limits(), "archive is damaged"),
        (gzip.compress(volume() + bytes(90_000_000), 1), Limits(), "more than 200 times"),
        (gzip.compress(volume())[:-9], Limits(), "cut short|damaged"),
        (volume((20, 20, 20)), Limits(frames=19), "more than 19 frames"),
        (volume((20, 20, 20)), Limits(total_pixels=7000), "megapixels in all frames together"),
        (png_header(9_000, 12_000), Limits(), "more than 100 megapixels"),
        (picture("TIFF", save_all=True, append_images=[Image.new("L", (9, 9))]), Limits(frames=1),
         "more than 1 frames"),
    ],
)  # fmt: skip
def test_limits(data: bytes, limits: Limits, says: str) -> None:
    with pytest.raises(ScanError, match=says):
        open_stack([data], limits)


def test_a_locked_archive() -> None:
    data = bytearray(zipped(picture("PNG")))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        struct.pack_into("<H", data, data.index(mark) + place, 1)
    with pytest.raises(ScanError, match="locked with a password"):
        open_stack([bytes(data)])


def test_an_entry_that_lies_about_its_size() -> None:
    data = bytearray(zipped(picture("PNG")))
    central = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 24, 40)
    with pytest.raises(ScanError, match="archive is damaged"):
        open_stack([bytes(data)])


def test_paths_in_archives_are_never_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zipfile

    monkeypatch.chdir(tmp_path)
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../../escaped.png", picture("PNG"))
    assert open_stack([buffer.getvalue()]).format == "png"
    assert not list(tmp_path.iterdir()) and not (tmp_path.parent.parent / "escaped.png").exists()


def test_pillow_warns_of_bombs_by_our_limit_and_the_warning_is_an_error() -> None:
    with pytest.raises(ScanError, match="more than 100 megapixels"):
        open_stack([png_header(10_001, 10_000)])  # Pillow warns; at twice the limit it refuses
    with pytest.raises(ScanError, match="damaged"):
        open_stack([png_header(9_999, 10_000)])  # beyond Pillow's own limit, within ours


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().limit == Limits()
    monkeypatch.setenv("RARL_LIMIT_FRAMES", "3")
    monkeypatch.setenv("RARL_LIMIT_DECODE_SECONDS", "2.5")
    limits = read_settings().limit
    assert (limits.frames, limits.decode_seconds) == (3, 2.5)
    with pytest.raises(ScanError, match="more than 3 frames"):
        open_stack([volume()])
    for wrong in ("many", "-1", "0", "inf"):
        monkeypatch.setenv("RARL_LIMIT_FRAMES", wrong)
        with pytest.raises(SettingError, match="RARL_LIMIT_FRAMES must be a whole number above 0"):
            read_settings()


def test_a_folder_of_too_many_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / str(number)).touch()
    with pytest.raises(ScanError, match="more than 3 files"):
        open_stack_file([tmp_path], Limits(entries=3))
    os.symlink("/etc/hostname", tmp_path / "link")
    with pytest.raises(ScanError, match="is empty"):
        open_stack_file([tmp_path])


def test_inflating_is_bounded() -> None:
    squeezed = gzip.compress(bytes(2_000_000))
    limits = Limits(unsuspicious_bytes=1000, expansion_ratio=10)
    with pytest.raises(ScanError, match="more than 10 times"):
        limits.inflated(zlib.decompressobj(31), squeezed)


def test_writing_is_looked_for_in_a_narrow_strip() -> None:
    strip = BytesIO()
    Image.new("RGB", (4000, 8)).save(strip, "PNG")
    assert proposed_masks(open_stack([strip.getvalue()])) == ()
