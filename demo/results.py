"""The Results page: what was measured, how sure it is, and every answer behind a figure.

Everything is read from the files of a run (`summary.json` and `rows.parquet`, see
`rarl.evaluation.output`), so that the page needs no model and shows what a reviewer can recompute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import gradio as gr
import pandas as pd

from demo import render
from demo.components import panel
from demo.flagging import Desk
from rarl.data import Example, load_set
from rarl.data.sets import at_hand
from rarl.errors import DataError, RarlError, ReviewError
from rarl.evaluation.metrics import ALL_GROUP, groups
from rarl.evaluation.output import ROWS, SUMMARY
from rarl.evaluation.plots import forest, reliability_diagram, reliance_bars, svg
from rarl.evaluation.report import image_sentences, modes
from rarl.evaluation.tables import calibration_table, figure_table, reliance_table
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import MODES, PROBLEM_SENTENCES, parse_response
from rarl.review import CATEGORIES, COMMENT_LIMIT, SEVERITIES, Flag, case_from
from rarl.scans import identity_in_text

RESULTS = Path(__file__).resolve().parents[1] / "assets" / "results"

Filter = Literal[
    "all", "beats", "wrong", "form", "hedged", "lucky", "unlucky", "denies"
]  # fmt: skip
FILTERS: tuple[tuple[str, Filter], ...] = (
    ("All answers", "all"),
    ("Right where the other is wrong", "beats"),
    ("Wrong", "wrong"),
    ("Form broken", "form"),
    ("Hedged", "hedged"),
    ("Reasoning right, answer wrong", "unlucky"),
    ("Answer right, reasoning wrong", "lucky"),
    ("Reasoning denies the answer", "denies"),
)
_LISTED = 60
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_NOW: dict[str, Any] = {**_QUIET, "queue": False}

# Drawings are black on white, as they are printed, whatever the page's colours.
_STYLE = """<style>
#results-page .paper { background: #fff; color: #111; border-radius: 8px; padding: 12px;
  overflow-x: auto; margin: 8px 0; }
#results-page .paper svg { max-width: 100%; height: auto; display: block; }
#results-page table { border-collapse: collapse; font-size: .85rem; width: 100%;
  font-variant-numeric: tabular-nums; }
#results-page th, #results-page td { text-align: left; padding: 4px 10px;
  border-bottom: 1px solid var(--line); }
#results-page .scroll { overflow-x: auto; }
#results-page .told { border-left: 3px solid var(--accent); padding: 6px 12px; margin: 8px 0; }
</style>"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One question as the run asked it, with what is needed to flag an answer.

    Attributes:
        id: the example's.
        mode: inference mode.
        example: from the set itself, or None where the set is not at hand.
        rows: one greedy answer about the scan for each arm, in the order of the arms.
    """

    id: str
    mode: str
    example: Example | None
    rows: tuple[Mapping[str, Any], ...]

    @property
    def question(self) -> str:
        """The question's words, "" where neither rows nor set have them."""
        return str(self.rows[0]["question"] or (self.example.question if self.example else ""))

    @property
    def reference(self) -> str:
        """The reference answer, "" likewise."""
        return str(self.rows[0]["reference"] or (self.example.answer if self.example else ""))

    @property
    def has_pixels(self) -> bool:
        """Whether the very scan is at hand on this machine."""
        return self.example is not None and self.example.image is not None


