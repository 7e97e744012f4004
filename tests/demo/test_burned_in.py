"""Writing on a picture of any kind is asked about before the picture is kept."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import drawn, saved
from opened import report_of, session_with
from PIL import Image, ImageDraw
from scripted import ScriptedEngine

from demo.services.asking import ask
from demo.services.burned_in import picture_doubts, without_written
from demo.services.engine_loader import EngineLoader
from demo.services.flagging import case_of
from demo.session import OpenScan
from demo.viewer import FrameServer, open_scan
from rarl.scans import burned_in_text, open_stack, writing

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("CR", "DX", "CT", "MR", "XA", "RF", "MG", "NM", "PT")


def tissue(name: str = "", seed: int = 3) -> np.ndarray:
    values = np.random.default_rng(seed).normal(90, 6, (160, 240)).clip(0, 200)
    image = Image.fromarray(values.astype(np.uint8))
    if name:
        ImageDraw.Draw(image).text((8, 6), name, 255, font_size=16)
    return np.asarray(image).astype(np.uint16)


def opened(kind: str, name: str) -> OpenScan:
    data = saved(drawn(tissue(name), Modality=kind, WindowCenter=128, WindowWidth=256))
    return open_scan(open_stack([data]), FrameServer(), "Your scan")


def said(loader: EngineLoader, scan: OpenScan, **report: Any) -> tuple[str, bool]:
    session = session_with(scan)
    told = report_of(session, **report)
    items = list(ask(loader, session, "Is there a mass?", "reason", "compare", told))
    return items[-1].sentence, session.asked is not None


@pytest.fixture(scope="module")
def loader() -> EngineLoader:
    loader = EngineLoader(ScriptedEngine).start()
    loader.wait(5)
    return loader


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_on_any_kind_is_asked_about(kind: str, loader: EngineLoader) -> None:
    scan = opened(kind, "MILLER, ANNA")
    assert not scan.decided and scan.proposed and not scan.stack.text_likely
    sentence, asked = said(loader, scan, decided=False)
    assert "Text may be burned into the picture" in sentence and not asked


def test_a_picture_without_a_name_is_not(loader: EngineLoader) -> None:
    scan = opened("CR", "")
    assert scan.decided and not scan.proposed
    assert said(loader, scan)[1]


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_colour_picture_is_asked_about_where_it_has_writing(
    form: str, loader: EngineLoader
) -> None:
    def scan_of(name: str) -> OpenScan:
        file = BytesIO()
        picture = Image.fromarray(tissue(name).astype(np.uint8)).convert("RGB")
        picture.putpixel((0, 0), (200, 40, 40))
        picture.save(file, form)
        return open_scan(open_stack([file.getvalue()]), FrameServer(), "Your scan")

    plain, named = scan_of(""), scan_of("MILLER, ANNA")
    assert plain.stack.color and plain.decided and not plain.proposed
    assert said(loader, plain)[1]
    assert not named.decided and named.proposed


def test_a_name_on_a_later_slice_is_found_when_it_is_asked_about(loader: EngineLoader) -> None:
    pages = [Image.fromarray(tissue(name, seed).astype(np.uint8)) for seed, name in
             enumerate(("", "", "MILLER, ANNA", "", ""))]  # fmt: skip
    file = BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    scan = open_scan(open_stack([file.getvalue()]), FrameServer(), "Your scan")
    assert scan.decided  # the first and the last have nothing
    sentence, asked = said(loader, scan, frame=2)
    assert sentence.startswith("There is writing on the picture") and not asked
    session = session_with(scan)
    session.kept.add(picture_doubts(session)[1])  # "Keep it as it is"
    items = list(ask(loader, session, "Mass?", "reason", "compare", report_of(session, frame=2)))
    assert session.asked is not None and not items[-1].failed
    # Covered, it is not asked about.
    assert said(loader, scan, frame=2, masks=[[0, 0, 240, 30]])[1]
    # Where nobody was asked, the hash alone is kept.
    case = without_written(case_of(session.asked))
    assert case.pictures[0].png is None and len(case.pictures[0].sha256) == 64


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    loader = SourceFileLoader("bench_burned_in", str(ROOT / "scripts/bench_burned_in"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module


def test_what_the_benchmark_draws(bench: Any) -> None:
    assert len({modality for modality, *_ in bench.MODALITIES}) == 13
    draw = random.Random(1)
    clean = bench.drawn(draw, 400, "chest")
    written, ink = bench.with_name(draw, clean)
    changed = np.asarray(written) != np.asarray(clean)
    assert ink.sum() > 100 and changed[ink].all() and not writing(clean)


def test_a_name_at_the_border_is_found(bench: Any) -> None:
    draw = random.Random("1 MG")
    for _ in range(2):  # the second one was missed
        written, ink = bench.with_name(draw, bench.drawn(draw, 1280, "breast"))
    covered = np.zeros((380, 1280), bool)
    for box in writing(written.crop((0, 900, 1280, 1280))):
        covered[box.top : box.bottom, box.left : box.right] = True
    assert ink[900:].sum() == ink.sum() and covered[ink[900:]].mean() > 0.9


@pytest.mark.parametrize(
    ("text", "score", "is_line"),
    [("O'NEILL 18735", 0.45, True), ("O'NEILL 18735", 0.35, False), ("LIAM", 0.45, False),
     ("LIAM", 0.65, True), ("R", 0.99, False), ("-:., -", 0.99, False)],
    ids=["long", "long and unsure", "short and unsure", "short", "a mark", "no letter"],
)  # fmt: skip
def test_longer_lines_need_less_certainty(text: str, score: float, is_line: bool) -> None:
    assert burned_in_text._is_writing(text, score) is is_line
