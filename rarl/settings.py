"""The environment variables that RARL reads, so that a mistyped one is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches

from rarl.errors import SettingError
from rarl.scans.limits import Limits

_NAMES = (
    "RARL_AUDIT_SHARE",
    "RARL_BUILD",
    "RARL_CACHE",
    "RARL_DATA",
    "RARL_DATABASE_URL",
    "RARL_DICOMWEB",
    "RARL_DICOMWEB_PASSWORD",
    "RARL_DICOMWEB_TOKEN",
    "RARL_DICOMWEB_USER",
    "RARL_EMBED_ORIGINS",
    "RARL_ENDPOINT",
    "RARL_FLAGS_PIXELS",
    "RARL_FLAGS_REPO",
    "RARL_HOME",
    "RARL_JUDGE_KEY",
    "RARL_MODEL",
    "RARL_PEOPLE",
    "RARL_PIXELS",
    "RARL_PYTHON",
    "RARL_SESSION_KEEP",
    "RARL_SIGN_IN",
    "RARL_TRUSTED_PROXIES",
    "RARL_VENV",
    "RARL_WEIGHTS",
)
# What a variable with fixed values may be.
_OFFERED = {
    "RARL_FLAGS_PIXELS": ("keep", "hash"),
    "RARL_PIXELS": ("keep", "hash"),
    "RARL_WEIGHTS": ("8bit",),
}
_ALIKE = 0.8


def known_settings() -> tuple[str, ...]:
    """All variables, those of `Limits` included."""
    return _NAMES + tuple(f"RARL_LIMIT_{field.name.upper()}" for field in fields(Limits))


def check_settings(environment: Mapping[str, str]) -> None:
    """Refuse a variable whose name is nearly that of a setting, or whose value is not offered.

    A name that resembles none may be a site's own and is left alone.

    Args:
        environment: all environment variables.

    Raises:
        SettingError: one is mistyped; the sentence names what it should be.

    >>> check_settings({"RARL_PIXELS": "hash", "PATH": "/bin"})
    """
    for name, offered in _OFFERED.items():
        if environment.get(name) and environment[name] not in offered:
            choice = " or ".join(offered)
            raise SettingError(f"{name} must be {choice}; correct or unset it and start again.")
    known = known_settings()
    for name in sorted(environment):
        upper = name.upper()
        if name in known or not upper.startswith("RARL"):
            continue
        if upper in known:
            raise SettingError(f"{name} is not a setting; write it in capitals, {upper}.")
        # A limit has a long common beginning, which alone makes no name alike.
        alike = [
            candidate
            for candidate in get_close_matches(upper, known, 3, _ALIKE)
            if get_close_matches(_tail(upper), [_tail(candidate)], 1, 0.7)
        ]
        if alike:
            raise SettingError(f"{name} is not a setting; did you mean {alike[0]}?")
        if upper.startswith("RARL_LIMIT"):
            limits = ", ".join(entry for entry in known if entry.startswith("RARL_LIMIT_"))
            raise SettingError(f"{name} is not a setting; the limits are {limits}.")


def _tail(name: str) -> str:
    return name.removeprefix("RARL").strip("_")
