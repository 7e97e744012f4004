"""What happens on the left half of the Ask page: scans are opened, chosen and removed."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import FOCUS, NOW, QUIET, Parts, Update
from demo.pages import render
from demo.pages.ask import side_panels
from demo.pages.ask.view import AskView
from demo.services.asking import log_fault, seen
from demo.services.choosing import Choice, Upload, hold, upload_of
from demo.services.fair_queue import current_session
from demo.services.uploads import max_upload_bytes, open_uploads
from demo.serving.caller import caller_of
from demo.session import ROLES, Session
from demo.viewer import open_scan, question_words, take_report
from rarl.errors import QuestionError, RarlError

UPLOAD_PROBLEMS = {
    "empty": "The file is empty (0 bytes): the transfer failed. Export the scan again.",
    "nothing": "No file that could be a scan was chosen.",
    "large": "A file is larger than {} MB; export a single picture or a shorter series.",
    "lost": "The upload did not arrive. Check the connection and try again.",
}
"""What the page reports of files that it did not send, by its own name for the problem."""

TO_QUESTION = FOCUS % "#question textarea"
_MEASURED = re.compile(r" *Measured in the region \([^()]*\): [^.]*(?:\.\d[^.]*)*\.")

# The first input becomes the page's word for this tab.
_WITH_TAB = """async (...inputs) => {
  await pageModules; inputs[0] = RarlPage.tab(); return inputs;
}"""


@dataclass(frozen=True, slots=True)
class ScanEvents:
    """Handlers of the scans.

    Attributes:
        parts: shared by all handlers.
        view: draws the page.
    """

    parts: Parts
    view: AskView

    def wire(self, app: gr.Blocks, session: gr.State) -> None:
        """Listen to the left half and to the buttons that change its scans.

        Args:
            app: that is being built.
            session: of the page.
        """
        view, widgets = self.view, self.view.widgets
        side, composer, page = widgets.scan_side, widgets.composer, widgets.page
        whole, chosen_by = (
            [*page, composer.question, composer.options, composer.choice],
            [session, composer.variants],
        )
        app.load(
            self.entered,
            [side.viewer, *chosen_by],
            whole,
            js=_WITH_TAB,
            **NOW,
        )
        if side.saved is not None:
            side.saved.wire(app, session, composer.variants, view.restored, whole)
        side.viewer.opened(self.opened, chosen_by, page, **QUIET)
        if side.pacs is not None:
            side.pacs.wire(
                self.parts, session, composer.variants, self.take, view.scans_changed, page
            )
        side.viewer.chosen(self.chosen, chosen_by, page, **QUIET)
        side.viewer.removed(self.removed, chosen_by, page, **NOW)
        side.viewer.activated(self.activated, session, [side.facts, composer.chips], **NOW)
        side.viewer.measured(self.measured, session, None, **QUIET)
        side.viewer.about(
            self.about, [session, composer.question], [composer.question, widgets.note], **QUIET
        ).then(js=TO_QUESTION, **NOW)
        side.viewer.see(self.looked, session, [widgets.drawer], **QUIET)
        for examples in (side.examples, widgets.tour):
            examples.pick(self.picked, chosen_by, whole, **QUIET)
        widgets.note.undo(self.undone, chosen_by, page, **NOW)

    def entered(self, tab: Any, session: Session, choice: str, request: gr.Request) -> Update:
        """Put back what this tab held before it was reloaded."""
        parts, unchanged = self.parts, {self.view.widgets.scan_side.viewer: gr.skip()}
        tab = tab if isinstance(tab, dict) else {}
        parts.keeper.sweep()
        session.place = parts.keeper.place(caller_of(request), tab.get("tab"))
        if session.place is None or tab.get("again") is not True or session.scans:
            return unchanged
        parts.pages.admit(session)
        try:
            if not parts.keeper.restore(
                session, session.place, parts.frames, parts.budget, current_session()
            ):
                return unchanged
        except Exception as error:
            log_fault("kept session", error)
            return unchanged
        before = parts.pages.before(session)
        upload = upload_of(before) if before else None
        if before is not None and upload is not None:
            upload.move_to(session, current_session())
            before.upload = None
        return self.view.restored(session, choice)

    def opened(
        self, event: gr.EventData, session: Session, choice: str, request: gr.Request
    ) -> Update:
        """Open the files that were sent."""
        paths = [str(path) for path in getattr(event, "paths", ())]
        beside = bool(getattr(event, "add", False)) and bool(session.scans)
        problem = UPLOAD_PROBLEMS.get(str(getattr(event, "problem", "")))
        if problem is not None:
            megabytes = max_upload_bytes() // 1_000_000
            return self.view.refused(session, problem.format(megabytes))
        try:
            contents = self.parts.uploads.read(paths, caller_of(request))
            upload = hold(open_uploads(contents), contents, self.parts.budget, "Your scan")
            self.take(session, upload, beside)
        except RarlError as error:
            return self.view.refused(session, str(error))
        except Exception as error:
            log_fault("upload", error)
            sentence = "The scan could not be opened because of an error in the app."
            return self.view.refused(session, sentence)
        return self.view.scans_changed(session, choice)

    def take(self, session: Session, upload: Upload, beside: bool) -> None:
        """Put the first scans of an upload on the page.

        Args:
            session: of the page.
            upload: what was opened.
            beside: whether they join those that are open.

        Raises:
            QuestionError: a question takes no more scans.
            ScanError: a scan cannot be read.
        """
        first = upload.first()
        if beside:
            _check_room(session, len(first))
        self.parts.pages.admit(session)
        session.upload = upload
        for series in first:
            session.show(series.opened(self.parts.frames), beside)
            beside = True

    def chosen(self, event: gr.EventData, session: Session, choice: str) -> Update:
        """Open another series of the upload."""
        upload = upload_of(session)
        series = _series(event, upload)
        if upload is None or series is None:
            return self.view.refused(
                session, "These series are no longer held; open the files again."
            )
        beside = bool(getattr(event, "add", False))
        try:
            if beside:
                _check_room(session, 1)
            upload.choose(session, series, self.parts.frames, beside)
        except RarlError as error:
            return self.view.refused(session, str(error))
        except Exception as error:
            log_fault("series", error)
            sentence = "The series could not be opened because of an error in the app."
            return self.view.refused(session, sentence)
        return self.view.scans_changed(session, choice)

    def picked(self, event: gr.EventData, session: Session, choice: str) -> Update:
        """Open an example and write its question."""
        opened = self.parts.examples.get(str(getattr(event, "key", "")))
        if opened is None:
            sentence = "This example is no longer there; reload the page."
            return {self.view.widgets.scan_side.facts: self.view.facts(session, sentence)}
        example = opened.example
        session.upload = None
        session.show(
            open_scan(
                opened.stack(),
                self.parts.frames,
                f"Example: {example.source}",
                modality=example.modality,
                reference=example.reference,
                checked=True,  # ours: nobody's name is in it
            )
        )
        return {
            **self.view.scans_changed(session, choice),
            **self.view.question(example.question, ()),
        }

    def removed(self, event: gr.EventData, session: Session, choice: str) -> Update:
        """Close a scan."""
        token = getattr(event, "token", None)
        session.change(*(scan for scan in session.scans if scan.token != token))
        return self.view.scans_changed(session, choice)

    def undone(self, session: Session, choice: str) -> Update:
        """Open again what was closed last."""
        if not session.undo():
            return self.view.sentence("This scan is no longer held; open it again.")
        return self.view.scans_changed(session, choice)

    def activated(self, event: gr.EventData, session: Session) -> Update:
        """Tell of the scan that the reader works on."""
        token = getattr(event, "token", None)
        session.active = next(
            (scan for scan in session.scans if scan.token == token), session.active
        )
        return {
            self.view.widgets.scan_side.facts: self.view.facts(session),
            self.view.widgets.composer.chips: self.view.chips(session),
        }

    def measured(self, event: gr.EventData, session: Session) -> None:
        """Keep what was drawn, with the answers about it and over a reload."""
        # A page that is out of step is told so when it asks.
        with suppress(RarlError):
            take_report(session, getattr(event, "report", None))
            self.view.keep(session)

    def about(self, event: gr.EventData, session: Session, text: str) -> Update:
        """Write a measurement into the question; the page has marked its place."""
        composer, note = self.view.widgets.composer, self.view.widgets.note
        token, key = getattr(event, "token", None), getattr(event, "key", None)
        try:
            take_report(session, getattr(event, "report", None))
        except RarlError as error:
            return {note: render.sentence(str(error))}
        drawn = [made for scan in session.scans if scan.token == token
                 for made in scan.volume.measurements if made.key == key]  # fmt: skip
        if not drawn:
            return {note: render.sentence("This measurement is no longer there; draw it again.")}
        return {composer.question: with_words(text, question_words(drawn[0])), note: ""}

    def looked(self, event: gr.EventData, session: Session) -> Update:
        """Show the pictures as the model gets them."""
        drawer = self.view.widgets.drawer
        try:
            take_report(session, getattr(event, "report", None))
            return {drawer: side_panels.inside(seen(self.parts.loader, session))}
        except RarlError as error:
            return {drawer: side_panels.inside((), str(error))}
        except Exception as error:
            log_fault("seen", error)
            sentence = "This went wrong on our side; the scan is still here. Close this, try again."
            return {drawer: side_panels.inside((), sentence)}


def with_words(text: str, words: str) -> str:
    """A question that ends with the words of a measurement, in the place of earlier ones.

    >>> with_words("Is it large? Measured in the region (ruler): length 1.5 mm.", "Measured.")
    'Is it large? Measured.'
    >>> with_words("", "Measured.")
    'Measured. '
    """
    bare = _MEASURED.sub("", text).strip()
    return f"{bare} {words}" if bare else f"{words} "


def _check_room(session: Session, more: int) -> None:
    if not session.has_room(more):
        raise QuestionError(
            f"A question takes {len(ROLES)} scans at most; remove one before you add."
        )


def _series(event: gr.EventData, upload: Upload | None) -> Choice | None:
    """The series that the event names, where the upload is still the one it is about."""
    index = getattr(event, "index", None)
    if upload is None or getattr(event, "name", None) != upload.name or not isinstance(index, int):
        return None
    return upload.choices[index] if index in range(len(upload.choices)) else None
