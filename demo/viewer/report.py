"""Validate the viewer state that the browser sends."""

from __future__ import annotations

import math
from typing import Any

from demo.session import ROLES, OpenScan, Session
from demo.viewer.measuring import take_drawings
from rarl.errors import QuestionError
from rarl.scans import Box, View, Window

_MOST_MASKS = 100
_OUT_OF_STEP = "The page shows what is no longer open here; reload it and open the scan again."


def take_report(session: Session, report: object) -> None:
    """Bring the session's scans to what the page shows of them.

    Args:
        session: its scans are changed in place.
        report: `{active, scans: [{token, role, plane, frame, time, window, invert, masks, region,
            decided, drawings}]}` as the page sends it; anything may stand in it, since it comes
            from outside. Without `drawings`, those that are known stay.

    Raises:
        QuestionError: it does not fit the scans that are open.
    """
    if not session.scans:
        return
    try:
        entries = {str(entry["token"]): entry for entry in _map(report)["scans"]}
        read = [(scan, *_read(scan, _map(entries[scan.token]))) for scan in session.scans]
        roles = [str(entries[scan.token]["role"]) for scan in session.scans]
        for scan in session.scans:
            if "drawings" in entries[scan.token]:
                take_drawings(scan.volume, entries[scan.token]["drawings"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise QuestionError(_OUT_OF_STEP) from None
    if len(set(roles)) != len(roles) or not set(roles) <= set(ROLES):
        raise QuestionError(_OUT_OF_STEP)
    for (scan, view, masks, region), role in zip(read, roles, strict=True):
        scan.view, scan.masks, scan.region, scan.role = view, masks, region, role
        scan.decided = entries[scan.token]["decided"] is True  # of this plane, with these covers
    session.note_measurements()
    active = str(_map(report).get("active"))
    session.active = next((scan for scan in session.scans if scan.token == active), session.active)


def _map(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _read(scan: OpenScan, entry: dict[str, Any]) -> tuple[View, tuple[Box, ...], Box | None]:
    stack = scan.stack
    plane, frame, time = str(entry["plane"]), int(entry["frame"]), int(entry["time"])
    if plane not in stack.planes or not 0 <= time < stack.times:
        raise ValueError
    if not 0 <= frame < stack.frames(plane):
        raise ValueError
    rows, columns = stack.shape(plane, frame, time)
    window = None
    if entry["window"] is not None and not stack.color:
        center, width = (float(number) for number in entry["window"])
        if not (math.isfinite(center) and math.isfinite(width) and width > 0):
            raise ValueError
        window = Window(center, width)
    masks = tuple(_box(corners, columns, rows) for corners in entry["masks"])
    if len(masks) > _MOST_MASKS:
        raise ValueError
    region = None if entry["region"] is None else _box(entry["region"], columns, rows)
    return View(plane, frame, time, window, entry["invert"] is True), masks, region


def _box(corners: Any, columns: int, rows: int) -> Box:
    left, top, right, bottom = (int(corner) for corner in corners)
    if not (0 <= left < right <= columns and 0 <= top < bottom <= rows):
        raise ValueError
    return Box(left, top, right, bottom)
