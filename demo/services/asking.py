"""Ask a question and stream the answers to the page."""

from __future__ import annotations

import logging
import random
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Event
from time import monotonic

from demo.services.burned_in import picture_doubts
from demo.services.engine_loader import EngineLoader
from demo.services.fair_queue import current_share
from demo.session import Asked, Session
from demo.viewer import take_report
from rarl import response
from rarl.errors import QuestionError, RarlError
from rarl.inference.checking import check_answers, unfamiliar_pictures
from rarl.inference.engine import Answer, Arm, Decoding, Engine, Question, Seen, Turn
from rarl.prompts import user_text
from rarl.response import Mode
from rarl.text.choice import in_words

log = logging.getLogger(__name__)

COMPARED = ("sft", "rl", "rarl")
COMPARE, COMPARE_BASE = "compare", "compare-base"
OUR_FAULT = (
    "Something went wrong on our side. Your scan and question are still here; "
    "press Ask to try again."
)
CLOSING = (
    "The server is about to restart, so the answers were stopped; what came so far is kept. "
    "Ask again in a minute."
)
# A page redraw per token costs more than it shows; the eye takes about this many a second.
REDRAW_SECONDS = 0.08

DECODING = Decoding()

MODE_LABELS: tuple[tuple[str, Mode], ...] = tuple(
    (label, mode) for mode, label in response.MODE_LABELS.items()
)

AGREE = "The variants give the same answer."

ARM_MEANINGS: dict[str, str] = {
    "base": "The model before any of the three.",
    "sft": "Imitates reference explanations.",
    "rl": "Rewarded for right answers.",
    "rarl": "Rewarded for right answers and sound reasoning.",
    "reason": "Thinks before it answers.",
    "answer": "Answers at once, without reasons.",
    "answer-then-reason": "Answers first, then gives its reasons.",
}

