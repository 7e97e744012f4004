"""`Stack`: an opened file, series or volume at full depth, and the picture of any slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rarl.scans.decoded_file import Frame, Part, VoiFunction
from rarl.scans.geometry import Axis, arrange, in_series_order
from rarl.scans.phi import Identifiers
from rarl.scans.scale import Scale
from rarl.scans.scan import Scan
from rarl.scans.spacing import same_spacing
from rarl.scans.windowing import (
    Values,
    Window,
    distinct,
    percentile_window,
    through_window,
    window_of,
)

NO_WINDOW = "The file gives no window: brightness and contrast were set from the picture itself."
BAD_WINDOW = (
    "The window in the file cannot be used: brightness and contrast were set from the picture."
)
NOT_SQUARE = "The pixels are not square: the proportions of the picture are not true."

OVERLAID = "The file has an overlay (drawing or text): it is shown to you, and not to the model."

ACQUIRED = "acquired"
# Patient axis of the slices, then of rows and columns and whether each grows towards L, P or H:
# axial from below, coronal from the front, sagittal from the left, head up (as workstations do).
_PLANES: dict[str, tuple[int, tuple[int, bool], tuple[int, bool]]] = {
    "axial": (2, (1, True), (0, True)),
    "coronal": (1, (2, False), (0, True)),
    "sagittal": (0, (2, False), (1, True)),
}
_LETTERS: dict[str, tuple[str, str, str, str]] = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "H", "F"),
    "sagittal": ("A", "P", "H", "F"),
}
_OPPOSITE = {"R": "L", "L": "R", "A": "P", "P": "A", "H": "F", "F": "H"}
_NEARLY_SQUARE = 1.01
_LARGEST_STRETCH = 32
_LONGEST_SIDE = 8192
_SAMPLED_FRAMES = 16


@dataclass(frozen=True, slots=True)
class Box:
    """Pixels of the displayed plane: columns left..right - 1, rows top..bottom - 1."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True, slots=True)
class View:
    """The plane, slice, time point and window that a reader has chosen.

    Attributes:
        plane: one of `Stack.planes`; "acquired" always stands for the first of them.
        frame: index within the plane, from 0.
        time: index of the time point, from 0.
        window: None for the file's own VOI, else automatic by percentile.
        invert: swap black and white, after what the file asks for.
    """

    plane: str = ACQUIRED
    frame: int = 0
    time: int = 0
    window: Window | None = None
    invert: bool = False


