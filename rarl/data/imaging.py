"""Labelled image sets: chest, knee, blood cells, head CT, fetal head, nuclei and MedNIST.

Their questions are built as those of `rarl.data.labelled`. What a sentence says of a label is its
definition or the label itself; no sentence names a finding that the annotation does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rarl.data.example import Example, Fact
from rarl.data.labelled import CHECK, Asked, choose, examples

GRADES = ("none", "doubtful", "minimal", "moderate", "severe")
_CHEST = {
    "normal": ("normal", "The lungs look normal."),
    "bacterial pneumonia": ("bacterial pneumonia", "It shows bacterial pneumonia."),
    "viral pneumonia": ("viral pneumonia", "It shows viral pneumonia."),
}
# What each cell is, in words that define the kind.
_CELLS = {
    "basophil": "Basophils are granulocytes.",
    "eosinophil": "Eosinophils are granulocytes.",
    "erythroblast": "Erythroblasts are young red cells that still have a nucleus.",
    "immature granulocyte": "Immature granulocytes are young forms of white cells.",
    "lymphocyte": "Lymphocytes are white cells of the immune system.",
    "monocyte": "Monocytes are white cells.",
    "neutrophil": "Neutrophils are granulocytes.",
    "platelet": "Platelets are small and have no nucleus.",
}
_MEDNIST = {
    "AbdomenCT": ("ct", "abdomen"),
    "BreastMRI": ("mri", "breast"),
    "ChestCT": ("ct", "chest"),
    "CXR": ("x-ray", "chest"),
    "Hand": ("x-ray", "hand"),
    "HeadCT": ("ct", "brain"),
}


def _has_label(label: str, row: dict[str, Any]) -> bool:
    return bool(row["label"] == label)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def chest_pneumonia(root: Path) -> list[Example]:
    """Chest X-rays of children: normal, bacterial or viral pneumonia (Kermany et al., 2018)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        label, statement = _CHEST[row["label"]]
        ill = label != "normal"
        if ill:
            shown = Fact("finding", label, True, statement)
            ways = (
                statement,
                f"The picture fits {label}.",
                f"There is pneumonia, and it is {label.split()[0]}.",
                f"The finding is {label}.",
            )
        else:
            shown = Fact("finding", "pneumonia", False, statement)
            ways = (
                statement,
                "There is no pneumonia.",
                "No pneumonia is seen.",
                "It is a normal chest X-ray.",
            )
        yield Asked(
            "label",
            (
                "Is this chest normal, or does it show bacterial or viral pneumonia?",
                "Is this normal, bacterial pneumonia or viral pneumonia?",
                "Classify this chest X-ray: normal, bacterial pneumonia or viral pneumonia?",
                "Do the lungs look normal, or is there bacterial pneumonia or viral pneumonia?",
                "What does the X-ray show: normal lungs, bacterial pneumonia or viral pneumonia?",
                "Which fits best: normal, viral pneumonia or bacterial pneumonia?",
            ),
            label,
            "closed",
            shown,
            ways,
        )
        yield Asked(
            "presence",
            (
                "Is there pneumonia?",
                "Does this child have pneumonia?",
                "Does the chest X-ray show pneumonia?",
                "Do you see signs of pneumonia?",
                "Is pneumonia present?",
            ),
            "yes" if ill else "no",
            "closed",
            shown,
            ("There is pneumonia.", "Pneumonia is seen.", statement) if ill else ways,
        )
        if ill:
            bacterial = label.startswith("bacterial")
            yield Asked(
                "cause",
                (
                    "Is the pneumonia bacterial or viral?",
                    "Is this pneumonia viral or bacterial?",
                    "What kind of pneumonia is it, bacterial or viral?",
                ),
                "bacterial" if bacterial else "viral",
                "closed",
                shown,
                ways,
            )
        named = ("bacterial", "viral")[choose(row["image"], CHECK, 2)]
        yield Asked(
            CHECK,
            (
                f"Is this {named} pneumonia?",
                f"Does it look like {named} pneumonia?",
                f"Is {named} pneumonia present?",
            ),
            "yes" if label.startswith(named) else "no",
            "closed",
            shown,
            ways,
        )

    return list(examples(root, "chest_pneumonia", "CC-BY-4.0", "x-ray", "chest", asked))


