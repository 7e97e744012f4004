"""The theme. Every colour is a token of static/css/tokens.css, dark and light."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from demo.brand import FAVICON
from demo.serving.modules import main_address, module_addresses
from demo.templating import render_template

_STATIC = Path(__file__).parent / "static"
# In this order: tokens and what is shared come first.
STYLE_SHEETS = [
    _STATIC / "css" / f"{name}.css"
    for name in (
        "tokens",
        "base",
        "frame",
        "ask",
        "viewer",
        "report",
        "review",
        "results",
    )
]

# Fonts that are on the machine already: the page asks no other host for anything.
_SANS = ["Inter", "SF Pro Text", "Segoe UI", "Helvetica Neue", "Liberation Sans", "Arial",
         "sans-serif"]  # fmt: skip
_MONO = ["SF Mono", "Cascadia Mono", "Consolas", "Liberation Mono", "monospace"]


def reading_room() -> gr.themes.Base:
    """Gradio's own widgets, in the tokens of the style sheet."""
    theme = gr.themes.Base(
        font=_SANS,
        font_mono=_MONO,
        radius_size=gr.themes.sizes.radius_md,
        text_size=gr.themes.sizes.text_md,
    )
    both = {
        "body_background_fill": "var(--ground)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--ink-soft)",
        "background_fill_primary": "var(--surface)",
        "background_fill_secondary": "var(--ground)",
        "block_background_fill": "transparent",
        "block_border_color": "var(--line)",
        "block_label_background_fill": "transparent",
        "block_label_text_color": "var(--ink-soft)",
        "block_title_text_color": "var(--ink-soft)",
        "block_info_text_color": "var(--ink-soft)",
        "border_color_primary": "var(--line)",
        "border_color_accent": "var(--accent)",
        "color_accent": "var(--accent)",
        "color_accent_soft": "var(--accent-wash)",
        "link_text_color": "var(--accent)",
        "input_background_fill": "var(--well)",
        "input_background_fill_focus": "var(--well)",
        "input_border_color": "var(--edge)",
        "input_border_color_focus": "var(--accent)",
        "input_placeholder_color": "var(--ink-faint)",
        "button_primary_background_fill": "var(--accent)",
        "button_primary_background_fill_hover": "var(--accent-strong)",
        "button_primary_text_color": "var(--on-accent)",
        "button_primary_border_color": "transparent",
        "button_secondary_background_fill": "var(--raised)",
        "button_secondary_background_fill_hover": "var(--raised-hover)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_border_color": "var(--edge)",
        "checkbox_background_color": "var(--well)",
        "checkbox_background_color_selected": "var(--accent)",
        "checkbox_border_color": "var(--edge)",
        "checkbox_label_background_fill": "transparent",
        "checkbox_label_background_fill_hover": "var(--raised)",
        "checkbox_label_background_fill_selected": "var(--accent-wash)",
        "checkbox_label_text_color": "var(--ink)",
        "checkbox_label_text_color_selected": "var(--ink)",
        "checkbox_label_border_color": "var(--line)",
        "checkbox_label_border_color_selected": "var(--accent)",
        "panel_background_fill": "transparent",
        "panel_border_color": "transparent",
    }
    plain = {
        "block_border_width": "0px",
        "block_shadow": "none",
        "block_padding": "0px",
        "block_label_text_size": "0.8125rem",
        "block_title_text_size": "0.8125rem",
        "block_title_text_weight": "500",
        "button_large_radius": "8px",
        "button_medium_radius": "8px",
        "layout_gap": "16px",
        "shadow_drop": "none",
        "shadow_drop_lg": "none",
    }
    known = vars(theme)
    settings = {**plain, **both}
    settings |= {f"{name}_dark": value for name, value in both.items() if f"{name}_dark" in known}
    theme.set(**settings)
    return theme


def head() -> str:
    """The icon and the page's modules; the background comes before any style sheet."""
    load_modules = render_template(
        "frame/load_modules.html", main=main_address(), modules=module_addresses()
    )
    return (
        f'<link rel="icon" href="data:image/svg+xml,{FAVICON}">'
        '<meta name="color-scheme" content="dark light">'
        "<style>html,body{background:#0c1114}</style>"
        f"{load_modules}"
    )
