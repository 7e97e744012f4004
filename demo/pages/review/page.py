"""The Review page: the reader's role, and one tab for each kind of work."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from demo.authentication import Person, SignIn
from demo.context import NOW, QUIET, Parts, Update, labelled
from demo.pages.components import panel
from demo.pages.report.opening import ReportOpening
from demo.pages.review.charts_page import charts_page
from demo.pages.review.common import guarded
from demo.pages.review.data_page import data_page
from demo.pages.review.queue_page import queue_page
from demo.pages.review.studies_page import studies_page
from demo.templating import render_template
from rarl.review import Queue, ReviewStore
from rarl.review.repositories.flags import By
from rarl.review.roles import may


def review_page(parts: Parts, session: gr.State, tab: gr.Tab, opening: ReportOpening) -> None:
    """Lay out the page and wire it; what a person may not do is refused by the store itself."""
    with gr.Column(elem_id="review-page"):
        with gr.Row(elem_id="review-who"):
            who = panel(elem_id="who")
            if parts.desk.sign_in.way == "huggingface":
                gr.LoginButton(elem_id="sign-in")
        trouble = panel(elem_id="review-trouble")
        with gr.Tabs(elem_id="review-tabs", visible=False) as tabs:
            with gr.Tab("Queue", id="queue"):
                queue = queue_page(parts, session, opening)
            with gr.Tab("Charts", id="charts") as charts:
                charts_page(parts, charts, tabs, queue)
            with gr.Tab("Studies", id="studies") as studies:
                studies_page(parts, session, studies, tabs, queue, parts.downloads)
            with gr.Tab("Data", id="data", visible=False) as data:
                data_page(parts, data, queue, parts.downloads)

    def arrived(request: gr.Request) -> Update:
        person = parts.desk.person(request)
        if not may(person.role, "queue"):
            return {who: closed_view(person, parts.desk.sign_in), tabs: gr.Tabs(visible=False)}

        def work() -> Update:
            store = parts.desk.for_request(request)
            return {
                who: render_template("review/who.html", person=person),
                tabs: gr.Tabs(visible=True),
                data: gr.Tab(visible=may(person.role, "export")),
                **dict(zip(queue.choices, filter_choices(store, parts), strict=True)),
            }

        return guarded(trouble, "review", work)

    tab.select(arrived, None, [who, trouble, tabs, data, *queue.choices], **NOW).then(
        queue.refresh, queue.inputs, queue.outputs, **QUIET
    )


def filter_choices(store: ReviewStore, parts: Parts) -> list[gr.Dropdown]:
    """What each filter offers, in the order of `QueuePage.choices`."""
    from rarl.review.studies import Studies  # which loads scipy

    def seen(by: By) -> list[tuple[str, str]]:
        values = {count.values[0] for count in store.counts([by])}
        return [(value, value) for value in sorted(word for word in values if word)]

    def keys(by: By, labels: Mapping[str, str]) -> list[tuple[str, str]]:
        """The site's list, and what earlier flags say that is no longer on it."""
        offered = store.taxonomy.categories if by == "category" else store.taxonomy.severities
        earlier = [key for key, _ in seen(by) if key not in dict(offered)]
        return labelled((*offered, *((key, labels.get(key, key)) for key in earlier)))

    audits = [study for study in Studies(store).all() if study.kind == "audit"]
    offered: list[tuple[str, list[tuple[str, str]]]] = [
        ("Flagged answers", [(f"Audit: {audit.title}", audit.id) for audit in audits]),
        ("All variants", [(arm.label, arm.name) for arm in parts.arms()]),
        ("All kinds", keys("category", store.taxonomy.category_labels())),
        ("Any severity", keys("severity", store.taxonomy.severity_labels())),
        ("Any modality", seen("modality")),
        ("Flagged by", seen("reader")),
        ("Given to", [(reader.reader, reader.reader) for reader in Queue(store).progress()]),
    ]
    return [gr.Dropdown([(every, ""), *choices]) for every, choices in offered]


def closed_view(person: Person, sign_in: SignIn) -> str:
    """What somebody sees who may not see the cases of others."""
    how = {
        "local": "The site has set up no sign-in: open the address that the app has printed when "
        "it started, with the key at its end.",
        "htpasswd": "Ask an administrator of this site for the role of reader.",
        "huggingface": "Sign in above; the site's list says who is a reader.",
        "header": "Ask an administrator of this site for the role of reader.",
    }[sign_in.way]
    return render_template(
        "review/closed.html", name=person.name, how=how, sign_out=sign_out(sign_in)
    )


def sign_out(sign_in: SignIn) -> str:
    """A button, where people sign in with a password."""
    return render_template("frame/sign_out.html") if sign_in.way == "htpasswd" else ""