class Stack:
    """One opened file, series or volume, in memory at full depth and without identity.

    Every array and picture below shows the *displayed plane*: a plane whose pixels are not square
    is stretched along its coarser side (linear interpolation), so that proportions are true and
    `values`, `scan`, `Box` and `spacing` share one grid. Immutable; any thread may read it.

    Args:
        parts: of one series, in any order; sorted by position where positions are known.
        notes: further sentences for the reader.

    Attributes:
        parts: what it was made from.
        notes: see above.
        format: see `Part.format`.
        modality: DICOM Modality (CT, MR, CR, DX, US, ...), else None.
        attributes: what survives of the header, DICOM keyword to text (an allow-list).
        warnings: sentences the reader should see.
        planes: ("acquired",), followed for an even DICOM volume by "axial", "coronal" and
            "sagittal"; a research volume (NIfTI and its like) has these three alone.
        times: time points of every plane.
        color: whether frames are RGB, which knows no window.
        unit: of `values`: "HU", "Bq/ml", ... or "" for raw values.
        windows: VOI windows of the first frame.
        text_likely: whether text is, or often is, burned into the pixels of this kind: offer
            `proposed_masks`.
        study: keyed hash that all scans of one study share, where known.
        series: keyed hash that all scans of one series share, where known.
        overlaid: whether `overlay` draws over any frame.
        identifiers: keyed hashes of what identified someone in the header, for
            `identity_in_text`.
    """

    def __init__(self, parts: Sequence[Part], notes: Sequence[str] = ()) -> None:
        self.parts: tuple[Part, ...] = tuple(parts)
        self.notes: tuple[str, ...] = tuple(notes)
        ordered = in_series_order(parts)
        head = ordered[0]
        pixels = [array for part in ordered for array in part.pixels]
        frames = [frame for part in ordered for frame in part.frames]
        arrangement = arrange(frames, [array.shape for array in pixels])
        self._pixels: tuple[Values, ...] = tuple(pixels[index] for index in arrangement.order)
        self._frames: tuple[Frame, ...] = tuple(frames[index] for index in arrangement.order)
        bitmaps = [
            bitmap for part in ordered for bitmap in part.overlays or (b"",) * len(part.pixels)
        ]
        self._overlays = tuple(bitmaps[index] for index in arrangement.order)
        self.overlaid: bool = any(bitmaps)
        self._axes = arrangement.axes
        self._step = arrangement.step
        self._head = head
        self.times: int = arrangement.times
        self.format: str = head.format
        self.modality: str | None = head.modality
        # Of several files the series is kept, and not the image that happens to come first.
        first_alone = () if len(parts) == 1 else ("SOPInstanceUID", "SOPClassUID")
        self.attributes: Mapping[str, str] = {
            name: text for name, text in head.attributes.items() if name not in first_alone
        }
        self.color: bool = pixels[0].ndim == 3
        self.unit: str = head.unit
        self.text_likely: bool = any(part.text_likely for part in parts)
        self.study: str | None = head.study
        self.series: str | None = head.series
        self.identifiers: Identifiers = Identifiers(
            frozenset().union(*(part.identifiers for part in parts))
        )
        self.planes: tuple[str, ...] = (ACQUIRED,)
        if self._axes is not None:
            self.planes = (ACQUIRED, *_PLANES) if head.format == "dicom" else tuple(_PLANES)
        self.windows: tuple[Window, ...] = self._frames[0].windows
        self._overall = self._overall_window()
        self._window_serves = False
        if self._axes is not None:
            # Of a volume the middle decides: the air around it is rightly black all over.
            middle = len(self._pixels) // self.times // 2
            stored = _physical(self._pixels[middle], self._frames[middle])
            own = self._own_levels(distinct(stored)[0], self.planes[0], middle, 0)
            self._window_serves = own is not None
        warnings = list(dict.fromkeys(sentence for part in ordered for sentence in part.warnings))
        if self.overlaid:
            warnings.append(OVERLAID)
        if arrangement.warning:
            warnings.append(arrangement.warning)
        self.warnings: tuple[str, ...] = (*warnings, *self._own_warnings(), *notes)

    def __repr__(self) -> str:
        height, width = self._pixels[0].shape[:2]
        return (
            f"Stack({self.format!r}, {self.modality!r}, {width} x {height} pixels, "
            f"planes={self.planes}, frames={len(self._pixels) // self.times}, times={self.times})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels in memory."""
        return sum(array.nbytes for array in self._pixels)

    def frames(self, plane: str = ACQUIRED) -> int:
        """The number of frames of a plane.

        Raises:
            ValueError: the stack has no such plane.
        """
        if self._named(plane) == ACQUIRED:
            return len(self._pixels) // self.times
        return self._extent(self._axis(_PLANES[self._named(plane)][0]).index)

    def shape(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> tuple[int, int]:
        """Rows and columns of a frame as displayed, without reading its pixels.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        return _stretch(self.stored_shape(plane, frame, time), self._proportions(plane))

    def spacing(self, plane: str = ACQUIRED) -> tuple[float, float] | None:
        """Millimetres per pixel (between rows, between columns) of the displayed plane.

        None where the file does not say. For projection radiographs it is the distance at the
        detector, divided by the estimated magnification where the file gives one.
        """
        spacing = self._grid_spacing(plane)
        if spacing is None:
            return None
        rows, columns = self.shape(plane)
        height, width = self._grid_shape(plane)
        return spacing[0] * height / rows, spacing[1] * width / columns

    def step(self, plane: str = ACQUIRED) -> float | None:
        """Millimetres between neighbouring frames of a plane; None where they form no volume.

        Raises:
            ValueError: the stack has no such plane.
        """
        named = self._named(plane)
        given = self._frames[0].spacing
        if named == ACQUIRED or self._step is None or given is None:
            return self._step
        return (self._step, *given)[self._axis(_PLANES[named][0]).index]

    def letters(
        self, plane: str = ACQUIRED, frame: int | None = None
    ) -> tuple[str, str, str, str] | None:
        """Letters of the left, right, top and bottom edge: R, L, A, P, H or F.

        The patient axis nearest to each edge, so that head first and feet first come out the same
        as on a workstation.

        Args:
            plane: one of `planes`.
            frame: whose letters, where the frames of a series lie differently (localizers, radial
                slices); None for those that all frames share.

        Returns:
            None where the file does not say, or the frames differ and none is named.
        """
        named = self._named(plane)
        if named != ACQUIRED:
            return _LETTERS[named] if self._frames[0].toward else None
        asked = self._frames if frame is None else (self._frame_of(plane, frame, 0),)
        toward = {known.toward for known in asked}
        (first, *others) = toward
        if others or first is None:
            return None
        right, bottom = first
        return _OPPOSITE[right], right, _OPPOSITE[bottom], bottom

    def values(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> Values:
        """A frame after the modality LUT, as displayed.

        Returns:
            (height, width) int16, int32 or float32, in `unit`; or uint8 (height, width, 3).

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        return _stretched(self._grid(plane, frame, time), self._proportions(plane))

    def stored(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> Values:
        """A frame after the modality LUT on the file's own grid, which pixels that are not square
        leave as it is: what is measured is measured here.

        Returns:
            As for `values`.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        return self._grid(plane, frame, time)

    def stored_shape(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> tuple[int, int]:
        """Rows and columns of `stored`, without reading its pixels.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        if self._checked(plane, frame, time) != ACQUIRED:
            return self._grid_shape(plane)
        height, width = self._pixels[time * self._extent(0) + frame].shape[:2]
        return height, width

    def scales(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> tuple[Scale, ...]:
        """The sizes of the pixels of `stored`.

        An ultrasound picture has one for each region that it states (PS3.3 C.8.5.5). Otherwise
        PS3.3 10.7 decides, see `spacing_of`.

        Returns:
            None, one, or one for each region.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        named = self._checked(plane, frame, time)
        known = self._frame_of(plane, frame, time)
        if named == ACQUIRED and known.regions:
            return known.regions
        lengths = known.spacing if named == ACQUIRED else self._grid_spacing(plane)
        if lengths is not None:
            return (Scale(*lengths, at=known.at),)
        if named == ACQUIRED and known.aspect is not None:
            return (Scale(*known.aspect, in_mm=False, at="unknown"),)
        return ()

    def number(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> int | None:
        """The number of a frame in its file, see `Frame.number`; None for a reformatted plane.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        if self._checked(plane, frame, time) != ACQUIRED:
            return None
        return self._frame_of(plane, frame, time).number

    def overlay(
        self, plane: str = ACQUIRED, frame: int = 0, time: int = 0
    ) -> NDArray[np.bool_] | None:
        """The overlays of a frame, as displayed (height, width).

        For the eyes of who opened the file: it may spell out a name, and is no part of `scan`.

        Returns:
            None where nothing is drawn over the frame, and for reformatted planes.

        Raises:
            ValueError: the stack has no such plane, frame or time.
        """
        named = self._checked(plane, frame, time)
        index = time * self._extent(0) + frame
        if named != ACQUIRED or not self._overlays[index]:
            return None
        height, width = self._pixels[index].shape[:2]
        packed = np.frombuffer(self._overlays[index], np.uint8)
        bits = np.unpackbits(packed, count=height * width).reshape(height, width)
        shown: NDArray[np.bool_] = _stretched(bits * np.uint8(255), self._proportions(plane)) > 127
        return shown

    def auto_window(self, plane: str = ACQUIRED, frame: int = 0, time: int = 0) -> Window:
        """The window between the frame's 0.5 and 99.5 percentile, padding left out."""
        values = self._grid(plane, frame, time)
        low, high = percentile_window(self._without_padding(values, plane, frame, time))
        return window_of(low, high, self._head.function)

    @property
    def function(self) -> VoiFunction:
        """The VOI LUT function of the reader's window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
        return self._head.function

    @property
    def inverted(self) -> bool:
        """Whether low values are shown white (MONOCHROME1)."""
        return self._head.inverted

    def own_window(
        self, plane: str = ACQUIRED, frame: int = 0, time: int = 0
    ) -> tuple[Window, VoiFunction] | None:
        """The window, and how it maps values, of the picture that no chosen window gives.

        None where that picture comes from a VOI LUT, which no window describes.
        """
        values, _ = distinct(self.values(plane, frame, time))
        if self._own_levels(values, plane, frame, time) is None:
            window = self._overall or self.auto_window(plane, frame, time)
            return window, _LINEAR_OF[self._head.function]
        if self._head.lut is not None:
            return None
        return self._frame_of(plane, frame, time).windows[0], self._head.function

    def scan(self, view: View | None = None, masks: Sequence[Box] = ()) -> Scan:
        """The 8-bit picture of a view as it is shown, masks blacked out.

        The attributes name the window that was used, where it is not the file's own.
        """
        view = view or View()
        levels = self._levels(view)
        for box in masks:
            top, left = max(box.top, 0), max(box.left, 0)
            levels[top : max(box.bottom, top), left : max(box.right, left)] = 0
        attributes = dict(self.attributes)
        if view.window is not None and not self.color:
            attributes["WindowCenter"] = f"{view.window.center:g}"
            attributes["WindowWidth"] = f"{view.window.width:g}"
        return Scan(
            Image.fromarray(np.ascontiguousarray(levels)),
            self.format,
            self.modality,
            attributes,
            self.warnings,
        )

    def _named(self, plane: str) -> str:
        """The plane meant, `ACQUIRED` where frames are taken as they lie."""
        if plane == ACQUIRED:
            plane = self.planes[0]
        if plane not in self.planes:
            raise ValueError(f"no plane {plane!r}; there are {', '.join(self.planes)}")
        return plane

    def _checked(self, plane: str, frame: int, time: int) -> str:
        named = self._named(plane)
        if not 0 <= time < self.times:
            raise ValueError(f"no time point {time}; there are {self.times}")
        if not 0 <= frame < self.frames(named):
            raise ValueError(f"no frame {frame}; the plane has {self.frames(named)}")
        return named

    def _axis(self, patient: int) -> Axis:
        assert self._axes is not None  # `_named` let only a volume's planes pass
        return self._axes[patient]

    def _extent(self, index: int) -> int:
        if index == 0:
            return len(self._pixels) // self.times
        return int(self._pixels[0].shape[index - 1])

    def _grid_shape(self, plane: str) -> tuple[int, int]:
        named = self._named(plane)
        if named == ACQUIRED:
            height, width = self._pixels[0].shape[:2]
            return height, width
        _, (down, _), (right, _) = _PLANES[named]
        return self._extent(self._axis(down).index), self._extent(self._axis(right).index)

    def _grid_spacing(self, plane: str) -> tuple[float, float] | None:
        named = self._named(plane)
        given = self._frames[0].spacing
        if named == ACQUIRED or given is None:
            same = all(same_spacing(frame.spacing, given) for frame in self._frames)
            return given if same else None
        steps = (self._step or 1.0, *given)
        _, (down, _), (right, _) = _PLANES[named]
        return steps[self._axis(down).index], steps[self._axis(right).index]

    def _proportions(self, plane: str) -> tuple[float, float] | None:
        """Height and width of a pixel, in mm or, where only their ratio is known, in any unit."""
        spacing = self._grid_spacing(plane)
        if spacing is not None or self._named(plane) != ACQUIRED:
            return spacing
        given = self._frames[0].aspect
        same = all(same_spacing(frame.aspect, given) for frame in self._frames)
        return given if same else None

    def _grid(self, plane: str, frame: int, time: int) -> Values:
        """A frame after the modality LUT, on the grid of the file."""
        named = self._checked(plane, frame, time)
        start = time * self._extent(0)
        if named == ACQUIRED:
            return _physical(self._pixels[start + frame], self._frames[start + frame])
        through, (down, down_forward), (right, right_forward) = _PLANES[named]
        axis = self._axis(through)
        index = frame if axis.forward else self._extent(axis.index) - 1 - frame
        if axis.index == 0:
            cut = _physical(self._pixels[start + index], self._frames[start + index])
        else:
            span = range(start, start + self._extent(0))
            cut = np.stack(
                [
                    _physical(np.take(self._pixels[i], index, axis.index - 1), self._frames[i])
                    for i in span
                ]
            )
        rows, columns = self._axis(down), self._axis(right)
        if rows.index > columns.index:
            cut = np.swapaxes(cut, 0, 1)
        if rows.forward != down_forward:
            cut = cut[::-1]
        if columns.forward != right_forward:
            cut = cut[:, ::-1]
        return cut

    def _frame_of(self, plane: str, frame: int, time: int) -> Frame:
        """Header values of a frame; those of the volume's middle for a reformatted frame."""
        extent = self._extent(0)
        index = frame if self._named(plane) == ACQUIRED else extent // 2
        return self._frames[time * extent + index]

    def _without_padding(self, values: Values, plane: str, frame: int, time: int) -> Values:
        known = self._frame_of(plane, frame, time)
        if known.padding is None:
            return values
        low, high = sorted(known.slope * bound + known.intercept for bound in known.padding)
        kept = values[(values < low) | (values > high)]
        return kept if kept.size else values

    def _overall_window(self) -> Window | None:
        """One automatic window for all slices of a volume, so that they share one brightness."""
        count = len(self._pixels)
        if self.color or self._axes is None:
            return None
        sampled = range(0, count, max(1, count // _SAMPLED_FRAMES))
        extent = self._extent(0)
        pieces = []
        for index in sampled:
            values = _physical(self._pixels[index], self._frames[index])
            kept = self._without_padding(values, self.planes[0], index % extent, index // extent)
            flat = kept.reshape(-1)
            pieces.append(flat[:: max(1, flat.size // 30_000)])
        return window_of(*percentile_window(np.concatenate(pieces)), self._head.function)

    def _levels(self, view: View) -> NDArray[np.uint8]:
        grid = self._grid(view.plane, view.frame, view.time)
        spacing = self._proportions(view.plane)
        if self.color:
            shown: NDArray[np.uint8] = _stretched(grid, spacing).copy()
            return 255 - shown if view.invert else shown
        values, index = distinct(_stretched(grid, spacing))
        if view.window is not None:
            table = through_window(values, view.window, self._head.function)
        else:
            own = self._own_levels(values, view.plane, view.frame, view.time)
            if own is None:
                window = self._overall or self.auto_window(view.plane, view.frame, view.time)
                own = through_window(values, window, _LINEAR_OF[self._head.function])
            table = own
        if self._head.inverted != view.invert:
            table = 255 - table
        levels: NDArray[np.uint8] = table[index]
        return levels

    def _own_levels(
        self, values: Values, plane: str, frame: int, time: int
    ) -> NDArray[np.uint8] | None:
        """Grey levels by the file's VOI LUT or first window; None without a usable one.

        Black or white all over, though the picture is not uniform, is no better than no window.
        """
        head = self._head
        known = self._frame_of(plane, frame, time)
        if head.lut is not None:
            levels = np.frombuffer(head.lut.levels, np.uint8)
            place = np.clip(np.rint(values), head.lut.first, head.lut.first + levels.size - 1)
            table = levels[place.astype(np.int64) - head.lut.first]
        elif known.windows:
            table = through_window(values, known.windows[0], head.function)
        else:
            return None
        useless = not self._window_serves and table.size > 1 and table.min() == table.max()
        return None if useless else table

    def _own_warnings(self) -> list[str]:
        warnings: list[str] = []
        proportions = self._proportions(ACQUIRED)
        if proportions is not None:
            (height, width), shown = self._grid_shape(ACQUIRED), self.shape(ACQUIRED)
            rows = proportions[0] * height / shown[0]
            columns = proportions[1] * width / shown[1]
            # Half a pixel is as near as a stretched side can come.
            near = _NEARLY_SQUARE + 0.5 / min(self._grid_shape(ACQUIRED))
            if max(rows, columns) > near * min(rows, columns):
                warnings.append(NOT_SQUARE)
        if self.format == "dicom" and not self.color:
            values = distinct(self._grid(ACQUIRED, 0, 0))[0]
            if self._own_levels(values, ACQUIRED, 0, 0) is None:
                given = self.windows or self._head.lut or self._head.window_unusable
                warnings.append(BAD_WINDOW if given else NO_WINDOW)
        return warnings


# An automatic window is a range, whatever curve the file's own windows follow.
_LINEAR_OF: dict[VoiFunction, VoiFunction] = {
    "LINEAR": "LINEAR",
    "LINEAR_EXACT": "LINEAR_EXACT",
    "SIGMOID": "LINEAR_EXACT",
}


def _physical(stored: Values, frame: Frame) -> Values:
    """Stored values after the modality LUT (PS3.3 C.11.1): int16, int32 or float32; RGB as is."""
    if stored.dtype == np.uint8 and stored.ndim == 3:
        return stored
    slope, intercept = frame.slope, frame.intercept
    whole = slope.is_integer() and intercept.is_integer() and stored.dtype.kind in "iu"
    if whole and slope == 1 and intercept == 0 and stored.dtype.kind == "i":
        return stored if stored.itemsize > 1 else stored.astype(np.int16)
    if whole and stored.itemsize <= 2 and abs(slope) < 1 << 14 and abs(intercept) < 1 << 29:
        return stored.astype(np.int32) * int(slope) + int(intercept)
    if slope == 1 and intercept == 0 and stored.dtype == np.float32:
        return stored
    return (stored * slope + intercept).astype(np.float32)


def _stretch(shape: tuple[int, int], spacing: tuple[float, float] | None) -> tuple[int, int]:
    """Rows and columns of the displayed plane: square pixels, unless that would be enormous."""
    height, width = shape
    if spacing is None:
        return shape
    finest = min(spacing)
    if max(spacing) <= _NEARLY_SQUARE * finest or max(spacing) > _LARGEST_STRETCH * finest:
        return shape
    rows, columns = round(height * spacing[0] / finest), round(width * spacing[1] / finest)
    # The finer axis stays as it is, whatever its length; the other must stay reasonable.
    return (rows, columns) if max(rows, columns) <= max(_LONGEST_SIDE, *shape) else shape


def _stretched(values: Values, spacing: tuple[float, float] | None) -> Values:
    height, width = values.shape[:2]
    rows, columns = _stretch((height, width), spacing)
    for axis, (old, new) in enumerate(((height, rows), (width, columns))):
        if old == new:
            continue
        # Centres of the new pixels in units of the old ones; the edge pixels reach outwards.
        place = np.clip((np.arange(new, dtype=np.float32) + 0.5) * (old / new) - 0.5, 0, old - 1)
        below = place.astype(np.intp)
        weight = (place - below).reshape((-1, 1) if axis == 0 else (1, -1))
        weight = weight.reshape(weight.shape + (1,) * (values.ndim - 2))
        exact = np.float64 if values.dtype == np.int32 else np.float32
        low = np.take(values, below, axis).astype(exact)
        high = np.take(values, np.minimum(below + 1, old - 1), axis)
        mixed = low + (high - low) * weight
        values = (np.rint(mixed) if values.dtype.kind in "iu" else mixed).astype(values.dtype)
    return values
