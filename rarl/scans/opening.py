"""Open files, archives and folders as a `Stack`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.companions import data_file_of, is_header, may_be_header
from rarl.scans.decoded_file import LeftOut, Part
from rarl.scans.decoder_pool import decode
from rarl.scans.files import first_bytes, size_of, whole_file
from rarl.scans.naming import harmless_name, is_system_file, natural_key
from rarl.scans.phi import process_secret
from rarl.scans.scan import Scan
from rarl.scans.series import PICTURES, Opened, separated
from rarl.scans.stack import Stack

_LONGEST_HEADER = 1 << 20


def open_stack(
    files: Sequence[bytes], limits: Limits | None = None, secret: bytes | None = None
) -> Stack:
    """Open one file, one zip archive, or the files of one series.

    DICOM (PS3.3 C.7.6.3, C.11.1, C.11.2; PS3.15 Annex E), NIfTI and Analyze, MetaImage, NRRD,
    FreeSurfer (MGH), PNG, JPEG, TIFF, WebP, BMP or AVIF, also gzipped, recognised by content. A
    header and its values may be two files. Several files of one DICOM series are sorted by
    position; of several series the largest is opened, and a warning says so and what was left out.

    Args:
        files: each file whole.
        limits: those of the settings where None.
        secret: the key that replaces identifiers by hashes; the process's own where None.

    Raises:
        ScanError: it cannot be opened; the sentence says what to do. Nothing else is raised,
            whatever the bytes.
    """
    return open_series(files, limits, secret).stack()


def open_stack_file(
    paths: Sequence[Path], limits: Limits | None = None, secret: bytes | None = None
) -> Stack:
    """Open files from disk, or a folder of them; sizes are checked before reading.

    See `open_stack`. One file is in memory at a time.

    Raises:
        ScanError: as for `open_stack`, or a file cannot be read. No sentence names the file, since
            file names often name patients.
    """
    return open_series_files(paths, limits, secret).stack()


def open_series(
    files: Sequence[bytes], limits: Limits | None = None, secret: bytes | None = None
) -> Opened:
    """Open files as all the series that they hold. See `open_stack`.

    Args:
        files: each file whole, in the natural order of their names.
        limits: see `open_stack`.
        secret: see `open_stack`.

    Raises:
        ScanError: as for `open_stack`.
    """
    return _open([_from_bytes(data) for data in files], limits or _limits(), secret)


def open_series_files(
    paths: Sequence[Path], limits: Limits | None = None, secret: bytes | None = None
) -> Opened:
    """Open files from disk, or folders of them, as all the series that they hold.

    Raises:
        ScanError: as for `open_stack_file`.
    """
    limits = limits or _limits()
    return _open(_from_paths(paths, limits), limits, secret)


def open_apart(
    files: Sequence[bytes],
    most: int,
    limits: Limits | None = None,
    secret: bytes | None = None,
) -> tuple[Opened, ...]:
    """Open files that are one series or, where they are a few, a scan each; none is decoded twice.

    Args:
        files: each file whole, in the natural order of their names.
        most: more files than these are never a scan each.
        limits: see `open_stack`; they hold for each scan by itself.
        secret: see `open_stack`.

    Returns:
        Everything in one where the files belong together, otherwise one for each file that can be
        opened. What cannot be opened is left out of the first.

    Raises:
        ScanError: as for `open_stack`.
    """
    limits = limits or _limits()
    sources = [_from_bytes(data) for data in files]
    decoded = _decoded(sources, limits, secret, apart=1 < len(sources) <= most)
    if not decoded.apart:
        return (decoded.together(),)
    opened: list[Opened] = []
    for parts in decoded.by_source.values():
        series, others = separated(parts)
        opened.append(Opened(series, (*(() if opened else decoded.left_out), *others)))
    return tuple(opened)


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


def _limits() -> Limits:
    """The limits of the settings."""
    # Here, since the processes that decode import this package as well, and need no settings.
    from rarl.settings import read_settings

    return read_settings().limit


def _first(stack: Stack) -> Scan:
    scan = stack.scan()
    frames = stack.frames() * stack.times
    if frames == 1:
        return scan
    warning = f"The file has {frames} frames: only the first is shown."
    return replace(scan, warnings=(*scan.warnings, warning))


@dataclass(frozen=True, slots=True)
class _Source:
    """One file, not read yet.

    Attributes:
        path: its name within what was chosen, "" where unknown.
        size: in bytes; None where that is unknown before it is read (a pipe).
        start: reads its first bytes.
        read: reads all of it.
    """

    path: str
    size: int | None
    start: Callable[[int], bytes]
    read: Callable[[], bytes]


def _from_bytes(data: bytes) -> _Source:
    return _Source("", len(data), lambda count: data[:count], lambda: data)


def _open(sources: list[_Source], limits: Limits, secret: bytes | None) -> Opened:
    return _decoded(sources, limits, secret).together()


@dataclass(frozen=True, slots=True)
class _Decoded:
    """What all files gave.

    Attributes:
        by_source: place of a file among those handed over to what was in it.
        left_out: files of which nothing can be shown.
        apart: whether each file is a scan of its own.
    """

    by_source: dict[int, list[Part]]
    left_out: list[LeftOut]
    apart: bool

    def together(self) -> Opened:
        """As what belongs together.

        Raises:
            ScanError: they are several plain pictures.
        """
        parts = [part for own in self.by_source.values() for part in own]
        if len(parts) > 1 and all(part.format in PICTURES for part in parts):
            raise ScanError(
                "These are several pictures and not one DICOM series; open each by itself."
            )
        series, others = separated(parts)
        return Opened(series, (*self.left_out, *others))


def _decoded(
    sources: list[_Source], limits: Limits, secret: bytes | None, apart: bool = False
) -> _Decoded:
    """Decode each file once.

    Args:
        sources: the files.
        limits: of one scan.
        secret: see `open_stack`.
        apart: whether each may be a scan of its own.
    """
    secret = secret or process_secret()
    by_source: dict[int, list[Part]] = {}
    left_out: list[LeftOut] = []
    refusals: list[ScanError] = []
    total = 0
    count = _Count(limits)
    for place, label, source in _paired(sources, left_out):
        try:
            if source.size is not None:
                limits.check_bytes(source.size)
            data = source.read()
            total += len(data)
            if total > limits.series_bytes:
                raise _TooMuchError(
                    f"The files are larger than {limits.series_bytes // 1_000_000} MB together; "
                    "upload the part of the series in question."
                )
            decoded, refused = decode(data, limits, secret)
        except _TooMuchError:
            raise
        except ScanError as refusal:
            refusals.append(refusal)
            left_out.append(LeftOut(label, _kind(refusal, source, limits), place))
            continue
        left_out += [replace(file, source=place) for file in refused]
        alone = len(decoded) == 1 and not decoded[0].name
        named = [replace(decoded[0], name=label)] if alone else decoded
        by_source[place] = [replace(part, source=place) for part in named]
        if not apart:
            count.add(decoded)
    if not by_source:
        raise refusals[0] if refusals else ScanError("There is no file in it; choose a scan.")
    if apart:
        apart = len(by_source) > 1 and not _one_series(by_source)
        for parts in by_source.values():
            count = _Count(limits) if apart else count
            count.add(parts)
    return _Decoded(by_source, left_out, apart)


def _one_series(by_source: dict[int, list[Part]]) -> bool:
    """Whether these belong into one stack: slices do, two projections do not."""
    series = {
        (part.series, part.attributes.get("ViewPosition"))
        for parts in by_source.values()
        for part in parts
    }
    return len(series) == 1 and next(iter(series))[0] is not None


class _Count:
    """Frames and pixels of one scan, checked as they come."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._frames = self._pixels = 0

    def add(self, parts: Sequence[Part]) -> None:
        """Count these too.

        Raises:
            ScanError: they are too many.
        """
        arrays = [array for part in parts for array in part.pixels]
        self._frames += len(arrays)
        self._pixels += sum(array.shape[0] * array.shape[1] for array in arrays)
        self._limits.check_frames(self._frames)
        self._limits.check_total(self._pixels)


