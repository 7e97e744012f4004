"""What the tests of inference share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from time import sleep

import numpy as np
from PIL import Image

PATIENCE = 60  # seconds until a test that hangs has failed


@dataclass
class Hold:
    """The language model stands still after `after` steps until `go` is set."""

    after: int
    steps: int = 0
    reached: Event = field(default_factory=Event)
    go: Event = field(default_factory=Event)


def until(true: Callable[[], bool]) -> None:
    for _ in range(PATIENCE * 100):
        if true():
            return
        sleep(0.01)
    raise AssertionError("waited in vain")


def picture(seed: int = 0, size: tuple[int, int] = (60, 50)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    return Image.fromarray(pixels)
