"""The pocket stages on a tiny model and drawn images: resuming, rendering, augmentation."""

from __future__ import annotations

import copy
import io
import random
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file
from transformers import Qwen2VLForConditionalGeneration

from rarl.data import Example, ImageRef
from rarl.data.explanations import basic_facts
from rarl.models.processor import ImageProcessor
from rarl.models.small import TINY, make_model, make_processor, train_tokenizer
from rarl.models.vision import encode, patchify
from rarl.pocket import vision_stage
from rarl.pocket.build import KEPT, SHAPE
from rarl.pocket.checkpoints import save_checkpoint
from rarl.pocket.images import Augmentation, ImageStore, augment, normalise
from rarl.pocket.joint_stage import JointPhase, Renderer, _RowSampler, _see, train_joint
from rarl.pocket.teacher import WIDTH, Pupil, Teacher
from rarl.pocket.vision_stage import (
    Tower,
    VisionPhase,
    fit_head,
    labelled_images,
    train_teacher,
    train_vision,
)
from rarl.prompts import messages, target_text, user_text


def _example(number: int, category: str, answer: str, split: str = "train") -> Example:
    image = Image.new("RGB", (70 + number, 60), (30 * (number % 3), 40, 50))
    ImageDraw.Draw(image).ellipse((10, 10, 20 + number, 40), fill=(200, 200, 200))
    held = io.BytesIO()
    image.save(held, "PNG")
    return Example(
        id=f"brain_tumor_mri/{number}/{category}",
        image=ImageRef(f"drawn-{number}", data=held.getvalue()),
        question="What does this show?",
        answer=answer,
        explanation=f"It shows {answer}.",
        kind="open",
        modality="mri",
        organ="brain",
        facts=tuple(basic_facts("mri", "brain")),
        source="brain_tumor_mri",
        licence="CC0-1.0",
        split=split,  # type: ignore[arg-type]
        category=category,
    )


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [_example(n, "label", "glioma" if n % 2 else "no tumor") for n in range(6)]


def _tiny(examples: list[Example]) -> tuple[Qwen2VLForConditionalGeneration, ImageProcessor]:
    texts = [target_text(e.answer, e.explanation, "reason") for e in examples]
    tokenizer = train_tokenizer(texts * 3, TINY.vocabulary)
    return make_model(tokenizer, TINY, seed=0), make_processor(tokenizer, TINY)


