"""Turns come in order of arrival, one at a time, and can be given up."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from rarl.generation.fair_lock import FairLock
from tests.inference.holding import until

PATIENCE = 60  # seconds until a test that hangs has failed


def test_turns_come_in_order_of_arrival() -> None:
    line = FairLock()
    order: list[int] = []
    inside: list[int] = []

    def take(number: int) -> None:
        with line.turn() as came:
            assert came
            inside.append(number)
            assert inside == [number], "one at a time"
            order.append(number)
            inside.remove(number)

    threads = [Thread(target=take, args=(number,)) for number in range(6)]
    with line.turn() as came:
        assert came
        for number, thread in enumerate(threads):
            thread.start()
            until(lambda number=number: line.length == number + 2)
        assert order == []
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(6))
    assert line.length == 0


def test_whoever_gives_up_leaves_the_others_in_order() -> None:
    line = FairLock()
    tired = Event()
    seen: list[tuple[str, bool]] = []

    def take(name: str, given_up: Event) -> None:
        with line.turn(given_up.is_set) as came:
            seen.append((name, came))

    with line.turn():
        first = Thread(target=take, args=("first", tired))
        first.start()
        until(lambda: line.length == 2)
        second = Thread(target=take, args=("second", Event()))
        second.start()
        until(lambda: line.length == 3)
        tired.set()
        first.join(PATIENCE)
        assert seen == [("first", False)]
    second.join(PATIENCE)
    assert seen == [("first", False), ("second", True)]
    assert line.length == 0


def test_an_error_hands_the_turn_on() -> None:
    line = FairLock()
    with pytest.raises(KeyError), line.turn():
        raise KeyError
    with line.turn(lambda: True) as came:
        assert came
