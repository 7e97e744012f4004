"""Synthetic scans drawn by the project and labelled as such in the picture.

Drawing the radiograph takes a second, so it is kept in `demo/static`;
`python -m demo.services.phantoms` redraws it. The CT is drawn when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from math import cos, pi, sin
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

CHEST_FILE = Path(__file__).parents[1] / "static" / "phantom-chest.png"

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


# --- CT ------------------------------------------------------------------------------------------

_FIELD_MM = 380.0
_LENGTH_MM = 300.0
_AIR = -1000
Ball = tuple[float, float, float, float, float, float, float]

# Ellipsoids in the order in which they are laid over each other: HU, centre x, y, z and half axes
# x, y, z, in fractions of the field of view (x to the patient's left, y to the back, z to the
# head). An infinite half axis makes a cylinder.
_FAR = float("inf")
_TORSO: tuple[Ball, ...] = (
    (-95, 0.50, 0.50, 0.5, 0.44, 0.33, _FAR),  # fat
    (48, 0.50, 0.50, 0.5, 0.405, 0.295, _FAR),  # muscle
    (-70, 0.50, 0.47, 0.1, 0.34, 0.22, 0.42),  # fat in the belly
    (-860, 0.31, 0.48, 0.86, 0.155, 0.215, 0.46),  # lungs
    (-860, 0.69, 0.48, 0.86, 0.145, 0.215, 0.46),
    (58, 0.35, 0.47, 0.34, 0.225, 0.205, 0.24),  # liver
    (22, 0.29, 0.43, 0.38, 0.042, 0.042, 0.05),  # a lesion in it
    (52, 0.72, 0.55, 0.40, 0.085, 0.11, 0.13),  # spleen
    (34, 0.66, 0.60, 0.16, 0.052, 0.062, 0.13),  # kidneys
    (34, 0.34, 0.60, 0.13, 0.052, 0.062, 0.13),
    (5, 0.60, 0.38, 0.30, 0.095, 0.075, 0.10),  # stomach
    (-960, 0.60, 0.345, 0.30, 0.06, 0.03, 0.06),  # its air
    (42, 0.545, 0.42, 0.72, 0.115, 0.105, 0.16),  # heart
    (150, 0.575, 0.43, 0.72, 0.045, 0.06, 0.10),  # blood with contrast
    (165, 0.535, 0.60, 0.5, 0.028, 0.028, _FAR),  # aorta
    (140, 0.455, 0.56, 0.3, 0.024, 0.02, 0.45),  # vena cava
    (35, 0.245, 0.42, 0.80, 0.032, 0.032, 0.042),  # a nodule in the right lung
    (-980, 0.50, 0.46, 0.98, 0.026, 0.024, 0.17),  # trachea
    (210, 0.50, 0.685, 0.5, 0.058, 0.05, _FAR),  # vertebral bodies
    (15, 0.50, 0.752, 0.5, 0.022, 0.018, _FAR),  # spinal canal
    (420, 0.50, 0.36 - 0.135, 0.8, 0.035, 0.014, 0.26),  # sternum
)


def _ribs() -> Iterator[Ball]:
    """Short bony balls along rings that fall from the back to the front."""
    for ring in range(9):
        for step in range(34):
            angle = 2 * pi * (step + 0.5) / 34
            x, y = 0.5 + 0.375 * sin(angle), 0.5 + 0.265 * cos(angle)
            z = 0.24 + 0.085 * ring + 0.11 * (y - 0.5)
            if abs(x - 0.5) > 0.07:
                yield (480, x, y, z, 0.034, 0.026, 0.014)


def _balls() -> tuple[Ball, ...]:
    bones = tuple((380.0, 0.5, 0.685, z, 0.06, 0.052, 0.006) for z in np.arange(0.02, 1, 0.085))
    return (*_TORSO, *bones, *_ribs())


def ct_volume(side: int = 256, slices: int = 80, seed: int = 11) -> NDArray[np.int16]:
    """A drawn CT of a trunk, slices x side x side, in HU; the first slice is nearest the feet.

    The field of view is 380 mm wide and 300 mm long whatever the number of pixels. The label is
    drawn under the table, into every slice.
    """
    noise = np.random.default_rng(seed)
    volume = np.full((slices, side, side), _AIR, np.int16)
    centres = (np.arange(side) + 0.5) / side
    balls = _balls()
    for number in range(slices):
        z = (number + 0.5) / slices
        picture = volume[number]
        for value, cx, cy, cz, ax, ay, az in balls:
            left = 1 - ((z - cz) / az) ** 2
            if left <= 0:
                continue
            # Only the rows and columns that the ellipse can reach.
            reach_x, reach_y = ax * left**0.5, ay * left**0.5
            rows = slice(*np.searchsorted(centres, (cy - reach_y, cy + reach_y)))
            columns = slice(*np.searchsorted(centres, (cx - reach_x, cx + reach_x)))
            dy = ((centres[rows, None] - cy) / ay) ** 2
            dx = ((centres[None, columns] - cx) / ax) ** 2
            picture[rows, columns][dx + dy < left] = value
        grain = noise.standard_normal((side, side), np.float32)
        picture += (9 * grain).astype(np.int16)
    label = Image.new("L", (side, side))
    ImageDraw.Draw(label).text((side * 0.27, side * 0.93), _LABEL, fill=255, font_size=side / 26)
    volume[:, np.asarray(label) > 127] = 600
    return volume


def ct_picture(side: int = 144) -> Image.Image:
    """One slice through the liver, in a soft tissue window."""
    (middle,) = ct_volume(side, 1)
    return Image.fromarray(np.clip((middle + 150) * (255 / 400), 0, 255).astype(np.uint8))


def ct_series(side: int = 256, slices: int = 80) -> list[bytes]:
    """The drawn CT as the DICOM files of one series (PS3.3 A.3), one per slice, head first."""
    volume = ct_volume(side, slices)
    spacing, thickness = _FIELD_MM / side, _LENGTH_MM / slices
    series, study, frame_of_reference = (
        generate_uid(entropy_srcs=[name, str(side), str(slices)]) for name in ("a", "b", "c")
    )
    files = []
    for number in reversed(range(slices)):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
        item = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID = CTImageStorage
        item.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        item.StudyInstanceUID, item.SeriesInstanceUID = study, series
        item.FrameOfReferenceUID = frame_of_reference
        item.PatientName, item.PatientID = "Drawn^Phantom", ""
        item.Modality, item.BodyPartExamined, item.PatientPosition = "CT", "CHEST", "HFS"
        item.SeriesNumber, item.InstanceNumber = 1, slices - number
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.ImagePositionPatient = [-_FIELD_MM / 2, -_FIELD_MM / 2, round(number * thickness, 4)]
        item.PixelSpacing = [f"{spacing:.6g}"] * 2
        item.SliceThickness = item.SpacingBetweenSlices = f"{thickness:.6g}"
        item.Rows = item.Columns = side
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
        item.PixelRepresentation = 0
        item.RescaleIntercept, item.RescaleSlope, item.RescaleType = -1024, 1, "HU"
        item.WindowCenter, item.WindowWidth = 40, 400
        stored = np.clip(volume[number].astype(np.int32) + 1024, 0, 4095).astype("<u2")
        item.PixelData = stored.tobytes()
        buffer = BytesIO()
        item.save_as(buffer, enforce_file_format=True)
        files.append(buffer.getvalue())
    return files


if __name__ == "__main__":
    draw_chest().save(CHEST_FILE, optimize=True)
