"""HTML of the review queue: the list, the case and its history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from demo.pages.render import short_name
from demo.pages.review.common import (
    STATUS_WORDS,
    Chosen,
    Labels,
    nothing,
    stage,
    thumbnail_url,
    when,
)
from demo.services.asking import MODE_LABELS, steps
from rarl.records import Dismissal, Item, Progress
from rarl.response import problem_sentence
from rarl.review import ArmAnswer, CaseSnapshot, Flag, QueueItem, Region, Verdict


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
    rows = Markup().join(
        _row(number, item, _attributes(number, item, chosen), blind, labels)
        if pictures is None
        else _card(item, _attributes(number, item, chosen), blind, labels, pictures)
        for number, item in enumerate(items)
    )
    shape = "rows" if pictures is None else "cards"
    button = (
        Markup('<button type="button" class="ghost" data-event="more">Show more</button>')
        if more
        else ""
    )
    return Markup('<div class="{}">{}</div>{}').format(shape, rows, button)


def list_head(number: str, chosen: Chosen, labels: Labels, arms: Mapping[str, str]) -> str:
    """How many answers there are, and by what they are narrowed.

    Args:
        number: of answers, with "+" where there are more.
        chosen: the filters.
        labels: of the site.
        arms: arm name to what the page calls it.
    """
    words = [
        STATUS_WORDS.get(chosen.status, "waits for me" if chosen.status else ""),
        arms.get(chosen.arm, chosen.arm),
        labels.category(chosen.category),
        labels.severities.get(chosen.severity, chosen.severity),
        chosen.modality,
        f"flagged by {chosen.reader}" if chosen.reader else "",
        f"given to {chosen.assigned}" if chosen.assigned else "",
        f"from {chosen.since}" if chosen.since else "",
        f"to {chosen.until}" if chosen.until else "",
        f"“{chosen.text}”" if chosen.text else "",
    ]
    told = ", ".join(word for word in words if word)
    clear = Markup('<button type="button" class="link" data-event="clear">Clear</button>')
    narrowed = Markup('<p class="narrowed">{} {}</p>').format(told, clear) if told else ""
    count = f"{number} answer{'' if number == '1' else 's'}"
    return Markup('<p class="count" role="status">{}</p>{}').format(count, narrowed)


def _attributes(number: int, item: QueueItem, chosen: Item | None) -> str:
    """By its place in the list: the source of the page must not name the arm in an audit."""
    current = Markup(' aria-current="true"') if (item.case_id, item.arm) == chosen else ""
    flag = Markup(' data-flag="{}"').format(item.flags[0].id) if item.flags else ""
    return Markup('type="button" data-event="open" data-number="{}"{}{}').format(
        number, flag, current
    )


def _status(item: QueueItem) -> str:
    return Markup('<span class="status status-{}">{}</span>').format(
        item.status, STATUS_WORDS[item.status]
    )


# What the page adds to a question that was asked about a region; the picture shows the region.
_REGION_WORDS = re.compile(r"\s*The region(?: of \w+)? spans \([\d,]+\) to \([\d,]+\)\.")


def plain_question(question: str) -> str:
    """A question without the words that describe its region in numbers.

    >>> plain_question("Is it new? The region spans (219,544) to (452,741).")
    'Is it new? (region)'
    """
    plain = _REGION_WORDS.sub("", question).strip()
    return plain if plain == question.strip() else f"{plain} (region)"


def _row(number: int, item: QueueItem, attributes: str, blind: bool, labels: Labels) -> str:
    """Two lines: answer and question, and what is complained of; and a box that chooses it."""
    flag = labels.gravest(item.flags)
    kind: str = Markup("<span></span>")
    if flag:
        kind = Markup('<span class="row-kind">{} {}</span>').format(
            labels.severity(flag.severity), labels.category(flag.category)
        )
    words = [item.modality or ""]
    if flag:
        several = len(item.flags) > 1
        words += [f"{len(item.flags)} flags" if several else "", when(flag.created)[:10]]
    if item.assigned:
        words.append("for " + ", ".join(item.assigned))
    words.append("by chance" if item.by_chance else item.reason)
    name = "" if blind else f"{item.label}: "
    answer = f"{name}{item.answer or '–'}"
    return Markup(
        '<div class="row-line"><input type="checkbox" data-pick="{}" aria-label="Choose: {}">'
        '<button class="row" {}><span class="row-question"><b>{}</b> {}</span>{}{}<span '
        'class="row-foot">{}</span></button></div>'
    ).format(
        number,
        answer,
        attributes,
        answer,
        plain_question(item.question),
        _status(item),
        kind,
        " · ".join(word for word in words if word),
    )


def _card(
    item: QueueItem,
    attributes: str,
    blind: bool,
    labels: Labels,
    pictures: Mapping[str, bytes],
) -> str:
    png = pictures.get(item.case_id)
    picture = (
        Markup('<img src="{}" alt="" loading="lazy">').format(thumbnail_url(png))
        if png
        else Markup("<i></i>")
    )
    flag = labels.gravest(item.flags)
    kind = labels.category(flag.category) if flag else ""
    label = "" if blind else f"{item.label}: "
    return Markup(
        '<button class="row case-card" {}>{}<span '
        'class="row-question">{}</span><b>{}{}</b><span '
        'class="row-foot">{}</span>{}</button>'
    ).format(
        attributes,
        picture,
        plain_question(item.question),
        label,
        item.answer or "–",
        kind,
        _status(item),
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
    dismissed: Mapping[str, Dismissal],
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
        dismissed: by key, the flags that are dismissed.
    """
    mode = next((label for label, key in MODE_LABELS if key == case.mode), case.mode)
    words = [case.modality or "", f"{case.width} × {case.height}", mode]
    if not blind:
        words.append(f"model {short_name(case.model)}")
    words.append(f"asked {when(case.created)}")
    facts = Markup().join(Markup("<span>{}</span>").format(word) for word in words if word)
    regions = [flag.region for flag in flags if flag.region is not None]
    # What was asked about, where a region was, and what the flags point at.
    regions += [
        Region(number, picture.shown.region)
        for number, picture in enumerate(case.pictures)
        if picture.shown.region is not None
    ]
    pictures = Markup().join(
        stage(one, number, regions) for number, one in enumerate(case.pictures)
    )
    complaints = Markup().join(
        _complaint(flag, labels, me, earlier, dismissed.get(flag.key)) for flag in flags
    )
    judged = next(one for one in case.answers if one.arm == item.arm)
    others = [one for one in case.answers if one.arm != item.arm]
    beside = ""
    if others and not blind:
        columns = Markup().join(_said(one, (), named=True) for one in others)
        beside = Markup(
            '<details class="others"><summary>What {} said</summary><div>{}</div></details>'
        ).format(_listed(others), columns)
    return Markup(
        '<div class="case" data-place="{}"><div class="case-top"><div '
        'class="stages">{}</div><div class="case-facts"><h4 '
        'class="eyebrow">Question</h4><h2>{}</h2><p '
        'class="facts">{}</p>{}{}</div></div>{}</div>'
    ).format(
        place,
        pictures,
        plain_question(case.question),
        facts,
        _said(judged, flags, named=not blind),
        complaints,
        beside,
    )


