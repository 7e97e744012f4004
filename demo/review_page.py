"""The Review page: flags and filters on the left, the case on the right."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from demo import render, review_render
from demo.asking import OUR_FAULT, log_fault
from demo.components import panel
from demo.flagging import EVERY, chosen_filter, export_path
from demo.parts import NOW, QUIET, Parts, Update, labelled
from rarl.errors import RarlError
from rarl.review import CATEGORIES, SEVERITIES


def review_page(parts: Parts, session: gr.State, tab: gr.Tab, app: gr.Blocks) -> None:
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
                category = _filter("All kinds", labelled(CATEGORIES), "category")
                severity = _filter("Any severity", labelled(SEVERITIES), "severity")
            rows = panel(elem_id="flag-list", events=("open",))
            with gr.Row(elem_id="exports"):
                as_lines = gr.Button("Export JSONL", elem_id="export-jsonl")
                as_table = gr.Button("Export CSV", elem_id="export-csv")
                file = gr.DownloadButton(visible="hidden", elem_id="export-file")
            trouble = panel(elem_id="review-trouble")
        with gr.Column(elem_id="case-side"):
            case = panel(review_render.no_case(), elem_id="case")

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
            return {rows: review_render.flag_list(found, None, narrow)}

        return guarded("list", work)

    def opened(event: gr.EventData, a: str, c: str, s: str, words: str) -> Update:
        def work() -> Update:
            number = str(getattr(event, "flag", ""))
            flag, snapshot = parts.desk.flag_and_case(int(number) if number.isdigit() else -1)
            found = parts.desk.flags(chosen_filter(a, c, s, words))
            return {
                case: review_render.case_view(flag, snapshot),
                rows: review_render.flag_list(found, flag.id, any((a, c, s, words))),
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
        **NOW,
    )
    rows.open(opened, filters, [case, rows, trouble], **NOW)
    for button, kind in ((as_lines, "jsonl"), (as_table, "csv")):
        # The file is made when it is asked for, so the download follows as a second step.
        button.click(exporter(kind), filters, [file, trouble], **QUIET).success(
            None, None, None, js="() => document.querySelector('#export-file').click()", **NOW
        )


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
