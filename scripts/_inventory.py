"""The packages that `rarl` or the app needs, with their licences, from the environment."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Old package metadata names licences freely; these are the SPDX identifiers of such names.
_SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GPL V3.0": "GPL-3.0-only",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_COPYLEFT = re.compile(r"\b(A|L)?GPL|General Public License|Lesser General", re.IGNORECASE)
_EXCEPTION = re.compile(r"\b[AL]?GPL[^\s()]* WITH (GCC-exception|LLVM-exception)[^\s()]*")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Package:
    """One installed package.

    Attributes:
        name: its normalised name.
        version: without a build's local part.
        licence: SPDX expression where the metadata allow, else what they state.
        requires: normalised names of what it needs here.
        hashes: SHA-256 of the files that the lock file accepts; empty for what it does not hold.
    """

    name: str
    version: str
    licence: str
    requires: tuple[str, ...]
    hashes: tuple[str, ...]

    @property
    def is_copyleft(self) -> bool:
        """Whether its licence is of the GPL family without an exception for its users."""
        return _COPYLEFT.search(_EXCEPTION.sub("", self.licence)) is not None


def project_requirements(extras: Iterable[str] = ()) -> list[Requirement]:
    """What the wheel asks for, with the given extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    inner = [r for r in requirements if r.name == project["name"]]
    others = [r for r in requirements if r.name != project["name"]]
    return others + [r for own in inner for r in project_requirements(sorted(own.extras))]


def pinned_requirements(file: str = "requirements.txt") -> list[Requirement]:
    """What a requirements file pins."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def closure(requirements: Iterable[Requirement]) -> list[Package]:
    """The packages with all that they need on this platform, by name.

    Raises:
        PackageNotFoundError: one is not installed.
    """
    found: dict[str, Package] = {}
    seen: set[tuple[str, str]] = set()
    hashes = _locked_hashes()
    waiting = list(requirements)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = {"", *requirement.extras}
        if {(name, extra) for extra in extras} <= seen:
            continue
        seen |= {(name, extra) for extra in extras}
        installed = distribution(name)
        needed = list(_needed(installed, extras))
        waiting += needed
        names = {canonicalize_name(other.name) for other in needed}
        if name in found:
            names |= set(found[name].requires)
        found[name] = Package(
            name,
            installed.version.partition("+")[0],
            licence_of(installed),
            tuple(sorted(names - {name})),
            hashes.get(name, ()),
        )
    return sorted(found.values(), key=lambda package: package.name)


def licence_of(installed: Distribution) -> str:
    """An installed package's licence as an SPDX expression where its metadata allow."""
    metadata = installed.metadata
    expression = metadata.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in metadata.get_all("Classifier") or []
        if line.startswith("License :: ")
        and not line.endswith((":: OSI Approved", "DFSG approved"))
    ]
    field = str(metadata.get("License") or "").strip().partition("\n")[0]
    if len(classifiers) == 1 or (classifiers and (len(field) > 40 or not field)):
        return " AND ".join(_SPDX.get(name, name) for name in classifiers)
    return _SPDX.get(field, field) or "not stated"


def _needed(installed: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for line in installed.requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def _locked_hashes() -> dict[str, tuple[str, ...]]:
    hashes: dict[str, tuple[str, ...]] = {}
    for file in ("requirements.lock", "requirements-torch.lock"):
        text = (ROOT / file).read_text("utf-8")
        for entry in re.split(r"^(?=[A-Za-z])", text, flags=re.MULTILINE):
            name = canonicalize_name(entry.partition("==")[0])
            hashes[name] = hashes.get(name, ()) + tuple(_HASH.findall(entry))
    return hashes


__all__ = [
    "Package",
    "PackageNotFoundError",
    "closure",
    "licence_of",
    "pinned_requirements",
    "project_requirements",
]
