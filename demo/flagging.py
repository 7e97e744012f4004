"""Flags into the store, and out of it again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from demo.session import Session
from rarl.errors import ReviewError
from rarl.prompts import prompt_hash
from rarl.review import CATEGORIES, SEVERITIES, CaseSnapshot, Flag, FlagFilter, case_from
from rarl.review import open_store as open_review_store
from rarl.review.store import ReviewStore

CATEGORY_LABELS = dict(CATEGORIES)
SEVERITY_LABELS = dict(SEVERITIES)
# What a drop-down calls "no filter".
EVERY = ""


@dataclass
class Desk:
    """The review store, opened when it is first needed: a page without one can still answer."""

    store: ReviewStore | None = None

    def open(self) -> ReviewStore:
        """The store.

        Raises:
            ReviewError: it cannot be opened.
        """
        if self.store is None:
            self.store = open_review_store()
        return self.store

    def flag(
        self, session: Session, category: str | None, severity: str | None, comment: str
    ) -> Flag:
        """Store the open flag of a session, and its case with the first flag.

        Raises:
            ReviewError: nothing is being flagged, a choice is missing, or the store refuses.
        """
        asked, arm = session.asked, session.flagging
        if asked is None or arm is None:
            raise ReviewError("There is no answer to flag yet; ask a question first.")
        if not category:
            raise ReviewError("Choose what is wrong with the answer.")
        if not severity:
            raise ReviewError("Choose how much it would matter.")
        store = self.open()
        if session.case_id is None:
            session.case_id = store.add_case(
                case_from(
                    asked.question,
                    asked.answers,
                    arms=asked.arms,
                    model=asked.model_name,
                    prompt_hash=prompt_hash(asked.question.mode, len(asked.question.images)),
                    scan=asked.scan,
                    shown=asked.shown,
                )
            )
        return store.add_flag(session.case_id, arm, category, severity, comment.strip())

    def flags(self, chosen: FlagFilter, limit: int = 200) -> tuple[Flag, ...]:
        """The flags that pass a filter, newest first.

        Raises:
            ReviewError: the store cannot be read.
        """
        return self.open().flags(chosen, limit=limit)

    def flag_and_case(self, number: int) -> tuple[Flag, CaseSnapshot]:
        """One flag and its case.

        Raises:
            ReviewError: there is none, or the store cannot be read.
        """
        store = self.open()
        flag = store.flag(number)
        return flag, store.case(flag.case_id)


def chosen_filter(
    arm: str | None, category: str | None, severity: str | None, text: str | None
) -> FlagFilter:
    """The filter that the review page's widgets stand for."""
    return FlagFilter(
        arm=arm or None, category=category or None, severity=severity or None, text=text or ""
    )


def export_path(cache: Path, name: str) -> Path:
    """A fresh private file for an export, inside the folder that Gradio may serve."""
    return Path(mkdtemp(prefix="export-", dir=cache)) / name
