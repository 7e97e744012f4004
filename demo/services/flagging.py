"""Store flags and cases in the review store under the sender's name and role."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import gradio as gr
from pydantic import ValidationError

from demo.authentication import Person, SignIn
from demo.services.asking import log_fault
from demo.services.fair_queue import current_share
from demo.services.quota import Quotas
from demo.session import Asked, Session
from rarl.errors import ReviewError
from rarl.prompts import prompt_hash
from rarl.records import CaseSnapshot, Flag, FlagDraft
from rarl.review import case_from
from rarl.review import open_store as open_review_store
from rarl.review.hub_copy import HubCopy, Place
from rarl.review.store import ReviewStore
from rarl.review.taxonomy import Taxonomy

log = logging.getLogger(__name__)

Who = gr.Request | Person
"""Who does something: as a handler gets it from Gradio, or as the guard has decided it."""

# Cases whose flag could not be stored wait in memory, pictures included: never on a disk or in a
# browser. More than so many at a time are let go of, oldest first.
_WAITING = 50


def draft_from_browser(kept: Any) -> FlagDraft:
    """A flag that a browser kept, as `FlagDraft.plain` gave it; its user may have changed it.

    Raises:
        ReviewError: it is no flag.
    """
    try:
        return FlagDraft.model_validate(kept)
    except ValidationError:
        raise ReviewError("What this browser kept is no flag; flag the answer anew.") from None


@dataclass
class Desk:
    """The review store, opened when it is first needed: a page without one can still answer.

    Attributes:
        store: for the program itself; `for_request` is what handlers use.
        sign_in: who is who.
        share: of the questions asked, the part that chance keeps as cases for audits, 0 to 1.
        place: the repository on the Hub that keeps a copy, or None.
        quotas: how much visitors may add.
    """

    store: ReviewStore | None = None
    sign_in: SignIn = field(default_factory=SignIn)
    share: float = 0.0
    place: Place | None = None
    quotas: Quotas = field(default_factory=Quotas)
    _waiting: OrderedDict[str, CaseSnapshot] = field(default_factory=OrderedDict)
    _waiting_lock: Lock = field(default_factory=Lock)
    _copy: HubCopy | None = None
    _opening: Lock = field(default_factory=Lock)

    def open(self) -> ReviewStore:
        """The store, for the program itself.

        Raises:
            ReviewError: it cannot be opened.
        """
        with self._opening:
            if self.store is None:
                self.store = open_review_store()
                if self.place is not None:
                    self._copy = HubCopy(self.store, self.place)
                    self._copy.start()
        return self.store

    def taxonomy(self) -> Taxonomy:
        """The site's lists; the usual ones while its store cannot be opened: saving says why."""
        try:
            return self.open().taxonomy
        except ReviewError:
            return Taxonomy()

    def begin(self) -> None:
        """Read back what a repository holds; without one, the store is opened when it is needed."""
        if self.place is not None:
            try:
                self.open()
            except ReviewError as error:
                log.error("store: %s", error)

    def end(self) -> None:
        """Begin to copy what is new, a last time; `ended` waits for it."""
        if self._copy is not None:
            self._copy.stop()

    def ended(self, seconds: float) -> None:
        """Give the last copy so much time."""
        if self._copy is not None:
            self._copy.wait(seconds)

    def person(self, who: Who) -> Person:
        """Who sent a request."""
        return who if isinstance(who, Person) else self.sign_in.person(who)

    def for_request(self, request: Who) -> ReviewStore:
        """The store with the rights of whoever sent a request.

        Raises:
            ReviewError: it cannot be opened.
        """
        person = self.person(request)
        return self.open().for_person(person.name, person.role)

    def keep(self, session: Session, request: gr.Request) -> str:
        """Store what was asked as a case, unless it is one already; returns its id.

        Raises:
            ReviewError: nothing was asked, or the store refuses.
        """
        if session.asked is None:
            raise ReviewError("There is no answer yet; ask a question first.")
        session.note_measurements()
        if session.case_id is None:
            session.case_id = self.for_request(request).add_case(case_of(session.asked))
        return session.case_id

    def flag(self, draft: FlagDraft, asked: Asked, request: Who) -> Flag:
        """Store a flag, and its case with the first flag.

        Where the store cannot be used, the case waits here, and `send` may be tried again.

        Args:
            draft: the flag.
            asked: what it is about.
            request: who flags.

        Raises:
            ReviewError: the store refuses.
            StoreError: the store cannot be used now.
        """
        return self.flag_case(draft, case_of(asked, draft.case_id), request)

    def flag_case(self, draft: FlagDraft, case: CaseSnapshot, request: Who) -> Flag:
        """The same, of an exchange that is frozen already."""
        person = self.person(request)
        if person.role == "visitor":
            size = sum(len(picture.png or b"") for picture in case.pictures)
            self.quotas.take(current_share() or f"name:{person.name or ''}", size)
        with self._waiting_lock:
            self._waiting[draft.case_id] = case
            while len(self._waiting) > _WAITING:
                self._waiting.popitem(last=False)
        return self.send(draft, request)

    def send(self, draft: FlagDraft, request: Who) -> Flag:
        """Store a flag that was typed before; the same key stores nothing twice.

        Raises:
            ReviewError: the case is gone, or the store refuses.
            StoreError: the store cannot be used now.
        """
        store = self.for_request(request)
        with self._waiting_lock:
            waiting = self._waiting.get(draft.case_id)
        if waiting is not None:
            store.add_case(waiting)
        flag = store.keep_flag(draft)
        with self._waiting_lock:
            self._waiting.pop(draft.case_id, None)
        return flag

    def sample(self, session: Session) -> None:
        """Let chance keep what was asked, whether or not anybody complains: for audits.

        Answers that the person stopped are left out: how they end is not the arm's doing. A store
        that fails is logged only: losing an audit sample is acceptable.
        """
        asked = session.asked
        if asked is None or any(answer.stopped for answer in asked.answers):
            return
        if session.case_id is None and random.random() < self.share:
            try:
                session.case_id = self.open().add_case(case_of(asked, sampled=True))
            except Exception as error:
                log_fault("sample", error)


def case_of(asked: Asked, case_id: str | None = None, *, sampled: bool = False) -> CaseSnapshot:
    """An exchange, frozen.

    Args:
        asked: the exchange.
        case_id: 32 hex digits; new where not given.
        sampled: whether chance chose it.

    Raises:
        ReviewError: no arm has said anything yet.
    """
    return case_from(
        asked.question,
        asked.answers,
        arms=asked.arms,
        model=asked.model_name,
        prompt_hash=prompt_hash(
            asked.question.mode, len(asked.question.images), bool(asked.question.options)
        ),
        scan=asked.scan,
        shown=asked.shown,
        case_id=case_id,
        blind=asked.blind,
        sampled=sampled,
        measurements=asked.measurements,
    )
