"""What one upload holds: decoded once, chosen from, and let go of when memory is short."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from demo.services.choosing import hold
from demo.services.kept_sessions import Keep, KeptSessions
from demo.services.phantoms import ct_series
from demo.services.uploads import open_uploads
from demo.services.volumes import Budget
from demo.serving.caller import Caller
from demo.session import Session
from demo.viewer import FrameServer
from rarl.errors import ScanError
from rarl.scans import decoder_pool, opening

SHORT, LONG = ct_series(16, 3), ct_series(24, 4)


def png(width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, 20), 50).save(buffer, "PNG")
    return buffer.getvalue()


def packed(*files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, content in enumerate(files):
            archive.writestr(f"IM{number}", content)
    return buffer.getvalue()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Sizes of the files that have been decoded so far."""
    sizes: list[int] = []
    decode = decoder_pool.decode

    def counting(data, limits, secret):  # type: ignore[no-untyped-def]
        sizes.append(len(data))
        return decode(data, limits, secret)

    monkeypatch.setattr(opening, "decode", counting)
    yield sizes


@pytest.mark.parametrize(
    "files",
    [[png(30), png(31)], SHORT, [png(30), b"\x89PNG\r\n\x1a\nno"], [*SHORT, *LONG]],
    ids=["pictures", "a series", "one is damaged", "two series"],
)
def test_each_file_is_decoded_once(files: list[bytes], decoded: list[int]) -> None:
    upload = hold(open_uploads(files), files, Budget(), "Your scan")
    for choice in upload.first():
        choice.opened(FrameServer())
    assert len(decoded) == len(files)


def test_a_series_is_chosen_in_place_of_another() -> None:
    frames, session = FrameServer(), Session()
    archive = packed(*SHORT, *LONG, b"a note")
    upload = hold(open_uploads([archive]), [archive], Budget(), "Your scan")
    assert [choice.pictures for choice in upload.choices] == [3, 4]
    assert [(file.name, file.kind) for file in upload.left_out] == [("IM7", "a text file")]
    session.upload = upload
    (largest,) = upload.first()
    session.show(largest.opened(frames))
    assert session.scans[0].stack.frames() == 4
    assert not any("series" in sentence for sentence in session.scans[0].stack.warnings)
    upload.choose(session, upload.choices[0], frames, beside=False)
    (scan,) = session.scans
    assert scan.stack.frames() == 3 and session.can_undo
    assert [entry["open"] for entry in upload.spec(session)["series"]] == [True, False]
    # Back again: the same scan, so that what was asked about it is found.
    upload.choose(session, largest, frames, beside=False)
    assert session.scans == (largest.scan,)
    upload.choose(session, upload.choices[0], frames, beside=True)
    assert [one.token for one in session.scans] == [largest.scan.token, scan.token]  # type: ignore[union-attr]
    assert {one.role for one in session.scans} == {"current", "prior"}


def test_the_choice_moves_to_the_page_after_a_reload(tmp_path: Path) -> None:
    frames, budget, before, after = FrameServer(), Budget(), Session(), Session()
    archive = packed(*SHORT, *LONG)
    upload = hold(open_uploads([archive]), [archive], budget, "Your scan")
    before.upload = upload
    for choice in upload.first():
        before.show(choice.opened(frames))
    keeper = KeptSessions(tmp_path, Keep())
    before.place = after.place = keeper.place(Caller(browser="cookie"), "0123456789abcdef")
    assert after.place is not None
    keeper.save(before, after.place)
    assert keeper.restore(after, after.place, frames, budget, "new page")
    upload.move_to(after, "new page")
    budget.forget("")  # the page that was reloaded has not come back
    assert after.upload is upload
    assert [series["open"] for series in upload.spec(after)["series"]] == [False, True]
    for choice in upload.choices:
        choice.volume.let_go()
        assert choice.volume.stack().frames() == choice.pictures
    upload.choose(after, upload.choices[0], frames, beside=True)
    assert len(after.scans) == 2


def test_a_series_that_made_room_is_decoded_again() -> None:
    files = [*SHORT, *LONG]
    upload = hold(open_uploads(files), files, Budget(), "Your scan")
    for choice in upload.choices:
        before = choice.volume.stack().values()
        choice.volume.let_go()
        assert choice.volume.resident == 0
        assert np.array_equal(choice.volume.stack().values(), before)
    # All of them came from the same files, which count once and go together.
    assert upload.choices[0].volume.originals is upload.choices[1].volume.originals
    upload.choices[0].volume.drop()
    upload.choices[1].volume.let_go()
    with pytest.raises(ScanError, match="open it again"):
        upload.choices[1].volume.stack()


def test_originals_that_are_shared_count_once() -> None:
    files = [*SHORT, *LONG]
    size = sum(map(len, files))
    budget = Budget(originals=size + 2000)
    upload = hold(open_uploads(files), files, budget, "Your scan")
    small = [png(30)]
    hold(open_uploads(small), small, budget, "Your scan")
    assert upload.choices[0].volume.originals.size == size
    large = [packed(*LONG)]
    hold(open_uploads(large), large, budget, "Your scan")
    assert upload.choices[0].volume.originals.size == 0


def test_a_scan_of_its_own_keeps_its_own_file() -> None:
    files = [png(30), b"\x89PNG\r\n\x1a\nno", png(31)]
    upload = hold(open_uploads(files), files, Budget(), "Your scan")
    assert [choice.volume.originals.contents for choice in upload.choices] == [
        (files[0],),
        (files[2],),
    ]
    assert [(file.source, file.kind) for file in upload.left_out] == [(1, "a damaged file")]
