"""Scans that the project draws itself: nobody's anatomy, and labelled so in the picture.

Drawing takes a second, so the picture lies beside this file; `python -m demo.phantoms` redraws it.
"""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from rarl.scans import Scan, open_scan_file

CHEST_FILE = Path(__file__).with_name("phantom-chest.png")

_SIDE = 768
_LABEL = "DRAWN PHANTOM - NOT A PATIENT"
Field = NDArray[np.float64]


def _soft(image: Image.Image, blur: float) -> Field:
    blurred = image.filter(ImageFilter.GaussianBlur(blur))
    return np.asarray(blurred, dtype=np.float64) / 255


def _ellipse(box: tuple[float, float, float, float], blur: float) -> Field:
    """An ellipse of density 1 with soft edges; the box in fractions of the side."""
    image = Image.new("L", (_SIDE, _SIDE))
    left, top, right, bottom = (value * _SIDE for value in box)
    ImageDraw.Draw(image).ellipse((left, top, right, bottom), fill=255)
    return _soft(image, blur)


def _polygon(points: list[tuple[float, float]], blur: float) -> Field:
    image = Image.new("L", (_SIDE, _SIDE))
    ImageDraw.Draw(image).polygon([(x * _SIDE, y * _SIDE) for x, y in points], fill=255)
    return _soft(image, blur)


def _stroke(points: list[tuple[float, float]], width: float, blur: float) -> Field:
    image = Image.new("L", (_SIDE, _SIDE))
    draw = ImageDraw.Draw(image)
    path = [(x * _SIDE, y * _SIDE) for x, y in points]
    draw.line(path, fill=255, width=round(width * _SIDE), joint="curve")
    return _soft(image, blur)


def _mirrored(field: Field) -> Field:
    return np.maximum(field, field[:, ::-1])


def _picture(density: Field, seed: int) -> Image.Image:
    """Density (0 air, 1 dense) to a grainy 8-bit picture with the label burned in."""
    grain = np.random.default_rng(seed).normal(0, 0.012, density.shape)
    # Film saturates gently: structures in front of the spine stay visible.
    pixels = np.clip(1.12 * (1 - np.exp(-1.55 * np.maximum(density, 0))) + grain, 0, 1) * 255
    image = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, _SIDE - 40, _SIDE, _SIDE), fill=0)
    draw.text((16, _SIDE - 31), _LABEL, fill=205, font_size=18)
    return image


def chest_radiograph() -> Scan:
    """The drawn chest radiograph."""
    scan = open_scan_file(CHEST_FILE)
    return replace(scan, warnings=("This is a drawing, not a patient.",))


def draw_chest() -> Image.Image:
    """A stylised frontal chest radiograph with a rounded density in one lung."""
    body = _polygon(
        [(0.36, 0.0), (0.38, 0.09), (0.14, 0.17), (0.04, 0.34), (0.08, 1.0), (0.92, 1.0),
         (0.96, 0.34), (0.86, 0.17), (0.62, 0.09), (0.64, 0.0)], 14,
    )  # fmt: skip
    lung = _polygon(
        [(0.36, 0.13), (0.42, 0.19), (0.445, 0.34), (0.44, 0.55), (0.43, 0.72), (0.36, 0.735),
         (0.24, 0.76), (0.145, 0.80), (0.125, 0.66), (0.15, 0.44), (0.21, 0.26), (0.29, 0.155)], 9,
    )  # fmt: skip
    lungs = _mirrored(lung)
    density = 0.58 * body - 0.41 * lungs * body

    ribs = np.zeros_like(density)
    for number in range(9):
        top = 0.16 + 0.068 * number
        reach = 0.21 + 0.17 * sin(min(1.0, (number + 1.5) / 6) * pi / 2)
        # The back of a rib falls gently outwards, its front turns steeply in again.
        back = [
            (0.47 - reach * sin(t), top - 0.035 + 0.085 * (1 - cos(t * 1.15)))
            for t in np.linspace(0.05, pi / 2, 24)
        ]
        front = [
            (0.47 - reach * cos(t * 0.75), top + 0.055 + 0.15 * sin(t) ** 1.2)
            for t in np.linspace(0, pi / 3.1, 18)
        ]
        ribs += 0.105 * _stroke(back, 0.021, 2.4) + 0.05 * _stroke(front, 0.017, 3.0)
    density += np.maximum(ribs, ribs[:, ::-1]) * body
    density += (
        0.17 * _mirrored(_stroke([(0.47, 0.175), (0.34, 0.145), (0.2, 0.125)], 0.024, 3)) * body
    )

    spine = _stroke([(0.5, 0.0), (0.5, 1.0)], 0.075, 8)
    density += 0.16 * spine * body
    for y in np.arange(0.05, 0.98, 0.058):
        density -= 0.04 * _stroke([(0.468, y), (0.532, y)], 0.007, 2)
    density -= 0.13 * _stroke([(0.5, 0.0), (0.498, 0.24), (0.5, 0.3)], 0.026, 5)  # trachea

    heart = _polygon(
        [(0.455, 0.42), (0.53, 0.37), (0.565, 0.44), (0.6, 0.53), (0.665, 0.63), (0.685, 0.70),
         (0.65, 0.765), (0.5, 0.80), (0.42, 0.76), (0.405, 0.66), (0.425, 0.52)], 10,
    )  # fmt: skip
    density += 0.27 * heart * (1 - 0.55 * spine)
    density += 0.12 * _ellipse((0.515, 0.27, 0.585, 0.36), 7)  # aortic knob
    for x, y, spread in ((0.40, 0.45, 1), (0.6, 0.44, -1)):
        for step in range(7):
            angle = -1.1 + 0.38 * step
            end = (x - spread * 0.13 * cos(angle), y + 0.15 * sin(angle))
            density += 0.045 * _stroke([(x, y), end], 0.008, 4)
    belly = _polygon([(0.06, 1.0), (0.1, 0.83), (0.28, 0.745), (0.44, 0.77), (0.56, 0.79),
                      (0.74, 0.755), (0.9, 0.84), (0.94, 1.0)], 8)  # fmt: skip
    density += 0.16 * belly * (1 - 0.6 * heart)
    density -= 0.12 * _ellipse((0.63, 0.79, 0.75, 0.85), 6)  # gastric bubble
    density += 0.2 * _ellipse((0.245, 0.36, 0.325, 0.44), 5)  # the thing to find

    image = _picture(density, seed=7)
    ImageDraw.Draw(image).text((_SIDE - 62, 28), "L", fill=235, font_size=34)
    return image


if __name__ == "__main__":
    draw_chest().save(CHEST_FILE, optimize=True)
