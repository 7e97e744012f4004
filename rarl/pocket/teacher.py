"""A small residual CNN, the teacher of the vision tower.

On a few thousand images a convolution learns in minutes what a transformer learns in hours. The
tower sees the same augmented pictures as its teacher and matches both its class scores and its
map of features, place by place (function matching: Beyer et al., arXiv 2106.05237).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

# The teacher's stride is 16: at this side its map has two cells for each of 16 merged tokens.
SIDE = 128
WIDTH = 192


class _Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut (He et al., 2016)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outer)
        self.second = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outer)
        self.shortcut: nn.Module = nn.Identity()
        if inner != outer or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer)
            )
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, images: Tensor) -> Tensor:
        hidden = nn.functional.relu(self.first_norm(self.first(images)))
        hidden = self.second_norm(self.second(hidden)) + self.shortcut(images)
        return nn.functional.relu(hidden)


class Teacher(nn.Module):
    """1.5 M parameters; the class scores come from the mean and the maximum of its map.

    Args:
        classes: names of the classes, in the order of the scores.
    """

    def __init__(self, classes: list[str]) -> None:
        super().__init__()
        self.classes = classes
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 5, 2, 2, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            _Block(32, 48, 2),
            _Block(48, 96, 2),
            _Block(96, 96, 1),
            _Block(96, WIDTH, 2),
            _Block(WIDTH, WIDTH, 1),
        )
        self.drop = nn.Dropout(0.2)
        self.out = nn.Linear(2 * WIDTH, len(classes))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and map of normalised images.

        Args:
            images: (batch, 3, height, width); resized to 128 x 128.

        Returns:
            Scores (batch, classes) and map (batch, 192, 8, 8).
        """
        if images.shape[2:] != (SIDE, SIDE):
            images = nn.functional.interpolate(
                images, (SIDE, SIDE), mode="bilinear", align_corners=False
            )
        features = self.body(images.contiguous(memory_format=torch.channels_last))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return self.out(self.drop(pooled)), features


class Pupil(nn.Module):
    """Linear maps from the tower's merged features to the teacher's feature map.

    Args:
        width: of the merged features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        # A merged token covers 2 x 2 cells.
        self.out = nn.Linear(width, 4 * WIDTH)

    def loss(self, merged: Tensor, taught: Tensor, grid: tuple[int, int]) -> Tensor:
        """Smooth L1 between prediction and the normalised map.

        Args:
            merged: (batch, tokens, width).
            taught: (batch, 192, 8, 8).
            grid: merged tokens down and across.
        """
        rows, columns = grid
        cells = nn.functional.adaptive_avg_pool2d(taught.float(), (2 * rows, 2 * columns))
        cells = cells.view(len(cells), WIDTH, rows, 2, columns, 2).permute(0, 2, 4, 3, 5, 1)
        target = cells.reshape(len(cells), rows * columns, 4 * WIDTH)
        target = nn.functional.layer_norm(target, target.shape[-1:])
        return nn.functional.smooth_l1_loss(self.out(merged).float(), target)