def _listed(answers: Sequence[ArmAnswer]) -> str:
    names = [one.label for one in answers]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _complaint(
    flag: Flag,
    labels: Labels,
    me: str | None,
    earlier: Mapping[str, Flag],
    dismissal: Dismissal | None,
) -> str:
    who = f" by {flag.reader}" if flag.reader else ""
    what = "Correction" if flag.replaces else "Flag"
    before = ""
    old = earlier.get(flag.replaces or "")
    while old is not None:
        before += Markup('<p class="hint">{}</p>{}').format(
            when(old.created), _said_of(old, labels)
        )
        old = earlier.get(old.replaces or "")
    if before:
        before = Markup("<details><summary>Before it was corrected</summary>{}</details>").format(
            before
        )
    button = ""
    if me is not None and flag.reader == me:
        button = Markup(
            '<p><button type="button" class="link" data-event="correct" '
            'data-number="{}">Correct this flag</button></p>'
        ).format(flag.id)
    set_aside = ""
    if dismissal is not None:
        set_aside = Markup('<p class="dismissal"><b>Dismissed</b>{}, {}: {}</p>').format(
            f" by {dismissal.reader}" if dismissal.reader else "",
            when(dismissal.created),
            dismissal.reason,
        )
    return Markup(
        '<div class="complaint"><h4 class="eyebrow">{} {}{}, {}</h4>{}{}{}{}</div>'
    ).format(
        what, flag.id, who, when(flag.created), set_aside, _said_of(flag, labels), button, before
    )


