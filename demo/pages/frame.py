"""The frame around the pages: masthead, state of the model, notice and footer."""

from __future__ import annotations

import shlex

from demo.pages.render import label_of, short_name
from demo.services.engine_loader import EngineLoader
from demo.templating import render_template

TRAIN = (
    "for arm in sft rl rarl; do python -m rarl train $arm --model {} --data vqa_rad "
    "--out adapters/$arm; done"
)


def masthead(sign_out: str = "") -> str:
    """A link over the tab stops, logo, name and the theme switch.

    Args:
        sign_out: the form that signs out, where people sign in with a password.
    """
    return render_template("frame/masthead.html", sign_out=sign_out)


def engine_pill(loader: EngineLoader) -> str:
    """Where the model stands, in one quiet word or a sentence."""
    without = ", ".join(label_of(arm) for arm in loader.missing)
    engine = loader.engine
    return render_template(
        "frame/engine_pill.html",
        waiting=loader.phase == "loading" and not loader.sentence,
        loaded=engine is not None,
        trouble=loader.sentence,
        name=short_name(engine.model_name) if engine else "",
        lacks=f", without {without}" if without else "",
    )


def notice() -> str:
    """Said once on entry; the footer keeps it."""
    return render_template("frame/notice.html")


def footer(loader: EngineLoader) -> str:
    """The lasting notice, and what the loaded model is."""
    engine, about, command = loader.engine, "", ""
    if engine is not None:
        name = short_name(engine.model_name)
        about = (
            "pocket is a small teaching model of 140 million parameters; it is often wrong."
            if name == "pocket"
            else f"Model: {name}. Its answers can be wrong, and sound right."
        )
        if any(arm.mode and arm.revision for arm in engine.arms):
            # Weights at hand, and nothing trained from them.
            command = TRAIN.format(shlex.quote(engine.model_name))
    return render_template(
        "frame/footer.html", about=about, command=command, missing=loader.missing.values()
    )
