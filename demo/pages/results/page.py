"""Layout and events of the Results page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from uuid import uuid4

import gradio as gr
from markupsafe import Markup

from demo.context import FOCUS, NOW, QUIET, Parts, Update, labelled
from demo.pages import render
from demo.pages.components import panel
from demo.pages.results import html
from demo.pages.results.evaluations import Evaluations, Loaded
from demo.pages.results.made import made as made_html
from demo.pages.results.run import FILTERS, Filter, Results, Shown
from demo.pages.review.common import guarded, nothing
from demo.services.asking import MODE_LABELS
from demo.services.burned_in import without_written
from demo.serving.caller import caller_of
from rarl.errors import DataError, ReviewError
from rarl.evaluation.failures import FIELDS
from rarl.evaluation.report import modes
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import MODES, parse_response
from rarl.review import (
    COMMENT_LIMIT,
    CaseSnapshot,
    Flag,
    FlagDraft,
    ReviewStore,
    case_from,
)
from rarl.review.roles import may, require
from rarl.review.taxonomy import Taxonomy
from rarl.scans import identity_in_text

_LISTED = 30
# One after another: of two lists that are drawn at once, the older must not come last.
IN_ORDER: dict[str, Any] = {**QUIET, "concurrency_limit": 1, "concurrency_id": "results-list"}
_CHOOSE = ("Choose a question", "Its scan and every answer to it are shown here.")


@dataclass(frozen=True, slots=True)
class Opened:
    """The question that is open, and the flag that is being written about it.

    Attributes:
        run: key of the evaluation.
        example: the question's id.
        mode: inference mode.
        arm: whose answer is being flagged.
        key: of the flag.
        confirmed: a comment that its writer was asked about.
    """

    run: str = ""
    example: str = ""
    mode: str = ""
    arm: str = ""
    key: str = ""
    confirmed: str = ""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A part of a group of questions, to which the list is narrowed.

    It names the group that it was chosen in: figures that are drawn later, of another group, do
    not have to take it back.

    Attributes:
        run: key of the evaluation.
        mode: inference mode.
        group: name of the group.
        field: of `rarl.evaluation.failures.FIELDS`.
        stratum: value of the field.
    """

    run: str
    mode: str
    group: str
    field: str
    stratum: str

    def within(self, run: str, mode: str, group: str) -> tuple[str, str] | None:
        """Field and stratum, where the list is of this group; else None."""
        if (self.run, self.mode, self.group) != (run, mode, group):
            return None
        return self.field, self.stratum


def case_of(shown: Shown, case_id: str | None = None) -> CaseSnapshot:
    """A question of the run with every arm's answer, frozen as a case.

    Raises:
        ReviewError: the pixels are not at hand.
        DataError: the image cannot be read.
    """
    if shown.example is None or shown.example.image is None:
        raise ReviewError(
            "The scan of this question is not at hand on this machine, so the case cannot be kept."
        )
    first = shown.rows[0]
    mode = next(one for one in MODES if one == shown.mode)
    arms = [Arm(str(row["arm"]), shown.label(row), str(row["revision"])) for row in shown.rows]
    question = Question(
        images=tuple(NamedImage(image.load()) for image in shown.example.images),
        text=shown.question,
        arms=tuple(arm.name for arm in arms),
        mode=mode,
        decoding=Decoding(
            max_new_tokens=int(first["max_new_tokens"]),
            temperature=float(first["temperature"]),
            seed=int(first["seed"]),
        ),
        options=shown.options,
    )
    answers = [
        Answer(
            arm=arm.name,
            response=parse_response(str(row["text"]), mode),
            tokens=int(row["tokens"]),
            seconds=float(row["seconds"]),
            done=True,
        )
        for arm, row in zip(arms, shown.rows, strict=True)
    ]
    return case_from(
        question,
        answers,
        arms=arms,
        model=str(first["model"]),
        prompt_hash=str(first["prompt"]),
        case_id=case_id,
    )


