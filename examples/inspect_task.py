"""RARL's sets as a task of inspect_ai, so that inspect_ai asks any model about them.

    pip install inspect_ai
    inspect eval examples/inspect_task.py -T data=vqa_rad:test --model openai/gpt-4o

The prompt, the reading of the answer and the scoring are RARL's own, so that the figures can stand
beside those of `rarl evaluate`. Variants of a local model need an OpenAI-compatible server.
"""

from __future__ import annotations

import base64

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ContentImage,
    ContentReasoning,
    ContentText,
    GenerateConfig,
)
from inspect_ai.scorer import CORRECT, INCORRECT, Score, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

from rarl.data.example import Example
from rarl.evaluation.asked import asked_under
from rarl.evaluation.row_scores import score
from rarl.evaluation.run import select
from rarl.prompts import messages, user_text
from rarl.response import MODES
from rarl.text.choice import LETTERS


@task
def rarl(data: str = "vqa_rad:test", mode: str = "reason", limit: int | None = None, seed: int = 0):
    """One set of RARL.

    Args:
        data: NAME or NAME:SPLIT, as `rarl evaluate --data` takes it.
        mode: reason, answer or answer-then-reason.
        limit: at most so many questions, drawn with the seed.
        seed: of the draw and of the order of options.
    """
    if mode not in MODES:
        raise ValueError(f"There is no mode {mode!r}; choose from {', '.join(MODES)}.")
    chosen = select(data, limit, seed)
    examples = {example.id: example for example in chosen.examples}
    return Task(
        dataset=MemoryDataset(
            [_sample(example, mode, seed) for example in examples.values()],
            name=f"{chosen.source}:{chosen.split}",
        ),
        solver=generate(),
        scorer=exact(examples, mode, seed),
        config=GenerateConfig(temperature=0.0, max_tokens=512, seed=seed),
        metadata={"set": chosen.source, "split": chosen.split, "mode": mode},
    )


@scorer(metrics=[accuracy(), stderr()])
def exact(examples: dict[str, Example], mode: str, seed: int):
    """Exact match after normalisation; of several options the one that is named, and no other."""

    async def scored(state: TaskState, target: Target) -> Score:
        example = examples[str(state.sample_id)]
        asked = asked_under(example, "scan", seed)
        scores = score(_raw_text(state.output.message), mode, example, "scan", asked)
        return Score(
            value=CORRECT if scores["exact"] else INCORRECT,
            answer=scores["answer"],
            explanation=scores["reasoning"],
            metadata={name: scores[name] for name in ("f1", "ambiguous", "facts_covered")},
        )

    return scored


def _raw_text(message: ChatMessageAssistant) -> str:
    """What the model wrote: inspect_ai takes the think block out of the text."""
    if isinstance(message.content, str):
        return message.content
    return "".join(
        f"<think>{part.reasoning}</think>" if isinstance(part, ContentReasoning) else part.text
        for part in message.content
        if isinstance(part, ContentReasoning | ContentText)
    )


def _sample(example: Example, mode: str, seed: int) -> Sample:
    asked = asked_under(example, "scan", seed)
    (turn,) = messages(
        user_text(asked.text, mode, options=asked.options), [""] * len(example.images)
    )
    images = iter(example.images)
    content = [
        ContentImage(image=_data_url(next(images).read()))
        if part["type"] == "image"
        else ContentText(text=part["text"])
        for part in turn["content"]
    ]
    target = asked.reference
    if asked.options:
        target = LETTERS[asked.options.index(asked.reference)]
    return Sample(
        id=example.id,
        input=[ChatMessageUser(content=content)],
        target=target,
        choices=list(asked.options) or None,
        metadata={"modality": example.modality, "organ": example.organ, "kind": example.kind},
    )


def _data_url(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
