"""Ask and flag for programs: Gradio clients and MCP."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any

from demo.api_info import offered_words
from demo.authentication import Person
from demo.context import Parts
from demo.services.agreed import agree
from demo.services.asking import DECODING
from demo.services.choosing import Upload, hold
from demo.services.fair_queue import current_share
from demo.services.flagging import case_of
from demo.services.uploads import open_uploads
from demo.session import ROLES, Asked, Session
from rarl.errors import QuestionError, ReviewError, ScanError
from rarl.inference.checking import (
    check_answers,
    minority_check,
    unfamiliar_pictures,
    with_checks,
)
from rarl.inference.engine import Answer, Arm, Engine, Question, chosen_variants
from rarl.inference.self_consistency import MOST_SAMPLES, Sampled, sample_answers
from rarl.prompts import user_text
from rarl.records import FlagDraft, new_key
from rarl.response import MODES
from rarl.review import CaseSnapshot
from rarl.review.roles import require
from rarl.scans import Identifiers, identity_in_text, open_series
from rarl.scans.shapes import measure_shapes
from rarl.text.choice import read_choice

# Exchanges that can be flagged, and bytes of their pictures, compressed as the store keeps them:
# people read for minutes, and many may be reading.
_REMEMBERED = 10_000
_ROOM = 256_000_000
_LOADING_SECONDS = 600.0
_KEY_LENGTH = 200
_CHECKED = "If you have looked and nothing in it names a person, say checked=True."


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was asked, as the case that the first flag stores."""

    identifiers: tuple[Identifiers, ...]
    case: CaseSnapshot

    @property
    def size(self) -> int:
        """Bytes of its pictures."""
        return sum(len(picture.png or b"") for picture in self.case.pictures)


