"""`python short_of_memory.py MODEL`: ask where the process may not have the memory it takes.

Prints one JSON object: case to what came of it.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

from rarl.errors import ModelError
from rarl.inference.engine import Answer, Decoding, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import LoadedModel, load_model

ROOM = 45_000_000  # bytes


@contextmanager
def little_room() -> Iterator[None]:
    """Let the process grow by no more than `ROOM`, small objects apart."""
    spare = [bytes(100_000) for _ in range(200)]
    del spare
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def end_soon(loaded: LoadedModel) -> None:
    """End every answer after six tokens, so that a high limit costs room and no time."""
    last = 0

    def before(_module: object, _args: object, told: dict[str, Any]) -> None:
        nonlocal last, over
        place = int(told["position_ids"].max())
        if told["inputs_embeds"].shape[1] > 1:
            last = place + 6
        over = place >= last

    def after(_module: object, _args: object, out: object) -> None:
        if over and isinstance(out, torch.Tensor) and out.shape[-1] == words:
            out[..., loaded.end_ids[0]] = 1e6

    over = False
    words = loaded.base.config.get_text_config().vocab_size
    loaded.base.model.language_model.register_forward_pre_hook(before, with_kwargs=True)
    register_module_forward_hook(after)


def question(side: int, tokens: int, *arms: str) -> Question:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side), dtype=np.uint8)
    picture = NamedImage(Image.fromarray(pixels))
    return Question((picture,), "Is it new?", arms, "reason", Decoding(tokens))


def streamed(engine: LocalEngine, question: Question) -> tuple[Answer, ...]:
    *_, last = engine.stream(question)
    return last


def said(ask: Callable[[], tuple[Answer, ...]]) -> list[list[str]] | str:
    """Text, note and failure of each answer; or why there is none."""
    try:
        answers = ask()
    except ModelError as error:
        return str(error)
    assert all(answer.done and not answer.stopped for answer in answers)
    return [[answer.response.text, answer.note, answer.failure] for answer in answers]


def main(model: str) -> None:
    loaded = load_model(model, device="cpu")
    loaded.processor.image_processor.size["longest_edge"] = 10**8
    end_soon(loaded)
    engine = LocalEngine(loaded)
    short = question(56, 200, "base", "sft", "rarl")
    # Room for one row, not for three; then not for one either.
    long, too_long = (replace(short, decoding=Decoding(n)) for n in (50_000, 500_000))
    (plain,) = engine.answer_batch([short])
    found: dict[str, object] = {"plain": said(lambda: plain)}
    with little_room():
        found["pixels"] = said(lambda: streamed(engine, question(1400, 8, "sft", "rarl")))
    with little_room():
        found["arms"] = said(lambda: streamed(engine, long))
        found["batch"] = said(lambda: engine.answer_batch([long])[0])
        found["nothing"] = said(lambda: streamed(engine, too_long))
        found["no batch"] = said(lambda: engine.answer_batch([too_long])[0])
        found["after"] = said(lambda: streamed(engine, short))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
