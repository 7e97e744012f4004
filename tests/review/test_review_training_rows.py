"""What readers settled comes back as regression cases, training rows and preference pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarl.data import Example, ImageRef, load_examples, load_set
from rarl.errors import DataError, ReviewError
from rarl.inference.engine import Answer, Arm, NamedImage, Question
from rarl.response import parse_response
from rarl.review import FlagFilter, Judgement, Queue, ReviewStore, case_from, open_store
from rarl.review.training_rows import preference_pairs, review_examples, write_preferences
from rarl.scans import Scan

TEXTS = {
    "sft": "<think>Clear.</think><answer>no</answer>",
    "rarl": "<think>A line.</think><answer>yes</answer>",
}
WRONG = Judgement(0, 0, True, "Yes", "A line.")
Settle = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewStore]:
    monkeypatch.delenv("RARL_DATABASE_URL", raising=False)
    monkeypatch.setenv("RARL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RARL_DATA", str(tmp_path))  # no other set is at hand
    opened = open_store()
    yield opened
    opened.close()


def picture(trains: bool, start: int = 0) -> Image.Image:
    """Noise whose PNG falls among the four fifths that may train, or not."""
    for seed in range(start, start + 200):
        image = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40), np.uint8))
        buffer = BytesIO()
        image.save(buffer, "PNG")
        if (int(hashlib.sha256(buffer.getvalue()).hexdigest(), 16) % 5 != 0) == trains:
            return image
    raise AssertionError("no such picture")


@pytest.fixture
def settle(store: ReviewStore) -> Settle:
    """Store a case whose SFT answer two readers differ on, and settle it."""

    def make(
        image: Image.Image,
        question: str = "Is there a pneumothorax?",
        corrected: Judgement = WRONG,
        blind: bool = True,
    ) -> str:
        case_id = store.add_case(
            case_from(
                Question((NamedImage(image),), question, tuple(TEXTS)),
                [Answer(arm, parse_response(text), 3, 1.0, True) for arm, text in TEXTS.items()],
                arms=[Arm(arm, arm.upper(), "a" * 12) for arm in TEXTS],
                model="pocket",
                prompt_hash="f",
                scan=Scan(image, "dicom", "DX"),
                blind=blind,
            )
        )
        store.add_flag(case_id, "sft", "missed-finding", "major")
        for name, score in (("A", 0), ("B", 3)):
            reader = store.for_person(name, "reader")
            Queue(reader).judge(case_id, "sft", Judgement(score, score))
        Queue(store.for_person("C", "adjudicator")).adjudicate(case_id, "sft", corrected)
        return case_id

    return make


def held_out(image: Image.Image) -> Example:
    buffer = BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return Example(
        id="other/1",
        image=ImageRef("other/1", data=buffer.getvalue()),
        question="?",
        answer="no",
        explanation=None,
        kind="closed",
        modality=None,
        organ=None,
        facts=(),
        source="other",
        licence="CC0-1.0",
        split="test",
    )


def test_a_correction_is_a_regression_case_and_trains(store: ReviewStore, settle: Settle) -> None:
    case_id = settle(picture(trains=True))
    settle(picture(trains=True, start=300), corrected=Judgement(2, 2))  # nothing corrected
    regression, training = review_examples(store, [])
    assert (regression.id, regression.split) == (f"review/{case_id}/regression", "test")
    assert (training.id, training.split) == (f"review/{case_id}", "train")
    assert (training.answer, training.explanation, training.kind) == ("yes", "A line.", "closed")
    assert training.modality == "x-ray" and regression.reworded and not training.reworded
    assert training.image is not None
    assert training.image.load().size == (40, 40)
    # By name, as the commands load it.
    assert load_examples(["review"], ["train"]) == [training]
    assert load_set("review") == [regression, training]


def test_held_out_images_train_nothing(store: ReviewStore, settle: Settle) -> None:
    image = picture(trains=True)
    settle(image)
    settle(picture(trains=False))
    rows = review_examples(store, [held_out(image)])
    assert [row.split for row in rows] == ["test", "image-disjoint"] * 2
    assert not any(row.reworded for row in rows)
    assert preference_pairs(store, [held_out(image)]) == []
    # A picture of another size and brightness is a near-duplicate, and held out as well.
    near = image.resize((80, 80), Image.Resampling.BILINEAR).point(lambda grey: grey // 2)
    assert "train" not in {row.split for row in review_examples(store, [held_out(near)])}
    trains = [row for row in review_examples(store, []) if row.split == "train"]
    assert len(trains) == 1


def test_nothing_settled_is_said(store: ReviewStore) -> None:
    with pytest.raises(DataError, match="no settled correction"):
        load_set("review")


def test_preference_pairs(store: ReviewStore, settle: Settle, tmp_path: Path) -> None:
    from datasets import load_dataset

    with pytest.raises(ReviewError, match="no preference yet"):
        write_preferences(store, tmp_path / "pairs.parquet")
    image = picture(trains=True)
    case_id = settle(image, "Where is it?", Judgement(0, 0, True, "left apex", "A line there."))
    store.add_vote(case_id, "better", "rarl")
    store.add_vote(case_id, "tie")
    # Whoever sees the names of the variants may vote for a name.
    named = settle(picture(trains=True, start=300), corrected=Judgement(3, 3), blind=False)
    store.add_vote(named, "better", "rarl")
    pairs = preference_pairs(store, [])
    assert [(pair.source, pair.chosen, pair.rejected) for pair in pairs] == [
        ("vote", TEXTS["rarl"], TEXTS["sft"]),
        (
            "correction",
            "<think>A line there.</think><answer>left apex</answer>",
            TEXTS["sft"],
        ),
    ]
    assert write_preferences(store, tmp_path / "pairs.parquet") == 2
    rows = load_dataset(
        "parquet",
        data_files=str(tmp_path / "pairs.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    row = rows[1]
    assert row["images"][0].tobytes() == image.tobytes()
    first, second = row["prompt"][0]["content"]
    assert (first["type"], second["type"]) == ("image", "text")
    assert second["text"].startswith("Where is it?\nReason in")
    assert row["chosen"][0]["role"] == "assistant"
    only = FlagFilter(arm="sft")
    assert write_preferences(store, tmp_path / "pairs.parquet", only) == 2
    with pytest.raises(ReviewError, match="no preference yet"):
        write_preferences(store, tmp_path / "pairs.parquet", FlagFilter(arm="rarl"))
    with pytest.raises(ReviewError, match="You may not export"):
        write_preferences(store.for_person("A", "reader"), tmp_path / "more.parquet")


def test_dpo_trains_on_the_pairs(
    store: ReviewStore, settle: Settle, tmp_path: Path, tiny_model: Path
) -> None:
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import Qwen2VLForConditionalGeneration
    from trl import DPOConfig, DPOTrainer

    from rarl.models.loader import load_model

    for start in (0, 300):
        store.add_vote(settle(picture(trains=True, start=start)), "better", "rarl")
    assert write_preferences(store, tmp_path / "pairs.parquet") == 4
    trainer = DPOTrainer(
        model=Qwen2VLForConditionalGeneration.from_pretrained(tiny_model, dtype=torch.float32),
        args=DPOConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=2,
            learning_rate=0.05,
            per_device_train_batch_size=4,
            logging_steps=1,
            max_length=None,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
        ),
        train_dataset=load_dataset(
            "parquet",
            data_files=str(tmp_path / "pairs.parquet"),
            split="train",
            cache_dir=str(tmp_path / "cache"),
        ),
        processing_class=load_model(str(tiny_model), device="cpu").processor,
        peft_config=LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj"),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    # Nothing is preferred at first, log 2; a step on the same pairs makes the better text likelier.
    assert losses[0] == pytest.approx(0.6931, abs=1e-3) and losses[1] < losses[0]
