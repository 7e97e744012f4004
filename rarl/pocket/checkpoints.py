"""Weight averaging, and checkpoints from which an interrupted stage resumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from rarl.pocket.optimizers import BlockOptimizer


class Average:
    """Exponential moving average of a module's weights: what is evaluated and kept.

    Args:
        module: the module to follow.
        decay: share of the old average that a step keeps, once warmed up.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {name: value.clone() for name, value in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step towards the module's weights."""
        self.updates += 1
        decay = min(self.decay, self.updates / (self.updates + 10))
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)

    @contextmanager
    def applied_to(self, module: nn.Module) -> Iterator[None]:
        """Within the block the module holds the average and is set to evaluation."""
        current = {name: value.clone() for name, value in module.state_dict().items()}
        module.load_state_dict(self.state)
        module.eval()
        try:
            yield
        finally:
            module.load_state_dict(current)
            module.train()


def save_checkpoint(
    file: Path, module: nn.Module, optimizer: BlockOptimizer, average: Average, step: int
) -> None:
    """Write everything a stage needs to go on; an interrupted write leaves the old file."""
    partial = file.with_suffix(".part")
    torch.save(
        {
            "weights": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.state,
            "step": step,
        },
        partial,
    )
    partial.replace(file)


def load_checkpoint(
    file: Path, module: nn.Module, optimizer: BlockOptimizer, average: Average
) -> int:
    """Put back what `save_checkpoint` wrote.

    Returns:
        How many steps are done.
    """
    state = torch.load(file, weights_only=True)
    module.load_state_dict(state["weights"])
    optimizer.load_state_dict(state["optimizer"])
    average.state, average.updates = state["average"], state["step"]
    return int(state["step"])
