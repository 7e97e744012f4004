"""Stands in for the package `spaces`, which lends GPUs on a Space only.

As there, a call runs in a process that is forked for it, arguments and results are pickled, and
closing a stream ends it after its next item.
"""

from __future__ import annotations

import functools
import inspect
import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

ASKED: list[float] = []


def GPU(*, duration: Callable[..., float]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # noqa: N802
    def decorate(task: Callable[..., Any]) -> Callable[..., Any]:
        def items(*arguments: Any) -> Iterator[Any]:
            ASKED.append(duration(*arguments))
            context = multiprocessing.get_context("fork")
            stop = context.Event()
            inbox, outbox = context.SimpleQueue(), context.SimpleQueue()

            def work() -> None:
                given = inbox.get()
                made = task(*given)
                for item in made if inspect.isgeneratorfunction(task) else [made]:
                    if stop.is_set():
                        break
                    outbox.put(("item", item))
                outbox.put(("end", None))

            process = context.Process(target=work, daemon=True)
            process.start()
            inbox.put(arguments)
            try:
                while (news := outbox.get())[0] == "item":
                    yield news[1]
            finally:
                stop.set()
                process.join(30)

        if inspect.isgeneratorfunction(task):
            return functools.wraps(task)(items)
        return functools.wraps(task)(lambda *arguments: next(items(*arguments)))

    return decorate
