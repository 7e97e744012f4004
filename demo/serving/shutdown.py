"""Shut down in order: finish or cancel answers, and exit within ten seconds."""

from __future__ import annotations

import logging
import signal
from threading import Event, current_thread, main_thread
from time import monotonic, sleep
from types import FrameType

import gradio as gr

from demo.services.engine_loader import EngineLoader
from demo.services.flagging import Desk

log = logging.getLogger(__name__)

# Of the ten seconds that are usual before a process is killed, five are Gradio's own.
_FINISH_SECONDS = 3.0
_TELL_SECONDS = 1.0


def serve_until_told(app: gr.Blocks, loader: EngineLoader, desk: Desk) -> None:
    """Block until SIGTERM or SIGINT, then end in good order.

    New questions are refused, running answers get a few seconds to finish and are then stopped,
    with what came so far on their pages, before the server closes. Flags are written when they are
    given, so that none is waiting; a copy on the Hub is brought up to date meanwhile. A second
    signal ends the process at once.
    """
    announced = Event()

    def tell(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        announced.set()

    if current_thread() is main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, tell)
    announced.wait()
    log.info("closing", extra={"facts": {"answering": loader.answering}})
    until = monotonic() + _FINISH_SECONDS + _TELL_SECONDS
    desk.end()
    loader.close(_FINISH_SECONDS, _TELL_SECONDS)
    sleep(0.3)  # for the last words to reach their pages
    desk.ended(max(0.0, until - monotonic()))
    app.close(verbose=False)
    log.info("closed")
