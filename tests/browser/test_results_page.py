"""The Results page in Chromium: from a figure to the answers behind it, to a flag."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from demo.components import panel
from demo.flagging import Desk
from demo.results import results_page
from demo.signing_in import Person, SignIn
from demo.theme import STYLE_SHEETS, head, reading_room
from rarl.review import ReviewStore, open_store
from tests.demo.measured import LABEL, measure, write_set

pytestmark = pytest.mark.browser


class _Anyone(SignIn):
    """Stands for the guard, which is not before this page."""

    def person(self, request: object) -> Person:
        return Person(None, "visitor")


@pytest.fixture
def page_and_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, ReviewStore]]:
    """The page alone, over the files of a run, served from this process."""
    root = write_set(tmp_path / "sets")
    monkeypatch.setenv("RARL_DATA", str(root))
    store = open_store(tmp_path / "home")
    with gr.Blocks(analytics_enabled=False) as app, gr.Tabs():
        with gr.Tab("Ask"):
            panel('<div class="viewer-stage">-</div>', elem_id="viewer")
        with gr.Tab("Results") as tab:
            results_page(
                Desk(store, sign_in=_Anyone("local")), tab, measure(root, tmp_path / "run")
            )
    _, address, _ = app.launch(
        theme=reading_room(), css_paths=STYLE_SHEETS, head=head(), prevent_thread_lock=True,
        quiet=True,
    )  # fmt: skip
    yield address.rstrip("/"), store
    app.close()
    store.close()


def test_from_a_figure_to_a_flag(
    page_and_store: tuple[str, ReviewStore], open_page: Callable[[str], Any]
) -> None:
    address, store = page_and_store
    page = open_page(address)
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#results-figures svg")
    assert page.locator("#results-figures svg").count() == 3
    assert "In 3 of 3 comparisons" in page.inner_text("#results-opening")
    page.click(f'#results-lines [data-group="{LABEL}"]')

    # RARL is right where SFT is wrong on the red image alone.
    row = page.locator("#results-list .row")
    row.wait_for()
    assert row.count() == 1
    row.click()
    case = page.locator("#results-case .case")
    case.wait_for()
    assert case.locator(".stage img").evaluate("image => image.naturalWidth") == 64
    assert case.locator(".arm .answer").all_inner_texts() == ["no tumor", "no tumor", "a glioma"]
    assert "It is rarl." in case.locator(".arm-rarl .why").inner_text()

    case.locator(".arm-sft [data-event=complain]").click()
    page.get_by_label("Missed finding").check()
    page.get_by_label("Could harm a patient").check()
    page.fill("#results-flag textarea", "There is a glioma.")
    page.click("#results-save")
    page.get_by_text("is saved").wait_for()
    (flag,) = store.flags()
    assert (flag.arm, flag.category, flag.comment) == (
        "sft", "missed-finding", "There is a glioma.",
    )  # fmt: skip

    # On a telephone nothing runs out of the page.
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
