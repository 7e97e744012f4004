"""Train the merger to map a picture near the embeddings of the words that describe it.

SmolLM2 uses one table for the words it reads and the words it writes. So a merged feature that lies
near the row of a word is read as that word, and the language half needs to learn far less from the
pictures that follow. The tower stands still, and its features are computed once.

The target of a picture is the distribution of the words of its answers and explanations, each
weighted by how rare it is (inverse document frequency over pictures).
"""

from __future__ import annotations

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rarl.data import Example

logger = logging.getLogger(__name__)

YES_OR_NO = frozenset({"yes", "no"})


@dataclass(frozen=True, slots=True)
class NamingPhase:
    """Settings of the stage.

    Attributes:
        steps: optimiser steps.
        batch: pictures a step.
        places: merged features of each picture that a step takes, drawn at random.
        rate: peak learning rate of the merger.
        answer_weight: weight of a word of an answer; a word of an explanation weighs 1.
        scale: factor of the cosine before the softmax.
    """

    steps: int
    batch: int = 64
    places: int = 16
    rate: float = 2e-3
    answer_weight: float = 3.0
    scale: float = 25.0


def word_targets(
    rows: Sequence[Example], encode: Callable[[str], list[int]], answer_weight: float
) -> dict[str, dict[int, float]]:
    """Key of a picture to its words, token id to share; the shares of a picture add up to 1.

    Args:
        rows: questions with answers and explanations.
        encode: text to token ids.
        answer_weight: see `NamingPhase`.
    """
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for row in rows:
        if row.image is None:
            continue
        own = counts[row.image.key]
        if row.answer.lower() not in YES_OR_NO:
            for token in encode(f" {row.answer}"):
                own[token] += answer_weight
        for token in set(encode(f" {row.explanation or ''}")):
            own[token] += 1.0
    pictures = Counter(token for own in counts.values() for token in own)
    targets = {}
    for key, own in counts.items():
        # A word of nearly every picture says nothing about one.
        weights = {
            token: math.sqrt(count) * math.log(len(counts) / pictures[token])
            for token, count in own.items()
            if 3 <= pictures[token] <= len(counts) / 2
        }
        whole = sum(weights.values())
        if whole > 0:
            targets[key] = {token: weight / whole for token, weight in weights.items()}
    return targets


def train_naming(
    merger: nn.Module,
    table: Tensor,
    features: Tensor,
    targets: Sequence[dict[int, float]],
    weights: Sequence[float],
    phase: NamingPhase,
    seed: int,
) -> float:
    """Train the merger in place.

    Args:
        merger: patch features (patches, width) to merged features (patches / 4, language width).
        table: embeddings of the vocabulary, (words, language width).
        features: patch features of every picture, (pictures, patches, width).
        targets: of every picture, see `word_targets`.
        weights: how often every picture is drawn.
        phase: see `NamingPhase`.
        seed: of the drawing.

    Returns:
        The last mean loss, in nats above the entropy of the targets.
    """
    words = sorted({token for target in targets for token in target})
    place = {token: n for n, token in enumerate(words)}
    centre = table.float().mean(0)
    named = nn.functional.normalize(table[words].float() - centre, dim=-1)
    size = table.float().square().mean().sqrt()
    optimizer = torch.optim.AdamW(merger.parameters(), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    chances = torch.tensor(weights, dtype=torch.float32)
    running = math.nan
    bar = tqdm(range(phase.steps), desc="naming", unit="step")
    for step in bar:
        rate = phase.rate * min(1.0, (step + 1) / 50)
        optimizer.param_groups[0]["lr"] = rate * (1 - step / phase.steps) + 1e-6
        chosen = torch.multinomial(chances, phase.batch, replacement=True, generator=generator)
        target = torch.zeros(phase.batch, len(words))
        for n, index in enumerate(chosen.tolist()):
            for token, share in targets[index].items():
                target[n, place[token]] = share
        # The merger joins four patches that follow each other.
        fours = features.unflatten(1, (-1, 4))
        some = torch.randperm(fours.shape[1], generator=generator)[: phase.places]
        patches = fours[chosen][:, some].to(table.device).float()
        merged = merger(patches.flatten(1, 2)).view(phase.batch, -1, table.shape[1])
        mean = nn.functional.normalize(merged.mean(1) - centre, dim=-1)
        log_shares = nn.functional.log_softmax(phase.scale * mean @ named.T, dim=-1)
        target = target.to(table.device)
        excess = (target * (target.clamp(min=1e-9).log() - log_shares)).sum(-1).mean()
        # Each feature keeps the size of a word's embedding.
        sizes = merged.square().mean(-1).sqrt() / size
        loss = excess + (sizes - 1).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        value = excess.item()
        running = value if math.isnan(running) else 0.98 * running + 0.02 * value
        bar.set_postfix(loss=f"{running:.3f}", refresh=False)
    return running
