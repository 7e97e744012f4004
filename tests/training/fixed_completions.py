"""Loss and gradients of GRPO on fixed completions, over however many processes this runs in.

Run by `accelerate launch`: MODEL FOLDER OUT. The first process writes them to OUT.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from trl.trainer.grpo_config import GRPOConfig

from rarl.models.loader import load_model
from rarl.prompts import messages
from rarl.training.adapter import lora_config
from rarl.training.grpo import GroupedGRPOTrainer
from rarl.training.recipe import Lora
from rarl.training.trl_config import end_processes

GROUP, QUESTIONS, TOKENS = 2, 2, 6


def main(base: str, out: str) -> None:
    loaded = load_model(base, adapters={}, device="cpu")
    pictures = [Image.linear_gradient("L").rotate(90 * n).convert("RGB") for n in range(QUESTIONS)]
    prompts = [messages("Is there a tumor? " * (n + 1)) for n in range(QUESTIONS)]
    rows = Dataset.from_dict({"n": list(range(QUESTIONS))}).with_transform(
        lambda batch: {
            "prompt": [prompts[n] for n in batch["n"]],
            "images": [[pictures[n]] for n in batch["n"]],
        }
    )
    trainer = GroupedGRPOTrainer(
        model=loaded.base,
        reward_funcs=lambda completions, **columns: [0.0] * len(completions),
        args=GRPOConfig(
            output_dir=str(Path(out).parent / "unused"),
            max_steps=1,
            per_device_train_batch_size=GROUP,
            num_generations=GROUP,
            generation_batch_size=GROUP * QUESTIONS,
            max_completion_length=TOKENS,
            beta=0.04,
            loss_type="dr_grpo",
            use_cpu=True,
            bf16=False,
            report_to="none",
            remove_unused_columns=False,
            activation_checkpointing=False,
            disable_dropout=True,
        ),
        train_dataset=rows,
        processing_class=loaded.processor,
        peft_config=lora_config(Lora(rank=4, alpha=8, dropout=0.0, modules=("q_proj", "up_proj"))),
    )
    drawn = torch.Generator().manual_seed(1)
    for name, parameter in trainer.model.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(torch.randn(parameter.shape, generator=drawn) * 0.2)
    accelerator = trainer.accelerator
    model = accelerator.prepare(trainer.model)
    model.train()
    trainer.current_gradient_accumulation_steps = 1
    # Each process takes its share of the whole groups.
    share = QUESTIONS // accelerator.num_processes
    own = range(accelerator.process_index * share, (accelerator.process_index + 1) * share)
    order = [n for n in own for _ in range(GROUP)]
    texts = [
        loaded.processor.apply_chat_template(prompts[n], tokenize=False, add_generation_prompt=True)
        for n in order
    ]
    inputs: dict[str, Any] = loaded.processor(
        images=[[pictures[n]] for n in order], text=texts, padding=True, return_tensors="pt"
    )
    chosen = torch.Generator().manual_seed(2)
    told = torch.randint(20, 200, (QUESTIONS * GROUP, TOKENS), generator=chosen)
    worth = torch.randn(QUESTIONS * GROUP, generator=chosen)
    at = torch.tensor([n * GROUP + place for n in own for place in range(GROUP)])
    completions = told[at]
    kinds = inputs["mm_token_type_ids"]
    batch = {
        "prompt_ids": inputs["input_ids"],
        "prompt_mask": inputs["attention_mask"],
        "completion_ids": completions,
        "completion_mask": torch.ones_like(completions),
        "advantages": worth[at],
        "ref_per_token_logps": torch.full(completions.shape, -4.0),
        "pixel_values": inputs["pixel_values"],
        "image_grid_thw": inputs["image_grid_thw"],
        "mm_token_type_ids": torch.cat([kinds, kinds.new_zeros(completions.shape)], dim=1),
        "num_images": [1] * len(order),
        "num_items_in_batch": torch.tensor(told.numel()),
    }
    loss = trainer.compute_loss(model, batch)
    accelerator.backward(loss)
    mean = accelerator.reduce(loss.detach(), reduction="mean")
    if accelerator.is_main_process:
        plain = accelerator.unwrap_model(model)
        found = {n: p.grad for n, p in plain.named_parameters() if p.grad is not None}
        torch.save({"loss": mean, "gradients": found, "of": accelerator.num_processes}, out)
    # Nobody leaves while another still talks.
    accelerator.wait_for_everyone()


if __name__ == "__main__":
    main(*sys.argv[1:])
    end_processes()
