"""The leakage check, on drawn images."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarl.data.example import Example, ImageRef, Split
from rarl.data.leakage import Group, difference_hash, shared
from rarl.errors import DataError


def drawn(seed: int) -> Image.Image:
    """A smooth random picture; two seeds are far apart for the difference hash."""
    noise = np.random.default_rng(seed).integers(0, 255, (9, 10), dtype=np.uint8)
    return Image.fromarray(noise).resize((90, 80), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def row(
    key: str | None, data: bytes = b"", split: Split = "train", question: str = "Is it?"
) -> Example:
    return Example(
        id=f"{split}/{key}/{question}",
        image=None if key is None else ImageRef(key, data=data),
        question=question,
        answer="yes",
        explanation=None,
        kind="closed",
        modality=None,
        organ=None,
        facts=(),
        source="drawn",
        licence="CC0-1.0",
        split=split,
    )


def test_hash_of_a_ramp_is_all_ones_and_of_a_flat_image_none() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 180, 2, dtype=np.uint8), (80, 1)))
    assert difference_hash(encoded(ramp)) == 2**64 - 1
    assert difference_hash(encoded(Image.new("L", (90, 80), 7))) == 0


def test_what_is_shared_is_told_apart() -> None:
    one, two, three = drawn(1), drawn(2), drawn(3)
    report = shared(
        [
            row("one", encoded(one)),
            row("two", encoded(two)),
            row("three", encoded(three)),
            row("one", encoded(one), "test", "is IT ?"),
            row("copy of two", encoded(two.convert("RGB")), "test"),
            row("three again", encoded(three, "JPEG", quality=60), "test"),
            row("four", encoded(drawn(4)), "test"),
        ]
    )
    (overlap,) = report.overlaps
    assert overlap.first == Group("drawn", "train")
    assert overlap.second == Group("drawn", "test")
    assert overlap.images == ("one",)
    assert overlap.identical == (("two", "copy of two"),)
    assert overlap.near == (("three", "three again"),)
    assert overlap.questions == (("one", "is it"),)
    assert overlap.twins == 3
    assert report.images == {overlap.first: 3, overlap.second: 4}


def test_rows_of_one_split_and_rows_without_images_leak_nothing() -> None:
    data = encoded(drawn(1))
    report = shared([row("a", data), row("b", data), row(None, split="test")])
    assert report.overlaps == ()
    assert report.images == {Group("drawn", "train"): 2, Group("drawn", "test"): 0}


def test_the_earlier_split_comes_first() -> None:
    data = encoded(drawn(1))
    report = shared([row("a", data, "unseen"), row("a", data, "validation")])
    assert [overlap.first.split for overlap in report.overlaps] == ["validation"]


def test_nothing_is_found_in_nothing() -> None:
    assert shared([]).overlaps == ()


@pytest.mark.parametrize("data", [b"not an image", encoded(drawn(1))[:200]])
def test_an_unreadable_image_is_named(data: bytes) -> None:
    with pytest.raises(DataError, match="Image broken is not a readable"):
        shared([row("broken", data)])


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    lost = replace(row("gone"), image=ImageRef("gone", tmp_path / "gone.png"))
    with pytest.raises(DataError, match="Image gone could not be read"):
        shared([lost])
