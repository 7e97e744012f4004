"""Patient directions: unit vectors and the letters at the edges of a picture."""

from __future__ import annotations

import numpy as np

from rarl.scans.decoded_file import Vector


def unit_vectors(cosines: list[float]) -> tuple[Vector | None, Vector | None]:
    """Unit vectors of rows and columns (PS3.3 C.7.6.2.1.1), None unless at right angles."""
    if len(cosines) != 6:
        return None, None
    right, down = np.array(cosines[:3]), np.array(cosines[3:])
    lengths = np.linalg.norm(right), np.linalg.norm(down)
    if min(lengths) < 0.5 or max(lengths) > 2 or abs(right @ down) > 0.01:
        return None, None
    (rx, ry, rz), (dx, dy, dz) = (right / lengths[0]).tolist(), (down / lengths[1]).tolist()
    return (rx, ry, rz), (dx, dy, dz)


def direction_letters(right: Vector, down: Vector) -> tuple[str, str]:
    """The letters of the right and of the lower edge."""
    return letter(right), letter(down)


def letter(direction: Vector) -> str:
    """The patient axis nearest to a direction: L or R, P or A, H or F.

    >>> letter((0.1, -0.9, 0.2))
    'A'
    """
    axis = max(range(3), key=lambda index: abs(direction[index]))
    return "LPH"[axis] if direction[axis] > 0 else "RAF"[axis]
