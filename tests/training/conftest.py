"""A base so small that it trains in a blink but answers in form, and a few drawn scans."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw
from transformers import Qwen2VLForConditionalGeneration

from rarl.data import Example, load_examples
from rarl.models.processor import load_processor
from rarl.prompts import messages, target_text, user_text
from rarl.response import MODES
from tests.tiny_model import save_tiny

LABELS = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `RARL_DATA` folder with eight drawn images that no split file holds out."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "brain_tumor_mri"
    folder.mkdir()
    rows = []
    for number in range(8):
        image = Image.new("L", (64, 80), 10)
        ImageDraw.Draw(image).ellipse(
            (8, 8 + 4 * number, 40, 40 + 4 * number), fill=40 * (number % 4)
        )
        image.save(folder / f"drawn-{number}.png")
        rows.append({"image": f"drawn-{number}.png", "label": LABELS[number % 4]})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return root


@pytest.fixture
def examples(scans: Path, monkeypatch: pytest.MonkeyPatch) -> list[Example]:
    monkeypatch.setenv("RARL_DATA", str(scans))
    return load_examples(["brain_tumor_mri"], ["train"])


@pytest.fixture(scope="session")
def tiny(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny base that answers in form, so that rollouts earn differing rewards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_DATA", str(scans))
        rows = load_examples(["brain_tumor_mri"], ["train"])
    folder = tmp_path_factory.mktemp("models") / "tiny"
    pairs = [
        (row, user_text(row.question, mode), target_text(row.answer, row.explanation, mode))
        for row in rows
        for mode in MODES
    ]
    save_tiny(folder, [text + target for _, text, target in pairs])
    model = Qwen2VLForConditionalGeneration.from_pretrained(folder)
    processor = load_processor(folder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    for _ in range(80):
        chosen = [pairs[index] for index in torch.randint(len(pairs), (12,)).tolist()]
        prompts = [
            processor.apply_chat_template(
                messages(text), tokenize=False, add_generation_prompt=True
            )
            for _, text, _ in chosen
        ]
        batch = processor(
            images=[row.image.load() for row, _, _ in chosen],
            text=[
                f"{prompt}{target}<|im_end|>"
                for prompt, (_, _, target) in zip(prompts, chosen, strict=True)
            ],
            padding=True,
            return_tensors="pt",
        )
        targets = processor.tokenizer([f"{target}<|im_end|>" for _, _, target in chosen])
        labels = torch.full_like(batch["input_ids"], -100)
        for place, ids in enumerate(targets["input_ids"]):
            labels[place, -len(ids) :] = batch["input_ids"][place, -len(ids) :]
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder
