"""Sharing prompts and images changes the cost of GRPO, not its numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from PIL import Image
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import use_adapter

from rarl.compat.trl import completions_scored_alone
from rarl.models.loader import load_model
from rarl.training.adapter import lora_config
from rarl.training.grpo import GroupedGRPOTrainer
from rarl.training.packing import gather_prompts
from rarl.training.recipe import Lora

LORA = Lora(
    rank=8,
    alpha=16,
    dropout=0.0,
    modules=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
# Images of a question, width and height in pixels: sizes and numbers differ.
SIZES = [[(56, 56)], [(84, 56), (56, 56)], [(56, 112)], [(56, 56), (56, 84)]]
GROUP = 3


def questions() -> list[dict[str, Any]]:
    rows = []
    for number, sizes in enumerate(SIZES):
        content: list[dict[str, str]] = [{"type": "image"} for _ in sizes]
        content.append({"type": "text", "text": "Is there a tumor? " * (number + 1)})
        pictures = [Image.effect_noise(size, 60 + number).convert("RGB") for size in sizes]
        rows.append({"prompt": [{"role": "user", "content": content}], "images": pictures})
    return rows


def trainer(
    kind: type[GRPOTrainer], base: Path, out: Path, rows: list[dict[str, Any]], **settings: Any
) -> GRPOTrainer:
    loaded = load_model(str(base), adapters={}, device="cpu")
    loaded.processor.image_processor.size = {"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    data = Dataset.from_dict({"n": list(range(len(rows)))}).with_transform(
        lambda batch: {name: [rows[n][name] for n in batch["n"]] for name in rows[0]}
    )
    arguments = GRPOConfig(
        output_dir=str(out),
        max_steps=1,
        per_device_train_batch_size=2 * GROUP,
        gradient_accumulation_steps=2,
        num_generations=GROUP,
        max_completion_length=14,
        use_cpu=True,
        bf16=False,
        report_to="none",
        remove_unused_columns=False,
        disable_dropout=True,
        generation_kwargs={"suppress_tokens": list(loaded.forbidden_ids)},
        **{"activation_checkpointing": False, **settings},
    )
    made = kind(
        model=loaded.base,
        reward_funcs=lambda completions, **columns: [
            float(sum(map(ord, turn[0]["content"])) % 7) for turn in completions
        ],
        args=arguments,
        train_dataset=data,
        processing_class=loaded.processor,
        peft_config=lora_config(LORA),
    )
    drawn = torch.Generator().manual_seed(1)
    for name, parameter in made.model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.2, generator=drawn)
    made.model.train()
    made.current_gradient_accumulation_steps = 1
    return made


def gradients(made: GRPOTrainer, batch: dict[str, Any]) -> tuple[float, dict[str, torch.Tensor]]:
    made.model.zero_grad()
    loss = made.compute_loss(made.model, dict(batch))
    loss.backward()
    found = {n: p.grad for n, p in made.model.named_parameters() if p.grad is not None}
    return loss.item(), found


@pytest.mark.parametrize(
    ("beta", "checkpointed", "alone"), [(0.04, False, True), (0.0, True, False)]
)
def test_losses_and_gradients_are_the_stock_trainers(
    beta: float, checkpointed: bool, alone: bool, tiny: Path, tmp_path: Path
) -> None:
    """Ragged prompts, images of several sizes and numbers, completions that end early."""
    rows = questions()
    settings = {"beta": beta, "loss_type": "dr_grpo", "activation_checkpointing": checkpointed}
    stock = trainer(GRPOTrainer, tiny, tmp_path, rows, **settings)
    ours = trainer(GroupedGRPOTrainer, tiny, tmp_path, rows, **settings)
    torch.manual_seed(3)
    batch = ours._generate_and_score_completions([row for row in rows for _ in range(GROUP)])
    # Some completions are shorter, one of them empty to the loss.
    kept = torch.tensor([14, 3, 9, 1, 14, 14, 0, 5, 14, 2, 2, 2])[:, None]
    columns = torch.arange(batch["completion_ids"].shape[1])
    batch["completion_mask"] = batch["completion_mask"] * (columns < kept).int()
    assert len(set(batch["prompt_mask"].sum(1).tolist())) == len(SIZES)
    if alone:
        with completions_scored_alone():
            shared_loss, shared = gradients(ours, batch)
    else:
        shared_loss, shared = gradients(ours, batch)
    stock_loss, theirs = gradients(stock, batch)
    assert shared_loss == pytest.approx(stock_loss, rel=1e-4, abs=1e-7)
    assert shared.keys() == theirs.keys() and len(theirs) == 28
    total = torch.stack([g.norm() for g in theirs.values()]).norm()
    apart = torch.stack([(shared[n] - g).norm() for n, g in theirs.items()]).norm()
    assert total > 0 and apart / total < 1e-4
    if beta:
        names = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
        mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
        with torch.no_grad(), use_adapter(stock.model, None):
            reference, _, _ = stock._get_per_token_logps_and_entropies(
                stock.model,
                ids,
                mask,
                batch["completion_ids"].shape[1],
                **{name: batch[name] for name in names},
            )
        seen = batch["completion_mask"].bool()
        ours_told = batch["ref_per_token_logps"][seen]
        assert torch.allclose(reference[seen], ours_told, atol=1e-5)


def test_rollouts_are_scored_as_they_were_sampled(tiny: Path, tmp_path: Path) -> None:
    rows = questions()
    ours = trainer(GroupedGRPOTrainer, tiny, tmp_path, rows, temperature=0.8, beta=0.0)
    texts = [
        ours.processing_class.apply_chat_template(
            row["prompt"], tokenize=False, add_generation_prompt=True
        )
        for row in rows
    ]
    # Groups of different sizes, as at the end of a data set.
    order = [0, 0, 0, 1, 2, 2, 3]
    batch = ours.processing_class(
        images=[rows[n]["images"] for n in order],
        text=[texts[n] for n in order],
        padding=True,
        return_tensors="pt",
    )
    counts = [len(rows[n]["images"]) for n in order]
    prompts = gather_prompts(
        ours.base,
        batch["input_ids"],
        batch["attention_mask"],
        batch["mm_token_type_ids"],
        batch["pixel_values"],
        batch["image_grid_thw"],
        counts,
        ours.features,
    )
    assert prompts.sizes == (3, 1, 2, 1)
    torch.manual_seed(5)
    rollout = ours.sample(prompts)
    assert len(rollout.ids) == len(order) and len({tuple(ids) for ids in rollout.ids}) > 1
    special = {i for i, t in ours._tokenizer.added_tokens_decoder.items() if t.special}
    ends = set(ours.eos_token_ids)
    assert all(not (set(ids) & special) - ends for ids in rollout.ids)
    # Scored one by one by the stock trainer, without padding: the same chances.
    first, image = 0, 0
    for row, ids in enumerate(rollout.ids):
        keep = batch["attention_mask"][row].bool()
        grids = batch["image_grid_thw"][image : image + counts[row]]
        patches = int(grids.prod(-1).sum())
        with torch.no_grad():
            stock, _, _ = GRPOTrainer._get_per_token_logps_and_entropies(
                ours,
                ours.model,
                torch.cat([batch["input_ids"][row][keep], torch.tensor(ids)])[None],
                torch.ones(1, int(keep.sum()) + len(ids), dtype=torch.long),
                len(ids),
                pixel_values=batch["pixel_values"][first : first + patches],
                image_grid_thw=grids,
                num_images=[counts[row]],
                mm_token_type_ids=torch.cat(
                    [batch["mm_token_type_ids"][row][keep], torch.zeros(len(ids)).int()]
                )[None],
            )
        assert torch.allclose(stock[0], rollout.log_probabilities[row, : len(ids)], atol=1e-4)
        first, image = first + patches, image + counts[row]


def test_groups_stay_whole_in_micro_batches(tiny: Path, tmp_path: Path) -> None:
    rows = questions()
    ours = trainer(GroupedGRPOTrainer, tiny, tmp_path, rows, beta=0.0)
    torch.manual_seed(0)
    batch = [row for row in rows for _ in range(GROUP)]
    parts = []
    for _ in range(2):
        parts.append(ours._prepare_inputs(batch))
        ours._step += 1
    for part in parts:
        ids = part["prompt_ids"]
        assert len(ids) == 2 * GROUP
        assert all(torch.equal(ids[i], ids[i - i % GROUP]) for i in range(len(ids)))
