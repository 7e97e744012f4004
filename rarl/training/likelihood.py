"""Likelihood of the reference answer under the frozen base, given each reasoning.

One more pass a step through the trainer's own scoring method, without gradients: each group's
prompt and image stand once in the packed sequence, and one row a group, without reasoning, is the
comparison. The recipe's `rewards.likelihood` turns it on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rarl.response import parse_response
from rarl.rewards.completions import completion_text
from rarl.rewards.likelihood import COLUMN, Measured
from rarl.rewards.reasoning import BROKEN

if TYPE_CHECKING:
    from rarl.compat.trl import OpenGRPOTrainer as _Trainer
else:
    _Trainer = object

_NAME = "likelihood"


class AnswerLikelihood(_Trainer):
    """To be mixed into a subclass of `OpenGRPOTrainer`, before it."""

    _asked: tuple[list[list[int]], list[list[Any] | None] | None, dict[str, Any]]

    def generate_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        multimodal_fields: dict[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Override: keep the tokens and patches of the prompts for the further pass."""
        self._asked = (prompt_ids, images, multimodal_fields)
        return super().generate_turn(prompt_ids, images, multimodal_fields, *args, **kwargs)

    def calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, ids: Any
    ) -> Any:
        """Override: the reward's column is measured first, where that reward is on."""
        if _NAME in self.reward_func_names:
            measured = self.answer_probabilities(inputs, completions)
            inputs = [{**row, COLUMN: pair} for row, pair in zip(inputs, measured, strict=True)]
        return super().calculate_rewards(inputs, prompts, completions, ids)

    @torch.no_grad()
    def answer_probabilities(
        self, inputs: Sequence[dict[str, Any]], completions: Sequence[Any]
    ) -> list[Measured]:
        """Mean probability of the reference answer's tokens with and without the reasoning.

        Args:
            inputs: the rows, with `answer` and `mode`.
            completions: one for each row.

        Returns:
            A pair for each row, or None where its mode asks for no reasoning before the answer,
            where its reasoning is broken, or where it has no short answer.
        """
        prompt_ids, images, fields = self._asked
        encode = self.tokenizer.encode
        leads: list[str | None] = []
        for given, completion in zip(inputs, completions, strict=True):
            response = parse_response(completion_text(completion), given["mode"])
            usable = given["mode"] == "reason" and given["answer"]
            if not usable or BROKEN & set(response.problems):
                leads.append(None)
            else:
                leads.append(f"<think>{response.reasoning}</think><answer>")
        # Rows in the order of the batch, each group ahead of its row without reasoning.
        rows: list[int] = []
        texts: list[tuple[list[int], list[int]]] = []
        plain_of: dict[int, int] = {}
        place_of: dict[int, int] = {}
        for first, last in _groups(prompt_ids, inputs):
            wanted = [row for row in range(first, last) if leads[row] is not None]
            if not wanted:
                continue
            answer = encode(inputs[first]["answer"], add_special_tokens=False)
            for row in wanted:
                place_of[row] = len(rows)
                rows.append(row)
                texts.append((encode(leads[row] or "", add_special_tokens=False), answer))
            for row in wanted:
                plain_of[row] = len(rows)
            rows.append(first)
            texts.append((encode("<answer>", add_special_tokens=False), answer))
        if not rows:
            return [None] * len(inputs)
        scores = self._answer_scores(rows, texts, prompt_ids, images, fields)
        return [
            (scores[place_of[row]], scores[plain_of[row]]) if row in place_of else None
            for row in range(len(inputs))
        ]

    def _answer_scores(
        self,
        rows: list[int],
        texts: list[tuple[list[int], list[int]]],
        prompt_ids: list[list[int]],
        images: list[list[Any] | None] | None,
        fields: dict[str, Any],
    ) -> list[float]:
        device = self.accelerator.device
        filler = self.tokenizer.pad_token_id
        longest = max(len(prompt_ids[row]) for row in rows)
        width = max(len(lead) + len(answer) for lead, answer in texts)
        ids = torch.full((len(rows), longest + width), filler, device=device)
        mask = torch.zeros_like(ids)
        for place, (row, (lead, answer)) in enumerate(zip(rows, texts, strict=True)):
            prompt, completion = prompt_ids[row], [*lead, *answer]
            start = longest - len(prompt)
            end = longest + len(completion)
            ids[place, start:end] = torch.tensor([*prompt, *completion], device=device)
            mask[place, start:end] = 1
        size = self.args.per_device_train_batch_size
        # Whole groups, each with the row that has no reasoning.
        extra = -(-size // (self.num_generations or 1))
        # TRL leaves its models unannotated.
        model: Any = self.accelerator.unwrap_model(self.model)
        with model.disable_adapter():
            likelihoods, _, _ = self.score_tokens(
                self.model,
                ids,
                mask,
                width,
                batch_size=size + extra,
                **_vision(rows, ids, prompt_ids, images, fields),
            )
        return [
            float(likelihoods[place, len(lead) : len(lead) + len(answer)].float().exp().mean())
            for place, (lead, answer) in enumerate(texts)
        ]


def _groups(prompt_ids: list[list[int]], inputs: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    """Runs of rows with the same question, as (first, behind the last)."""
    keys = [
        (ids, row.get("question"), row.get("answer"), row.get("mode"))
        for ids, row in zip(prompt_ids, inputs, strict=True)
    ]
    starts = [row for row in range(len(keys)) if row == 0 or keys[row] != keys[row - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def _vision(
    rows: list[int],
    ids: Tensor,
    prompt_ids: list[list[int]],
    images: list[list[Any] | None] | None,
    fields: dict[str, Any],
) -> dict[str, Any]:
    """The patches of these rows, as the scoring method takes them."""
    if images is None or "pixel_values" not in fields:
        return {}
    device = ids.device
    counts = [len(row or ()) for row in images]
    grids = torch.as_tensor(fields["image_grid_thw"])
    patches = torch.as_tensor(fields["pixel_values"]).split(grids.prod(-1).tolist())
    starts = [sum(counts[:row]) for row in range(len(counts))]
    chosen = [starts[row] + image for row in rows for image in range(counts[row])]
    kinds = torch.zeros_like(ids)
    longest = max(len(prompt_ids[row]) for row in rows)
    given = fields["mm_token_type_ids"]
    for place, row in enumerate(rows):
        own = torch.as_tensor(given[row], device=device)[-len(prompt_ids[row]) :]
        kinds[place, longest - len(own) : longest] = own
    return {
        "pixel_values": torch.cat([patches[image] for image in chosen]).to(device),
        "image_grid_thw": grids[chosen].to(device),
        "num_images": [counts[row] for row in rows],
        "mm_token_type_ids": kinds,
    }
