"""Provenance of the answers on the page: prompt, settings, revisions and raw output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from markupsafe import Markup

from demo.pages.render import picture_url
from demo.session import Asked
from rarl import __version__
from rarl.errors import QuestionError
from rarl.inference.engine import Engine, Seen, Verbatim
from rarl.prompts import messages, prompt_hash, words_of

# A word that stands in the prompt, and no tag.
_PICTURE = "<" + "picture>"


def prompt_of(asked: Asked, arm: str) -> list[dict[str, object]]:
    """The turns as they are handed to the model's own chat template, for one arm."""
    question = asked.question
    chats = any(one.chats for one in asked.arms if one.name == arm)
    earlier = [
        (words_of(turn), turn.answers[arm])
        for turn in question.earlier
        if chats and arm in turn.answers
    ]
    names = [image.name for image in question.images]
    return messages(words_of(question), names, earlier)


def texts_of(engine: Engine, asked: Asked) -> dict[str, str]:
    """The very text that each arm read; the turns where a model elsewhere writes the text."""
    texts = {}
    for arm in asked.arms:
        text = ""
        if isinstance(engine, Verbatim):
            # One arm of several may run on a server.
            with suppress(QuestionError):
                text = engine.prompt(asked.question, arm.name)
        texts[arm.name] = text or _as_text(prompt_of(asked, arm.name))
    return texts


def facts(asked: Asked, seen: Sequence[Seen], texts: Mapping[str, str]) -> dict[str, Any]:
    """What is shown and copied, as plain JSON; pixels by their hashes.

    Args:
        asked: the exchange.
        seen: what the model gets of each of its pictures.
        texts: arm to the text of its prompt.
    """
    question = asked.question
    return {
        "question": asked.typed,
        "mode": question.mode,
        "prompt": dict(texts),
        "prompt_hash": prompt_hash(question.mode, len(question.images), bool(question.options)),
        "pictures": [
            {
                "name": named.name,
                "width": named.image.width,
                "height": named.image.height,
                "sha256": _hash(named.image.convert("RGB").tobytes()),
                "seen_width": one.image.width,
                "seen_height": one.image.height,
                "seen_sha256": _hash(one.image.tobytes()),
                "image_tokens": one.tokens,
                "shown": asdict(shown),
            }
            for named, one, shown in zip(question.images, seen, asked.shown, strict=True)
        ],
        "decoding": asdict(question.decoding),
        "model": asked.model_name,
        "arms": [asdict(arm) for arm in asked.arms],
        "answers": [
            {
                "arm": answer.arm,
                "text": answer.response.text,
                "problems": list(answer.problems),
                "tokens": answer.tokens,
                "seconds": round(answer.seconds, 3),
                "stopped": answer.stopped,
                "failure": answer.failure,
                "note": answer.note,
            }
            for answer in asked.answers
        ],
        "rarl": __version__,
    }


def behind_view(asked: Asked, seen: Sequence[Seen], texts: Mapping[str, str]) -> str:
    """The inside of the drawer; the arguments are those of `facts`."""
    told = facts(asked, seen, texts)
    decoding = asked.question.decoding
    way = "greedy" if decoding.temperature == 0 else f"temperature {decoding.temperature:g}"
    weights = Markup().join(
        Markup("<tr><th scope='row'>{}</th><td><code>{}</code></td></tr>").format(
            arm.label, arm.revision
        )
        for arm in asked.arms
    )
    pictures = Markup().join(
        Markup(
            '<figure><img src="{}" alt="What the model got of the {}"><figcaption>{}: '
            "{} × {} pixels, given to the model as {} × {}: {} image "
            "tokens</figcaption></figure>"
        ).format(
            picture_url(one.image),
            named.name,
            named.name.capitalize(),
            named.image.width,
            named.image.height,
            one.image.width,
            one.image.height,
            one.tokens,
        )
        for named, one in zip(asked.question.images, seen, strict=True)
    )
    prompts: dict[str, list[str]] = {}
    for arm in asked.arms:
        prompts.setdefault(texts[arm.name], []).append(arm.label)
    listed = Markup().join(
        Markup("<p>{}</p><pre>{}</pre>").format(", ".join(labels), text)
        for text, labels in prompts.items()
    )
    return Markup(
        "<h3>Prompt</h3>{}{}<p>The placeholder of a picture stands for as many tokens as "
        "are counted above.</p><h3>Pixels</h3>{}<h3>Decoding</h3><p>{}, at most {} "
        "tokens{}</p><h3>Weights</h3><p>{}</p><table>{}</table><p "
        'class="drawer-actions"><button type="button" class="ghost" '
        'data-page="copy" data-copy="facts">Copy as JSON</button><button '
        'type="button" class="ghost" data-page="copy" data-copy="link" '
        'data-number="{}">Copy link to this case</button></p><p>The link opens '
        "this case again in this tab, for as long as its scan is open.</p><pre "
        'class="facts-json" hidden>{}</pre>'
    ).format(
        _context(asked),
        listed,
        pictures,
        way,
        decoding.max_new_tokens,
        "" if decoding.temperature == 0 else f", seed {decoding.seed}",
        asked.model_name,
        weights,
        asked.number,
        json.dumps(told, ensure_ascii=False),
    )


def _context(asked: Asked) -> str:
    if not asked.question.earlier:
        return ""
    reading = [arm.label for arm in asked.arms if arm.chats]
    alone = [arm.label for arm in asked.arms if not arm.chats]
    told = []
    if reading:
        told.append(f"{', '.join(reading)} read the earlier turns, each with its own answers.")
    if alone:
        told.append(f"{', '.join(alone)} read this question alone.")
    return Markup("<p>{}</p>").format(" ".join(told))


def _as_text(turns: Sequence[dict[str, Any]]) -> str:
    """Turns as a person reads them."""
    lines = []
    for turn in turns:
        parts = (part.get("text", _PICTURE) for part in turn["content"])
        lines.append(f"{turn['role']}: {' '.join(parts)}")
    return "\n".join(lines)


def _hash(pixels: bytes) -> str:
    return hashlib.sha256(pixels).hexdigest()
