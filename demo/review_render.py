"""The Review page's own pieces of HTML: the list of flags, and a case as it was."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape

from demo.asking import MODE_LABELS
from demo.flagging import CATEGORY_LABELS, SEVERITY_LABELS
from demo.render import column, picture_url, short_name
from rarl.review import ArmAnswer, CaseSnapshot, Flag, Picture


def flag_list(flags: Sequence[Flag], chosen: int | None, filtered: bool) -> str:
    """The flags, newest first, or what the emptiness means."""
    if not flags:
        told = (
            ("No flag matches", "Loosen the filters to see more.")
            if filtered
            else (
                "Nothing flagged yet",
                "When an answer on the Ask page is wrong or unsafe, press Flag under it. "
                "It is kept here with its scan, its question and what every arm said.",
            )
        )
        return (
            '<div class="nothing"><svg viewBox="0 0 64 64" aria-hidden="true"><path d="M20 54V12m0 '
            '2c9-5 15 5 26 0v19c-11 5-17-5-26 0"/></svg>'
            f"<h2>{told[0]}</h2><p>{told[1]}</p></div>"
        )
    rows = []
    for flag in flags:
        current = ' aria-current="true"' if flag.id == chosen else ""
        comment = f'<p class="comment">{escape(flag.comment)}</p>' if flag.comment else ""
        rows.append(
            f'<button type="button" class="row" data-event="open" data-flag="{flag.id}"{current}>'
            f'<span class="row-head"><b>{escape(flag.label)}</b>'
            f"<span>{escape(CATEGORY_LABELS.get(flag.category, flag.category))}</span>"
            f"{_severity(flag.severity)}</span>"
            f'<span class="row-question">{escape(flag.question)}</span>{comment}'
            f'<span class="row-foot">Flag {flag.id} · {_when(flag.created)}'
            f"{' · ' + escape(flag.modality) if flag.modality else ''}</span></button>"
        )
    count = "1 flag" if len(flags) == 1 else f"{len(flags)} flags"
    return f'<p class="count" role="status">{count}</p>{"".join(rows)}'


def case_view(flag: Flag, case: CaseSnapshot) -> str:
    """A case as it was when it was flagged."""
    mode = next((label for label, key in MODE_LABELS if key == case.mode), case.mode)
    columns = "".join(_stored_column(answer, flag) for answer in case.answers)
    comment = f"<blockquote>{escape(flag.comment)}</blockquote>" if flag.comment else ""
    facts_line = "".join(
        f"<span>{escape(word)}</span>"
        for word in (
            case.modality or "",
            f"{case.width} × {case.height}",
            mode,
            f"model {short_name(case.model)}",
            f"asked {_when(case.created)}",
        )
        if word
    )
    return (
        '<div class="case"><div class="case-top">'
        f'<div class="stages">{"".join(_stage(picture) for picture in case.pictures)}</div>'
        f'<div class="case-facts"><h4 class="eyebrow">Question</h4><h2>{escape(case.question)}</h2>'
        f'<p class="facts">{facts_line}</p>'
        f'<div class="complaint"><h4 class="eyebrow">Flag {flag.id} on {escape(flag.label)}</h4>'
        f"<p><b>{escape(CATEGORY_LABELS.get(flag.category, flag.category))}</b></p>"
        f"<p>{_severity(flag.severity)}</p>{comment}"
        f'<p class="row-foot">{_when(flag.created)}</p></div></div></div>'
        f'<div class="columns" data-count="{len(case.answers)}">{columns}</div></div>'
    )


def _stage(picture: Picture) -> str:
    name = f"{picture.name} of the case" if picture.name else "scan of the case"
    if picture.png is None:
        inside = "<p>Only the hash of this picture was kept.</p>"
    else:
        url = picture_url(picture.image())
        inside = f'<img src="{url}" alt="{escape(name.capitalize())}" draggable="false">'
    return (
        f'<div class="stage" data-page="stage" tabindex="0" aria-label="{escape(name)}">{inside}'
        "</div>"
    )


def _stored_column(answer: ArmAnswer, flag: Flag) -> str:
    foot = f"{answer.tokens} tokens · {answer.seconds:.1f} s · weights {answer.revision}"
    return column(
        answer.arm,
        answer.label,
        answer=answer.answer,
        reasoning=answer.reasoning,
        problems=() if answer.stopped else answer.problems,
        foot=foot + (" · stopped" if answer.stopped else ""),
        flag='<span class="flagged">Flagged</span>' if answer.arm == flag.arm else "",
    )


def no_case() -> str:
    """The right side of Review before a flag is opened."""
    return '<div class="nothing quiet"><p>Choose a flag to see the case as it was.</p></div>'


def _severity(key: str) -> str:
    return (
        f'<span class="severity severity-{escape(key)}">'
        f"{escape(SEVERITY_LABELS.get(key, key))}</span>"
    )


def _when(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
