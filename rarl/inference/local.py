"""The engine that runs a model in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Event, main_thread
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from PIL import Image

from rarl.errors import ModelError, QuestionError
from rarl.generation.decoder import Batch, Decoder, Prompt
from rarl.generation.fair_lock import FairLock
from rarl.generation.image_features import Encoded, ImageFeatures
from rarl.generation.multi_lora import MultiLora
from rarl.generation.sampling import RowDraw, Sampler
from rarl.generation.scheduler import Event as SchedulerEvent
from rarl.generation.scheduler import (
    NoRoomError,
    Place,
    Request,
    Scheduler,
    Tokens,
    is_out_of_memory,
)
from rarl.inference.attribution import heat_maps
from rarl.inference.engine import Answer, Arm, Question, Seen, arm_label
from rarl.inference.sequences import Progress, Row
from rarl.models.familiarity import pooled
from rarl.models.loader import LoadedModel
from rarl.models.processor import image_tokens, pixels_seen, with_fewer_tokens
from rarl.prompts import messages, words_of

BASE = "base"

# The library's own limit on how long and narrow a picture may be.
_MAX_ASPECT = 200

# How soon a stop is noticed, in seconds.
_GLANCE = 0.05

_NO_ROOM = (
    "There is not enough memory for this answer; ask about fewer or smaller pictures, or set a "
    "lower limit on its length."
)


@dataclass(frozen=True, slots=True)
class _Fallback:
    """A way to answer a question; each takes less memory than the one before.

    Attributes:
        question: as it is asked.
        note: what a reader must know of it.
        alone: whether no other question is answered meanwhile.
        one_by_one: whether the variants answer one after another.
    """

    question: Question
    note: str = ""
    alone: bool = True
    one_by_one: bool = False


class LocalEngine:
    """Answers all variants and all callers in one batch, of one row for each variant.

    An image is encoded once: adapters sit on language layers only, so the variants share its
    features. Questions join and leave the batch between steps, see `Scheduler`; those of
    `answer_batch` give way to those of `stream`.

    Where memory does not suffice, a question is asked again: alone, then with fewer image tokens
    (`stream` only, since what is measured must not change), then arm by arm. `Answer.note` says so.

    Args:
        loaded: the model; it must be used by nobody else.
        batch_rows: rows (question x arm) that are answered at once; further questions wait.
        cached_images: how many encoded images are kept for further questions.
        captured: whether steps are captured as a CUDA graph; None captures them on CUDA.

    Raises:
        ModelError: an adapter is no plain LoRA, or the model attends to a sliding window.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        batch_rows: int = 32,
        cached_images: int = 16,
        captured: bool | None = None,
    ) -> None:
        self._loaded = loaded
        adapters = None
        if isinstance(loaded.model, PeftModel):
            adapters = MultiLora(loaded.model, list(loaded.adapters))
        self._decoder = Decoder(loaded.base, adapters, captured)
        self._lock = FairLock()
        self._scheduler: Scheduler[Row] = Scheduler(
            self._read, self._decoder.start, self._lock, loaded.end_ids, batch_rows
        )
        # Only touched while the lock is held.
        self._features = ImageFeatures(cached_images)
        revisions = {BASE: loaded.revision, **loaded.adapters}
        self._arms = tuple(
            Arm(name, arm_label(name), revision, loaded.chats, english_only=loaded.english_only)
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
        """The number of questions that are answered or wait."""
        return self._scheduler.pending

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """Yield all arms' answers so far; see `Engine.stream`.

        A slow caller gets the newest state, not every state. Nothing runs before the first item
        is asked for. An answer that memory did not suffice for begins anew, with a note.

        Raises:
            QuestionError: at once, not with the first item.
            ModelError: memory suffices for no arm, whatever is left out.
        """
        self._check(question)
        return self._streamed(question, stop or Event(), perf_counter())

    def seen(self, image: Image.Image) -> Seen:
        """The picture as the model receives it, reconstructed from the processor's output.

        Raises:
            QuestionError: the picture is too narrow to be read.
        """
        _check_size(image)
        return Seen(*pixels_seen(self._loaded.processor, image.convert("RGB")))

    def prompt(self, question: Question, arm: str) -> str:
        """The text that an arm reads; see `Verbatim.prompt`."""
        self._check(replace(question, arms=(arm,)))
        return self._written(Row(question, arm))

    @property
    def measures_pictures(self) -> bool:
        """Whether a measure of familiarity lies beside the model."""
        return self._loaded.familiarity is not None

    def unfamiliar(self, question: Question) -> dict[str, str]:
        """What is known of the pictures; see `KnowsPictures.unfamiliar`.

        The pictures are encoded here and not again when the question is answered.
        """
        self._check(question)
        measure = self._loaded.familiarity
        if measure is None:
            return {}
        with self._lock.turn(), torch.inference_mode():
            images = self._encode([named.image for named in question.images])
            features = torch.stack(
                [image.summary for image in images if image.summary is not None]
            ).cpu()
        warnings = [each.sentence for each in measure.verdicts(features) if not each.familiar]
        return dict.fromkeys(question.arms, warnings[0]) if warnings else {}

    def looked(self, question: Question, answer: Answer) -> tuple[NDArray[np.float32], ...]:
        """Attribution of an answer; see `Looks.looked`."""
        self._check(replace(question, arms=(answer.arm,)))
        answer_ids = self._loaded.processor.tokenizer.encode(
            answer.response.text, add_special_tokens=False
        )
        if not answer_ids:
            raise QuestionError("There is no answer yet to show a heat map of; ask first.")
        arm = None if answer.arm == BASE else answer.arm
        for version in (question, self._with_fewer_tokens(question)):
            try:
                with self._lock.turn():
                    with torch.inference_mode():
                        images = self._encode([named.image for named in version.images])
                        prompt = self._prompt([Row(version, answer.arm)], images)
                    features = [image.features for image in images]
                    grids = torch.stack([image.grid for image in images])
                    return heat_maps(self._loaded, arm, prompt, grids, answer_ids, features)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
        raise QuestionError("There is not enough memory for a heat map of pictures of this size.")

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Answer many questions at once; see `Engine.answer_batch`.

        Neighbours that differ in their decoding alone share the reading of their prompt.

        Raises:
            QuestionError: before anything is asked.
            ModelError: memory does not suffice, not even for one answer alone.
        """
        started = perf_counter()
        for question in questions:
            self._check(question)
        closed = Event()
        news: SimpleQueue[tuple[int, SchedulerEvent]] = SimpleQueue()
        answered: list[list[Progress]] = []
        requests: list[list[tuple[Row, Progress]]] = []
        lacking: list[tuple[Row, Progress]] = []
        for _, group in groupby(questions, _content):
            asked = list(group)
            # Those of one arm together, as a request has them.
            rows = [Row(question, arm) for arm in asked[0].arms for question in asked]
            progress = [self._progress(row, started) for row in rows]
            answered += [progress[place :: len(asked)] for place in range(len(asked))]
            put = partial(_numbered, news, len(requests))
            self._scheduler.submit(Request(tuple(rows), put, closed.is_set, bulk=True))
            requests.append(list(zip(rows, progress, strict=True)))
        waiting = len(requests)
        try:
            while waiting:
                request, item = news.get()
                if isinstance(item, Tokens):
                    for number, token in item.written:
                        requests[request][number][1].add(token, item.at)
                elif isinstance(item, NoRoomError):
                    lacking += requests[request]
                    waiting -= 1
                elif isinstance(item, Exception):
                    raise item
                elif item is None:
                    waiting -= 1
            for row, lacking_row in lacking:
                lacking_row.begin()
                for _ in self._follow([row], [lacking_row], closed, alone=True, bulk=True):
                    pass
        except NoRoomError:
            raise ModelError(_NO_ROOM) from None
        finally:
            closed.set()
        return [tuple(row.answer() for row in rows) for rows in answered]

    def _streamed(
        self, question: Question, stop: Event, started: float
    ) -> Iterator[tuple[Answer, ...]]:
        progress = [self._progress(Row(question, arm), started) for arm in question.arms]
        for fallback in self._fallbacks(question):
            rows = [Row(fallback.question, arm) for arm in question.arms]
            for column in progress:
                column.begin(fallback.note)
            parts = (
                [slice(n, n + 1) for n in range(len(rows))]
                if fallback.one_by_one
                else [slice(None)]
            )
            lacked = False
            for part in parts:
                try:
                    for place in self._follow(rows[part], progress[part], stop, fallback.alone):
                        yield tuple(replace(column.answer(), place=place) for column in progress)
                except NoRoomError:
                    lacked = True
                    for column in progress[part]:
                        column.fail(_NO_ROOM, perf_counter())
            if not lacked:
                return
            if fallback.one_by_one and not all(column.answer().failure for column in progress):
                yield tuple(column.answer() for column in progress)
                return
        raise ModelError(_NO_ROOM)

    def _fallbacks(self, question: Question) -> Iterator[_Fallback]:
        yield _Fallback(question, alone=False)
        yield _Fallback(question, "Memory ran out, so this was asked again on its own.")
        note = "Memory ran out"
        fewer = self._with_fewer_tokens(question)
        if fewer is not question:
            few, many = (
                sum(image_tokens(self._loaded.processor, named.image) for named in version.images)
                for version in (fewer, question)
            )
            note += f", so the model read {few} image tokens instead of {many}"
            yield _Fallback(fewer, f"{note}.")
        if len(question.arms) > 1:
            yield _Fallback(
                fewer, f"{note}; the variants answered one after another.", one_by_one=True
            )

    def _with_fewer_tokens(self, question: Question) -> Question:
        """The question with smaller pictures; itself where none can be made smaller."""
        smaller = tuple(
            replace(named, image=with_fewer_tokens(self._loaded.processor, named.image))
            for named in question.images
        )
        same = all(
            small.image is named.image
            for small, named in zip(smaller, question.images, strict=True)
        )
        return question if same else replace(question, images=smaller)

    def _follow(
        self,
        rows: Sequence[Row],
        progress: Sequence[Progress],
        stop: Event,
        alone: bool,
        bulk: bool = False,
    ) -> Iterator[int]:
        """Ask, and keep up the progress; yields the place in line whenever something has changed.

        Raises:
            NoRoomError: the rows have to begin anew.
        """
        closed = Event()
        news: SimpleQueue[SchedulerEvent] = SimpleQueue()

        def over() -> bool:
            # A process that wants to end need not wait for the rest of the answer.
            return stop.is_set() or closed.is_set() or not main_thread().is_alive()

        self._scheduler.submit(Request(tuple(rows), news.put, over, bulk, alone))
        place = 0
        try:
            while not all(column.done for column in progress):
                items = _arrived(news)
                for item in items:
                    if isinstance(item, Exception):
                        raise item
                    if isinstance(item, Place):
                        place = item.number
                    if isinstance(item, Tokens):
                        place = 0
                        for number, token in item.written:
                            progress[number].add(token, item.at)
                # A model that is busy with a step may notice it much later.
                if stop.is_set() or None in items:
                    now = perf_counter()
                    for column in progress:
                        column.stop(now)
                elif not items:
                    continue
                yield place
        finally:
            closed.set()

    def _check(self, question: Question) -> None:
        messages(words_of(question), _names(question))
        texts = [question.text, *question.options, *_names(question)]
        texts += [text for turn in question.earlier for text in (turn.text, *turn.options)]
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

    def _read(self, request: Request[Row]) -> Batch:
        """Read a request's prompts, one for each variant."""
        loaded = self._loaded
        if request.alone:
            # It is here because memory ran out.
            self._features.clear()
            self._decoder.spare_memory()
            if loaded.device.type == "cuda":
                torch.cuda.empty_cache()
        groups = [list(rows) for _, rows in groupby(request.rows, lambda row: row.arm)]
        first = [rows[0] for rows in groups]
        images = self._encode([named.image for named in first[0].question.images])
        forbidden = torch.tensor(loaded.forbidden_ids, device=loaded.device)
        return self._decoder.read(
            self._prompt(first, images),
            counts=[len(rows) for rows in groups],
            arms=[None if row.arm == BASE else row.arm for row in first],
            draw=RowDraw([Sampler(row.question.decoding) for row in request.rows], forbidden),
            limit=max(row.max_new_tokens for row in request.rows),
        )

    def _prompt(self, rows: Sequence[Row], images: Sequence[Encoded]) -> Prompt:
        """The processor's output for rows, from their pictures as they are encoded."""
        processor = self._loaded.processor
        token = processor.image_token
        prompts = []
        for row in rows:
            head, *tails = self._written(row).split(token)
            # One placeholder for each picture, and as many of them as it has features.
            prompts.append(
                head
                + "".join(
                    token * len(image.features) + tail
                    for image, tail in zip(images, tails, strict=True)
                )
            )
        inputs = processor.tokenizer(
            prompts, padding=True, padding_side="right", return_tensors="pt"
        ).to(self._loaded.device)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        kinds = (ids == processor.image_token_id).int()
        positions, _ = self._loaded.base.model.get_rope_index(
            ids,
            kinds,
            image_grid_thw=torch.stack([image.grid for image in images] * len(rows)),
            attention_mask=mask,
        )
        features = torch.cat([image.features for image in images] * len(rows))
        return Prompt(ids, mask, kinds, positions, features)

    def _written(self, row: Row) -> str:
        """A row's prompt, with one placeholder for each picture."""
        prompt: str = self._loaded.processor.apply_chat_template(
            self._turns(row),  # type: ignore[arg-type]
            add_generation_prompt=True,
            tokenize=False,
        )
        return prompt

    def _turns(self, row: Row) -> list[dict[str, object]]:
        question = row.question
        earlier = [
            (words_of(turn), turn.answers[row.arm])
            for turn in question.earlier
            if self._loaded.chats and row.arm in turn.answers
        ]
        return messages(words_of(question), _names(question), earlier)

    def _encode(self, images: Sequence[Image.Image]) -> list[Encoded]:
        """Encode each distinct image once, the missing ones together; the caller has the lock."""
        # Within one call every image is alive, so that its identity is a safe shortcut.
        pictures: dict[int, Image.Image] = {}
        keys: dict[int, str] = {}
        for image in images:
            if id(image) not in keys:
                picture = image.convert("RGB")
                pictures[id(image)] = picture
                content = f"{picture.size}".encode() + picture.tobytes()
                keys[id(image)] = hashlib.sha256(content).hexdigest()

        def encode_missing(indices: Sequence[int]) -> list[Encoded]:
            missing = [pictures[id(images[index])] for index in indices]
            pixels = self._loaded.processor.image_processor(images=missing, return_tensors="pt").to(
                self._loaded.device
            )
            grids = pixels["image_grid_thw"]
            encoded = self._loaded.base.get_image_features(
                pixels["pixel_values"], image_grid_thw=grids
            )
            patches = encoded.last_hidden_state.split(grids.prod(-1).tolist())
            measured = self.measures_pictures
            # Copies, so that keeping one image does not keep the others of its batch.
            return [
                Encoded(feature.clone(), grid.clone(), pooled(own) if measured else None)
                for feature, grid, own in zip(encoded.pooler_output, grids, patches, strict=True)
            ]

        return self._features.get([keys[id(image)] for image in images], encode_missing)


def _names(question: Question) -> list[str]:
    return [named.name for named in question.images]


def _check_size(image: Image.Image) -> None:
    if max(image.size) > _MAX_ASPECT * min(image.size):
        raise QuestionError(
            f"The picture is {image.width} x {image.height} pixels, too narrow to be read; crop it."
        )


def _content(question: Question) -> tuple[object, ...]:
    """The key of questions with equal prompts; pictures are compared by identity."""
    pictures = tuple((id(named.image), named.name) for named in question.images)
    asked = question.text, question.options, question.mode, question.earlier
    return pictures, asked, question.arms


def _numbered(
    news: SimpleQueue[tuple[int, SchedulerEvent]], number: int, item: SchedulerEvent
) -> None:
    news.put((number, item))


def _arrived(news: SimpleQueue[SchedulerEvent]) -> list[SchedulerEvent]:
    """Messages that have arrived, after a short wait."""
    items: list[SchedulerEvent] = []
    try:
        items.append(news.get(timeout=_GLANCE))
        while True:
            items.append(news.get_nowait())
    except Empty:
        return items
