"""Files, archives and folders to a `Stack`, and any of them to its first picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rarl.errors import ScanError
from rarl.scans.decoding import decode
from rarl.scans.identity import process_secret
from rarl.scans.limits import Limits
from rarl.scans.part import Part
from rarl.scans.scan import Scan
from rarl.scans.stack import Stack, assemble


def open_stack(
    files: Sequence[bytes], limits: Limits | None = None, secret: bytes | None = None
) -> Stack:
    """Open one file, one zip archive, or the files of one series.

    DICOM (PS3.3 C.7.6.3, C.11.1, C.11.2; PS3.15 Annex E), NIfTI (also gzipped), PNG, JPEG, TIFF,
    WebP or BMP, recognised by content. Several files of one DICOM series are sorted by position;
    of several series the largest is opened, and a warning says so.

    Args:
        files: each file whole.
        limits: `Limits.from_environment()` where None.
        secret: the key that replaces identifiers by hashes; the process's own where None.

    Raises:
        ScanError: it cannot be opened; the sentence says what to do. Nothing else is raised,
            whatever the bytes.
    """
    return _open(files, limits or Limits.from_environment(), secret)


def open_stack_file(
    paths: Sequence[Path], limits: Limits | None = None, secret: bytes | None = None
) -> Stack:
    """Open files from disk, or a folder of them; sizes are checked before reading.

    See `open_stack`. One file is in memory at a time.

    Raises:
        ScanError: as for `open_stack`, or a file cannot be read. No sentence names the file, since
            file names often name patients.
    """
    limits = limits or Limits.from_environment()
    found = _files(paths, limits)
    return _open(_contents(found, limits), limits, secret)


def open_scan(data: bytes, limits: Limits | None = None) -> Scan:
    """Open a file as one picture: its first frame, as a workstation would present it.

    Raises:
        ScanError: as for `open_stack`.
    """
    return _first(open_stack([data], limits))


def open_scan_file(path: Path, limits: Limits | None = None) -> Scan:
    """Open a file from disk as one picture. See `open_scan` and `open_stack_file`.

    Raises:
        ScanError: as for `open_stack_file`.
    """
    return _first(open_stack_file([path], limits))


def _first(stack: Stack) -> Scan:
    scan = stack.scan()
    frames = stack.frames() * stack.times
    if frames == 1:
        return scan
    said = f"The file has {frames} frames: only the first is shown."
    return replace(scan, warnings=(*scan.warnings, said))


def _open(files: Iterable[bytes], limits: Limits, secret: bytes | None) -> Stack:
    secret = secret or process_secret()
    parts: list[Part] = []
    refusals: list[ScanError] = []
    left_out = total = pixels = frames = 0
    for data in files:
        total += len(data)
        if total > limits.series_bytes:
            raise ScanError(
                f"The files are larger than {limits.series_bytes // 1_000_000} MB together; "
                "upload the part of the series in question."
            )
        try:
            limits.check_bytes(len(data))
            found, refused = decode(data, limits, secret)
        except ScanError as refusal:
            refusals.append(refusal)
            continue
        left_out += refused
        parts += found
        frames += sum(len(part.pixels) for part in found)
        pixels += sum(array.shape[0] * array.shape[1] for part in found for array in part.pixels)
        limits.check_frames(frames)
        limits.check_total(pixels)
    if not parts:
        raise refusals[0] if refusals else ScanError("There is no file in it; choose a scan.")
    if len(parts) > 1 and any(part.format != "dicom" for part in parts):
        raise ScanError("These are several pictures and not one DICOM series; open each by itself.")
    left_out += len(refusals)
    said = [f"Left out, being no picture or damaged: {left_out} of the files."] if left_out else []
    return assemble(parts, said)


def _files(paths: Sequence[Path], limits: Limits) -> list[Path]:
    """The files meant, those of a folder in the order of their names."""
    found: list[Path] = []
    with _readable():
        for path in paths:
            if not path.is_dir():
                found.append(path)
                continue
            for inside in path.rglob("*"):
                if inside.is_file() and not inside.is_symlink():
                    found.append(inside)
                if len(found) > limits.entries:
                    raise ScanError(
                        f"The folder holds more than {limits.entries} files; choose one series."
                    )
    return sorted(found)


def _contents(paths: Sequence[Path], limits: Limits) -> Iterator[bytes]:
    for path in paths:
        with _readable():
            size = path.stat().st_size if path.is_file() else 1
            if len(paths) == 1:
                limits.check_bytes(size)
            # An oversized file among others is left out like any that cannot be opened.
            data = path.read_bytes() if size <= limits.file_bytes else b""
        yield data


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ScanError("There is no such file; check the name and the folder.") from None
    except (OSError, ValueError):
        raise ScanError("The file cannot be read; check that you may open it.") from None