def _said_of(flag: Flag, labels: Labels) -> str:
    """What a flag says."""
    more = ""
    if flag.comment:
        more += Markup("<blockquote>{}</blockquote>").format(flag.comment)
    if flag.corrected_answer or flag.corrected_explanation:
        words = " ".join((flag.corrected_answer, flag.corrected_explanation)).strip()
        more += Markup('<p class="right"><b>Should be</b> {}</p>').format(words)
    return Markup("<p><b>{}</b></p><p>{}</p>{}").format(
        labels.category(flag.category), labels.severity(flag.severity), more
    )


def _said(answer: ArmAnswer, flags: Sequence[Flag], *, named: bool) -> str:
    """One arm's answer and reasoning; flagged steps are marked."""
    wrong = {flag.sentence.strip() for flag in flags if flag.sentence}
    listed = Markup().join(
        Markup("<li><mark>{}</mark></li>").format(step)
        if step in wrong
        else Markup("<li>{}</li>").format(step)
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
        Markup(
            '<article class="said-by" data-arm="{}"><h3>{}</h3><p '
            'class="judged-answer">{}</p><ol>{}</ol>'
        ).format(
            answer.arm if named else "",
            answer.label if named else "The answer",
            answer.answer or Markup("&ndash;"),
            listed,
        )
        + Markup().join(Markup('<p class="caution">{}</p>').format(fault) for fault in faults)
        + Markup('<p class="row-foot">{}</p></article>').format(foot)
    )


def standing(item: QueueItem, verdicts: Sequence[Verdict], mine: Verdict | None) -> str:
    """How far the review of an answer is, with the verdicts that this person may see."""
    told = {
        "new": "Nobody has judged this answer yet.",
        "one-reader": "One reading is in; it stays hidden until there are two.",
        "agreed": "Two readers agree.",
        "differs": "The two readings differ; an adjudicator settles them.",
        "adjudicated": "Settled by an adjudicator.",
        "dismissed": "Its flags are dismissed: it waits for nobody and counts in no statistic.",
    }[item.status]
    if mine is not None and item.status == "one-reader":
        told = "You have judged this answer; until the second reading comes in, you can correct it."
    elif item.status in ("new", "one-reader") and item.assigned:
        told += f" Given to {', '.join(item.assigned)}."
    rows = Markup().join(
        Markup("<tr><th>{}{}</th><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            one.reader,
            " (adjudicator)" if one.role == "adjudicator" else "",
            one.judgement.correctness,
            one.judgement.explanation,
            _words_of(one),
        )
        for one in verdicts
    )
    table = (
        Markup(
            '<table class="verdicts"><thead><tr><th>Reader</th><th>Corr.</th><th>Expl.<'
            "/th><th>Said</th></tr></thead><tbody>{}</tbody></table>"
        ).format(rows)
        if rows
        else ""
    )
    return Markup('<p class="standing">{}</p>{}').format(told, table)


def _words_of(verdict: Verdict) -> str:
    said = verdict.judgement
    agrees = {True: "agrees with the flag", False: "disagrees with the flag", None: ""}
    right = " ".join((said.corrected_answer, said.corrected_explanation)).strip()
    words = (agrees[said.agrees], f"should be: {right}" if right else "", said.comment)
    return "; ".join(word for word in words if word)


def progress_table(
    progress: Sequence[Progress], me: str | None, waiting: int, disputes: int = 0
) -> str:
    """What waits for oneself, disputes first, and how far each reader is."""
    words = f"{'answer waits' if waiting == 1 else 'answers wait'} for your verdict"
    head = Markup('<p class="count" role="status"><b>{}</b> {}</p>').format(waiting, words)
    if disputes:
        head = Markup(
            '<p class="count" role="status"><b>{}</b> dispute{} and <b>{}</b> answer{} wait for you'
            "</p>"
        ).format(disputes, "s"[: disputes != 1], waiting, "s"[: waiting != 1])
    rows = Markup().join(
        Markup("<tr{}><th>{}</th><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            " class=me" if one.reader == me else "",
            one.reader,
            one.judged,
            one.left if one.assigned else "–",
            "–" if one.seconds is None else f"{one.seconds:.0f} s",
        )
        for one in progress
    )
    if not rows:
        return head
    return Markup(
        "{}<details><summary>Progress of each reader</summary><table "
        'class="verdicts"><thead><tr><th>Reader</th><th>Judged</th><th>Left</th><th'
        ">Time</th></tr></thead><tbody>{}</tbody></table></details>"
    ).format(head, rows)
