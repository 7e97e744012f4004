"""The merger learns to place a picture near the words that describe it."""

import io

import torch
from PIL import Image
from torch import nn

from rarl.data import Example, ImageRef
from rarl.pocket.naming_stage import NamingPhase, train_naming, word_targets

WORDS = {"glioma": 0, "cyst": 1, "mri": 2, "of": 3}


def encode(text: str) -> list[int]:
    return [WORDS[word] for word in text.split() if word in WORDS]


def row(number: int, answer: str) -> Example:
    file = io.BytesIO()
    Image.new("L", (8, 8), number).save(file, "PNG")
    return Example(
        id=f"x/{number}",
        image=ImageRef(f"x/{number}", data=file.getvalue()),
        question="What is it?",
        answer=answer,
        explanation=f"mri of {answer}",
        kind="open",
        modality="mri",
        organ="brain",
        facts=(),
        source="x",
        licence="MIT",
        split="train",
    )


def test_words_of_every_picture_say_nothing_and_answers_weigh_more() -> None:
    rows = [row(n, ("glioma", "cyst")[n % 2]) for n in range(8)]
    targets = word_targets(rows, encode, 3.0)
    assert targets["x/0"] == {WORDS["glioma"]: 1.0}
    assert targets["x/1"] == {WORDS["cyst"]: 1.0}
    rows = [row(n, "yes") for n in range(8)]
    assert word_targets(rows, encode, 3.0) == {}


def test_the_merger_learns_the_words() -> None:
    torch.manual_seed(0)
    table = torch.randn(4, 16)
    kinds = [n % 2 for n in range(40)]
    features = torch.randn(40, 8, 6) * 0.1
    features[torch.tensor(kinds) == 1] += 1.0

    class Merger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.out = nn.Linear(24, 16)

        def forward(self, patches: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.out(patches.view(-1, 24))
            return out

    merger = Merger()
    targets = [{kind: 1.0} for kind in kinds]
    phase = NamingPhase(steps=200, batch=16, places=2, rate=0.02)
    loss = train_naming(merger, table, features, targets, [1.0] * 40, phase, seed=0)
    assert loss < 0.1
    with torch.no_grad():
        mean = merger(features.flatten(0, 1)).view(40, 2, 16).mean(1)
        centred = table - table.mean(0)
        nearest = ((mean - table.mean(0)) @ centred.T)[:, :2].argmax(1)
        sizes = merger(features.flatten(0, 1)).square().mean(-1).sqrt()
    assert nearest.tolist() == kinds
    assert 0.5 < float(sizes.mean() / table.square().mean().sqrt()) < 1.5
