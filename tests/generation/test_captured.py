"""The path of fixed shapes computes what the library's layers compute, rows come and go in it.

On the CPU the same code runs without a graph around it; the tests marked `gpu` capture it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rarl.generation import captured
from rarl.generation.captured import Bucket, CannotCaptureError, StaticDecoder, bucket
from rarl.generation.decoder import Decoder, Prompt
from rarl.generation.multi_lora import MultiLora
from rarl.generation.rollout import roll_out
from rarl.generation.sampling import PolicyDraw, RowDraw, Sampler
from rarl.inference.engine import Answer, Decoding, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import LoadedModel, load_model

EVERY = ("base", "sft", "rl", "rarl")
TEXTS = ("Why?", "Is the heart of normal size?", "Is there a fracture, and on which side is it?")
MakePrompt = Callable[..., Prompt]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is present")


def texts(answers: tuple[Answer, ...]) -> list[tuple[str, str, int, bool]]:
    return [(a.arm, a.response.text, a.tokens, a.stopped) for a in answers]


def picture(seed: int, size: tuple[int, int] = (60, 50)) -> NamedImage:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    return NamedImage(Image.fromarray(pixels))


def questions() -> list[Question]:
    drawn = Decoding(max_new_tokens=9, temperature=0.8, top_p=0.9, seed=3)
    return [
        Question((picture(0),), "Why?", EVERY, decoding=Decoding(20)),
        Question((picture(1, (200, 30)),), "Is the heart of normal size?", ("rl",), "answer"),
        Question((picture(2),), "What is this?", ("base", "rarl"), decoding=drawn),
        Question((picture(2),), "What is this?", ("base", "rarl"), decoding=replace(drawn, seed=4)),
        Question((picture(3), picture(0)), "What changed?", ("sft", "rl"), decoding=Decoding(1)),
    ]


def greedy(loaded: LoadedModel, rows: int) -> RowDraw:
    forbidden = torch.tensor(loaded.forbidden_ids, device=loaded.device)
    return RowDraw([Sampler(Decoding())] * rows, forbidden)


@torch.no_grad()
def test_each_step_has_the_scores_of_the_library(
    tiny_loaded: LoadedModel, read_prompt: MakePrompt
) -> None:
    adapters = MultiLora(tiny_loaded.model, list(tiny_loaded.adapters))
    prompt = read_prompt(tiny_loaded, TEXTS)
    arms: list[str | None] = ["sft", None, "rarl"]
    batches, heads = [], []
    for fixed in (False, True):
        decoder = Decoder(tiny_loaded.base, adapters, captured=fixed)
        batch = decoder.read(prompt, [1, 1, 1], arms, greedy(tiny_loaded, 3), 12)
        scores: list[torch.Tensor] = []
        batch.draw = _Recording(batch.draw, scores)
        rows = decoder.start(batch)
        with rows.running():
            for _ in range(10):
                rows.advance()
        batches.append(batch.draw.tokens)
        heads.append(torch.stack(scores))
    assert batches[0] == batches[1]
    assert float((heads[0] - heads[1]).abs().max()) < 2e-5
    assert float(heads[0].std()) > 0.1, "or this would show nothing"


class _Recording:
    """A draw that keeps the scores and tokens."""

    synchronises = False

    def __init__(self, draw: RowDraw, scores: list[torch.Tensor]) -> None:
        self._draw = draw
        self._scores = scores
        self.tokens: list[list[int]] = []

    def __call__(self, scores: torch.Tensor) -> torch.Tensor:
        self._scores.append(scores.clone())
        drawn = self._draw(scores)
        self.tokens.append(drawn.tolist())
        return drawn


@pytest.mark.parametrize("batch_rows", [3, 32])
def test_answers_in_fixed_shapes_are_the_same(tiny_loaded: LoadedModel, batch_rows: int) -> None:
    """Rows of several lengths and variants join, end at different steps and leave."""
    plain = LocalEngine(tiny_loaded).answer_batch(questions())
    fixed = LocalEngine(tiny_loaded, batch_rows, captured=True)
    assert [texts(a) for a in fixed.answer_batch(questions())] == [texts(a) for a in plain]
    # Buckets that were used before are used again.
    assert [texts(a) for a in fixed.answer_batch(questions())] == [texts(a) for a in plain]
    with ThreadPoolExecutor(4) as pool:
        streamed = list(pool.map(lambda question: list(fixed.stream(question))[-1], questions()))
    assert [texts(a) for a in streamed] == [texts(a) for a in plain]


def test_rows_move_between_buckets_as_they_join_and_leave(
    tiny_loaded: LoadedModel, read_prompt: MakePrompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured, "_LENGTH", 32)  # so that short prompts fill several
    monkeypatch.setattr(captured, "_ROWS", (1, 4, 8))
    decoder = Decoder(tiny_loaded.base, captured=True)
    sizes: list[tuple[int, int]] = []
    with torch.inference_mode():
        alone = []
        for text in TEXTS:
            batch = decoder.read(
                read_prompt(tiny_loaded, [text]), [1], [None], greedy(tiny_loaded, 1), 40
            )
            written = [batch.tokens[0]]
            rows = decoder.start(batch)
            for tokens in rows.steps(24):
                written += tokens
            rows.close()
            alone.append(written)
        first = decoder.read(
            read_prompt(tiny_loaded, TEXTS[:1]), [1], [None], greedy(tiny_loaded, 1), 8
        )
        together = [[first.tokens[0]], [], []]
        rows = decoder.start(first)
        sizes.append((rows._bucket.rows, rows._bucket.length))
        for (tokens,) in (rows.steps(1) for _ in range(3)):
            together[0].append(tokens[0])
        others = decoder.read(
            _part(read_prompt(tiny_loaded, TEXTS), 1),
            [1, 1],
            [None, None],
            greedy(tiny_loaded, 2),
            40,
        )
        for place, token in zip((1, 2), others.tokens, strict=True):
            together[place].append(token)
        rows.join(others)
        sizes.append((rows._bucket.rows, rows._bucket.length))
        for tokens in rows.steps(3):
            for place, token in enumerate(tokens):
                together[place].append(token)
        rows.take([2])
        sizes.append((rows._bucket.rows, rows._bucket.length))
        for tokens in rows.steps(12):
            together[2].append(tokens[0])
    # Pictures follow the place in the batch, so the first text alone has the picture it has here.
    assert together[0] == alone[0][: len(together[0])]
    assert sizes[0][0] == 1 and sizes[1][0] == 4 and sizes[2][0] == 1
    assert sizes[1][1] > sizes[0][1]


def _part(prompt: Prompt, first: int) -> Prompt:
    """The prompts from the first on."""
    each = int(prompt.kinds[0].sum())
    assert prompt.features is not None
    return Prompt(
        prompt.ids[first:],
        prompt.mask[first:],
        prompt.kinds[first:],
        prompt.positions[:, first:],
        prompt.features[first * each :],
    )


@pytest.mark.parametrize("counts", [(4, 4, 4), (3, 1, 2)])
def test_rollouts_are_the_same_on_both_paths(
    tiny_loaded: LoadedModel, read_prompt: MakePrompt, counts: tuple[int, ...]
) -> None:
    """Shared prompts on the eager path, copies in slots on the other: the same samples."""
    adapters = MultiLora(tiny_loaded.model, list(tiny_loaded.adapters))
    prompt = read_prompt(tiny_loaded, TEXTS)
    made = []
    for fixed in (False, True):
        decoder = Decoder(tiny_loaded.base, adapters, captured=fixed)
        torch.manual_seed(3)
        made.append(
            roll_out(
                decoder,
                prompt,
                counts,
                "rarl",
                20,
                tiny_loaded.end_ids,
                lambda _, logits: logits,
                forbidden=tiny_loaded.forbidden_ids,
            )
        )
    assert made[0].ids == made[1].ids
    assert len({tuple(ids) for ids in made[0].ids}) == sum(counts)
    torch.testing.assert_close(
        made[0].log_probabilities, made[1].log_probabilities, atol=2e-5, rtol=0
    )


def test_what_cannot_be_captured_goes_on_eagerly(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise CannotCaptureError("this device captures no graphs")

    plain = LocalEngine(tiny_loaded).answer_batch(questions())
    monkeypatch.setattr(StaticDecoder, "lend", refuse)
    engine = LocalEngine(tiny_loaded, captured=True)
    assert [texts(a) for a in engine.answer_batch(questions())] == [texts(a) for a in plain]
    assert [r.message for r in caplog.records] == [
        "Decoding runs without a CUDA graph: this device captures no graphs"
    ]


def test_buckets_hold_what_they_are_for() -> None:
    for rows in (1, 2, 5, 31, 32, 33, 100):
        for tokens in (1, 255, 256, 257, 3000):
            some, length = bucket(rows, tokens)
            assert some >= rows and length >= tokens
            assert some <= max(4 * rows, 4) and length < 2 * max(tokens, 256)


def test_a_row_that_ended_stays_in_its_slot(tiny_loaded: LoadedModel) -> None:
    """It runs on until it leaves, and must not write into its neighbour's keys."""
    with torch.inference_mode():
        lent = Bucket(tiny_loaded.base, None, 4, 256)
        lent.places[:] = torch.tensor([255, 3, 255, 3])
        lent.compute()
        assert float(lent.keys[:, 1, 4:].abs().max()) == 0
        assert float(lent.keys[:, 0, 255].abs().max()) > 0


