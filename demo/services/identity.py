"""Detect identifying text in what a person types, and ask before it is stored."""

from __future__ import annotations

from demo.session import Session
from rarl.scans import identity_in_text


def doubts(text: str, session: Session) -> tuple[str, ...]:
    """Sentences on what in a text looks like somebody's identity; empty where nothing does.

    Dates, record numbers, and the names and numbers that stood in the headers of the open scans
    (which keep keyed hashes of them and not the words). Of what a person has kept once, nothing is
    asked again as long as no other scan is open.
    """
    known = _known(session)
    return tuple(
        sentence
        for sentence in identity_in_text(text, session.identifiers)
        if not all(f"{mark} {sentence}" in session.kept for mark in known)
    )


def keep(session: Session) -> None:
    """Remember that a person keeps the text that they were asked about, and what is in it."""
    text = session.doubted
    session.kept |= {
        text,
        *(
            f"{mark} {sentence}"
            for sentence in identity_in_text(text, session.identifiers)
            for mark in _known(session)
        ),
    }


def _known(session: Session) -> list[str]:
    return ["said", *(f"said {scan.token}" for scan in session.scans)]