@dataclass
class Results:
    """A run, read from its folder when it is first looked at.

    Attributes:
        folder: with `summary.json` and `rows.parquet`.
    """

    folder: Path = RESULTS
    _summary: dict[str, Any] | None = field(default=None, repr=False)
    _rows: pd.DataFrame | None = field(default=None, repr=False)
    _sets: dict[str, dict[str, Example]] = field(default_factory=dict, repr=False)
    _drawn: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def summary(self) -> dict[str, Any]:
        """The run's figures.

        Raises:
            DataError: there is no run, or its summary is not one.
        """
        if self._summary is None:
            path = self.folder / SUMMARY
            try:
                found = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                raise DataError(
                    "Nothing has been measured yet; run scripts/floors, then start the app again."
                ) from None
            except (OSError, ValueError):
                raise DataError(
                    "The summary of the results cannot be read; measure them again."
                ) from None
            if not isinstance(found, dict) or not found.get("figures"):
                raise DataError("The summary of the results is empty; measure them again.")
            self._summary = found
        return self._summary

    def rows(self) -> pd.DataFrame:
        """The greedy answers about scans.

        Raises:
            DataError: the rows are missing, or of another version.
        """
        if self._rows is None:
            path = self.folder / ROWS
            if not path.is_file():
                raise DataError(
                    "The answers behind these figures are not on this machine; measure again to "
                    "read them."
                )
            try:
                frame = pd.read_parquet(path)
                self._rows = frame[(frame["condition"] == "scan") & (frame["draw"] == 0)]
            except (OSError, ValueError, KeyError):
                raise DataError(
                    "The answers behind these figures cannot be read; measure again."
                ) from None
        return self._rows

    def arms(self) -> list[str]:
        """Names of the arms, in their order."""
        return [str(arm["name"]) for arm in self.summary()["arms"]]

    def groups(self) -> list[str]:
        """The groups of questions that were measured."""
        found = dict.fromkeys(one["group"] for one in self.summary()["figures"])
        return [one for one in found if one != ALL_GROUP]

    def drawings(self, mode: str, group: str) -> str:
        """Forest plot, reliability diagram and reliance bars of a group, as HTML."""
        # Drawn once: the drawing library's settings are the process's.
        with self._lock:
            if (mode, group) not in self._drawn:
                self._drawn[mode, group] = _drawings(self.summary(), mode, group)
        return self._drawn[mode, group]

    def chosen(
        self, mode: str, group: str, kind: Filter, arm: str, other: str
    ) -> tuple[int, list[Shown]]:
        """The questions of a group that pass a filter.

        Args:
            mode: inference mode.
            group: a name from `groups`.
            kind: which answers of the arm are meant.
            arm: whose answers.
            other: of "beats", who is wrong.

        Returns:
            How many there are, and the first of them.
        """
        frame = self.rows()
        frame = frame[frame["mode"] == mode]
        labels = {
            (one["source"], one["split"]): one["label"]
            for one in self.summary().get("leakage") or ()
        }
        masks = groups(frame, labels)
        if group in masks:
            frame = frame[masks[group]]
        passed = _passing(frame, kind, arm, other)
        by_id = {
            name: part for name, part in frame[frame["id"].isin(passed[:_LISTED])].groupby("id")
        }
        return len(passed), [self._shown(name, mode, by_id[name]) for name in passed[:_LISTED]]

    def one(self, name: str, mode: str) -> Shown:
        """One question.

        Raises:
            DataError: the run does not hold it.
        """
        frame = self.rows()
        part = frame[(frame["id"] == name) & (frame["mode"] == mode)]
        if part.empty:
            raise DataError("This answer is no longer in the results; choose another one.")
        return self._shown(name, mode, part)

    def _shown(self, name: str, mode: str, part: pd.DataFrame) -> Shown:
        order = {arm: place for place, arm in enumerate(self.arms())}
        rows = sorted(part.to_dict("records"), key=lambda row: order.get(row["arm"], len(order)))
        return Shown(name, mode, self._example(str(rows[0]["source"]), name), tuple(rows))

    def _example(self, source: str, name: str) -> Example | None:
        with self._lock:
            if source not in self._sets:
                try:
                    # Without a copy at hand the Hub would be asked, and the page would wait.
                    rows = load_set(source) if source in at_hand() else []
                except RarlError:
                    rows = []
                self._sets[source] = {row.id: row for row in rows}
        return self._sets[source].get(name)


