"""The programming interface: `ask`, `compare`, `measure`, `flag` and `facts` for Gradio clients.

Their descriptions, which clients show, are the docstrings below. No `annotations` import here:
Gradio reads the types themselves.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr
from gradio.events import api

from demo.context import Parts
from demo.pages.facts import FactsLabels
from demo.services.ask import AskService
from demo.services.asking import log_fault
from demo.serving.caller import caller_of
from rarl.errors import RarlError

Mode = Literal["reason", "answer", "answer-then-reason"]


def add_api(parts: Parts, service: AskService, labels: FactsLabels) -> None:
    """Add the endpoints to the page that is being built."""
    of = AskApi(parts, service, labels)
    for endpoint in (of.ask, of.compare, of.measure, of.flag, of.facts):
        api(endpoint, api_name=endpoint.__name__)


class AskApi:
    """The endpoints.

    Args:
        parts: of the app.
        service: asks and flags.
        labels: the facts labels of the variants.
    """

    def __init__(self, parts: Parts, service: AskService, labels: FactsLabels) -> None:
        self._parts, self._service, self._labels = parts, service, labels

    def ask(
        self,
        request: gr.Request,
        scans: list[gr.FileData],
        question: str,
        arm: str = "",
        mode: Mode = "reason",
        checked: bool = False,
        series: int = 0,
        samples: int = 0,
        options: list[str] = [],  # noqa: B006 - Gradio shows it, nobody changes it
    ) -> dict[str, Any]:
        """Ask one variant of the model a question about a scan. For research, not for diagnosis.

        Args:
            request: who asks; Gradio fills it in.
            scans: the uploaded files: one picture, the files of one series, or up to four pictures.
            question: at most 1000 characters.
            arm: "base", "sft", "rl", "rarl" or a site's own; "" for the last that is offered.
            mode: "reason", "answer" or "answer-then-reason".
            checked: True says that nothing burned into the picture and no word names a person.
            series: of several series in the files its number, from 1; 0 takes the largest.
            samples: how many times the variant is asked again at random (2 to 32), to tell whether
                its answer holds; 0 for none.
            options: of a multiple-choice question 2 to 10 options, shown in this order as A, B, C.

        Returns:
            `exchange`, by which the answer can be flagged; `model`; `series` of the files, each
            with `number`, `title` and whether it was `asked` about; `left_out`, files of none, with
            `file` (its place, from 1), `name` and `reason`; and `answers`, one for the arm:
            `arm`, `label`, `revision`, `answer`, `option` (the one that the answer names, None
            where it names none or several), `reasoning`, `problems` of its form and of what it
            says, `cautions` that explain the latter in sentences, `consistency` (the share of the
            samples that say the same, None without), `tokens`, `seconds`, `failure`
            where it broke off, and `note`, what else must be known of it.
        """
        variants = (arm,) if arm else ()
        return guarded(
            lambda: self._asked(
                request, scans, question, variants, mode, checked, (series, samples, options)
            )
        )

    def compare(
        self,
        request: gr.Request,
        scans: list[gr.FileData],
        question: str,
        arms: list[str] = ["all"],  # noqa: B006 - Gradio shows it, nobody changes it
        mode: Mode = "reason",
        checked: bool = False,
        series: int = 0,
        samples: int = 0,
        options: list[str] = [],  # noqa: B006 - as above
    ) -> dict[str, Any]:
        """Ask several variants of the model the same question about a scan, in one pass.

        Args:
            request: who asks; Gradio fills it in.
            scans: as for ask.
            question: as for ask.
            arms: any of the variants, in the order of the answers; "all" stands for every variant
                that the model or its variants file offers, besides the base.
            mode: as for ask.
            checked: as for ask.
            series: as for ask.
            samples: as for ask, for each variant.
            options: as for ask.

        Returns:
            As for ask, with one answer per arm; and `agreement` where all say the same, otherwise
            None: how often such agreements were `right` on held-out questions of this kind, with
            `low` and `high` of the 95 % interval, `n`, and a `sentence`.
        """
        return guarded(
            lambda: self._asked(
                request, scans, question, tuple(arms), mode, checked, (series, samples, options)
            )
        )

    def measure(
        self,
        request: gr.Request,
        scans: list[gr.FileData],
        shapes: list[dict[str, Any]],
        series: int = 0,
    ) -> dict[str, Any]:
        """Measure lengths, angles, areas and values on a scan. For research, not for diagnosis.

        Args:
            request: who measures; Gradio fills it in.
            scans: the uploaded files of one scan.
            shapes: what to measure, such as {"kind": "ruler", "points": [[10, 10], [40, 50]]}.
            series: of several series in the files its number, from 1; 0 takes the largest.

        Returns:
            `measurements`, one for each shape: the shape itself, `values` with `quantity`, `value`
            and `unit` (mm and mm2 only where the file states a spacing, otherwise px and px2; HU
            only where it gives them, otherwise stored values), `at` (whether lengths are those in
            the patient, at the detector or unknown), `notes` on what limits them, and `text`, all
            of it as a sentence; `modality`; and `warnings` on the scan.
        """
        return guarded(
            lambda: self._service.measure(
                self._parts.desk.person(request), self._read(request, scans), shapes, series
            )
        )

    def flag(
        self,
        request: gr.Request,
        exchange: str,
        arm: str,
        category: str,
        severity: str,
        comment: str = "",
        checked: bool = False,
        key: str = "",
    ) -> dict[str, Any]:
        """Flag a wrong answer; it is kept with its scan, for review.

        Args:
            request: who flags; Gradio fills it in.
            exchange: as ask or compare returned it; it is remembered for a while.
            arm: whose answer is wrong.
            category: a key of the taxonomy, such as "missed-finding".
            severity: a key of the scale, such as "major".
            comment: what is wrong, in words.
            checked: True says that the comment names nobody.
            key: any word of yours; the same word for the same exchange stores nothing twice.

        Returns:
            `flag`, the number of the flag, and `case`, the id of its case.
        """
        person = self._parts.desk.person(request)
        return guarded(
            lambda: self._service.flag(
                person, exchange, arm, category, severity, comment, checked, key
            )
        )

    def facts(
        self,
        arm: str = "",
        mode: Mode = "reason",
        modality: str = "",
        kind: Literal["", "closed", "open", "choice", "report"] = "",
        form: Literal["json", "chai"] = "json",
    ) -> dict[str, Any]:
        """Say what a variant is for, what it was trained on and how accurate it was measured.

        Args:
            arm: as for ask.
            mode: inference mode of the figures.
            modality: "CT", "MRI", "ultrasound", ...: figures on these images alone; "" for all.
            kind: of question, of which figures are wanted; "" for all.
            form: "chai" adds the Applied Model Card of the Coalition for Health AI, as XML.

        Returns:
            `model`, `variant`, `label`, `revision`, `base`, `recipe`, `made` (the day, "" where
            not recorded), `intended_use`, `users`, `how_to_use`, `out_of_scope`, `training` (sets
            with `name` and `licence`), `rows` and `images` of it, `limits`, `mode`, and `measured`:
            for each kind of question `modality`, `kind`, `questions`, `by_people`, `value` (0 to
            1), `low` and `high` of the 95 % interval, `n` and `images`; empty where nothing was
            measured. With form "chai" also `chai`.
        """
        return guarded(lambda: self._labels.plain(arm, mode, modality, kind, form))

    def _asked(
        self,
        request: gr.Request,
        scans: Sequence[Any],
        text: str,
        arms: tuple[str, ...],
        mode: str,
        checked: bool,
        more: tuple[int, int, Sequence[str]],
    ) -> dict[str, Any]:
        contents = self._read(request, scans)
        return self._service.ask(
            self._parts.desk.person(request), contents, text, arms, mode, checked, *more
        )

    def _read(self, request: gr.Request, scans: Sequence[Any]) -> list[bytes]:
        """The bytes of what was uploaded."""
        files = [scans] if isinstance(scans, dict) else scans  # a single file is no list
        names = [str(file["path"]) for file in files if isinstance(file, dict) and "path" in file]
        return self._parts.uploads.read(names, caller_of(request))


def guarded(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Errors as Gradio hands them to clients: a sentence, and nothing that quotes anyone."""
    try:
        return work()
    except RarlError as error:
        raise gr.Error(str(error), print_exception=False) from None
    except Exception as error:
        log_fault("api", error)
        sentence = "Something went wrong on the server; its log says where."
        raise gr.Error(sentence, print_exception=False) from None