def flag_answer(
    store: ReviewStore,
    shown: Shown,
    arm: str,
    category: str | None,
    severity: str | None,
    comment: str,
    key: str,
) -> Flag:
    """Keep a case from the results, with a flag on one arm's answer.

    Args:
        store: with the rights of whoever flags.
        shown: the question.
        arm: whose answer.
        category: of the taxonomy, None where nothing was chosen.
        severity: likewise.
        comment: free text.
        key: 32 hex digits, of the flag and of its case: sending it again stores nothing twice.

    Raises:
        ReviewError: a choice is missing, the pixels are not at hand, or the store refuses.
        DataError: the image cannot be read.
    """
    draft = FlagDraft.checked(
        case_id=key, arm=arm, category=category, severity=severity, comment=comment, key=key
    )
    # Nobody was asked about this picture, so that only its hash is kept where it has writing.
    store.add_case(without_written(case_of(shown, key)))
    return store.keep_flag(draft)


def results_page(
    parts: Parts, tab: gr.Tab, evaluations: Evaluations, loaded: Callable[[], Loaded | None]
) -> None:
    """Lay out the page inside the current tab, and wire it.

    Args:
        parts: of the app.
        tab: the tab; what takes time is made when it is first looked at.
        evaluations: what can be shown.
        loaded: what the app has loaded, None while it has not.
    """
    desk = parts.desk
    with gr.Column(elem_id="results-page"):
        with gr.Row(elem_id="results-runs"):
            run = _choice("Evaluation", [("–", "")], "")
            with gr.Accordion(
                "Add an evaluation", open=False, elem_id="results-add", visible=False,
            ) as adding:  # fmt: skip
                files = gr.File(
                    label="summary.json and rows.parquet that rarl evaluate wrote, or a .zip",
                    file_types=[".json", ".parquet", ".zip"], file_count="multiple", height=110,
                    elem_id="results-files",
                )  # fmt: skip
                add = gr.Button("Add", elem_id="results-add-go")
        trouble = panel(elem_id="results-trouble")
        opening = panel(elem_id="results-opening")
        with gr.Column(elem_id="results-body", visible=False) as body:
            with gr.Row(elem_id="results-choices"):
                mode = _choice("Form of the answer", [("–", "")])
                group = _choice("Questions", [("–", "")])
                pair = _choice("Compare", [("All variants", "")])
            made = panel(elem_id="results-made", events=("close",))
            lines = panel(elem_id="results-lines", events=("choose", "made"))
            figures = panel(render.sentence("Drawing …", "quiet"), elem_id="results-figures")
            failing = panel(elem_id="results-failures", events=("cut",))
            panel(Markup("<h2>The answers behind it</h2>"), elem_id="results-behind")
            with gr.Row(elem_id="results-filters"):
                arm = _choice("Variant", [("–", "")])
                kind = _choice("Answers", list(FILTERS))
                other = _choice("Other variant", [("–", "")])
            with gr.Row(elem_id="results-cases"):
                listing = panel(elem_id="results-list", events=("pick", "more", "widen"))
                with gr.Column(elem_id="results-side"):
                    case = panel(nothing(*_CHOOSE), elem_id="results-case", events=("complain",))
                    with gr.Column(elem_id="results-flag", visible=False) as drawer:
                        heading = panel(elem_id="results-flag-heading")
                        # The site's own lists, once the drawer opens.
                        usual = Taxonomy()
                        category = gr.Radio(labelled(usual.categories), label="What is wrong?")
                        severity = gr.Radio(
                            labelled(usual.severities), label="How much would it matter?"
                        )
                        comment = gr.Textbox(
                            label="Comment", lines=2, max_lines=5, max_length=COMMENT_LIMIT,
                            placeholder="What should it have said? No names or dates.",
                        )  # fmt: skip
                        with gr.Row(elem_id="results-flag-actions"):
                            cancel = gr.Button("Cancel")
                            save = gr.Button("Save flag", variant="primary", elem_id="results-save")
                    note = panel(elem_id="results-note")
            more = panel(elem_id="results-more")
    most = gr.State(_LISTED)
    opened = gr.State(Opened())
    narrowed = gr.State(None)
    # Whether the evaluation was chosen by the reader, and is kept whatever is loaded.
    by_hand = gr.State(False)

    @lru_cache(maxsize=256)
    def drawn(key: str, m: str, g: str, p: str) -> str:
        return html.drawings(results_of(key).summary(), m, g, p)

    def results_of(key: str) -> Results:
        evaluation = evaluations.find(key)
        if evaluation is None:
            raise DataError("This evaluation is no longer there; choose another one.")
        return evaluation.results

    def may_add(request: gr.Request) -> Update:
        """Offer to add an evaluation to whoever may."""
        allowed = evaluations.takes_more and may(desk.person(request).role, "import")
        return {adding: gr.Accordion(visible=allowed)}

    def arrived(key: str, chosen_by_hand: bool, old_mode: str) -> Update:
        """The list of evaluations, and the one that is of the loaded model."""

        def work() -> Update:
            offered = evaluations.listed()
            now = loaded()
            current = next((each for each in offered if each.key == key), None)
            if current is None or not chosen_by_hand:
                current = evaluations.fitting(now) if now else next(iter(offered), None)
            choices = [(each.label, each.key) for each in offered]
            if current is None:
                choices = [("None of the loaded model", ""), *choices]
            chosen = "" if current is None else current.key
            update: Update = {run: gr.Dropdown(choices=choices, value=chosen)}
            if chosen != key or not old_mode:
                return {**update, **switched(chosen)}
            return {**update, opening: html.opening(results_of(chosen).summary(), now)}

        return guarded(trouble, "results", work)

    def switched(key: str) -> Update:
        """The choices that an evaluation offers; without one, why there are no figures."""
        now = loaded()
        if not key:
            reason = (
                html.unmeasured(now, bool(evaluations.listed()))
                if now
                else nothing("No figures yet", "Nothing has been measured yet; run scripts/floors.")
            )
            return {
                opening: reason,
                body: gr.Column(visible=False),
                mode: _offer([("–", "")]),
            }
        results = results_of(key)
        summary = results.summary()
        labels = [(label, name) for name, label in results.labels().items()]
        forms: dict[str, str] = {name: label for label, name in MODE_LABELS}
        groups = results.groups()
        names = [name for _, name in labels]
        return {
            opening: html.opening(summary, now),
            body: gr.Column(visible=True),
            mode: _offer([(forms.get(each, each), each) for each in modes(summary)]),
            group: _offer([(html.titled(each), each) for each in groups]),
            pair: _offer(html.pairs(summary)),
            arm: _offer(labels, names[-1]),
            other: _offer(labels, "sft" if "sft" in names else names[0]),
            made: "",
            case: nothing(*_CHOOSE),
            drawer: gr.Column(visible=False),
            note: "",
            opened: Opened(),
        }

    def chosen_run(key: str) -> Update:
        return {by_hand: bool(key), **guarded(trouble, "results", lambda: switched(key))}

    def added(uploads: list[str] | None, request: gr.Request) -> Update:
        def work() -> Update:
            require(desk.person(request).role, "import")
            if not uploads:
                raise DataError("Choose the files of an evaluation first.")
            contents = parts.uploads.read([str(each) for each in uploads], caller_of(request))
            evaluation = evaluations.add(contents)
            choices = [(each.label, each.key) for each in evaluations.listed()]
            return {
                run: gr.Dropdown(choices=choices, value=evaluation.key),
                files: None,
                by_hand: True,
                **switched(evaluation.key),
            }

        return guarded(trouble, "results", work)

    def chose(event: gr.EventData, key: str) -> Any:
        name = str(getattr(event, "group", ""))
        evaluation = evaluations.find(key)
        return name if evaluation and name in evaluation.results.groups() else gr.skip()

    def redrawn(key: str, m: str, g: str, p: str) -> Update:
        def work() -> Update:
            summary = results_of(key).summary()
            return {
                lines: html.figure_lines(summary, m, g, p, loaded()),
                figures: drawn(key, m, g, p),
                failing: html.failures(summary, m, g, p),
                more: html.tables(summary, m),
            }

        return guarded(trouble, "results", work) if key else {figures: "", failing: ""}

    def paired(p: str) -> Update:
        """The answers behind a pair are those that one of the two has right alone."""
        if not p:
            return {arm: gr.skip()}
        second, first = p.split(",")
        return {arm: first, other: second, kind: "beats"}

    def listed(
        key: str,
        m: str,
        g: str,
        k: Filter,
        a: str,
        o: str,
        count: int,
        at: Opened,
        chosen_part: Narrowing | None,
    ) -> Update:
        def work() -> Update:
            inside = None if chosen_part is None else chosen_part.within(key, m, g)
            total, passing = results_of(key).chosen(m, g, k, a, o, count, inside)
            return {
                listing: html.listing(total, passing, at.example, inside),
                other: gr.Dropdown(visible=k == "beats"),
            }

        return {listing: "", **guarded(trouble, "results", work)} if key else {listing: ""}

    def asked_how(event: gr.EventData, key: str) -> Update:
        name = str(getattr(event, "arm", ""))

        def work() -> Update:
            results = results_of(key)
            entry = next((e for e in results.summary()["arms"] if e["name"] == name), None)
            if entry is None:
                raise DataError("This variant is not in the evaluation; open the page again.")
            now, revision = loaded(), str(entry["revision"])
            kept = results.making(name)
            making = kept or (now.making(revision) if now else kept)
            return {made: made_html(results, name, making, bool(now and revision in now.revisions))}

        return guarded(trouble, "results", work)

    def cut(event: gr.EventData, key: str, m: str) -> Update:
        """The wrong answers of a part of the group; the first of them is opened at once."""
        # The group that the reader sees, which may differ from one that was just chosen.
        g = str(getattr(event, "group", ""))
        field, stratum = (str(getattr(event, name, "") or "") for name in ("field", "stratum"))
        whose = str(getattr(event, "arm", ""))
        wanted = str(getattr(event, "kind", "") or "wrong")

        def work() -> Update:
            results = results_of(key)
            how = next((each for _, each in FILTERS if each == wanted), None)
            known = whose in results.labels() and g in results.groups()
            if not known or how is None or (field and field not in FIELDS):
                raise DataError("This part is not in the evaluation; open the page again.")
            part = (field, stratum) if field else None
            _, first = results.chosen(m, g, how, whose, whose, 1, part)
            update: Update = {
                narrowed: Narrowing(key, m, g, *part) if part else None,
                group: g,
                arm: whose,
                kind: how,
                drawer: gr.Column(visible=False),
            }
            if first:
                at = Opened(key, first[0].id, m)
                update |= {case: html.case(first[0]), opened: at, note: ""}
            return update

        return guarded(trouble, "results", work)

    def picked(event: gr.EventData, key: str, m: str) -> Update:
        name = str(getattr(event, "example", ""))

        def work() -> Update:
            return {
                case: html.case(results_of(key).one(name, m)),
                drawer: gr.Column(visible=False),
                note: "",
                opened: Opened(key, name, m),
            }

        return guarded(trouble, "results", work)

    def flagging(event: gr.EventData, at: Opened) -> Update:
        whose = str(getattr(event, "arm", ""))
        evaluation = evaluations.find(at.run)
        labels = evaluation.results.labels() if evaluation else {}
        if whose not in labels:
            return {note: ""}
        taxonomy = desk.taxonomy()
        return {
            drawer: gr.Column(visible=True),
            heading: Markup("<h2>Flag {}’s answer</h2>").format(labels[whose]),
            category: gr.Radio(labelled(taxonomy.categories), value=None),
            severity: gr.Radio(labelled(taxonomy.severities), value=None),
            comment: "",
            note: "",
            opened: replace(at, arm=whose, key=uuid4().hex, confirmed=""),
        }

    def saved(c: str | None, s: str | None, remark: str, at: Opened, request: gr.Request) -> Update:
        doubts = identity_in_text(remark)
        if doubts and at.confirmed != remark:
            words = f"{' '.join(doubts)} Change the comment, or press Save again to keep it."
            return {note: render.sentence(words), opened: replace(at, confirmed=remark)}

        def work() -> Update:
            store = desk.for_request(request)
            shown = results_of(at.run).one(at.example, at.mode)
            flag = flag_answer(store, shown, at.arm, c, s, remark, at.key)
            return {
                note: render.flag_saved(flag),
                drawer: gr.Column(visible=False),
                opened: Opened(at.run, at.example, at.mode),
            }

        return guarded(note, "results", work)

    seen = [run, mode, group, kind, arm, other, most, opened, narrowed]
    lists = [listing, other, trouble]
    drawing = [lines, figures, failing, more, trouble]
    choices = [
        run, opening, body, mode, group, pair, arm, other, made, case, drawer, note, opened, trouble
    ]  # fmt: skip

    figures_in = [run, mode, group, pair]

    def list_after(event: Any) -> None:
        event.then(lambda: _LISTED, None, most, **NOW).then(listed, seen, lists, **IN_ORDER)

    tab.select(may_add, None, adding, **NOW)
    for first in (
        tab.select(arrived, [run, by_hand, mode], choices, **NOW),
        run.input(chosen_run, run, [*choices, by_hand], **NOW),
        add.click(added, files, [*choices, files, by_hand], **QUIET),
        pair.input(paired, pair, [arm, other, kind], **NOW),
        lines.choose(chose, run, group, **NOW),
    ):
        list_after(first.then(redrawn, figures_in, drawing, **QUIET))
    list_after(gr.on([mode.input, group.input], redrawn, figures_in, drawing, **QUIET))
    gr.on([kind.input, arm.input, other.input], lambda: _LISTED, None, most, **NOW).then(
        listed, seen, lists, **IN_ORDER
    )
    cut_out = [narrowed, group, arm, kind, drawer, case, opened, note, trouble]
    cutting = failing.cut(cut, [run, mode], cut_out, **NOW)
    list_after(cutting.then(redrawn, figures_in, drawing, **QUIET))
    cutting.then(js=FOCUS % "#results-case .stage", **NOW)
    list_after(listing.widen(lambda: None, None, narrowed, **NOW))
    lines.made(asked_how, run, [made, trouble], **NOW).then(js=FOCUS % "#results-made .made", **NOW)
    made.close(lambda: "", None, made, **NOW)
    listing.more(lambda count: count + _LISTED, most, most, **NOW).then(
        listed, seen, lists, **IN_ORDER
    )
    picking = listing.pick(picked, [run, mode], [case, drawer, note, opened, trouble], **NOW)
    picking.then(listed, seen, lists, **IN_ORDER)
    picking.then(js=FOCUS % "#results-case .stage", **NOW)
    case.complain(
        flagging, opened, [drawer, heading, category, severity, comment, note, opened], **NOW
    )
    cancel.click(lambda: gr.Column(visible=False), None, drawer, **NOW)
    save.click(saved, [category, severity, comment, opened], [note, drawer, opened], **QUIET)


def _offer(choices: list[tuple[str, Any]], value: str | None = None) -> Any:
    return gr.Dropdown(choices=choices, value=choices[0][1] if value is None else value)


def _choice(label: str, choices: list[tuple[str, Any]], value: str | None = None) -> gr.Dropdown:
    return gr.Dropdown(
        choices,
        value=choices[0][1] if value is None else value,
        label=label,
        filterable=False,
        elem_id=f"results-{label.split()[-1].lower()}",
    )
