"""All settings: one field for each environment variable `RARL_*`.

`read_settings` reads them; nothing is read on import. `scripts/settings_table` writes the table of
docs/hosting.md from the fields.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, fields
from difflib import get_close_matches
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from rarl.errors import SettingError
from rarl.limits import Limits

_PREFIX = "RARL_"
_LIMIT = "RARL_LIMIT_"
_ALIKE = 0.8


def _split(value: object) -> object:
    """The entries of a list with commas between them."""
    if not isinstance(value, str):
        return value
    return [word.strip() for word in value.split(",") if word.strip()]


def _setting(
    description: str,
    value: str = "",
    default: Any = None,
    *,
    shown: str = "none",
    secret: bool = False,
    **more: Any,
) -> Any:
    """A field of `Settings`.

    Args:
        description: what the setting is for.
        value: what it must be, unit included, to complete "the variable must be ...".
        default: where the variable is not set.
        shown: the default in words, for the table.
        secret: whether `repr` leaves the value out.
        more: for `pydantic.Field`.
    """
    extra: JsonDict = {"value": value, "shown": shown}
    return Field(default, description=description, repr=not secret, json_schema_extra=extra, **more)


_Path = Annotated[Path, AfterValidator(Path.expanduser)]
_Commas = BeforeValidator(_split)


class Settings(BaseSettings):
    """The settings of a site, checked. The variable's name is the field's, in capitals."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="_", env_nested_max_split=1, frozen=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `read_settings` has read, so that nothing else decides."""
        return (init_settings,)

    model: str | None = _setting(
        "model: `pocket`, a folder, a name on the Hub, or a file that names variants",
        shown="`pocket`",
    )
    endpoint: str | None = _setting("an OpenAI-compatible server to ask instead", "an address")
    openai_api_key: str | None = _setting(
        "key for that server", secret=True, validation_alias="OPENAI_API_KEY"
    )
    weights: Literal["8bit"] | None = _setting(
        "`8bit` holds the weights of the model in 8 bits, on a CPU", shown="as stored"
    )
    judge_key: str | None = _setting(
        "key for the server of `--judge`", shown="`OPENAI_API_KEY`", secret=True
    )
    data: _Path | None = _setting(
        "datasets on this machine", "a folder", shown="`../shared/data`, if it exists"
    )
    results: _Path | None = _setting(
        "evaluations that Results offers besides that of the embedded model",
        "a folder that `rarl evaluate --out` wrote, or a folder of such folders",
    )
    home: _Path | None = _setting(
        "place of the review store", "a folder", shown="the platform's user-data folder"
    )
    database_url: str | None = _setting(
        "another database for the review store",
        "an address that SQLAlchemy understands",
        shown="SQLite in `RARL_HOME`",
        secret=True,
    )
    pixels: Literal["keep", "hash"] = _setting(
        "`hash` keeps only the hash of each picture", default="keep", shown="`keep`"
    )
    audit_share: float = _setting(
        "share of all questions that are kept at random for audits",
        "a number from 0 to 1",
        default=0.0,
        shown="0",
        ge=0,
        le=1,
    )
    flags_repo: str | None = _setting(
        "private dataset repository on the Hub that flags are copied to",
        "OWNER/NAME of a dataset",
        pattern=r"^[^/]+/[^/]+$",
    )
    flags_pixels: Literal["keep", "hash"] = _setting(
        "`keep` copies the pictures there as well", default="hash", shown="`hash`"
    )
    pseudonym_key: str | None = _setting(
        "secret that readers' pseudonyms in exports are made with; needed where the store does not "
        "outlast a restart, or pseudonyms would be others each time",
        "at least 16 characters",
        shown="one that the store makes and keeps",
        secret=True,
        min_length=16,
    )
    dicomweb: str = _setting("PACS that studies are opened from", "an address", default="")
    dicomweb_user: str = _setting("user name at the PACS", default="")
    dicomweb_password: str = _setting("its password", default="", secret=True)
    dicomweb_token: str = _setting(
        "bearer token for the PACS, instead of a user", default="", secret=True
    )
    keep_uids: bool = _setting(
        "keeps the UIDs of study, series and image with a case, so that reports refer to them, see "
        "[Reports](reports.md)",
        "`1` or `0`",
        default=False,
        shown="0",
    )
    fhir_server: str = _setting("FHIR R4 server that reports are sent to", "an address", default="")
    fhir_token: str = _setting("bearer token for it", default="", secret=True)
    session_keep: str = _setting(
        "how long scans and answers of a tab come back after a reload or a restart: until "
        "the browser is closed (a day at most), never, or for some hours; they lie encrypted in "
        "`RARL_HOME`, and the key is the browser's cookie",
        "`browser`, `off` or a number of hours up to 720",
        default="browser",
        shown="`browser`",
    )
    saved_sessions: str = _setting(
        "how many days sessions that a reader has named are kept; they lie encrypted in "
        "`RARL_HOME`, and the key is the cookie of the browser that named them",
        "`off` or a number of days up to 365",
        default="30",
        shown="30",
    )
    sign_in: str = _setting(
        "how people sign in, see [Sign-in](#sign-in)",
        "`htpasswd:FILE`, `huggingface` or `header:NAME`",
        default="",
        shown="a key that the start prints",
    )
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, _Commas] = _setting(
        "proxies whose header and `X-Forwarded-For` are accepted",
        "addresses or networks, such as 10.0.0.0/8, with commas between",
        default=(),
        shown="none; with `header:NAME` this machine",
    )
    embed_origins: Annotated[tuple[str, ...], NoDecode, _Commas] = _setting(
        "sites that may show the page in a frame",
        "addresses such as https://portal.example, with commas between",
        default=(),
        shown="none; on a Space huggingface.co",
    )
    people: _Path | None = _setting(
        "the list of roles", "a file", shown="`people.yaml` in `RARL_HOME`"
    )
    cache: _Path | None = _setting(
        "models that are put together once, see [the embedded model](base.md)",
        "a folder",
        shown="the user's cache folder",
    )
    build: _Path | None = _setting(
        "work folder of `scripts/build_pocket`", "a folder", shown="`.build` in the checkout"
    )
    venv: _Path | None = _setting(
        "environment that `scripts/demo` and `scripts/test` make", "a folder", shown="`.venv`"
    )
    python: str | None = _setting(
        "Python that they make it with", "a program", shown="`python3.11` to `python3.13`"
    )
    limit: Limits = Field(default_factory=Limits, description="limits on files and pictures")


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings as the environment says now.

    An empty variable counts as unset, and spaces around a value are left out.

    Args:
        environment: all environment variables; `os.environ` where None.

    Raises:
        SettingError: a value cannot be used; the sentence names the variable, and not the value.

    >>> read_settings({"RARL_AUDIT_SHARE": "0.5", "RARL_LIMIT_FRAMES": "3"}).limit.frames
    3
    """
    environment = os.environ if environment is None else environment
    source = EnvSettingsSource(Settings)
    source.env_vars = {
        name.lower(): environment[name].strip()
        for name in known_settings()
        if environment.get(name, "").strip()
    }
    try:
        settings = Settings.model_validate(source())
    except ValidationError as error:
        raise _refusal(*map(str, error.errors()[0]["loc"])) from None
    for name, number in asdict(settings.limit).items():
        if not 0 < number < inf:
            raise _refusal("limit", name)
    return settings


def _refusal(name: str, part: str = "", *_: str) -> SettingError:
    """The sentence on a value that cannot be used."""
    if name == "limit":
        kind = "number" if part.endswith("_seconds") else "whole number"
        return SettingError(
            f"{_LIMIT}{part.upper()} must be a {kind} above 0; correct or unset it."
        )
    must = _value_of(Settings.model_fields[name]).replace("`", "")
    return SettingError(f"{variable_of(name)} must be {must}; correct or unset it and start again.")


def _value_of(field: FieldInfo) -> str:
    """What a setting must be, in words."""
    kinds = (field.annotation, *get_args(field.annotation))
    offered = [value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    if offered:
        return " or ".join(f"`{value}`" for value in offered)
    return _extra(field)["value"]


def _extra(field: FieldInfo) -> dict[str, str]:
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    return {key: str(value) for key, value in extra.items()}


def known_settings() -> tuple[str, ...]:
    """All variables, those of `Limits` included."""
    names = [variable_of(name) for name in Settings.model_fields if name != "limit"]
    return (*names, *(f"{_LIMIT}{field.name.upper()}" for field in fields(Limits)))


def variable_of(name: str) -> str:
    """The environment variable of a field of `Settings`."""
    return str(Settings.model_fields[name].validation_alias or f"{_PREFIX}{name.upper()}")


def as_markdown() -> str:
    """The table of all settings in docs/hosting.md."""
    rows = ["| setting | purpose | value | default |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        if name != "limit":
            cells = (field.description or "", _value_of(field), _extra(field)["shown"])
            rows.append(f"| `{variable_of(name)}` | {' | '.join(cells)} |")
    for limit in fields(Limits):
        unit, description = limit.metadata["unit"], limit.metadata["description"]
        default = f"{limit.default:,.0f}"
        rows.append(f"| `{_LIMIT}{limit.name.upper()}` | {description} | {unit} | {default} |")
    return "\n".join(rows)


def check_settings(environment: Mapping[str, str]) -> None:
    """Refuse a value that cannot be used, and a variable whose name is nearly that of a setting.

    A name that resembles none may be a site's own and is left alone.

    Args:
        environment: all environment variables.

    Raises:
        SettingError: one is mistyped; the sentence says what it should be.

    >>> check_settings({"RARL_PIXELS": "hash", "PATH": "/bin"})
    """
    read_settings(environment)
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
            limits = ", ".join(entry for entry in known if entry.startswith(_LIMIT))
            raise SettingError(f"{name} is not a setting; the limits are {limits}.")


def _tail(name: str) -> str:
    return name.removeprefix("RARL").strip("_")
