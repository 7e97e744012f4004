"""Slice geometry: sort frames by position and find the direction of each axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarl.scans.decoded_file import Frame, Part
from rarl.scans.spacing import same_spacing

_SAME_DIRECTION = 1e-2
_SAME_PLACE_MM = 1e-2
_UNEVEN = 0.1

_ONE_PLANE = "only the plane they were acquired in is shown"
UNEVEN = f"The slices are not evenly spaced: {_ONE_PLANE}."
MIXED = "The slices repeat at some positions only: they are shown in the order of the series."
BY_LOCATION = (
    "Not all slices say where they lie in the patient: they are in the order of their slice "
    f"location, and {_ONE_PLANE}."
)
BY_SERIES = (
    "Not all slices say where they lie in the patient: they are in the order of the series, and "
    f"{_ONE_PLANE}."
)


@dataclass(frozen=True, slots=True)
class Axis:
    """Direction of one patient axis in a volume of (frame, row, column).

    Attributes:
        index: 0 frames, 1 rows, 2 columns.
        forward: whether the index grows towards L, P or H.
    """

    index: int
    forward: bool


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Order and geometry of the frames of a stack.

    Attributes:
        order: indices of the frames, time by time, along the normal within each.
        times: how many time points; each has len(order) // times frames.
        axes: of L, P and H, where the frames form an even volume.
        step: mm between neighbouring frames of a volume, else None.
        warning: what kept the frames from forming a volume, where someone would expect one.
    """

    order: tuple[int, ...]
    times: int = 1
    axes: tuple[Axis, Axis, Axis] | None = None
    step: float | None = None
    warning: str | None = None


def in_series_order(parts: Sequence[Part]) -> list[Part]:
    """Parts by Instance Number, where all have one and they differ; else in the given order."""
    numbers = {part.number for part in parts}
    if None in numbers or len(numbers) < 2:
        return list(parts)
    return sorted(parts, key=lambda part: part.number or 0)


def parallel(first: Frame, second: Frame) -> bool:
    """Whether two frames with known directions lie in parallel planes, turned alike."""
    if first.right is None or first.down is None or second.right is None or second.down is None:
        return False
    turn = np.subtract(first.right + first.down, second.right + second.down)
    return bool(np.abs(turn).max() <= _SAME_DIRECTION)


def arrange(frames: Sequence[Frame], shapes: Sequence[tuple[int, ...]]) -> Arrangement:
    """Sort frames by their position along the normal of their common plane (PS3.3 C.7.6.2).

    Where positions are missing, Slice Location (PS3.3 C.7.6.2.1.2) gives the order.

    Args:
        frames: in the order of the file, or of the series by instance number.
        shapes: (rows, columns, ...) of each.

    Returns:
        The given order where neither is known, or the frames are not parallel.
    """
    as_given = Arrangement(tuple(range(len(frames))))
    first = frames[0]
    if len(frames) < 2 or len(set(shapes)) > 1:
        return as_given
    places: list[NDArray[np.float64]] = []
    for frame in frames:
        if frame.position is None or frame.right is None or frame.down is None:
            return _by_location(frames)
        if not parallel(first, frame) or not same_spacing(first.spacing, frame.spacing):
            return as_given
        places.append(np.array(frame.position))
    assert first.right is not None and first.down is not None  # asked of every frame
    normal = np.cross(first.right, first.down)
    along = np.array(places) @ normal
    times = _times(frames, along)
    if times is None:
        return Arrangement(as_given.order, warning=MIXED)
    order = np.lexsort((along, times))
    count = int(times.max()) + 1
    each = len(frames) // count
    sorted_along = along[order]
    first_group = sorted_along[:each]
    gaps = np.diff(first_group)
    ready = tuple(int(index) for index in order)
    if each < 2:
        return Arrangement(ready, count)
    step = float(gaps.mean())
    if float(np.ptp(gaps)) > 2 * _UNEVEN * step:
        return Arrangement(ready, count, warning=_uneven(gaps))
    offsets = np.array(places)[order[:each]] - np.outer(first_group, normal)
    if np.ptp(offsets, axis=0).max() > max(0.5, _UNEVEN * step):
        return Arrangement(ready, count, warning=_sheared(offsets, first_group))
    return Arrangement(ready, count, _axes(normal, first.down, first.right), step)


def _by_location(frames: Sequence[Frame]) -> Arrangement:
    """The order of frames of which some or all have no position."""
    partly = any(frame.position is not None for frame in frames)
    locations = [frame.location for frame in frames if frame.location is not None]
    if len(locations) < len(frames) or len(set(locations)) < 2:
        return Arrangement(tuple(range(len(frames))), warning=BY_SERIES if partly else None)
    along = np.array(locations)
    times = _times(frames, along)
    order = np.argsort(along, kind="stable") if times is None else np.lexsort((along, times))
    count = 1 if times is None else int(times.max()) + 1
    return Arrangement(tuple(int(index) for index in order), count, warning=BY_LOCATION)


def _uneven(gaps: NDArray[np.float64]) -> str:
    """The warning about uneven gaps, with the number of missing slices where that explains them."""
    usual = float(np.median(gaps))
    steps = gaps / usual if usual > 0 else gaps
    missing = int(np.rint(steps).sum()) - len(gaps)
    if missing < 1 or float(np.abs(steps - np.rint(steps)).max()) > _UNEVEN or steps.min() < 0.5:
        return UNEVEN
    return f"The slices are not evenly spaced ({missing} may be missing): {_ONE_PLANE}."


def _sheared(offsets: NDArray[np.float64], along: NDArray[np.float64]) -> str:
    """The warning about slices that do not lie straight behind each other, in mm."""
    length = float(along[-1] - along[0])
    slope = (offsets[-1] - offsets[0]) / length
    straight = offsets[0] + np.outer(along - along[0], slope)
    if np.abs(offsets - straight).max() > 0.5:
        return f"The slices are shifted against each other: {_ONE_PLANE}."
    angle = float(np.degrees(np.arctan(np.linalg.norm(slope))))
    return f"The slices are stacked at a slant of {angle:.0f} degrees (gantry tilt): {_ONE_PLANE}."


def _times(frames: Sequence[Frame], along: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The time point of each frame, as stated or counted; None where positions repeat unevenly."""
    places = [round(float(place) / _SAME_PLACE_MM) for place in along]
    stated = [frame.time for frame in frames if frame.time is not None]
    if len(stated) == len(frames) and _complete(stated, places):
        return np.unique(stated, return_inverse=True)[1].astype(np.int64)
    seen: Counter[int] = Counter()
    counted = []
    for place in places:
        counted.append(seen[place])
        seen[place] += 1
    return np.array(counted, np.int64) if _complete(counted, places) else None


def _complete(times: Sequence[int], places: Sequence[int]) -> bool:
    """Whether each time has each place once."""
    pairs = set(zip(times, places, strict=True))
    return len(pairs) == len(times) == len(set(times)) * len(set(places))


def _axes(
    normal: NDArray[np.float64], down: Sequence[float], right: Sequence[float]
) -> tuple[Axis, Axis, Axis]:
    """The nearest patient axis of each array axis, the clearest match first, each used once."""
    directions = np.array([normal, down, right])
    axes: dict[int, Axis] = {}
    left = np.abs(directions)
    for _ in range(3):
        index, patient = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        axes[patient] = Axis(index, bool(directions[index, patient] > 0))
        left[index, :] = left[:, patient] = -1
    return axes[0], axes[1], axes[2]
