"""A question in a process forked for it, as ZeroGPU has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import torch
from PIL import Image

from rarl.errors import QuestionError
from rarl.inference import load_engine, load_offer
from rarl.inference.engine import Decoding, Looks, NamedImage, Question
from rarl.inference.zerogpu import seconds_for

PICTURE = NamedImage(Image.fromarray(np.arange(3136, dtype=np.uint8).reshape(56, 56)))


def question(tokens: int, text: str = "Is it new?") -> Question:
    return Question((PICTURE,), text, ("sft", "rarl"), "reason", Decoding(tokens))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a CPU a fork waits forever for the OpenMP threads that its parent had."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_answers_come_from_a_fork_and_cost_what_they_need(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("lent")))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    try:
        engine = load_offer(str(tiny_model)).engine
        import spaces  # type: ignore[import-not-found]

        *_, last = engine.stream(question(12))
        stopped = Event()
        long = engine.stream(question(4000), stopped)
        some = next(long)
        stopped.set()
        *_, answers = long
        with pytest.raises(QuestionError):
            engine.stream(question(12, text=""))
        assert [seconds_for([question(12)]), seconds_for([question(4000)])] == spaces.ASKED
        assert spaces.ASKED[0] < spaces.ASKED[1]
        assert isinstance(engine, Looks)
        assert engine.looked(question(12), last[0])[0].sum() == pytest.approx(1, abs=1e-3)
        batch = engine.answer_batch([question(12)])
    finally:
        sys.modules.pop("spaces", None)
    monkeypatch.delenv("SPACES_ZERO_GPU")
    (here,) = load_engine(str(tiny_model)).answer_batch([question(12)])
    texts = [answer.response.text for answer in here]
    assert [answer.response.text for answer in last] == texts
    assert [answer.response.text for answer in batch[0]] == texts
    assert some and all(answer.done for answer in last)
    assert not any(answer.done for answer in some)
    assert any(answer.stopped for answer in answers) and all(answer.done for answer in answers)
