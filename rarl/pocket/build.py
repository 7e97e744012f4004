"""The stages of `scripts/build_pocket --small`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast, Qwen2VLForConditionalGeneration

from rarl.data import Example, Split, load_examples
from rarl.models.loader import load_model
from rarl.models.small import (
    SmallShape,
    local_attention_init,
    make_model,
    make_processor,
    train_tokenizer,
)
from rarl.pocket.joint_stage import JointPhase, train_joint
from rarl.pocket.teacher import Teacher
from rarl.pocket.vision_stage import (
    Tower,
    VisionPhase,
    fit_head,
    labelled_images,
    train_teacher,
    train_vision,
)
from rarl.prompts import FORMS, target_text, user_text
from rarl.response import MODES
from rarl.training.recipe import RecipeName
from rarl.training.run import Options, train

logger = logging.getLogger(__name__)

SETS = ("vqa_rad", "vqa_rad_basics", "brain_tumor_mri", "busi_breast_us", "bccd_blood")
# Weights may be shipped only where every row that shaped them allows it.
PERMISSIVE = frozenset({"CC0-1.0", "CC-BY-4.0", "MIT"})
SHARD = "9MB"
ADAPTERS: tuple[RecipeName, ...] = ("sft", "rl", "rarl")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "rarl.json", "recipe.yaml")
# Finished stages that the repository keeps; delete a file to have its stage run again.
KEPT = Path(__file__).parents[2] / "assets" / "stages"
CARD = Path(__file__).with_name("small_card.md")

SHAPE = SmallShape()
LOCALITY = 16.0
TEACHER = (
    VisionPhase(steps=800, pixels=112 * 112),
    VisionPhase(steps=700, pixels=140 * 140),
)
VISION = (
    VisionPhase(steps=2600, pixels=112 * 112),
    VisionPhase(steps=600, pixels=140 * 140),
)
HEAD = VisionPhase(steps=300, pixels=140 * 140)
JOINT = JointPhase(steps=1500, pixels_min=SHAPE.min_pixels, pixels_max=SHAPE.max_pixels)


@dataclass(frozen=True, slots=True)
class Place:
    """Work folder and settings of a build.

    Attributes:
        work: checkpoints and finished stages.
        assets: the folder that is shipped.
        seed: of everything random.
        scale: share of the configured steps.
    """

    work: Path
    assets: Path
    seed: int
    scale: float

    def steps(self, configured: int) -> int:
        """Steps at this build's scale, at least two."""
        return max(2, round(configured * self.scale))

    @property
    def base(self) -> Path:
        """The finished base model, with its processor."""
        return self.work / "pocket"


def rows(split: Split) -> list[Example]:
    """All rows of a split that may shape shipped weights.

    Raises:
        ValueError: a row's licence does not allow it.
    """
    examples = load_examples(SETS, [split])
    refused = {row.licence for row in examples} - PERMISSIVE
    if refused:
        raise ValueError(f"rows under {', '.join(sorted(refused))} may not train shipped weights")
    return examples


def _tokenizer(place: Place) -> None:
    folder = place.work / "tokenizer"
    if folder.is_dir():
        return
    texts = []
    for row in rows("train"):
        texts += [user_text(row.question, "reason", form) for form in FORMS]
        texts += [user_text(row.question, mode) for mode in MODES]
        texts += [target_text(row.answer, row.explanation, mode) for mode in MODES] * 3
    tokenizer = train_tokenizer(texts, SHAPE.vocabulary)
    tokenizer.save_pretrained(folder)
    logger.info("tokenizer: %d entries from %d texts", len(tokenizer), len(texts))


def _fresh(place: Place) -> Qwen2VLForConditionalGeneration:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place.work / "tokenizer")
    return make_model(tokenizer, SHAPE, place.seed)


def _scaled(place: Place, phases: Sequence[VisionPhase]) -> list[VisionPhase]:
    return [replace(phase, steps=place.steps(phase.steps)) for phase in phases]


def _teacher(place: Place) -> None:
    finished = place.work / "teacher.safetensors"
    if finished.is_file() or (place.scale == 1 and (KEPT / "vision.safetensors").is_file()):
        return
    teacher, figures = train_teacher(
        labelled_images(rows("train")),
        labelled_images(rows("validation")),
        _scaled(place, TEACHER),
        2 * SHAPE.patch,
        place.work / "teacher.checkpoint",
        place.seed,
    )
    logger.info("teacher: validation accuracy %s", figures)
    save_file(teacher.state_dict(), finished)


