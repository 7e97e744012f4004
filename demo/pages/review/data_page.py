"""Import, export and the audit log, for admins."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import gradio as gr

from demo.context import NOW, QUIET, Parts, Update
from demo.pages.components import panel
from demo.pages.render import sentence
from demo.pages.review.archives import pack, unpack
from demo.pages.review.common import Chosen, Data, guarded, when
from demo.pages.review.queue_page import QueuePage
from demo.services.downloads import Downloads
from demo.serving.caller import caller_of
from demo.templating import render_template
from rarl.errors import ReviewError
from rarl.records import AuditEntry, Tombstone
from rarl.review import FlagFilter, ReviewStore
from rarl.review.roles import People
from rarl.review.transfer.forms import EXPORTS, Selection

_LATEST = 1000


def data_page(parts: Parts, tab: gr.Tab, queue: QueuePage, downloads: Downloads) -> None:
    """Lay out export, import and the records, and wire them."""
    with gr.Column(elem_id="data-page"):
        # Above both forms: a long page would hide what came of a press below its end.
        trouble = panel(elem_id="data-trouble")
        with gr.Column(elem_id="exports"):
            panel(render_template("heading.html", text="Export"), elem_id="export-title")
            form = gr.Radio(
                [(exported.label, name) for name, exported in EXPORTS.items()],
                value="table",
                label="Form",
                elem_id="export-form",
            )
            with gr.Row():
                pixels = gr.Checkbox(True, label="With pictures", elem_id="export-pixels")
                narrow = gr.Checkbox(
                    False,
                    label="Only answers that pass the filters of the queue",
                    elem_id="export-narrow",
                )
            go = gr.Button("Export", variant="primary", elem_id="export-go")
        with gr.Column(elem_id="imports"):
            panel(render_template("heading.html", text="Import"), elem_id="import-title")
            file = gr.File(
                label="A .jsonl, or a .zip of a folder, that Export saved",
                file_types=[".jsonl", ".zip"],
                height=130,
                elem_id="import-file",
            )
            take = gr.Button("Import", elem_id="import-go")
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
                filters = Chosen(*(data[box] or "" for box in queue.filters))
                if filters.work or filters.status or filters.assigned:
                    raise ReviewError(
                        "An export is chosen by flags: clear work, status and assignment first."
                    )
                chosen = filters.flags()
            return {
                trouble: downloads.offer(
                    written(store, downloads, data[form], chosen, data[pixels])
                )
            }

        return guarded(trouble, "export", work)

    def imported(request: gr.Request, data: Data) -> Update:
        def work() -> Update:
            store = parts.desk.for_request(request)
            if not data[file]:
                raise ReviewError("Choose the file that Export saved.")
            upload = parts.uploads.file(str(data[file]), caller_of(request))
            counts = taken_in(store, downloads, upload)
            new = ", ".join(f"{number} {name}" for name, number in counts.items() if number)
            return {file: None, trouble: sentence(f"New: {new or 'nothing'}.", "done")}

        return guarded(trouble, "import", work)

    tab.select(arrived, None, [records, trouble], **NOW)
    chosen: set[Any] = {form, pixels, narrow, *queue.filters}
    go.click(exported, chosen, trouble, **QUIET)
    take.click(imported, {file}, [file, trouble], **QUIET)


def written(
    store: ReviewStore,
    downloads: Downloads,
    form: str,
    chosen: FlagFilter | None,
    pixels: bool,
) -> Path:
    """Write an export where `downloads` can hand it out.

    Args:
        store: with the person who exports.
        downloads: whose room it is written in.
        form: one of `rarl.review.transfer.forms.EXPORTS`; a folder is handed out as a .zip.
        chosen: by flags; everything where not given.
        pixels: whether pictures go along.

    Raises:
        ReviewError: there is no such form, the person may not, or the store cannot be read.
    """
    store.need("export")
    if form not in EXPORTS:
        raise ReviewError(f"Choose one of {', '.join(EXPORTS)}.")
    exported = EXPORTS[form]
    room = downloads.room()
    out = room / exported.file
    try:
        exported.write(store, out, Selection(chosen, pixels))
        if exported.is_folder:
            folder, out = out, room / f"{exported.file}.zip"
            pack(folder, out)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    return out


def taken_in(store: ReviewStore, downloads: Downloads, source: Path) -> dict[str, int]:
    """Import an uploaded export, and delete the upload.

    Returns:
        How many rows of each table are new.

    Raises:
        ReviewError: it is no export, the person may not, or the store cannot be written.
    """
    from rarl.review.transfer.importer import import_from

    room = downloads.room()
    try:
        store.need("import")
        return import_from(store, unpack(source, room))
    finally:
        source.unlink(missing_ok=True)
        shutil.rmtree(room, ignore_errors=True)


def records_view(
    people: People, entries: Sequence[AuditEntry], tombstones: Sequence[Tombstone]
) -> str:
    """Who may do what, who did what, and what was deleted.

    Args:
        people: the site's list.
        entries: of the audit, newest first.
        tombstones: of the cases deleted for good.
    """
    actions = [
        (*action, sorted({entry.case_id for entry in group if entry.case_id}))
        for action, group in groupby(
            entries,
            lambda entry: (when(entry.created), entry.person, entry.action, entry.what),
        )
    ]
    return render_template(
        "review/records.html",
        people=people,
        newest=len(entries),
        actions=actions,
        tombstones=tombstones,
        when=when,
    )
