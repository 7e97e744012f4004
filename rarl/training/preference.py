"""Train on what readers prefer: DPO and KTO through TRL's trainers for vision-language models."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import DistributedType
from datasets import Dataset
from torch import Tensor
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.kto_config import KTOConfig

from rarl.compat.trl import OpenDPOTrainer, OpenKTOTrainer, Silent
from rarl.data import Example, ImageRef
from rarl.errors import DataError
from rarl.generation.image_features import PatchFeatures, as_encoder_outputs
from rarl.models.loader import LoadedModel
from rarl.prompts import messages
from rarl.review.training_rows import Judged, JudgedAnswer, PreferencePair
from rarl.training.adapter import lora_config
from rarl.training.dataset import Images
from rarl.training.recipe import DpoRecipe, KtoRecipe
from rarl.training.trl_config import accumulation, shared_arguments

PreferenceTrainer = OpenDPOTrainer | OpenKTOTrainer
_One = TypeVar("_One", PreferencePair, JudgedAnswer)


class _Features:
    """Keeps the frozen tower's features; both answers of a pair share theirs."""

    def __init__(self, trainer: Any) -> None:
        spread = {DistributedType.FSDP, DistributedType.DEEPSPEED}
        # Weights that are spread over processes only run inside the whole model's pass.
        whole = trainer.accelerator.distributed_type not in spread
        base = trainer.accelerator.unwrap_model(trainer.model).get_base_model()
        self._features = PatchFeatures(base) if whole else None

    def put(self, ready: dict[str, Any]) -> dict[str, Any]:
        if self._features is not None and isinstance(ready.get("pixel_values"), Tensor):
            pixels, grids = ready.pop("pixel_values"), ready["image_grid_thw"]
            patches = pixels.split(grids.prod(-1).tolist())
            ready["mm_encoder_outputs"] = as_encoder_outputs(self._features(patches, grids))
        return ready


