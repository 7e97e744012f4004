"""HTML of the Ask page. All text from outside is escaped.

The text goes into components whose template is `${value}` and nothing else: Gradio runs a
template through Handlebars and then evaluates it as JavaScript, so model text must reach it only
as a value, never as part of a template.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from markupsafe import Markup, escape
from PIL import Image

from demo.brand import LOGO, NOTICE
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
from demo.services.engine_loader import EngineLoader
from demo.services.examples import OpenedExample
from demo.session import OpenScan, Session
from rarl.response import problem_sentence
from rarl.review import Flag

ONE_PICTURE = (
    "This model was trained on one picture at a time: whether it uses the others was not measured."
)

NAMELESS = (
    "The app was restarted since this scan was opened: what you type is no longer compared with "
    "the names in its header."
)

_LABELS = {"base": "Base", "sft": "SFT", "rl": "RL", "rarl": "RARL"}
_FLAG_ICON = Markup(
    '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M4 14V2.5m0 .5c3-1.5 '
    '5 1.5 8.5 0v6c-3.5 1.5-5.5-1.5-8.5 0" fill="none" stroke="currentColor" '
    'stroke-width="1.5" stroke-linecap="round" stroke-linejoin="round"/></svg>'
)
# Rings within rings: what an arm was rewarded for, told apart without colour.
_GLYPHS = {
    "base": Markup('<circle cx="8" cy="8" r="5.5" stroke-dasharray="2 2.3"/>'),
    "sft": Markup('<circle cx="8" cy="8" r="5.5"/>'),
    "rl": Markup('<circle cx="8" cy="8" r="5.5"/><circle class="dot" cx="8" cy="8" r="2"/>'),
    "rarl": Markup(
        '<circle cx="8" cy="8" r="6.2"/><circle cx="8" cy="8" r="3.7"/><circle '
        'class="dot" cx="8" cy="8" r="1.5"/>'
    ),
}

# The long side that the page shows; the model and the store always get the full scan.
_SHOWN_SIDE = 1400


def label_of(arm: str) -> str:
    """What the interface calls an arm it knows only by name."""
    return _LABELS.get(arm, arm)


def picture_url(image: Image.Image, side: int = _SHOWN_SIDE) -> str:
    """The picture inside its own address, so that no copy of it lies in Gradio's cache."""
    shown = image
    if max(image.size) > side:
        shown = image.copy()
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


# --- Frame ---------------------------------------------------------------------------------------


def masthead(sign_out: str = "") -> str:
    """A link over the tab stops, logo, name and the theme switch.

    Args:
        sign_out: the form that signs out, where people sign in with a password.
    """
    return Markup(
        '<a class="skip-link" href="#ask" data-page="skip">Skip to the question</a><div '
        'class="brand">{}<h1 class="brand-name">RARL</h1><span '
        'class="brand-line">Reasoning on medical images, side by '
        'side</span></div><div class="mast-tools">{}<button type="button" '
        'class="ghost" data-page="keys" aria-keyshortcuts="?" aria-label="Help: '
        'keys and tour">?</button><button type="button" class="ghost" '
        'data-page="theme" aria-label="Colours: dark, light or as the system"><svg '
        'viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="6" '
        'fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M8 2a6 6 0 '
        '0 1 0 12z" fill="currentColor"/></svg><span '
        'data-page-label="theme">Dark</span></button></div>'
    ).format(LOGO, sign_out)


TRAIN = (
    "for arm in sft rl rarl; do python -m rarl train $arm --model {} --data vqa_rad "
    "--out adapters/$arm; done"
)


def engine_pill(loader: EngineLoader) -> str:
    """Where the model stands, in one quiet word or a sentence."""
    if loader.phase == "loading" and not loader.sentence:
        return Markup('<span class="pill waiting" role="status">Loading the model…</span>')
    if loader.engine is None:
        return Markup('<span class="pill broken" role="alert">{}</span>').format(loader.sentence)
    name = short_name(loader.engine.model_name)
    without = ", ".join(label_of(arm) for arm in loader.missing)
    lacks = f", without {without}" if without else ""
    return Markup('<span class="pill ready" role="status">{} ready{}</span>').format(name, lacks)


