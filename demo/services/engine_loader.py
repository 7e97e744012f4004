"""Load the engine in the background, so that the page is served at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition, Event, Thread
from time import monotonic, sleep
from typing import Literal

from rarl.errors import ModelError, RarlError, UnreachableError
from rarl.fairness import Turns
from rarl.inference import Offer, load_offer
from rarl.inference.engine import Engine

log = logging.getLogger(__name__)

# Questions that the engine has at once.
_AT_ONCE = 8

Phase = Literal["loading", "ready", "failed"]


class EngineLoader:
    """Loads an engine once, in a thread of its own; a server that does not answer is waited for.

    Args:
        load: what makes the engine; an `Offer` also says which arms are missing.
        again: seconds until a server that did not answer is tried again.
    """

    def __init__(self, load: Callable[[], Engine | Offer] = load_offer, again: float = 3.0) -> None:
        self._load = load
        self._again = again
        self._done = Event()
        self._offer: Offer | None = None
        self._sentence = ""
        self._closing = False
        # The stops of the questions that are being answered.
        self._running: list[Event] = []
        self._changed = Condition()
        self._turns = Turns(_AT_ONCE, reserved=2)
        self._thread = Thread(target=self._run, name="engine-loader", daemon=True)

    def start(self) -> EngineLoader:
        """Begin loading, if that has not happened yet; returns itself."""
        if self._thread.ident is None and not self._done.is_set():
            self._thread.start()
        return self

    def load_here(self) -> None:
        """Load in the calling thread instead; `start` goes on where a server did not answer."""
        self._try()

    def _run(self) -> None:
        while not self._try():
            sleep(self._again)

    def _try(self) -> bool:
        """Load; whether it need not be tried again."""
        try:
            made = self._load()
            self._offer = made if isinstance(made, Offer) else Offer(made, {})
            self._sentence = ""
        except UnreachableError as error:
            if not self._sentence:
                log.warning("the server of the models does not answer; it is tried again")
            self._sentence = str(error)
            return False
        except RarlError as error:
            self._sentence = str(error)
        except Exception as error:
            log.error("engine: %s", type(error).__name__, exc_info=True)
            self._sentence = "The model could not be loaded; the server's log says why."
        self._done.set()
        return True

    @property
    def phase(self) -> Phase:
        """Where loading stands."""
        if not self._done.is_set():
            return "loading"
        return "failed" if self._offer is None else "ready"

    @property
    def sentence(self) -> str:
        """Why loading failed or, while it is tried again, has not succeeded yet; "" otherwise."""
        return self._sentence

    @property
    def engine(self) -> Engine | None:
        """The engine once it is ready."""
        return self._offer.engine if self._offer else None

    @property
    def missing(self) -> Mapping[str, str]:
        """Arm name to the reason, in a sentence, for arms that are configured and cannot be had."""
        return self._offer.missing if self._offer else {}

    @property
    def model(self) -> str:
        """The model's name as it was configured; "" for a server's, or while it is loading."""
        return self._offer.model if self._offer else ""

    def wait(self, seconds: float) -> Engine | None:
        """Wait for the engine.

        Returns:
            The engine, or None when it is still loading after that time.

        Raises:
            ModelError: loading failed.
        """
        self._done.wait(seconds)
        if self.phase == "failed":
            raise ModelError(self._sentence)
        return self.engine

    @contextmanager
    def turn(self, stop: Event, owner: str = "") -> Iterator[None]:
        """Count a question as being answered, once it is its owner's turn.

        The engine batches questions in order of arrival; so not more of them reach it at once than
        it answers well, and turns go round among owners.

        Args:
            stop: ends its answers; set where the app cannot wait for them any longer.
            owner: whose question it is; "" for nobody in particular.

        Raises:
            ModelError: the app is ending.
        """
        with self._changed:
            if self._closing:
                raise ModelError(
                    "The server is about to restart; ask again in a minute. "
                    "Your scan and question are still here."
                )
            self._running.append(stop)
        started = monotonic()
        try:
            with self._turns.turn(owner, stop.is_set):
                yield  # with `stop` set where the wait was given up: then the answers end at once
        finally:
            with self._changed:
                self._running.remove(stop)
                self._changed.notify_all()
            facts = {"seconds": round(monotonic() - started, 3), "stopped": stop.is_set()}
            log.info("question", extra={"facts": facts})

    @property
    def answering(self) -> int:
        """How many questions are being answered."""
        return len(self._running)

    @property
    def closing(self) -> bool:
        """Whether the app is ending."""
        return self._closing

    def close(self, finish: float, tell: float) -> None:
        """Take no more questions, and wait for those that are being answered.

        Args:
            finish: seconds that answers have to finish; then they are stopped.
            tell: seconds that stopped answers have to say so on their pages.
        """
        with self._changed:
            self._closing = True
            self._changed.wait_for(lambda: not self._running, finish)
            for stop in self._running:
                stop.set()
            self._changed.wait_for(lambda: not self._running, tell)