def flag_answer(
    desk: Desk,
    shown: Shown,
    arm: str | None,
    category: str | None,
    severity: str | None,
    words: str,
) -> Flag:
    """Keep a case from the results, with a flag on one arm's answer.

    Raises:
        ReviewError: a choice is missing, the pixels are not at hand, or the store refuses.
        DataError: the image cannot be read.
    """
    rows = {str(row["arm"]): row for row in shown.rows}
    if arm not in rows:
        raise ReviewError("Choose whose answer is wrong.")
    if not category:
        raise ReviewError("Choose what is wrong with the answer.")
    if not severity:
        raise ReviewError("Choose how much it would matter.")
    if shown.example is None or shown.example.image is None:
        raise ReviewError(
            "The scan of this question is not at hand on this machine, so the case cannot be kept."
        )
    first = shown.rows[0]
    mode = next(one for one in MODES if one == shown.mode)
    question = Question(
        images=(NamedImage(shown.example.image.load()),),
        text=shown.question,
        arms=tuple(rows),
        mode=mode,
        decoding=Decoding(
            max_new_tokens=int(first["max_new_tokens"]),
            temperature=float(first["temperature"]),
            seed=int(first["seed"]),
        ),
    )
    answers = [
        Answer(
            arm=name,
            response=parse_response(str(row["text"]), mode),
            tokens=int(row["tokens"]),
            seconds=float(row["seconds"]),
            done=True,
        )
        for name, row in rows.items()
    ]
    store = desk.open()
    case = store.add_case(
        case_from(
            question,
            answers,
            arms=[Arm(name, render.label_of(name), str(rows[name]["revision"])) for name in rows],
            model=str(first["model"]),
            prompt_hash=str(first["prompt"]),
        )
    )
    return store.add_flag(case, arm, category, severity, words.strip())


def results_page(desk: Desk, tab: gr.Tab, folder: Path = RESULTS) -> None:
    """Lay out the page inside the current tab, and wire it.

    Args:
        desk: where flags go.
        tab: the tab; what takes time is made when it is first looked at.
        folder: of the run that is shown.
    """
    results = Results(folder)
    try:
        summary = results.summary()
    except DataError as error:
        panel(render.sentence(str(error), "quiet"), elem_id="results-page")
        return
    asked_modes = modes(summary)
    arms = results.arms()
    kinds = results.groups()
    last = arms[-1]
    with gr.Column(elem_id="results-page"):
        panel(_STYLE + _opening(summary), elem_id="results-opening")
        with gr.Row(elem_id="results-choices"):
            mode = _choice("Form of the answer", asked_modes, asked_modes[0], "results-mode")
            group = _choice("Questions", kinds, kinds[0], "results-group")
        table = panel(_tables(summary, asked_modes[0]), elem_id="results-table")
        figures = panel(elem_id="results-figures")
        with gr.Row(elem_id="results-filters"):
            arm = _choice("Variant", arms, last, "results-arm")
            kind = gr.Dropdown(
                list(FILTERS), value="beats", label="Answers", filterable=False,
                elem_id="results-kind",
            )  # fmt: skip
            other = _choice("The other", arms, arms[0], "results-other")
        with gr.Row(elem_id="results-cases"):
            with gr.Column(elem_id="results-list-side"):
                listing = panel(elem_id="results-list", events=("pick",))
            with gr.Column(elem_id="results-case-side"):
                case = panel(_nothing(), elem_id="results-case")
                with gr.Column(elem_id="results-flag", visible=False) as drawer:
                    whose = gr.Radio(arms, label="Whose answer is wrong?", elem_id="results-whose")
                    category = gr.Radio(
                        [(label, key) for key, label in CATEGORIES],
                        label="What is wrong?", elem_id="results-category",
                    )  # fmt: skip
                    severity = gr.Radio(
                        [(label, key) for key, label in SEVERITIES],
                        label="How much would it matter?", elem_id="results-severity",
                    )  # fmt: skip
                    comment = gr.Textbox(
                        label="Comment", lines=2, max_lines=5, max_length=COMMENT_LIMIT,
                        placeholder="What should it have said? No names or dates.",
                        elem_id="results-comment",
                    )  # fmt: skip
                    save = gr.Button("Save flag", variant="primary", elem_id="results-save")
                note = panel(elem_id="results-note")
    # What is open: the example's id and mode, and a comment that its writer was asked about.
    opened = gr.State(("", "", ""))

    def redrawn(m: str, g: str) -> tuple[str, str]:
        return _tables(summary, m), results.drawings(m, g)

    def listed(m: str, g: str, k: Filter, a: str, o: str) -> str:
        return _guarded(lambda: _list(results.chosen(m, g, k, a, o)))

    def picked(event: gr.EventData, m: str) -> tuple[str, Any, Any, str, Any]:
        name = str(getattr(event, "example", ""))
        try:
            shown = results.one(name, m)
            html = _case(shown)
        except RarlError as error:
            return render.sentence(str(error)), gr.Column(visible=False), None, "", ("", "", "")
        can_flag = gr.Column(visible=shown.has_pixels and bool(shown.question))
        return html, can_flag, None, "", (name, m, "")

    def saved(
        a: str | None, c: str | None, s: str | None, words: str, open_one: tuple[str, str, str]
    ) -> tuple[str, Any]:
        name, m, confirmed = open_one
        doubts = identity_in_text(words)
        if doubts and confirmed != words:
            told = " ".join(doubts)
            return (
                render.sentence(f"{told} Change the comment, or press Save again to keep it."),
                (name, m, words),
            )
        try:
            flag = flag_answer(desk, results.one(name, m), a, c, s, words)
        except RarlError as error:
            return render.sentence(str(error)), open_one
        return render.flag_saved(flag), (name, m, "")

    gr.on(
        [tab.select, mode.change, group.change], redrawn, [mode, group], [table, figures], **_QUIET
    )
    chosen = [mode, group, kind, arm, other]
    gr.on([tab.select, *(one.change for one in chosen)], listed, chosen, listing, **_QUIET)
    listing.pick(picked, mode, [case, drawer, whose, note, opened], **_NOW)
    save.click(saved, [whose, category, severity, comment, opened], [note, opened], **_QUIET)


