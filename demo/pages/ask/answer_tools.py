"""The buttons under the answers: reliability checks, provenance, facts and the case as PDF."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image

from demo.context import NOW, QUIET, Parts, Update
from demo.pages import facts
from demo.pages.ask import side_panels
from demo.pages.ask.provenance import behind_view, texts_of
from demo.pages.ask.reliability import (
    NOTHING_ASKED,
    ask_rewindowed,
    check_reliance,
    other_scan,
    where_it_looked,
    window_checks,
)
from demo.services.asking import log_fault
from demo.services.flagging import case_of
from demo.session import Asked, Session
from rarl.errors import QuestionError, RarlError
from rarl.inference.checking import minority_check
from rarl.inference.engine import Engine
from rarl.inference.self_consistency import Sampled, sample_answers
from rarl.review.case_pdf import case_sheet

EVENTS = ("reliance", "again", "look", "behind", "facts", "sheet")

_FAULT = "This went wrong on our side. The answers are still here; close this and try again."
_BEHIND_TITLE = "Behind the scenes"


def wire_after(
    parts: Parts,
    session: gr.State,
    after: gr.HTML,
    inside: gr.HTML,
    board: gr.HTML,
    arms: gr.Dropdown,
    redrawn: Callable[[Session, str], Update],
    labels: facts.FactsLabels,
) -> list[Any]:
    """Let the buttons of the row open their drawers.

    Args:
        parts: shared by all handlers.
        session: of the page.
        after: the row, with `EVENTS`.
        inside: where drawers open.
        board: the answers, which are marked by what was found out.
        arms: the arm selector.
        redrawn: draws the answers anew, from the session and the choice of arms.
        labels: the facts labels of the variants.

    Returns:
        The events, to be cancelled when the drawer is closed.
    """
    tools = AnswerTools(parts, labels)
    again_event = after.again(
        _guarded(side_panels.AGAIN_TITLE, tools.again), session, inside, **QUIET
    )
    again_event.then(redrawn, [session, arms], [board], **NOW)
    return [
        after.reliance(
            _guarded(side_panels.RELIANCE_TITLE, tools.reliance), session, inside, **QUIET
        ),
        again_event,
        after.look(_guarded(side_panels.LOOKED_TITLE, tools.look), session, inside, **QUIET),
        after.behind(_guarded(_BEHIND_TITLE, tools.behind), session, inside, **QUIET),
        after.facts(_guarded(facts.TITLE, tools.facts), session, inside, **QUIET),
        after.sheet(_guarded(side_panels.SHEET_TITLE, tools.sheet), session, inside, **QUIET),
    ]


@dataclass(frozen=True, slots=True)
class AnswerTools:
    """What the buttons do: each handler yields its drawer, and again when there is more in it.

    Attributes:
        parts: shared by all handlers.
        labels: the facts labels of the variants.
    """

    parts: Parts
    labels: facts.FactsLabels

    def reliance(self, session: Session, _: gr.Request) -> Iterator[str]:
        """Ask about other pictures in place of this one."""
        engine, asked = self._at_hand(session)
        yield side_panels.working(
            side_panels.RELIANCE_TITLE, "Asking about a blank, a mirrored and another picture…"
        )
        other = other_scan(session, list(self.parts.examples.values()))
        yield side_panels.reliance(check_reliance(engine, asked, other), self.parts.labels())

    def again(self, session: Session, _: gr.Request) -> Iterator[str]:
        """Ask the same again, at random and under other windows."""
        engine, asked = self._at_hand(session)
        labels = self.parts.labels()
        given = {answer.arm: answer.response.answer for answer in asked.answers}
        drawn: list[Sampled] = []
        yield side_panels.again(drawn, given, labels, True)
        for arm in given:
            drawn.append(sample_answers(engine, asked.question, arm))
            check = minority_check(drawn[-1], given[arm])
            session.mark(asked, {arm: check} if check else {})
            yield side_panels.again(drawn, given, labels, True)
        tried = ask_rewindowed(engine, session, asked)
        session.mark(asked, window_checks(asked, tried))
        yield side_panels.again(drawn, given, labels, False, tried)

    def look(self, session: Session, _: gr.Request) -> Iterator[str]:
        """Light what moved the answers."""
        engine, asked = self._at_hand(session)
        labels = self.parts.labels()
        lit: list[tuple[str, Sequence[Image.Image]]] = []
        yield side_panels.looked([], labels, True)
        for pair in where_it_looked(engine, asked):
            lit.append(pair)
            yield side_panels.looked(lit, labels, len(lit) < len(asked.answers))

    def behind(self, session: Session, _: gr.Request) -> Iterator[str]:
        """Show the prompt, the pictures as the model got them and the raw answers."""
        engine, asked = self._at_hand(session)
        pictures = [engine.seen(named.image) for named in asked.question.images]
        yield side_panels.drawer(
            _BEHIND_TITLE, behind_view(asked, pictures, texts_of(engine, asked))
        )

    def facts(self, session: Session, _: gr.Request) -> Iterator[str]:
        """Show what the variants that answered are for, made from and measured at."""
        asked = self._at_hand(session)[1]
        modalities = [scan.modality for scan in session.scans if scan.token in asked.tokens]
        yield side_panels.drawer(facts.TITLE, self.labels.view(asked, modalities))

    def sheet(self, session: Session, request: gr.Request) -> Iterator[str]:
        """Offer the case as PDF."""
        _, asked = self._at_hand(session)
        case = case_of(asked, session.case_id)
        pdf = case_sheet(case, remarks(self.parts, session.case_id, request))
        yield side_panels.sheet(pdf, asked.number)

    def _at_hand(self, session: Session) -> tuple[Engine, Asked]:
        engine = self.parts.loader.wait(0)
        if session.asked is None or session.stage or engine is None:
            raise QuestionError(NOTHING_ASKED)
        return engine, session.asked


def remarks(parts: Parts, case_id: str | None, request: gr.Request) -> list[str]:
    """What readers said of a case, as far as this person may read it."""
    if case_id is None:
        return []
    try:
        store = parts.desk.for_request(request)
        labels = parts.labels()
        categories = store.taxonomy.category_labels()
        severities = store.taxonomy.severity_labels()
        lines = [
            f"Flag on {flag.label}: {categories.get(flag.category, flag.category)}; "
            f"{severities.get(flag.severity, flag.severity)}. {flag.comment}".strip()
            + (f" Right would be: {flag.corrected_answer}" if flag.corrected_answer else "")
            for flag in store.flags_of(case_id)
        ]
        for vote in store.votes(case_id):
            best = labels.get(vote.preferred, vote.preferred) if vote.preferred else vote.outcome
            own = f" The reader’s own answer: {vote.own_answer}." if vote.own_answer else ""
            lines.append(f"Vote for the best answer: {best}. {vote.reason}".strip() + own)
    except RarlError:  # a visitor may not read what others said
        return []
    return lines


def _guarded(
    title: str, handler: Callable[[Session, gr.Request], Iterator[str]]
) -> Callable[[Session, gr.Request], Iterator[str]]:
    """A handler whose errors become a sentence in its drawer."""

    def guarded(session: Session, request: gr.Request) -> Iterator[str]:
        try:
            yield from handler(session, request)
        except RarlError as error:
            yield side_panels.drawer(title, "", str(error))
        except Exception as error:
            log_fault(title, error)
            yield side_panels.drawer(title, "", _FAULT)

    return guarded