def _flat(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_batched_tower_equals_the_library(examples: list[Example]) -> None:
    model, processor = _tiny(examples)
    images = [example.image.load() for example in examples[:3] if example.image]
    pixels = processor.image_processor(images=images[0], return_tensors="pt")
    expected = model.model.get_image_features(
        pixels["pixel_values"], pixels["image_grid_thw"]
    ).pooler_output[0]
    key = examples[0].image
    assert key is not None
    store = ImageStore([key], TINY.min_pixels, TINY.max_pixels, 2 * TINY.patch)
    batch = normalise(store.batch([key.key]))
    grid = (batch.shape[2] // TINY.patch, batch.shape[3] // TINY.patch)
    assert tuple(pixels["image_grid_thw"][0].tolist()) == (1, *grid)
    patches = patchify(batch, TINY.patch)
    assert torch.allclose(patches[0], pixels["pixel_values"], atol=1e-6)
    features = encode(model.model.visual, patches, grid)[1][0]
    assert torch.allclose(features, expected, atol=1e-5)


def test_renderer_gives_the_processors_tokens(examples: list[Example]) -> None:
    _, processor = _tiny(examples)
    example = examples[0]
    assert example.image is not None
    text = user_text(example.question, "reason")
    prompt = processor.apply_chat_template(
        messages(text), tokenize=False, add_generation_prompt=True
    )
    inputs = processor(text=[prompt], images=[example.image.load()], return_tensors="pt")
    expected = inputs["input_ids"][0].tolist()
    renderer = Renderer(processor)
    count = expected.count(renderer.image)
    target = target_text(example.answer, example.explanation, "reason")
    ids, start = renderer.ids(text, target, count)
    assert ids[:start] == expected
    assert processor.tokenizer.decode(ids[start:]) == target + "<|im_end|>"
    weights = renderer.weights(ids, start, answer_weight=3.0)
    assert weights[:start] == [0.0] * start
    told = processor.tokenizer.decode(
        [token for token, weight in zip(ids, weights, strict=True) if weight == 3.0]
    )
    assert told == example.answer


class _KilledError(Exception):
    pass


def test_killed_vision_stage_ends_in_the_same_weights(
    tmp_path: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = labelled_images(examples)
    phases = [VisionPhase(2, 56 * 56, batch=4), VisionPhase(2, 84 * 84, batch=4)]

    def run(checkpoint: Path) -> torch.Tensor:
        model, _ = _tiny(examples)
        torch.manual_seed(1)
        teacher = Teacher(sorted({row.label for row in rows}))
        visual = model.model.visual
        train_vision(visual, teacher, rows, rows, phases, checkpoint, seed=3, evaluate_every=2)
        return _flat(model.model.visual)

    whole = run(tmp_path / "whole")

    def killed(*arguments: object) -> None:
        save_checkpoint(*arguments)  # type: ignore[arg-type]
        raise _KilledError

    with monkeypatch.context() as patch, pytest.raises(_KilledError):
        patch.setattr(vision_stage, "save_checkpoint", killed)
        run(tmp_path / "cut")
    assert torch.load(tmp_path / "cut", weights_only=True)["step"] == 2
    assert torch.equal(whole, run(tmp_path / "cut"))


def test_teacher_tells_drawn_classes_apart(tmp_path: Path, examples: list[Example]) -> None:
    rows = labelled_images(examples)
    phases = [VisionPhase(12, 56 * 56, batch=8)]
    teacher, _ = train_teacher(rows, rows, phases, 28, tmp_path / "checkpoint", seed=0)
    untrained = Teacher(teacher.classes)
    assert not torch.equal(_flat(teacher), _flat(untrained))
    scores, places = teacher.eval()(torch.zeros(2, 3, 56, 56))
    assert scores.shape == (2, 2)
    assert places.shape == (2, WIDTH, 8, 8)


def test_pupil_matches_the_cells_its_token_covers() -> None:
    taught = torch.randn(1, WIDTH, 8, 8, generator=torch.Generator().manual_seed(0))
    # The token of row 1, column 2 covers rows 2 and 3, columns 4 and 5 of the map.
    cells = torch.cat([taught[0, :, row, column] for row in (2, 3) for column in (4, 5)])
    wanted = torch.nn.functional.layer_norm(cells, cells.shape)
    pupil = Pupil(16)
    with torch.no_grad():
        pupil.out.weight.zero_()
        pupil.out.weight[:, 0] = wanted
        pupil.out.bias.zero_()
    merged = torch.zeros(1, 16, 16)
    without = pupil.loss(merged, taught, (4, 4))
    merged[0, 4 * 1 + 2, 0] = 1.0
    # That token now says its cells exactly, and no other token says more than before.
    gained = torch.nn.functional.smooth_l1_loss(torch.zeros_like(wanted), wanted) / 16
    assert torch.allclose(without - pupil.loss(merged, taught, (4, 4)), gained, atol=1e-6)


PHASE = JointPhase(
    steps=3, pixels_min=TINY.min_pixels, pixels_max=TINY.max_pixels, images=2, frozen_steps=1
)


def _guide(model: Qwen2VLForConditionalGeneration, examples: list[Example], where: Path) -> Tower:
    visual = copy.deepcopy(model.model.visual)
    rows = labelled_images(examples)
    return fit_head(visual, rows, rows, VisionPhase(2, 56 * 56, batch=4), where / "head", 0)[0]


def test_head_is_fitted_on_a_tower_that_stands_still(
    tmp_path: Path, examples: list[Example]
) -> None:
    model, _ = _tiny(examples)
    guide = _guide(model, examples, tmp_path)
    assert torch.equal(_flat(guide.visual), _flat(model.model.visual))
    assert not torch.equal(
        guide.head.out.weight, Tower(guide.visual, guide.classes).head.out.weight
    )


def test_joint_stage_learns_and_refuses_held_out_rows(
    tmp_path: Path, examples: list[Example]
) -> None:
    model, processor = _tiny(examples)
    before = _flat(model)
    guide = _guide(model, examples, tmp_path)
    train_joint(model, guide, processor, examples, PHASE, tmp_path / "checkpoint", seed=0)
    assert not torch.equal(before, _flat(model))
    held = _example(9, "label", "glioma", split="test")
    with pytest.raises(ValueError, match="training rows alone"):
        rows = [*examples, held]
        train_joint(model, guide, processor, rows, PHASE, tmp_path / "other", seed=0)


def test_joint_stage_tells_what_the_head_sees(tmp_path: Path, examples: list[Example]) -> None:
    model, _ = _tiny(examples)
    guide = _guide(model, examples, tmp_path).eval()
    with torch.no_grad():  # a head that calls everything a glioma
        guide.head.out.weight.zero_()
        guide.head.out.bias.copy_(torch.tensor([name == "glioma" for name in guide.classes]))
    sampler = _RowSampler(examples)
    store = ImageStore(
        [e.image for e in examples if e.image], PHASE.pixels_min, PHASE.pixels_max, 2 * TINY.patch
    )
    seen, drift = _see(
        model,
        guide,
        store,
        sampler,
        [[example] for example in examples],
        PHASE,
        random.Random(0),
        torch.Generator().manual_seed(0),
    )
    assert {row.answer for one in seen for row in one.rows} == {"glioma"}
    # No gradient of the text reaches the tower through them, and it has not moved yet.
    assert not any(one.features.requires_grad for one in seen)
    assert float(drift.detach()) == pytest.approx(0, abs=1e-4)
    assert drift.requires_grad


def test_only_rows_without_sides_are_mirrored() -> None:
    images = torch.zeros(16, 3, 28, 28)
    images[:, :, :, :14] = 1.0
    still = Augmentation(degrees=0, scale=1, shift=0, contrast=0, brightness=0, noise=0, erase=0)
    flip = torch.tensor([True] * 8 + [False] * 8)
    changed = augment(images, flip, still, torch.Generator().manual_seed(0))
    left_is_bright = changed[:, :, :, :10].mean((1, 2, 3)) > changed[:, :, :, 18:].mean((1, 2, 3))
    assert left_is_bright[8:].all()
    assert not left_is_bright[:8].all()


def test_kept_tower_fits_the_shape(examples: list[Example]) -> None:
    tokenizer = _tiny(examples)[1].tokenizer
    visual = make_model(tokenizer, SHAPE, seed=0).model.visual
    before = _flat(visual)
    visual.load_state_dict(load_file(KEPT / "vision.safetensors"))
    assert torch.isfinite(_flat(visual)).all()
    assert not torch.equal(before, _flat(visual))
