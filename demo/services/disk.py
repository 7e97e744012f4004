"""Reserve disk space for an upload before its first byte is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Lock


class Disk:
    """Promises room for uploads, so that several at once cannot take what is kept free."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._promised = 0

    @property
    def promised(self) -> int:
        """Bytes that are being written, or may be."""
        return self._promised

    def reserve(self, folder: Path, length: int, kept_free: int) -> bool:
        """Promise room for so many bytes; `release` gives it back.

        What is already written of a promise counts twice, on the safe side.

        Args:
            folder: where they are written.
            length: bytes.
            kept_free: bytes that shall stay free whatever comes.

        Returns:
            Whether there is room.
        """
        with self._lock:
            if shutil.disk_usage(folder).free < kept_free + self._promised + length:
                return False
            self._promised += length
        return True

    def release(self, length: int) -> None:
        """End a promise: the bytes are on the disk, and count there, or do not come."""
        with self._lock:
            self._promised = max(0, self._promised - length)
