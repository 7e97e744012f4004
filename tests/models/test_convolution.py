"""The convolutional patch network sits on Qwen2-VL's own grid and changes nothing around it."""

import pytest
import torch
from transformers import Qwen2VLConfig

from rarl.models.convolution import (
    EfficientNetLite,
    HybridQwen2VL,
    HybridTower,
    PatchNetwork,
    in_merge_order,
    unpatchify,
)
from rarl.models.eight_bit import to_eight_bits
from rarl.models.vision import encode, merge_order, patchify


@pytest.fixture(scope="module")
def tower() -> HybridTower:
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

    torch.manual_seed(0)
    config = Qwen2VLVisionConfig(
        depth=1,
        embed_dim=32,
        num_heads=2,
        hidden_size=48,
        patch_size=14,
        temporal_patch_size=1,
        mlp_ratio=2,
        network="lite0",
        rope_parameters={"rope_type": "axial", "rope_theta": 100.0},
    )
    return HybridTower(config).eval()


def test_patches_become_the_image_again() -> None:
    images = torch.randn(2, 3, 56, 112)
    assert torch.equal(unpatchify(patchify(images, 14), (4, 8), 14), images)


def test_vectors_stand_in_the_processors_order() -> None:
    rows, columns = 4, 6
    places = torch.stack(
        torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1
    )
    assert torch.equal(in_merge_order(places[None])[0], merge_order((rows, columns)))


@torch.no_grad()
def test_images_of_several_sizes_do_not_touch_each_other(tower: HybridTower) -> None:
    images = [torch.randn(1, 3, 112, 56), torch.randn(1, 3, 56, 56), torch.randn(1, 3, 112, 56)]
    grids = [(8, 4), (4, 4), (8, 4)]
    patches = torch.cat([patchify(image, 14)[0] for image in images])
    together = tower(patches, grid_thw=torch.tensor([[1, *grid] for grid in grids]))
    alone = [
        encode(tower, patchify(image, 14), grid)[1][0]
        for image, grid in zip(images, grids, strict=True)
    ]
    torch.testing.assert_close(together.pooler_output, torch.cat(alone), atol=1e-5, rtol=1e-4)
    assert together.last_hidden_state.shape == (len(patches), 32)


@torch.no_grad()
@torch.no_grad()
def test_with_linear_layers_in_eight_bits_it_sees_nearly_the_same(tower: HybridTower) -> None:
    language = {"vocab_size": 32, "hidden_size": 48, "intermediate_size": 64}
    language |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    language |= {"rope_parameters": {"rope_type": "default", "mrope_section": [4, 4, 4]}}
    config = Qwen2VLConfig(text_config=language, vision_config=tower.config.to_dict())
    model = HybridQwen2VL(config).eval()
    model.model.visual.load_state_dict(tower.state_dict())
    patches, grid = patchify(torch.randn(1, 3, 56, 112), 14)[0], torch.tensor([[1, 4, 8]])
    whole = model.get_image_features(patches, grid).pooler_output[0]
    to_eight_bits(model, torch.float32)
    state = model.model.visual.state_dict()
    assert any(value.dtype == torch.int8 for value in state.values())
    near = model.get_image_features(patches, grid).pooler_output[0]
    assert torch.nn.functional.cosine_similarity(whole, near).min() > 0.98


def test_a_patch_gets_the_features_of_its_place() -> None:
    torch.manual_seed(0)
    network = PatchNetwork("lite0", 14, 16).eval()
    image = torch.zeros(1, 3, 448, 448)
    before = network.embed(image)
    image[:, :, 14:28, 42:56] = 3.0  # row 1, column 3
    changed = (network.embed(image) - before).abs().sum(-1)[0]
    assert changed.shape == (32, 32)
    middle = (changed * torch.arange(32.0)[:, None]).sum() / changed.sum()
    assert changed.argmax() // 32 < 8 and middle < 12


@pytest.mark.parametrize(("name", "millions"), [("lite0", 3.0), ("lite2", 4.4)])
def test_networks_have_the_published_sizes(name: str, millions: float) -> None:
    network = EfficientNetLite(name)  # type: ignore[arg-type]
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@torch.no_grad()
def test_published_weights_are_taken_in_order_and_in_qwens_pixels() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    source = EfficientNetLite("lite0").eval()
    generator = torch.Generator().manual_seed(0)
    for module in source.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator).mul_(0.1)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    # As the package names them; what belongs to its head is left out.
    published = {f"_blocks.{name}": value for name, value in source.state_dict().items()}
    published |= {"_conv_head.weight": torch.ones(1), "_fc.bias": torch.ones(1)}
    network = EfficientNetLite("lite0").eval()
    network.load_imagenet(published)
    pixels = torch.rand(1, 3, 96, 96, generator=generator)
    mean = torch.tensor(Qwen2VLImageProcessorPil.image_mean).view(1, 3, 1, 1)
    deviation = torch.tensor(Qwen2VLImageProcessorPil.image_std).view(1, 3, 1, 1)
    # The first layer alone: further on, what pads a border differs.
    wanted = source.stem((pixels - 0.5) / 0.5)[:, :, :-1, :-1]
    got = network.stem((pixels - mean) / deviation)[:, :, :-1, :-1]
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="not the weights"):
        EfficientNetLite("lite2").load_imagenet(published)
