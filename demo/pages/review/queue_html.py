"""HTML of the review queue: the list, the case and its history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
from demo.templating import render_template
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
    entries = [
        _entry(number, item, (item.case_id, item.arm) == chosen, blind, labels, pictures)
        for number, item in enumerate(items)
    ]
    return render_template(
        "review/flag_list.html", entries=entries, cards=pictures is not None, more=more
    )


def _entry(
    number: int,
    item: QueueItem,
    current: bool,
    blind: bool,
    labels: Labels,
    pictures: Mapping[str, bytes] | None,
) -> dict[str, Any]:
    """What the list shows of an answer."""
    flag = labels.gravest(item.flags)
    words = [item.modality or ""]
    if flag:
        several = len(item.flags) > 1
        words += [f"{len(item.flags)} flags" if several else "", when(flag.created)[:10]]
    if item.assigned:
        words.append("for " + ", ".join(item.assigned))
    words.append("by chance" if item.by_chance else item.reason)
    png = (pictures or {}).get(item.case_id)
    name = "" if blind else f"{item.label}: "
    return {
        "number": number,
        "current": current,
        "flag_id": item.flags[0].id if item.flags else None,
        "status": item.status,
        "status_words": STATUS_WORDS[item.status],
        "answer": f"{name}{item.answer or '–'}",
        "question": plain_question(item.question),
        "severity": labels.severity(flag.severity, short=True) if flag else "",
        "category": labels.category(flag.category) if flag else "",
        "foot": " · ".join(word for word in words if word),
        "picture": thumbnail_url(png) if png else None,
    }


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
    narrowed = ", ".join(word for word in words if word)
    return render_template("review/list_head.html", number=number, narrowed=narrowed)


# What the page adds to a question that was asked about a region; the picture shows the region.
_REGION_WORDS = re.compile(r"\s*The region(?: of \w+)? spans \([\d,]+\) to \([\d,]+\)\.")


def plain_question(question: str) -> str:
    """A question without the words that describe its region in numbers.

    >>> plain_question("Is it new? The region spans (219,544) to (452,741).")
    'Is it new? (region)'
    """
    plain = _REGION_WORDS.sub("", question).strip()
    return plain if plain == question.strip() else f"{plain} (region)"


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
    regions = [flag.region for flag in flags if flag.region is not None]
    # What was asked about, where a region was, and what the flags point at.
    regions += [
        Region(number, picture.shown.region)
        for number, picture in enumerate(case.pictures)
        if picture.shown.region is not None
    ]
    judged = next(answer for answer in case.answers if answer.arm == item.arm)
    others = [] if blind else [answer for answer in case.answers if answer.arm != item.arm]
    return render_template(
        "review/case.html",
        place=place,
        pictures=[stage(picture, number, regions) for number, picture in enumerate(case.pictures)],
        question=plain_question(case.question),
        facts=[word for word in words if word],
        judged=_answer(judged, flags, named=not blind),
        flags=[_flag(flag, labels, me, earlier, dismissed.get(flag.key)) for flag in flags],
        others=[_answer(answer, (), named=True) for answer in others],
        others_named=_listed([answer.label for answer in others]),
    )


def _listed(names: Sequence[str]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _flag(
    flag: Flag,
    labels: Labels,
    me: str | None,
    earlier: Mapping[str, Flag],
    dismissal: Dismissal | None,
) -> dict[str, Any]:
    """What the case shows of a flag, with what it was before it was corrected."""
    who = f" by {flag.reader}" if flag.reader else ""
    title = "Correction" if flag.replaces else "Flag"
    before = []
    replaced = earlier.get(flag.replaces or "")
    while replaced is not None:
        before.append(_content(replaced, labels))
        replaced = earlier.get(replaced.replaces or "")
    dismissed = ""
    if dismissal is not None:
        by = f" by {dismissal.reader}" if dismissal.reader else ""
        dismissed = f"{by}, {when(dismissal.created)}: {dismissal.reason}"
    return {
        **_content(flag, labels),
        "id": flag.id,
        "title": f"{title} {flag.id}{who}, {when(flag.created)}",
        "dismissal": dismissed,
        "is_mine": me is not None and flag.reader == me,
        "earlier": before,
    }


def _content(flag: Flag, labels: Labels) -> dict[str, Any]:
    """What a flag says."""
    right = " ".join((flag.corrected_answer, flag.corrected_explanation)).strip()
    return {
        "record": flag,
        "created": when(flag.created),
        "category": labels.category(flag.category),
        "severity": labels.severity(flag.severity),
        "comment": flag.comment,
        "right": right,
    }


def _answer(answer: ArmAnswer, flags: Sequence[Flag], *, named: bool) -> dict[str, Any]:
    """What the case shows of a variant's answer; flagged steps are marked."""
    wrong = {flag.sentence.strip() for flag in flags if flag.sentence}
    faults = [] if answer.stopped else [problem_sentence(problem) for problem in answer.problems]
    foot = f"{answer.tokens} tokens · {answer.seconds:.1f} s"
    if named:
        foot += f" · weights {answer.revision}"
    if answer.stopped:
        foot += " · stopped"
    return {
        "arm": answer.arm if named else "",
        "label": answer.label if named else "The answer",
        "text": answer.answer,
        "steps": [(step, step in wrong) for step in steps(answer.reasoning)],
        "faults": [*faults, *([answer.note] if answer.note else [])],
        "foot": foot,
    }


def standing(item: QueueItem, verdicts: Sequence[Verdict], mine: Verdict | None) -> str:
    """How far the review of an answer is, with the verdicts that this person may see."""
    sentence = {
        "new": "Nobody has judged this answer yet.",
        "one-reader": "One reading is in; it stays hidden until there are two.",
        "agreed": "Two readers agree.",
        "differs": "The two readings differ; an adjudicator settles them.",
        "adjudicated": "Settled by an adjudicator.",
        "dismissed": "Its flags are dismissed: it waits for nobody and counts in no statistic.",
    }[item.status]
    if mine is not None and item.status == "one-reader":
        sentence = (
            "You have judged this answer; until the second reading comes in, you can correct it."
        )
    elif item.status in ("new", "one-reader") and item.assigned:
        sentence += f" Given to {', '.join(item.assigned)}."
    return render_template(
        "review/standing.html", sentence=sentence, verdicts=verdicts, words_of=_words_of
    )


def _words_of(verdict: Verdict) -> str:
    judgement = verdict.judgement
    agrees = {True: "agrees with the flag", False: "disagrees with the flag", None: ""}
    right = " ".join((judgement.corrected_answer, judgement.corrected_explanation)).strip()
    words = (
        agrees[judgement.agrees],
        f"should be: {right}" if right else "",
        judgement.comment,
    )
    return "; ".join(word for word in words if word)


def progress_table(
    progress: Sequence[Progress], me: str | None, waiting: int, disputes: int = 0
) -> str:
    """What waits for oneself, disputes first, and how far each reader is."""
    return render_template(
        "review/progress.html", progress=progress, me=me, waiting=waiting, disputes=disputes
    )
