"""Who may do what. Names come from whoever signs people in; this only says what a name may do.

Each role may do all that the ones before it may.
"""

from __future__ import annotations

import getpass
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml

from rarl.errors import ReviewError

Role = Literal["visitor", "reader", "adjudicator", "admin"]
Right = Literal[
    "ask", "flag", "vote", "queue", "judge", "report", "adjudicate", "assign", "dismiss", "save",
    "export", "import", "delete", "users", "fetch",
]  # fmt: skip

ROLES: tuple[Role, ...] = ("visitor", "reader", "adjudicator", "admin")
_LEAST: Mapping[Right, Role] = {
    "ask": "visitor",
    "flag": "visitor",
    "vote": "visitor",
    "fetch": "reader",
    "save": "reader",
    "queue": "reader",
    "judge": "reader",
    "report": "reader",
    "adjudicate": "adjudicator",
    "assign": "adjudicator",
    "dismiss": "adjudicator",
    "export": "admin",
    "import": "admin",
    "delete": "admin",
    "users": "admin",
}
_TO: Mapping[Right, str] = {
    "ask": "ask questions",
    "flag": "flag answers",
    "vote": "vote",
    "fetch": "open studies of the PACS",
    "save": "save sessions",
    "queue": "see the cases of others",
    "judge": "judge answers",
    "report": "write and sign reports",
    "adjudicate": "adjudicate",
    "assign": "assign work and draw studies",
    "dismiss": "dismiss flags",
    "export": "export cases",
    "import": "import cases",
    "delete": "delete cases",
    "users": "manage who may do what",
}


def canonical_name(name: str | None) -> str | None:
    """The one spelling of a name that is compared and stored; None where there is no name.

    Case, width and form of letters and runs of white space make no other person. All names pass
    through here when they enter: from a sign-in, a list of people, an assignment and an import.

    >>> canonical_name("  Dr.\u00a0BO "), canonical_name("\uff22\uff4f"), canonical_name(" ")
    ('dr. bo', 'bo', None)
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name or "").casefold())
    hidden = {"Cf", "Cc"}  # marks of direction, joiners and control characters
    seen = [sign for sign in folded if sign.isspace() or unicodedata.category(sign) not in hidden]
    return " ".join("".join(seen).split()) or None


@dataclass(frozen=True, slots=True)
class People:
    """The site's list of who has which role.

    Attributes:
        roles: canonical name to role.
        otherwise: role of a named person who is not on the list.
        unnamed: role of somebody without a name: visitor, or None where the host takes nobody in.
    """

    roles: Mapping[str, Role] = field(default_factory=dict)
    otherwise: Role | None = "visitor"
    unnamed: Role | None = "visitor"

    def role(self, name: str | None) -> Role | None:
        """Role of a person, or None where the person may do nothing.

        >>> People({"Dr. A": "reader"}).role("dr. a")
        'reader'
        """
        wanted = canonical_name(name)
        if wanted is None:
            return self.unnamed
        listed = {canonical_name(known): role for known, role in self.roles.items()}
        return listed.get(wanted, self.otherwise)


def may(role: Role | None, right: Right) -> bool:
    """Whether a role has a right.

    >>> may("reader", "judge"), may("reader", "export"), may(None, "ask")
    (True, False, False)
    """
    return role is not None and ROLES.index(role) >= ROLES.index(_LEAST[right])


def require(role: Role | None, right: Right) -> None:
    """Let pass, or say who could.

    Raises:
        ReviewError: the role lacks the right.
    """
    if not may(role, right):
        raise ReviewError(
            f"You may not {_TO[right]}: that takes the role of {_LEAST[right]}; ask whoever "
            "keeps this site's list of people."
        )


def account_name() -> str:
    """Name of the account that this process runs as: who sits at a machine of one's own."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}"


def read_people(path: Path) -> People:
    """Read the site's list, a YAML file.

        people:
          dr.a@example.org: adjudicator
        otherwise: visitor     # a named person who is not listed; none for nobody
        unnamed: none          # somebody without a name

    Raises:
        ReviewError: the file cannot be read or says something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise ReviewError(
            f"The list of people ({path.name}) cannot be read as YAML; correct it and start again."
        ) from None
    if (
        not isinstance(content, dict)
        or not set(content) <= {"people", "otherwise", "unnamed"}
        or not isinstance(content.get("people", {}), dict)
    ):
        raise ReviewError(
            f"{path.name} must hold `people:` with a role for each name, and may hold `otherwise:` "
            "and `unnamed:`; correct it and start again."
        )
    listed: dict[str, Role] = {}
    for name, word in content.get("people", {}).items():
        role, person = _role(path, word), canonical_name(str(name))
        if role is None or person is None:
            raise ReviewError(f"{path.name} has a person without name or role; take the line out.")
        if person in listed:
            raise ReviewError(f"{path.name} names one person twice; keep one of the lines.")
        listed[person] = role
    return People(
        listed,
        otherwise=_role(path, content.get("otherwise", "visitor")),
        unnamed=_role(path, content.get("unnamed", "visitor")),
    )


def _role(path: Path, word: object) -> Role | None:
    if word is None or word == "none":
        return None
    for role in ROLES:
        if role == word:
            return role
    raise ReviewError(f"{path.name} has an unknown role; choose from {', '.join(ROLES)}.")
