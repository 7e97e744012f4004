"""What can give rates: audits drawn at random, and reader studies.

Flags are self-selected: their counts say what was noticed, not how often an arm errs. An audit
draws answers at random from the cases that chance kept (`CaseSnapshot.sampled`), whether or not
anybody complained. A reader study shows readers the same cases without AI or with more or less of
it, before or after a first read, balanced by seed, and asks for their own answer. Part of what it
shows may be wrong on purpose, see `wrong_advice`. The reader's side is `study_tasks`.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TextIO
from uuid import uuid4

from sqlalchemy import distinct, func, select
from sqlalchemy.orm import Session, aliased

from rarl.errors import ReviewError
from rarl.records import TEXT_LIMIT, Region, cleaned
from rarl.review._queue_index import refresh
from rarl.review._tables import (
    AdviceRow,
    AnswerRow,
    CaseRow,
    EnrolmentRow,
    FirstReadRow,
    ResponseRow,
    StudyRow,
    TaskRow,
)
from rarl.review.conditions import CONDITIONS, USUAL, Condition, presentation
from rarl.review.privacy import Pseudonyms, Withdrawn
from rarl.review.queue import READINGS, Item, Queue
from rarl.review.reader_metrics import Outcome, Reading, agreement_with, outcomes, share
from rarl.review.repositories.base import NAME_LIMIT
from rarl.review.roles import canonical_name
from rarl.review.settled_answers import answers_of, settled_answers
from rarl.review.study_tasks import (
    EXPERIENCES,
    Experience,
    FirstRead,
    Study,
    StudyResponse,
    StudyTasks,
    Task,
    first_read_of,
    response_of,
    study_of,
    task_of,
)
from rarl.review.transfer.table import harmless
from rarl.review.worth import by_chance, samples_of
from rarl.review.wrong_advice import SOURCES, Advice, Source, WrongAdvice, choose, starts, wrong_for
from rarl.stats.bootstrap import Interval

__all__ = ["Rate", "Studies", "Study", "StudyReading", "StudyResponse", "Task", "allocate"]

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


@dataclass(frozen=True, slots=True)
class StudyReading:
    """All that is known of one answered task.

    Attributes:
        task: with the variant that a reader is not told.
        response: the reader's last word.
        first: what the reader committed before the advice, or None where there was one step.
        advice: what was, or would have been, shown as the AI's answer.
        wrong_on_purpose: where wrong advice came from; None where it is the variant's own answer.
        reference: the settled answer, or None.
        experience: as the reader says, or None.
    """

    task: Task
    response: StudyResponse
    first: FirstRead | None
    advice: str
    wrong_on_purpose: Source | None
    reference: str | None
    experience: Experience | None

    @property
    def seconds(self) -> float | None:
        """Time on the task, of both steps where there are two; None where one is unknown."""
        if self.first is None or self.response.seconds is None:
            return self.response.seconds
        return None if self.first.seconds is None else self.first.seconds + self.response.seconds


def allocate(
    cases: Sequence[str],
    readers: Sequence[str],
    arms: Sequence[str],
    conditions: Sequence[Condition],
    seed: int,
) -> tuple[Task, ...]:
    """Balanced, blinded tasks: every reader sees every case once, in an order of their own.

    Conditions and arms rotate over cases and readers (a Latin square over a shuffled order), so
    that for each reader the conditions differ in number by at most one, and for each case likewise
    over the readers; over any `len(conditions) * len(arms)` cases of a reader, each condition meets
    each arm once.

    >>> tasks = allocate("abcdef", ["A"], ["sft"], ["no-ai", "answer-only"], seed=1)
    >>> sorted(task.condition for task in tasks)[:3]
    ['answer-only', 'answer-only', 'answer-only']
    """
    shuffled = sorted(cases)
    draw = random.Random(seed)
    draw.shuffle(shuffled)
    turn = list(conditions)
    draw.shuffle(turn)
    tasks = []
    for number, reader in enumerate(readers):
        order = list(range(len(shuffled)))
        draw.shuffle(order)
        for position, place in enumerate(order):
            tasks.append(
                Task(
                    reader=reader,
                    position=position,
                    case_id=shuffled[place],
                    arm=arms[(place // len(turn) + number) % len(arms)],
                    condition=turn[(place + number) % len(turn)],
                )
            )
    return tuple(tasks)


class Studies(StudyTasks):
    """Drawing audits and studies, working through them, and what they show."""

    def draw_audit(
        self,
        title: str,
        size: int,
        readers: Sequence[str],
        *,
        seed: int,
        arms: Sequence[str] | None = None,
        instructions: str = "",
        deadline: datetime | None = None,
        by_worth: bool = False,
    ) -> Study:
        """Draw answers at random and give each to two readers; `Queue(store, study.id)` holds them.

        Every answer of the chosen arms in a sampled case is equally likely.

        Args:
            title: as readers see it.
            size: how many answers, at most as many as there are.
            readers: two or more, balanced.
            seed: of the draw.
            arms: only theirs; all where not given.
            instructions: as readers see them.
            deadline: aware.
            by_worth: whether readers get the most valuable answers first, see `rarl.review.worth`;
                the rates then come from the share that chance has put among them.

        Raises:
            ReviewError: there are too few sampled answers or readers, the person may not, or the
                database cannot be written.
        """
        names = _readers(readers, READINGS)
        self._store.need("assign")
        with self._store.writing() as session:
            statement = (
                select(AnswerRow.case_id, AnswerRow.arm)
                .join(CaseRow, CaseRow.id == AnswerRow.case_id)
                .where(CaseRow.sampled)
                .order_by(AnswerRow.case_id, AnswerRow.arm)
            )
            if arms:
                statement = statement.where(AnswerRow.arm.in_(arms))
            population: list[Item] = [(row[0], row[1]) for row in session.execute(statement)]
            if not 0 < size <= len(population):
                raise ReviewError(
                    f"There are {len(population)} answers that chance kept; draw between 1 and "
                    "that many, or let the app keep a random share of its cases."
                )
            draw = random.Random(seed)
            drawn = draw.sample(population, size)
            tasks = [
                Task(names[(place + turn) % len(names)], place, *item, condition="full-reasoning")
                for place, item in enumerate(drawn)
                for turn in range(READINGS)
            ]
            return self._store_study(
                session, "audit", title, instructions, seed, (), names, len(population), deadline,
                tasks, by_worth=by_worth or None,
            )  # fmt: skip

    def draw_study(
        self,
        title: str,
        readers: Sequence[str],
        *,
        seed: int,
        arms: Sequence[str],
        cases: Sequence[str] | None = None,
        size: int | None = None,
        conditions: Sequence[Condition] = USUAL,
        instructions: str = "",
        deadline: datetime | None = None,
        wrong: WrongAdvice | None = None,
        consent: str = "",
        marks_region: bool = False,
    ) -> Study:
        """Make a reader study, see `allocate`.

        Args:
            title: as readers see it.
            readers: who takes part.
            seed: of the draw and the balance.
            arms: whose answers are shown; each case must have them.
            cases: ids; all that have these arms where not given.
            size: draw so many of them at random; all where not given.
            conditions: what readers are shown.
            instructions: as readers see them.
            deadline: aware.
            wrong: advice that is wrong on purpose; none where not given.
            consent: what readers agree to before they begin; behind the site's own text, if any.
            marks_region: whether readers may mark a place on the picture.

        Raises:
            ReviewError: something does not fit, there is too little to make wrong advice of, the
                person may not, or the database cannot be written.
        """
        names = _readers(readers, 1)
        if not arms or not conditions or not set(conditions) <= set(CONDITIONS):
            raise ReviewError(
                f"A study needs an arm and conditions; choose from {', '.join(CONDITIONS)}."
            )
        self._store.need("assign")
        with self._store.reading() as session:
            having = select(AnswerRow.case_id, AnswerRow.arm).where(AnswerRow.arm.in_(arms))
            held: dict[str, set[str]] = {}
            for case_id, arm in session.execute(having):
                held.setdefault(case_id, set()).add(arm)
        usable = sorted(case_id for case_id, found in held.items() if found == set(arms))
        listed = usable if cases is None else sorted(set(cases))
        if not listed or not set(listed) <= set(usable):
            raise ReviewError(
                "Not every case has an answer of every arm of the study; choose other cases "
                "or fewer arms."
            )
        if size is not None and not 0 < size <= len(listed):
            raise ReviewError(f"There are {len(listed)} cases; draw between 1 and that many.")
        drawn = listed if size is None else random.Random(seed).sample(listed, size)
        tasks = allocate(drawn, names, list(dict.fromkeys(arms)), list(conditions), seed)
        advice = {} if wrong is None else self._seeded(tasks, names, wrong, seed)
        agreed = "\n\n".join(text for text in (self._store.consent, consent.strip()) if text)
        with self._store.writing() as session:
            return self._store_study(
                session, "study", title, instructions, seed, conditions, names, len(listed),
                deadline, tasks, advice=advice, wrong_share=None if wrong is None else wrong.share,
                consent=cleaned(agreed, TEXT_LIMIT, "The consent text"),
                marks_region=marks_region,
            )  # fmt: skip

    def all(self) -> tuple[Study, ...]:
        """Audits and studies, newest first.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            rows = session.scalars(select(StudyRow).order_by(StudyRow.created.desc())).all()
        return tuple(study_of(row) for row in rows)

    def study(self, study_id: str) -> Study:
        """One of them.

        Raises:
            ReviewError: there is none, the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        with self._store.reading() as session:
            return study_of(self._row(session, study_id))

    def tasks(self, study_id: str) -> tuple[Task, ...]:
        """All tasks with their arms: for whoever runs the study, not for its readers.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("assign")
        statement = select(TaskRow).where(TaskRow.study_id == study_id)
        with self._store.reading() as session:
            rows = session.scalars(statement.order_by(TaskRow.reader, TaskRow.position)).all()
        return tuple(task_of(row) for row in rows)

    def done(self, study_id: str) -> dict[str, tuple[int, int]]:
        """For each reader of a study, how many tasks are answered, and of how many.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        self._store.need("queue")
        tasks = select(TaskRow.reader, func.count()).where(TaskRow.study_id == study_id)
        answered = select(ResponseRow.reader, func.count(distinct(ResponseRow.case_id))).where(
            ResponseRow.study_id == study_id
        )
        with self._store.reading() as session:
            given = session.execute(tasks.group_by(TaskRow.reader)).all()
            found = session.execute(answered.group_by(ResponseRow.reader)).all()
        part = {row[0]: row[1] for row in found}
        return {row[0]: (part.get(row[0], 0), row[1]) for row in given}

    def responses(self, study_id: str) -> tuple[tuple[Task, StudyResponse], ...]:
        """The current responses with their tasks, for whoever runs the study.

        Those of readers who have withdrawn are left out.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        return self._responses(study_id, "export")

    def _responses(self, study_id: str, action: str) -> tuple[tuple[Task, StudyResponse], ...]:
        self._store.need("export")
        later = aliased(ResponseRow)
        statement = (
            select(TaskRow, ResponseRow)
            .join(
                ResponseRow,
                (ResponseRow.study_id == TaskRow.study_id)
                & (ResponseRow.reader == TaskRow.reader)
                & (ResponseRow.case_id == TaskRow.case_id),
            )
            .where(
                TaskRow.study_id == study_id,
                ~select(later.id).where(later.replaces == ResponseRow.key).exists(),
            )
            .order_by(TaskRow.reader, TaskRow.position)
        )
        with self._store.reading() as session:
            withdrawn = Withdrawn.of(session)
            rows = [
                (task_of(task), response_of(row))
                for task, row in session.execute(statement)
                if not withdrawn.holds(task.reader, study_id)
            ]
            self._store.note(session, action, "response", [task.case_id for task, _ in rows])
        return tuple(rows)

    def readings(self, study_id: str, action: str = "read") -> tuple[StudyReading, ...]:
        """The answered tasks with all that they are held against, for whoever runs the study.

        Args:
            study_id: the study.
            action: what the audit says of it.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        rows = self._responses(study_id, action)
        answers = answers_of(self._store, [task.case_id for task, _ in rows])
        settled = settled_answers(self._store, answers)
        with self._store.reading() as session:
            first = {
                (row.reader, row.case_id): first_read_of(row)
                for row in session.scalars(
                    select(FirstReadRow).where(FirstReadRow.study_id == study_id)
                )
            }
            wrong = {
                (row.reader, row.position): row
                for row in session.scalars(select(AdviceRow).where(AdviceRow.study_id == study_id))
            }
            experience = {
                row.reader: row.experience
                for row in session.scalars(
                    select(EnrolmentRow).where(EnrolmentRow.study_id == study_id)
                )
            }
        readings = []
        for task, response in rows:
            instead = wrong.get((task.reader, task.position))
            readings.append(
                StudyReading(
                    task=task,
                    response=response,
                    first=first.get((task.reader, task.case_id)),
                    advice=instead.answer if instead else answers[task.case_id, task.arm],
                    wrong_on_purpose=None
                    if instead is None
                    else next(one for one in SOURCES if one == instead.source),
                    reference=settled.get(task.case_id),
                    experience=next(
                        (one for one in EXPERIENCES if one == experience.get(task.reader)), None
                    ),
                )
            )
        return tuple(readings)

    def export_csv(self, study_id: str, file: TextIO, names: bool = False) -> int:
        """Write one row a response, with what it is held against, safe to open in a spreadsheet.

        `ai_answer` is the advice, shown or not; `reference` what was settled, see `outcomes`;
        `right` and `like_ai` say how far the response agrees with each, 0 to 1; `first_answer` and
        its neighbours hold the first of two steps; `wrong_on_purpose` says where wrong advice came
        from.

        Args:
            study_id: the study.
            file: opened with `newline=""`.
            names: whether readers keep their names; otherwise they are pseudonyms.

        Returns:
            How many responses were written.

        Raises:
            ReviewError: the person may not, or the database cannot be read.
        """
        readings = self.readings(study_id, "export")
        with self._store.reading() as session:
            pseudonyms = Pseudonyms.of(session)
        writer = csv.writer(file)
        writer.writerow(
            ["reader", "position", "case_id", "arm", "condition", "answer", "confidence", "comment",
             "seconds", "created", "ai_answer", "reference", "right", "like_ai", "experience",
             "region", "first_answer", "first_confidence", "first_region", "first_seconds",
             "first_right", "wrong_on_purpose"]
        )  # fmt: skip
        for one in readings:
            task, response, first, wanted = one.task, one.response, one.first, one.reference
            reader = task.reader if names else pseudonyms.of_name(task.reader)
            cells = (
                reader, task.position, task.case_id, task.arm, task.condition, response.answer,
                response.confidence, response.comment, response.seconds,
                response.created.isoformat(), one.advice, wanted,
                wanted and agreement_with(response.answer, wanted),
                agreement_with(response.answer, one.advice), one.experience,
                _place(response.region), first and first.answer, first and first.confidence,
                _place(first.region) if first else None, first and first.seconds,
                first and wanted and agreement_with(first.answer, wanted), one.wrong_on_purpose,
            )  # fmt: skip
            writer.writerow(harmless("" if cell is None else str(cell)) for cell in cells)
        return len(readings)

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
        found = self.readings(study_id)
        pictures = self._store.picture_hashes(one.task.case_id for one in found)
        readings = []
        for one in found:
            answer, wanted = one.response.answer, one.reference
            readings.append(
                Reading(
                    condition=one.task.condition,
                    reader=one.task.reader,
                    picture=pictures[one.task.case_id],
                    right=None if wanted is None else agreement_with(answer, wanted),
                    like_ai=agreement_with(answer, one.advice),
                    ai_right=None if wanted is None else agreement_with(one.advice, wanted),
                    confidence=one.response.confidence,
                    seconds=one.seconds,
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
        settled = {(one.case_id, one.arm): one for one in queue.settled()}
        picture = self._store.picture_hashes(case_id for case_id, _ in settled)
        rates = []
        for arm in sorted({arm for _, arm in drawn}):
            known = [settled[item] for item in drawn if item[1] == arm and item in settled]
            if known:
                wrong = share(
                    [one.correctness <= WRONG_UP_TO for one in known],
                    [picture[one.case_id] for one in known],
                    study.seed,
                )
                left = sum(item[1] == arm and item not in settled for item in drawn)
                rates.append(Rate(arm, wrong, left))
        return tuple(rates)

    # --- inside ------------------------------------------------------------------------------

    def _seeded(
        self, tasks: Sequence[Task], readers: Sequence[str], wrong: WrongAdvice, seed: int
    ) -> dict[tuple[str, int], Advice]:
        """Wrong advice by reader and position, stratified by condition, modality and answer."""
        answers = answers_of(self._store, [task.case_id for task in tasks])
        settled = settled_answers(self._store, answers)
        cases = {case_id: self._store.case(case_id) for case_id in {t.case_id for t in tasks}}
        if wrong.samples is None and "sample" in wrong.sources:
            wrong = replace(wrong, samples=samples_of(self._store, cases))
        advice: dict[tuple[str, int], Advice] = {}
        for reader, start in zip(readers, starts(len(readers), seed), strict=True):
            own = [
                task for task in tasks if task.reader == reader and presentation(task.condition).ai
            ]
            possible: dict[Task, Advice] = {}
            for task in own:
                wanted = settled.get(task.case_id)
                made = wanted and wrong_for(
                    cases[task.case_id],
                    task.arm,
                    wanted,
                    wrong,
                    presentation(task.condition).reasoning,
                )
                if made:
                    possible[task] = made
            by_case = sorted(own, key=lambda task: random.Random(f"{seed}{task.case_id}").random())
            strata = [
                (
                    task,
                    (
                        task.condition,
                        cases[task.case_id].modality or "",
                        settled.get(task.case_id, "").lower(),
                    ),
                )
                for task in by_case
            ]
            for task in choose(strata, wrong.share, start, set(possible)):
                advice[reader, task.position] = possible[task]
        return advice

    def _store_study(
        self,
        session: Session,
        kind: Literal["audit", "study"],
        title: str,
        instructions: str,
        seed: int,
        conditions: Sequence[Condition],
        readers: Sequence[str],
        population: int,
        deadline: datetime | None,
        tasks: Sequence[Task],
        *,
        advice: Mapping[tuple[str, int], Advice] | None = None,
        wrong_share: float | None = None,
        consent: str = "",
        marks_region: bool | None = None,
        by_worth: bool | None = None,
    ) -> Study:
        words = cleaned(title, 200, "The title")
        if not words:
            raise ReviewError("Give the study a title that its readers will know it by.")
        if deadline is not None and deadline.tzinfo is None:
            raise ReviewError("The deadline needs a time zone; add one.")
        row = StudyRow(
            id=uuid4().hex,
            created=datetime.now(UTC),
            kind=kind,
            title=words,
            instructions=cleaned(instructions, TEXT_LIMIT, "The text of instructions"),
            seed=seed,
            conditions=list(conditions),
            readers=list(readers),
            population=population,
            deadline=deadline,
            drawn_by=self._store.person,
            wrong_share=wrong_share,
            consent=consent or None,
            marks_region=marks_region,
            by_worth=by_worth,
        )
        session.add(row)
        session.flush()
        session.add_all(
            TaskRow(
                study_id=row.id,
                reader=task.reader,
                position=task.position,
                case_id=task.case_id,
                arm=task.arm,
                condition=task.condition,
            )
            for task in tasks
        )
        session.flush()
        places = {(task.reader, task.position): task.case_id for task in tasks}
        session.add_all(
            AdviceRow(
                study_id=row.id,
                reader=reader,
                position=position,
                case_id=places[reader, position],
                source=one.source,
                answer=one.answer,
                reasoning=one.reasoning,
                created=row.created,
            )
            for (reader, position), one in (advice or {}).items()
        )
        refresh(session, (task.case_id for task in tasks))
        self._store.note(session, "write", "study", [None])
        return study_of(row)


def _readers(readers: Sequence[str], least: int) -> list[str]:
    cleaned_names = [cleaned(reader, NAME_LIMIT, "The reader's name") for reader in readers]
    names = [canonical_name(name) for name in cleaned_names]
    distinct = list(dict.fromkeys(name for name in names if name is not None))
    if len(distinct) < least:
        raise ReviewError(f"Name at least {least} reader{'s' if least > 1 else ''}.")
    return distinct


def _place(region: Region | None) -> str | None:
    return None if region is None else " ".join(map(str, (region.picture, *region.box)))
