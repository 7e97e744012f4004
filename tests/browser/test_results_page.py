"""The Results page in Chromium: from a figure to the answers behind it, to a flag."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from app_process import ROOT, served

from demo.authentication import Person, SignIn
from demo.context import Parts
from demo.pages.components import panel
from demo.pages.results import Evaluations, Loaded, results_page
from demo.services.downloads import Downloads
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.uploads import Uploads
from demo.serving.modules import modules_route
from demo.theme import STYLE_SHEETS, head, reading_room
from rarl.inference.engine import Arm
from rarl.review import ReviewStore, open_store
from tests.demo.measured import LABEL, measure, write_set
from tests.evaluation.scripted_engine import ScriptedEngine

pytestmark = pytest.mark.browser


# In pixels of the screen, whatever the drawing is scaled to.
_SMALLEST_LABEL = """
Math.min(...[...document.querySelectorAll("#results-figures svg text")].map((text) => {
  const drawing = text.ownerSVGElement;
  const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(text).fontSize) * scale;
}))"""


class _Anyone(SignIn):
    """Stands for the guard, which is not before this page."""

    def person(self, request: object) -> Person:
        return Person(None, "visitor")


def _fails(path: Path) -> None:
    """Four images make no part that could be told from the rest, so one is put in."""
    summary = json.loads(path.read_text("utf-8"))
    summary["failures"] = [
        {
            "group": LABEL, "arm": "sft", "mode": "reason", "field": "modality", "stratum": "mri",
            "n": 30, "images": 30, "wrong": 0.75, "low": 0.6, "high": 0.9, "rest": 0.1,
            "excess": 0.65, "excess_low": 0.4, "excess_high": 0.9, "p": 0.001, "p_holm": 0.01,
        }
    ]  # fmt: skip
    path.write_text(json.dumps(summary), "utf-8")


SCRIPTED = Loaded("scripted", "", ScriptedEngine.arms)
MINE = Loaded("mine", "runs/mine", (Arm("mine", "Mine", "a" * 12),))


@pytest.fixture
def now() -> list[Loaded]:
    """What the app has loaded; the last one counts."""
    return [SCRIPTED]


@pytest.fixture(scope="module")
def sets_and_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of questions, and an evaluation of it. Read only."""
    folder = tmp_path_factory.mktemp("measured")
    root = write_set(folder / "sets")
    return root, measure(root, folder / "run")


