"""The page: widgets, and which handler each one wakes. The work is done in the modules beside.

Handlers return `{widget: update}`; a widget that is left out stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from demo import render
from demo.asking import (
    COMPARE,
    MODE_LABELS,
    OUR_FAULT,
    Progress,
    ask,
    chosen_arms,
    log_fault,
    seen,
    suggestions,
)
from demo.asking import arm_choices as choices_for
from demo.components import panel
from demo.examples import BUILT_IN, OpenedExample, open_examples, vqa_rad_rows
from demo.flagging import EVERY, Desk, chosen_filter, export_path
from demo.identity import doubts
from demo.loading import EngineLoader
from demo.session import ROLES, Session
from demo.theme import STYLE_SHEET, head, reading_room
from demo.uploads import MAX_UPLOAD_BYTES, private_cache, take_uploads
from demo.viewer import REPORT, FrameServer, open_scan, page_spec, take_report, viewer_panel
from rarl.errors import QuestionError, RarlError
from rarl.inference.engine import Arm
from rarl.response import Mode
from rarl.review import CATEGORIES, COMMENT_LIMIT, SEVERITIES

Update = dict[Any, Any]
Examples = dict[str, OpenedExample]

# Until the engine says what it offers.
_USUAL_ARMS = tuple(Arm(name, render.label_of(name), "") for name in ("base", "sft", "rl", "rarl"))
# Events of a page are nobody's programming interface.
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_NOW: dict[str, Any] = {**_QUIET, "queue": False}
_FOCUS = "() => document.querySelector('%s')?.focus()"


@dataclass(frozen=True, slots=True)
class Parts:
    """What all handlers share, made once per app.

    Attributes:
        loader: the engine, or on its way.
        desk: the review store.
        examples: scans on offer, by key.
        cache: the private folder that Gradio may serve.
        frames: lets each page read the frames of its own scans.
    """

    loader: EngineLoader
    desk: Desk
    examples: Examples
    cache: Path
    frames: FrameServer = field(default_factory=FrameServer)

    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer, or the usual ones while the engine is loading."""
        return self.loader.engine.arms if self.loader.engine else _USUAL_ARMS

    def labels(self) -> dict[str, str]:
        """Arm name to what the page calls it."""
        return {arm.name: arm.label for arm in self.arms()}


def make_parts(loader: EngineLoader | None = None) -> Parts:
    """The parts of an app; `launch` starts the loading unless a loader is handed in."""
    cache = private_cache()
    return Parts(
        loader or EngineLoader(),
        Desk(),
        open_examples((*BUILT_IN, *vqa_rad_rows())),
        cache,
    )


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
                arms = _ask_page(parts, session)
            with gr.Tab("Review", id="review") as review:
                _review_page(parts, session, review, app)
        foot = panel(render.footer(parts.loader), elem_id="footer")
        timer = gr.Timer(0.7)

        def engine_state(choice: str) -> Update:
            waiting = parts.loader.phase == "loading"
            update: Update = {
                pill: render.engine_pill(parts.loader),
                timer: gr.Timer(active=waiting),
            }
            if not waiting:
                choices = choices_for(parts.arms())
                update[foot] = render.footer(parts.loader)
                kept = choice if choice in {value for _, value in choices} else choices[0][1]
                update[arms] = gr.Dropdown(choices=choices, value=kept)
            return update

        gr.on([timer.tick, app.load], engine_state, arms, [pill, foot, timer, arms], **_NOW)
    return app


def launch(app: gr.Blocks, parts: Parts, **options: Any) -> None:
    """Serve the page until the process ends; Gradio's own environment variables say where.

    Args:
        app: what `build` returned.
        parts: what it was built from.
        options: handed on to `gr.Blocks.launch`.
    """
    app.queue(default_concurrency_limit=4)
    app.launch(
        app_kwargs={"routes": [parts.frames.route()]},
        theme=reading_room(),
        css_paths=STYLE_SHEET,
        head=head(),
        footer_links=[],
        run_history=False,  # it would keep questions in the browser
        enable_monitoring=False,
        ssr_mode=False,
        show_error=False,
        max_file_size=MAX_UPLOAD_BYTES,
        prevent_thread_lock=True,
        **options,
    )
    # The page is up before torch begins to load.
    parts.loader.start()
    app.block_thread()


# --- Ask -----------------------------------------------------------------------------------------


