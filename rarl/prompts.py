"""The question forms of diversity prompting and the modes of reasoning prompting.

Both are part of RARL (arXiv 2506.06600): training asks one item in several forms, inference asks
the model to reason before it answers. One function, `user_text`, writes the words for both, so
that training and inference can never drift apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from rarl.errors import QuestionError
from rarl.records.question import Question, Turn
from rarl.response import Mode
from rarl.text.choice import MAX_OPTIONS, option_lines

Form = Literal["short", "explain", "open", "hint", "novice", "answer-then-reason"]

FORMS: tuple[Form, ...] = ("short", "explain", "open", "hint", "novice", "answer-then-reason")
MAX_QUESTION_CHARACTERS = 1000
# Of a multiple-choice question with its options: published sets ask about whole case histories.
MAX_CHOICE_CHARACTERS = 8000
MAX_PICTURES = 8
MAX_NAME_CHARACTERS = 40

_INSTRUCTIONS: dict[Mode, str] = {
    "reason": "Reason in <think> </think>, then answer in <answer> </answer>.",
    "answer": "Answer in <answer> </answer> only.",
    "answer-then-reason": "Answer in <answer> </answer>, then reason in <think> </think>.",
}

# "hint" and "novice" are the two prompts that the paper's overview figure shows.
_SUFFIXES: dict[Form, str] = {
    "short": "Give a short answer.",
    "explain": "Explain your answer.",
    "open": "",
    "hint": "Can you give me a hint?",
    "novice": "What should I think if I don't know anything about it?",
    "answer-then-reason": "",
}

_CHOOSE = "Choose one option."

_FORM_MODES: dict[Form, Mode] = {
    "short": "answer",
    "explain": "reason",
    "open": "reason",
    "hint": "reason",
    "novice": "reason",
    "answer-then-reason": "answer-then-reason",
}


def mode_of(form: Form) -> Mode:
    """The output form that a training question form asks for."""
    return _FORM_MODES[form]


def user_text(
    question: str, mode: Mode = "reason", form: Form | None = None, options: Sequence[str] = ()
) -> str:
    """The words that stand after the image in the user's turn.

    Args:
        question: what the person asks; its first letter is made a capital, as in training.
        mode: inference mode; with `form` given, the form's own mode is used instead.
        form: training question form, or None outside diversity prompting.
        options: of a multiple-choice question, in the order in which they are shown.

    Raises:
        QuestionError: the question is empty or longer than `MAX_QUESTION_CHARACTERS` (with options
            `MAX_CHOICE_CHARACTERS`), or the options are too few, too many, empty or not distinct.

    >>> print(user_text("which organ?", "answer", options=["liver", "spleen"]))
    Which organ?
    A. liver
    B. spleen
    Choose one option.
    Answer in <answer> </answer> only.
    """
    question = " ".join(question.split())
    if not question:
        raise QuestionError("Type a question about the scan first.")
    _check_options(options)
    most = MAX_CHOICE_CHARACTERS if options else MAX_QUESTION_CHARACTERS
    length = len(question) + sum(map(len, options))
    if length > most:
        raise QuestionError(f"The question has {length} characters; shorten it to {most} or fewer.")
    question = question[0].upper() + question[1:]
    if form is not None:
        mode = mode_of(form)
        question = f"{question} {_SUFFIXES[form]}".rstrip()
    if options:
        lines = option_lines([" ".join(option.split()) for option in options])
        question = f"{question}\n{lines}\n{_CHOOSE}"
    return f"{question}\n{_INSTRUCTIONS[mode]}"


def words_of(asked: Question | Turn) -> str:
    """`user_text` of a question, or of an earlier turn, with its options."""
    return user_text(asked.text, asked.mode, options=asked.options)


def _check_options(options: Sequence[str]) -> None:
    if not options:
        return
    bare = [" ".join(option.split()).casefold() for option in options]
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise QuestionError(
            f"A multiple-choice question has 2 to {MAX_OPTIONS} options, not {len(options)}."
        )
    if not all(bare) or len(set(bare)) < len(bare):
        raise QuestionError("Give every option words of its own; two are alike, or one is empty.")


def messages(
    text: str, names: Sequence[str] = ("",), earlier: Sequence[tuple[str, str]] = ()
) -> list[dict[str, object]]:
    """The user's turn with its pictures, in the chat form that transformers and TRL read.

    Several pictures are numbered as Qwen2-VL's own template numbers them with `add_vision_id`
    ("Picture 1: "), with the name added, so that the question can speak of each. A single picture
    stands alone, as in training; its name is left out.

    Args:
        text: what stands after the pictures, see `user_text`.
        names: one for each picture, in order; "" leaves a picture without a name.
        earlier: turns before this one, oldest first: what stood after the pictures, and the reply.
            The pictures stand in the first of all turns.

    Raises:
        QuestionError: no picture or more than `MAX_PICTURES`, a name that is too long or spans
            lines, or two pictures of one name.

    >>> for part in messages("Is it new?", ["current", "prior"])[0]["content"]:
    ...     print(part)
    {'type': 'text', 'text': 'Picture 1 (current): '}
    {'type': 'image'}
    {'type': 'text', 'text': 'Picture 2 (prior): '}
    {'type': 'image'}
    {'type': 'text', 'text': 'Is it new?'}
    """
    _check_names(names)
    content: list[dict[str, str]] = []
    for number, name in enumerate(names, 1):
        if len(names) > 1:
            called = f"Picture {number} ({name}): " if name else f"Picture {number}: "
            content.append({"type": "text", "text": called})
        content.append({"type": "image"})
    turns: list[dict[str, object]] = []
    for asked, reply in earlier:
        turns.append({"role": "user", "content": [*content, {"type": "text", "text": asked}]})
        turns.append({"role": "assistant", "content": [{"type": "text", "text": reply}]})
        content = []
    return [*turns, {"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise QuestionError("Open a scan first, then ask about it.")
    if len(names) > MAX_PICTURES:
        raise QuestionError(
            f"The question comes with {len(names)} pictures; ask about {MAX_PICTURES} or fewer."
        )
    seen: set[str] = set()
    for name in names:
        if len(name) > MAX_NAME_CHARACTERS or not name.isprintable() or name != name.strip():
            raise QuestionError(
                f"A picture's name is one line of at most {MAX_NAME_CHARACTERS} characters, "
                'such as "frontal" or "prior"; shorten or retype it.'
            )
        if name and name.casefold() in seen:
            raise QuestionError(
                f"Two pictures are called {name!r}; give each a name of its own, "
                'such as "current" and "prior".'
            )
        seen.add(name.casefold())


def target_text(answer: str, explanation: str | None, mode: Mode) -> str:
    """The reference completion for supervised training.

    >>> target_text("no", "Clear lungs.", "reason")
    '<think>Clear lungs.</think><answer>no</answer>'
    """
    marked = f"<answer>{answer}</answer>"
    if mode == "answer" or not explanation:
        return marked
    reasoning = f"<think>{explanation}</think>"
    return reasoning + marked if mode == "reason" else marked + reasoning


def prompt_hash(mode: Mode, pictures: int = 1, choice: bool = False) -> str:
    """Twelve hex digits that change when the wording of a mode changes.

    Args:
        mode: inference mode.
        pictures: with more than one, the words that name them count too.
        choice: whether the question has options.
    """
    words = user_text("QUESTION", mode, options=("FIRST", "SECOND") if choice else ())
    if pictures > 1:
        words = repr(messages(words, [f"NAME {number}" for number in range(pictures)]))
    return hashlib.sha256(words.encode()).hexdigest()[:12]
