"""Read files from disk within limits, devices and pipes included."""

from __future__ import annotations

import os
import select
import stat
import time
from pathlib import Path

from rarl.errors import ScanError
from rarl.limits import Limits

_PIECE = 1 << 20
_PAUSE = 0.02


def size_of(path: Path) -> int | None:
    """Bytes of a regular file; None for a pipe, whose length nobody knows.

    Raises:
        ScanError: it is a device or a socket, which never ends or holds no file.
        OSError: it is not there or cannot be looked at.
    """
    status = path.stat()
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if stat.S_ISFIFO(status.st_mode):
        return None
    raise ScanError("This is a device and not a file; choose a scan.", "a device")


def first_bytes(path: Path, count: int) -> bytes:
    """The start of a regular file."""
    with path.open("rb") as file:
        return file.read(count)


def whole_file(path: Path, limits: Limits) -> bytes:
    """All of a file; never more than `limits.file_bytes` and one byte.

    Raises:
        ScanError: it is too large, or nothing comes through a pipe in time.
        OSError: it cannot be read.
    """
    if stat.S_ISFIFO(path.stat().st_mode):
        return _from_pipe(path, limits)
    with path.open("rb") as file:
        data = file.read(limits.file_bytes + 1)
    limits.check_bytes(len(data))
    return data


def _from_pipe(path: Path, limits: Limits) -> bytes:
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    end = time.monotonic() + limits.decode_seconds
    pieces: list[bytes] = []
    size = 0
    try:
        while size <= limits.file_bytes:
            try:
                piece = os.read(pipe, _PIECE)
                begun = bool(piece or pieces)
            except BlockingIOError:  # somebody writes, and has nothing yet
                piece, begun = b"", False
                select.select([pipe], [], [], max(0.0, end - time.monotonic()))
            if not piece and begun:
                break
            if piece:
                pieces.append(piece)
                size += len(piece)
                end = time.monotonic() + limits.decode_seconds
            elif time.monotonic() > end:
                raise ScanError(
                    f"Nothing came through the pipe for {limits.decode_seconds:g} seconds; save "
                    "the scan as a file."
                )
            else:
                time.sleep(_PAUSE)  # nobody has begun to write
    finally:
        os.close(pipe)
    limits.check_bytes(size)
    return b"".join(pieces)
