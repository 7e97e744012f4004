"""Which answers are most worth a reader's time, and why; one in five stands there by chance.

What readers see first then says nothing of how often a variant errs. So a fixed share of answers is
chosen by chance alone, whatever their worth, and mixed into every page of the list: an audit that
is worked by worth takes its rates from these alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from rarl.records import new_key
from rarl.records.queue import Item
from rarl.review._queue_index import batches
from rarl.review._tables import AnswerRow, CaseRow, MeasurementRow, SampleRow
from rarl.review.store import ReviewStore
from rarl.text.normalise import exact_match

Measure = Literal["consistency", "needs-picture"]
"""consistency: share of sampled answers that say the same. needs-picture: 1, or 0 where the answer
is the same without the picture."""

ONE_IN = 5
"""So many answers of a list hold one that is there by chance."""
_RARE = 0.1
# A sign that is there or not counts as much as half of all variants that say something else.
_SIGN = 0.5


@dataclass(frozen=True, slots=True)
class Worth:
    """What a reading of an answer is expected to teach.

    Attributes:
        score: 0 or more; comparable within one list.
        reason: in words, empty where nothing speaks for it.
        by_chance: whether chance put the answer into the random share.
    """

    score: float
    reason: str
    by_chance: bool


def by_chance(item: Item) -> bool:
    """Whether an answer belongs to the random share; the same in every list.

    >>> sum(by_chance((f"{number:032x}", "sft")) for number in range(1000)) in range(160, 240)
    True
    """
    digest = hashlib.sha256("/".join(item).encode("utf-8")).hexdigest()
    return int(digest[:8], 16) % ONE_IN == 0


def worth_of(session: Session, items: Sequence[Item]) -> dict[Item, Worth]:
    """The worth of each answer of a list.

    Args:
        session: of the store.
        items: the whole list, since what is rare is rare in it.
    """
    case_ids = sorted({case_id for case_id, _ in items})
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    modality: dict[str, str] = {}
    measured: dict[Item, dict[str, float]] = defaultdict(dict)
    for batch in batches(case_ids):
        statement = select(AnswerRow.case_id, AnswerRow.arm, AnswerRow.answer)
        for case_id, arm, answer in session.execute(statement.where(AnswerRow.case_id.in_(batch))):
            answers[case_id][arm] = answer
        kinds = select(CaseRow.id, CaseRow.modality).where(CaseRow.id.in_(batch))
        modality |= {case_id: kind or "" for case_id, kind in session.execute(kinds)}
        measurements = select(MeasurementRow).where(MeasurementRow.case_id.in_(batch))
        for row in session.scalars(measurements.order_by(MeasurementRow.id)):
            measured[row.case_id, row.arm][row.name] = row.value
    kinds_listed = Counter(modality[case_id] for case_id in case_ids)
    return {
        item: _worth(
            item, answers[item[0]], modality[item[0]], kinds_listed, measured.get(item, {})
        )
        for item in items
    }


def by_worth(worth: Mapping[Item, Worth]) -> list[Item]:
    """The most valuable first, with the random share mixed in: one in every `ONE_IN`."""
    chance = [item for item, value in worth.items() if value.by_chance]
    chance.sort(key=lambda item: hashlib.sha256("/".join(item[::-1]).encode()).hexdigest())
    rest = [item for item, value in worth.items() if not value.by_chance]
    rest.sort(key=lambda item: -worth[item].score)
    mixed: list[Item] = []
    while chance or rest:
        turn = len(mixed) % ONE_IN == ONE_IN - 1
        mixed.append((chance if chance and (turn or not rest) else rest).pop(0))
    return mixed


def record_measures(
    store: ReviewStore, item: Item, values: Mapping[Measure, float], samples: Sequence[str] = ()
) -> None:
    """Keep what was measured of an answer; a later measurement replaces an earlier one.

    Args:
        store: with a person who may assign work.
        item: the answer.
        values: what was measured.
        samples: texts that were sampled; each is kept once, for wrong advice in studies.

    Raises:
        ReviewError: there is no such answer, the person may not, or the database cannot be written.
    """
    store.need("assign")
    with store.writing() as session:
        store.answer_in(session, *item)
        session.add_all(
            MeasurementRow(
                key=new_key(), case_id=item[0], arm=item[1], name=name, value=value,
                created=datetime.now(UTC),
            )
            for name, value in values.items()
        )  # fmt: skip
        session.add_all(
            SampleRow(
                key=new_key(), case_id=item[0], arm=item[1], text=text, created=datetime.now(UTC)
            )
            for text in dict.fromkeys(samples)
        )
        store.note(session, "write", "measurement", [item[0]])


def sampled_items(session: Session) -> set[Item]:
    """The answers of which samples are kept."""
    rows = session.execute(select(SampleRow.case_id, SampleRow.arm).distinct())
    return {(case_id, arm) for case_id, arm in rows}


def samples_of(store: ReviewStore, case_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The sampled texts of each case that has any, oldest first.

    Raises:
        ReviewError: the database cannot be read.
    """
    texts: dict[str, list[str]] = defaultdict(list)
    with store.reading() as session:
        for batch in batches(sorted(set(case_ids))):
            statement = select(SampleRow.case_id, SampleRow.text).order_by(SampleRow.id)
            for case_id, text in session.execute(statement.where(SampleRow.case_id.in_(batch))):
                texts[case_id].append(text)
    return {case_id: tuple(own) for case_id, own in texts.items()}


def _worth(
    item: Item,
    answers: Mapping[str, str],
    modality: str,
    listed: Counter[str],
    measured: Mapping[str, float],
) -> Worth:
    own = answers.get(item[1], "")
    others = [answer for arm, answer in answers.items() if arm != item[1]]
    differ = sum(not exact_match(own, other) for other in others)
    reasons: list[tuple[float, str]] = []
    if differ:
        reasons.append((differ / len(others), f"{differ} of {len(others)} other variants disagree"))
    consistency = measured.get("consistency", 1.0)
    if consistency < 1:
        reasons.append((1 - consistency, f"{100 * consistency:.0f} % of samples say the same"))
    if measured.get("needs-picture") == 0:
        reasons.append((_SIGN, "same answer without the picture"))
    share = listed[modality] / listed.total()
    if modality and share <= _RARE:
        reasons.append((_SIGN, f"rare here: {modality}"))
    reasons.sort(key=lambda reason: -reason[0])
    return Worth(
        sum(score for score, _ in reasons),
        "; ".join(words for _, words in reasons),
        by_chance(item),
    )