class _Dpo(Silent, OpenDPOTrainer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._features = _Features(self)

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self._features.put(super().prepare(inputs))


class _Kto(Silent, OpenKTOTrainer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._features = _Features(self)

    def prepare(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return self._features.put(super().prepare(inputs))


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a run is trained on, and what it is measured on.

    Attributes:
        pairs: chosen and rejected answers.
        alone: good and bad answers; DPO leaves them out.
        held_out_votes: pairs on pictures that train nothing.
    """

    pairs: tuple[PreferencePair, ...]
    alone: tuple[JudgedAnswer, ...]
    held_out_votes: tuple[PreferencePair, ...]

    @classmethod
    def of(cls, judged: Judged, recipe: str) -> Preferences:
        """Those that a recipe takes.

        Raises:
            DataError: there is nothing to train on.
        """
        alone = judged.alone if recipe == "kto" else ()
        if not judged.pairs and not alone:
            raise DataError(
                "No blind vote and no settled correction lies on a picture that may train: let "
                "readers vote with the names of the variants hidden, or settle corrections."
            )
        if recipe == "kto" and not judged.pairs and len({answer.good for answer in alone}) < 2:
            raise DataError("KTO needs good answers and bad ones; let readers vote as well.")
        return cls(judged.pairs, alone, judged.held_out_votes)

    def limited(self, most: int, seed: int) -> Preferences:
        """So many of what trains, drawn by the seed."""
        everything: list[PreferencePair | JudgedAnswer] = [*self.pairs, *self.alone]
        if most >= len(everything):
            return self
        drawn = random.Random(seed).sample(everything, most)
        return Preferences(
            tuple(entry for entry in drawn if isinstance(entry, PreferencePair)),
            tuple(entry for entry in drawn if isinstance(entry, JudgedAnswer)),
            self.held_out_votes,
        )

    def examples(self) -> list[Example]:
        """What trains, in the form that a run's record counts."""
        everything: list[PreferencePair | JudgedAnswer] = [*self.pairs, *self.alone]
        return [as_example(entry, number) for number, entry in enumerate(everything)]

    def singles(self) -> list[JudgedAnswer]:
        """Every answer as good or bad by itself: a pair is one of each."""
        from_pairs = [
            JudgedAnswer(
                source="vote",
                case_id=pair.case_id,
                images=pair.images,
                names=pair.names,
                prompt=pair.prompt,
                completion=text,
                good=good,
            )
            for pair in self.pairs
            for text, good in ((pair.chosen, True), (pair.rejected, False))
        ]
        return list(dict.fromkeys([*from_pairs, *self.alone]))


def dpo_rows(
    pairs: Sequence[PreferencePair], count: int | None, seed: int, image_processor: Any
) -> Dataset:
    """Picture, prompt, chosen and rejected answer, as TRL's collator takes them.

    Args:
        pairs: at least one.
        count: so many rows, in passes that are whole and each in an order of its own; the pairs
            once and in their order where None.
        seed: of the orders.
        image_processor: of the model.
    """
    drawn = pairs if count is None else _passes(pairs, count, seed)
    rows = [(pair, {"chosen": pair.chosen, "rejected": pair.rejected}) for pair in drawn]
    return _dataset(rows, image_processor)


def kto_rows(
    answers: Sequence[JudgedAnswer], count: int, seed: int, image_processor: Any
) -> Dataset:
    """Picture, prompt, answer and whether it is good; see `dpo_rows`."""
    rows = [
        (answer, {"completion": answer.completion, "label": answer.good})
        for answer in _passes(answers, count, seed)
    ]
    return _dataset(rows, image_processor)


def preference_trainer(
    loaded: LoadedModel,
    rows: Dataset,
    recipe: DpoRecipe | KtoRecipe,
    checkpoints: Path,
    seed: int,
    report_to: tuple[str, ...] = (),
) -> PreferenceTrainer:
    """TRL's trainer with the recipe's choices; the reference is the base without the adapter.

    Nothing is truncated, since a cut prompt would lose image tokens.
    """
    common = {
        **shared_arguments(recipe, checkpoints, seed, report_to),
        "gradient_accumulation_steps": accumulation(recipe.batch, recipe.micro_batch, "batch"),
        "max_length": None,
        "beta": recipe.beta,
        "disable_dropout": True,
    }
    parts: dict[str, Any] = {
        "model": loaded.base,
        "train_dataset": rows,
        "processing_class": loaded.processor,
        "peft_config": lora_config(recipe.lora),
    }
    if isinstance(recipe, DpoRecipe):
        arguments = DPOConfig(
            **common,
            loss_type=[recipe.loss],
            label_smoothing=recipe.label_smoothing,
            ld_alpha=None if recipe.length_weight == 1 else recipe.length_weight,
        )
        return _Dpo(args=arguments, **parts)
    # Rows stand in a drawn order already, and TRL pairs neighbours for its KL term.
    return _Kto(
        args=KTOConfig(
            **common,
            desirable_weight=recipe.good_weight,
            undesirable_weight=recipe.bad_weight,
            train_sampling_strategy="sequential",
        ),
        **parts,
    )


def _passes(rows: Sequence[_One], count: int, seed: int) -> list[_One]:
    drawn: list[_One] = []
    number = 0
    while len(drawn) < count:
        order = list(rows)
        random.Random(f"{seed}/{number}").shuffle(order)
        drawn += order
        number += 1
    return drawn[:count]


def _dataset(
    rows: Sequence[tuple[PreferencePair | JudgedAnswer, dict[str, Any]]], image_processor: Any
) -> Dataset:
    places: dict[bytes, int] = {}
    refs: list[ImageRef] = []
    at: list[str] = []
    prompts: list[tuple[str, tuple[str, ...]]] = []
    for item, _ in rows:
        own = []
        for png in item.images:
            place = places.setdefault(png, len(refs))
            if place == len(refs):
                refs.append(ImageRef(f"review/{place}", data=png))
            own.append(str(place))
        at.append(" ".join(own))
        prompts.append((item.prompt, item.names))
    images = Images(refs, image_processor)
    named = dict(zip(at, (names for _, names in prompts), strict=True))

    def assistant_turn(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]

    def read(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        keys = batch.pop("image")
        batch["images"] = [[images[int(place)] for place in key.split()] for key in keys]
        batch["prompt"] = [
            messages(text, named[key]) for key, text in zip(keys, batch.pop("text"), strict=True)
        ]
        for column in ("chosen", "rejected", "completion"):
            if column in batch:
                batch[column] = [assistant_turn(text) for text in batch[column]]
        return batch

    columns = {name: [values[name] for _, values in rows] for name in rows[0][1]}
    texts = [text for text, _ in prompts]
    return Dataset.from_dict({"image": at, "text": texts, **columns}).with_transform(read)


def as_example(entry: PreferencePair | JudgedAnswer, number: int) -> Example:
    """What readers said of answers in the form of a training row.

    Args:
        entry: a pair or an answer.
        number: that tells it from others of its case.
    """
    good = isinstance(entry, PreferencePair) or entry.good
    texts = (
        (entry.chosen, entry.rejected)
        if isinstance(entry, PreferencePair)
        else (entry.completion, None)
    )
    ref = ImageRef("", data=entry.images[0])
    return Example(
        id=f"review/{entry.case_id}/{entry.source}/{number}",
        image=ImageRef(f"review/{ref.sha256()}", data=entry.images[0]),
        question=entry.prompt,
        answer=texts[0] if good else "",
        explanation=texts[1] if good else texts[0],
        kind="open",
        modality=None,
        organ=None,
        facts=(),
        source="review",
        licence="not stated",
        split="train",
    )
