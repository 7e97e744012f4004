"""The queue's own HTML: the list, a case with the answer that is judged, and what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from demo.asking import MODE_LABELS, steps
from demo.render import short_name
from demo.review.common import (
    STATUS_WORDS,
    Chosen,
    Labels,
    nothing,
    stage,
    thumbnail_url,
    when,
)
from rarl.response import problem_sentence
from rarl.review import ArmAnswer, CaseSnapshot, Flag, QueueItem, Verdict
from rarl.review.queue import Item, Progress


def flag_list(
    items: Sequence[QueueItem],
    chosen: Item | None,
    *,
    more: bool,
    empty: tuple[str, str],
    blind: bool,
    labels: Labels,
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """The answers of the queue, as rows, or as cards where pictures are given.

    Args:
        items: what to list.
        chosen: the one that is open.
        more: whether there are more than these.
        empty: title and sentence where there is none.
        blind: whether the names of the arms stay hidden.
        labels: of the site.
        pictures: PNG of each case that kept one.
    """
    if not items:
        return nothing(*empty)
    rows = "".join(
        _row(item, _attributes(number, item, chosen), blind, labels)
        if pictures is None
        else _card(item, _attributes(number, item, chosen), blind, labels, pictures)
        for number, item in enumerate(items)
    )
    shape = "rows" if pictures is None else "cards"
    button = (
        '<button type="button" class="ghost" data-event="more">Show more</button>' if more else ""
    )
    return f'<div class="{shape}">{rows}</div>{button}'


def list_head(number: str, chosen: Chosen, labels: Labels, arms: Mapping[str, str]) -> str:
    """How many answers there are, and by what they are narrowed.

    Args:
        number: of answers, with "+" where there are more.
        chosen: the filters.
        labels: of the site.
        arms: arm name to what the page calls it.
    """
    words = [
        escape(STATUS_WORDS.get(chosen.status, "waits for me" if chosen.status else "")),
        escape(arms.get(chosen.arm, chosen.arm)),
        labels.category(chosen.category),
        escape(labels.severities.get(chosen.severity, chosen.severity)),
        escape(chosen.modality),
        escape(f"flagged by {chosen.reader}" if chosen.reader else ""),
        escape(f"given to {chosen.assigned}" if chosen.assigned else ""),
        escape(f"from {chosen.since}" if chosen.since else ""),
        escape(f"to {chosen.until}" if chosen.until else ""),
        f"“{escape(chosen.text)}”" if chosen.text else "",
    ]
    told = ", ".join(word for word in words if word)
    clear = '<button type="button" class="link" data-event="clear">Clear</button>'
    narrowed = f'<p class="narrowed">{told} {clear}</p>' if told else ""
    count = f"{number} answer{'' if number == '1' else 's'}"
    return f'<p class="count" role="status">{count}</p>{narrowed}'


def _attributes(number: int, item: QueueItem, chosen: Item | None) -> str:
    """By its place in the list: the source of the page must not name the arm in an audit."""
    current = ' aria-current="true"' if (item.case_id, item.arm) == chosen else ""
    flag = f' data-flag="{item.flags[0].id}"' if item.flags else ""
    return f'type="button" data-event="open" data-number="{number}"{flag}{current}'


def _status(item: QueueItem) -> str:
    return f'<span class="status status-{item.status}">{STATUS_WORDS[item.status]}</span>'


def _row(item: QueueItem, attributes: str, blind: bool, labels: Labels) -> str:
    flag = labels.gravest(item.flags)
    said = (
        f"<span>{labels.category(flag.category)}</span>{labels.severity(flag.severity)}"
        if flag
        else ""
    )
    comment = f'<span class="comment">{escape(flag.comment)}</span>' if flag else ""
    foot = [item.modality or ""]
    if flag:
        several = len(item.flags) > 1
        foot += [f"{len(item.flags)} flags" if several else f"flag {flag.id}", when(flag.created)]
    if item.assigned:
        foot.append("for " + ", ".join(item.assigned))
    return (
        f'<button class="row" {attributes}>'
        f'<span class="row-head"><b>{"" if blind else escape(item.label)}</b>{said}</span>'
        f'<span class="row-question">{escape(item.question)} '
        f"<b>{escape(item.answer) or '–'}</b></span>{comment}"
        f'<span class="row-foot">{_status(item)} '
        f"{escape(' · '.join(word for word in foot if word))}</span></button>"
    )


def _card(
    item: QueueItem,
    attributes: str,
    blind: bool,
    labels: Labels,
    pictures: Mapping[str, bytes],
) -> str:
    png = pictures.get(item.case_id)
    picture = f'<img src="{thumbnail_url(png)}" alt="" loading="lazy">' if png else "<i></i>"
    flag = labels.gravest(item.flags)
    kind = labels.category(flag.category) if flag else ""
    label = "" if blind else f"{item.label}: "
    return (
        f'<button class="row case-card" {attributes}>{picture}'
        f'<span class="row-question">{escape(item.question)}</span>'
        f"<b>{escape(label)}{escape(item.answer) or '–'}</b>"
        f'<span class="row-foot">{kind}</span>{_status(item)}</button>'
    )


def case_view(
    item: QueueItem,
    case: CaseSnapshot,
    flags: Sequence[Flag],
    *,
    place: str,
    blind: bool,
    labels: Labels,
    me: str | None,
    earlier: Mapping[str, Flag],
) -> str:
    """A case as it was, with the answer that is judged first.

    Args:
        item: the answer.
        case: its case.
        flags: on the answer; none where readers shall not be swayed.
        place: another whenever it is opened, for the page's clock.
        blind: whether arms stay unnamed and unseen beside each other.
        labels: of the site.
        me: whose page it is: one's own flags can be corrected.
        earlier: by key, the flags that others replaced.
    """
    mode = next((label for label, key in MODE_LABELS if key == case.mode), case.mode)
    words = [case.modality or "", f"{case.width} × {case.height}", mode]
    if not blind:
        words.append(f"model {short_name(case.model)}")
    words.append(f"asked {when(case.created)}")
    facts = "".join(f"<span>{escape(word)}</span>" for word in words if word)
    regions = [flag.region for flag in flags if flag.region is not None]
    pictures = "".join(stage(one, number, regions) for number, one in enumerate(case.pictures))
    complaints = "".join(_complaint(flag, labels, me, earlier) for flag in flags)
    judged = next(one for one in case.answers if one.arm == item.arm)
    others = [one for one in case.answers if one.arm != item.arm]
    beside = ""
    if others and not blind:
        columns = "".join(_said(one, (), named=True) for one in others)
        beside = (
            f'<details class="others"><summary>What {_listed(others)} said</summary>'
            f"<div>{columns}</div></details>"
        )
    return (
        f'<div class="case" data-place="{place}"><div class="case-top">'
        f'<div class="stages">{pictures}</div>'
        f'<div class="case-facts"><h4 class="eyebrow">Question</h4><h2>{escape(case.question)}</h2>'
        f'<p class="facts">{facts}</p>{complaints}</div></div>'
        f"{_said(judged, flags, named=not blind)}{beside}</div>"
    )


def _listed(answers: Sequence[ArmAnswer]) -> str:
    names = [escape(one.label) for one in answers]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _complaint(flag: Flag, labels: Labels, me: str | None, earlier: Mapping[str, Flag]) -> str:
    who = f" by {escape(flag.reader)}" if flag.reader else ""
    what = "Correction" if flag.replaces else "Flag"
    before = ""
    old = earlier.get(flag.replaces or "")
    while old is not None:
        before += f'<p class="hint">{when(old.created)}</p>{_said_of(old, labels)}'
        old = earlier.get(old.replaces or "")
    if before:
        before = f"<details><summary>Before it was corrected</summary>{before}</details>"
    button = ""
    if me is not None and flag.reader == me:
        button = (
            f'<p><button type="button" class="link" data-event="correct" data-number="{flag.id}">'
            "Correct this flag</button></p>"
        )
    return (
        f'<div class="complaint"><h4 class="eyebrow">{what} {flag.id}{who}, {when(flag.created)}'
        f"</h4>{_said_of(flag, labels)}{button}{before}</div>"
    )


def _said_of(flag: Flag, labels: Labels) -> str:
    """What a flag says."""
    more = ""
    if flag.comment:
        more += f"<blockquote>{escape(flag.comment)}</blockquote>"
    if flag.corrected_answer or flag.corrected_explanation:
        words = " ".join((flag.corrected_answer, flag.corrected_explanation)).strip()
        more += f'<p class="right"><b>Should be</b> {escape(words)}</p>'
    return (
        f"<p><b>{labels.category(flag.category)}</b></p><p>{labels.severity(flag.severity)}</p>"
        f"{more}"
    )


def _said(answer: ArmAnswer, flags: Sequence[Flag], *, named: bool) -> str:
    """One arm's answer and reasoning; flagged steps are marked."""
    wrong = {flag.sentence.strip() for flag in flags if flag.sentence}
    listed = "".join(
        f"<li><mark>{escape(step)}</mark></li>" if step in wrong else f"<li>{escape(step)}</li>"
        for step in steps(answer.reasoning)
    )
    faults = [] if answer.stopped else [problem_sentence(problem) for problem in answer.problems]
    faults += [answer.note] if answer.note else []
    foot = f"{answer.tokens} tokens · {answer.seconds:.1f} s"
    if named:
        foot += f" · weights {answer.revision}"
    if answer.stopped:
        foot += " · stopped"
    return (
        f'<article class="said-by" data-arm="{escape(answer.arm) if named else ""}">'
        f"<h3>{escape(answer.label) if named else 'The answer'}</h3>"
        f'<p class="judged-answer">{escape(answer.answer) or "&ndash;"}</p>'
        f"<ol>{listed}</ol>"
        + "".join(f'<p class="caution">{escape(fault)}</p>' for fault in faults)
        + f'<p class="row-foot">{foot}</p></article>'
    )


