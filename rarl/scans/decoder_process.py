"""The decoder process, which may hang, crash or be killed without harm.

Started by `rarl.scans.decoder_pool` with this module as its program. It speaks in messages over its
standard input and output, loads no torch, writes nothing anywhere and ends with its parent.
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import struct
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import numpy as np

from rarl.errors import ScanError
from rarl.limits import Limits
from rarl.scans.decoded_file import LeftOut, Part
from rarl.scans.reading import read

LENGTH = struct.Struct("<Q")
"""Every message is this length in bytes, then as many bytes."""

TIMED_OUT = 1
"""Exit status where a step took longer than it may (`faulthandler` ends the process with it)."""


def serve(requests: BinaryIO, replies: BinaryIO, nothing: BinaryIO) -> None:
    """Answer requests until the input ends.

    A request is a pickled (limits, secret) and then the file. A reply is a pickled tuple: the
    sentence and kind of a `ScanError`; the name of any other exception's type; or the parts with
    their arrays taken out, the arrays' types and shapes, and the files left out, followed by each
    array's bytes.
    """
    while True:
        head = _receive(requests)
        if head is None:
            return
        limits, secret = pickle.loads(head)
        data = _receive(requests) or b""
        try:
            parts, left_out = read(data, limits, secret, _clock(limits, nothing))
        except ScanError as error:
            _send(replies, pickle.dumps((str(error), error.kind)))
        except BaseException as error:  # a Rust panic is no `Exception`; the parent waits
            _send(replies, pickle.dumps((type(error).__name__,)))
        else:
            _reply(replies, parts, left_out)
            del parts
        finally:
            faulthandler.cancel_dump_traceback_later()
        del data
        replies.flush()


def _clock(limits: Limits, nothing: BinaryIO) -> Callable[[], None]:
    """A function that gives the next step its time; a step that takes longer ends the process.

    `faulthandler` watches from a thread that needs no interpreter, so that a decoder stuck in C
    is ended as well, and so is one whose parent has gone.
    """
    end = time.monotonic() + limits.open_seconds

    def tick() -> None:
        left = max(0.001, min(limits.decode_seconds, end - time.monotonic()))
        faulthandler.dump_traceback_later(left, exit=True, file=nothing)

    return tick


def _reply(replies: BinaryIO, parts: list[Part], left_out: list[LeftOut]) -> None:
    shapes = [[(array.dtype.str, array.shape) for array in part.pixels] for part in parts]
    bare = [replace(part, pixels=()) for part in parts]
    _send(replies, pickle.dumps((bare, shapes, left_out)))
    for part in parts:
        for array in part.pixels:
            replies.write(np.ascontiguousarray(array).data.cast("B"))


def _receive(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    return stream.read(size)


def _send(stream: BinaryIO, message: bytes) -> None:
    stream.write(LENGTH.pack(len(message)))
    stream.write(message)


def main() -> None:
    """Serve on standard input and output; whatever decoders print goes nowhere."""
    warnings.simplefilter("ignore")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = open(os.devnull, "wb")  # noqa: SIM115 - open as long as the process lives
    os.dup2(nothing.fileno(), 1)
    serve(sys.stdin.buffer, replies, nothing)


if __name__ == "__main__":
    main()
