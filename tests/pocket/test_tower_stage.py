"""Tasks from annotations, and a tower whose training resumes exactly and honours what is frozen."""

import random
from pathlib import Path

import pytest
import torch
from PIL import Image

from rarl.data import Example, Fact, ImageRef
from rarl.models.convolution import HybridTower
from rarl.pocket.tasks import Labelled, labelled_images, number_class, task_classes
from rarl.pocket.tower_stage import (
    ImageSampler,
    TaskTower,
    TowerPhase,
    quadratic_kappa,
    start_blocks_as_identity,
    train_tower,
)


def row(source: str, image: ImageRef, category: str, answer: str, **values) -> Example:
    return Example(
        id=f"{source}/{image.key}/{category}",
        image=image,
        question="What?",
        answer=answer,
        explanation=None,
        kind="open",
        modality=values.pop("modality", None),
        organ=values.pop("organ", None),
        facts=values.pop("facts", ()),
        source=source,
        licence="CC0-1.0",
        split="train",
        category=category,
    )


def test_rows_become_the_tasks_that_they_answer() -> None:
    knee, scan = ImageRef("knee_oa/a.jpg"), ImageRef("vqa_rad/b.jpg")
    plane = Fact("plane", "axial", True, "The plane is axial.")
    rows = [
        row("knee_oa", knee, "label", "3", modality="x-ray", organ="knee"),
        row("knee_oa", knee, "side", "left", modality="x-ray", organ="knee"),
        row("vqa_rad", scan, "PRES", "yes", modality="ct", organ="brain", facts=(plane,)),
        row("hc18_fetal_head", ImageRef("hc18_fetal_head/c.jpg"), "measure", "100 mm"),
    ]
    first, second, third = labelled_images(rows)
    assert first.classes == {"knee grade": "3", "knee side": "left", "kind": "x-ray of knee"}
    assert second.classes == {"kind": "ct of brain", "plane": "axial"}
    assert third.classes == {"head circumference": number_class(100, 45, 350, 20)}
    assert first.sided and second.sided and not third.sided
    assert set(task_classes([first, second, third])) == {"kind"}


@pytest.mark.parametrize(("low", "high", "steps"), [(45.0, 350.0, 20), (1.0, 380.0, 12)])
def test_numbers_fall_into_steps_near_them(low: float, high: float, steps: int) -> None:
    width = (high / low) ** (0.5 / steps)
    for value in (low, 1.7 * low, (low * high) ** 0.5, 0.9 * high, high):
        middle = float(number_class(value, low, high, steps))
        assert value / width - 0.6 <= middle <= value * width + 0.6
    assert number_class(0.1, low, high, steps) == number_class(low, low, high, steps)


def test_kappa_knows_how_far_apart_grades_are() -> None:
    near = quadratic_kappa([(0, 1), (1, 0), (4, 4), (4, 4)])
    far = quadratic_kappa([(0, 4), (4, 0), (4, 4), (4, 4)])
    assert 1 > near > 0 > far


@pytest.fixture
def images(tmp_path: Path) -> list[Labelled]:
    rows = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (224, 224), (40 * number, 10, 10)).save(path)
        classes = {"breast": ("benign", "normal")[number % 2], "kind": "ultrasound of breast"}
        key = f"busi_breast_us/{number}.png"
        rows.append(Labelled(ImageRef(key, path), "busi_breast_us", classes, sided=False))
    return rows


def small_tower() -> TaskTower:
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

    torch.manual_seed(0)
    visual = HybridTower(
        Qwen2VLVisionConfig(
            depth=1,
            embed_dim=16,
            num_heads=2,
            hidden_size=24,
            patch_size=14,
            temporal_patch_size=1,
            mlp_ratio=2,
            network="lite0",
            rope_parameters={"rope_type": "axial", "rope_theta": 100.0},
        )
    )
    start_blocks_as_identity(visual)
    return TaskTower(visual, {"breast": ["benign", "normal"]})


def test_training_resumes_where_it_stopped(images: list[Labelled], tmp_path: Path) -> None:
    phases = [
        TowerPhase(steps=2, frozen=6, side=56, batch=2),
        TowerPhase(steps=1, frozen=5, side=56, batch=2),
    ]

    def run(tower: TaskTower, work: Path, stop: int | None = None) -> dict[str, float]:
        chosen = phases if stop is None else [phases[0]]
        device = torch.device("cpu")
        return train_tower(tower, images, images, chosen, work, 0, device, save_every=1)

    whole = small_tower()
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    figures = run(whole, tmp_path / "whole")
    assert 0 <= figures["breast"] <= 1
    moved = {
        name for name, value in whole.state_dict().items() if not torch.equal(value, before[name])
    }
    frozen = ("visual.stem.network.stem.", "visual.stem.network.stages.0.")
    assert moved and not any(name.startswith(frozen) for name in moved)
    assert any("stages.6" in name for name in moved) and any("heads" in name for name in moved)

    # The checkpoint holds everything: a fresh tower goes on to the same end.
    state = torch.load(tmp_path / "whole" / "tower.checkpoint", weights_only=True)
    assert state["step"] == 3
    again = small_tower()
    assert run(again, tmp_path / "whole") == figures
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_rare_classes_are_drawn_more_often_than_they_occur(images: list[Labelled]) -> None:
    def labelled(name: str) -> Labelled:
        return Labelled(images[0].image, "busi_breast_us", {"breast": name}, sided=False)

    sampler = ImageSampler([labelled("benign")] * 16 + [labelled("normal")])
    drawn = [one.classes["breast"] for one in sampler.draw(random.Random(0), 4000)]
    assert drawn.count("normal") / len(drawn) == pytest.approx(0.2, abs=0.03)
