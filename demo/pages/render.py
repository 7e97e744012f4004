"""HTML that several pages show: sentences, pictures, facts of a scan and what concerns flags.

The markup stands in `demo/templates`, which escape all text from outside. It goes into components
whose template is `${value}` and nothing else: Gradio runs a template through Handlebars and then
evaluates it as JavaScript, so model text must reach it only as a value, never as part of a
template.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup
from PIL import Image

from demo.services.examples import OpenedExample
from demo.session import OpenScan, Session
from demo.templating import render_template
from rarl.review import Flag

ONE_PICTURE = (
    "This model was trained on one picture at a time: whether it uses the others was not measured."
)

NAMELESS = (
    "The app was restarted since this scan was opened: what you type is no longer compared with "
    "the names in its header."
)

_LABELS = {"base": "Base", "sft": "SFT", "rl": "RL", "rarl": "RARL"}

# The long side that the page shows; the model and the store always get the full scan.
_SHOWN_SIDE = 1400
_THUMBNAIL_SIDE = 144
_FACT_WORDS = {
    "BodyPartExamined": "{}",
    "ViewPosition": "{} view",
    "PatientAge": "{} years",
    "PatientSex": "sex {}",
    "ImageLaterality": "side {}",
    "Laterality": "side {}",
}


def label_of(arm: str) -> str:
    """What the interface calls an arm it knows only by name."""
    return _LABELS.get(arm, arm)


def picture_url(image: Image.Image, side: int = _SHOWN_SIDE) -> str:
    """The picture inside its own address, so that no copy of it lies in Gradio's cache."""
    shown = image
    if max(image.size) > side:
        shown = image.copy()
        shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=3)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def short_name(model_name: str) -> str:
    """The name without the folders before it; a Hub name keeps its owner."""
    path = Path(model_name)
    return path.name if path.is_absolute() or path.exists() else model_name


def sentence(text: str, tone: str = "trouble") -> str:
    """A sentence of its own, or nothing."""
    return render_template("sentence.html", text=text, tone=tone) if text else ""


def facts(session: Session, sentence: str = "", single: bool = False) -> str:
    """The quiet line under the scan; above it, a sentence on a file that could not be opened.

    Args:
        session: whose scans it is about.
        sentence: what went wrong, or "".
        single: whether the model was trained on questions about one picture alone.
    """
    scan = session.active
    return render_template(
        "ask/scan_facts.html",
        sentence=sentence,
        scan=scan,
        words=_facts_of(scan) if scan else (),
        one_picture=ONE_PICTURE if single and len(session.scans) > 1 else "",
        cautions=[*scan.stack.warnings, *([NAMELESS] if scan.nameless else [])] if scan else (),
    )


def _facts_of(scan: OpenScan) -> list[str]:
    """Where the scan comes from, and what its header says of it."""
    stack = scan.stack
    words = [scan.source, stack.modality or stack.format.upper()]
    for key, form in _FACT_WORDS.items():
        if stack.attributes.get(key):
            value = stack.attributes[key].split(",")[0]
            words.append(form.format(value if "{} " in form else value.capitalize()))
    rows, columns = stack.shape()
    words.append(f"{columns} × {rows}")
    return [word for word in words if word]


def example_strip(examples: Iterable[OpenedExample]) -> str:
    """Thumbnails that put a scan and a question on the page."""
    cards = []
    for opened in examples:
        thumbnail = opened.thumbnail.copy()
        thumbnail.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
        cards.append({"example": opened.example, "address": picture_url(thumbnail)})
    return render_template("ask/examples.html", cards=cards)


def chips(questions: Sequence[str]) -> str:
    """Suggested questions."""
    return render_template("ask/chips.html", questions=questions)


def doubt(sentences: Sequence[str], where: str) -> str:
    """Ask whether words that look like somebody's identity shall stay.

    Args:
        sentences: what was found.
        where: "the question", "the comment" or "the picture".
    """
    return render_template("ask/doubt.html", sentences=sentences, where=where)


def flag_heading(session: Session, corrects: bool = False) -> str:
    """What is being flagged, or flagged better: whose answer, and the answer itself."""
    asked, arm = session.asked, session.flagging
    if asked is None or arm is None:
        return ""
    answers = (answer.response.answer for answer in asked.answers if answer.arm == arm)
    return render_template(
        "ask/flag_heading.html",
        label=next((known.label for known in asked.arms if known.name == arm), label_of(arm)),
        question=asked.typed,
        pictures=" · ".join(asked.picture_words()),
        answer=next(answers, ""),
        corrects=corrects,
    )


def scans_closed() -> Markup:
    """What a reader may want to take back after a scan was removed or replaced."""
    return render_template("ask/scans_closed.html")


def flag_saved(flag: Flag, correctable: bool = False) -> str:
    """The confirmation of a flag, with a way back into it."""
    return render_template("ask/flag_saved.html", flag=flag, correctable=correctable)