@pytest.fixture
def page_and_store(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: list[Loaded],
    sets_and_run: tuple[Path, Path],
) -> Iterator[tuple[str, ReviewStore]]:
    """The page alone, over the files of a run, served from this process."""
    root, measured = sets_and_run
    monkeypatch.setenv("RARL_DATA", str(root))
    store = open_store(tmp_path / "home")
    with gr.Blocks(analytics_enabled=False) as app, gr.Tabs():
        with gr.Tab("Ask"):
            panel('<div class="viewer-stage">-</div>', elem_id="viewer")
        with gr.Tab("Results") as tab:
            run = Path(shutil.copytree(measured, tmp_path / "run"))
            _fails(run / "summary.json")
            evaluations = Evaluations([run], shipped=None)
            parts = Parts(
                EngineLoader(ScriptedEngine),
                Desk(store, sign_in=_Anyone("local")),
                {},
                tmp_path,
                Uploads(tmp_path),
                Downloads(tmp_path),
                KeptSessions(tmp_path / "sessions", Keep(0)),
            )
            results_page(parts, tab, evaluations, lambda: now[-1])
    _, address, _ = app.launch(
        theme=reading_room(), css_paths=STYLE_SHEETS, head=head(), prevent_thread_lock=True,
        quiet=True, app_kwargs={"routes": [modules_route()]},
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
    assert page.evaluate(_SMALLEST_LABEL) >= 12
    assert "In 3 of 3 comparisons" in page.inner_text("#results-opening")
    assert "These are figures of the loaded model." in page.inner_text("#results-opening")
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


def test_a_part_that_fails_opens_its_first_case_with_a_flag(
    page_and_store: tuple[str, ReviewStore], open_page: Callable[[str], Any]
) -> None:
    page = open_page(page_and_store[0])
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#results-figures svg")
    page.click(f'#results-lines [data-group="{LABEL}"]')
    page.click(f'#results-failures [data-group="{LABEL}"][data-field="modality"]')
    # One click to the case, one to the flag.
    case = page.locator("#results-case .case")
    case.wait_for()
    listed = page.locator("#results-list")
    listed.get_by_text("Modality: mri").wait_for()
    listed.get_by_text("3 questions").wait_for()
    case.locator(".arm-sft [data-event=complain]").click()
    page.get_by_text("Flag SFT’s answer").wait_for()
    listed.get_by_role("button", name="Show all").click()
    listed.get_by_text("Modality: mri").wait_for(state="detached")


def test_any_two_variants_are_compared_and_a_column_leads_to_its_making(
    page_and_store: tuple[str, ReviewStore], open_page: Callable[[str], Any]
) -> None:
    page = open_page(page_and_store[0])
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#results-figures svg")
    page.get_by_label("Compare").click()
    page.get_by_role("option", name="BASE and RARL").click()
    head = page.locator("#results-lines thead th")
    head.filter(has_text="Difference").wait_for()
    assert [text.split("\n")[0] for text in head.all_inner_texts()] == [
        "Questions", "BASE", "RARL", "Difference",
    ]  # fmt: skip
    # The list holds what RARL alone has right.
    row = page.locator("#results-list .row")
    row.wait_for()
    assert row.count() == 1
    page.click("#results-lines thead [data-arm=rarl]")
    making = page.locator("#results-made .made")
    making.wait_for()
    assert "How RARL was made" in making.inner_text()
    assert making.evaluate("section => document.activeElement === section")
    making.get_by_role("button", name="Close").click()
    making.wait_for(state="detached")


def test_a_model_without_evaluation_says_so_instead_of_anothers_figures(
    page_and_store: tuple[str, ReviewStore], now: list[Loaded], open_page: Callable[[str], Any]
) -> None:
    now.append(MINE)
    page = open_page(page_and_store[0])
    page.get_by_role("tab", name="Results").click()
    opening = page.locator("#results-opening")
    opening.get_by_text("The loaded model, mine, has no evaluation").wait_for()
    assert "rarl evaluate --model runs/mine" in opening.inner_text()
    assert not page.locator("#results-lines").is_visible()
    page.get_by_label("Evaluation", exact=True).click()
    page.get_by_role("option", name="scripted").click()
    page.wait_for_selector("#results-figures svg")
    assert "These are not the figures of the loaded model, mine" in opening.inner_text()
    # Chosen by hand, it stays.
    page.get_by_role("tab", name="Ask").click()
    page.get_by_role("tab", name="Results").click()
    page.wait_for_selector("#results-figures svg")
    assert page.locator("#results-lines").is_visible()


@pytest.mark.skipif(
    not (ROOT / "assets/pocket/config.json").exists(), reason="the embedded model is not built"
)
def test_own_evaluations_come_from_a_folder_or_from_the_page(
    tmp_path: Path, open_page: Callable[[str], Any], sets_and_run: tuple[Path, Path]
) -> None:
    run = shutil.copytree(sets_and_run[1], tmp_path / "runs" / "mine")
    archive = shutil.make_archive(str(tmp_path / "theirs"), "zip", run)
    with served(tmp_path / "home", None, RARL_RESULTS=str(tmp_path / "runs")) as (address, _):
        page = open_page(address)
        page.get_by_text("pocket ready").wait_for()
        page.get_by_label("Variants").click()
        page.get_by_role("option", name="Compare SFT and RARL").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Results").click()
        page.wait_for_selector("#results-figures svg")
        opening = page.locator("#results-opening")
        assert "These are figures of the loaded model." in opening.inner_text()
        page.click("#results-lines thead [data-arm=rarl]")
        page.locator("#results-made").get_by_text("181 rows about 160 images").wait_for()
        page.get_by_label("Evaluation", exact=True).click()
        page.get_by_role("option", name="questions, mine").click()
        opening.get_by_text("These are not the figures of the loaded model, pocket").wait_for()
        page.get_by_role("button", name="Add an evaluation").click()
        page.set_input_files("#results-files input", archive)
        page.click("#results-add-go")
        added = tmp_path / "home" / "evaluations"
        page.wait_for_function(
            "!document.querySelector('input[aria-label=Evaluation]').value.endsWith('mine')"
        )
        assert len(list(added.iterdir())) == 1
        # A visitor may not add one, and is not asked to.
        visitor = page.context.browser.new_context().new_page()
        visitor.set_default_timeout(60_000)
        visitor.goto(address)
        visitor.wait_for_selector("#viewer .viewer-stage")
        visitor.evaluate("document.querySelector('#tour')?.remove()")
        visitor.get_by_role("tab", name="Results").click()
        visitor.wait_for_selector("#results-figures svg")
        assert not visitor.locator("#results-add").count()
        visitor.context.close()
