"""How large a file and its picture may be, and how a decoder's failure becomes one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rarl.errors import ScanError

_MEGA = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before anything is decoded.

    Attributes:
        file_bytes: largest file, in bytes.
        frame_pixels: most pixels (width x height) of the picture that is shown.
        total_pixels: most pixels of all frames together; only the first frame is ever decoded,
            so this may be larger than `frame_pixels`.
        smallest_side: fewest pixels of width and of height.
    """

    file_bytes: int = 200 * _MEGA
    frame_pixels: int = 100 * _MEGA
    total_pixels: int = 1000 * _MEGA
    smallest_side: int = 16

    def check_bytes(self, size: int) -> None:
        """Refuse an empty or overlong file.

        Raises:
            ScanError: `size` is 0 or above `file_bytes`.
        """
        if size == 0:
            raise ScanError("The file is empty; export the scan again and upload the new copy.")
        if size > self.file_bytes:
            raise ScanError(
                f"The file is larger than {self.file_bytes // _MEGA} MB; upload a single picture "
                "or export it at a smaller size."
            )

    def check_pixels(self, width: int, height: int, frames: int = 1) -> None:
        """Refuse a picture by the size its header announces, in pixels.

        Raises:
            ScanError: a side is below `smallest_side`, or the picture or all frames together
                have too many pixels.
        """
        side = self.smallest_side
        if width < side or height < side or frames < 1:
            raise ScanError(
                f"The picture is smaller than {side} x {side} pixels; upload it at its full size."
            )
        if width * height > self.frame_pixels:
            raise self.too_many_pixels()
        if width * height * frames > self.total_pixels:
            raise ScanError(
                f"The file holds more than {self.total_pixels // _MEGA} megapixels in all its "
                "frames; export the one frame in question and upload that."
            )

    def too_many_pixels(self) -> ScanError:
        """The refusal of an oversized picture."""
        return ScanError(
            f"The picture has more than {self.frame_pixels // _MEGA} megapixels; "
            "export it at a smaller size and upload that."
        )


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
