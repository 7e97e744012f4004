"""The engine loads behind the page, so that the page is up at once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Literal

from rarl.errors import ModelError, RarlError
from rarl.inference import Offer, load_offer
from rarl.inference.engine import Engine

log = logging.getLogger(__name__)

Phase = Literal["loading", "ready", "failed"]


class EngineLoader:
    """Loads an engine once, in a thread of its own.

    Args:
        load: what makes the engine; an `Offer` also says which arms are missing.
    """

    def __init__(self, load: Callable[[], Engine | Offer] = load_offer) -> None:
        self._load = load
        self._done = Event()
        self._offer: Offer | None = None
        self._sentence = ""
        self._thread = Thread(target=self._run, name="engine-loader", daemon=True)

    def start(self) -> EngineLoader:
        """Begin loading, if that has not happened yet; returns itself."""
        if self._thread.ident is None:
            self._thread.start()
        return self

    def _run(self) -> None:
        try:
            made = self._load()
            self._offer = made if isinstance(made, Offer) else Offer(made, {})
        except RarlError as error:
            self._sentence = str(error)
        except Exception as error:
            log.error("engine: %s", type(error).__name__, exc_info=True)
            self._sentence = "The model could not be loaded; the server's log says why."
        finally:
            self._done.set()

    @property
    def phase(self) -> Phase:
        """Where loading stands."""
        if not self._done.is_set():
            return "loading"
        return "failed" if self._offer is None else "ready"

    @property
    def sentence(self) -> str:
        """Why loading failed; "" otherwise."""
        return self._sentence

    @property
    def engine(self) -> Engine | None:
        """The engine once it is ready."""
        return self._offer.engine if self._offer else None

    @property
    def missing(self) -> Mapping[str, str]:
        """Arm name to the reason, in a sentence, for arms that are configured and cannot be had."""
        return self._offer.missing if self._offer else {}

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
