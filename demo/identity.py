"""Detect identifying text in what a person types, and ask before it is stored."""

from __future__ import annotations

from demo.session import Session
from rarl.scans import identity_in_text


def doubts(text: str, session: Session) -> tuple[str, ...]:
    """Sentences on what in a text looks like somebody's identity; empty where nothing does.

    Dates, record numbers, and the names and numbers that stood in the headers of the open scans
    (which keep keyed hashes of them and not the words).
    """
    return identity_in_text(text, session.identifiers)