def _ask_page(parts: Parts, session: gr.State) -> gr.Dropdown:
    """Scan on the left, question and answers on the right. Returns the arm selector."""
    with gr.Row(elem_id="ask-page"):
        with gr.Column(elem_id="scan-side"):
            viewer = viewer_panel(MAX_UPLOAD_BYTES)
            facts = panel(elem_id="scan-facts")
            strip = panel(
                render.example_strip(parts.examples.values()), elem_id="examples", events=("pick",)
            )
        with gr.Column(elem_id="answer-side"):
            with gr.Column(elem_id="composer"):
                with gr.Row(elem_id="ask-line"):
                    question = gr.Textbox(
                        label="Question",
                        show_label=False,
                        container=False,
                        placeholder="Ask about the scan. Enter sends.",
                        lines=1,
                        max_lines=3,
                        elem_id="question",
                        autofocus=True,
                        scale=1,
                    )
                    # The style sheet shows one of the two, by whether the board is running.
                    go = gr.Button("Ask", variant="primary", elem_id="ask", scale=0)
                    halt = gr.Button("Stop", elem_id="stop", scale=0)
                chips = panel(render.chips(suggestions(None)), elem_id="chips", events=("suggest",))
                with gr.Row(elem_id="choices"):
                    mode = gr.Radio(
                        list(MODE_LABELS),
                        value="reason",
                        label="Form of the answer",
                        show_label=False,
                        container=False,
                        elem_id="mode",
                        scale=1,
                    )
                    choices = choices_for(parts.arms())
                    arms = gr.Dropdown(
                        choices,
                        value=COMPARE,
                        label="Variants",
                        show_label=False,
                        container=False,
                        elem_id="arms",
                        filterable=False,
                        scale=0,
                        min_width=270,
                    )
            note = panel(elem_id="note", events=("keep", "retype"))
            board = panel(
                render.board(render.default_progress(), Session(), parts.labels()),
                elem_id="board",
                events=("flagged",),
            )
            behind = panel(elem_id="behind")
    inside = panel(elem_id="seen", events=("close",))
    serials = count(1)

    def spec(held: Session) -> dict[str, Any]:
        return page_spec(held.scans, held.active, next(serials))

    def shown(held: Session, choice: str) -> Update:
        # Answers to the last scan must never stand beside this one.
        return {
            viewer: spec(held),
            facts: render.facts(held),
            chips: render.chips(suggestions(held.active.modality if held.active else None)),
            board: render.board(Progress(chosen_arms(choice)), held, parts.labels()),
            behind: "",
            note: "",
        }

    def opened(event: gr.EventData, held: Session, choice: str) -> Update:
        paths = [str(path) for path in getattr(event, "paths", ())]
        beside = bool(getattr(event, "add", False)) and bool(held.scans)
        try:
            stacks = take_uploads(paths, parts.cache)
            if beside and not held.has_room(len(stacks)):
                raise QuestionError(
                    f"A question takes {len(ROLES)} scans at most; remove one before you add."
                )
            for stack in stacks:
                held.show(open_scan(stack, parts.frames, "Your scan"), beside)
                beside = True
        except RarlError as error:
            return {viewer: spec(held), facts: render.facts(held, str(error))}
        except Exception as error:
            log_fault("upload", error)
            sentence = "The scan could not be opened on our side."
            return {viewer: spec(held), facts: render.facts(held, sentence)}
        return shown(held, choice)

    def picked(event: gr.EventData, held: Session, choice: str) -> Update:
        found = parts.examples.get(str(getattr(event, "key", "")))
        if found is None:
            return {facts: render.facts(held, "This example is no longer there; reload the page.")}
        example = found.example
        held.show(
            open_scan(
                found.stack(),
                parts.frames,
                f"Example: {example.source}",
                modality=example.modality,
                reference=example.reference,
                checked=True,  # ours: nobody's name is in it
            )
        )
        return {**shown(held, choice), question: example.question}

    def removed(event: gr.EventData, held: Session, choice: str) -> Update:
        token = getattr(event, "token", None)
        held.change(*(scan for scan in held.scans if scan.token != token))
        return shown(held, choice)

    def activated(event: gr.EventData, held: Session) -> Update:
        token = getattr(event, "token", None)
        held.active = next((scan for scan in held.scans if scan.token == token), held.active)
        modality = held.active.modality if held.active else None
        return {facts: render.facts(held), chips: render.chips(suggestions(modality))}

    def looked(event: gr.EventData, held: Session) -> Update:
        try:
            take_report(held, getattr(event, "report", None))
            return {inside: render.inside(seen(parts.loader, held))}
        except RarlError as error:
            return {inside: render.inside((), str(error))}
        except Exception as error:
            log_fault("seen", error)
            return {inside: render.inside((), OUR_FAULT.split(".")[0] + ".")}

    def asked(text: str, form: Mode, choice: str, report: Any, held: Session) -> Iterator[Update]:
        found = () if text in held.kept else doubts(text, held)
        if found:
            held.doubted = text
            yield {note: render.doubt(found, "the question"), behind: ""}
            return
        first = True
        for progress in ask(parts.loader, held, text, form, choice, report):
            update: Update = {board: render.board(progress, held, parts.labels())}
            if first:
                update |= {note: "", behind: ""}
                first = False
            if not progress.running:
                update[behind] = render.prompt_line(held)
            yield update

    def kept(text: str, form: Mode, choice: str, report: Any, held: Session) -> Iterator[Update]:
        # Only the words that were shown: what was typed since is looked at again.
        held.kept.add(held.doubted)
        yield from asked(text, form, choice, report, held)

    def stopped(held: Session) -> None:
        if held.stop is not None:
            held.stop.set()

    def columns_for(choice: str, held: Session) -> Update:
        if held.stop is not None:  # the running answers keep their columns
            return {}
        return {board: render.board(Progress(chosen_arms(choice)), held, parts.labels())}

    page = [viewer, facts, chips, board, behind, note]
    viewer.opened(opened, [session, arms], page, **_QUIET)
    viewer.removed(removed, [session, arms], page, **_NOW)
    viewer.activated(activated, session, [facts, chips], **_NOW)
    viewer.see(looked, session, [inside], **_QUIET)
    inside.close(lambda: "", None, inside, **_NOW)
    strip.pick(picked, [session, arms], [*page, question], **_QUIET)
    chips.suggest(_suggested, None, question, **_NOW)
    asking: dict[str, Any] = {
        "inputs": [question, mode, arms, viewer, session],
        "outputs": [board, note, behind],
        # What is on the stage at this moment is what is asked about.
        "js": f"(text, form, arms, viewer, held) => [text, form, arms, {REPORT}, held]",
        **_QUIET,
    }
    gr.on([go.click, question.submit], asked, trigger_mode="once", **asking)
    note.keep(kept, **asking)
    note.retype(None, None, None, js=_FOCUS % "#question textarea", **_NOW)
    halt.click(stopped, session, None, **_NOW)
    arms.input(columns_for, [arms, session], [board], **_NOW)
    _flag_panel(parts, session, board, note)
    return arms


