"""Add a judge's scores to a run, and measure their agreement with readers.

The judge itself is `rarl.judge`: it sees neither arm nor order, and a judgement that could not be
had is None and counted, never a zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rarl.data.example import Example
from rarl.evaluation.metrics import ALL_GROUP, Labels, groups
from rarl.evaluation.rows import Row, to_frame
from rarl.judge import Graded, Judge, item_text
from rarl.review import ReviewStore
from rarl.review.queue import Queue
from rarl.stats.agreement import cohen_kappa
from rarl.stats.bootstrap import clustered_means

SCORES = ("correctness", "explanation")
# The judge's own setting; written beside every judgement.
TEMPERATURE = 0.0


@dataclass(frozen=True, slots=True)
class HumanScore:
    """The readers' settled scores of one answer.

    Attributes:
        question: as asked.
        arm: whose answer.
        revision: hash of the weights that answered.
        text: the raw text.
        correctness: 0 to 3.
        explanation: 0 to 3.
    """

    question: str
    arm: str
    revision: str
    text: str
    correctness: int
    explanation: int


def judge_rows(judge: Judge, rows: Sequence[Row], examples: Mapping[str, Example]) -> pd.DataFrame:
    """Have every greedy answer about the scan judged.

    Args:
        judge: see `rarl.judge`.
        rows: all rows of a run.
        examples: by id; of rows without an explanation of their own, the annotated facts stand
            for it.

    Returns:
        One row for each of `rows`, in their order: `judge_correctness` and `judge_explanation` (0
        to 3, missing where not judged), `judge_justification`, `judge_problem` (why a judgement is
        missing), `judge_raw`, `judge_asked` (the exact message), `judge_model`, `judge_prompt`
        (hash), `judge_temperature`.

    Raises:
        ModelError: the endpoint turns the request itself down.
    """
    judged = [index for index, row in enumerate(rows) if row.condition == "scan" and row.draw == 0]
    graded = [_graded(rows[index], examples[rows[index].id]) for index in judged]
    verdicts = judge.grade(graded)
    frame = pd.DataFrame(
        {
            "judge_correctness": [verdict.correctness for verdict in verdicts],
            "judge_explanation": [verdict.explanation for verdict in verdicts],
            "judge_justification": [verdict.justification for verdict in verdicts],
            "judge_problem": [verdict.problem for verdict in verdicts],
            "judge_raw": [verdict.raw for verdict in verdicts],
            "judge_asked": [item_text(item) for item in graded],
            "judge_model": judge.model,
            "judge_prompt": judge.prompt_hash,
            "judge_temperature": TEMPERATURE,
        },
        index=judged,
    ).reindex(range(len(rows)))
    for score in SCORES:
        frame[f"judge_{score}"] = frame[f"judge_{score}"].astype("Int64")
    return frame


def judge_summary(
    judge: Judge,
    rows: Sequence[Row],
    judged: pd.DataFrame,
    humans: Sequence[HumanScore] = (),
    labels: Labels | None = None,
) -> dict[str, Any]:
    """Mean scores with intervals, what is missing, and the agreement with readers.

    Args:
        judge: who judged.
        rows: all rows of the run.
        judged: as `judge_rows` returns it for them.
        humans: as `human_scores` returns them.
        labels: see `rarl.evaluation.metrics.groups`.

    Returns:
        `model`, `prompt` (hash), `temperature`, `judged` and `missing` (answers), `problems` (why,
        with counts), `calls` and `tokens` spent; `figures`: group, arm, mode, score, value (0 to
        3), low, high, n, missing; `agreement`: for each score, quadratically weighted kappa with
        its interval, the share of equal scores and n; kappa is None where it is not defined.
    """
    frame = pd.concat([to_frame(rows), judged], axis=1)
    frame = frame[frame["judge_model"].notna()]
    seed = int(frame["seed"].iloc[0]) if len(frame) else 0
    missing = frame["judge_problem"].notna()
    return {
        "model": judge.model,
        "prompt": judge.prompt_hash,
        "temperature": TEMPERATURE,
        "judged": int((~missing).sum()),
        "missing": int(missing.sum()),
        "problems": {str(k): int(n) for k, n in frame["judge_problem"].value_counts().items()},
        "calls": judge.usage.calls,
        "tokens": judge.usage.tokens,
        "figures": judge_figures(frame, labels),
        "agreement": _agreement(frame, humans, seed),
    }


def judge_figures(frame: pd.DataFrame, labels: Labels | None = None) -> list[dict[str, Any]]:
    """Mean scores with intervals by group, arm and mode.

    Args:
        frame: rows as a table with the judge's columns.
        labels: see `rarl.evaluation.metrics.groups`.
    """
    frame = frame[frame["judge_model"].notna()]
    seed = int(frame["seed"].iloc[0]) if len(frame) else 0
    entries: list[dict[str, Any]] = []
    for group, mask in groups(frame, labels).items():
        if group == ALL_GROUP:
            continue
        for (mode, arm), part in frame[mask].groupby(["mode", "arm"], sort=False):
            scores = part[[f"judge_{name}" for name in SCORES]]
            values = scores.to_numpy(dtype=float, na_value=np.nan)
            complete = ~np.isnan(values).any(axis=1)
            if not complete.any():
                continue
            intervals = clustered_means(
                values[complete], part.loc[complete, "image"].tolist(), seed=seed
            )
            for name, interval in zip(SCORES, intervals, strict=True):
                entries.append(
                    {
                        "group": group,
                        "arm": arm,
                        "mode": mode,
                        "score": name,
                        "value": interval.value,
                        "low": interval.low,
                        "high": interval.high,
                        "n": interval.n,
                        "missing": int((~complete).sum()),
                    }
                )
    return entries


def human_scores(store: ReviewStore) -> list[HumanScore]:
    """Scores that readers have settled in the review queue.

    Raises:
        ReviewError: the store cannot be read.
    """
    results = []
    for settled in Queue(store).settled():
        case = store.case(settled.case_id)
        answer = next(
            answer_of_arm for answer_of_arm in case.answers if answer_of_arm.arm == settled.arm
        )
        results.append(
            HumanScore(
                question=case.question,
                arm=settled.arm,
                revision=answer.revision,
                text=answer.text,
                correctness=settled.correctness,
                explanation=settled.explanation,
            )
        )
    return results


def _graded(row: Row, example: Example) -> Graded:
    stated = " ".join(fact.statement for fact in example.facts)
    return Graded(
        question=row.question,
        reference=row.reference,
        explanation=example.explanation or stated,
        answer=row.answer,
        reasoning=row.reasoning,
    )


def _agreement(
    frame: pd.DataFrame, humans: Sequence[HumanScore], seed: int
) -> list[dict[str, Any]]:
    """Judge against readers, over the answers that both have scored."""
    by_answer = {(human.question, human.arm, human.revision, human.text): human for human in humans}
    both: list[tuple[HumanScore, int, int, str]] = []
    answers = frame[frame["judge_problem"].isna()]
    for question, arm, revision, text, correctness, explanation, image in answers[
        ["question", "arm", "revision", "text", "judge_correctness", "judge_explanation", "image"]
    ].itertuples(index=False):
        human = by_answer.get((question, arm, revision, text))
        if human is not None:
            both.append((human, int(correctness), int(explanation), image))
    images = [pair[3] for pair in both]
    results = []
    for place, name in enumerate(SCORES, start=1):
        readers = [pair[0].correctness if place == 1 else pair[0].explanation for pair in both]
        judged = [pair[1] if place == 1 else pair[2] for pair in both]
        kappa = cohen_kappa(readers, judged, images, seed=seed) if both else None
        results.append(
            {
                "score": name,
                "kappa": kappa.value if kappa else None,
                "low": kappa.low if kappa else None,
                "high": kappa.high if kappa else None,
                "exact": float(np.mean(np.equal(readers, judged))) if both else None,
                "n": len(both),
            }
        )
    return results
