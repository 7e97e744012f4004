"""Convert examples to TRL rows; pictures are decoded when a row is read."""

from __future__ import annotations

import json
import logging
import random
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from datasets import Dataset
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
    Qwen2VLImageProcessorPil,
    smart_resize,
)

from rarl.data import Example, ImageRef
from rarl.errors import DataError
from rarl.prompts import messages, mode_of, target_text, user_text
from rarl.text.choice import labelled, shuffled
from rarl.training.recipe import GrpoRecipe, SftRecipe

log = logging.getLogger(__name__)

_Choice = TypeVar("_Choice", bound=str)
_CACHE_BYTES = 512 * 2**20


class Images:
    """Decoded images at the size the model takes them, the most recent kept.

    GRPO reads an image once for each completion of a group, and many questions share an image:
    decoding and shrinking it each time would cost as much as a forward pass of the tiny model.
    An image that already has the processor's size goes through its resize unchanged; where the
    limits on the area are so tight that the processor would resize it again, it stays as it is.
    """

    def __init__(self, refs: Sequence[ImageRef], processor: Qwen2VLImageProcessorPil) -> None:
        self._refs = list(refs)
        self._factor = processor.patch_size * processor.merge_size
        self._size = processor.size
        self._resample = processor.resample
        self._kept: OrderedDict[int, Image.Image] = OrderedDict()
        self._bytes = 0

    def __getitem__(self, index: int) -> Image.Image:
        if index in self._kept:
            self._kept.move_to_end(index)
            return self._kept[index]
        image = self._refs[index].load()
        height, width = self._target(image.height, image.width)
        if self._target(height, width) == (height, width):
            image = image.resize((width, height), resample=Image.Resampling(self._resample))
        self._kept[index] = image
        self._bytes += 3 * image.height * image.width
        while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= 3 * dropped.height * dropped.width
        return image

    def _target(self, height: int, width: int) -> tuple[int, int]:
        limits = {
            "min_pixels": self._size["shortest_edge"],
            "max_pixels": self._size["longest_edge"],
        }
        size: tuple[int, int] = smart_resize(height, width, factor=self._factor, **limits)
        return size


def check_training_rows(examples: Sequence[Example]) -> None:
    """Refuse whatever is not a training row with one image.

    Raises:
        DataError: a row belongs to another split, or has not one image, or there is no row at all.
    """
    if not examples:
        raise DataError("There is no training row.")
    for example in examples:
        if example.split != "train":
            raise DataError(f"{example.id} belongs to split {example.split}; it must not train.")
        if example.image is None:
            raise DataError(f"{example.id} has no image.")
        if example.more:
            raise DataError(f"{example.id} has several images; a training row has one.")


def sft_rows(
    examples: Sequence[Example], recipe: SftRecipe, seed: int, image_processor: Any
) -> Dataset:
    """Question, image and reference completion; rows without an explanation are left out.

    Rows without a short answer are left out too: an empty answer block must not be learned, and
    an explanation alone does not say what a short answer to the question is. Each pass over the
    examples goes in another order and draws each row's mode anew.

    Raises:
        DataError: no example is explained, or none has a short answer.
    """
    explained = [example for example in examples if example.explanation]
    answered = [example for example in explained if example.answer]
    if explained and not answered:
        raise DataError(
            "No row has a short answer, and SFT learns one; name a file of them under "
            "short_answers in the set's YAML file, or train with rl or rarl."
        )
    if len(answered) < len(explained):
        log.warning(
            "%d of %d explained rows have no short answer and are left out of SFT",
            len(explained) - len(answered),
            len(explained),
        )
    explained = answered
    check_training_rows(explained)
    rows = []
    for number, example in _passes(explained, recipe.keep, seed, recipe.steps * recipe.batch):
        mode = _drawn(recipe.modes, f"{seed}/{number}/{example.id}")
        options, answer = _shown_options(example, seed)
        text = user_text(example.question, mode, options=options)
        completion = target_text(answer, example.explanation, mode)
        rows.append((example, {"text": text, "target": completion}))
    return _dataset(rows, image_processor)


def grpo_rows(
    examples: Sequence[Example], recipe: GrpoRecipe, seed: int, image_processor: Any
) -> Dataset:
    """Question and image, with the columns that the rewards read.

    Each pass over the examples goes in another order; under diversity prompting it asks each of
    them in a form drawn anew, otherwise all are asked in the plain `reason` mode.
    """
    check_training_rows(examples)
    rows = []
    for number, example in _passes(examples, recipe.keep, seed, recipe.steps * recipe.prompts):
        form = _drawn(recipe.forms, f"{seed}/{number}/{example.id}") if recipe.diversity else None
        options, _ = _shown_options(example, seed)
        columns = {
            "text": user_text(example.question, "reason", form, options),
            "mode": "reason" if form is None else mode_of(form),
            "question": example.question,
            "answer": example.answer,
            "kind": example.kind,
            "explanation": example.explanation or "",
            "facts": json.dumps([asdict(fact) for fact in example.facts]),
            "options": list(options),
        }
        rows.append((example, columns))
    return _dataset(rows, image_processor)


def _shown_options(example: Example, seed: int) -> tuple[tuple[str, ...], str]:
    """Options in the order of a prompt, and the answer as the model shall write it."""
    if not example.options:
        return (), example.answer
    options = shuffled(example.options, f"{seed} {example.id}")
    return options, labelled(options, options.index(example.answer))


def _passes(
    examples: Sequence[Example], keep: Mapping[str, float], seed: int, count: int
) -> Iterator[tuple[int, Example]]:
    """So many examples with the number of their pass, each pass whole and in an order of its own.

    A short run then sees all sets and many images, not the first rows of the first set.

    Raises:
        DataError: `keep` leaves nothing.
    """
    if not any(keep.get(example.category or "", 1.0) for example in examples):
        raise DataError("The recipe's keep leaves no row; give a category a share above 0.")
    number = 0
    while count > 0:
        rng = random.Random(f"{seed}/{number}")
        chosen = [row for row in examples if rng.random() < keep.get(row.category or "", 1.0)]
        rng.shuffle(chosen)
        for example in chosen[:count]:
            yield number, example
        count, number = count - len(chosen), number + 1


def _drawn(shares: Mapping[_Choice, float], seed: str) -> _Choice:
    return random.Random(seed).choices(list(shares), list(shares.values()))[0]


def _dataset(rows: Sequence[tuple[Example, dict[str, Any]]], image_processor: Any) -> Dataset:
    places: dict[str, int] = {}
    refs: list[ImageRef] = []
    names: list[str] = []
    at = []
    for example, _ in rows:
        assert example.image is not None
        place = places.setdefault(example.image.key, len(refs))
        if place == len(refs):
            refs.append(example.image)
            names.append(example.id)
        at.append(place)
    images = Images(refs, image_processor)

    def picture(place: int) -> Image.Image:
        try:
            return images[place]
        # What Pillow raises for a file that is cut off or damaged inside.
        except (DataError, OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"The image of row {names[place]} cannot be read ({error}); copy it again or leave "
                "the row out."
            ) from error

    def read(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        batch["images"] = [[picture(place)] for place in batch.pop("image")]
        batch["prompt"] = [messages(text) for text in batch.pop("text")]
        if "target" in batch:
            batch["completion"] = [
                [{"role": "assistant", "content": text}] for text in batch.pop("target")
            ]
        return batch

    columns = {name: [values[name] for _, values in rows] for name in rows[0][1]}
    return Dataset.from_dict({"image": at, **columns}).with_transform(read)
