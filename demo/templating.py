"""Render HTML templates with automatic escaping.

The Jinja2 templates in `demo/templates` escape every value that is put into them, unless the value
is `Markup` itself. Text of people, files and models is never `Markup`, so that forgetting a call to
`escape` cannot let it become part of a page.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from jinja2.ext import Extension
from markupsafe import Markup

from demo.brand import LOGO, NOTICE

_FOLDER = Path(__file__).with_name("templates")
# A line break between tags is a space on the page, where the tags stand in a line of text.
_BREAK_AT_TAG = re.compile(r"(?<=>)\s*\n\s*|(?<=[%#]\})\s*\n\s*|\s*\n\s*(?=<|\{%)")
_BREAK = re.compile(r"\s*\n\s*")


class OneLine(Extension):
    """Joins the lines of a template: a break next to a tag is nothing, any other is one space."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        r"""The source in one line; documents of their own keep their lines.

        >>> OneLine(Environment()).preprocess("<p>\n  one\n  two\n</p>\n", None)
        '<p>one two</p>'
        """
        if source.startswith("<!DOCTYPE"):
            return source
        return _BREAK.sub(" ", _BREAK_AT_TAG.sub("", source.strip()))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=[OneLine],
    )
    environment.globals |= {"logo": LOGO, "notice": NOTICE}
    return environment


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


def render_template(name: str, /, **values: object) -> Markup:
    """A template of `demo/templates`, filled in; every value is escaped.

    Args:
        name: path in that folder, such as "ask/history.html".
        values: what the template calls by name.
    """
    # Jinja2 has escaped the values.
    return Markup(_template(name).render(**values))  # noqa: S704
