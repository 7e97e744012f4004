"""What goes out of the store and into it, and who did what: for admins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from demo.components import panel
from demo.downloads import Downloads
from demo.parts import NOW, QUIET, Parts, Update
from demo.render import sentence
from demo.review.archives import pack, unpack
from demo.review.common import Chosen, Data, guarded, when
from demo.review.queue_page import QueueWidgets
from rarl.errors import ReviewError
from rarl.review import FlagFilter, ReviewStore
from rarl.review.records import AuditEntry, Tombstone
from rarl.review.roles import People

_FORMS = (
    ("CSV: one row a flag, for a spreadsheet", "table"),
    ("JSONL: everything, one file", "jsonl"),
    ("CSV: every table and the pictures", "csv"),
    ("Parquet: every table", "parquet"),
    ("Hugging Face datasets folder", "datasets"),
    ("Preference pairs for DPO, Parquet", "preferences"),
)
_LATEST = 200


def data_page(parts: Parts, tab: gr.Tab, queue: QueueWidgets, downloads: Downloads) -> None:
    """Lay out export, import and the records, and wire them."""
    with gr.Column(elem_id="data-page"):
        with gr.Column(elem_id="exports"):
            panel("<h2>Export</h2>", elem_id="export-title")
            form = gr.Radio(list(_FORMS), value="table", label="Form", elem_id="export-form")
            with gr.Row():
                pixels = gr.Checkbox(True, label="With pictures", elem_id="export-pixels")
                narrow = gr.Checkbox(
                    False,
                    label="Only what the filters of the queue choose",
                    elem_id="export-narrow",
                )
            go = gr.Button("Export", variant="primary", elem_id="export-go")
        with gr.Column(elem_id="imports"):
            panel("<h2>Import</h2>", elem_id="import-title")
            file = gr.File(
                label="A .jsonl, or a .zip of a folder, that Export saved",
                file_types=[".jsonl", ".zip"],
                height=130,
                elem_id="import-file",
            )
            take = gr.Button("Import", elem_id="import-go")
        trouble = panel(elem_id="data-trouble")
        records = panel(elem_id="records")

    def arrived(request: gr.Request) -> Update:
        def work() -> Update:
            store = parts.desk.for_request(request)
            people = parts.desk.sign_in.people
            return {
                records: records_view(people, store.audit()[-_LATEST:][::-1], store.tombstones())
            }

        return guarded(trouble, "records", work)

    def exported(request: gr.Request, data: Data) -> Update:
        def work() -> Update:
            store = parts.desk.for_request(request)
            store.need("export")
            chosen = None
            if data[narrow]:
                filters = Chosen(*(data[one] or "" for one in queue.filters))
                if filters.work or filters.status or filters.assigned:
                    raise ReviewError(
                        "An export is chosen by flags: clear work, status and assignment first."
                    )
                chosen = filters.flags()
            return {trouble: downloads.offer(_written(store, data, chosen))}

        return guarded(trouble, "export", work)

    def _written(store: ReviewStore, data: Data, chosen: FlagFilter | None) -> Path:
        # Here, since it loads Arrow.
        from rarl.data.review import write_preferences
        from rarl.review.exchange import FORMS, export

        room = downloads.room()
        try:
            if data[form] == "table":
                out = room / "rarl-flags.csv"
                with out.open("w", encoding="utf-8", newline="") as opened:
                    store.export_csv(opened, chosen)
                return out
            if data[form] == "preferences":
                out = room / "rarl-preferences.parquet"
                write_preferences(store, out)
                return out
            kind = next(one for one in FORMS if one == data[form])
            if kind == "jsonl":
                out = room / "rarl-review.jsonl"
                export(store, out, kind, chosen, data[pixels])
                return out
            folder, out = room / "rarl-review", room / f"rarl-review-{kind}.zip"
            export(store, folder, kind, chosen, data[pixels])
            pack(folder, out)
            return out
        except BaseException:
            shutil.rmtree(room, ignore_errors=True)
            raise

    def imported(request: gr.Request, data: Data) -> Update:
        def work() -> Update:
            from rarl.review.exchange import import_from

            store = parts.desk.for_request(request)
            store.need("import")
            if not data[file]:
                raise ReviewError("Choose the file that Export saved.")
            source, room = Path(data[file]), downloads.room()
            try:
                counts = import_from(store, unpack(source, room))
            finally:
                source.unlink(missing_ok=True)
                shutil.rmtree(room, ignore_errors=True)
            new = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            return {file: None, trouble: sentence(f"New: {new or 'nothing'}.", "done")}

        return guarded(trouble, "import", work)

    tab.select(arrived, None, [records, trouble], **NOW)
    chosen: set[Any] = {form, pixels, narrow, *queue.filters}
    go.click(exported, chosen, trouble, **QUIET)
    take.click(imported, {file}, [file, trouble], **QUIET)


def records_view(
    people: People, entries: Sequence[AuditEntry], tombstones: Sequence[Tombstone]
) -> str:
    """Who may do what, who did what, and what was deleted.

    Args:
        people: the site's list.
        entries: of the audit, newest first.
        tombstones: of the cases deleted for good.
    """
    roles = "".join(
        f"<tr><th>{escape(name)}</th><td>{role}</td></tr>" for name, role in people.roles.items()
    )
    roles += (
        f"<tr><th>any other name</th><td>{people.otherwise or 'nothing'}</td></tr>"
        f"<tr><th>without a name</th><td>{people.unnamed or 'nothing'}</td></tr>"
    )
    did = "".join(
        f"<tr><td>{when(one.created)}</td><th>{escape(one.person)}</th><td>{one.action} {one.what}"
        f"</td><td><code>{(one.case_id or '')[:12]}</code></td></tr>"
        for one in entries
    )
    gone = "".join(
        f"<tr><td>{when(one.created)}</td><th>{escape(one.person or '')}</th>"
        f"<td><code>{one.case_id[:12]}</code></td><td>{escape(one.reason)}</td></tr>"
        for one in tombstones
    )
    return (
        "<details><summary>Who may do what</summary>"
        '<p class="hint">The list is the file people.yaml; sign-in is set by RARL_SIGN_IN.</p>'
        f'<table class="verdicts"><tbody>{roles}</tbody></table></details>'
        f"<details><summary>Who did what ({len(entries)} newest)</summary>"
        f'<table class="verdicts"><tbody>{did}</tbody></table></details>'
        f"<details><summary>Deleted for good ({len(tombstones)})</summary>"
        f'<table class="verdicts"><tbody>{gone}</tbody></table></details>'
    )
