"""A store in a folder of its own, and a case as the app would make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import CaseSnapshot, ReviewStore, case_from, open_store
from rarl.scans import Scan

ARMS = (
    Arm("base", "Base", "000000000000"),
    Arm("sft", "SFT", "aaaaaaaaaaaa"),
    Arm("rl", "RL", "bbbbbbbbbbbb"),
    Arm("rarl", "RARL", "cccccccccccc"),
)

MakeCase = Callable[..., CaseSnapshot]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    opened = open_store(home=tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def make_case() -> MakeCase:
    def make(
        question: str = "Is there a pneumothorax?", modality: str | None = "CR", **more: str
    ) -> CaseSnapshot:
        pixels = np.random.default_rng(3).integers(0, 256, (40, 30), np.uint8)
        image = Image.fromarray(pixels)
        image.info["Patient"] = "Mustermann"
        texts = {
            "sft": "<think>The lungs are clear.</think><answer>no</answer>",
            "rl": "<answer>yes</answer>",
            "rarl": "<think>No line of the pleura.</think><answer>no</answer>",
            **more,
        }
        return case_from(
            Question(
                (NamedImage(image),), question, tuple(texts), decoding=Decoding(64, 0.7, 0.9, 5)
            ),
            [
                Answer(arm, parse_response(text), 12, 1.25, done=True, stopped=arm == "rl")
                for arm, text in texts.items()
            ],
            arms=ARMS,
            model="pocket",
            prompt_hash="f" * 64,
            scan=Scan(image, "dicom", modality, {"ViewPosition": "PA"}),
            shown_order=("rarl", "sft", "rl"),
        )

    return make
