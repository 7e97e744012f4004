"""Group opened files into series; set aside duplicates and unrelated slices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from rarl.scans.decoded_file import LeftOut, Part
from rarl.scans.geometry import parallel
from rarl.scans.spacing import same_spacing
from rarl.scans.stack import Stack, View

_FORMATS = {"nifti": "NIfTI", "metaimage": "MetaImage", "nrrd": "NRRD", "mgh": "FreeSurfer"}
_FEWEST_OF_A_STACK = 3
_NAMED_EACH = 3
_LISTED_SERIES = 8


@dataclass(frozen=True, slots=True)
class Series:
    """One series of what was opened together, to be chosen from a list.

    Attributes:
        description: of known words alone, "" where the files say none; see `series_description`.
        modality: DICOM Modality, None where there is none.
        format: see `Stack.format`.
        pictures: how many frames it has, all time points together.
        size: width and height of a frame in pixels.
        parts: its files.
        left_out: files that belong to it by their header and are not shown with it.
    """

    description: str
    modality: str | None
    format: str
    pictures: int
    size: tuple[int, int]
    parts: tuple[Part, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def title(self) -> str:
        """Modality or format, description and number of pictures, for a list.

        Such as "MR t2 tse tra, 24 slices".
        """
        kind = self.modality or _FORMATS.get(self.format, self.format.upper())
        width, height = self.size
        noun = "slices" if self.pictures > 1 else "picture"
        return f"{f'{kind} {self.description}'.strip()}, {self.pictures} {noun}, {width} x {height}"

    def stack(self, warnings: Sequence[str] = ()) -> Stack:
        """The series at full depth.

        Args:
            warnings: further sentences for the reader.
        """
        return Stack(self.parts, warnings)

    def thumbnail(self, side: int = 96) -> Image.Image:
        """Its middle picture, as the file presents it, at most `side` pixels wide and high."""
        middle = self.parts[len(self.parts) // 2]
        index = len(middle.pixels) // 2
        single = replace(
            middle,
            pixels=middle.pixels[index : index + 1],
            frames=middle.frames[index : index + 1],
            overlays=(),
        )
        image = Stack([single]).scan(View()).image
        image.thumbnail((side, side))
        return image


@dataclass(frozen=True, slots=True)
class Opened:
    """All that was opened together.

    Attributes:
        series: in the order of the files; at least one.
        left_out: files of no series, with what they are.
    """

    series: tuple[Series, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def largest(self) -> int:
        """The index of the series with the most pictures, the first of several."""
        return max(range(len(self.series)), key=lambda index: self.series[index].pictures)

    def stack(self, index: int | None = None) -> Stack:
        """One series, with sentences on what else there is and what was left out.

        Args:
            index: into `series`; the largest where None.
        """
        chosen = self.largest if index is None else index
        warnings = []
        left_out = (*self.left_out, *self.series[chosen].left_out)
        if left_out:
            warnings.append(left_out_sentence(left_out))
        if len(self.series) > 1:
            others = [other.title for number, other in enumerate(self.series) if number != chosen]
            more = len(others) - _LISTED_SERIES
            listed = "; ".join(others[:_LISTED_SERIES]) + (f"; and {more} more" if more > 0 else "")
            which = "the one with the most pictures" if index is None else "the chosen one"
            warnings.append(
                f"There are {len(self.series)} series: {which} is shown. The others: {listed}."
            )
        return self.series[chosen].stack(warnings)


def left_out_sentence(left_out: Sequence[LeftOut]) -> str:
    """One line on the files that are not shown, by what they are and by name.

    >>> left_out_sentence([LeftOut("logo.png", "a PNG picture"), LeftOut("IM2", "a localizer")])
    'Left out 2 files: a PNG picture (logo.png), a localizer (IM2).'
    """
    names: dict[str, list[str]] = {}
    for file in left_out:
        names.setdefault(file.kind, []).append(file.name)
    described = []
    for kind, called in names.items():
        known = [name for name in called if name][:_NAMED_EACH]
        more = len(called) - len(known)
        if known and more:
            known.append(f"{more} more")
        listed = ", ".join(known) or (f"{len(called)} files" if len(called) > 1 else "")
        described.append(f"{kind} ({listed})" if listed else kind)
    count = "1 file" if len(left_out) == 1 else f"{len(left_out)} files"
    return f"Left out {count}: {', '.join(described)}."


def separated(parts: Sequence[Part]) -> tuple[tuple[Series, ...], list[LeftOut]]:
    """Parts as series, and the pictures and copies that belong to none.

    Args:
        parts: in the natural order of their files.
    """
    kept, left_out = _without_copies(parts)
    if any(part.format not in PICTURES for part in kept):
        # Beside a scan a plain picture is a thumbnail or a logo.
        left_out += [
            _left_out(part, f"a {PICTURES[part.format]} picture")
            for part in kept
            if part.format in PICTURES
        ]
        kept = [part for part in kept if part.format not in PICTURES]
    groups: dict[tuple[object, ...], list[Part]] = {}
    for number, part in enumerate(kept):
        own = part.series or (None if part.format == "dicom" and len(kept) > 1 else number)
        kind = (part.format, part.study, own, part.modality, part.pixels[0].ndim, part.inverted)
        groups.setdefault(kind, []).append(part)
    series: list[Series] = []
    for group in groups.values():
        series += _even(group)
    return tuple(series), left_out


PICTURES = {
    "png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "webp": "WebP", "bmp": "BMP", "avif": "AVIF",
}  # fmt: skip


def _without_copies(parts: Sequence[Part]) -> tuple[list[Part], list[LeftOut]]:
    """Each object once: a second file of the same SOP Instance UID and place is a copy.

    Some programs give all objects of a series one UID. Files of one UID at different places, or of
    different pixels where no place tells, are therefore all kept.
    """
    seen: dict[str, list[Part]] = {}
    kept: list[Part] = []
    left_out: list[LeftOut] = []
    for part in parts:
        known = seen.setdefault(part.instance or "", []) if part.instance else []
        if any(_is_copy(part, other) for other in known):
            left_out.append(_left_out(part, "a copy of another file"))
            continue
        known.append(part)
        kept.append(part)
    return kept, left_out


def _is_copy(part: Part, other: Part) -> bool:
    first, second = part.frames[0], other.frames[0]
    if len(part.pixels) != len(other.pixels) or part.pixels[0].shape != other.pixels[0].shape:
        return False
    if part.series != other.series or part.number != other.number:
        return False
    if first.position != second.position or first.location != second.location:
        return False
    if first.position is not None and part.number is not None:
        return True
    return all(
        np.array_equal(mine, theirs) for mine, theirs in zip(part.pixels, other.pixels, strict=True)
    )


def _even(group: list[Part]) -> list[Series]:
    """A group of one series UID: the most that fit together, and the odd ones as their own."""
    by_size: dict[tuple[int, ...], list[Part]] = {}
    for part in group:
        by_size.setdefault(part.pixels[0].shape, []).append(part)
    sets = [members for same_size in by_size.values() for members in _by_direction(same_size)]
    largest = max(sets, key=lambda members: (_pictures(members), members[0].pixels[0].size))
    odd = tuple(
        _left_out(part, _why(part, largest[0]))
        for members in sets
        if members is not largest
        for part in members
    )
    return [_series(members, odd if members is largest else ()) for members in sets]


def _why(part: Part, usual: Part) -> str:
    """Why a file of a series is not shown with the others."""
    if part.localizer and not usual.localizer:
        return "a localizer"
    height, width = part.pixels[0].shape[:2]
    if (height, width) != usual.pixels[0].shape[:2]:
        return f"a slice of another size, {width} x {height} pixels"
    if not parallel(part.frames[0], usual.frames[0]):
        return "a slice in another direction"
    return "a slice of another pixel spacing"


def _by_direction(parts: list[Part]) -> list[list[Part]]:
    """The slices that lie as most do, and those that do not; all in one where none are most."""
    known = [part for part in parts if part.frames[0].right is not None]
    if any(len(part.frames) > 1 for part in parts) or len(known) < _FEWEST_OF_A_STACK:
        return [parts]
    clusters: list[list[Part]] = []
    for part in known:
        fitting = [cluster for cluster in clusters if _fits(part, cluster[0])]
        if fitting:
            fitting[0].append(part)
        else:
            clusters.append([part])
    most = max(clusters, key=len)
    if len(most) < _FEWEST_OF_A_STACK or 2 * len(most) <= len(known) or len(clusters) == 1:
        return [parts]
    odd = {id(part) for cluster in clusters if cluster is not most for part in cluster}
    return [
        [part for part in parts if id(part) not in odd],
        [part for part in parts if id(part) in odd],
    ]


def _fits(part: Part, other: Part) -> bool:
    first, second = part.frames[0], other.frames[0]
    alike = part.localizer == other.localizer
    return alike and parallel(first, second) and same_spacing(first.spacing, second.spacing)


def _left_out(part: Part, kind: str) -> LeftOut:
    return LeftOut(part.name, kind, part.source)


def _pictures(parts: Sequence[Part]) -> int:
    return sum(len(part.pixels) for part in parts)


def _series(parts: Sequence[Part], left_out: tuple[LeftOut, ...]) -> Series:
    head = parts[0]
    descriptions = Counter(part.description for part in parts)
    height, width = head.pixels[0].shape[:2]
    return Series(
        descriptions.most_common(1)[0][0],
        head.modality,
        head.format,
        _pictures(parts),
        (width, height),
        tuple(parts),
        left_out,
    )
