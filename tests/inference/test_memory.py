"""Out of memory while answering, for real: the process may not have what it asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from rarl.models.loader import LoadedModel
from rarl.models.processor import image_tokens, with_fewer_tokens


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does it")
def test_short_of_memory_it_answers_with_less_and_says_so(tiny_model: Path) -> None:
    script = Path(__file__).with_name("short_of_memory.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tiny_model)],
        # Addresses are what is limited here: no thread reserves any, what is large is returned when
        # it is freed, and what is small is kept.
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "MALLOC_ARENA_MAX": "1",
            "MALLOC_MMAP_THRESHOLD_": "1000000",
            "MALLOC_TRIM_THRESHOLD_": "1000000000",
            "PYTHONMALLOC": "malloc",
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(text and not note and not failure for text, note, failure in found["plain"])
    for text, note, failure in found["pixels"]:
        assert text and not failure
        assert note == "Memory ran out, so the model read 625 image tokens instead of 2500."
    # The same words, from less room.
    words = [text for text, _, _ in found["plain"]]
    assert [text for text, _, _ in found["arms"]] == words
    assert {note for _, note, _ in found["arms"]} == {
        "Memory ran out; the variants answered one after another."
    }
    assert found["batch"] == found["plain"], "what is measured has no fewer image tokens"
    assert "There is not enough memory for this answer" in found["nothing"]
    assert found["no batch"] == found["nothing"]
    assert found["after"] == found["plain"]


@pytest.mark.parametrize("size", [(1000, 600), (200, 1), (100, 4000), (3, 599), (30, 30)])
def test_a_picture_of_fewer_tokens(tiny_loaded: LoadedModel, size: tuple[int, int]) -> None:
    processor = tiny_loaded.processor
    picture = Image.new("L", size)
    most = processor.image_processor.size["longest_edge"]
    try:
        processor.image_processor.size["longest_edge"] = 28 * 28 * 300
        many = image_tokens(processor, picture)
        fewer = with_fewer_tokens(processor, picture)
        few = image_tokens(processor, fewer)
    finally:
        processor.image_processor.size["longest_edge"] = most
    if fewer is picture:
        assert many <= 6, "only what is tiny stays"
    else:
        # A narrow one stays one token wide.
        assert few < (many if min(size) < 28 else 0.35 * many)
