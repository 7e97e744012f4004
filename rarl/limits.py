"""Limits on files and pictures."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rarl.errors import ScanError

_MEGA = 1_000_000
_GZIP = b"\x1f\x8b"
_GZIP_FORMAT = 31  # zlib's number for gzip with the largest window


def _limit(default: float, unit: str, description: str) -> Any:
    """A limit with the unit and the description that the table of settings shows."""
    return field(default=default, metadata={"unit": unit, "description": description})


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on files and pictures, mostly checked before decoding.

    Each attribute is also a setting: `RARL_LIMIT_` and the attribute's name in capitals, in the
    same unit, for example `RARL_LIMIT_DECODE_SECONDS=60`. See `rarl.settings`.
    """

    file_bytes: int = _limit(200 * _MEGA, "bytes", "largest file")
    series_bytes: int = _limit(
        1000 * _MEGA,
        "bytes",
        "largest series, content of an archive, or decompressed content of a file",
    )
    frame_pixels: int = _limit(100 * _MEGA, "pixels", "largest frame, width x height")
    total_pixels: int = _limit(500 * _MEGA, "pixels", "largest sum of all frames")
    smallest_side: int = _limit(8, "pixels", "smallest width and height of a frame")
    frames: int = _limit(5000, "frames", "longest file or series")
    entries: int = _limit(5000, "files", "most files in an archive or a folder")
    expansion_ratio: int = _limit(
        200,
        "times",
        "how many times its own size an archive or compressed volume may unpack to; applies above "
        "`unsuspicious_bytes`, and not to what the header of a scan announces",
    )
    # Black slices and label maps compress a thousandfold.
    unsuspicious_bytes: int = _limit(64 * _MEGA, "bytes", "what may be unpacked whatever the ratio")
    decode_seconds: float = _limit(
        20.0, "seconds", "longest time to read a header or to decode one frame"
    )
    open_seconds: float = _limit(120.0, "seconds", "longest time to open a whole file")
    crowded_seconds: float = _limit(
        8.0, "seconds", "longest time to open a whole file while another person waits for a decoder"
    )

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
            ScanError: a side is below `smallest_side`, there are no or too many frames, or the
                picture or all frames together have too many pixels.
        """
        side = self.smallest_side
        if width < side or height < side:
            raise ScanError(
                f"The picture is smaller than {side} x {side} pixels; upload it at its full size."
            )
        if frames < 1:
            raise ScanError("The file says that it has no frames; export the scan again.")
        if width * height > self.frame_pixels:
            raise self.too_many_pixels()
        self.check_frames(frames)
        self.check_total(width * height * frames)

    def check_frames(self, frames: int) -> None:
        """Refuse more frames than `frames`, of a file or of a series.

        Raises:
            ScanError: there are more.
        """
        if frames > self.frames:
            raise ScanError(
                f"There are more than {self.frames} frames; export the part in question and "
                "upload that."
            )

    def check_total(self, pixels: int) -> None:
        """Refuse more pixels than `total_pixels`, all frames together.

        Raises:
            ScanError: there are more.
        """
        if pixels > self.total_pixels:
            raise ScanError(
                f"There are more than {self.total_pixels // _MEGA} megapixels in all frames "
                "together; export the part in question and upload that."
            )

    def check_expansion(self, packed: int, unpacked: int, announced: int = 0) -> None:
        """Refuse what unpacks to far more than it is, all in bytes.

        Args:
            packed: as it came.
            unpacked: as it becomes.
            announced: how much of `unpacked` the headers of the scans inside account for.

        Raises:
            ScanError: above `series_bytes`, or, leaving out what is announced, above both
                `unsuspicious_bytes` and `expansion_ratio` times the packed size.
        """
        if unpacked > self.series_bytes:
            raise ScanError(
                f"The file unpacks to more than {self.series_bytes // _MEGA} MB; upload the part "
                "in question."
            )
        if unpacked - announced > self.unsuspicious(packed):
            raise ScanError(
                f"The file unpacks to more than {self.expansion_ratio} times its size, which scans "
                "do not; upload the pictures themselves."
            )

    def unsuspicious(self, packed: int) -> int:
        """The bytes that anything of a packed size may unpack to."""
        return max(self.unsuspicious_bytes, self.expansion_ratio * packed)

    def inflated(
        self,
        stream: zlib._Decompress,
        packed: bytes,
        announced: Callable[[bytes], int] | None = None,
    ) -> bytes:
        """Decompress within the limits, and never by more than they allow.

        Args:
            stream: a fresh `zlib.decompressobj`. Of a gzip file, the members that follow the first
                are decompressed as well (RFC 1952, 2.2).
            packed: all of what it is to decompress.
            announced: from the beginning of the content to the bytes that its header announces.

        Raises:
            ScanError: it unpacks to too much, or is cut short.
            zlib.error: it is damaged.
        """
        most = min(self.unsuspicious(len(packed)), self.series_bytes) + 1
        pieces: list[bytes] = []
        size = foreseen = 0
        left = packed
        while True:
            piece = stream.decompress(left, most - size)
            pieces.append(piece)
            size += len(piece)
            if size >= most and announced is not None and not foreseen:
                foreseen = announced(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                most = min(self.unsuspicious(len(packed)) + foreseen, self.series_bytes) + 1
            if size >= most:
                break
            if not stream.eof:
                left = stream.unconsumed_tail
                if not left:
                    break
                continue
            left = stream.unused_data
            if not (packed.startswith(_GZIP) and left.startswith(_GZIP)):
                break
            stream = zlib.decompressobj(_GZIP_FORMAT)
        self.check_expansion(len(packed), size, min(foreseen, size))
        if not stream.eof:
            raise ScanError("The compressed file is cut short; send or compress it again.")
        return b"".join(pieces)

    def gunzip_start(self, packed: bytes, size: int) -> bytes:
        """The first bytes of a gzip file, whatever its members hold of them.

        Raises:
            zlib.error: it is damaged.
        """
        content = b""
        left = packed
        while len(content) < size and left.startswith(_GZIP):
            stream = zlib.decompressobj(_GZIP_FORMAT)
            content += stream.decompress(left, size - len(content))
            left = stream.unused_data
        return content

    def too_many_pixels(self) -> ScanError:
        """The refusal of an oversized picture."""
        return ScanError(
            f"The picture has more than {self.frame_pixels // _MEGA} megapixels; "
            "export it at a smaller size and upload that."
        )
