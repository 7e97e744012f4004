"""The programming interface: `ask`, `compare` and `flag`, for Gradio clients and for MCP.

Their descriptions, which clients show, are the docstrings below. No `annotations` import here:
Gradio reads the types themselves.
"""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event, Lock
from typing import Any
from uuid import uuid4

import gradio as gr
from gradio.events import api

from demo.asking import DECODING, log_fault
from demo.flagging import Words
from demo.parts import Parts
from demo.session import ROLES, Asked, Session
from demo.uploads import take_uploads
from demo.viewer import open_scan
from rarl.errors import QuestionError, RarlError, ReviewError
from rarl.inference.checking import check_answers
from rarl.inference.engine import Question
from rarl.prompts import user_text
from rarl.response import MODES
from rarl.scans import Identifiers, identity_in_text

# Exchanges that can be flagged however large their pictures are, and bytes for further ones: people
# read for minutes, and many may be reading.
_REMEMBERED = 64
_ROOM = 512_000_000
_LOADING_SECONDS = 600.0
_CHECKED = "If you have looked and nothing in it names a person, say checked=True."


@dataclass(frozen=True, slots=True)
class _Exchange:
    """What was asked, and what its case is or will be called; of the scans, no pixels but those."""

    identifiers: tuple[Identifiers, ...]
    asked: Asked
    case_id: str

    @property
    def size(self) -> int:
        """Bytes of its pictures, 8-bit RGB."""
        return sum(
            3 * named.image.width * named.image.height for named in self.asked.question.images
        )


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
            while len(self._kept) > _REMEMBERED and self._size > _ROOM:
                _, oldest = self._kept.popitem(last=False)
                self._size -= oldest.size
        return name

    def find(self, name: str) -> _Exchange:
        found = self._kept.get(name)
        if found is None:
            raise ReviewError("This exchange is no longer remembered; ask again, then flag.")
        return found


