"""One greedy person delays nobody else: decoder, queue, memory and disk."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.queueing import Event
from PIL import Image

from demo.services.disk import Disk
from demo.services.downloads import Downloads
from demo.services.fair_queue import FairQueue, share_queue
from demo.services.pages import Pages
from demo.services.quota import Quota, Quotas
from demo.services.volumes import Budget, Volume
from demo.serving.caller import Caller, put_caller
from demo.session import OpenScan, Session
from rarl.errors import ReviewError, ScanError
from rarl.fairness import TooManyError, Turns
from rarl.scans import Limits, decoder_pool, decoding_for, open_stack


def picture(side: int = 64, grey: int = 90) -> bytes:
    file = BytesIO()
    Image.new("L", (side, side), grey).save(file, "PNG")
    return file.getvalue()


# --- Turns ---------------------------------------------------------------------------------------


def test_turns_go_round_and_the_greedy_one_waits() -> None:
    turns, order, free = Turns(1, reserved=0), [], threading.Event()
    started = threading.Barrier(2)

    def use(owner: str) -> None:
        with turns.turn(owner):
            order.append(owner)

    def hold() -> None:
        with turns.turn("first"):
            started.wait(10)
            free.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    started.wait(10)
    waiting = []
    for owner in ["greedy"] * 4 + ["modest"]:
        waiting.append(threading.Thread(target=use, args=(owner,)))
        waiting[-1].start()
        while len(turns._waiting) < len(waiting):
            time.sleep(0.001)
    free.set()
    for thread in (holder, *waiting):
        thread.join(10)
    assert order == ["greedy", "modest", "greedy", "greedy", "greedy"]


def test_one_owner_leaves_a_turn_and_may_not_wait_for_ever() -> None:
    turns = Turns(2, reserved=1, most_waiting=1)
    with turns.turn("greedy"):
        with turns.turn("greedy", given_up=lambda: True) as came:
            assert not came
        over = threading.Event()
        second = threading.Thread(target=lambda: turns.turn("greedy", over.is_set).__enter__())
        second.start()
        while not turns._waiting:
            time.sleep(0.001)
        with pytest.raises(TooManyError), turns.turn("greedy"):
            pass
        with turns.turn("modest") as came:
            assert came
        over.set()
        second.join(10)


# --- Decoder -------------------------------------------------------------------------------------


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A decoder that hangs on one file; the others it opens."""
    program = decoder_pool._PROGRAM.replace(
        "main()",
        "import rarl.scans.decoder_process as worker, time; read = worker.read;"
        "worker.read = lambda data, *more: (time.sleep(60) if data == b'slow' else None)"
        " or read(data, *more); main()",
    )
    monkeypatch.setattr(decoder_pool, "_PROGRAM", program)
    decoder_pool._pool.cache_clear()
    yield
    decoder_pool._pool.cache_clear()


def test_slow_files_do_not_hold_the_decoder(slow: None) -> None:
    limits = Limits(crowded_seconds=5)
    refusals: list[str] = []

    def send(owner: str) -> None:
        with decoding_for(owner):
            try:
                open_stack([b"slow"], limits)
            except ScanError as error:
                refusals.append(str(error))

    greedy = [threading.Thread(target=send, args=(f"greedy {n % 2}",)) for n in range(2)]
    for thread in greedy:
        thread.start()
    pool = decoder_pool._pool(os.getpid())
    while len(pool._busy) < 2:
        time.sleep(0.01)
    with decoding_for("modest"):  # both workers are busy for a minute
        assert open_stack([picture()], limits).frames() == 1
    assert len(refusals) == 1 and "while others waited" in refusals[0]
    for worker in list(pool._busy):
        worker.kill()
    for thread in greedy:
        thread.join(10)


# --- Queue ---------------------------------------------------------------------------------------


def request(address: str, browser: str = "") -> Any:
    scope: dict[str, Any] = {}
    put_caller(scope, Caller(address=address, browser=browser))
    return SimpleNamespace(scope=scope)


