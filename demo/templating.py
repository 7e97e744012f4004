"""Render HTML templates with automatic escaping.

`markup` and the Jinja2 templates in `demo/templates` escape every value that is put into them,
unless the value is `Markup` itself. Text of people, files and models is never `Markup`, so that
forgetting a call to `escape` cannot let it become part of a page.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

_FOLDER = Path(__file__).with_name("templates")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_template(name: str, **values: object) -> Markup:
    """A template of `demo/templates`, filled in; every value is escaped.

    Args:
        name: file name, such as "sign_in.html".
        values: what the template calls by name.
    """
    # Jinja2 has escaped the values.
    return Markup(_environment().get_template(name).render(**values))  # noqa: S704
