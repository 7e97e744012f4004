"""The page: its frame and its tabs. Each tab is a module of its own beside this one."""

from __future__ import annotations

from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from demo import render
from demo.api import add_api
from demo.ask_page import ask_page
from demo.asking import arm_choices
from demo.components import panel
from demo.guide import key_sheet
from demo.parts import NOW, Parts, Update, make_parts
from demo.ratings import votes_panel
from demo.results import results_page
from demo.review import review_page
from demo.review.api import add_review_api
from demo.serving.ending import serve_until_told
from demo.serving.guard import Guard
from demo.serving.health import health_route
from demo.session import Session
from demo.theme import STYLE_SHEETS, head, reading_room
from demo.uploads import MAX_UPLOAD_BYTES

__all__ = ["build", "launch", "make_parts"]


def build(parts: Parts) -> Any:
    """Lay out the page and wire it."""
    with gr.Blocks(
        title="RARL",
        analytics_enabled=False,
        fill_width=True,
        # Whatever an interrupted upload left behind is gone within the hour.
        delete_cache=(600, 3600),
    ) as app:
        session = gr.State(Session(), time_to_live=8 * 3600)
        panel(render.masthead(), elem_id="masthead")
        pill = panel(render.engine_pill(parts.loader), elem_id="engine")
        panel(render.notice(), elem_id="notice")
        with gr.Tabs(elem_id="pages"):
            with gr.Tab("Ask", id="ask"):
                arms, follow = ask_page(parts, session)
            with gr.Tab("Results", id="results") as results:
                results_page(parts.desk, results)
                votes_panel(parts.desk, results)
            with gr.Tab("Review", id="review") as review:
                review_page(parts, session, review)
        add_api(parts)
        add_review_api(parts)
        foot = panel(render.footer(parts.loader), elem_id="footer")
        panel(key_sheet(), elem_id="sheet")
        timer = gr.Timer(0.7)

        def engine_state(choice: str) -> Update:
            waiting = parts.loader.phase == "loading"
            update: Update = {
                pill: render.engine_pill(parts.loader),
                timer: gr.Timer(active=waiting),
            }
            if not waiting:
                choices = arm_choices(parts.arms())
                update[foot] = render.footer(parts.loader)
                kept = choice if choice in {value for _, value in choices} else choices[0][1]
                update[arms] = gr.Dropdown(choices=choices, value=kept)
                update[follow] = gr.Checkbox(visible=any(arm.chats for arm in parts.arms()))
            return update

        gr.on([timer.tick, app.load], engine_state, arms, [pill, foot, timer, arms, follow], **NOW)
    return app


def launch(app: gr.Blocks, parts: Parts, **options: Any) -> None:
    """Serve the page until the process ends; Gradio's own environment variables say where.

    Args:
        app: what `build` returned.
        parts: what it was built from.
        options: handed on to `gr.Blocks.launch`.
    """
    app.queue(default_concurrency_limit=16, max_size=64)
    guard = Middleware(Guard, cache=parts.cache, uploaded=lambda path: path in app.upload_file_set)
    app.launch(
        app_kwargs={
            "routes": [parts.frames.route(), parts.downloads.route(), health_route(parts.loader)],
            "middleware": [guard],
        },
        theme=reading_room(),
        css_paths=STYLE_SHEETS,
        head=head(),
        footer_links=[],
        run_history=False,  # it would keep questions in the browser
        enable_monitoring=False,
        ssr_mode=False,
        show_error=False,
        max_file_size=MAX_UPLOAD_BYTES,
        prevent_thread_lock=True,
        **parts.desk.sign_in.launch_options(),
        **options,
    )
    # The page is up before torch begins to load.
    parts.loader.start()
    parts.desk.begin()
    serve_until_told(app, parts.loader, parts.desk)
