"""Who gets which case: audits drawn at random, and balanced reader studies."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from rarl.errors import ReviewError
from rarl.records import TEXT_LIMIT, cleaned
from rarl.review._queue_index import refresh
from rarl.review._tables import AdviceRow, AnswerRow, CaseRow, StudyRow, TaskRow
from rarl.review.conditions import CONDITIONS, USUAL, Condition, presentation
from rarl.review.queue import READINGS, Item
from rarl.review.repositories.base import NAME_LIMIT
from rarl.review.roles import canonical_name
from rarl.review.settled_answers import answers_of, settled_answers
from rarl.review.studies.access import StudyAccess
from rarl.review.studies.records import Study, Task
from rarl.review.studies.rows import study_of
from rarl.review.worth import samples_of
from rarl.review.wrong_advice import Advice, WrongAdvice, choose, starts, wrong_for


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


class StudyAssignment(StudyAccess):
    """Drawing audits and studies."""

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
            arms_of: dict[str, set[str]] = {}
            for case_id, arm in session.execute(having):
                arms_of.setdefault(case_id, set()).add(arm)
        usable = sorted(case_id for case_id, answered in arms_of.items() if answered == set(arms))
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
                source=shown.source,
                answer=shown.answer,
                reasoning=shown.reasoning,
                created=row.created,
            )
            for (reader, position), shown in (advice or {}).items()
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
