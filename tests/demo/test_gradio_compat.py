"""The inside of Gradio is as `demo.compat` expects it; a failure says what changed."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import pytest
from gradio import blocks, http_server, oauth, processing_utils, queueing, routes
from gradio.context import LocalContext

from demo import compat

ROOT = Path(__file__).resolve().parents[2]
CHANGED = f"Gradio {gr.__version__} has changed: {{}}; adapt demo/compat.py and what uses it."
PARAMETERS: dict[Callable[..., object], str] = {
    queueing.Queue.push: "self body request username",
    queueing.Queue.get_events: "self",
    queueing.Event.__init__: "self session_hash fn request username",
    http_server.start_server: (
        "app server_name server_port ssl_keyfile ssl_certfile ssl_keyfile_password"
    ),
    routes.App.build_proxy_request: "self url_path",
    routes.secure_url_stream_response: "url request",
}


@pytest.mark.parametrize(
    ("function", "expected"), PARAMETERS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_the_functions_that_are_replaced(function: Callable[..., object], expected: str) -> None:
    names = list(inspect.signature(function).parameters)
    assert names == expected.split(), CHANGED.format(f"{function.__qualname__} takes {names}")


def test_the_queue_keeps_its_events_as_before() -> None:
    queue = queueing.Queue(False, 1, [], 1, gr.Blocks(), 1)
    for name in ("max_size", "active_jobs", "event_queue_per_concurrency_id", "max_thread_count"):
        assert hasattr(queue, name), CHANGED.format(f"Queue has no {name}")
    assert isinstance(gr.Blocks()._queue, queueing.Queue), CHANGED.format("Blocks._queue")
    source = inspect.getsource(queueing.EventQueue)
    for name in ("queue", "concurrency_limit", "current_concurrency"):
        assert f"self.{name}" in source, CHANGED.format(f"EventQueue has no {name}")


def test_launch_can_leave_out_its_look_at_the_page() -> None:
    assert not compat.WITHOUT_PAGE_CHECK.keys() - inspect.signature(gr.Blocks.launch).parameters
    source = inspect.getsource(gr.Blocks.launch)
    assert source.count("_frontend") == 2, CHANGED.format("launch does more with _frontend")
    assert "startup-events" in source, CHANGED.format("launch asks for no startup events")


def test_what_fetches_addresses_is_there_to_be_taken_away() -> None:
    for name in compat.SOON:
        function = getattr(processing_utils, name, None)
        assert inspect.iscoroutinefunction(function), CHANGED.format(f"processing_utils.{name}")
    for name in compat.NOW:
        function = getattr(processing_utils, name, None)
        assert callable(function) and not inspect.iscoroutinefunction(function), CHANGED.format(
            f"processing_utils.{name}"
        )


def test_the_server_is_started_where_ours_is_put() -> None:
    assert "http_server.start_server(" in inspect.getsource(blocks.Blocks.launch), CHANGED.format(
        "Blocks.launch calls something else than http_server.start_server"
    )
    name, ports = compat.default_ports(None)
    assert (name, ports[0]) == ("127.0.0.1", 7860) and len(ports) == 100
    assert compat.default_ports(8000)[1] == range(8000, 8001)


def test_the_request_of_an_event_is_in_the_context() -> None:
    assert compat.current_request() is None
    request = gr.Request(username="a")
    token = LocalContext.request.set(request)
    try:
        assert compat.current_request() is request, CHANGED.format("LocalContext.request")
    finally:
        LocalContext.request.reset(token)


def test_the_cookie_of_a_space_is_signed_as_before() -> None:
    source = inspect.getsource(oauth)
    assert '+ "-v4"' in source and "sha256(session_secret.encode()).hexdigest()" in source, (
        CHANGED.format("the key of the sign-in's cookie")
    )
    assert compat.space_cookie_secret("s") == compat.space_cookie_secret("s")


def test_the_inside_of_gradio_is_imported_by_compat_alone() -> None:
    public = {"gradio", "gradio.events"}
    elsewhere = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sorted((ROOT / "demo").rglob("*.py"))
        if path != ROOT / "demo/compat.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        for module in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
        if module.partition(".")[0] == "gradio" and module not in public
    ]
    assert not elsewhere, f"import it through demo/compat.py: {elsewhere}"
