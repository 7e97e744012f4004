"""Where the session of a tab is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


@dataclass(frozen=True, slots=True)
class Place:
    """Where the session of one tab is kept, and the key to it, in memory while the tab is open."""

    folder: Path
    cipher: AESGCM
