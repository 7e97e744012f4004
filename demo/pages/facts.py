"""The facts labels of the variants on offer: for the drawer under the answers and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any
from urllib.parse import quote

from demo.context import Parts
from demo.pages.results import Evaluations, loaded_by
from demo.session import Asked
from demo.templating import render_template
from rarl.checks import kind_of_question, modality_group
from rarl.errors import DataError, QuestionError
from rarl.facts import Facts, Measured, applied_model_card, facts_of, held_out_accuracy
from rarl.facts.chai import training_words
from rarl.facts.label import NOT_MEASURED, NOT_RECORDED
from rarl.facts.measured import KIND_WORDS
from rarl.inference.engine import Arm, Question
from rarl.models.making import Making, read_making, variant_folders
from rarl.response import Mode

TITLE = "Facts"
_LOADING = "The model is still loading; ask again in a moment."


class FactsLabels:
    """Makes the labels.

    Args:
        parts: of the app.
        evaluations: whose figures are shown; of each variant the one that measured its weights.
    """

    def __init__(self, parts: Parts, evaluations: Evaluations) -> None:
        self._parts, self._evaluations = parts, evaluations
        self._known: dict[tuple[str, str, Mode], tuple[Measured, ...]] = {}
        self._lock = Lock()

    def of(self, arm: Arm, mode: Mode) -> Facts:
        """The label of a variant on offer.

        Args:
            arm: the variant.
            mode: inference mode of the figures.

        Raises:
            QuestionError: the model is still loading.
        """
        loaded = loaded_by(self._parts.loader)
        if loaded is None:
            raise QuestionError(_LOADING)
        folder = variant_folders(loaded.model).get("base")
        base = read_making(folder) if folder else Making()
        own = base if arm.name == "base" else loaded.making(arm.revision)
        return facts_of(
            loaded.name, arm.name, arm.label, arm.revision, own, base, mode,
            self._measured(arm.revision, mode),
        )  # fmt: skip

    def plain(self, name: str, mode: Mode, modality: str, kind: str, form: str) -> dict[str, Any]:
        """The label of a variant for programs.

        Args:
            name: of the variant, "" for the last on offer.
            mode: inference mode of the figures.
            modality: of figures that are meant, "" for all.
            kind: of questions, "" for all.
            form: "json", or "chai" for the Applied Model Card too.

        Raises:
            QuestionError: there is no such variant, or the model is still loading.
        """
        if loaded_by(self._parts.loader) is None:
            raise QuestionError(_LOADING)
        arms = {arm.name: arm for arm in self._parts.arms()}
        arm = arms.get(name or [*arms][-1])
        if arm is None:
            raise QuestionError(f"There is no variant {name!r}; choose from {', '.join(arms)}.")
        facts = self.of(arm, arm.mode or mode)
        content = facts.plain()
        measured = facts.about(modality or None, kind or None)
        content["measured"] = [line for line in content["measured"] if _is_among(line, measured)]
        if form == "chai":
            content["chai"] = applied_model_card(facts)
        return content

    def view(self, asked: Asked, modalities: Sequence[str | None]) -> str:
        """The inside of the drawer: the variants that answered, and what was measured of them.

        Args:
            asked: the exchange on the page.
            modalities: of the pictures that it is about.
        """
        kind = kind_of(asked.question)
        group = _one_modality(modalities)
        labels = [self.of(arm, arm.mode or asked.question.mode) for arm in asked.arms]
        found = [facts.about(group, kind) if group else () for facts in labels]
        # A line for variants that were measured on the same questions; people's come first.
        lines = {_asked_of(line): line for measured in found for line in measured}
        return render_template(
            "ask/facts.html",
            about=f"{group or 'pictures of an unknown or mixed kind'}, "
            f"{KIND_WORDS[kind]} questions",
            common=labels[0],
            names=[facts.label for facts, measured in zip(labels, found, strict=True) if measured],
            rows=[
                (line, [_cell(line, measured) for measured in found if measured])
                for line in lines.values()
            ],
            unmeasured=[
                facts.label for facts, measured in zip(labels, found, strict=True) if not measured
            ],
            not_measured=NOT_MEASURED,
            variants=[
                {
                    "label": facts.label,
                    "training": training_words(facts),
                    "revision": facts.revision or NOT_RECORDED,
                    "base": facts.base,
                    "made": facts.made or NOT_RECORDED,
                    "name": facts.variant,
                    "card": "data:application/xml;charset=utf-8,"
                    + quote(applied_model_card(facts)),
                }
                for facts in labels
            ],
        )

    def _measured(self, revision: str, mode: Mode) -> tuple[Measured, ...]:
        """What the first evaluation that measured these weights says."""
        for evaluation in self._evaluations.listed():
            if not revision or revision not in evaluation.revisions.values():
                continue
            key = (evaluation.key, revision, mode)
            with self._lock:
                known = self._known.get(key)
            if known is None:
                try:
                    known = held_out_accuracy(evaluation.results.rows(), revision, mode)
                except (DataError, KeyError):  # figures without answers, or of another version
                    known = ()
                with self._lock:
                    self._known[key] = known
            if known:
                return known
        return ()


def kind_of(question: Question) -> str:
    """The kind of question, as evaluations name it."""
    return "choice" if question.options else kind_of_question(question.text)


def _asked_of(line: Measured) -> tuple[str, int, int]:
    """Which questions were asked, as far as a measurement tells."""
    return line.questions, line.n, line.images


def _cell(row: Measured, measured: Sequence[Measured]) -> tuple[str, str]:
    """A variant's share that is right on the questions of a row, and its interval, for people."""
    line = next((line for line in measured if _asked_of(line) == _asked_of(row)), None)
    if line is None:
        return "–", ""
    if line.low is None or line.high is None:
        return f"{100 * line.value:.1f} %", "no interval"
    return f"{100 * line.value:.1f} %", f"{100 * line.low:.1f} to {100 * line.high:.1f}"


def _one_modality(modalities: Sequence[str | None]) -> str:
    """What all pictures are, "" where they differ or nothing says so."""
    groups = {modality_group(modality) for modality in modalities}
    return groups.pop() if len(groups) == 1 else ""


def _is_among(plain: dict[str, Any], lines: Sequence[Measured]) -> bool:
    return any(
        (line.modality, line.kind, line.questions)
        == (plain["modality"], plain["kind"], plain["questions"])
        for line in lines
    )
