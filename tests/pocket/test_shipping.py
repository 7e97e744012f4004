"""What ships of a base and its variants: small files that load as what was trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rarl.models.composed import (
    NOTE,
    add_differences,
    composed_revision,
    from_eight_bits,
    to_eight_bits,
)
from rarl.models.familiarity import FILE, Familiarity, load_familiarity
from rarl.pocket.shipping import SHARD_BYTES, ship_adapter, ship_base, write_shards

LAYER = "layers.0.self_attn.q_proj"


def measure_of(revision: str) -> Familiarity:
    line, square = (1,), (1, 1)
    shapes = (line, line, square, square, square, line)
    parts = [torch.ones(shape) for shape in shapes]
    return Familiarity(revision, ("scan",), *parts, rest=1.0, limit=2.0)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder of differences with a large LoRA."""
    torch.manual_seed(0)
    folder = tmp_path / "base"
    folder.mkdir()
    delta = {
        f"lora.{LAYER}.A": torch.randn(32, 576).half(),
        f"lora.{LAYER}.B": torch.randn(576, 32).half() * 0.01,
        "visual.patch.weight": torch.randn(64, 64).half(),
        "visual.steps": torch.tensor([7]),
        "tokens": torch.randn(3, 576).half(),
    }
    write_shards(delta, folder)
    (folder / NOTE).write_text(json.dumps({"sha256": "0" * 64, "lora_scale": 2.0}))
    (folder / "config.json").write_text("{}")
    measure_of(composed_revision(folder)).save(folder / FILE)
    return folder


def all_of(folder: Path) -> dict[str, torch.Tensor]:
    return {k: v for path in folder.glob("delta*") for k, v in load_file(path).items()}


def test_the_lora_ships_in_eight_bits_and_all_else_as_it_is(base: Path, tmp_path: Path) -> None:
    revision = ship_base(base, tmp_path / "assets")
    before, after = all_of(base), all_of(tmp_path / "assets")
    assert after[f"lora.{LAYER}.A"].dtype == torch.int8
    for name in ("visual.patch.weight", "visual.steps", "tokens"):
        assert torch.equal(before[name], after[name])
    prefix = "model.language_model."

    def whole(delta: dict[str, torch.Tensor]) -> torch.Tensor:
        state = {
            f"{prefix}embed_tokens.weight": torch.zeros(1, 576),
            f"{prefix}{LAYER}.weight": torch.zeros(576, 576),
        }
        return add_differences(state, delta, 2.0)[f"{prefix}{LAYER}.weight"]

    error = (whole(after) - whole(before)).norm() / whole(before).norm()
    assert 0 < error < 0.01
    assert (tmp_path / "assets/config.json").is_file()
    assert revision == composed_revision(tmp_path / "assets") != composed_revision(base)


def test_the_familiarity_belongs_to_what_ships(base: Path, tmp_path: Path) -> None:
    revision = ship_base(base, tmp_path / "assets")
    measure = load_familiarity(tmp_path / "assets", revision)
    assert measure is not None and measure.revision == revision
    old = load_familiarity(base, composed_revision(base))
    assert old is not None
    assert replace(measure, revision=old.revision).verdicts(torch.ones(1, 1)) == old.verdicts(
        torch.ones(1, 1)
    )


def test_shards_stay_small_and_lose_nothing(tmp_path: Path) -> None:
    tensors = {f"t{number}": torch.rand(1_000_000) for number in range(5)}
    write_shards(tensors, tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        f"delta-0000{n}-of-00003.safetensors" for n in (1, 2, 3)
    ]
    assert all(file.stat().st_size < SHARD_BYTES + 10_000 for file in files)
    assert all(torch.equal(value, tensors[name]) for name, value in all_of(tmp_path).items())
    assert all_of(tmp_path).keys() == tensors.keys()


def test_an_adapter_ships_in_sixteen_bits_and_says_what_it_was_trained_on(tmp_path: Path) -> None:
    source = tmp_path / "sft"
    source.mkdir()
    weight = torch.randn(8, 16)
    save_file({"lora": weight}, source / "adapter_model.safetensors")
    record = {
        "base": "base",
        "base_revision": "a" * 12,
        "recipe": "sft",
        "data": {
            "sets": ["x"],
            "rows": 1,
            "images": 1,
            "licences": {"x": "MIT"},
            "sha256_of_rows": "0",
        },
        "selection": None,
        "versions": {"torch": "2"},
        "last": {},
        "adapter_norm_relative": 0.01,
        "moved": True,
        "steps": 1,
        "seconds": 1.0,
    }
    (source / "rarl.json").write_text(json.dumps(record))
    for name in ("adapter_config.json", "recipe.yaml", "metrics.jsonl", "selection.jsonl"):
        (source / name).write_text("{}\n")
    target = tmp_path / "adapters" / "sft"
    ship_adapter(source, target, "b" * 12)
    shipped = load_file(target / "adapter_model.safetensors")["lora"]
    assert shipped.dtype == torch.float16 and torch.equal(shipped, weight.half())
    kept = json.loads((target / "rarl.json").read_text())
    assert (kept["base"], kept["trained_on"], kept["base_revision"]) == (
        "pocket", "a" * 12, "b" * 12,
    )  # fmt: skip
    assert f"`{'b' * 12}`" in (target / "README.md").read_text()


def test_a_row_of_zeros_stays_zero() -> None:
    matrix = torch.tensor([[0.0, 0.0], [1e-9, -3.0]])
    assert torch.allclose(from_eight_bits(*to_eight_bits(matrix)), matrix, atol=0.02)
