"""Rates of an audit and outcomes of a reader study."""

from __future__ import annotations

from dataclasses import dataclass

from rarl.errors import ReviewError
from rarl.review.queue import Queue
from rarl.review.reader_metrics import Outcome, Reading, agreement_with, outcomes, share
from rarl.review.studies.readings import StudyReadings
from rarl.review.worth import by_chance
from rarl.stats.bootstrap import Interval

WRONG_UP_TO = 1
"""Highest correctness (0-3) that counts as wrong in a rate."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often an arm errs, from an audit.

    Attributes:
        arm: whose answers.
        wrong: share of settled answers with correctness at most `WRONG_UP_TO`, over pictures.
        unsettled: drawn answers that are not settled; a rate is only final where this is 0.
    """

    arm: str
    wrong: Interval
    unsettled: int


class StudyStatistics(StudyReadings):
    """What a study shows, with intervals over pictures."""

    def outcomes(self, study_id: str) -> tuple[Outcome, ...]:
        """How readers did under each condition, from the responses so far.

        They are held against the settled answer of each case: a correction (the adjudicator's
        before two readers'), else an answer that was judged right. Cases without one count for
        everything but `right` and `misled`.

        Raises:
            ReviewError: it is no reader study, the person may not, or the database cannot be read.
        """
        study = self.study(study_id)
        if study.kind != "study":
            raise ReviewError("Only a reader study has conditions to compare; choose one.")
        answered = self.readings(study_id)
        pictures = self._store.picture_hashes(reading.task.case_id for reading in answered)
        readings = []
        for reading in answered:
            answer, wanted = reading.response.answer, reading.reference
            readings.append(
                Reading(
                    condition=reading.task.condition,
                    reader=reading.task.reader,
                    picture=pictures[reading.task.case_id],
                    right=None if wanted is None else agreement_with(answer, wanted),
                    like_ai=agreement_with(answer, reading.advice),
                    ai_right=None if wanted is None else agreement_with(reading.advice, wanted),
                    confidence=reading.response.confidence,
                    seconds=reading.seconds,
                )
            )
        return outcomes(readings, study.seed)

    def rates(self, study_id: str) -> tuple[Rate, ...]:
        """How often each arm errs, from an audit, with intervals over pictures.

        Of an audit that is worked by worth only the answers count that chance put among them.

        Raises:
            ReviewError: it is no audit, the person may not, or the database cannot be read.
        """
        study = self.study(study_id)
        if study.kind != "audit":
            raise ReviewError("Rates come from an audit, not a study; draw one and have it judged.")
        queue = Queue(self._store, study_id)
        drawn = queue.places()
        if study.by_worth:
            drawn = tuple(item for item in drawn if by_chance(item))
        settled = {(answer.case_id, answer.arm): answer for answer in queue.settled()}
        picture = self._store.picture_hashes(case_id for case_id, _ in settled)
        rates = []
        for arm in sorted({arm for _, arm in drawn}):
            known = [settled[item] for item in drawn if item[1] == arm and item in settled]
            if known:
                wrong = share(
                    [answer.correctness <= WRONG_UP_TO for answer in known],
                    [picture[answer.case_id] for answer in known],
                    study.seed,
                )
                left = sum(item[1] == arm and item not in settled for item in drawn)
                rates.append(Rate(arm, wrong, left))
        return tuple(rates)