def notice() -> str:
    """Said once on entry; the footer keeps it."""
    return Markup(
        '<p role="note">{}</p><span><button type="button" class="ghost" '
        'data-page="tour">Take the tour</button><button type="button" '
        'class="ghost" data-page="dismiss">I understand</button></span>'
    ).format(NOTICE)


def footer(loader: EngineLoader) -> str:
    """The lasting notice, and what the loaded model is."""
    said = ""
    if loader.engine is not None:
        name = short_name(loader.engine.model_name)
        if name == "pocket":
            said = "pocket is a 9-million-parameter teaching model; it is often wrong."
        else:
            said = f"Model: {name}. Its answers can be wrong, and sound right."
    missing = Markup().join(
        Markup("<p>{}</p>").format(reason) for reason in loader.missing.values()
    )
    train = ""
    if loader.engine is not None and any(arm.mode and arm.revision for arm in loader.engine.arms):
        # Weights at hand, and nothing trained from them.
        command = TRAIN.format(shlex.quote(loader.engine.model_name))
        train = Markup(
            "<p>It has no variants yet, so the forms of its answer stand side by side. "
            "This trains SFT, RL and RARL on a single GPU of 24 GB: <code>{}</code> "
            "Name the folders in a variants file then, and start with that (see the "
            "README).</p>"
        ).format(command)
    return Markup("<p>{}</p><p>{}</p>{}{}").format(NOTICE, said, train, missing)


def short_name(model_name: str) -> str:
    """The name without the folders before it; a Hub name keeps its owner."""
    path = Path(model_name)
    return path.name if path.is_absolute() or path.exists() else model_name


# --- Scan ----------------------------------------------------------------------------------------


_FACT_WORDS = {
    "BodyPartExamined": "{}",
    "ViewPosition": "{} view",
    "PatientAge": "{} years",
    "PatientSex": "sex {}",
    "ImageLaterality": "side {}",
    "Laterality": "side {}",
}


def _first(scan: OpenScan, keyword: str) -> str:
    """The first of an attribute's values, or ""."""
    return scan.stack.attributes.get(keyword, "").split(",")[0]


def facts(session: Session, sentence: str = "", single: bool = False) -> str:
    """The quiet line under the scan; above it, a sentence on a file that could not be opened.

    Args:
        session: whose scans it is about.
        sentence: what went wrong, or "".
        single: whether the model was trained on questions about one picture alone.
    """
    parts: list[str] = []
    if sentence:
        parts.append(
            Markup(
                '<p class="trouble" role="alert">{} <button type="button" class="link" '
                'data-page="dismiss-trouble">Dismiss</button></p>'
            ).format(sentence)
        )
    scan = session.active
    if scan is not None:
        stack = scan.stack
        words = [scan.source, stack.modality or stack.format.upper()]
        words += [
            form.format(_first(scan, key) if "{} " in form else _first(scan, key).capitalize())
            for key, form in _FACT_WORDS.items()
            if stack.attributes.get(key)
        ]
        rows, columns = stack.shape()
        words.append(f"{columns} × {rows}")
        listed = Markup().join(Markup("<span>{}</span>").format(word) for word in words if word)
        parts.append(Markup('<p class="facts">{}</p>').format(listed))
        if single and len(session.scans) > 1:
            parts.append(Markup('<p class="facts">{}</p>').format(ONE_PICTURE))
        parts += [Markup('<p class="caution">{}</p>').format(warning) for warning in stack.warnings]
        if scan.nameless:
            parts.append(Markup('<p class="caution">{}</p>').format(NAMELESS))
        if scan.reference:
            parts.append(
                Markup(
                    "<details><summary>Show the reference answer</summary><p>{}</p></details>"
                ).format(scan.reference)
            )
    return Markup().join(parts)


def example_strip(examples: Iterable[OpenedExample]) -> str:
    """Thumbnails that put a scan and a question on the page."""
    cards = []
    for opened in examples:
        example = opened.example
        picture = opened.thumbnail.copy()
        picture.thumbnail((144, 144))
        cards.append(
            Markup(
                '<button type="button" class="card" data-event="pick" data-key="{}" '
                'title="{}"><img src="{}" alt=""><span>{}</span></button>'
            ).format(example.key, example.source, picture_url(picture), example.title)
        )
    return Markup('<h3 class="eyebrow">Examples</h3><div class="strip">{}</div>').format(
        Markup().join(cards)
    )


