"""Ways to hold a model still, so that no test depends on how fast it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from holding import PATIENCE, Hold, picture, until

from rarl.inference.engine import Decoding, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import LoadedModel


@pytest.fixture
def hold(tiny_loaded: LoadedModel) -> Callable[[int], AbstractContextManager[Hold]]:
    @contextmanager
    def holding(after: int) -> Iterator[Hold]:
        held = Hold(after)

        def wait(*_: object) -> None:
            if held.steps == after:
                held.reached.set()
                assert held.go.wait(PATIENCE)
            held.steps += 1

        handle = tiny_loaded.base.model.language_model.register_forward_pre_hook(wait)
        try:
            yield held
        finally:
            held.go.set()
            handle.remove()

    return holding


@pytest.fixture
def engine(tiny_loaded: LoadedModel) -> Iterator[LocalEngine]:
    """An engine of its own (empty cache) for each test; nothing runs on when the test ends."""
    engine = LocalEngine(tiny_loaded)
    yield engine
    until(lambda: engine.waiting == 0)


@pytest.fixture
def ask() -> Callable[..., Question]:
    def make(
        text: str = "Is there a fracture?",
        arms: tuple[str, ...] = ("sft", "rl", "rarl"),
        seed: int = 0,
        size: tuple[int, int] = (60, 50),
        tokens: int = 20,
        **settings: object,
    ) -> Question:
        decoding = settings.pop("decoding", Decoding(max_new_tokens=tokens))
        images = settings.pop("images", (NamedImage(picture(seed, size)),))
        return Question(images, text, arms, decoding=decoding, **settings)

    return make
