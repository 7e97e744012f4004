"""Whatever the bytes: a `Scan`, or one sentence that names nobody."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from rarl.errors import ScanError
from rarl.scans import Scan, open_scan, open_scan_file

Find = Callable[[str], Path]
SECRET = "Eva Mustermann 24.12.1933"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7\n" + SECRET.encode(), "a PDF document"),
        (b"<?xml version='1.0'?><svg>" + SECRET.encode(), "a web page or drawing"),
        (b"\n  <!DOCTYPE html><html>", "a web page or drawing"),
        (b"\xef\xbb\xbf<svg xmlns='x'/>", "a web page or drawing"),
        (b"Patient: " + SECRET.encode(), "a text file"),
        (b"GIF89a" + bytes(50), "a GIF picture"),
        (b"II*\0" + bytes(50), "The picture is damaged"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "The picture is damaged"),
        (b"PK\x03\x04" + bytes(50), "The archive is damaged"),
        (b"\x1f\x8b" + bytes(50), "compressed file is damaged"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "a 7z archive"),
        (b"\0\0\0\x0cjP  " + bytes(50), "a JPEG 2000 picture"),
        (bytes(400), "no scan that can be opened"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", "no scan that can be opened"),
    ],
)
def test_other_files_get_one_sentence(data: bytes, says: str) -> None:
    with pytest.raises(ScanError) as caught:
        open_scan(data)
    sentence = str(caught.value)
    assert says in sentence and "\n" not in sentence and sentence.endswith(".")
    assert "Eva" not in sentence


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    disguised = tmp_path / f"{SECRET}.dcm"
    disguised.write_text(SECRET)
    with pytest.raises(ScanError, match="This is a text file") as caught:
        open_scan_file(disguised)
    assert "Eva" not in str(caught.value)
    buffer = BytesIO()
    Image.new("L", (20, 20)).save(buffer, "PNG")
    disguised.write_bytes(buffer.getvalue())
    scan = open_scan_file(disguised)
    assert scan.format == "png" and "Eva" not in repr(scan)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, says in (
        (tmp_path / SECRET, "There is no such file"),
        (tmp_path, "There is no file in it"),
        (Path("a\0b"), "cannot be read|no such file"),
    ):
        with pytest.raises(ScanError, match=says) as caught:
            open_scan_file(path)
        assert "Eva" not in str(caught.value)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(201_000_000)
    with pytest.raises(ScanError, match="larger than 200 MB"):
        open_scan_file(path)


def _seeds() -> list[bytes]:
    import pydicom.data

    folder = Path(pydicom.data.__file__).parent / "test_files"
    names = (
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "examples_overlay.dcm",
    )
    seeds = [(folder / name).read_bytes() for name in names]
    for kind in ("PNG", "JPEG"):
        buffer = BytesIO()
        Image.linear_gradient("L").resize((48, 48)).convert("RGB").save(buffer, kind)
        seeds.append(buffer.getvalue())
    values = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return [*seeds, buffer.getvalue()]


@pytest.mark.parametrize("seed", range(9))
def test_mutated_files_give_a_scan_or_a_sentence(seed: int) -> None:
    original = _seeds()[seed]
    source = random.Random(seed)
    for _ in range(60):
        data = bytearray(original)
        for _ in range(source.choice((1, 3, 20))):
            # Mostly the header, where a changed byte means something else.
            end = min(len(data), 2000) if source.random() < 0.8 else len(data)
            data[source.randrange(end)] = source.randrange(256)
        if source.random() < 0.3:
            del data[source.randrange(len(data)) :]
        _opens_or_refuses(bytes(data))


@hypothesis_settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"", bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]),
    st.binary(max_size=300),
)
def test_any_bytes_give_a_scan_or_a_sentence(start: bytes, rest: bytes) -> None:
    _opens_or_refuses(start + rest)


def _opens_or_refuses(data: bytes) -> None:
    try:
        scan = open_scan(data)
    except ScanError as error:
        assert str(error).endswith(".") and "\n" not in str(error)
        return
    assert isinstance(scan, Scan) and scan.image.mode in {"L", "RGB"}


def test_many_threads(packaged: Find) -> None:
    data = packaged("MR_small.dcm").read_bytes()
    with ThreadPoolExecutor(8) as pool:
        pictures = [np.asarray(scan.image) for scan in pool.map(open_scan, [data] * 32)]
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_torch_is_not_loaded() -> None:
    code = "import sys, rarl.scans; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
