"""The engine that answers with a model in this process."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Event, Thread, main_thread
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.modeling_outputs import BaseModelOutputWithPooling

from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Arm, Question, Seen, arm_label
from rarl.inference.heatmap import heat_maps
from rarl.inference.line import Line
from rarl.inference.mixed import MixedAdapters
from rarl.inference.rows import Progress, Row, RowEnds, Sampler, Tap
from rarl.models.loading import LoadedModel
from rarl.models.processor import pixels_seen
from rarl.prompts import messages, user_text

BASE = "base"

# The library's own limit on how long and narrow a picture may be.
_MAX_ASPECT = 200


# What a worker reports: a step as (one token per row, time); last None, or what went wrong.
_News = tuple[list[int], float] | BaseException | None


@dataclass(frozen=True, slots=True)
class _Encoded:
    """An image as the language model sees it.

    Attributes:
        features: image tokens x width of the language model.
        grid: patches in time, height and width (three numbers).
    """

    features: torch.Tensor
    grid: torch.Tensor


class LocalEngine:
    """Answers for all arms in one batch: the image is encoded once, each arm is a row.

    Adapters sit on language layers only, so the arms share the image's features. One batch runs
    at a time, since the adapters in use and the rotary offsets are state of the model; callers
    wait in order of arrival, and evaluation steps back into the line after every batch.

    Args:
        loaded: the model; it must be used by nobody else.
        batch_rows: rows (question x arm) in one batch of `answer_batch`.
        cached_images: how many encoded images are kept for further questions.
    """

    def __init__(self, loaded: LoadedModel, batch_rows: int = 32, cached_images: int = 16) -> None:
        self._loaded = loaded
        self._batch_rows = batch_rows
        self._cached_images = cached_images
        self._line = Line()
        self._mixed = (
            MixedAdapters(loaded.model, list(loaded.adapters))
            if isinstance(loaded.model, PeftModel)
            else None
        )
        # Pixels' hash to features, most recently used last; only touched during a turn.
        self._cache: OrderedDict[str, _Encoded] = OrderedDict()
        revisions = {BASE: loaded.revision, **loaded.adapters}
        self._arms = tuple(
            Arm(name, arm_label(name), revision, loaded.chats)
            for name, revision in revisions.items()
        )

    @property
    def model_name(self) -> str:
        """Name or path the base was resolved from."""
        return self._loaded.name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The base, then its adapters."""
        return self._arms

    @property
    def waiting(self) -> int:
        """How many batches are running or waiting for their turn."""
        return self._line.length

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """Yield all arms' answers so far; see `Engine.stream`.

        A slow caller gets the newest state, not every state. Nothing runs before the first item
        is asked for.

        Raises:
            QuestionError: at once, not with the first item.
        """
        self._check(question)
        return self._streamed(question, stop or Event(), perf_counter())

    def seen(self, image: Image.Image) -> Seen:
        """What the model gets of a picture, read back from what the processor makes of it.

        Raises:
            QuestionError: the picture is too narrow to be read.
        """
        _check_size(image)
        return Seen(*pixels_seen(self._loaded.processor, image.convert("RGB")))

    def looked(self, question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
        """Where an arm looked for what it said; see `Looks.looked`."""
        self._check(replace(question, arms=(answer.arm,)))
        said = self._loaded.processor.tokenizer.encode(
            answer.response.text, add_special_tokens=False
        )
        if not said:
            raise QuestionError("There is no answer yet to show a heat map of; ask first.")
        row = Row(question, answer.arm)
        with self._line.turn():
            with torch.inference_mode():
                images = self._encode([named.image for named in question.images])
                prompt = self._inputs([row], images)
            arm = None if answer.arm == BASE else answer.arm
            return heat_maps(self._loaded, arm, prompt, said, [image.features for image in images])

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Answer many questions at once; see `Engine.answer_batch`."""
        started = perf_counter()
        for question in questions:
            self._check(question)
        rows = [Row(question, arm) for question in questions for arm in question.arms]
        progress = [self._progress(row, started) for row in rows]
        for first in range(0, len(rows), self._batch_rows):
            part = progress[first : first + self._batch_rows]

            def put(tokens: list[int], part: Sequence[Progress] = part) -> None:
                now = perf_counter()
                for row, token in zip(part, tokens, strict=True):
                    row.add(token, now)

            with self._line.turn():
                self._generate(rows[first : first + self._batch_rows], put, lambda: False)
        answers = iter([row.answer() for row in progress])
        return [tuple(next(answers) for _ in question.arms) for question in questions]

    def _streamed(
        self, question: Question, stop: Event, started: float
    ) -> Iterator[tuple[Answer, ...]]:
        rows = [Row(question, arm) for arm in question.arms]
        progress = [self._progress(row, started) for row in rows]
        closed = Event()
        news: SimpleQueue[_News] = SimpleQueue()

        def over() -> bool:
            # A process that wants to end need not wait for the rest of the answer.
            return stop.is_set() or closed.is_set() or not main_thread().is_alive()

        def work() -> None:
            try:
                with self._line.turn(over) as came:
                    if came and not over():
                        self._generate(
                            rows, lambda tokens: news.put((tokens, perf_counter())), over
                        )
                news.put(None)
            except BaseException as error:
                news.put(error)

        Thread(target=work, name="rarl-answer").start()
        try:
            while not all(row.done for row in progress):
                for item in _waiting_items(news):
                    if isinstance(item, BaseException):
                        raise item
                    if item is None:
                        now = perf_counter()
                        for row in progress:
                            row.stop(now)
                    else:
                        tokens, at = item
                        for row, token in zip(progress, tokens, strict=True):
                            row.add(token, at)
                yield tuple(row.answer() for row in progress)
        finally:
            closed.set()

    def _check(self, question: Question) -> None:
        messages(user_text(question.text, question.mode), _names(question))
        texts = [question.text, *_names(question), *(turn.text for turn in question.earlier)]
        for token in self._loaded.reserved:
            if any(token in text for text in texts):
                raise QuestionError(
                    f"The question holds {token}, which the model keeps for itself; leave it out."
                )
        offered = [arm.name for arm in self._arms]
        if not question.arms:
            raise QuestionError(f"Choose at least one of the arms {', '.join(offered)}.")
        for arm in question.arms:
            if arm not in offered:
                raise QuestionError(
                    f"There is no arm {arm!r} here; choose from {', '.join(offered)}."
                )
        decoding = question.decoding
        if decoding.max_new_tokens < 1:
            raise QuestionError("The answer's limit must be one token or more.")
        if not (0 <= decoding.temperature < float("inf") and 0 < decoding.top_p <= 1):
            raise QuestionError(
                "The temperature must be 0 or more, and top-p above 0 and at most 1."
            )
        for named in question.images:
            _check_size(named.image)

    def _progress(self, row: Row, started: float) -> Progress:
        loaded = self._loaded
        return Progress(row, loaded.processor.tokenizer, loaded.end_ids, started)

    def _generate(
        self, rows: Sequence[Row], put: Callable[[list[int]], None], over: Callable[[], bool]
    ) -> None:
        """Run one batch to its end; the caller holds the turn.

        Args:
            rows: the batch.
            put: called after every step with one token per row.
            over: asked after every step; True ends the batch.
        """
        loaded = self._loaded
        # Rows of one arm together: the adapters then need not be copied for each of them.
        names = [arm.name for arm in self._arms]
        order = sorted(range(len(rows)), key=lambda number: names.index(rows[number].arm))
        rows = [rows[number] for number in order]
        places = sorted(range(len(rows)), key=order.__getitem__)
        decodings = [row.question.decoding for row in rows]
        with torch.inference_mode():
            images = self._encode([named.image for row in rows for named in row.question.images])
            inputs = self._inputs(rows, images)
            limits = [decoding.max_new_tokens for decoding in decodings]
            config = GenerationConfig(
                max_new_tokens=max(limits),
                do_sample=False,
                suppress_tokens=list(loaded.forbidden_ids),
                eos_token_id=list(loaded.end_ids),
                pad_token_id=loaded.pad_id,
            )
            sampled = any(decoding.temperature > 0 for decoding in decodings)
            # Its declared types know no features in a list.
            generate: Callable[..., object] = loaded.base.generate  # type: ignore[misc]
            with self._adapters_of(rows):
                generate(
                    **inputs,
                    mm_encoder_outputs={
                        "image": BaseModelOutputWithPooling(
                            pooler_output=[image.features for image in images]  # type: ignore[arg-type]
                        )
                    },
                    generation_config=config,
                    logits_processor=LogitsProcessorList([Sampler(decodings)] if sampled else []),
                    stopping_criteria=StoppingCriteriaList(
                        [RowEnds(limits, inputs["input_ids"].shape[1], over)]
                    ),
                    streamer=Tap(lambda tokens: put([tokens[place] for place in places])),
                )

    def _adapters_of(self, rows: Sequence[Row]) -> AbstractContextManager[None]:
        if self._mixed is None:
            return nullcontext()
        return self._mixed.rows([None if row.arm == BASE else row.arm for row in rows])

    def _inputs(self, rows: Sequence[Row], images: Sequence[_Encoded]) -> dict[str, torch.Tensor]:
        """What the processor would make of the rows, from images that are encoded already.

        Args:
            rows: the batch.
            images: those of the first row, then those of the second, and so on.
        """
        processor = self._loaded.processor
        token = processor.image_token
        left = iter(images)
        prompts = []
        for row in rows:
            prompt = processor.apply_chat_template(
                self._turns(row),  # type: ignore[arg-type]
                add_generation_prompt=True,
                tokenize=False,
            )
            head, *tails = prompt.split(token)
            # One placeholder for each picture, and as many of them as it has features.
            prompts.append(
                head + "".join(token * len(next(left).features) + tail for tail in tails)
            )
        inputs = processor.tokenizer(prompts, padding=True, return_tensors="pt")
        ids: torch.Tensor = inputs["input_ids"].to(self._loaded.device)
        return {
            "input_ids": ids,
            "attention_mask": inputs["attention_mask"].to(self._loaded.device),
            # Without it the positions would silently be one-dimensional.
            "mm_token_type_ids": (ids == processor.image_token_id).int(),
            "image_grid_thw": torch.stack([image.grid for image in images]),
        }

    def _turns(self, row: Row) -> list[dict[str, object]]:
        question = row.question
        earlier = [
            (user_text(turn.text, turn.mode), turn.answers[row.arm])
            for turn in question.earlier
            if self._loaded.chats and row.arm in turn.answers
        ]
        return messages(user_text(question.text, question.mode), _names(question), earlier)

    def _encode(self, images: Sequence[Image.Image]) -> list[_Encoded]:
        """Encode each distinct picture once, the missing ones together; the caller has the turn."""
        # Within one call every image is alive, so that its identity is a safe shortcut.
        hashes: dict[int, str] = {}
        pictures: dict[str, Image.Image] = {}
        for image in images:
            if id(image) not in hashes:
                picture = image.convert("RGB")
                key = hashlib.sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest()
                hashes[id(image)] = key
                pictures[key] = picture
        found = {key: self._cache[key] for key in pictures if key in self._cache}
        missing = {key: picture for key, picture in pictures.items() if key not in found}
        if missing:
            pixels = self._loaded.processor.image_processor(
                images=list(missing.values()), return_tensors="pt"
            ).to(self._loaded.device)
            features = self._loaded.base.get_image_features(
                pixels["pixel_values"], image_grid_thw=pixels["image_grid_thw"]
            ).pooler_output
            for key, feature, grid in zip(missing, features, pixels["image_grid_thw"], strict=True):
                # A copy, so that keeping one image does not keep the others of its batch.
                found[key] = _Encoded(feature.clone(), grid.clone())
        for key, encoded in found.items():
            self._cache[key] = encoded
            self._cache.move_to_end(key)
        while len(self._cache) > self._cached_images:
            self._cache.popitem(last=False)
        return [found[hashes[id(image)]] for image in images]


def _names(question: Question) -> list[str]:
    return [named.name for named in question.images]


def _check_size(image: Image.Image) -> None:
    if max(image.size) > _MAX_ASPECT * min(image.size):
        raise QuestionError(
            f"The picture is {image.width} x {image.height} pixels, too narrow to be read; crop it."
        )


def _waiting_items(news: SimpleQueue[_News]) -> Iterator[_News]:
    """Wait for an item, then take it and all that came meanwhile."""
    yield news.get()
    while True:
        try:
            yield news.get_nowait()
        except Empty:
            return
