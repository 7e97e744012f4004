"""Checkpoint selection by greedy accuracy on held-out questions.

Never by training reward: it may rise while accuracy stays where it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peft import PeftModel
from peft.utils import load_peft_weights, set_peft_model_state_dict
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from rarl.data import Example
from rarl.generation.decoder import Decoder
from rarl.generation.image_features import PatchFeatures
from rarl.generation.multi_lora import MultiLora
from rarl.generation.rollout import roll_out
from rarl.models.loader import LoadedModel
from rarl.prompts import messages, user_text
from rarl.response import Mode, parse_response
from rarl.rewards.accuracy import is_right
from rarl.text.normalise import exact_match
from rarl.training.adapter import ADAPTER
from rarl.training.packing import gather_prompts
from rarl.training.progress import say

_BATCH = 32


def greedy_answers(
    loaded: LoadedModel,
    decoder: Decoder,
    arm: str | None,
    examples: Sequence[Example],
    most: int,
    mode: Mode,
) -> list[str]:
    """Answers, the likeliest token each time.

    Args:
        loaded: the base.
        decoder: of the base, with the adapter's weights as they are now.
        arm: the adapter; None for the base alone.
        examples: with images.
        most: tokens an answer may have.
        mode: how they are asked.
    """
    processor, base = loaded.processor, loaded.base
    features = PatchFeatures(base)
    answers: list[str] = []
    for start in range(0, len(examples), _BATCH):
        part = examples[start : start + _BATCH]
        texts = [
            processor.apply_chat_template(
                messages(user_text(example.question, mode, options=example.options)),  # type: ignore[arg-type]
                tokenize=False,
                add_generation_prompt=True,
            )
            for example in part
        ]
        pictures = [[example.image.load()] for example in part if example.image]
        batch = processor(images=pictures, text=texts, padding=True, return_tensors="pt").to(
            base.device
        )
        prompts = gather_prompts(
            base,
            batch["input_ids"],
            batch["attention_mask"],
            batch["mm_token_type_ids"],
            batch["pixel_values"],
            batch["image_grid_thw"],
            [1] * len(part),
            features,
        )
        completions = roll_out(
            decoder,
            prompts.padded(),
            prompts.sizes,
            arm,
            most,
            loaded.end_ids,
            None,
            forbidden=loaded.forbidden_ids,
        )
        for ids in completions.ids:
            answers.append(str(processor.tokenizer.decode(ids, skip_special_tokens=True)))
    return answers


class Selection(TrainerCallback):
    """Measures each checkpoint before it is saved, and keeps its adapter.

    Args:
        loaded: the base that is trained.
        examples: held-out questions.
        most: tokens an answer may have.
        mode: how they are asked.
        folder: of the run; `selection.jsonl`, `selection/` and, with all answers at each
            measured step, `held_out/` are written there.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        examples: Sequence[Example],
        most: int,
        mode: Mode,
        folder: Path,
    ) -> None:
        self._loaded = loaded
        self.examples = examples
        self._most = most
        self.mode = mode
        self._path = folder / "selection.jsonl"
        self._kept = folder / "selection"
        self._held_out = folder / "held_out"
        self._start: list[str] = []
        # Made at the first answers, when the model is on its device.
        self._decoder: Decoder | None = None
        self._adapters: MultiLora
        self.table: list[dict[str, float]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure the start, or forget what came after the step that a run resumes from."""
        if self._path.exists():
            rows = [json.loads(line) for line in self._path.read_text("utf-8").splitlines()]
            self.table = [row for row in rows if row["step"] <= state.global_step]
        if not state.is_world_process_zero:
            return
        self._path.write_text("".join(json.dumps(row) + "\n" for row in self.table), "utf-8")
        texts = self.answers(kwargs["model"], self.examples, adapted=False)
        self._start = [parse_response(text, self.mode).answer for text in texts]
        if not self.table:
            self._note(state.global_step, texts, self.measures(kwargs["model"], adapted=False))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where a checkpoint is about to be saved."""
        step = state.global_step
        due = step % int(args.save_steps) == 0 or step >= state.max_steps
        if due and state.is_world_process_zero:
            self._measure(step, kwargs["model"])

    def measures(self, model: PeftModel, adapted: bool) -> dict[str, float]:
        """What else is measured of a checkpoint, or of the base."""
        return {}

    def rank(self, row: dict[str, float]) -> tuple[float, ...]:
        """The checkpoint with the highest is kept: the most accurate, the later of equals."""
        return (row["accuracy"], row["step"])

    def described(self, row: dict[str, float]) -> str:
        """A sentence about a measured step."""
        count = len(self.examples)
        return (
            f"Step {int(row['step'])}: {100 * row['accuracy']:.1f} % of {count} held-out questions "
            f"right, {round(count * row['changed'])} answered otherwise than by the base."
        )

    def answers(self, model: PeftModel, examples: Sequence[Example], adapted: bool) -> list[str]:
        """What the adapter, or the base, says to these questions."""
        if not examples:
            return []
        if self._decoder is None:
            adapters = MultiLora(model, [ADAPTER], packed=False)
            self._decoder = Decoder(self._loaded.base, adapters)
            self._adapters = adapters
        self._adapters.refresh()
        arm = ADAPTER if adapted else None
        answers = greedy_answers(self._loaded, self._decoder, arm, examples, self._most, self.mode)
        self._decoder.spare_memory()
        return answers

    def _measure(self, step: int, model: PeftModel) -> None:
        texts = self.answers(model, self.examples, adapted=True)
        model.save_pretrained(str(self._kept / f"step-{step}"), save_embedding_layers=False)
        self._note(step, texts, self.measures(model, adapted=True))

    def _note(self, step: int, texts: Sequence[str], more: dict[str, float]) -> None:
        count = len(self.examples)
        answers = [parse_response(text, self.mode).answer for text in texts]
        hits = [
            is_right(
                answer, example.answer, example.question, example.explanation or "", example.options
            )
            for answer, example in zip(answers, self.examples, strict=True)
        ]
        self._held_out.mkdir(exist_ok=True)
        with (self._held_out / f"step-{step}.jsonl").open("w", encoding="utf-8") as file:
            for example, text, hit in zip(self.examples, texts, hits, strict=True):
                line = {
                    "id": example.id,
                    "question": example.question,
                    "reference": example.answer,
                    "text": text,
                    "right": hit,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        changed = sum(
            # Two answers that were both cut off are the same.
            answer != start and not exact_match(answer, start)
            for answer, start in zip(answers, self._start, strict=True)
        )
        row: dict[str, float] = {"step": step}
        if count:
            row |= {"accuracy": sum(hits) / count, "changed": changed / count}
        self.table.append(row | more)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.table[-1]) + "\n")
        say(self.described(self.table[-1]))

    def settle(self, model: PeftModel) -> dict[str, Any]:
        """Give a trained model the best adapter, the later of equals; drop the other files.

        Returns:
            What was measured and chosen, for the record.
        """
        trained = [row for row in self.table if row["step"] > 0]
        best = max(trained, key=self.rank)
        start = self.table[0].get("accuracy")
        if best is not trained[-1]:
            weights = load_peft_weights(str(self._kept / f"step-{int(best['step'])}"), device="cpu")
            set_peft_model_state_dict(model, weights)
            say(f"Kept step {int(best['step'])}: the best on held-out questions.")
        if start is not None and best["accuracy"] <= start:
            say(
                f"No checkpoint answers more held-out questions right than the base does "
                f"({100 * start:.1f} %)."
            )
        for folder in self._kept.glob("step-*"):
            # The best stays: a run that is made longer may come back to it.
            if folder.name != f"step-{int(best['step'])}":
                shutil.rmtree(folder)
        return {
            "questions": len(self.examples),
            "most": self._most,
            "mode": self.mode,
            "step": int(best["step"]),
            "table": self.table,
        }
