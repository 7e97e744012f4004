"""A custom component: HTML rendered in Python whose buttons trigger Python events."""

from __future__ import annotations

from typing import Any

import gradio as gr

# A button with data-event="flagged" data-arm="rl" triggers "flagged" with {arm: "rl"}.
_JS = """
const events = new Set([%s]);
element.addEventListener("click", (click) => {
  const button = click.target.closest("[data-event]");
  if (button && events.has(button.dataset.event)) {
    const { event, ...rest } = button.dataset;
    trigger(event, rest);
  }
});
"""


def bare_textbox(label: str, placeholder: str, elem_id: str, **more: Any) -> gr.Textbox:
    """A text field without a frame; screen readers read its label.

    Args:
        label: for screen readers.
        placeholder: stands in the empty field.
        elem_id: id for the style sheet.
        more: further arguments of `gr.Textbox`.
    """
    return gr.Textbox(
        label=label,
        show_label=False,
        container=False,
        placeholder=placeholder,
        elem_id=elem_id,
        **more,
    )


def panel(value: str = "", *, elem_id: str, events: tuple[str, ...] = ()) -> gr.HTML:
    """HTML from `demo.pages.render`, with events that its buttons trigger.

    Args:
        value: escaped HTML.
        elem_id: id for the style sheet.
        events: names that `data-event` attributes inside may trigger; listen to one with
            `panel.NAME(handler, ...)`, and read its data attributes from `gr.EventData`.
    """
    return gr.HTML(
        value,
        # Nothing but the value: see `demo.pages.render` on why.
        html_template="${value}",
        js_on_load=_JS % ", ".join(f'"{name}"' for name in events) if events else None,
        apply_default_css=False,
        elem_id=elem_id,
    )
