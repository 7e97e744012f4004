"""Label tasks of the vision tower, each with its classes.

A set's labels, the numbers it annotates (in steps of like size), and the kind of picture become
classification tasks. An image that a task does not concern is masked in its loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, log

from rarl.data import Example, ImageRef

KIND = "kind"
# Task names of the sets whose label questions are tasks of their own.
_LABELS = {
    "brain_tumor_mri": "brain",
    "brain_tumor_mri_more": "brain",
    "busi_breast_us": "breast",
    "chest_pneumonia": "chest",
    "knee_oa": "knee grade",
    "pbc_blood_cells": "blood cell",
    "head_ct_hemorrhage": "head hemorrhage",
}
# (source, category) to (task, smallest, largest, steps): numbers by steps of equal ratio.
_NUMBERS = {
    ("hc18_fetal_head", "measure"): ("head circumference", 45.0, 350.0, 20),
    ("dsbowl_nuclei", "count"): ("nuclei", 1.0, 380.0, 12),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image with its class in each task that concerns it.

    Attributes:
        image: the image.
        source: its set.
        classes: task to the name of the class.
        sided: whether left and right carry meaning, so that it may not be mirrored.
    """

    image: ImageRef
    source: str
    classes: Mapping[str, str]
    sided: bool


def number_class(value: float, low: float, high: float, steps: int) -> str:
    """The step that a number falls into, as the middle of the step.

    >>> number_class(100, 45, 350, 20)
    '99'
    """
    share = log(max(min(value, high), low) / low) / log(high / low)
    step = min(int(share * steps), steps - 1)
    return f"{low * exp(log(high / low) * (step + 0.5) / steps):.0f}"


def labelled_images(rows: Iterable[Example]) -> list[Labelled]:
    """One entry for each image, with every task that its rows answer.

    >>> labelled_images([])
    []
    """
    labelled: dict[str, tuple[ImageRef, str, dict[str, str]]] = {}
    for row in rows:
        if row.image is None:
            continue
        source = row.source.removesuffix("_basics")
        classes = labelled.setdefault(row.image.key, (row.image, source, {}))[2]
        if row.modality and row.organ:
            classes[KIND] = f"{row.modality} of {row.organ}"
        for fact in row.facts:
            if fact.kind == "plane" and source == "vqa_rad":
                classes["plane"] = fact.value
        category = row.category or ""
        if category == "label" and source in _LABELS:
            classes[_LABELS[source]] = row.answer
        elif (source, category) == ("knee_oa", "side"):
            classes["knee side"] = row.answer
        elif (source, category) == ("bccd_blood", "count"):
            classes["white cells"] = row.answer if int(row.answer) < 3 else "3 or more"
        elif (source, category) in _NUMBERS:
            task, low, high, steps = _NUMBERS[source, category]
            classes[task] = number_class(float(row.answer.split()[0]), low, high, steps)
    return [
        Labelled(image, source, classes, sided=source in {"vqa_rad", "knee_oa"})
        for image, source, classes in labelled.values()
        if classes
    ]


def task_classes(rows: Iterable[Labelled]) -> dict[str, list[str]]:
    """Every task with its classes in a fixed order; a task of one class is left out."""
    tasks: dict[str, set[str]] = {}
    for row in rows:
        for task, name in row.classes.items():
            tasks.setdefault(task, set()).add(name)
    return {task: sorted(names) for task, names in sorted(tasks.items()) if len(names) > 1}