def _vision(place: Place) -> None:
    finished = place.work / "vision.safetensors"
    if finished.is_file():
        return
    kept = KEPT / finished.name
    if kept.is_file() and place.scale == 1:
        shutil.copy2(kept, finished)
        return
    train = labelled_images(rows("train"))
    teacher = Teacher(sorted({row.label for row in train}))
    teacher.load_state_dict(load_file(place.work / "teacher.safetensors"))
    visual = _fresh(place).model.visual
    local_attention_init(visual, LOCALITY)
    figures = train_vision(
        visual,
        teacher,
        train,
        labelled_images(rows("validation")),
        _scaled(place, VISION),
        place.work / "vision.checkpoint",
        place.seed,
    )
    logger.info("vision: validation accuracy %s", figures)
    save_file(visual.state_dict(), finished)


def _guide(place: Place) -> Tower:
    visual = _fresh(place).model.visual
    visual.load_state_dict(load_file(place.work / "vision.safetensors"))
    train = labelled_images(rows("train"))
    finished = place.work / "head.safetensors"
    if finished.is_file():
        guide = Tower(visual, sorted({row.label for row in train}))
        guide.head.load_state_dict(load_file(finished))
        return guide
    guide, figures = fit_head(
        visual,
        train,
        labelled_images(rows("validation")),
        replace(HEAD, steps=place.steps(HEAD.steps)),
        place.work / "head.checkpoint",
        place.seed,
    )
    logger.info("label head: validation accuracy %s", figures)
    save_file(guide.head.state_dict(), finished)
    return guide


def _joint(place: Place) -> None:
    if (place.base / "config.json").is_file():
        return
    guide = _guide(place)
    model = _fresh(place)
    model.model.visual.load_state_dict(guide.visual.state_dict())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(place.work / "tokenizer")
    processor = make_processor(tokenizer, SHAPE)
    phase = replace(JOINT, steps=place.steps(JOINT.steps))
    checkpoint = place.work / "joint.checkpoint"
    train_joint(model, guide, processor, rows("train"), phase, checkpoint, place.seed)
    processor.save_pretrained(place.base)
    # bf16 halves the download; two cores compute in fp32 all the same.
    model.bfloat16().save_pretrained(place.base, max_shard_size=SHARD)


def _adapter(recipe: RecipeName) -> Callable[[Place], None]:
    def stage(place: Place) -> None:
        out = place.work / recipe
        if (out / "adapter_model.safetensors").is_file():
            return
        options = Options(
            recipe=recipe,
            model=str(place.base),
            out=out,
            data=SETS,
            seed=place.seed,
            steps=None if place.scale == 1 else 2,
            resume=any(out.glob("checkpoints/checkpoint-*")),
        )
        train(options, rows("train"), rows("validation"))

    return stage


def copy_adapter(source: Path, target: Path) -> None:
    """Put what is shipped of a trained adapter's folder in place of what `target` holds."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in ADAPTER_FILES:
        shutil.copy2(source / file, target / file)


def _ship(place: Place) -> None:
    place.assets.mkdir(parents=True, exist_ok=True)
    for source in sorted(place.base.iterdir()):
        shutil.copy2(source, place.assets / source.name)
    records = {}
    for name in ADAPTERS:
        target = place.assets / "adapters" / name
        copy_adapter(place.work / name, target)
        records[name] = json.loads((target / "rarl.json").read_text("utf-8"))
    # What was trained must load as what is shipped.
    load_model(str(place.assets), device="cpu")
    base = load_model(str(place.assets), adapters={}, device="cpu").base
    card = Template(CARD.read_text("utf-8")).substitute(
        parameters=f"{base.num_parameters() / 1e6:.1f}",
        rows=len(rows("train")),
        images=len({row.image.key for row in rows("train") if row.image}),
        joint_steps=JOINT.steps,
        teacher_steps=sum(phase.steps for phase in TEACHER),
        vision_steps=sum(phase.steps for phase in VISION),
        **{f"{name}_steps": record["steps"] for name, record in records.items()},
    )
    (place.assets / "README.md").write_text(card, "utf-8")


STAGES: dict[str, Callable[[Place], None]] = {
    "tokenizer": _tokenizer,
    "teacher": _teacher,
    "vision": _vision,
    "joint": _joint,
    **{name: _adapter(name) for name in ADAPTERS},
    "ship": _ship,
}


def build(
    stages: Sequence[str], work: Path, assets: Path, seed: int, threads: int, scale: float
) -> None:
    """Run stages in order.

    Args:
        stages: names from `STAGES`.
        work: work folder, made where it is missing.
        assets: folder that `ship` writes.
        seed: of everything random.
        threads: CPU threads of torch.
        scale: share of the configured steps.
    """
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    place = Place(work, assets, seed, scale)
    for stage in stages:
        STAGES[stage](place)
