"""The review API: the functions of `python -m rarl review` over Gradio's API.

Their descriptions, which clients show, are the docstrings below. No `annotations` import here:
Gradio reads the types themselves.
"""

from typing import Any

import gradio as gr
from gradio.events import api

from demo.api import guarded
from demo.context import Parts
from demo.pages.review.common import Chosen
from demo.pages.review.data_page import taken_in, written
from demo.serving.caller import caller_of
from rarl.review import flag_as_json


def add_review_api(parts: Parts) -> None:
    """Add the endpoints to the page that is being built."""
    of = ReviewApi(parts)
    for endpoint in (of.review_list, of.review_show, of.review_stats, of.review_export,
                     of.review_import):  # fmt: skip
        api(endpoint, api_name=endpoint.__name__)


class ReviewApi:
    """The endpoints; each asks for its right.

    Args:
        parts: of the app.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def review_list(
        self,
        request: gr.Request,
        arm: str = "",
        category: str = "",
        severity: str = "",
        modality: str = "",
        reader: str = "",
        text: str = "",
        since: str = "",
        until: str = "",
        limit: int = 50,
        offset: int = 0,
    ) -> dict[str, Any]:
        """List flags, newest first. Takes the role of a reader.

        Args:
            request: who asks; Gradio fills it in.
            arm: only of this variant; "" leaves everything in, here and below.
            category: key of the taxonomy.
            severity: key of the taxonomy.
            modality: DICOM modality, such as CT.
            reader: who flagged.
            text: occurs in comment, question or answer.
            since: first day, YYYY-MM-DD, UTC.
            until: last day.
            limit: maximum number to return.
            offset: number to skip, newest first.

        Returns:
            `total`, how many flags pass, and `flags`.
        """

        def work() -> dict[str, Any]:
            store = self._parts.desk.for_request(request)
            chosen = Chosen(
                text=text, arm=arm, category=category, severity=severity, modality=modality,
                reader=reader, since=since, until=until,
            ).flags()  # fmt: skip
            flags = store.flags(chosen, max(0, limit), max(0, offset))
            return {"total": store.count(chosen), "flags": [flag_as_json(flag) for flag in flags]}

        return guarded(work)

    def review_show(self, request: gr.Request, case: str) -> dict[str, Any]:
        """Show a case with its answers, flags and verdicts, without pixels. Takes a reader.

        Args:
            request: who asks; Gradio fills it in.
            case: its id, as `review_list` gives it.

        Returns:
            `case`, `flags` and `verdicts`.
        """

        def work() -> dict[str, Any]:
            from rarl.review.summary import whole_case  # which loads scipy

            return whole_case(self._parts.desk.for_request(request), case)

        return guarded(work)

    def review_stats(self, request: gr.Request) -> dict[str, Any]:
        """Counts of flags, progress, agreement between readers, rates from audits. Takes a reader.

        Args:
            request: who asks; Gradio fills it in.

        Returns:
            `flags`, `counts`, `statuses`, `progress`, `agreement` and `audits`.
        """

        def work() -> dict[str, Any]:
            from rarl.review.summary import overview  # which loads scipy

            store = self._parts.desk.for_request(request)
            store.need("queue")
            return overview(store)

        return guarded(work)

    def review_export(
        self,
        request: gr.Request,
        form: str = "jsonl",
        pixels: bool = True,
        arm: str = "",
        category: str = "",
        severity: str = "",
        modality: str = "",
        reader: str = "",
        text: str = "",
        since: str = "",
        until: str = "",
    ) -> dict[str, Any]:
        """Export everything, or the cases with a flag that passes. Takes an admin.

        Args:
            request: who asks; Gradio fills it in.
            form: "table", "jsonl", "csv", "parquet", "datasets" or "preferences".
            pixels: whether pictures go along.
            arm: as for `review_list`, and so are the others.
            category: key of the taxonomy.
            severity: key of the taxonomy.
            modality: DICOM modality, such as CT.
            reader: who flagged.
            text: occurs in comment, question or answer.
            since: first day, YYYY-MM-DD, UTC.
            until: last day.

        Returns:
            `address`, from the app's own, that gives the file once, within ten minutes.
        """

        def work() -> dict[str, Any]:
            store = self._parts.desk.for_request(request)
            chosen = Chosen(
                text=text, arm=arm, category=category, severity=severity, modality=modality,
                reader=reader, since=since, until=until,
            ).flags()  # fmt: skip
            file = written(store, self._parts.downloads, form, chosen, pixels)
            return {"address": self._parts.downloads.address(file)}

        return guarded(work)

    def review_import(self, request: gr.Request, export: gr.FileData) -> dict[str, Any]:
        """Read an export back. Takes an admin.

        Args:
            request: who asks; Gradio fills it in.
            export: the uploaded .jsonl or .zip.

        Returns:
            How many rows of each table are new.
        """

        def work() -> dict[str, Any]:
            store = self._parts.desk.for_request(request)
            store.need("import")
            name = str(export["path"])  # type: ignore[index]
            upload = self._parts.uploads.file(name, caller_of(request))
            return dict(taken_in(store, self._parts.downloads, upload))

        return guarded(work)
