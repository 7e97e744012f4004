"""Open a study of the PACS from the row under the viewer, where a PACS is configured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from time import monotonic

import gradio as gr

from demo.context import NOW, QUIET, Parts, Update
from demo.pages.components import bare_textbox, panel
from demo.services.asking import REDRAW_SECONDS, log_fault
from demo.services.choosing import Upload, hold
from demo.serving.caller import caller_of
from demo.session import Session
from demo.templating import render_template
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
    listing: gr.HTML

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

        def searched(wanted: str, current: Session, request: gr.Request) -> Iterator[str]:
            mine = current.begin_fetch()
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
                current.offered = offered
                yield _listed(offered, bool(current.scans))

        def fetched(
            event: gr.EventData, current: Session, choice: str, request: gr.Request
        ) -> Iterator[Update]:
            number = str(getattr(event, "number", ""))
            beside = bool(getattr(event, "beside", "")) and bool(current.scans)
            offered = dict(zip(map(str, range(len(current.offered))), current.offered, strict=True))
            mine = current.begin_fetch()
            yield {self.listing: _working("Fetching")}
            try:
                require(parts.desk.person(request).role, "fetch")
                if number not in offered:
                    raise QuestionError("This list is no longer kept; search again.")
                files: list[bytes] = []
                for progress in _arriving(self.pacs, offered[number], files, mine):
                    yield {self.listing: _working(progress)}
                if mine.is_set():
                    return
                with decoding_for(caller_of(request).share):
                    opened = open_series(files)
                if mine.is_set():
                    return
                take(current, hold([opened], files, parts.budget, "From the PACS"), beside)
                yield {**shown(current, choice), self.listing: "", self.number: ""}
            except RarlError as error:
                yield {self.listing: _trouble(str(error))}
            except Exception as error:
                log_fault("pacs fetch", error)
                yield {self.listing: _trouble(_FAULT)}

        def closed(current: Session) -> str:
            current.begin_fetch().set()
            return ""

        asking = [self.number, session]
        gr.on([self.find.click, self.number.submit], searched, asking, self.listing, **QUIET)
        self.listing.fetch(fetched, [session, arms], [*page, self.listing, self.number], **QUIET)
        self.listing.close(closed, session, self.listing, **NOW)


def pacs_row(pacs: Pacs) -> PacsRow:
    """Lay the row out."""
    with gr.Row(elem_id="pacs"):
        number = bare_textbox(
            "Accession number or study UID",
            "From the PACS: accession number or study UID",
            "pacs-number",
            max_length=64,
            lines=1,
            max_lines=1,
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


def _working(sentence: str) -> str:
    return _shown(working=sentence)


def _trouble(sentence: str) -> str:
    return _shown(trouble=sentence)


def _listed(offered: Sequence[Series], open_already: bool) -> str:
    """The series as buttons; with a scan open, a second one puts a series beside it."""
    names = []
    for series in offered:
        facts = [series.modality, series.body_part.capitalize(), series.description]
        if series.images:
            facts.append(f"{series.images} file{'s' if series.images > 1 else ''}")
        names.append(", ".join(fact for fact in facts if fact) or "Series")
    return _shown(series=names, open_already=open_already)


def _shown(
    *,
    working: str = "",
    trouble: str = "",
    series: Sequence[str] = (),
    open_already: bool = False,
) -> str:
    return render_template(
        "ask/pacs.html",
        working=working,
        trouble=trouble,
        series=series,
        open_already=open_already,
    )
