"""Provenance of the answers on the page: prompt, settings, revisions and raw output."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from demo.pages.render import picture_url
from demo.session import Asked
from demo.templating import render_template
from rarl import __version__
from rarl.errors import QuestionError
from rarl.inference.engine import Decoding, Engine, Seen, Verbatim
from rarl.prompts import messages, prompt_hash, words_of

# A word that stands in the prompt, and no tag.
_PICTURE = "<" + "picture>"


def prompt_of(asked: Asked, arm: str) -> list[dict[str, object]]:
    """The turns as they are handed to the model's own chat template, for one arm."""
    question = asked.question
    chats = any(info.chats for info in asked.arms if info.name == arm)
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
                "seen_width": facts.image.width,
                "seen_height": facts.image.height,
                "seen_sha256": _hash(facts.image.tobytes()),
                "image_tokens": facts.tokens,
                "shown": asdict(shown),
            }
            for named, facts, shown in zip(question.images, seen, asked.shown, strict=True)
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
    question = asked.question
    pictures = [
        {
            "name": named.name,
            "given": named.image,
            "seen": facts.image,
            "tokens": facts.tokens,
            "address": picture_url(facts.image),
        }
        for named, facts in zip(question.images, seen, strict=True)
    ]
    prompts: dict[str, list[str]] = {}
    for arm in asked.arms:
        prompts.setdefault(texts[arm.name], []).append(arm.label)
    return render_template(
        "ask/behind.html",
        context=_context(asked),
        prompts=prompts,
        pictures=pictures,
        decoding=_decoding(question.decoding),
        model=asked.model_name,
        arms=asked.arms,
        number=asked.number,
        facts=json.dumps(facts(asked, seen, texts), ensure_ascii=False),
    )


def _decoding(decoding: Decoding) -> str:
    if decoding.temperature == 0:
        return f"greedy, at most {decoding.max_new_tokens} tokens"
    return (
        f"temperature {decoding.temperature:g}, at most {decoding.max_new_tokens} tokens, "
        f"seed {decoding.seed}"
    )


def _context(asked: Asked) -> str:
    """Which variants read the earlier turns; "" where there are none."""
    if not asked.question.earlier:
        return ""
    reading = [arm.label for arm in asked.arms if arm.chats]
    alone = [arm.label for arm in asked.arms if not arm.chats]
    sentences = []
    if reading:
        sentences.append(f"{', '.join(reading)} read the earlier turns, each with its own answers.")
    if alone:
        sentences.append(f"{', '.join(alone)} read this question alone.")
    return " ".join(sentences)


def _as_text(turns: Sequence[dict[str, Any]]) -> str:
    """Turns as a person reads them."""
    lines = []
    for turn in turns:
        parts = (part.get("text", _PICTURE) for part in turn["content"])
        lines.append(f"{turn['role']}: {' '.join(parts)}")
    return "\n".join(lines)


def _hash(pixels: bytes) -> str:
    return hashlib.sha256(pixels).hexdigest()
