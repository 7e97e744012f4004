"""The viewer as a Gradio component."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

_TEMPLATE = Path(__file__).parents[1] / "templates" / "viewer.html"

# The names in quotes are what handlers may listen to: "opened" with {paths, add}, "chosen" with
# {name, index, add}, "removed" and "activated" with {token}, "see" and "measured" with what
# `take_report` reads as {report}, "about" with {token, key, report}.
_ON_LOAD = """
pageModules.then(() => RarlViewer.mount(element, props, trigger, upload, watch,
  ["opened", "chosen", "removed", "activated", "see", "measured", "about"]));
"""

REPORT = "(await pageModules, RarlViewer.report())"
"""JavaScript, within an async function, for what `take_report` reads: how each scan is shown."""


def viewer_panel(file_bytes: int) -> gr.HTML:
    """The viewer; its value is what `page_spec` returns.

    Args:
        file_bytes: larger files are refused before they are sent.
    """
    return gr.HTML(
        {},
        # Constant: nothing that a file or a person brought ever reaches the template.
        html_template=_TEMPLATE.read_text(encoding="utf-8"),
        js_on_load=_ON_LOAD,
        apply_default_css=False,
        elem_id="viewer",
        file_bytes=file_bytes,
    )