def doubt(sentences: Sequence[str], where: str) -> str:
    """Ask whether words that look like somebody's identity shall stay.

    Args:
        sentences: what was found.
        where: "the question", "the comment" or "the picture".
    """
    listed = Markup().join(Markup("<li>{}</li>").format(sentence) for sentence in sentences)
    return Markup(
        '<div class="doubt" role="alert"><p>Look at {} again before it is '
        'kept:</p><ul>{}</ul><div><button type="button" class="ghost" '
        'data-event="retype">Change it</button><button type="button" class="ghost" '
        'data-event="keep">Keep it as it is</button></div></div>'
    ).format(where, listed)


def history(session: Session, chats: bool) -> str:
    """The questions asked about these scans, each a way back to its answers.

    Args:
        session: whose questions.
        chats: whether the model can read earlier turns.
    """
    if not session.history:
        return ""
    rows = []
    for asked in reversed(session.history):
        said = " · ".join(answer.response.answer or "–" for answer in asked.answers)
        if asked is session.asked and session.stage:
            said = "blind"
        here = Markup(' aria-current="true"') if asked is session.asked else ""
        rows.append(
            Markup(
                '<li><button type="button" data-event="reopen" data-number="{}" '
                'data-views="{}"{}><span>{}</span><small>{}</small></button></li>'
            ).format(asked.number, json.dumps(asked.views), here, asked.typed, said)
        )
    told = (
        "With Follow-up on, the last questions and answers are sent along."
        if chats
        else "This model reads each question alone: earlier ones are not sent along."
    )
    return Markup(
        '<details class="history"><summary>Asked '
        "<b>{}</b></summary><div><ol>{}</ol><p>{}</p></div></details>"
    ).format(len(rows), Markup().join(rows), told)


_AFTER = (
    ("reliance", "Did it need this image?", "C"),
    ("again", "Does it hold?", "V"),
    ("look", "Where it looked", "M"),
    ("behind", "Behind the scenes", "B"),
    ("sheet", "PDF", ""),
)


def after(session: Session, running: bool = False) -> str:
    """The row under the answers; its buttons wait for an answer that is whole and named."""
    asked = session.asked
    ready = asked is not None and not running and not session.stage
    off = "" if ready else " disabled"
    return Markup().join(
        Markup('<button type="button" class="ghost" data-event="{}"{}{}>{}</button>').format(
            event, f" aria-keyshortcuts={key}" if key else "", off, words
        )
        for event, words, key in _AFTER
    )


def chips(questions: Sequence[str]) -> str:
    """Suggested questions."""
    return Markup().join(
        Markup(
            '<button type="button" class="chip" data-event="suggest" data-text="{}">{}</button>'
        ).format(text, text)
        for text in questions
    )


# --- Answers -------------------------------------------------------------------------------------


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
    found = differences(progress.answers) if ended and session.stage != "own" else ()
    line, tone = _verdict(progress, session, names)
    # What is said aloud is told by the page's script, once: this is drawn anew all the time.
    head = Markup(
        '{}<div class="lines"><p class="verdict {}">{}</p><p class="differences">{}</p>{}</div>'
    ).format(
        asked_about(progress, session),
        tone,
        f"{line} {worth}".strip() if line == AGREE else line,
        in_words(found, names),
        _stale_line(session) if progress.answers else "",
    )
    alone = session.alone if session.alone in progress.arms and not session.stage else None
    shown = [arm for arm in progress.arms if alone in (None, arm)]
    columns = Markup().join(
        _column_of(arm, progress, session, names, found, alone is not None) for arm in shown
    )
    running = Markup(' data-running aria-busy="true"') if progress.running else ""
    hidden = Markup(' data-stage="{}"').format(session.stage) if session.stage else ""
    return Markup('{}<div class="columns" data-count="{}"{}{}>{}</div>').format(
        head, len(shown), running, hidden, columns
    )


