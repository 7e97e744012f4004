"""What may be wrong with an answer, and how much it matters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from rarl.errors import ReviewError

CATEGORIES: tuple[tuple[str, str], ...] = (
    ("false-finding", "Finding that is not there"),
    ("missed-finding", "Missed finding"),
    ("wrong-location", "Wrong location or side"),
    ("wrong-severity", "Wrong severity"),
    ("wrong-modality-or-anatomy", "Wrong modality or anatomy"),
    ("unsupported-reasoning", "Reasoning not supported by the picture"),
    ("contradiction", "Reasoning contradicts the answer"),
    ("unsafe-advice", "Unsafe advice"),
    ("style", "Style or wording"),
    ("other", "Other"),
)
"""(key, label) of each kind of error, in the order in which they are offered."""

SEVERITIES: tuple[tuple[str, str], ...] = (
    ("none", "No consequence for the patient"),
    ("minor", "Would be noticed and corrected, no harm"),
    ("major", "Could delay or change the treatment"),
    ("critical", "Could harm a patient"),
)
"""(key, label) of each severity by clinical consequence, mildest first."""


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The lists a site offers.

    Attributes:
        categories: (key, label) of each kind of error, as offered.
        severities: (key, label), mildest first.
    """

    categories: tuple[tuple[str, str], ...] = CATEGORIES
    severities: tuple[tuple[str, str], ...] = SEVERITIES

    def category_labels(self) -> dict[str, str]:
        """Key to label, as offered; then the usual ones, for flags from before the site's list.

        >>> Taxonomy((("artefact", "Artefact"),)).category_labels()["style"]
        'Style or wording'
        """
        return dict(self.categories) | _missing(CATEGORIES, self.categories)

    def severity_labels(self) -> dict[str, str]:
        """Key to label, mildest first; the usual ones that the site does not offer before its own.

        >>> list(Taxonomy(severities=(("trivial", "Trivial"),)).severity_labels())[-2:]
        ['critical', 'trivial']
        """
        return _missing(SEVERITIES, self.severities) | dict(self.severities)

    def severity_grade(self, key: str) -> str:
        """The usual severity that stands at the same place of its list, for colours.

        >>> Taxonomy(severities=(("a", "A"), ("b", "B"), ("c", "C"))).severity_grade("c")
        'critical'
        """
        usual = [key for key, _ in SEVERITIES]
        own = [key for key, _ in self.severities]
        if key not in own:
            return key if key in usual else usual[0]
        last = len(own) - 1
        place = own.index(key) / last if last else 1
        return usual[round(place * (len(usual) - 1))]


def _missing(
    usual: tuple[tuple[str, str], ...], own: tuple[tuple[str, str], ...]
) -> dict[str, str]:
    return {key: label for key, label in usual if key not in dict(own)}


def read_taxonomy(path: Path) -> Taxonomy:
    """Read a site's own lists, a YAML file; a list that it leaves out stays as it is.

        categories:
          missed-finding: Missed finding
          artefact: Took an artefact for a finding
        severities:
          none: No consequence
          major: Could change the treatment

    Keys are kept with every flag: a key may be given another label, but not another meaning. Flags
    with keys that are no longer offered stay as they are.

    Raises:
        ReviewError: the file cannot be read or says something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise ReviewError(
            f"{path.name} cannot be read as YAML; correct it and start again."
        ) from None
    if not isinstance(content, dict) or not set(content) <= {"categories", "severities"}:
        raise ReviewError(
            f"{path.name} must hold `categories:` or `severities:`; correct it and start again."
        )
    return Taxonomy(
        _choices(path, content.get("categories"), CATEGORIES),
        _choices(path, content.get("severities"), SEVERITIES),
    )


def _choices(
    path: Path, content: object, otherwise: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    if content is None:
        return otherwise
    usable = (
        isinstance(content, dict)
        and content
        and all(
            isinstance(key, str) and 0 < len(key) <= 40 and isinstance(label, str) and label.strip()
            for key, label in content.items()
        )
    )
    if not isinstance(content, dict) or not usable:
        raise ReviewError(
            f"{path.name}: each line must be a key of at most 40 characters, a colon and a label; "
            "correct it and start again."
        )
    return tuple(content.items())
