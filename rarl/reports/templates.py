"""What a report is made of: the sections of each template, and which scans it is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import Field
from pydantic.dataclasses import dataclass

from rarl.errors import ReviewError
from rarl.records import CaseSnapshot
from rarl.records.report import Heading
from rarl.yaml_file import KEYS_ONLY, Text, checked, read_yaml

FREE = "free"
"""The template for everything that no other one is for."""
_FOLDER = Path(__file__).with_name("shipped")
_KEY = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, config=KEYS_ONLY)
class TemplateSection:
    """A section of a template.

    Attributes:
        key: small letters, digits and hyphens.
        title: as shown.
        heading: technique is filled from the file's header, comparison from the names of the
            pictures, findings from the model's reasoning, impression from its answer.
        words: of findings: a sentence with one of these belongs here. The findings section without
            words takes the others.
    """

    key: Text
    title: Text
    heading: Heading
    words: tuple[Text, ...] = ()

    def takes(self, sentence: str) -> bool:
        """Whether a sentence has one of the words, in letters of either case."""
        alternatives = "|".join(re.escape(word) for word in self.words)
        return bool(self.words) and bool(re.search(rf"\b({alternatives})\b", sentence, re.I))


@dataclass(frozen=True, config=KEYS_ONLY)
class Template:
    """A template.

    Attributes:
        title: as shown.
        sections: in order.
        modalities: DICOM modalities that it is for.
        body_parts: DICOM body parts (Body Part Examined) that it is for.
    """

    title: Text
    sections: tuple[TemplateSection, ...] = Field(min_length=1)
    modalities: tuple[Text, ...] = ()
    body_parts: tuple[Text, ...] = ()

    def section_for(self, heading: Heading, text: str) -> TemplateSection:
        """Where a sentence goes.

        Args:
            heading: the part of a report that it belongs to.
            text: of the sentence; its words choose among the sections for findings.

        Returns:
            The first section for the heading. A finding, or a sentence of a part that the template
            lacks, goes to the first section for findings with one of its words, else to the general
            one.
        """
        parts = [section for section in self.sections if section.heading == heading]
        if heading != "findings" and parts:
            return parts[0]
        parts = [section for section in self.sections if section.heading == "findings"]
        general = next(section for section in parts if not section.words)
        return next((section for section in parts if section.takes(text)), general)

    def suits(self, case: CaseSnapshot) -> bool:
        """Whether it is for the modality and the body part of a case."""
        part = case.attributes.get("BodyPartExamined", "").upper()
        return case.modality in self.modalities and part in self.body_parts


def read_template(path: Path) -> Template:
    """Read a template, a YAML file.

    Raises:
        ReviewError: the file cannot be read, or says something that cannot be used.
    """
    template = checked(Template, read_yaml(path, ReviewError), path.name, ReviewError)
    keys = [section.key for section in template.sections]
    if len(set(keys)) < len(keys) or not all(_KEY.fullmatch(key) for key in keys):
        raise ReviewError(
            f"{path.name}: each section needs a key of its own, of small letters, digits and "
            "hyphens; correct it."
        )
    general = [part for part in template.sections if part.heading == "findings" and not part.words]
    endings = [part for part in template.sections if part.heading == "impression"]
    if len(general) != 1 or len(endings) != 1:
        raise ReviewError(
            f"{path.name} must have one section for findings without words and one for the "
            "impression; correct it."
        )
    if any(part.words and part.heading != "findings" for part in template.sections):
        choices = ", ".join(choice for choice in get_args(Heading) if choice != "findings")
        raise ReviewError(f"{path.name}: a section for {choices} takes no words; remove them.")
    return template


@cache
def templates() -> Mapping[str, Template]:
    """The templates by name; the free one comes last."""
    names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    ordered = [*(name for name in names if name != FREE), FREE]
    return {name: read_template(_FOLDER / f"{name}.yaml") for name in ordered}


def template_named(name: str) -> Template:
    """A template by its name.

    Raises:
        ReviewError: there is none of that name.
    """
    known = templates()
    if name not in known:
        raise ReviewError(f"There is no template of this name; choose from {', '.join(known)}.")
    return known[name]


def template_of(case: CaseSnapshot, name: str = "") -> tuple[str, Template]:
    """The template that is named, or the first that suits the case.

    Args:
        case: of the report.
        name: of a template, or "".

    Returns:
        Its name and the template.

    Raises:
        ReviewError: there is no template of that name.
    """
    known = templates()
    if name:
        return name, template_named(name)
    suited = next((key for key, template in known.items() if template.suits(case)), FREE)
    return suited, known[suited]
