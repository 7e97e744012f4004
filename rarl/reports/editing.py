"""What a reader does to a report: keep, edit, delete, restore and insert sentences.

Each function returns a changed copy; nothing is stored before `Reports.save`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError

from rarl.errors import ReviewError
from rarl.records import Measurement, Record, ReportContent, Sentence, explained
from rarl.records.measurement_words import measurement_sentence

_R = TypeVar("_R", bound=ReportContent)
_P = TypeVar("_P", bound=Record)


def with_kept(report: _R, key: str) -> _R:
    """The sentence stays as it was proposed.

    Raises:
        ReviewError: there is no such sentence.
    """

    def keep(sentence: Sentence) -> Sentence:
        if sentence.origin == "reader":
            return _changed(sentence, state="kept")
        return _changed(sentence, state="kept", text=sentence.proposed)

    return _with(report, key, keep)


def with_text(report: _R, key: str, text: str) -> _R:
    """The sentence says this instead; the proposed text stays beside it.

    Raises:
        ReviewError: there is no such sentence, or the text is empty or too long.
    """

    def edit(sentence: Sentence) -> Sentence:
        if sentence.origin == "reader":
            return _changed(sentence, state="kept", text=text)
        state = "kept" if text.strip() == sentence.proposed else "edited"
        return _changed(sentence, state=state, text=text)

    return _with(report, key, edit)


def with_deleted(report: _R, key: str) -> _R:
    """The sentence leaves the report; what was proposed stays stored.

    Raises:
        ReviewError: there is no such sentence.
    """
    return _with(report, key, lambda sentence: _changed(sentence, state="deleted"))


def with_restored(report: _R, key: str) -> _R:
    """A deleted sentence stands again, with its last text.

    Raises:
        ReviewError: there is no such sentence.
    """

    def restore(sentence: Sentence) -> Sentence:
        is_own = sentence.origin == "reader" or sentence.text == sentence.proposed
        return _changed(sentence, state="kept" if is_own else "edited")

    return _with(report, key, restore)


def with_inserted(report: _R, section: str, text: str, after: str = "") -> _R:
    """A sentence of the reader's own.

    Args:
        report: to change.
        section: its key.
        text: of the sentence.
        after: key of the sentence before it; the section's end where "".

    Raises:
        ReviewError: there is no such section or sentence, or the text cannot be taken.
    """
    return _inserted(report, section, _made(text), after)


def with_measurement(report: _R, section: str, measurement: Measurement) -> _R:
    """A measurement, and the sentence that states it at a section's end.

    Raises:
        ReviewError: there is no such section.
    """
    sentence = _made(measurement_sentence(measurement), measurement.key)
    others = tuple(one for one in report.measurements if one.key != measurement.key)
    held = _copied(report, measurements=(*others, measurement))
    return _inserted(held, section, sentence, "")


def _with(report: _R, key: str, change: Callable[[Sentence], Sentence]) -> _R:
    if key not in {sentence.key for sentence in report.sentences()}:
        raise ReviewError("The report has no such sentence; load it again.")
    sections = tuple(
        _copied(
            section,
            sentences=tuple(
                change(sentence) if sentence.key == key else sentence
                for sentence in section.sentences
            ),
        )
        for section in report.sections
    )
    return _copied(report, sections=sections)


def _inserted(report: _R, section: str, sentence: Sentence, after: str) -> _R:
    chosen = next((part for part in report.sections if part.key == section), None)
    if chosen is None:
        raise ReviewError("The report has no such section; load it again.")
    keys = [known.key for known in chosen.sentences]
    if after and after not in keys:
        raise ReviewError("The report has no such sentence; load it again.")
    place = keys.index(after) + 1 if after else len(keys)
    longer = (*chosen.sentences[:place], sentence, *chosen.sentences[place:])
    sections = tuple(
        _copied(part, sentences=longer) if part.key == section else part for part in report.sections
    )
    return _copied(report, sections=sections)


def _made(text: str, measurement: str | None = None) -> Sentence:
    return Sentence.checked(origin="reader", state="kept", text=text, measurement=measurement)


def _changed(sentence: Sentence, **changes: Any) -> Sentence:
    return Sentence.checked(**{**sentence.model_dump(), **changes})


def _copied(part: _P, **changes: Any) -> _P:
    """A copy with other values, checked again."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    try:
        return type(part)(**{**values, **changes})
    except ValidationError as error:
        raise ReviewError(explained(error)) from None
