"""What was drawn to be measured, as a DICOM presentation state (PS3.3 A.33) beside the SR.

A viewer that opens it with its image shows each drawing in its place, with its numbers beside it.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import Any

import numpy as np
from highdicom.pr import (
    AnnotationUnitsValues,
    ColorSoftcopyPresentationState,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from numpy.typing import NDArray
from PIL.ImageCms import ImageCmsProfile, createProfile
from pydicom.dataset import Dataset

from rarl import __version__
from rarl.errors import ReviewError
from rarl.records import CaseSnapshot, Measurement, Report
from rarl.records.measurement_words import short_lines
from rarl.reports.dicom_sr import dated, evidence_of, lies_on_file, person_name, shape_of, written
from rarl.reports.identity import Identity, identity_of, uid_of

Points = NDArray[np.float64]

_NOTHING = (
    "Nothing that was measured lies on the picture that the presentation state would refer to: "
    "measure on the picture that was asked about."
)
_NO_FRAMES = (
    "The file has frames, and its kind of image has none in DICOM: no drawing can refer to one of "
    "them. Write the SR instead, which names the frames."
)


def as_presentation_state(report: Report, case: CaseSnapshot) -> bytes:
    """The drawings of a report and of its case as a DICOM file, the same for the same version.

    It refers to the file's own image where the site keeps its UIDs, otherwise to the secondary
    capture of the case's first picture, see `picture_of`. What lies on neither is left out.

    Args:
        report: whose measurements are drawn.
        case: that it is on, with measurements of its own.

    Returns:
        The file.

    Raises:
        ReviewError: no measurement lies on that image.
    """
    identity = identity_of(case)
    by_key = {made.key: made for made in (*case.measurements, *report.measurements)}
    outlines = {key: _outline(made, case, identity) for key, made in by_key.items()}
    placed = {key: points for key, points in outlines.items() if points is not None}
    drawn = [by_key[key] for key in placed]
    if not drawn:
        raise ReviewError(_NOTHING)
    image = _image(case, identity, drawn)
    by_frame: dict[int, list[Measurement]] = defaultdict(list)
    for made in drawn:
        by_frame[_frame(made, identity)].append(made)
    layer = GraphicLayer("MEASUREMENTS", 1, "Measured by a reader")
    colour = image.SamplesPerPixel == 3
    more: dict[str, Any] = {"icc_profile": _srgb()} if colour else {}
    kind = ColorSoftcopyPresentationState if colour else GrayscaleSoftcopyPresentationState
    state = kind(
        referenced_images=[image],
        series_instance_uid=uid_of("drawings", report.id),
        series_number=3,
        sop_instance_uid=uid_of("drawings", report.id, str(report.version)),
        instance_number=report.version,
        manufacturer="RARL",
        manufacturer_model_name="RARL",
        software_versions=__version__,
        device_serial_number=report.revision or "unknown",
        content_label="MEASUREMENTS",
        content_description="Measurements of a report",
        content_creator_name=person_name(report.reader) if report.reader else None,
        graphic_layers=[layer],
        graphic_annotations=[
            _annotation(image, layer, frame, group, placed)
            for frame, group in sorted(by_frame.items())
        ],
        specific_character_set="ISO_IR 192",
        **more,
    )
    return written(dated(state, report.created))


def _annotation(
    image: Dataset,
    layer: GraphicLayer,
    frame: int,
    group: list[Measurement],
    placed: dict[str, Points],
) -> GraphicAnnotation:
    """The drawings on one frame; 0 for an image without frames."""
    try:
        return GraphicAnnotation(
            referenced_images=[image],
            graphic_layer=layer,
            referenced_frame_number=frame or None,
            graphic_objects=[_graphic(made, placed[made.key]) for made in group],
            text_objects=[_text(made, placed[made.key]) for made in group],
        )
    except TypeError:
        raise ReviewError(_NO_FRAMES) from None


def _outline(made: Measurement, case: CaseSnapshot, identity: Identity) -> Points | None:
    """A drawing on the image that is referred to, (n, 2); None where it lies on another one."""
    if made.size is None:
        return None
    if identity.keeps_image:
        return shape_of(made)[1] if lies_on_file(made, case) else None
    picture = case.pictures[0]
    looked_at = (picture.shown.plane, picture.shown.frame, picture.shown.time)
    same = made.series == 0 and (made.plane, made.slice, made.frame) == looked_at
    if not same or picture.png is None or picture.shown.crop is not None:
        return None
    rows, columns = made.size
    # The picture of a case has square pixels, whatever the file has.
    return shape_of(made)[1] * [picture.width / columns, picture.height / rows]


def _frame(made: Measurement, identity: Identity) -> int:
    return (made.number or 0) if identity.keeps_image else 0


def _image(case: CaseSnapshot, identity: Identity, drawn: list[Measurement]) -> Dataset:
    """The image that is referred to, without pixels."""
    image = evidence_of(case, identity)
    picture = case.pictures[0]
    image.Rows, image.Columns = picture.height, picture.width
    if identity.keeps_image:
        assert drawn[0].size is not None  # `_outline` let only such pass
        image.Rows, image.Columns = drawn[0].size
        highest = max(made.number or 0 for made in drawn)
        if highest:
            image.NumberOfFrames = max(highest, 2)
            # Looked into for a window, which a case has not kept.
            image.SharedFunctionalGroupsSequence = [Dataset()]
            image.PerFrameFunctionalGroupsSequence = [Dataset() for _ in range(highest)]
    colour = picture.png is not None and case.image().mode == "RGB"
    image.SamplesPerPixel = 3 if colour else 1
    return image


def _graphic(made: Measurement, points: Points) -> GraphicObject:
    return GraphicObject(
        graphic_type=shape_of(made)[0],
        graphic_data=points,
        units=AnnotationUnitsValues.PIXEL,
        tracking_id=made.label or made.kind,
        tracking_uid=uid_of("measurement", made.key),
    )


def _srgb() -> bytes:
    """The ICC profile of sRGB as one of an input device, which DICOM asks for (PS3.3 C.11.15).

    Its date of creation is a fixed one, so that the same report gives the same file.
    """
    profile = ImageCmsProfile(createProfile("sRGB")).tobytes()
    created = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return profile[:12] + b"scnr" + profile[16:24] + created + profile[36:]


def _text(made: Measurement, points: Points) -> TextObject:
    right, bottom = points.max(axis=0)
    lines = [made.label, *short_lines(made)]
    return TextObject(
        text_value=", ".join(filter(None, lines)),
        units=AnnotationUnitsValues.PIXEL,
        anchor_point=(float(right), float(bottom)),
        anchor_point_visible=False,
        tracking_id=made.label or made.kind,
        tracking_uid=uid_of("measurement", made.key),
    )
