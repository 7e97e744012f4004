"""Overlay planes: where they lie, on which frames, and that they are part of no picture."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import drawn, saved
from pydicom.dataset import Dataset
from pydicom.pixels import pack_bits

from rarl.scans import Stack, open_stack

FRAMES = np.arange(3 * 20 * 16, dtype=np.uint16).reshape(3, 20, 16)
DRAWING = np.zeros((6, 10), np.uint8)
DRAWING[1:5, 2:9] = 1
DRAWING[2, 4] = 0


def add_overlay(
    dataset: Dataset, group: int, planes: np.ndarray, origin: list[int], first: int | None
) -> None:
    dataset.add_new((group, 0x0010), "US", planes.shape[-2])
    dataset.add_new((group, 0x0011), "US", planes.shape[-1])
    dataset.add_new((group, 0x0015), "IS", len(planes) if planes.ndim > 2 else 1)
    dataset.add_new((group, 0x0022), "LO", "Jane Doe")
    dataset.add_new((group, 0x0040), "CS", "G")
    dataset.add_new((group, 0x0050), "SS", origin)
    if first is not None:
        dataset.add_new((group, 0x0051), "US", first)
    dataset.add_new((group, 0x0100), "US", 1)
    dataset.add_new((group, 0x0102), "US", 0)
    dataset.add_new((group, 0x3000), "OW", pack_bits(planes))


def opened(*overlays: tuple[np.ndarray, list[int], int | None], **header: object) -> Stack:
    dataset = drawn(FRAMES, NumberOfFrames=3, **header)
    for number, (planes, origin, first) in enumerate(overlays):
        add_overlay(dataset, 0x6000 + 2 * number, planes, origin, first)
    return open_stack([saved(dataset)])


@pytest.mark.parametrize("origin", [(1, 1), (4, 3), (-1, 5), (18, 12), (40, 1)])
def test_a_plane_lies_where_its_origin_says(origin: tuple[int, int]) -> None:
    stack = opened((DRAWING, list(origin), None))
    expected = np.zeros((20, 16), bool)
    for row, column in np.argwhere(DRAWING):
        place = row + origin[0] - 1, column + origin[1] - 1
        if 0 <= place[0] < 20 and 0 <= place[1] < 16:
            expected[place] = True
    assert stack.overlaid == expected.any()
    for frame in range(3):  # a single plane without a frame of its own lies over all
        found = stack.overlay(frame=frame)
        assert np.array_equal(np.zeros_like(expected) if found is None else found, expected)


def test_planes_of_several_frames_and_groups_add_up() -> None:
    two = np.stack([DRAWING, DRAWING.T.repeat(2, 1)[:6, :10]])
    stack = opened((two, [1, 1], 2), (DRAWING, [10, 1], 3))
    assert stack.overlay(frame=0) is None
    second, third = stack.overlay(frame=1), stack.overlay(frame=2)
    assert second is not None and third is not None
    assert np.array_equal(second[:6, :10], two[0]) and not second[9:].any()
    assert np.array_equal(third[:6, :10], two[1])
    assert np.array_equal(third[9:15, :10], DRAWING)
    with pytest.raises(ValueError, match="no frame 3"):
        stack.overlay(frame=3)


def test_no_picture_has_the_overlay_in_it() -> None:
    with_overlay, without = opened((DRAWING, [1, 1], None)), opened()
    assert with_overlay.overlaid and not without.overlaid
    assert with_overlay.scan().image.tobytes() == without.scan().image.tobytes()
    assert any("not to the model" in sentence for sentence in with_overlay.warnings)
    assert "Doe" not in repr(vars(with_overlay)["attributes"])


def test_a_damaged_overlay_is_left_out() -> None:
    dataset = drawn(FRAMES, NumberOfFrames=3)
    add_overlay(dataset, 0x6000, DRAWING, [1, 1], None)
    add_overlay(dataset, 0x6002, DRAWING, [1, 1], None)
    dataset[0x6002, 0x0010].value = 6000  # far more rows than it has bits
    stack = open_stack([saved(dataset)])
    found = stack.overlay()
    assert found is not None and found.sum() == DRAWING.sum()


def test_it_is_stretched_with_pixels_that_are_not_square() -> None:
    stack = opened((DRAWING, [1, 1], None), PixelSpacing=[2, 1])
    found = stack.overlay()
    assert found is not None and found.shape == stack.values().shape == (40, 16)
    assert found.sum() == pytest.approx(2 * DRAWING.sum(), rel=0.2)