# --- HTML ----------------------------------------------------------------------------------------


def _opening(summary: Mapping[str, Any]) -> str:
    warnings, fine = image_sentences(summary)
    revisions = ", ".join(
        f"{escape(arm['name'])} {escape(arm['revision'] or 'not told')}" for arm in summary["arms"]
    )
    told = "".join(f"<p>{escape(one)}</p>" for one in warnings)
    if told:
        told = f'<div class="told" role="note"><p><b>Not needing the image</b></p>{told}</div>'
    elif not fine:
        told = '<p class="quiet">Whether the answers need the image was not measured.</p>'
    return (
        f"<h2>What was measured of {escape(str(summary['model']))}</h2>"
        f'<p class="facts">Weights: {revisions}</p>{told}'
    )


def _tables(summary: Mapping[str, Any], mode: str) -> str:
    parts = [("Exact match, % [95 % interval, whole images resampled]",
              figure_table(summary, mode, "exact"))]  # fmt: skip
    parts.append(("Instead of the scan", reliance_table(summary, mode)))
    parts.append(("Self-consistency as a confidence", calibration_table(summary, mode)))
    return "".join(
        f'<h3>{escape(title)}</h3><div class="scroll">'
        f"{table.to_html(index=False, border=0, escape=True, na_rep='')}</div>"
        for title, table in parts
        if not table.empty
    )


def _drawings(summary: Mapping[str, Any], mode: str, group: str) -> str:
    def of(part: str) -> list[dict[str, Any]]:
        return [
            one for one in summary.get(part, []) if (one["mode"], one["group"]) == (mode, group)
        ]

    drawn = []
    compared = [one for one in of("differences") if one["second"].endswith(" scan")]
    if compared:
        drawn.append(svg(forest(compared), f"Differences between variants: {group}"))
    if of("reliance"):
        drawn.append(svg(reliance_bars(of("reliance")), f"Reliance on the image: {group}"))
    if of("calibration"):
        drawn.append(svg(reliability_diagram(of("calibration")), f"Reliability: {group}"))
    return "".join(f'<figure class="paper">{drawing}</figure>' for drawing in drawn)


def _passing(frame: pd.DataFrame, kind: Filter, arm: str, other: str) -> list[str]:
    """Ids of the questions whose answer by the arm is of this kind, in the rows' order."""
    mine = frame[frame["arm"] == arm].set_index("id")
    covered = mine["facts_covered"].fillna(0).astype(int)
    against = mine["facts_contradicted"].fillna(0).astype(int)
    right = mine["exact"].astype(bool)
    if kind == "beats":
        theirs = frame[frame["arm"] == other].set_index("id")["exact"].astype(bool)
        keep = right & ~theirs.reindex(mine.index, fill_value=True)
    elif kind == "wrong":
        keep = ~right
    elif kind == "form":
        keep = mine["problems"].map(len) > 0
    elif kind == "hedged":
        keep = mine["hedged"].astype(bool)
    elif kind == "unlucky":
        keep = ~right & (covered > 0) & (against == 0)
    elif kind == "lucky":
        keep = right & (against > 0)
    elif kind == "denies":
        keep = ~mine["agrees"].fillna(True).astype(bool)
    else:
        keep = right | ~right
    return [str(name) for name in mine.index[keep]]


