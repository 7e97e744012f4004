"""What every form of a report says in the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rarl import __version__
from rarl.records import CaseSnapshot, Report, Section, Sentence

NOTICE = "For research. Not a medical device, not for diagnosis."
UNREAD = "[AI, not reviewed] "
UNREAD_HEADER = "[from the file, not reviewed] "


def shown_text(sentence: Sentence) -> str:
    """A sentence as a report shows it: one that nobody has decided on says so itself."""
    if sentence.state != "proposed":
        return sentence.text
    return f"{UNREAD if sentence.origin == 'ai' else UNREAD_HEADER}{sentence.text}"


def filled(report: Report) -> Iterator[tuple[Section, tuple[Sentence, ...]]]:
    """The sections in which a sentence stands, with those sentences."""
    for section in report.sections:
        standing = section.standing()
        if standing:
            yield section, standing


def is_own_text(sentence: Sentence) -> bool:
    """Whether a person wrote the text as it stands."""
    return sentence.origin == "reader" or sentence.state == "edited"


def signature(report: Report) -> str:
    """Who signed it and when, or that nobody has."""
    if not report.signed:
        return "Not signed: a draft."
    return f"Signed by {report.reader} on {report.created:%Y-%m-%d %H:%M} UTC."


def authorship(report: Report) -> str:
    """How many sentences the model had proposed and what became of them."""
    states = Counter(one.state for one in report.sentences() if one.origin == "ai")
    own = sum(one.origin == "reader" and one.state != "deleted" for one in report.sentences())
    proposed = sum(states.values())
    return (
        f"{report.label} (RARL variant, weights {report.revision}) had proposed {proposed} "
        f"{'sentence' if proposed == 1 else 'sentences'}: {states['kept']} kept, "
        f"{states['edited']} edited, {states['deleted']} deleted, {states['proposed']} not "
        f"reviewed; {own} {'was' if own == 1 else 'were'} added."
    )


def model_of(case: CaseSnapshot) -> str:
    """The name of the base model, without the folder that it lies in."""
    return Path(case.model).name


def software() -> str:
    """This program and its version."""
    return f"RARL {__version__}"
