"""Rows for training: nothing held out, pictures as inference sees them, forms by the recipe."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rarl.data import Example, ImageRef
from rarl.errors import DataError, ModelError
from rarl.models.loader import load_model
from rarl.models.processor import load_processor
from rarl.prompts import FORMS, mode_of, user_text
from rarl.training.dataset import Images, check_training_rows, grpo_rows, sft_rows
from rarl.training.preflight import check_rows
from rarl.training.recipe import GrpoRecipe, SftRecipe, load_recipe


def sft(*overrides: str) -> SftRecipe:
    recipe = load_recipe("sft", overrides=overrides)
    assert isinstance(recipe, SftRecipe)
    return recipe


def rarl(*overrides: str) -> GrpoRecipe:
    recipe = load_recipe("rarl", overrides=overrides)
    assert isinstance(recipe, GrpoRecipe)
    return recipe


@pytest.mark.parametrize("split", ["validation", "test", "image-disjoint", "unseen"])
def test_a_held_out_row_never_trains(examples: list[Example], split: str) -> None:
    rows = [*examples, replace(examples[0], split=split)]
    with pytest.raises(DataError, match=split):
        check_training_rows(rows)


def test_sft_keeps_the_shares_of_modes(examples: list[Example], tiny: Path) -> None:
    images = load_processor(tiny).image_processor
    rows = sft_rows(examples, sft("steps=40", "batch=32", "micro_batch=32"), 0, images)
    targets = rows.with_format(None)["target"]
    assert len(targets) == 40 * 32
    starts = Counter("".join(sorted(target.split(">", 1)[0])) for target in targets)
    think = starts["".join(sorted("<think"))] / len(targets)
    alone = sum("<think>" not in target for target in targets) / len(targets)
    assert think == pytest.approx(0.6, abs=0.05) and alone == pytest.approx(0.2, abs=0.05)
    row = rows[0]
    assert row["completion"][0]["role"] == "assistant"
    assert row["images"][0].mode == "RGB"


def test_an_unexplained_row_does_not_reach_sft(examples: list[Example], tiny: Path) -> None:
    images = load_processor(tiny).image_processor
    silent = [replace(example, explanation=None) for example in examples]
    with pytest.raises(DataError, match="no training row"):
        sft_rows(silent, sft("steps=1", "batch=4", "micro_batch=4"), 0, images)


def test_diversity_asks_in_every_form_and_only_when_on(examples: list[Example], tiny: Path) -> None:
    images = load_processor(tiny).image_processor
    recipe = rarl("steps=30", "prompts=8", "micro_batch=8")
    rows = grpo_rows(examples, recipe, 0, images).with_format(None)
    ways = Counter(
        form
        for text, question in zip(rows["text"], rows["question"], strict=True)
        for form in FORMS
        if text == user_text(question, form=form)
    )
    assert set(ways) == set(FORMS) and min(ways.values()) > 20
    for text, question, mode in zip(rows["text"], rows["question"], rows["mode"], strict=True):
        assert any(
            text == user_text(question, form=form) and mode == mode_of(form) for form in FORMS
        )
    assert rows["text"] == grpo_rows(examples, recipe, 0, images).with_format(None)["text"]
    assert rows["text"] != grpo_rows(examples, recipe, 1, images).with_format(None)["text"]
    plain = grpo_rows(
        examples, rarl("steps=30", "prompts=8", "micro_batch=8", "diversity=false"), 0, images
    ).with_format(None)
    assert set(plain["mode"]) == {"reason"}
    assert plain["text"][0] == user_text(plain["question"][0])


def test_a_short_run_sees_many_images_and_little_that_the_base_knows(
    examples: list[Example], tiny: Path
) -> None:
    images = load_processor(tiny).image_processor
    # Rows about one image stand together: in order, these would show two images.
    many = [replace(row, id=f"{row.id}/{n}") for row in examples for n in range(8)]
    rows = grpo_rows(many, rarl("steps=8"), 0, images).with_format(None)
    assert len(set(rows["image"])) == 8
    basics = {row.question for row in many if row.category in {"modality", "organ"}}

    def share(questions: list[str]) -> float:
        return sum(question in basics for question in questions) / len(questions)

    assert 0 < share(rows["question"]) < 0.3 < share([row.question for row in many])
    known = [row for row in many if row.category == "organ"]
    with pytest.raises(DataError, match="keep"):
        grpo_rows(known, rarl("keep.organ=0"), 0, images)


@pytest.mark.parametrize("most", [56 * 56, 84 * 84, 112 * 140])
def test_a_kept_image_gives_the_same_pixels(examples: list[Example], tiny: Path, most: int) -> None:
    processor = load_processor(tiny).image_processor
    processor.size["longest_edge"] = most
    refs = [example.image for example in examples if example.image][::4]
    kept = Images(refs, processor)
    for place, ref in enumerate(refs):
        plain = processor(images=[ref.load()], return_tensors="pt")
        ours = processor(images=[kept[place]], return_tensors="pt")
        assert torch.equal(plain["pixel_values"], ours["pixel_values"])
        assert torch.equal(plain["image_grid_thw"], ours["image_grid_thw"])
    assert kept[0] is kept[0]


def test_every_row_is_checked_and_a_misfit_stops_the_run(
    examples: list[Example], tiny: Path
) -> None:
    loaded = load_model(str(tiny), adapters={})
    rows = grpo_rows(
        examples, rarl("steps=2", "prompts=8", "micro_batch=8"), 0, loaded.processor.image_processor
    )
    checked = check_rows(loaded.base, loaded.processor, rows, 40)
    plain = rows.with_format(None)
    distinct = len(set(zip(plain["image"], plain["text"], strict=True)))
    assert f"{distinct} distinct prompts hold {2 * distinct} image tokens" in checked.lines[0]
    assert len(plain["text"][checked.largest]) >= len(plain["text"][checked.second])
    with pytest.raises(ModelError, match="tokens"):
        check_rows(loaded.base, loaded.processor, rows, 5000)
    template = loaded.processor.chat_template
    loaded.processor.chat_template = template.replace("<|image_pad|>", "")
    with pytest.raises((ModelError, ValueError)):
        check_rows(loaded.base, loaded.processor, rows, 40)
    loaded.processor.chat_template = template
    loaded.processor.image_processor.merge_size = 1
    with pytest.raises(ModelError, match="image"):
        check_rows(loaded.base, loaded.processor, rows, 40)


def test_a_broken_image_is_named_by_its_row(
    examples: list[Example], tiny: Path, tmp_path: Path
) -> None:
    loaded = load_model(str(tiny), adapters={})
    assert examples[5].image is not None
    cut = tmp_path / "cut.png"
    cut.write_bytes(examples[5].image.read()[:120])
    rows = [*examples[:5], replace(examples[5], image=ImageRef("cut", cut))]
    recipe = rarl("steps=1", "prompts=8", "micro_batch=8")
    data = grpo_rows(rows, recipe, 0, loaded.processor.image_processor)
    with pytest.raises(DataError, match=re.escape(examples[5].id)):
        check_rows(loaded.base, loaded.processor, data, 40)


def test_a_row_without_a_short_answer_does_not_reach_sft(
    examples: list[Example], tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = load_processor(tiny).image_processor
    mixed = [replace(row, answer="") if n % 2 else row for n, row in enumerate(examples)]
    rows = sft_rows(mixed, sft("steps=10", "batch=4", "micro_batch=4"), 0, images)
    assert not any("<answer></answer>" in text for text in rows.with_format(None)["target"])
    assert f"{len(mixed) // 2} of {len(mixed)} explained rows have no short answer" in caplog.text
