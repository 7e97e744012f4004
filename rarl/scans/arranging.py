"""Frames in the order of the body: sorted by position, and which way each axis runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarl.scans.part import Frame
from rarl.scans.spacing import same_spacing

_SAME_DIRECTION = 1e-2
_SAME_PLACE_MM = 1e-2
_UNEVEN = 0.1

UNEVEN = "The slices are not evenly spaced: only the plane they were acquired in is shown."
MIXED = "The slices repeat at some positions only: they are shown in the order of the series."


@dataclass(frozen=True, slots=True)
class Axis:
    """Where one patient axis runs in a volume of (frame, row, column).

    Attributes:
        index: 0 frames, 1 rows, 2 columns.
        forward: whether the index grows towards L, P or H.
    """

    index: int
    forward: bool


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How frames form a stack.

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


def arrange(frames: Sequence[Frame], shapes: Sequence[tuple[int, ...]]) -> Arrangement:
    """Sort frames by their position along the normal of their common plane (PS3.3 C.7.6.2).

    Args:
        frames: in the order of the file, or of the series by instance number.
        shapes: (rows, columns, ...) of each.

    Returns:
        The given order where positions are unknown, or the frames are not parallel.
    """
    as_given = Arrangement(tuple(range(len(frames))))
    first = frames[0]
    if first.right is None or first.down is None or len(frames) < 2 or len(set(shapes)) > 1:
        return as_given
    places: list[NDArray[np.float64]] = []
    for frame in frames:
        if frame.position is None or frame.right is None or frame.down is None:
            return as_given
        turn = np.subtract(frame.right + frame.down, first.right + first.down)
        if np.abs(turn).max() > _SAME_DIRECTION or not same_spacing(frame.spacing, first.spacing):
            return as_given
        places.append(np.array(frame.position))
    normal = np.cross(first.right, first.down)
    along = np.array(places) @ normal
    times = _times(frames, along)
    if times is None:
        return Arrangement(as_given.order, warning=MIXED)
    order = np.lexsort((along, times))
    count = int(times.max()) + 1
    each = len(frames) // count
    sorted_along = along[order]
    one = sorted_along[:each]
    gaps = np.diff(one)
    ready = tuple(int(index) for index in order)
    if each < 2:
        return Arrangement(ready, count)
    step = float(gaps.mean())
    offsets = np.array(places)[order[:each]] - np.outer(one, normal)
    sheared = np.ptp(offsets, axis=0).max() > max(0.5, _UNEVEN * step)
    if float(np.ptp(gaps)) > 2 * _UNEVEN * step or sheared:
        return Arrangement(ready, count, warning=UNEVEN)
    return Arrangement(ready, count, _axes(normal, first.down, first.right), step)


def _times(frames: Sequence[Frame], along: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """The time point of each frame; None where positions repeat unevenly."""
    stated = [frame.time for frame in frames]
    rounded = [round(float(place) / _SAME_PLACE_MM) for place in along]
    if all(time is not None for time in stated):
        times = [time or 0 for time in stated]
    else:
        seen: Counter[int] = Counter()
        times = []
        for place in rounded:
            times.append(seen[place])
            seen[place] += 1
    per_time: Counter[int] = Counter(times)
    if len(set(per_time.values())) > 1 or len(set(rounded)) != per_time[times[0]]:
        return None
    return np.unique(times, return_inverse=True)[1].astype(np.int64)


def _axes(
    normal: NDArray[np.float64], down: Sequence[float], right: Sequence[float]
) -> tuple[Axis, Axis, Axis]:
    """The nearest patient axis of each array axis, the clearest match first, each used once."""
    directions = np.array([normal, down, right])
    found: dict[int, Axis] = {}
    left = np.abs(directions)
    for _ in range(3):
        index, patient = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        found[patient] = Axis(index, bool(directions[index, patient] > 0))
        left[index, :] = left[:, patient] = -1
    return found[0], found[1], found[2]