def _list(found: tuple[int, list[Shown]]) -> str:
    total, shown = found
    if not shown:
        return '<div class="nothing quiet"><p>No answer of this kind.</p></div>'
    rows = []
    for one in shown:
        said = " · ".join(
            f"{escape(str(row['arm']))}: {escape(str(row['answer']) or '–')}"
            f"{' ✓' if row['exact'] else ''}"
            for row in one.rows
        )
        words = one.question or one.id
        rows.append(
            f'<button type="button" class="row" data-event="pick" data-example="{escape(one.id)}">'
            f'<span class="row-question">{escape(words)}</span>'
            f'<span class="row-foot">{said}</span></button>'
        )
    count = f"{total} answers" + (f", the first {len(shown)}" if total > len(shown) else "")
    return f'<p class="count" role="status">{count}</p>{"".join(rows)}'


def _case(shown: Shown) -> str:
    if shown.example is not None and shown.example.image is not None:
        picture = (
            '<div class="stage" data-page="stage" tabindex="0" aria-label="Scan of the question">'
            f'<img src="{render.picture_url(shown.example.image.load())}" '
            'alt="Scan of the question" draggable="false"></div>'
        )
    else:
        source = escape(str(shown.rows[0]["source"]))
        picture = (
            f'<p class="quiet">The pixels of this scan ({escape(shown.id)}) are not at hand on this'
            f" machine: they belong to the set {source}. Set RARL_DATA to the folder that holds it."
            "</p>"
        )
    question = shown.question or "The question's words are with its set."
    reference = shown.reference or "with its set"
    columns = "".join(_column(row) for row in shown.rows)
    return (
        f'<div class="case"><div class="case-top">{picture}<div class="case-facts">'
        f'<h4 class="eyebrow">Question</h4><h2>{escape(question)}</h2>'
        f'<p class="facts"><span>reference: {escape(reference)}</span>'
        f"<span>{escape(shown.id)}</span><span>mode {escape(shown.mode)}</span></p></div></div>"
        f'<div class="columns" data-count="{len(shown.rows)}">{columns}</div></div>'
    )


def _column(row: Mapping[str, Any]) -> str:
    arm = str(row["arm"])
    known: dict[Any, str] = dict(PROBLEM_SENTENCES)
    faults = "".join(f"<li>{escape(known.get(one, str(one)))}</li>" for one in row["problems"])
    verdict = "right" if row["exact"] else "wrong"
    facts = ""
    if not pd.isna(row["facts"]):
        facts = (
            f" · {int(row['facts_covered'])} of {int(row['facts'])} annotated facts stated, "
            f"{int(row['facts_contradicted'])} contradicted"
        )
    judged = row.get("judge_correctness")
    if judged is not None and not pd.isna(judged):
        facts += (
            f" · judge {int(judged)} and {int(row['judge_explanation'])} of 3: "
            f"{escape(str(row['judge_justification']))}"
        )
    return (
        f'<article class="arm arm-{escape(arm)}" aria-label="{escape(render.label_of(arm))}">'
        f"<header><div><h3>{escape(render.label_of(arm))}</h3><p>{verdict}</p></div></header>"
        f'<div class="said"><h4 class="eyebrow">Answer</h4>'
        f'<p class="answer">{escape(str(row["answer"])) or "&ndash;"}</p></div>'
        f'<div class="why"><h4 class="eyebrow">Reasoning</h4>'
        f"<p>{escape(str(row['reasoning']))}</p></div>"
        f'<ul class="faults">{faults}</ul>'
        f"<footer><span>{int(row['tokens'])} tokens · {float(row['seconds']):.1f} s · weights "
        f"{escape(str(row['revision']))}{facts}</span></footer></article>"
    )


def _nothing() -> str:
    return '<div class="nothing quiet"><p>Choose a question to read what was answered.</p></div>'


def _guarded(work: Callable[[], str]) -> str:
    try:
        return work()
    except RarlError as error:
        return render.sentence(str(error), "quiet")


def _choice(label: str, choices: list[str], value: str, name: str) -> gr.Dropdown:
    return gr.Dropdown(choices, value=value, label=label, filterable=False, elem_id=name)
