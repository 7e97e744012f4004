"""`Scan`: one picture of an opened file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True, slots=True)
class Scan:
    """One picture, ready to be shown and to be asked about. It carries no identity.

    Attributes:
        image: 8-bit "L" or "RGB", as a workstation would present it (width x height pixels).
        format: see `rarl.scans.decoded_file.Part.format`.
        modality: DICOM Modality (CT, MR, CR, DX, US, ...) or None for plain images.
        attributes: what survives of the header, DICOM keyword to text (an allow-list).
        warnings: sentences the reader should see (burned-in text likely, no window given, ...).
    """

    image: Image.Image
    format: str
    modality: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
