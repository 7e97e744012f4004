"""What an agreement of the variants is worth, from the answers that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from demo.services.asking import same_answer_key
from rarl.checks import kind_of_question
from rarl.errors import DataError
from rarl.evaluation.worth import worth_of_agreement
from rarl.inference.engine import Answer, Arm
from rarl.response import Mode
from rarl.stats.bootstrap import Interval

if TYPE_CHECKING:
    from demo.pages.results.run import Results

NOT_MEASURED = "How often such an agreement is right was not measured for these variants."


class Agreement:
    """Says how often answers that agree are right, as far as it was measured.

    Args:
        results: a run; the one that the Results page shows where None.
    """

    def __init__(self, results: Results | None = None) -> None:
        self._results = results
        self._known: dict[tuple[object, ...], Interval | None] = {}
        self._lock = Lock()

    def worth(self, arms: Sequence[Arm], question: str, mode: Mode) -> Interval | None:
        """The share of agreements that is right on held-out questions of this kind.

        Args:
            arms: the variants that agree.
            question: as it was typed.
            mode: inference mode.

        Returns:
            None where it was not measured for these weights.
        """
        kind = kind_of_question(question)
        revisions = {arm.name: arm.revision for arm in arms}
        key = (kind, mode, *revisions.items())
        with self._lock:
            if key not in self._known:
                if self._results is None:
                    from demo.pages.results.run import Results  # its package needs what needs this

                    self._results = Results()
                try:
                    rows = self._results.rows()
                except DataError:
                    return None
                self._known[key] = worth_of_agreement(rows, revisions, kind, mode)
            return self._known[key]

    def sentence(
        self, answers: Sequence[Answer], arms: Sequence[Arm], question: str, mode: Mode
    ) -> str:
        """What to read beside answers that agree; "" where they do not, or have not ended."""
        if not agree(answers):
            return ""
        worth = self.worth(arms, question, mode)
        if worth is None:
            return NOT_MEASURED
        kind = "yes/no or choice" if kind_of_question(question) == "closed" else "open"
        between = (
            f", 95 % interval {100 * worth.low:.0f} to {100 * worth.high:.0f} %"
            if worth.low is not None and worth.high is not None
            else ""
        )
        return (
            f"Where they agreed on held-out {kind} questions that people wrote, they were right in "
            f"{100 * worth.value:.0f} % (n {worth.n}{between})."
        )


def agree(answers: Sequence[Answer]) -> bool:
    """Whether two or more whole answers say the same."""
    if len(answers) < 2 or not all(answer.done and not answer.stopped for answer in answers):
        return False
    keys = {same_answer_key(answer.response.answer) for answer in answers}
    return len(keys) == 1 and "" not in keys