def knee_oa(root: Path) -> list[Example]:
    """Knee X-rays with Kellgren-Lawrence grade and side (Chen 2018, images of the OAI)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        grade, side = int(row["grade"]), str(row["side"])
        severity = GRADES[grade]
        osteoarthritis = "no osteoarthritis" if grade == 0 else f"{severity} osteoarthritis"
        shown = Fact("other", str(grade), True, f"The Kellgren-Lawrence grade is {grade}.")
        which = Fact("side", side, True, f"It is the {side} knee.")
        definition = f"Grade {grade} stands for {osteoarthritis}."
        ways = (
            shown.statement,
            f"I would give it grade {grade} of 4.",
            f"It shows {osteoarthritis}, which is grade {grade}.",
            f"The changes correspond to grade {grade}.",
        )
        yield Asked(
            "label",
            (
                "What is the Kellgren-Lawrence grade?",
                "Which Kellgren-Lawrence grade, 0 to 4, does this knee have?",
                "Grade the osteoarthritis of this knee from 0 to 4.",
                "How would you grade this knee on the Kellgren-Lawrence scale?",
                "What KL grade do you give?",
                "Which grade of osteoarthritis is shown, 0 to 4?",
            ),
            str(grade),
            "open",
            shown,
            ways,
            (definition, which.statement),
        )
        yield Asked(
            "severity",
            (
                "How severe is the osteoarthritis: none, doubtful, minimal, moderate or severe?",
                "Is the osteoarthritis none, doubtful, minimal, moderate or severe?",
                "Which word fits the osteoarthritis: none, doubtful, minimal, moderate or severe?",
            ),
            severity,
            "closed",
            shown,
            (f"It shows {osteoarthritis}.", f"There is {osteoarthritis}.", definition),
            (shown.statement,),
        )
        # Grades from 2 on count as definite osteoarthritis by the scale's definition.
        definite = grade >= 2
        yield Asked(
            "presence",
            (
                "Is there definite osteoarthritis?",
                "Does this knee show definite osteoarthritis?",
                "Is definite knee osteoarthritis present?",
            ),
            "yes" if definite else "no",
            "closed",
            shown,
            (
                f"The grade is {grade}, and grades from 2 on are definite osteoarthritis.",
                f"It shows {osteoarthritis}.",
            ),
            (shown.statement,),
        )
        yield Asked(
            "side",
            (
                "Is this the left or the right knee?",
                "Which knee is shown, left or right?",
                "Which side is this knee, right or left?",
                "Do you see the right or the left knee?",
            ),
            side,
            "closed",
            which,
            (which.statement, f"The picture shows the {side} knee.", f"The side is {side}."),
        )

    return list(examples(root, "knee_oa", "CC-BY-4.0", "x-ray", "knee", asked))


def pbc_blood_cells(root: Path) -> list[Example]:
    """Single blood cells of eight kinds (Acevedo et al., 2020)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        cell = row["label"]
        noun = _article(cell)
        shown = Fact("finding", cell, True, f"The cell is {noun}.")
        ways = (
            shown.statement,
            f"It shows {noun}.",
            f"The cell in the middle is {noun}.",
            f"This is {noun}.",
        )
        yield Asked(
            "label",
            (
                "What kind of blood cell is this?",
                "Which blood cell is shown?",
                "Name this blood cell.",
                "What cell do you see in this smear?",
                "What type of cell is in the middle?",
                "Identify the cell.",
            ),
            cell,
            "open",
            shown,
            ways,
            (_CELLS[cell],),
        )
        kinds = sorted(_CELLS)
        named = cell
        if choose(row["image"], CHECK, 2):
            others = [kind for kind in kinds if kind != cell]
            named = others[choose(row["image"], "kind", len(others))]
        yield Asked(
            CHECK,
            (
                f"Is this {_article(named)}?",
                f"Is the cell {_article(named)}?",
                f"Does the picture show {_article(named)}?",
            ),
            "yes" if named == cell else "no",
            "closed",
            shown,
            ways if named == cell else (*ways, f"The cell is {noun}, not {_article(named)}."),
        )

    return list(examples(root, "pbc_blood_cells", "CC-BY-4.0", "light microscopy", "blood", asked))


