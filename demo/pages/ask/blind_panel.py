"""Blind reading: the reader answers first, then sees unnamed models, votes, and sees the names.

Seeing a machine's answer first pulls the reader's own towards it (automation bias; Goddard et al.,
J. Am. Med. Inform. Assoc. 19, 2012), and a name says which answer is expected to be better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demo.context import NOW, QUIET, Parts, Update
from demo.pages import answer_html, render
from demo.services.asking import log_fault
from demo.services.identity import doubts
from demo.session import Session
from rarl.errors import RarlError, ReviewError
from rarl.records import Outcome
from rarl.review import COMMENT_LIMIT

_EQUAL: dict[str, Outcome] = {"tie": "tie", "all-good": "all-good", "all-bad": "all-bad"}
_NOT_SAVED = "The vote could not be saved. What you chose is still here; press Vote again."


@dataclass(frozen=True, slots=True)
class BlindPanel:
    """The widgets above the columns; none of them shows unless a question is blind."""

    first: gr.Row
    own: gr.Textbox
    reveal: gr.Button
    second: gr.Row
    choice: gr.Radio
    reason: gr.Textbox
    vote: gr.Button

    @property
    def widgets(self) -> list[Any]:
        """What `shown` updates."""
        return [self.first, self.second, self.own, self.choice, self.reason]

    def shown(self, session: Session) -> Update:
        """The step that the session stands at; what was typed for the last question is cleared."""
        update: Update = {
            self.first: gr.Row(visible=session.stage == "own"),
            self.second: gr.Row(visible=session.stage == "vote"),
        }
        if session.stage == "":
            update |= {self.own: "", self.reason: ""}
        return update

    def begun(self, columns: int) -> Update:
        """What can be voted for, as a question is asked: who reveals early must find it there.

        Args:
            columns: how many answers are on their way.
        """
        letters = [chr(ord("A") + place) for place in range(columns)]
        choices = [(f"{letter} is best", letter) for letter in letters]
        every = "Both" if columns == 2 else "All"
        choices += [("A tie", "tie"), (f"{every} good", "all-good"), (f"{every} bad", "all-bad")]
        return {self.choice: gr.Radio(choices, value=None)}

    def wire(
        self,
        parts: Parts,
        session: gr.State,
        arms: gr.Dropdown,
        answers: Callable[[Session, str], Update],
        outputs: list[Any],
    ) -> None:
        """Let the two steps follow each other.

        Args:
            parts: shared by all handlers.
            session: of the page.
            arms: the arm selector.
            answers: draws the right-hand side.
            outputs: what the handlers may update; the first is the line for sentences.
        """
        note = outputs[0]

        def revealed(words: str, choice: str, current: Session) -> Update:
            if current.stage != "own":
                return {note: gr.skip()}
            own_answer = words.strip()
            if not own_answer:
                return {note: render.sentence("Write what you see first; one word will do.")}
            if doubt := _doubt(own_answer, current):
                return {note: doubt}
            current.own_answer, current.stage = own_answer, "vote"
            return {**answers(current, choice), note: ""}

        def voted(
            best: str | None, why: str, choice: str, current: Session, request: gr.Request
        ) -> Update:
            asked = current.asked
            if current.stage != "vote" or asked is None:
                return {note: gr.skip()}
            if current.stop is not None:
                return {note: render.sentence("Wait for the whole answers, then vote.")}
            if doubt := _doubt(why, current):
                return {note: doubt}
            names = answer_html.shown_names(asked.question.arms, current, parts.labels())
            arm = next((arm for arm, letter in names.items() if letter == best), None)
            try:
                if arm is None and best not in _EQUAL:
                    raise ReviewError("Choose the best answer, a tie, all good or all bad.")
                case_id = parts.desk.keep(current, request)
                parts.desk.for_request(request).add_vote(
                    case_id,
                    "better" if arm else _EQUAL[str(best)],
                    arm,
                    reason=why,
                    own_answer=current.own_answer,
                )
            except RarlError as error:
                return {note: render.sentence(str(error))}
            except Exception as error:
                log_fault("vote", error)
                return {note: render.sentence(_NOT_SAVED)}
            current.stage = ""
            labels = parts.labels()
            who = ", ".join(f"{letter} was {labels.get(arm, arm)}" for arm, letter in names.items())
            sentence = f"Your vote is saved. {who}. You wrote: {current.own_answer}"
            return {**answers(current, choice), note: render.sentence(sentence, "done")}

        first: dict[str, Any] = {"inputs": [self.own, arms, session], "outputs": outputs, **NOW}
        gr.on([self.reveal.click, self.own.submit], revealed, **first)
        self.vote.click(voted, [self.choice, self.reason, arms, session], outputs, **QUIET)


def _doubt(text: str, session: Session) -> str:
    """What in a text looks like somebody's identity; nothing when it is sent a second time."""
    if text in session.kept:
        return ""
    session.kept.add(text)
    sentences = doubts(text, session)
    return render.sentence(f"{' '.join(sentences)} Press again to keep it.") if sentences else ""


def blind_panel() -> BlindPanel:
    """Lay the widgets out, hidden."""
    with gr.Row(elem_id="blind-own", visible=False) as first:
        own = gr.Textbox(
            label="Your own answer",
            placeholder="What do you see? Your answer comes before the machine’s.",
            max_length=COMMENT_LIMIT,
            lines=1,
            elem_id="own-answer",
            scale=1,
        )
        reveal = gr.Button("Show the columns", variant="primary", elem_id="reveal", scale=0)
    with gr.Row(elem_id="blind-vote", visible=False) as second:
        choice = gr.Radio(
            [],
            label="Which answer is best? Keys: its letter, T, G or X",
            elem_id="vote-choice",
            scale=1,
        )
        reason = gr.Textbox(
            label="Why? (optional)", max_length=COMMENT_LIMIT, lines=1, elem_id="vote-reason",
            scale=1,
        )  # fmt: skip
        vote = gr.Button("Vote", variant="primary", elem_id="vote", scale=0)
    return BlindPanel(first, own, reveal, second, choice, reason, vote)
