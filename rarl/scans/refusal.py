"""Map the failure of a decoder to one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rarl.errors import ScanError


@contextmanager
def refused_as(sentence: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a `ScanError` with this sentence.

    The decoders are written by others and raise nearly every type on damaged bytes; put only
    calls into them inside. `from None`: their messages quote the file, and the file names people.

    Raises:
        ScanError: with `sentence`, or unchanged where one was raised inside.
    """
    try:
        yield
    except ScanError:
        raise
    except Exception:
        raise ScanError(sentence) from None
