"""From the questions of a run to what the engine is asked, and from its answers to rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from PIL import Image

from rarl.data.example import Example
from rarl.errors import QuestionError
from rarl.evaluation.asked import Asked
from rarl.evaluation.image_ablations import ROTATED, Condition, Picture, image_of
from rarl.evaluation.inquiries import NEIGHBOURS, Inquiry
from rarl.evaluation.row_scores import score
from rarl.evaluation.rows import Key, Row, Settings
from rarl.inference.engine import Answer, Decoding, Engine, NamedImage, Question, Verbatim
from rarl.prompts import messages, prompt_hash, words_of


class Recorder:
    """Writes the questions for an engine and the rows of its answers.

    The same picture is one image object in every question, so that the engine sees which questions
    share it; as many are kept as are asked about in one go.
    """

    def __init__(
        self,
        engine: Engine,
        arms: Sequence[str],
        ask: Callable[[Example, Condition], Asked | None],
        settings: Settings,
    ) -> None:
        """Take the run's engine and settings.

        Args:
            engine: who answers.
            arms: who shall answer, all of them on offer.
            ask: what an example is asked under a condition; None where that cannot be asked.
            settings: of the run.
        """
        self._engine = engine
        self._arms = tuple(arms)
        self._ask = ask
        self._settings = settings
        self._load = lru_cache(2 * NEIGHBOURS)(Picture.load)
        self._seen = lru_cache(4 * NEIGHBOURS)(self._hash_and_contrast)
        self._prompt_hash = lru_cache(None)(prompt_hash)

    def keys(self, inquiry: Inquiry) -> list[Key]:
        """Keys of the rows that an inquiry answers."""
        return [
            (example.id, arm, inquiry.mode, condition, inquiry.draw)
            for example, condition in inquiry.rows
            for arm in self._arms
        ]

    def question(self, inquiry: Inquiry) -> Question:
        """What the engine is asked."""
        return Question(
            images=tuple(NamedImage(self._load(picture)) for picture in inquiry.pictures),
            text=inquiry.text,
            options=inquiry.options,
            arms=self._arms,
            mode=inquiry.mode,
            decoding=self._decoding(inquiry),
        )

    def rows(self, inquiry: Inquiry, question: Question, answers: Sequence[Answer]) -> list[Row]:
        """One row for each example of an inquiry and each answer to its question."""
        return [
            self._row(inquiry, question, example, condition, answer)
            for example, condition in inquiry.rows
            for answer in answers
        ]

    def asked(self, example: Example, condition: Condition) -> Asked:
        """What an example was asked under a condition under which it is asked."""
        asked = self._ask(example, condition)
        assert asked is not None
        return asked

    def _decoding(self, inquiry: Inquiry) -> Decoding:
        most, seed = self._settings.max_new_tokens, self._settings.seed
        if inquiry.draw == 0:
            return Decoding(max_new_tokens=most, temperature=0.0, seed=seed)
        # A seed for each question: with one for all, every question would share its luck.
        drawn = crc32(f"{seed} {inquiry.draw} {inquiry.shown} {inquiry.text}".encode())
        return Decoding(max_new_tokens=most, temperature=self._settings.temperature, seed=drawn)

    def _hash_and_contrast(self, picture: Picture) -> tuple[str, float]:
        image = self._load(picture)
        return pixel_hash(image), round(float(np.asarray(image.convert("L")).std()), 1)

    def _row(
        self,
        inquiry: Inquiry,
        question: Question,
        example: Example,
        condition: Condition,
        answer: Answer,
    ) -> Row:
        text = answer.response.text
        hashes, contrasts = zip(*map(self._seen, inquiry.pictures), strict=True)
        return Row(
            id=example.id,
            source=example.source,
            split=example.split,
            category=example.category,
            kind=example.kind,
            reworded=example.reworded,
            modality=example.modality,
            organ=example.organ,
            image=image_of(example).key,
            condition=condition,
            shown=inquiry.shown,
            arm=answer.arm,
            mode=inquiry.mode,
            draw=inquiry.draw,
            question=inquiry.text,
            text=text,
            **score(text, inquiry.mode, example, condition, self.asked(example, condition)),
            tokens=answer.tokens,
            seconds=round(answer.seconds, 3),
            temperature=question.decoding.temperature,
            max_new_tokens=question.decoding.max_new_tokens,
            model=self._engine.model_name,
            model_revision=self._settings.model_revision,
            revision=self._settings.revisions[answer.arm],
            prompt=self._prompt_hash(inquiry.mode, len(inquiry.pictures), bool(inquiry.options)),
            seed=question.decoding.seed,
            asked=prompt_text(self._engine, question, answer.arm),
            picture_hashes=hashes,
            picture_side=min(inquiry.pictures[0].size),
            picture_contrast=contrasts[0],
            scored_against=scored_against(example, condition),
        )


def prompt_text(engine: Engine, question: Question, arm: str) -> str:
    """What an arm reads; the turns that are sent to it, as JSON, where a server writes the text."""
    if isinstance(engine, Verbatim):
        # One arm of several may run on a server.
        with suppress(QuestionError):
            return engine.prompt(question, arm)
    names = [named.name for named in question.images]
    return json.dumps(messages(words_of(question), names), ensure_ascii=False)


def pixel_hash(image: Image.Image) -> str:
    """16 hex digits of the SHA-256 of width, height and RGB pixels."""
    pixels = image.convert("RGB")
    return hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes()).hexdigest()[:16]


def scored_against(example: Example, condition: Condition) -> str:
    """JSON of what a row's scores are taken from, besides its reference."""
    scored: dict[str, Any] = {}
    if example.explanation:
        scored["explanation"] = example.explanation
    if example.facts and (condition == "scan" or condition in ROTATED):
        scored["facts"] = [asdict(fact) for fact in example.facts]
    return json.dumps(scored, ensure_ascii=False)