def add_api(parts: Parts) -> None:
    """Add the three endpoints to the page that is being built."""
    exchanges = _Exchanges()

    def ask(
        scans: list[gr.FileData],
        question: str,
        arm: str = "rarl",
        mode: str = "reason",
        checked: bool = False,
    ) -> dict[str, Any]:
        """Ask one variant of the model a question about a scan. For research, not for diagnosis.

        Args:
            scans: the uploaded files: one picture, the files of one series, or up to four pictures.
            question: at most 1000 characters.
            arm: "base", "sft", "rl", "rarl" or a site's own.
            mode: "reason", "answer" or "answer-then-reason".
            checked: True says that nothing burned into the picture and no word names a person.

        Returns:
            `exchange`, by which the answer can be flagged; `model`; and `answers`, one for the arm:
            `arm`, `label`, `revision`, `answer`, `reasoning`, `problems` of its form and of what it
            says, `cautions` that explain the latter in sentences, `tokens`, `seconds`, `failure`
            where it broke off, and `note`, what else must be known of it.
        """
        return guarded(lambda: asked(scans, question, (arm,), mode, checked))

    def compare(
        scans: list[gr.FileData],
        question: str,
        arms: list[str] = ["sft", "rl", "rarl"],  # noqa: B006 - Gradio shows it, nobody changes it
        mode: str = "reason",
        checked: bool = False,
    ) -> dict[str, Any]:
        """Ask several variants of the model the same question about a scan, in one pass.

        Args:
            scans: as for ask.
            question: as for ask.
            arms: the variants, in the order of the answers.
            mode: as for ask.
            checked: as for ask.

        Returns:
            As for ask, with one answer per arm.
        """
        return guarded(lambda: asked(scans, question, tuple(arms), mode, checked))

    def flag(
        request: gr.Request,
        exchange: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        checked: bool = False,
    ) -> dict[str, Any]:
        """Flag a wrong answer; it is kept with its scan, for review.

        Args:
            request: who flags; Gradio fills it in.
            exchange: as ask or compare returned it; it is remembered for a while.
            arm: whose answer is wrong.
            category: a key of the taxonomy, such as "missed-finding".
            severity: a key of the scale, such as "major".
            comment: what is wrong, in words.
            checked: True says that the comment names nobody.

        Returns:
            `flag`, the number of the flag, and `case`, the id of its case.
        """

        def work() -> dict[str, Any]:
            found = exchanges.find(exchange)
            if arm not in found.asked.question.arms:
                raise ReviewError(f"There is no answer of {arm!r} in this exchange.")
            _check_words(comment, found.identifiers, checked)
            words = Words(found.case_id, arm, category, severity, comment)
            stored = parts.desk.flag(words, found.asked, request)
            return {"flag": stored.id, "case": stored.case_id}

        return guarded(work)

    def asked(
        files: Sequence[Any], text: str, arms: tuple[str, ...], mode: str, checked: bool
    ) -> dict[str, Any]:
        if mode not in MODES:
            raise QuestionError(f"There is no mode {mode!r}; choose from {', '.join(MODES)}.")
        user_text(text, mode)  # says what is wrong with the question before anything is opened
        session = _opened(parts, files, checked)
        _check_words(text, session.identifiers, checked)
        engine = parts.loader.wait(0 if parts.loader.sentence else _LOADING_SECONDS)
        if engine is None:
            told = parts.loader.sentence or "The model is still loading; ask again in a minute."
            raise QuestionError(told)
        pictures, shown = session.pictures()
        question = Question(pictures, text.strip(), arms, mode, DECODING)
        stop = Event()
        with parts.loader.turn(stop):
            *_, streamed = engine.stream(question, stop)
        by_name = {arm.name: arm for arm in engine.arms}
        english = {name: arm.english_only for name, arm in by_name.items()}
        answers = check_answers(streamed, text, session.facts(), english)
        assert session.active is not None
        exchange = Asked(
            session.active.shown(),
            question,
            shown,
            answers,
            tuple(by_name[arm] for arm in arms),
            engine.model_name,
        )
        name = exchanges.keep(_Exchange(session.identifiers, exchange, uuid4().hex))
        return {
            "exchange": name,
            "model": engine.model_name,
            "answers": [
                {
                    "arm": answer.arm,
                    "label": by_name[answer.arm].label,
                    "revision": by_name[answer.arm].revision,
                    "answer": answer.response.answer,
                    "reasoning": answer.response.reasoning,
                    "problems": [
                        *answer.response.problems,
                        *(check.name for check in answer.checks),
                    ],
                    "cautions": [check.sentence for check in answer.checks],
                    "tokens": answer.tokens,
                    "seconds": round(answer.seconds, 3),
                    "failure": answer.failure,
                    "note": answer.note,
                }
                for answer in answers
            ],
        }

    for endpoint in (ask, compare, flag):
        api(endpoint, api_name=endpoint.__name__)


def guarded(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Errors as Gradio hands them to clients: a sentence, and nothing that quotes anyone."""
    try:
        return work()
    except RarlError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception as error:
        log_fault("api", error)
        sentence = "Something went wrong on the server; its log says where."
        raise gr.Error(sentence, print_exception=False) from None


def _opened(parts: Parts, files: Sequence[Any], checked: bool) -> Session:
    """A session with the uploaded scans.

    Raises:
        ScanError: they did not arrive or cannot be opened.
        QuestionError: too many, or text may be burned into one.
    """
    paths = [str(file["path"]) for file in files if isinstance(file, dict) and "path" in file]
    session = Session()
    for stack in take_uploads(paths, parts.cache):
        if not session.has_room(1):
            raise QuestionError(f"A question takes {len(ROLES)} scans at most.")
        scan = open_scan(stack, parts.frames, "Your scan", checked=checked)
        if not scan.decided:
            raise QuestionError(f"Text may be burned into the picture. {_CHECKED}")
        session.show(scan, beside=bool(session.scans))
    return session


def _check_words(text: str, identifiers: Sequence[Identifiers], checked: bool) -> None:
    found = () if checked else identity_in_text(text, identifiers)
    if found:
        raise QuestionError(f"{found[0]} {_CHECKED}")