def standing(item: QueueItem, verdicts: Sequence[Verdict], mine: Verdict | None) -> str:
    """How far the review of an answer is, with the verdicts that this person may see."""
    told = {
        "new": "Nobody has judged this answer yet.",
        "one-reader": "One reading is in; it stays hidden until there are two.",
        "agreed": "Two readers agree.",
        "differs": "The two readings differ; an adjudicator settles them.",
        "adjudicated": "Settled by an adjudicator.",
    }[item.status]
    if mine is not None and item.status == "one-reader":
        told = "You have judged this answer; until the second reading comes in, you can correct it."
    elif item.status in ("new", "one-reader") and item.assigned:
        told += f" Given to {', '.join(item.assigned)}."
    rows = "".join(
        f"<tr><th>{escape(one.reader)}{' (adjudicator)' if one.role == 'adjudicator' else ''}</th>"
        f"<td>{one.judgement.correctness}</td><td>{one.judgement.explanation}</td>"
        f"<td>{escape(_words_of(one))}</td></tr>"
        for one in verdicts
    )
    table = (
        '<table class="verdicts"><thead><tr><th>Reader</th><th>Corr.</th><th>Expl.</th><th>Said'
        f"</th></tr></thead><tbody>{rows}</tbody></table>"
        if rows
        else ""
    )
    return f'<p class="standing">{escape(told)}</p>{table}'


def _words_of(verdict: Verdict) -> str:
    said = verdict.judgement
    agrees = {True: "agrees with the flag", False: "disagrees with the flag", None: ""}
    right = " ".join((said.corrected_answer, said.corrected_explanation)).strip()
    words = (agrees[said.agrees], f"should be: {right}" if right else "", said.comment)
    return "; ".join(word for word in words if word)


def progress_table(progress: Sequence[Progress], me: str | None, waiting: int) -> str:
    """What waits for oneself, and how far each reader is."""
    head = (
        f'<p class="count" role="status"><b>{waiting}</b> '
        f"{'answer waits' if waiting == 1 else 'answers wait'} for your verdict</p>"
    )
    rows = "".join(
        f"<tr{' class=me' if one.reader == me else ''}><th>{escape(one.reader)}</th>"
        f"<td>{one.judged}</td><td>{one.left if one.assigned else '–'}</td>"
        f"<td>{'–' if one.seconds is None else f'{one.seconds:.0f} s'}</td></tr>"
        for one in progress
    )
    if not rows:
        return head
    return (
        f'{head}<details><summary>Progress of each reader</summary><table class="verdicts"><thead>'
        "<tr><th>Reader</th><th>Judged</th><th>Left</th><th>Time</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )
