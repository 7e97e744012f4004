"""Open a study of the PACS from the row under the viewer, where a PACS is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from time import monotonic

import gradio as gr
from markupsafe import Markup

from demo.context import NOW, QUIET, Parts, Update
from demo.pages.components import panel
from demo.services.asking import REDRAW_SECONDS, log_fault
from demo.services.choosing import Upload, hold
from demo.serving.caller import caller_of
from demo.session import Session
from rarl.errors import QuestionError, RarlError
from rarl.review.roles import require
from rarl.scans import decoding_for, open_series
from rarl.scans.dicomweb import Pacs, Series

_FAULT = "This went wrong on our side; what is open stays. Try again."

Take = Callable[[Session, Upload, bool], None]
"""Puts scans on the page: whose session, what was opened, whether beside what is open."""


@dataclass(frozen=True, slots=True)
class PacsRow:
    """The search field and what was found."""

    pacs: Pacs
    number: gr.Textbox
    find: gr.Button
    found: gr.HTML

    def wire(
        self,
        parts: Parts,
        session: gr.State,
        arms: gr.Dropdown,
        take: Take,
        shown: Callable[[Session, str], Update],
        page: list[gr.HTML],
    ) -> None:
        """Let a search follow the field, and a scan the choice.

        Args:
            parts: shared by all handlers.
            session: of the page.
            arms: the arm selector.
            take: puts what was fetched on the page.
            shown: draws the page anew.
            page: what `shown` updates.
        """

        def searched(wanted: str, held: Session, request: gr.Request) -> Iterator[str]:
            mine = held.begin_fetch()
            yield _working("Asking the PACS")
            try:
                require(parts.desk.person(request).role, "fetch")
                offered = self.pacs.search(wanted)
            except RarlError as error:
                yield _trouble(str(error))
                return
            except Exception as error:
                log_fault("pacs search", error)
                yield _trouble(_FAULT)
                return
            if not mine.is_set():
                held.offered = offered
                yield _listed(offered, bool(held.scans))

        def fetched(
            event: gr.EventData, held: Session, choice: str, request: gr.Request
        ) -> Iterator[Update]:
            number = str(getattr(event, "number", ""))
            beside = bool(getattr(event, "beside", "")) and bool(held.scans)
            offered = dict(zip(map(str, range(len(held.offered))), held.offered, strict=True))
            mine = held.begin_fetch()
            yield {self.found: _working("Fetching")}
            try:
                require(parts.desk.person(request).role, "fetch")
                if number not in offered:
                    raise QuestionError("This list is no longer kept; search again.")
                files: list[bytes] = []
                for said in _arriving(self.pacs, offered[number], files, mine):
                    yield {self.found: _working(said)}
                if mine.is_set():
                    return
                with decoding_for(caller_of(request).share):
                    opened = open_series(files)
                if mine.is_set():
                    return
                take(held, hold([opened], files, parts.budget, "From the PACS"), beside)
                yield {**shown(held, choice), self.found: "", self.number: ""}
            except RarlError as error:
                yield {self.found: _trouble(str(error))}
            except Exception as error:
                log_fault("pacs fetch", error)
                yield {self.found: _trouble(_FAULT)}

        def closed(held: Session) -> str:
            held.begin_fetch().set()
            return ""

        asking = [self.number, session]
        gr.on([self.find.click, self.number.submit], searched, asking, self.found, **QUIET)
        self.found.fetch(fetched, [session, arms], [*page, self.found, self.number], **QUIET)
        self.found.close(closed, session, self.found, **NOW)


def pacs_row(pacs: Pacs) -> PacsRow:
    """Lay the row out."""
    with gr.Row(elem_id="pacs"):
        number = gr.Textbox(
            label="Accession number or study UID",
            show_label=False,
            container=False,
            placeholder="From the PACS: accession number or study UID",
            max_length=64,
            lines=1,
            max_lines=1,
            elem_id="pacs-number",
            scale=1,
        )
        find = gr.Button("Find", elem_id="pacs-find", scale=0, min_width=70)
    return PacsRow(pacs, number, find, panel(elem_id="pacs-found", events=("fetch", "close")))


def _arriving(pacs: Pacs, series: Series, files: list[bytes], stop: Event) -> Iterator[str]:
    """Put the files of a series into `files`; yields how far it is."""
    of = f" of {series.images}" if series.images else ""
    last = monotonic()
    for file in pacs.files(series):
        if stop.is_set():
            return
        files.append(file)
        if monotonic() - last >= REDRAW_SECONDS:
            last = monotonic()
            yield f"Fetching: {len(files)}{of} files"
    yield "Opening"


_CLOSE = Markup('<button type="button" class="ghost" data-event="close">{}</button>')


def _working(sentence: str) -> str:
    return Markup('<p class="working" role="status">{}…</p>{}').format(
        sentence, _CLOSE.format("Stop")
    )


def _trouble(sentence: str) -> str:
    return Markup('<p class="trouble" role="alert">{}</p>{}').format(
        sentence, _CLOSE.format("Close")
    )


def _listed(offered: Sequence[Series], open_already: bool) -> str:
    """The series as buttons; with a scan open, a second one puts a series beside it."""
    rows = []
    for number, series in enumerate(offered):
        facts = [series.modality, series.body_part.capitalize(), series.description]
        if series.images:
            facts.append(f"{series.images} file{'s' if series.images > 1 else ''}")
        name = ", ".join(fact for fact in facts if fact) or "Series"
        add = Markup(
            '<button type="button" class="ghost" data-event="fetch" data-number="{}" '
            'data-beside="1" aria-label="Add beside: {}">Add</button>'
        ).format(number, name)
        rows.append(
            Markup(
                '<li><button type="button" data-event="fetch" data-number="{}">{}</button>{}</li>'
            ).format(number, name, add if open_already else "")
        )
    count = f"{len(offered)} series" if len(offered) > 1 else "One series"
    return Markup('<p role="status">{}. Choose one to open it.</p>{}<ul>{}</ul>').format(
        count, _CLOSE.format("Close"), Markup().join(rows)
    )