class _TooMuchError(ScanError):
    """More than may be read in all, which no file alone is to blame for."""


def _kind(refusal: ScanError, source: _Source, limits: Limits) -> str:
    if source.size == 0:
        return "an empty file"
    if source.size is not None and source.size > limits.file_bytes:
        return "too large a file"
    return refusal.kind


def _paired(sources: list[_Source], left_out: list[LeftOut]) -> Iterator[tuple[int, str, _Source]]:
    """Each file's place, and a name that can be shown; headers together with their values.

    Args:
        sources: in the order in which they are to be read.
        left_out: takes the files of an operating system, which are not read.
    """
    if len(sources) == 1:
        yield 0, "", sources[0]
        return
    labelled = []
    for place, source in enumerate(sources):
        # Uploads have no names, and may be a choice of what was sent: no number either.
        label = harmless_name(source.path) or (f"file {place + 1}" if source.path else "")
        if is_system_file(source.path):
            left_out.append(LeftOut(label, "a system file", place))
        else:
            labelled.append((place, label, source))
    values: dict[int, _Source] = {}
    for _, _, source in labelled:
        if source.size is None or not 40 <= source.size <= _LONGEST_HEADER:
            continue
        if may_be_header(source.start(600)) and is_header(header := source.read()):
            others = [other for _, _, other in labelled if other is not source]
            data_file = data_file_of(header, source.path, [other.path for other in others])
            if data_file is not None:
                values[id(source)] = others[data_file]
    taken = {id(source) for source in values.values()}
    for place, label, source in labelled:
        if id(source) in values:
            yield place, label, _joined(source, values[id(source)])
        elif id(source) not in taken:
            yield place, label, source


def _joined(header: _Source, values: _Source) -> _Source:
    """A header and its values as one archive, which the decoding process puts together."""

    def read() -> bytes:
        buffer = BytesIO()
        with ZipFile(buffer, "w", ZIP_STORED) as archive:
            archive.writestr("header", header.read())
            archive.writestr("values", values.read())
        return buffer.getvalue()

    size = None if values.size is None else (header.size or 0) + values.size
    return _Source(header.path, size, header.start, read)


def _from_paths(paths: Sequence[Path], limits: Limits) -> list[_Source]:
    """The files meant, those of a folder in the natural order of their names."""
    files: list[tuple[str, Path]] = []
    with _readable():
        for path in paths:
            if not path.is_dir():
                files.append((path.name, path))
                continue
            for inside in path.rglob("*"):
                if inside.is_file() and not inside.is_symlink():
                    files.append((str(inside.relative_to(path)), inside))
                if len(files) > limits.entries:
                    raise ScanError(
                        f"The folder holds more than {limits.entries} files; choose one series."
                    )
        files.sort(key=lambda entry: natural_key(entry[0]))
        return [_from_path(name, path, limits) for name, path in files]


def _from_path(name: str, path: Path, limits: Limits) -> _Source:
    def start(count: int) -> bytes:
        with _readable():
            return first_bytes(path, count)

    def read() -> bytes:
        with _readable():
            return whole_file(path, limits)

    return _Source(name, size_of(path), start, read)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except ScanError:
        raise
    except FileNotFoundError:
        raise ScanError("There is no such file; check the name and the folder.") from None
    except (OSError, ValueError):
        raise ScanError("The file cannot be read; check that you may open it.") from None
