"""What a reader does to a report: keep, edit, delete, restore, insert and move sentences.

Each function returns a changed copy; nothing is stored before `Reports.save`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pydantic import ValidationError

from rarl.errors import ReviewError
from rarl.records import Measurement, Record, ReportContent, Section, Sentence, explained
from rarl.records.measurement_words import measurement_sentence
from rarl.reports.templates import template_named

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


def with_sentence(report: _R, sentence: Sentence) -> _R:
    """A sentence as it was before, in the place of the one with its key.

    Raises:
        ReviewError: there is no such sentence.
    """
    return _with(report, sentence.key, lambda _: sentence)


def with_inserted(report: _R, section: str, text: str, after: str = "", key: str = "") -> _R:
    """A sentence of the reader's own.

    Args:
        report: to change.
        section: its key.
        text: of the sentence.
        after: key of the sentence before it; the section's end where "".
        key: of the sentence, 32 hex digits; a new one where "".

    Raises:
        ReviewError: there is no such section or sentence, or the text cannot be taken.
    """
    return _inserted(report, section, _made(text, key=key), after)


def with_measurement(report: _R, section: str, measurement: Measurement) -> _R:
    """A measurement, and the sentence that states it at a section's end.

    Raises:
        ReviewError: there is no such section.
    """
    sentence = _made(measurement_sentence(measurement), measurement.key)
    others = tuple(one for one in report.measurements if one.key != measurement.key)
    held = _copied(report, measurements=(*others, measurement))
    return _inserted(held, section, sentence, "")


def with_known(report: _R, measurements: Iterable[Measurement]) -> _R:
    """Measurements that no sentence states yet, beside those that the report holds.

    One that was drawn anew takes the place of what it was, unless a sentence states that.

    Raises:
        ReviewError: they are too many.
    """
    stated = {one.key for one in report.stated()}
    known = {one.key: one for one in report.measurements}
    known |= {one.key: one for one in measurements if one.key not in stated}
    return _copied(report, measurements=tuple(known.values()))


def with_template(report: _R, name: str) -> _R:
    """The report in the sections of another template; every sentence keeps its text and state.

    Args:
        report: to change.
        name: of the template.

    Raises:
        ReviewError: there is no such template.
    """
    template = template_named(name)
    placed: dict[str, list[Sentence]] = {section.key: [] for section in template.sections}
    for section in report.sections:
        for sentence in section.sentences:
            key = template.section_for(section.heading, sentence.text).key
            placed[key].append(sentence)
    sections = tuple(
        Section(
            key=part.key,
            title=part.title,
            heading=part.heading,
            sentences=tuple(placed[part.key]),
        )
        for part in template.sections
    )
    return _copied(report, template=name, title=template.title, sections=sections)


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


def _made(text: str, measurement: str | None = None, key: str = "") -> Sentence:
    named = {"key": key} if key else {}
    return Sentence.checked(
        origin="reader", state="kept", text=text, measurement=measurement, **named
    )


def _changed(sentence: Sentence, **changes: Any) -> Sentence:
    return Sentence.checked(**{**sentence.model_dump(), **changes})


def _copied(part: _P, **changes: Any) -> _P:
    """A copy with other values, checked again."""
    values = {name: getattr(part, name) for name in type(part).model_fields}
    try:
        return type(part)(**{**values, **changes})
    except ValidationError as error:
        raise ReviewError(explained(error)) from None