_OWN_LETTER = re.compile(r"^\s*\(?[A-Z][).:]\s+")
_ANY_SCAN = (
    "What kind of scan is this?",
    "Which organ is shown?",
    "Is there anything abnormal?",
)
_SUGGESTIONS: dict[str, tuple[str, ...]] = {
    "x-ray": (
        "Is there a pneumothorax?",
        "Is the heart enlarged?",
        "Is there a pleural effusion?",
        "In which plane was this taken?",
    ),
    "ct": (
        "Is there free fluid?",
        "Which organs are visible?",
        "Was contrast given?",
        "Is there a mass?",
    ),
    "mr": (
        "Is there a mass?",
        "Which plane is this?",
        "What weighting is this?",
        "Is the midline shifted?",
    ),
    "ultrasound": (
        "Is there a mass?",
        "Does it look benign or malignant?",
        "Which organ is shown?",
    ),
}
_MODALITY_GROUPS = {
    "CR": "x-ray", "DX": "x-ray", "RG": "x-ray", "MG": "x-ray", "XA": "x-ray", "X-RAY": "x-ray",
    "CT": "ct", "MR": "mr", "MRI": "mr", "US": "ultrasound", "ULTRASOUND": "ultrasound",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """The right-hand side of the page at one moment.

    Attributes:
        answers: what the arms have said so far, in the order of the columns.
        arms: names of the columns, also before anything was said.
        sentence: something the person should read, or "".
        failed: whether that sentence reports an error.
        running: whether more is to come.
    """

    arms: tuple[str, ...]
    answers: tuple[Answer, ...] = ()
    sentence: str = ""
    failed: bool = False
    running: bool = False


def suggestions(modality: str | None) -> tuple[str, ...]:
    """Questions worth asking about a modality ("CR", "MR", "ultrasound", ... or None).

    >>> suggestions("MR")[0]
    'Is there a mass?'
    """
    group = _MODALITY_GROUPS.get((modality or "").upper(), "")
    return _SUGGESTIONS.get(group, _ANY_SCAN)


def arm_choices(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Labels and values of the arm selector for the arms on offer."""
    forms = [arm.name for arm in arms if arm.mode is not None]
    arms = [arm for arm in arms if arm.mode is None]
    names = {arm.name for arm in arms}
    choices: list[tuple[str, str]] = []
    if forms:
        choices.append(("Compare forms of the answer", ",".join(forms)))
    if names.issuperset(COMPARED):
        choices.append(("Compare SFT, RL and RARL", COMPARE))
        if "base" in names:
            choices.append(("Compare, with the base model", COMPARE_BASE))
    if len(arms) > 1 and not names <= {"base", *COMPARED}:
        choices.append((f"Compare all {len(arms)}", ",".join(arm.name for arm in arms)))
    return choices + [(f"{arm.label} alone", arm.name) for arm in arms]


def chosen_arms(choice: str) -> tuple[str, ...]:
    """The columns that a choice of the arm selector stands for.

    >>> chosen_arms("compare")
    ('sft', 'rl', 'rarl')
    >>> chosen_arms("base,med-r1")
    ('base', 'med-r1')
    """
    if choice == COMPARE:
        return COMPARED
    if choice == COMPARE_BASE:
        return ("base", *COMPARED)
    return tuple(choice.split(","))


def steps(reasoning: str) -> list[str]:
    """Reasoning, sentence by sentence.

    >>> steps("The heart is 1.5 cm wider. It is enlarged, e.g. by failure.")
    ['The heart is 1.5 cm wider.', 'It is enlarged, e.g. by failure.']
    """
    parts = re.split(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])|\n+", reasoning)
    return [part.strip() for part in parts if part.strip()]


def option_list(typed: str) -> tuple[str, ...]:
    r"""The options of a multiple-choice question as they were typed, one a line.

    A letter before an option, as in "B. spleen", is left out: the prompt writes its own.

    >>> option_list("A. liver\n\nB) spleen\nC1 vertebra")
    ('liver', 'spleen', 'C1 vertebra')
    """
    lines = [_OWN_LETTER.sub("", line).strip() for line in typed.splitlines()]
    return tuple(line for line in lines if line)


def same_answer_key(answer: str, options: Sequence[str] = ()) -> str:
    """What two answers must share to count as the same for the line above the columns.

    >>> same_answer_key("Yes, in the left lung.") == same_answer_key("yes")
    True
    >>> same_answer_key("B", ["liver", "spleen"]) == same_answer_key("The spleen.")
    True
    """
    answer = in_words(answer, options)
    words: list[str] = re.findall(r"\w+", answer.casefold())
    if words[:1] in (["yes"], ["no"]):
        return words[0]
    return " ".join(word for word in words if word not in {"a", "an", "the"})


def agreement(
    answers: Sequence[Answer], labels: Mapping[str, str], options: Sequence[str] = ()
) -> str:
    """One sentence on whether the arms agree; "" until at least two have finished."""
    if len(answers) < 2 or not all(answer.done for answer in answers):
        return ""
    if any(answer.stopped for answer in answers):
        return "Stopped. What came so far is kept."
    groups: dict[str, list[str]] = {}
    for answer in answers:
        key = same_answer_key(answer.response.answer, options)
        groups.setdefault(key, []).append(labels.get(answer.arm, answer.arm.upper()))
    if len(groups) == 1:
        return "" if "" in groups else AGREE
    sides = [listed(names) for names in groups.values()]
    if len(groups) == len(answers):
        return f"The variants disagree: {listed(sides)} each say something else."
    return f"The variants disagree: {' against '.join(sides)}."


def listed(names: Sequence[str]) -> str:
    """Names as a person would list them."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def log_fault(where: str, error: BaseException) -> None:
    """Log where it broke, never what was being looked at: messages may quote the person."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", where, type(error).__name__, frames)


def ask(
    loader: EngineLoader,
    session: Session,
    text: str,
    mode: Mode,
    choice: str,
    report: object,
    *,
    follow: bool = False,
    blind: bool = False,
    taken: bool = False,
    options: Sequence[str] = (),
) -> Iterator[Progress]:
    """Ask, and yield the page's right-hand side as the answers grow.

    Errors become sentences in the last item; nothing is raised.

    Args:
        loader: the engine, or on its way.
        session: whose scans are asked about.
        text: the question as it was typed.
        mode: inference mode.
        choice: of the arm selector.
        report: how the page shows the scans, see `demo.viewer.take_report`.
        follow: send the earlier questions and answers too, to arms that chat.
        blind: the arms stand in random order under letters, and the reader answers first.
        taken: whether the session has the report already.
        options: of a multiple-choice question, in the order in which they are shown.
    """
    arms = chosen_arms(choice)
    stop = session.stop = Event()
    try:
        if not session.scans:
            raise QuestionError("Open a scan first, or pick an example.")
        user_text(text, mode, options=options)  # says at once what is wrong with the question
        if not taken:
            take_report(session, report)
        _check_covers(session)
        while (engine := loader.wait(0)) is None:
            sentence = loader.sentence or "The model is loading; yours is next."
            yield Progress(arms, sentence=sentence, running=True)
            if stop.wait(0.2):
                yield Progress(arms, sentence="Stopped before the model was ready.")
                return
        session.stage = ""
        if blind and len(arms) > 1:
            session.stage, arms = "own", tuple(random.sample(arms, len(arms)))
        session.own_answer, session.alone = "", None
        yield Progress(arms, running=True)
        turns = session.turns() if follow else ()
        with loader.turn(stop, current_share()):
            yield from _stream(engine, session, text, mode, arms, stop, turns, tuple(options))
        if loader.closing and stop.is_set():
            yield _told(session, arms, CLOSING)
    except RarlError as error:
        yield _told(session, arms, str(error), failed=True)
    except Exception as error:
        log_fault("ask", error)
        yield _told(session, arms, OUR_FAULT, failed=True)
    finally:
        session.remember()
        session.stop = None


def seen(loader: EngineLoader, session: Session) -> tuple[tuple[str, Seen], ...]:
    """What the model gets of each picture, with the picture's name.

    Raises:
        QuestionError: no scan is open, the model is still loading, or a picture is too narrow.
        ModelError: loading the model failed.
    """
    if not session.scans:
        raise QuestionError("Open a scan first, or pick an example.")
    engine = loader.wait(0)
    if engine is None:
        raise QuestionError("The model is still loading; look again in a moment.")
    return tuple((picture.name, engine.seen(picture.image)) for picture in session.pictures()[0])


def _check_covers(session: Session) -> None:
    """What is asked about may be kept: burned-in names are dealt with before.

    Raises:
        QuestionError: a scan that may have text burned in has not been looked through.
    """
    for scan in session.scans:
        if not scan.decided:
            which = f" of the {scan.role} scan" if len(session.scans) > 1 else ""
            todo = (
                "press “Everything is covered” above it once no name can be read"
                if scan.masks
                else "cover what names the patient, or say that there is no name in it"
            )
            raise QuestionError(
                f"Text may be burned into the picture{which}: {todo}, and ask again."
            )
    sentences, _ = picture_doubts(session)
    if sentences:
        raise QuestionError(sentences[0])


def _stream(
    engine: Engine,
    session: Session,
    text: str,
    mode: Mode,
    arms: tuple[str, ...],
    stop: Event,
    turns: tuple[Turn, ...],
    options: tuple[str, ...],
) -> Iterator[Progress]:
    scans = session.scans
    assert session.active is not None
    scan = session.active.shown()
    words = f"{text.strip()} {session.region_words()}".strip()
    pictures, shown = session.pictures()
    question = Question(pictures, words, arms, mode, DECODING, turns, options)
    answering = tuple(arm for arm in engine.arms if arm.name in arms)
    session.asked = None
    session.count += 1
    number, blind = session.count, session.stage != ""
    views = tuple(open_scan.looked_at() for open_scan in scans)
    facts = session.facts()
    unfamiliar = unfamiliar_pictures(engine, question)
    last = 0.0
    for streamed in engine.stream(question, stop):
        if session.scans is not scans:  # other scans are on the page: these would mislead
            yield Progress(arms)
            return
        ended = all(answer.done for answer in streamed)
        answers = streamed
        if ended:
            answers = check_answers(streamed, text, facts, answering, unfamiliar, options)
        # Kept at every step, so that a flag or a failure half-way has all that came.
        session.asked = Asked(
            scan,
            question,
            shown,
            answers,
            answering,
            engine.model_name,
            text.strip(),
            number,
            blind,
            views,
            unfamiliar,
        )
        session.note_measurements()
        session.case_id = None  # what was flagged half-way is another case than the whole
        if ended or monotonic() - last >= REDRAW_SECONDS:
            last = monotonic()
            yield Progress(arms, answers, running=not ended)


def _told(session: Session, arms: tuple[str, ...], sentence: str, failed: bool = False) -> Progress:
    """A sentence above the answers on the page, where they are of the arms that were asked."""
    asked = session.asked
    if asked is None or set(asked.question.arms) != set(arms):
        return Progress(arms, sentence=sentence, failed=failed)
    return Progress(asked.question.arms, asked.answers, sentence=sentence, failed=failed)