def asked_about(progress: Progress, session: Session) -> Markup:
    """The question that the answers below belong to, and how its pictures were shown.

    The page's script compares the data with what is typed and shown now (see `page.js`).
    """
    asked = session.asked
    if asked is None or not progress.answers:
        return Markup('<div class="asked-about"></div>')
    chips = Markup().join(Markup("<li>{}</li>").format(chip) for chip in asked.picture_words())
    unfamiliar = Markup().join(
        Markup('<p class="caution" role="note">{}</p>').format(sentence)
        for sentence in dict.fromkeys(asked.unfamiliar.values())
    )
    return Markup(
        '<div class="asked-about" data-number="{}" data-typed="{}" data-views="{}">'
        '<h3><span class="sr-only">Question asked: </span>{}</h3><ul>{}</ul>{}</div>'
    ).format(asked.number, asked.typed, json.dumps(asked.views), asked.typed, chips, unfamiliar)


def _stale_line(session: Session) -> Markup:
    """The way back to what the answers are about; the page's script shows it when they differ."""
    asked = session.asked
    if asked is None:
        return Markup()
    return Markup(
        '<p class="stale-line" role="status" hidden><span></span> '
        '<button type="button" class="link" data-event="reopen" data-number="{}" '
        'data-views="{}">Show what was asked</button></p>'
    ).format(asked.number, json.dumps(asked.views))


def shown_names(arms: Sequence[str], session: Session, labels: Mapping[str, str]) -> dict[str, str]:
    """What the page calls each arm: its label, or its letter while a question is blind."""
    if session.stage:
        return {arm: chr(ord("A") + place) for place, arm in enumerate(arms)}
    return {arm: labels.get(arm, label_of(arm)) for arm in arms}


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
        line = agreement(progress.answers, names)
        return line, "split" if line.startswith("The variants disagree") else "calm"
    return "Open a scan, ask, and the answers appear here side by side.", "calm"


def _column_of(
    arm: str,
    progress: Progress,
    session: Session,
    names: Mapping[str, str],
    found: Sequence[Difference],
    alone: bool,
) -> str:
    answer = next((one for one in progress.answers if one.arm == arm), None)
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
    foot = f"{answer.tokens} tokens · {answer.seconds:.1f} s"
    others = [
        names[one.arm]
        for one in progress.answers
        if same_answer_key(one.response.answer) != same_answer_key(answer.response.answer)
    ]
    ended = all(one.done for one in progress.answers)
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
        foot=foot + (" · stopped" if answer.stopped else ""),
        waiting=not over,
        flag="" if blind else _flag_button(arm, label, session.is_flagged(arm)),
        meaning=meaning,
        marks=words_of(found, arm),
        against=others if ended else (),
        alone=alone if several else None,
    )


def _flag_button(arm: str, label: str, done: bool) -> str:
    word = "Flagged" if done else "Flag"
    told = f"Flag the answer of {label}" + (" once more" if done else "")
    return Markup(
        '<button type="button" class="flag{}" data-event="flagged" data-arm="{}" '
        'aria-label="{}">{}{}</button>'
    ).format(" done" if done else "", arm, told, _FLAG_ICON, word)