def head_ct_hemorrhage(root: Path) -> list[Example]:
    """Head CT slices with or without haemorrhage (Kitamura)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        bleeding = row["label"] == "hemorrhage"
        statement = "There is a hemorrhage." if bleeding else "There is no hemorrhage."
        shown = Fact("finding", "hemorrhage", bleeding, statement)
        yield Asked(
            "label",
            (
                "Is there a hemorrhage?",
                "Does this head CT show bleeding?",
                "Is there bleeding inside the skull?",
                "Do you see an intracranial hemorrhage?",
                "Is a hemorrhage present on this CT?",
                "Does the slice show a hemorrhage?",
            ),
            "yes" if bleeding else "no",
            "closed",
            shown,
            (
                (statement, "A hemorrhage is seen.", "The slice shows bleeding.")
                if bleeding
                else (statement, "No bleeding is seen.", "The slice shows no hemorrhage.")
            ),
        )

    return list(examples(root, "head_ct_hemorrhage", "CC0-1.0", "ct", "brain", asked))


def hc18_fetal_head(root: Path) -> list[Example]:
    """Ultrasound of fetal heads with their circumference (HC18, van den Heuvel et al., 2018)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        millimetres = round(float(row["head_circumference_mm"]))
        shown = Fact(
            "other", f"{millimetres} mm", True, f"The head circumference is {millimetres} mm."
        )
        yield Asked(
            "measure",
            (
                "What is the head circumference in mm?",
                "How large is the head circumference?",
                "Measure the head circumference in mm.",
                "How many millimetres is the circumference of the fetal head?",
                "Give the head circumference in mm.",
            ),
            f"{millimetres} mm",
            "open",
            shown,
            (
                shown.statement,
                f"Around the skull it measures {millimetres} mm.",
                f"The outline of the head is {millimetres} mm long.",
            ),
        )

    return list(examples(root, "hc18_fetal_head", "CC-BY-4.0", "ultrasound", "fetal head", asked))


def dsbowl_nuclei(root: Path) -> list[Example]:
    """Microscopy with counted nuclei (Data Science Bowl 2018, corrected annotations)."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        count = int(row["nuclei"])
        noun, verb = ("nucleus", "is") if count == 1 else ("nuclei", "are")
        shown = Fact("count", str(count), True, f"There {verb} {count} {noun}.")
        yield Asked(
            "count",
            (
                "How many nuclei are shown?",
                "Count the nuclei.",
                "How many cell nuclei do you see?",
                "What is the number of nuclei?",
                "How many nuclei does the picture hold?",
            ),
            str(count),
            "open",
            shown,
            (shown.statement, f"I count {count} {noun}.", f"{count} {noun} {verb} seen."),
        )

    return list(
        examples(
            root,
            "dsbowl_nuclei",
            "CC0-1.0",
            "fluorescence or light microscopy",
            "cells",
            asked,
        )
    )


def mednist(root: Path) -> list[Example]:
    """Small pictures of six kinds: share-alike, so they are unseen and train nothing at all."""

    def asked(row: dict[str, Any]) -> Iterator[Asked]:
        return iter(())

    rows = []
    for label, (modality, organ) in _MEDNIST.items():
        rows += [
            row
            for row in examples(
                root,
                "mednist",
                "CC-BY-SA-4.0",
                modality,
                organ,
                asked,
                unseen=True,
                only=partial(_has_label, label),
            )
        ]
    return rows
