"""Build the page: its frame and its tabs. Each tab is a module of its own."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from demo.api import add_api
from demo.api_info import describe_api
from demo.authentication import KEY_PARAMETER
from demo.compat import WITHOUT_PAGE_CHECK, forget_downloader
from demo.context import NOW, Parts, Update, make_parts
from demo.pages import frame
from demo.pages.ask.onboarding import key_sheet
from demo.pages.ask.page import ask_page
from demo.pages.ask.variants import with_pairs
from demo.pages.components import panel
from demo.pages.facts import FactsLabels
from demo.pages.report.api import add_report_api
from demo.pages.report.opening import report_opening
from demo.pages.report.page import report_page
from demo.pages.results import Evaluations, loaded_by, results_page
from demo.pages.results.ratings import votes_panel
from demo.pages.review import review_page
from demo.pages.review.api import add_review_api
from demo.pages.review.page import sign_out
from demo.services.ask import AskService
from demo.services.asking import arm_choices
from demo.services.fair_queue import share_queue
from demo.services.reporting import ReportService
from demo.services.uploads import max_upload_bytes
from demo.serving.health import health_route
from demo.serving.middleware import Guard
from demo.serving.modules import modules_route
from demo.serving.page_cache import PageCache
from demo.serving.password_sign_in import Gate
from demo.serving.server import listening
from demo.serving.shutdown import serve_until_told
from demo.session import Session
from demo.theme import STYLE_SHEETS, head, reading_room

__all__ = ["build", "launch", "make_parts"]


def build(parts: Parts) -> Any:
    """Lay out the page and wire it.

    Raises:
        SettingError: RARL_RESULTS is no folder.
    """
    evaluations = Evaluations.from_environment()
    labels = FactsLabels(parts, evaluations)
    with gr.Blocks(
        title="RARL",
        analytics_enabled=False,
        fill_width=True,
        # Whatever an interrupted upload left behind is gone within the hour.
        delete_cache=(600, 3600),
    ) as app:
        session = gr.State(Session(), time_to_live=8 * 3600)
        panel(frame.masthead(sign_out(parts.desk.sign_in)), elem_id="masthead")
        pill = panel(frame.engine_pill(parts.loader), elem_id="engine")
        panel(frame.notice(), elem_id="notice")
        opening = report_opening(parts)
        with gr.Tabs(elem_id="pages"):
            with gr.Tab("Ask", id="ask"):
                arms, follow = ask_page(parts, session, app, labels, opening)
            with gr.Tab("Report", id="report"):
                report_page(parts, session)
            with gr.Tab("Results", id="results") as results:
                results_page(parts, results, evaluations, lambda: loaded_by(parts.loader))
                votes_panel(parts.desk, results)
            with gr.Tab("Review", id="review") as review:
                review_page(parts, session, review, opening)
        service = AskService(parts)
        add_api(parts, service, labels)
        add_review_api(parts)
        add_report_api(ReportService(parts, service))
        foot = panel(frame.footer(parts.loader), elem_id="footer")
        panel(key_sheet(), elem_id="sheet")
        timer = gr.Timer(0.7)

        def engine_state(choice: str) -> Update:
            waiting = parts.loader.phase == "loading"
            update: Update = {
                pill: frame.engine_pill(parts.loader),
                timer: gr.Timer(active=waiting),
            }
            if not waiting:
                choices = with_pairs(arm_choices(parts.arms()), parts.arms())
                update[foot] = frame.footer(parts.loader)
                kept = choice if choice in {value for _, value in choices} else choices[0][1]
                update[arms] = gr.Dropdown(choices=choices, value=kept)
                update[follow] = gr.Checkbox(visible=any(arm.chats for arm in parts.arms()))
            return update

        def left(request: gr.Request) -> None:
            parts.pages.left(request, parts.budget)

        app.unload(left)
        gr.on([timer.tick, app.load], engine_state, arms, [pill, foot, timer, arms, follow], **NOW)
    describe_api(app, parts)
    return app


def launch(app: gr.Blocks, parts: Parts, *, mcp: bool = False) -> None:
    """Serve the page until the process ends; Gradio's own environment variables say where.

    Args:
        app: what `build` returned.
        parts: what it was built from.
        mcp: whether MCP clients are served too.
    """
    start(app, parts, mcp=mcp)
    announce(app, parts)
    # The page is up before torch begins to load.
    parts.loader.start()
    parts.desk.begin()
    serve_until_told(app, parts.loader, parts.desk)


def start(app: gr.Blocks, parts: Parts, *, mcp: bool = False, **options: Any) -> None:
    """Begin to serve the page, behind the guard.

    Args:
        app: what `build` returned.
        parts: what it was built from.
        mcp: whether MCP clients are served too.
        options: handed on to `gr.Blocks.launch`.
    """
    share_queue(app)
    sign_in = parts.desk.sign_in
    prefix = urlsplit(options.get("root_path") or os.environ.get("GRADIO_ROOT_PATH") or "").path

    def guarded(inner: ASGIApp) -> ASGIApp:
        return Guard(
            PageCache(inner),
            sign_in,
            parts.uploads,
            parts.cache,
            prefix,
            disk=parts.disk,
            visitor_seconds=parts.keeper.keep.cookie_seconds,
            lasting_seconds=parts.saved.cookie_seconds if parts.saved else 0,
        )

    kwargs: dict[str, Any] = {"routes": own_routes(parts)}
    if mcp:
        from demo.serving.mcp import McpServer  # which needs the package mcp

        server = McpServer(parts, AskService(parts))
        kwargs["routes"].append(server.route())
        kwargs["lifespan"] = server.lifespan
    forget_downloader()
    with listening(guarded):
        app.launch(
            app_kwargs=kwargs,
            theme=reading_room(),
            css_paths=STYLE_SHEETS,
            head=head(),
            footer_links=[],
            run_history=False,  # it would keep questions in the browser
            enable_monitoring=False,
            ssr_mode=False,
            show_error=False,
            max_file_size=max_upload_bytes(),
            prevent_thread_lock=True,
            mcp_server=False,  # Gradio's own calls back from this machine in its callers' names
            quiet=True,
            **WITHOUT_PAGE_CHECK,
            **sign_in.launch_options(),
            **options,
        )


def own_routes(parts: Parts) -> list[BaseRoute]:
    """What the app answers besides Gradio; `demo.serving.routes` lists all that may be asked."""
    return [
        modules_route(),
        *parts.frames.routes(),
        parts.downloads.route(),
        health_route(parts.loader, parts.desk),
        *Gate(parts.desk.sign_in, left=parts.keeper.forget).routes(),
    ]


def announce(app: gr.Blocks, parts: Parts) -> None:
    """Print where the page is; without a sign-in, with the key that makes its admin."""
    address = str(app.local_url)
    if parts.desk.sign_in.way != "local":
        print(f"* Running on local URL:  {address}", flush=True)
        return
    key = f"?{KEY_PARAMETER}={parts.desk.sign_in.key.secret}"
    print(f"* Running on local URL:  {address}{key}", flush=True)
    print("* With this key it opens for the admin, without it for visitors.", flush=True)
