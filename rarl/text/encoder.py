"""Sentence embeddings: all-MiniLM-L6-v2 (MIT licence) with 8-bit weights, on a CPU.

assets/sentence_encoder/README.md says how the shipped file was made.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rarl.errors import ModelError

WIDTH = 384
_FOLDER = Path(__file__).parents[2] / "assets" / "sentence_encoder"
MODEL_FILE = "all-minilm-l6-v2-int8.onnx"
_LONGEST = 128
_KEPT = 20_000
_SPECIAL = frozenset({"[CLS]", "[SEP]"})

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text as vectors of unit length.

    Attributes:
        vector: (384,), mean over the tokens.
        words: (words, 384), mean over the pieces of each word.
        spans: (words, 2), first and last character of each word.
    """

    vector: Floats
    words: Floats
    spans: tuple[tuple[int, int], ...]


class SentenceEncoder:
    """Encodes texts, each distinct one once; the most recent are kept.

    Args:
        folder: holds the ONNX file and `tokenizer.json`.
        threads: of the runtime.

    Raises:
        ModelError: a file is missing or damaged.
    """

    def __init__(self, folder: Path = _FOLDER, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that spin while they wait would take the cores from training.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._session = onnxruntime.InferenceSession(
                str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # both libraries raise plain Exception subclasses
            raise ModelError(
                f"The sentence encoder in {folder} is missing or damaged, and free-text reasoning "
                "cannot be scored without it; train in a checkout of the repository, which has it."
            ) from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_LONGEST)
        self._kept: OrderedDict[str, Encoded] = OrderedDict()
        self._lock = Lock()

    def forget(self) -> None:
        """Drop the kept encodings."""
        with self._lock:
            self._kept.clear()

    def __call__(self, texts: Sequence[str]) -> list[Encoded]:
        """Encode texts, each on its own.

        The 8-bit runtime takes the range of its activations from the whole batch, so a text in a
        batch would be encoded differently beside other texts, and a reward would depend on them.
        """
        with self._lock:
            fresh: dict[str, Encoded] = {}
            for text in dict.fromkeys(texts):
                if text in self._kept:
                    continue
                tokens = self._tokenizer.encode(text)
                ids = np.array([tokens.ids], np.int64)
                hidden = self._session.run(None, {"ids": ids, "mask": np.ones_like(ids)})[0]
                fresh[text] = _encoded(tokens, hidden[0])
            result = [fresh[text] if text in fresh else self._kept[text] for text in texts]
            for text, encoded in zip(texts, result, strict=True):
                self._kept[text] = encoded
                self._kept.move_to_end(text)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return result


@lru_cache(maxsize=1)
def shipped_encoder() -> SentenceEncoder:
    """The encoder of this repository, loaded at the first call."""
    return SentenceEncoder()


def _encoded(tokens: object, hidden: Floats) -> Encoded:
    places: dict[int, list[int]] = {}
    spans: dict[int, tuple[int, int]] = {}
    for place, (word, (start, end)) in enumerate(
        zip(tokens.word_ids, tokens.offsets, strict=True)  # type: ignore[attr-defined]
    ):
        if word is None:
            continue
        places.setdefault(word, []).append(place)
        first, _ = spans.get(word, (start, end))
        spans[word] = (first, end)
    words = np.stack([hidden[at].mean(0) for at in places.values()]) if places else hidden[:0]
    return Encoded(
        vector=_unit(hidden.mean(0)[None])[0],
        words=_unit(words),
        spans=tuple(spans.values()),
    )


def _unit(rows: Floats) -> Floats:
    scaled: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return scaled
