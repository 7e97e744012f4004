"""Scans as they stand on a page, and what a page would report of them."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

from demo.session import OpenScan, Session
from demo.viewer import FrameServer, open_scan
from rarl.scans import Stack, open_stack


def stack_of(image: Image.Image | None = None) -> Stack:
    """A stack of one PNG; grey, 64 x 48, where no picture is given."""
    buffer = BytesIO()
    (image or Image.new("L", (64, 48), 90)).save(buffer, "PNG")
    return open_stack([buffer.getvalue()])


def scan_of(
    image: Image.Image | None = None, modality: str | None = None, reference: str | None = None
) -> OpenScan:
    """The same on a page."""
    frames = FrameServer()
    return open_scan(stack_of(image), frames, "Your scan", modality=modality, reference=reference)


def session_with(*scans: OpenScan) -> Session:
    """A session whose page shows these."""
    session = Session()
    for number, scan in enumerate(scans):
        session.show(scan, beside=number > 0)
    return session


def report_of(session: Session, **changes: Any) -> dict[str, Any]:
    """What a page reports that nobody has touched; `changes` go into every scan's entry."""
    return {
        "active": session.active.token if session.active else None,
        "scans": [
            {
                "token": scan.token,
                "role": scan.role,
                "plane": scan.view.plane,
                "frame": scan.view.frame,
                "time": 0,
                "window": None,
                "invert": False,
                "masks": [],
                "region": None,
                "decided": scan.decided,
                **changes,
            }
            for scan in session.scans
        ],
    }