def _suggested(event: gr.EventData) -> str:
    """The text of the chip that was pressed."""
    return str(getattr(event, "text", ""))


def _flag_panel(parts: Parts, session: gr.State, board: gr.HTML, note: gr.HTML) -> None:
    """The panel beside the answers in which one of them is flagged."""
    with gr.Column(elem_id="flag-panel", visible=False) as drawer:
        heading = panel(elem_id="flag-heading")
        category = gr.Radio(_labelled(CATEGORIES), label="What is wrong?", elem_id="flag-category")
        severity = gr.Radio(
            _labelled(SEVERITIES), label="How much would it matter?", elem_id="flag-severity"
        )
        comment = gr.Textbox(
            label="Comment",
            placeholder="What should it have said? No names or dates.",
            lines=3,
            max_lines=6,
            max_length=COMMENT_LIMIT,
            elem_id="flag-comment",
        )
        trouble = panel(elem_id="flag-trouble", events=("keep", "retype"))
        with gr.Row(elem_id="flag-actions"):
            cancel = gr.Button("Cancel", elem_id="flag-cancel")
            save = gr.Button("Save flag", variant="primary", elem_id="flag-save")

    def opened(event: gr.EventData, held: Session) -> Update:
        if held.asked is None:
            return {note: render.sentence("There is no answer to flag yet; ask first.")}
        held.flagging = str(getattr(event, "arm", ""))
        return {
            drawer: gr.Column(visible=True),
            heading: render.flag_heading(held),
            category: None,
            severity: None,
            comment: "",
            trouble: "",
            note: "",
        }

    def saved(kind: str | None, weight: str | None, words: str, held: Session) -> Update:
        found = () if words in held.kept else doubts(words, held)
        if found:
            held.doubted = words
            return {trouble: render.doubt(found, "the comment")}
        try:
            flag = parts.desk.flag(held, kind, weight, words)
        except RarlError as error:
            return {trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault("flag", error)
            kept = "The flag could not be saved. What you typed is still here; press Save again."
            return {trouble: render.sentence(kept)}
        held.flagging = None
        return {drawer: gr.Column(visible=False), note: render.flag_saved(flag)}

    def kept(kind: str | None, weight: str | None, words: str, held: Session) -> Update:
        held.kept.add(held.doubted)
        return saved(kind, weight, words, held)

    def closed(held: Session) -> Update:
        held.flagging = None
        return {drawer: gr.Column(visible=False)}

    board.flagged(
        opened,
        session,
        [drawer, heading, category, severity, comment, trouble, note],
        **_NOW,
    )
    told = [category, severity, comment, session]
    save.click(saved, told, [drawer, trouble, note], **_QUIET)
    trouble.keep(kept, told, [drawer, trouble, note], **_QUIET)
    trouble.retype(None, None, None, js=_FOCUS % "#flag-comment textarea", **_NOW)
    cancel.click(closed, session, [drawer], **_NOW)


# --- Review --------------------------------------------------------------------------------------


def _review_page(parts: Parts, session: gr.State, tab: gr.Tab, app: gr.Blocks) -> None:
    """Filters and flags on the left, the case on the right."""
    with gr.Row(elem_id="review-page"):
        with gr.Column(elem_id="flag-side"):
            with gr.Row(elem_id="filters"):
                text = gr.Textbox(
                    label="Find",
                    show_label=False,
                    container=False,
                    placeholder="Find in comments, questions and answers",
                    elem_id="filter-text",
                )
                arm = _filter("All variants", [(a.label, a.name) for a in parts.arms()], "arm")
                category = _filter("All kinds", _labelled(CATEGORIES), "category")
                severity = _filter("Any severity", _labelled(SEVERITIES), "severity")
            rows = panel(elem_id="flag-list", events=("open",))
            with gr.Row(elem_id="exports"):
                as_lines = gr.Button("Export JSONL", elem_id="export-jsonl")
                as_table = gr.Button("Export CSV", elem_id="export-csv")
                file = gr.DownloadButton(visible="hidden", elem_id="export-file")
            trouble = panel(elem_id="review-trouble")
        with gr.Column(elem_id="case-side"):
            case = panel(render.no_case(), elem_id="case")

    filters = [arm, category, severity, text]

    def guarded(where: str, work: Callable[[], Update]) -> Update:
        try:
            return {trouble: "", **work()}
        except RarlError as error:
            return {trouble: render.sentence(str(error))}
        except Exception as error:
            log_fault(where, error)
            return {trouble: render.sentence(OUR_FAULT.split(".")[0] + ".")}

    def listed(a: str, c: str, s: str, words: str) -> Update:
        def work() -> Update:
            chosen = chosen_filter(a, c, s, words)
            found = parts.desk.flags(chosen)
            narrow = any((a, c, s, words))
            return {rows: render.flag_list(found, None, narrow)}

        return guarded("list", work)

    def opened(event: gr.EventData, a: str, c: str, s: str, words: str) -> Update:
        def work() -> Update:
            number = str(getattr(event, "flag", ""))
            flag, snapshot = parts.desk.flag_and_case(int(number) if number.isdigit() else -1)
            found = parts.desk.flags(chosen_filter(a, c, s, words))
            return {
                case: render.case_view(flag, snapshot),
                rows: render.flag_list(found, flag.id, any((a, c, s, words))),
            }

        return guarded("open", work)

    def exporter(kind: str) -> Callable[[str, str, str, str], Update]:
        def work(a: str, c: str, s: str, words: str) -> Update:
            def write() -> Update:
                chosen = chosen_filter(a, c, s, words)
                path = export_path(parts.cache, f"rarl-flags.{kind}")
                store = parts.desk.open()
                export = store.export_csv if kind == "csv" else store.export_jsonl
                with path.open("w", encoding="utf-8", newline="") as opened_file:
                    export(opened_file, chosen)
                return {file: gr.DownloadButton(value=str(path))}

            return guarded("export", write)

        return work

    gr.on(
        [tab.select, app.load, arm.change, category.change, severity.change, text.change],
        listed,
        filters,
        [rows, trouble],
        trigger_mode="always_last",
        **_NOW,
    )
    rows.open(opened, filters, [case, rows, trouble], **_NOW)
    for button, kind in ((as_lines, "jsonl"), (as_table, "csv")):
        # The file is made when it is asked for, so the download follows as a second step.
        button.click(exporter(kind), filters, [file, trouble], **_QUIET).success(
            None, None, None, js="() => document.querySelector('#export-file').click()", **_NOW
        )


def _labelled(pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Gradio wants (label, value) where the taxonomy has (key, label)."""
    return [(label, key) for key, label in pairs]


def _filter(every: str, choices: list[tuple[str, str]], name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [(every, EVERY), *choices],
        value=EVERY,
        label=every,
        show_label=False,
        container=False,
        filterable=False,
        elem_id=f"filter-{name}",
        min_width=110,
    )