def column(
    arm: str,
    label: str,
    *,
    answer: str = "",
    reasoning: str = "",
    problems: Sequence[str] = (),
    cautions: Sequence[str] = (),
    foot: str = "",
    waiting: bool = False,
    flag: str = "",
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
        foot: tokens and seconds.
        waiting: whether text is still coming.
        flag: the button that flags it.
        meaning: what the arm was trained for; by its name where not given.
        pending: the word that stands in for an answer that is still coming.
        marks: words that other arms deny or say otherwise.
        against: labels of the arms whose answer is another.
        alone: whether it is looked at alone; None leaves the switch out.
    """
    glyph = _GLYPHS.get(arm, _GLYPHS["sft"])
    size = " long" if len(answer) > 60 else ""
    if answer:
        said = Markup('<p class="answer{}">{}</p>').format(size, answer)
    elif waiting and pending:
        said = Markup('<p class="answer pending"><span>{}</span><i></i><i></i><i></i></p>').format(
            pending
        )
    else:
        said = (
            Markup('<p class="answer none">&ndash;</p>')
            if foot
            else Markup('<p class="answer none"></p>')
        )
    other = Markup('<p class="against">≠ {}</p>').format(", ".join(against)) if against else ""
    listed = Markup().join(
        Markup("<li>{}</li>").format(_step(step, marks)) for step in steps(reasoning)
    )
    faults = Markup().join(
        Markup("<li>{}</li>").format(problem_sentence(problem)) for problem in problems
    )
    warned: str = ""
    if cautions:
        warnings = Markup().join(Markup("<li>{}</li>").format(caution) for caution in cautions)
        warned = Markup('<ul class="cautions" role="note">{}</ul>').format(warnings)
    about = ARM_MEANINGS.get(arm, "") if meaning is None else meaning
    return Markup(
        '<article class="arm arm-{}{}" aria-label="{}" data-arm="{}"><header><svg '
        'class="glyph" viewBox="0 0 16 16" '
        'aria-hidden="true">{}</svg><div><h3>{}</h3><p>{}</p></div>{}</header>{}<div '
        'class="said"><h4 class="eyebrow">Answer</h4>{}{}</div><div '
        'class="why"><h4 class="eyebrow"><button type="button" data-page="fold" '
        'aria-expanded="true">Reasoning</button></h4><ol>{}</ol></div><ul '
        'class="faults">{}</ul><footer><span>{}</span>{}</footer></article>'
    ).format(
        arm,
        " live" if waiting else "",
        label,
        arm,
        glyph,
        label,
        about,
        _alone_button(arm, label, alone),
        warned,
        said,
        other,
        listed,
        faults,
        foot,
        flag,
    )


def _alone_button(arm: str, label: str, alone: bool | None) -> str:
    if alone is None:
        return ""
    word = f"Show all columns beside {label}" if alone else f"Show {label} alone"
    return Markup(
        '<button type="button" class="alone" data-event="alone" data-arm="{}" '
        'aria-pressed="{}" aria-label="{}" title="{}"><svg viewBox="0 0 16 16" '
        'aria-hidden="true"><rect x="1.5" y="3" width="13" height="10" '
        'rx="1.5"/><path d="M5.8 3v10m4.4-10v10"/></svg></button>'
    ).format(arm, str(alone).lower(), word, word)


def _step(text: str, marks: frozenset[str]) -> str:
    if not marks:
        return escape(text)
    return Markup().join(
        Markup("<mark>{}</mark>").format(piece) if is_word else escape(piece)
        for piece, is_word in marked(text, marks)
    )


# --- Flags ---------------------------------------------------------------------------------------


def flag_heading(session: Session, corrects: bool = False) -> str:
    """What is being flagged, or flagged better: whose answer, and the answer itself."""
    asked, arm = session.asked, session.flagging
    if asked is None or arm is None:
        return ""
    label = next((known.label for known in asked.arms if known.name == arm), label_of(arm))
    answer = next((one.response.answer for one in asked.answers if one.arm == arm), "")
    quoted = Markup("<blockquote>{}</blockquote>").format(answer) if answer else ""
    what = "Correct your flag on" if corrects else "Flag"
    chips = " · ".join(asked.picture_words())
    about = Markup('<p class="flag-about">Asked: <b>{}</b> <span>{}</span></p>').format(
        asked.typed, chips
    )
    return Markup('<h2 id="flag-panel-title">{} {}’s answer</h2>{}{}').format(
        what, label, about, quoted
    )


def sentence(text: str, tone: str = "trouble") -> str:
    """A sentence of its own, or nothing."""
    role = "alert" if tone == "trouble" else "status"
    return Markup('<p class="{}" role="{}">{}</p>').format(tone, role, text) if text else ""


def scans_closed() -> Markup:
    """What a reader may want to take back after a scan was removed or replaced."""
    return Markup(
        '<p class="calm" role="status">The earlier answers are under Asked. '
        '<button type="button" class="link" data-event="undo">Bring the scan back</button></p>'
    )


def flag_saved(flag: Flag, correctable: bool = False) -> str:
    """The confirmation of a flag, with a way back into it."""
    told = f"Flag {flag.id} on {flag.label} is saved."
    link = Markup(' <a href="#review">Open Review</a>')
    button = Markup(' <button type="button" class="link" data-event="correct">Correct it</button>')
    return Markup('<p class="done" role="status">{}{}{}</p>').format(
        told, link, button if correctable else ""
    )


def default_progress() -> Progress:
    """The board before anything was asked."""
    return Progress(COMPARED)