def test_the_queue_refuses_the_greedy_one_alone() -> None:
    with gr.Blocks() as app:
        text = gr.Textbox()
        text.submit(lambda word: word, text, text)
        share_queue(app)
    app.run_startup_events = lambda: None
    queue = app._queue
    assert isinstance(queue, FairQueue) and queue.max_size
    (fn,) = app.fns.values()
    queue.create_event_queue_for_fn(fn)
    waiting = queue.event_queue_per_concurrency_id[fn.concurrency_id]

    def push(address: str, browser: str = "") -> str:
        body = SimpleNamespace(fn_index=None)
        # In a thread of its own: Playwright leaves a running loop in this one.
        with ThreadPoolExecutor(1) as thread:
            pushed = queue.push(body, request(address, browser), None)
            outcome = thread.submit(asyncio.run, pushed).result()
        if outcome[2] == "queue_full":
            return "refused"
        waiting.queue.append(Event(None, fn, request(address, browser), None))
        return "taken"

    greedy = [push("192.0.2.1") for _ in range(200)]
    assert greedy.count("taken") <= queue.max_size // 2
    # Somebody else behind the same address still finds a place.
    assert [push("192.0.2.1", "other browser") for _ in range(4)] == ["taken"] * 4
    assert [push(f"198.51.100.{n}") for n in range(20)] == ["taken"] * 20
    assert push("192.0.2.1") == "refused"
    # And turns go round: the others do not wait behind what the greedy one has sent before.
    queue.active_jobs = [None] * queue.max_thread_count
    served = []
    for place in range(12):
        events, _, _ = queue.get_events() or ([], False, "")
        served.append(events[0].request.scope["rarl.caller"])
        queue.active_jobs[place] = events
    assert [caller.address for caller in served].count("192.0.2.1") == 1
    while len(served) < 24:
        events, _, _ = queue.get_events() or ([], False, "")
        served.append(events[0].request.scope["rarl.caller"])
        queue.active_jobs[len(served) - 1] = events
    own = [caller.browser for caller in served if caller.address == "192.0.2.1"]
    assert set(own) == {"", "other browser"}


# --- Memory --------------------------------------------------------------------------------------


def test_pixels_make_room_and_come_back() -> None:
    files = [picture(500, grey) for grey in range(8)]
    budget = Budget(decoded=3 * 250_000, each=2 * 250_000)
    volumes = [Volume(open_stack([file]), [file], budget, f"page {n}") for n, file in
               enumerate(files)]  # fmt: skip
    assert budget.resident <= 3 * 250_000 and volumes[-1].resident and not volumes[0].resident
    assert np.all(volumes[0].stack().values() == 0)  # decoded again
    assert volumes[0].resident and budget.resident <= 3 * 250_000
    mine = [Volume(open_stack([file]), [file], budget, "page") for file in files[:3]]
    assert [bool(one.resident) for one in mine] == [False, True, True]
    small = Budget(originals=len(files[0]) + 1)
    first, second = (Volume(open_stack([file]), [file], small, "page") for file in files[:2])
    assert second.stack().frames() == 1
    with pytest.raises(ScanError, match="let go of this scan"):
        first.stack()


def test_a_page_that_is_left_gives_its_memory_back(monkeypatch: pytest.MonkeyPatch) -> None:
    budget, pages, session = Budget(), Pages(grace=0.05), Session()
    file = picture(2000)
    volume = Volume(open_stack([file]), [file], budget, "gone")
    monkeypatch.setattr("demo.services.pages.current_session", lambda: "gone")
    pages.admit(session)
    session.show(OpenScan(volume, "token", "Your scan"))
    assert budget.resident == 4_000_000
    pages.left(SimpleNamespace(session_hash="gone"), budget)  # type: ignore[arg-type]
    assert budget.resident == 0 and volume.originals.size
    deadline = time.monotonic() + 10
    while session.scans and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not session.scans
    gc.collect()
    with pytest.raises(ScanError):
        volume.stack()


# --- Disk ----------------------------------------------------------------------------------------


def test_four_uploads_at_once_do_not_take_what_is_kept_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=500))
    disk = Disk()
    assert [disk.reserve(tmp_path, 80, 256) for _ in range(4)] == [True, True, True, False]
    disk.release(80)
    assert disk.reserve(tmp_path, 80, 256) and disk.promised == 240


def test_what_nobody_fetches_is_deleted(tmp_path: Path) -> None:
    downloads = Downloads(tmp_path, seconds=0.2)
    room = downloads.room()
    (room / "cases.csv").write_text("x")
    downloads.address(room / "cases.csv")
    failed = downloads.room()  # an export that ended in an error
    deadline = time.monotonic() + 10
    while (room.exists() or failed.exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not list(tmp_path.iterdir())


def test_visitors_cannot_fill_the_store() -> None:
    quotas = Quotas(Quota(flags=3, size=100, all_size=250))
    for _ in range(3):
        quotas.take("address:192.0.2.1", 30)
    with pytest.raises(ReviewError, match="as a visitor may within an hour"):
        quotas.take("address:192.0.2.1", 1)
    with pytest.raises(ReviewError, match="as a visitor may"):
        quotas.take("address:192.0.2.2", 101)
    quotas.take("address:192.0.2.2", 90)
    with pytest.raises(ReviewError, match="Visitors have flagged"):
        quotas.take("address:192.0.2.3", 90)
    quotas.take("address:192.0.2.3", 60)
