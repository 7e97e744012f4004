"""Describe the open scans to the page's script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from math import floor, log10
from typing import Any

from PIL import Image

from demo.session import OpenScan
from demo.viewer.measuring import drawing_spec
from rarl.scans import Box, Stack, View, Window

Preset = dict[str, Any]

# Centre and width in HU, as radiologists use them (radiopaedia.org, "Windowing (CT)").
_CT_PRESETS: tuple[Window, ...] = (
    Window(-600, 1500, "Lung"),
    Window(50, 350, "Mediastinum"),
    Window(400, 1800, "Bone"),
    Window(40, 80, "Brain"),
    Window(40, 40, "Stroke"),
    Window(50, 400, "Abdomen"),
)
_CT_LEVELS, _CT_WIDTHS = (-1024.0, 2000.0), (1.0, 4096.0)
_THUMBNAIL = 96
_FORMAT_NAMES = {"nifti": "NIfTI", "webp": "WebP", "metaimage": "MetaImage"}


def page_spec(scans: Sequence[OpenScan], active: OpenScan | None, serial: int) -> dict[str, Any]:
    """The viewer's value.

    Args:
        scans: in the order of the tray.
        active: the one to put on the stage.
        serial: any number that the last value did not have, so that the page notices an answer
            that changes nothing.
    """
    return {
        "scans": [_scan(scan) for scan in scans],
        "active": active.token if active else None,
        "serial": serial,
    }


def opening_view(stack: Stack) -> View:
    """Where a scan opens: a volume in its middle, anything else at its first frame."""
    plane = stack.planes[0]
    return View(plane, stack.frames(plane) // 2 if len(stack.planes) > 1 else 0)


def _scan(scan: OpenScan) -> dict[str, Any]:
    stack = scan.stack
    view = opening_view(stack)
    values = stack.values(view.plane, view.frame, view.time)
    low, high = float(values.min()), float(values.max())
    whole = values.dtype.kind in "iu" and high - low >= 50
    step = 1.0 if whole else 10.0 ** (floor(log10(max(high - low, 1e-9))) - 3)
    reach = max(high - low, step)
    hounsfield = stack.unit == "HU"
    presets = _presets(stack)
    return {
        "token": scan.token,
        "role": scan.role,
        "title": " ".join(
            word
            for word in (
                scan.modality or _FORMAT_NAMES.get(stack.format, stack.format.upper()),
                stack.attributes.get("BodyPartExamined", "").split(",")[0].capitalize(),
            )
            if word
        ),
        "planes": list(stack.planes),
        "frames": {plane: stack.frames(plane) for plane in stack.planes},
        "times": stack.times,
        "steps": {plane: stack.step(plane) for plane in stack.planes},
        "spacing": {plane: stack.spacing(plane) for plane in stack.planes},
        "color": stack.color,
        "unit": stack.unit,
        "overlay": stack.overlaid,
        "presets": presets,
        "preset": "file",
        "levels": _CT_LEVELS if hounsfield else (low - reach / 10, high + reach / 10),
        "widths": _CT_WIDTHS if hounsfield else (max(step, reach / 1000), 2 * reach),
        "step": step,
        "start": view.frame,
        "suspect": not scan.decided,
        "proposed": [_corners(box) for box in scan.proposed],
        "drawings": [drawing_spec(made) for made in scan.volume.measurements],
        "thumbnail": thumbnail_url(stack.scan(view).image),
    }


def _presets(stack: Stack) -> list[Preset]:
    """The file's own windows first, then automatic, then those of the modality."""
    found: list[Preset] = []
    found.append({"key": "file", "label": "As in the file", "window": None})
    for number, window in enumerate(stack.windows[1:], 2):
        label = window.name.capitalize() or f"Second window of the file ({number})"
        found.append(_preset(f"file-{number}", label, window))
    found.append({"key": "auto", "label": "Automatic, by this slice", "window": None})
    if stack.modality == "CT" and stack.unit == "HU":
        found += [_preset(window.name.lower(), window.name, window) for window in _CT_PRESETS]
    return found


def _preset(key: str, label: str, window: Window) -> Preset:
    return {"key": key, "label": label, "window": [window.center, window.width]}


def _corners(box: Box) -> list[int]:
    return [box.left, box.top, box.right, box.bottom]


def thumbnail_url(image: Image.Image) -> str:
    """A small copy of a picture inside its own address."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