@pytest.fixture(scope="module")
def on_gpu(tiny_model: object) -> LoadedModel:
    """The tiny model in float32 on the device."""
    loaded = load_model(str(tiny_model), device="cuda")
    loaded.model.float()
    return replace(loaded, dtype=torch.float32)


@pytest.mark.gpu
@needs_gpu
def test_a_graph_answers_as_the_eager_path_does(on_gpu: LoadedModel) -> None:
    plain = LocalEngine(on_gpu, captured=False).answer_batch(questions())
    engine = LocalEngine(on_gpu)
    assert [texts(a) for a in engine.answer_batch(questions())] == [texts(a) for a in plain]
    assert engine._decoder._static is not None, "it was captured"
    assert any(kept._graph is not None for kept in engine._decoder._static._kept.values())


@pytest.mark.gpu
@needs_gpu
def test_a_graph_samples_rollouts_that_the_model_gives_the_same_chances(
    on_gpu: LoadedModel, read_prompt: MakePrompt
) -> None:
    adapters = MultiLora(on_gpu.model, list(on_gpu.adapters))
    prompt = read_prompt(on_gpu, TEXTS)
    made = []
    for fixed in (False, True):
        decoder = Decoder(on_gpu.base, adapters, captured=fixed)
        torch.manual_seed(3)
        made.append(
            roll_out(
                decoder,
                prompt,
                (4, 4, 4),
                "rarl",
                20,
                on_gpu.end_ids,
                lambda _, logits: logits,
                forbidden=on_gpu.forbidden_ids,
            )
        )
    assert made[0].ids == made[1].ids


@pytest.mark.gpu
@needs_gpu
def test_a_step_does_not_wait_for_the_host(on_gpu: LoadedModel, read_prompt: MakePrompt) -> None:
    decoder = Decoder(on_gpu.base)
    with torch.inference_mode():
        draw = PolicyDraw(None, 1.0)
        batch = decoder.read(read_prompt(on_gpu, TEXTS), [1, 1, 1], [None] * 3, draw, 40)
        rows = decoder.start(batch)
        rows.advance()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(4):
                rows.advance()
        finally:
            torch.cuda.set_sync_debug_mode("default")
