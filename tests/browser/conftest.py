"""A model, a browser, and pages that fail a test on script errors and foreign requests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from app_process import CHROMIUM, ROOT, App, missing, served, with_key

# The file with planted identifiers is built beside the tests of the scans.
sys.path.append(str(ROOT / "tests" / "scans"))


@pytest.fixture(scope="session")
def model(request: pytest.FixtureRequest) -> str:
    """The embedded model of 9 M parameters; a random one where it has not been built."""
    if (ROOT / "assets" / "tiny" / "config.json").exists():
        return "tiny"
    return str(request.getfixturevalue("tiny_model"))


@pytest.fixture(scope="session")
def app(model: str | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """One app with the settings that it has by itself, for every test that can share it."""
    home = tmp_path_factory.mktemp("app") / "home"
    with served(home, model) as (address, log):
        yield App(address, log, home)


@pytest.fixture(scope="session")
def address(app: App) -> str:
    """Where the shared app listens."""
    return app.address


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if CHROMIUM is None:
        missing("Chromium is not installed.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(autouse=True)
def closed_contexts(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close what a test has opened: a page that is left goes on asking for its app."""
    if "browser" not in request.fixturenames:
        yield
        return
    browser = request.getfixturevalue("browser")
    before = list(browser.contexts)
    yield
    for context in browser.contexts:
        if context not in before:
            context.close()


@pytest.fixture
def open_page(browser) -> Iterator[Callable]:  # type: ignore[no-untyped-def,type-arg]
    """Open a page that fails the test on script errors and on requests to other hosts."""
    opened = []

    def open_it(address: str):  # type: ignore[no-untyped-def]
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.set_default_timeout(60_000)
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(f"script: {error}"))
        page.on(
            "request",
            lambda request: (
                troubles.append(f"request: {request.url}")
                if not request.url.startswith((address, "data:", "blob:"))
                else None
            ),
        )
        page.goto(with_key(address))
        page.wait_for_selector("#viewer .viewer-stage")
        page.wait_for_function("window.RarlPage")  # its modules have arrived
        opened.append((context, troubles))
        return page

    yield open_it
    for context, _ in opened:
        context.close()
    assert not [trouble for _, troubles in opened for trouble in troubles]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Try a browser test again where a page kept it waiting for a whole minute.

    A machine that is busy starves Chromium or the app now and then. Every other failure counts at
    once, and the summary names what was tried twice.
    """
    here = str(ROOT / "tests" / "browser")
    again = pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"])
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(again)