class _Exchanges:
    """The latest exchanges by unguessable name."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, _Exchange] = OrderedDict()
        self._size = 0

    def keep(self, exchange: _Exchange) -> str:
        name = secrets.token_urlsafe(24)
        with self._lock:
            self._kept[name] = exchange
            self._size += exchange.size
            while len(self._kept) > 1 and (len(self._kept) > _REMEMBERED or self._size > _ROOM):
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size
        return name

    def find(self, name: str) -> _Exchange:
        exchange = self._kept.get(name)
        if exchange is None:
            raise ReviewError("This exchange is no longer remembered; ask again, then flag.")
        return exchange


class AskService:
    """Asks and flags in the name of a person.

    Args:
        parts: of the app.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._exchanges = _Exchanges()

    def ask(
        self,
        person: Person,
        contents: Sequence[bytes],
        text: str,
        arms: Sequence[str],
        mode: str,
        checked: bool,
        series: int = 0,
        samples: int = 0,
        options: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Ask variants of the model a question about scans.

        Args:
            person: who asks.
            contents: the bytes of the files: a picture, a series, or a few pictures.
            text: the question.
            arms: names of the variants; "all" stands for every variant besides the base, none at
                all for the last on offer.
            mode: one of `MODES`.
            checked: whether somebody has looked for names in pictures and words.
            series: of several series the number, from 1; 0 for the one with the most pictures.
            samples: how many times each variant is asked again at random; 0 for none.
            options: of a multiple-choice question, in the order in which they are shown.

        Returns:
            `exchange`, `model`, `answers`, `agreement`, `series` and `left_out`, as the
            programming interface gives them.

        Raises:
            ReviewError: the person may not ask.
            ScanError: the files cannot be opened.
            QuestionError: the question cannot be asked, or something may name a person.
        """
        require(person.role, "ask")
        if mode not in MODES:
            raise QuestionError(f"There is no mode {mode!r}; choose from {', '.join(MODES)}.")
        if samples and not 2 <= samples <= MOST_SAMPLES:
            raise QuestionError(f"Ask for 2 to {MOST_SAMPLES} samples or for none.")
        options = tuple(option.strip() for option in options)
        # Says what is wrong with the question before anything is opened.
        user_text(text, mode, options=options)
        session, upload = self._opened(contents, checked, series)
        _check_words(" ".join((text, *options)), session.identifiers, checked)
        loader, engine = self._parts.loader, self._engine()
        arms = chosen_variants(arms, engine.arms)
        pictures, shown = session.pictures()
        question = Question(pictures, text.strip(), arms, mode, DECODING, options=options)
        stop = Event()
        drawn: dict[str, Sampled] = {}
        with loader.turn(stop, current_share() or f"name:{person.name or ''}"):
            unfamiliar = unfamiliar_pictures(engine, question)
            *_, streamed = engine.stream(question, stop)
            if samples:
                drawn = {arm: sample_answers(engine, question, arm, samples) for arm in arms}
        by_name = {arm.name: arm for arm in engine.arms}
        answers = check_answers(streamed, text, session.facts(), engine.arms, unfamiliar, options)
        shown_answers = {answer.arm: answer.response.answer for answer in answers}
        minority = {
            arm: minority_check(sampled, shown_answers[arm]) for arm, sampled in drawn.items()
        }
        answers = with_checks(answers, {arm: check for arm, check in minority.items() if check})
        assert session.active is not None
        asked = Asked(
            session.active.shown(),
            question,
            shown,
            answers,
            tuple(by_name[arm] for arm in arms),
            engine.model_name,
        )
        name = self._exchanges.keep(_Exchange(session.identifiers, case_of(asked)))
        return {
            "exchange": name,
            "model": engine.model_name,
            "series": [
                {"number": number, "title": choice.title, "asked": choice.scan in session.scans}
                for number, choice in enumerate(upload.choices, 1)
            ],
            "left_out": [
                {"file": file.source + 1, "name": file.name, "reason": file.kind}
                for file in upload.left_out
            ],
            "agreement": self._agreement(answers, asked, text, options),
            "answers": [
                _answer(answer, by_name[answer.arm], options, drawn.get(answer.arm))
                for answer in answers
            ],
        }

    def _engine(self) -> Engine:
        loader = self._parts.loader
        engine = loader.wait(0 if loader.sentence else _LOADING_SECONDS)
        if engine is None:
            sentence = loader.sentence or "The model is still loading; ask again in a minute."
            raise QuestionError(sentence)
        return engine

    def _agreement(
        self, answers: Sequence[Answer], asked: Asked, text: str, options: Sequence[str]
    ) -> dict[str, Any] | None:
        """How often such agreements were right; None where the answers differ."""
        # It was measured on questions without options.
        if options or not agree(answers):
            return None
        agreement, mode = self._parts.agreement, asked.question.mode
        worth = agreement.worth(asked.arms, text, mode)
        return {
            "right": worth and round(worth.value, 3),
            "low": worth and worth.low,
            "high": worth and worth.high,
            "n": worth and worth.n,
            "sentence": agreement.sentence(answers, asked.arms, text, mode),
        }

    def measure(
        self, person: Person, contents: Sequence[bytes], shapes: Sequence[object], series: int = 0
    ) -> dict[str, Any]:
        """Measure on a scan; nothing of it is kept.

        Args:
            person: who measures.
            contents: the bytes of the files of one scan.
            shapes: see `measure_shapes`.
            series: of several series the number, from 1; 0 for the one with the most pictures.

        Returns:
            `measurements`, `modality`, and `warnings` on the scan.

        Raises:
            ReviewError: the person may not.
            ScanError: the files cannot be opened, or a shape cannot be measured.
        """
        require(person.role, "ask")
        opened = open_series(contents)
        if not 0 <= series <= len(opened.series):
            raise ScanError(
                f"There is no series {series}; the files hold {len(opened.series)}, counted from 1."
            )
        stack = opened.stack(series - 1) if series else opened.stack()
        return {
            "measurements": measure_shapes(stack, shapes),
            "modality": stack.modality,
            "warnings": list(stack.warnings),
        }

    def flag(
        self,
        person: Person,
        exchange: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        checked: bool = False,
        key: str = "",
    ) -> dict[str, Any]:
        """Flag an answer of an exchange.

        Args:
            person: who flags.
            exchange: from `ask`.
            arm: whose answer is wrong.
            category: key of the taxonomy.
            severity: key of the taxonomy.
            comment: what is wrong, in words.
            checked: whether somebody has looked for names in the comment.
            key: of the client's choice; the same key stores nothing twice.

        Returns:
            `flag`, the number of the flag, and `case`, the id of its case.

        Raises:
            ReviewError: it cannot be stored.
            QuestionError: the comment may name a person.
        """
        known = self._exchanges.find(exchange)
        if arm not in known.case.shown_order:
            raise ReviewError(f"There is no answer of {arm!r} in this exchange.")
        # Without a store, only it will know the site's own words.
        offered = offered_words(self._parts) if self._parts.desk.store else {}
        for what, word in (("category", category), ("severity", severity)):
            if what in offered and word not in offered[what]:
                choice = ", ".join(offered[what])
                raise ReviewError(f"There is no {what} {word!r}; choose from {choice}.")
        if len(key) > _KEY_LENGTH:
            raise ReviewError(f"A key has at most {_KEY_LENGTH} characters.")
        _check_words(comment, known.identifiers, checked)
        # Keys of two clients, or of two exchanges, never meet.
        chosen = hashlib.sha256(f"{exchange}\n{key}".encode()).hexdigest()[:32]
        draft = FlagDraft.checked(
            case_id=known.case.id,
            arm=arm,
            category=category,
            severity=severity,
            comment=comment,
            key=chosen if key else new_key(),
        )
        stored = self._parts.desk.flag_case(draft, known.case, person)
        return {"flag": stored.id, "case": stored.case_id}

    def exchanged(self, exchange: str) -> CaseSnapshot:
        """The case that an exchange would be stored as.

        Raises:
            ReviewError: it is not remembered.
        """
        return self._exchanges.find(exchange).case

    def _opened(
        self, contents: Sequence[bytes], checked: bool, series: int
    ) -> tuple[Session, Upload]:
        """A session with the scans, and all series of the files."""
        session = Session()
        upload = hold(open_uploads(contents), contents, self._parts.budget, "Your scan")
        chosen = upload.first()
        if series:
            if not 1 <= series <= len(upload.choices):
                raise QuestionError(
                    f"There is no series {series}; the files hold {len(upload.choices)}, "
                    "counted from 1."
                )
            chosen = [upload.choices[series - 1]]
        for choice in chosen:
            if not session.has_room(1):
                raise QuestionError(f"A question takes {len(ROLES)} scans at most.")
            scan = choice.opened(self._parts.frames, checked)
            if not scan.decided:
                raise QuestionError(f"Text may be burned into the picture. {_CHECKED}")
            session.show(scan, beside=bool(session.scans))
        return session, upload


def _named(answer: str, options: Sequence[str]) -> str | None:
    """The one option that an answer names; None where it names none or several."""
    chosen = read_choice(answer, options).index if options else None
    return None if chosen is None else options[chosen]


def _check_words(text: str, identifiers: Sequence[Identifiers], checked: bool) -> None:
    doubts = () if checked else identity_in_text(text, identifiers)
    if doubts:
        raise QuestionError(f"{doubts[0]} {_CHECKED}")


def _answer(
    answer: Answer, arm: Arm, options: Sequence[str], sampled: Sampled | None
) -> dict[str, Any]:
    """An answer as the programming interface gives it."""
    shown = answer.response.answer
    return {
        "arm": answer.arm,
        "label": arm.label,
        "revision": arm.revision,
        "answer": shown,
        "option": _named(shown, options),
        "reasoning": answer.response.reasoning,
        "problems": list(answer.problems),
        "cautions": [check.sentence for check in answer.checks],
        "consistency": round(sampled.consistency(shown), 3) if sampled else None,
        "tokens": answer.tokens,
        "seconds": round(answer.seconds, 3),
        "failure": answer.failure,
        "note": answer.note,
    }
