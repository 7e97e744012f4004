"""The answers on the Ask page: one column for each variant, under what was asked.

A question of the Results page shows its columns with `column` too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal

from markupsafe import Markup

from demo.pages.render import label_of
from demo.services.asking import (
    AGREE,
    ARM_MEANINGS,
    COMPARED,
    Progress,
    agreement,
    same_answer_key,
    steps,
)
from demo.services.differences import Difference, differences, in_words, marked, words_of
from demo.session import Session
from demo.templating import render_template
from rarl.response import problem_sentence
from rarl.text.choice import LETTERS, labelled, read_choice

_LONG_ANSWER = 60
_AFTER = (
    ("reliance", "Did it need this image?", "C"),
    ("again", "Does it hold?", "V"),
    ("look", "Where it looked", "M"),
    ("behind", "Behind the scenes", "B"),
    ("facts", "Facts", ""),
    ("sheet", "PDF", ""),
)


def default_progress() -> Progress:
    """The board before anything was asked."""
    return Progress(COMPARED)


def board(progress: Progress, session: Session, labels: Mapping[str, str], worth: str = "") -> str:
    """The lines above, and one column per arm; the frame is the same before, during and after.

    While a question is blind, nothing in the page says which arm is which: columns are named by
    their letters in every attribute too.

    Args:
        progress: the answers so far.
        session: of the page.
        labels: arm to what the page calls it.
        worth: what it is worth that the answers agree, or "".
    """
    names = shown_names(progress.arms, session, labels)
    ended = bool(progress.answers) and all(answer.done for answer in progress.answers)
    differing = differences(progress.answers) if ended and session.stage != "own" else ()
    line, tone = _verdict(progress, session, names)
    alone = session.alone if session.alone in progress.arms and not session.stage else None
    asked = session.asked if progress.answers else None
    # What is said aloud is told by the page's script, once: this is drawn anew all the time.
    return render_template(
        "ask/board.html",
        asked_about=asked_about(progress, session),
        line=f"{line} {worth}".strip() if line == AGREE else line,
        tone=tone,
        differences=in_words(differing, names),
        # The way back to what the answers are about; the script shows it when they differ.
        stale={"number": asked.number, "views": json.dumps(asked.views)} if asked else None,
        columns=[
            _column_of(arm, progress, session, names, differing, alone is not None)
            for arm in progress.arms
            if alone in (None, arm)
        ],
        running=progress.running,
        stage=session.stage,
    )


def asked_about(progress: Progress, session: Session) -> Markup:
    """The question that the answers below belong to, and how its pictures were shown."""
    asked = session.asked if progress.answers else None
    options = asked.question.options if asked else ()
    return render_template(
        "ask/asked_about.html",
        asked=asked,
        options=[labelled(options, place) for place in range(len(options))],
        views=json.dumps(asked.views) if asked else "",
        unfamiliar=dict.fromkeys(asked.unfamiliar.values()) if asked else (),
    )


def history(session: Session, chats: bool) -> str:
    """The questions asked about these scans, each a way back to its answers.

    Args:
        session: whose questions.
        chats: whether the model can read earlier turns.
    """
    if not session.history:
        return ""
    rows = [
        {
            "number": asked.number,
            "views": json.dumps(asked.views),
            "current": asked is session.asked,
            "question": asked.typed,
            "answers": "blind"
            if asked is session.asked and session.stage
            else " · ".join(answer.response.answer or "–" for answer in asked.answers),
        }
        for asked in reversed(session.history)
    ]
    hint = (
        "With Follow-up on, the last questions and answers are sent along."
        if chats
        else "This model reads each question alone: earlier ones are not sent along."
    )
    return render_template("ask/history.html", rows=rows, hint=hint)


def after(session: Session, running: bool = False) -> str:
    """The row under the answers; its buttons wait for an answer that is whole and named."""
    ready = session.asked is not None and not running and not session.stage
    return render_template("ask/after.html", buttons=_AFTER, ready=ready)


def shown_names(arms: Sequence[str], session: Session, labels: Mapping[str, str]) -> dict[str, str]:
    """What the page calls each arm: its label, or its letter while a question is blind."""
    if session.stage:
        return {arm: chr(ord("A") + place) for place, arm in enumerate(arms)}
    return {arm: labels.get(arm, label_of(arm)) for arm in arms}


def _options_of(session: Session) -> tuple[str, ...]:
    """The options of the question that was asked; none where it has none."""
    return session.asked.question.options if session.asked else ()


def _verdict(
    progress: Progress, session: Session, names: Mapping[str, str]
) -> tuple[str, Literal["trouble", "calm", "split"]]:
    """The line above the columns, and its tone."""
    if progress.sentence:
        return progress.sentence, "trouble" if progress.failed else "calm"
    if session.stage == "own":
        return "Write your own answer first; the columns open after it.", "calm"
    place = max((answer.place for answer in progress.answers), default=0)
    if place:
        return ("You are next." if place == 1 else f"You are number {place} in line."), "calm"
    if progress.running:
        return "Answering. Reasoning grows in all columns at once.", "calm"
    if progress.answers:
        line = agreement(progress.answers, names, _options_of(session))
        return line, "split" if line.startswith("The variants disagree") else "calm"
    return "Open a scan, ask, and the answers appear here side by side.", "calm"


def _column_of(
    arm: str,
    progress: Progress,
    session: Session,
    names: Mapping[str, str],
    differing: Sequence[Difference],
    alone: bool,
) -> str:
    answer = next((answer for answer in progress.answers if answer.arm == arm), None)
    blind = session.stage != ""
    key, label = (names[arm].lower(), names[arm]) if blind else (arm, names[arm])
    meaning = "" if blind else ARM_MEANINGS.get(arm, "")
    if answer is None or session.stage == "own":
        return column(
            key, label, waiting=progress.running or blind, meaning=meaning, pending=""
            if not progress.running else "reasoning",
        )  # fmt: skip
    over = answer.done or not progress.running
    # While text is still coming, a missing tag is not a fault yet.
    faults = answer.response.problems if over and not answer.stopped else ()
    # The line may be cut at its end, so what counts comes first.
    foot = (
        f"{'stopped · ' if answer.stopped else ''}{answer.seconds:.1f} s · {answer.tokens} tokens"
    )
    options, option = _options_of(session), ""
    if options and answer.done:
        chosen = read_choice(answer.response.answer, options)
        unclear = "names several options" if chosen.ambiguous else "names no option"
        option = unclear if chosen.index is None else f"option {LETTERS[chosen.index]}"
    others = [
        names[other.arm]
        for other in progress.answers
        if same_answer_key(other.response.answer, options)
        != same_answer_key(answer.response.answer, options)
    ]
    ended = all(answer.done for answer in progress.answers)
    several = len(progress.arms) > 1 and not blind
    return column(
        key,
        label,
        answer=answer.response.answer,
        reasoning=answer.response.reasoning,
        problems=(*faults, *(text for text in (answer.failure, answer.note) if text)),
        # Only once all have ended: nothing moves while the others still grow.
        cautions=[check.sentence for check in answer.checks if check.name != "unfamiliar-picture"]
        if ended
        else (),
        foot=foot,
        option=option,
        waiting=not over,
        flag="" if blind else _flag_button(arm, label, session.is_flagged(arm)),
        report="" if blind else render_template("ask/report_button.html", arm=arm, label=label),
        meaning=meaning,
        marks=words_of(differing, arm),
        against=others if ended else (),
        alone=alone if several else None,
    )


def _flag_button(arm: str, label: str, flagged: bool) -> str:
    return render_template("ask/flag_button.html", arm=arm, label=label, flagged=flagged)


def column(
    arm: str,
    label: str,
    *,
    answer: str = "",
    reasoning: str = "",
    problems: Sequence[str] = (),
    cautions: Sequence[str] = (),
    foot: str = "",
    option: str = "",
    waiting: bool = False,
    flag: str = "",
    report: str = "",
    meaning: str | None = None,
    pending: str = "reasoning",
    marks: frozenset[str] = frozenset(),
    against: Sequence[str] = (),
    alone: bool | None = None,
) -> str:
    """One arm. The answer's slot keeps its height whether or not there is an answer yet.

    Args:
        arm: its name, for attributes.
        label: what people read.
        answer: text of the answer block.
        reasoning: text of the think block.
        problems: of the form, by key, and what else must be known of the answer, in words.
        cautions: sentences on what contradicts the header, the question or the answer itself; they
            stand before any text of the model.
        foot: seconds and tokens.
        option: which of the question's options the answer names.
        waiting: whether text is still coming.
        flag: the button that flags it.
        report: the button that begins a report from it.
        meaning: what the arm was trained for; by its name where not given.
        pending: the word that stands in for an answer that is still coming.
        marks: words that other arms deny or say otherwise.
        against: labels of the arms whose answer is another.
        alone: whether it is looked at alone; None leaves the switch out.
    """
    return render_template(
        "ask/column.html",
        arm=arm,
        label=label,
        answer=answer,
        long=len(answer) > _LONG_ANSWER,
        steps=[_pieces(step, marks) for step in steps(reasoning)],
        faults=[problem_sentence(problem) for problem in problems],
        cautions=cautions,
        foot=foot,
        option=option,
        waiting=waiting,
        flag=flag,
        report=report,
        meaning=ARM_MEANINGS.get(arm, "") if meaning is None else meaning,
        pending=pending,
        against=against,
        alone=alone,
    )


def _pieces(step: str, marks: frozenset[str]) -> Sequence[tuple[str, bool]]:
    """A step of the reasoning in pieces, each with whether it is marked."""
    return marked(step, marks) if marks else ((step, False),)
