"""Text comes in whole characters; draws follow the probabilities."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image

from rarl.generation.sampling import Sampler
from rarl.inference.engine import Decoding, NamedImage, Question
from rarl.inference.sequences import Progress, Row
from rarl.models.loader import LoadedModel

QUESTION = Question((NamedImage(Image.new("L", (8, 8))),), "Why?", ("sft",), decoding=Decoding(500))
END = 7


def progress(loaded: LoadedModel, question: Question = QUESTION) -> Progress:
    return Progress(Row(question, "sft"), loaded.processor.tokenizer, [END], started=1.0)


def test_characters_never_come_in_halves(tiny_loaded: LoadedModel) -> None:
    text = "<think>🫁 ñandú, 脳梗塞 3 µm</think><answer>Überlauf 🩻</answer>"
    ids = tiny_loaded.processor.tokenizer.encode(text, add_special_tokens=False)
    row = progress(tiny_loaded)
    seen = []
    for index, token in enumerate(ids):
        row.add(token, 2.0 + index)
        seen.append(row.answer().response.text)
    assert seen[-1] == text
    assert all(text.startswith(part) for part in seen)
    assert len(set(seen)) < len(ids), "some characters must span tokens, or this tests nothing"
    assert row.answer().tokens == len(ids)
    assert row.answer().seconds == len(ids)


def test_broken_bytes_do_not_hold_the_text_back(tiny_loaded: LoadedModel) -> None:
    tokenizer = tiny_loaded.processor.tokenizer
    half = tokenizer.encode("🫁", add_special_tokens=False)[:2]
    ids = [*half, *tokenizer.encode("clear", add_special_tokens=False), *half]
    row = progress(tiny_loaded)
    for token in ids:
        row.add(token, 2.0)
    text = row.answer().response.text
    assert text == tokenizer.decode(ids).rstrip("\ufffd")
    assert text.endswith("clear")


def test_a_row_ends_with_an_end_token(tiny_loaded: LoadedModel) -> None:
    row = progress(tiny_loaded)
    row.add(40, 2.0)
    row.add(END, 3.0)
    ended = row.answer()
    row.add(41, 4.0)
    row.stop(5.0)
    assert row.answer() == ended
    assert (ended.tokens, ended.seconds, ended.done, ended.stopped) == (1, 2.0, True, False)


def test_a_row_ends_at_its_limit(tiny_loaded: LoadedModel) -> None:
    row = progress(tiny_loaded, replace(QUESTION, decoding=Decoding(2)))
    row.add(40, 2.0)
    assert not row.answer().done
    row.add(40, 3.0)
    row.stop(9.0)
    assert (row.answer().done, row.answer().stopped, row.answer().seconds) == (True, False, 2.0)


def test_a_stopped_row_keeps_what_it_has(tiny_loaded: LoadedModel) -> None:
    row = progress(tiny_loaded)
    row.add(40, 2.0)
    text = row.answer().response.text
    row.stop(6.0)
    answer = row.answer()
    assert (answer.response.text, answer.done, answer.stopped) == (text, True, True)
    assert answer.seconds == 5.0


def draws(decoding: Decoding, scores: torch.Tensor, number: int) -> torch.Tensor:
    sampler = Sampler(decoding)
    tokens = [sampler.draw(scores) for _ in range(number)]
    return torch.bincount(torch.tensor(tokens), minlength=len(scores)) / number


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_probabilities(temperature: float) -> None:
    scores = torch.tensor([2.0, 1.0, -torch.inf, 0.0, 1.5])
    share = draws(Decoding(temperature=temperature, seed=5), scores, 4000)
    # Four standard errors of the widest share.
    assert torch.allclose(share, (scores / temperature).softmax(-1), atol=0.032)
    assert share[2] == 0


def test_the_nucleus_is_the_smallest_set_that_holds_its_mass() -> None:
    scores = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()
    share = draws(Decoding(temperature=1.0, top_p=0.6, seed=5), scores, 2000)
    assert share[0] == share[2] == 0
    assert share[1] == pytest.approx(0.625, abs=0.045)
    # However small the mass, the likeliest token stays.
    assert draws(Decoding(temperature=1.0, top_p=0.01), scores, 20)[1] == 1


def test_one_seed_is_one_luck_and_scores_are_left_as_they_are() -> None:
    scores = torch.randn(50, generator=torch.Generator().manual_seed(0))
    kept = scores.clone()
    warm = Decoding(temperature=1.0, top_p=0.9, seed=8)
    first, second = Sampler(warm), Sampler(warm)
    assert [first.draw(scores) for _ in range(20)] == [second.draw(scores) for _ in range(20)]
    assert torch.equal(scores, kept)
    assert first.random
    assert not Sampler(Decoding()).random
