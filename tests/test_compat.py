"""What is private in torch and TRL is as `rarl.compat` expects it; a failure says what changed."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import trl
from trl.trainer import utils
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.sft_trainer import SFTTrainer

from rarl.compat.torch import eight_bit_linear, pack_linear_weight, packed_linear
from rarl.compat.trl import completions_scored_alone

ROOT = Path(__file__).resolve().parents[1]
COMPAT = {ROOT / "rarl/compat/torch.py", ROOT / "rarl/compat/trl.py", ROOT / "demo/compat.py"}
# What TRL's own code calls these methods with; an override must take the same.
PARAMETERS = {
    GRPOTrainer._generate: "prompts",
    GRPOTrainer._generate_single_turn: (
        "prompt_ids images multimodal_fields num_generations has_tool_images"
    ),
    GRPOTrainer._calculate_rewards: "inputs prompts completions completion_ids_list",
    GRPOTrainer._get_per_token_logps_and_entropies: (
        "model input_ids attention_mask logits_to_keep batch_size compute_entropy "
        "compute_aux_loss pixel_values image_grid_thw num_images pixel_attention_mask "
        "spatial_shapes num_tiles image_sizes token_type_ids mm_token_type_ids image_position_ids"
    ),
    GRPOTrainer._prepare_inputs: "generation_batch",
    GRPOTrainer._generate_and_score_completions: "inputs",
    GRPOTrainer._send_telemetry: "",
    SFTTrainer._prepare_inputs: "inputs",
    utils._use_triton: "device",
    utils.split_pixel_values_by_grid: "batch",
    utils.unsplit_pixel_values_by_grid: "batch",
    utils.split_tensor_dict: "tensor_dict num_chunks",
}


@pytest.mark.parametrize(
    ("function", "expected"), PARAMETERS.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_trl_has_the_methods_that_are_overridden(
    function: Callable[..., object], expected: str
) -> None:
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    assert names == expected.split(), (
        f"TRL {trl.__version__} calls {function.__qualname__} with {names}; "
        "adapt rarl/compat/trl.py and what overrides it in rarl/training."
    )


@pytest.mark.parametrize("name", ["_step", "_buffered_inputs", "_tokenizer"])
def test_trl_has_the_attributes_that_are_read(name: str) -> None:
    source = inspect.getsource(GRPOTrainer)
    assert f"self.{name} = " in source or f"self.{name}:" in source, (
        f"TRL {trl.__version__} no longer keeps self.{name}; adapt rarl/compat/trl.py."
    )


def test_trl_cuts_batches_as_before() -> None:
    source = inspect.getsource(GRPOTrainer._prepare_inputs)
    parts = (
        "self._step % generate_every == 0",
        "split_pixel_values_by_grid",
        "shuffle_sequence_dict",
        "split_tensor_dict",
        "unsplit_pixel_values_by_grid",
    )
    for part in parts:
        assert part in source, (
            f"TRL {trl.__version__} prepares its micro-batches otherwise ({part} is gone); "
            "compare it with UnshuffledGRPOTrainer in rarl/compat/trl.py."
        )


def test_the_head_is_asked_for_completions_alone_inside_only() -> None:
    before = utils._use_triton
    with completions_scored_alone():
        assert utils._use_triton(torch.device("cpu"))
    assert utils._use_triton is before


def test_torch_multiplies_with_a_packed_weight() -> None:
    torch.manual_seed(0)
    weight, bias, x = torch.randn(24, 16), torch.randn(24), torch.randn(2, 3, 16)
    product = packed_linear(x, pack_linear_weight(weight, 3), bias)
    torch.testing.assert_close(
        product,
        F.linear(x, weight, bias),
        msg=f"torch {torch.__version__}: the packed product differs; see rarl/compat/torch.py.",
    )


def test_torch_multiplies_with_a_weight_of_eight_bits() -> None:
    torch.manual_seed(0)
    weight = torch.randint(-127, 128, (32, 64), dtype=torch.int8)
    scale, rows = torch.rand(32).bfloat16(), torch.randn(4, 64).bfloat16()
    expected = F.linear(rows.float(), weight.float()) * scale.float()
    torch.testing.assert_close(
        eight_bit_linear(rows, weight, scale).float(),
        expected,
        rtol=0.02,
        atol=0.5,
        msg=f"torch {torch.__version__}: _weight_int8pack_mm differs; see rarl/compat/torch.py.",
    )


def own_names() -> set[str]:
    """Private names that this repository itself defines."""
    names: set[str] = set()
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names.add(node.target.id)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
    return names


def sources() -> list[Path]:
    files = [path for folder in ("rarl", "demo") for path in (ROOT / folder).rglob("*.py")]
    return sorted(path for path in files if path not in COMPAT)


# Not private: a named tuple's method; what typeshed calls the type of a `zlib.decompressobj`.
PUBLIC = {"_asdict", "_replace", "_fields", "_Decompress"}


def test_private_names_of_libraries_stand_in_compat_alone() -> None:
    own, elsewhere = own_names(), []
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else ""
            private = name.startswith("_") and not name.startswith("__")
            if private and name not in own | PUBLIC:
                elsewhere.append(f"{path.relative_to(ROOT)}: {name}")
    assert not elsewhere, f"move to rarl/compat or demo/compat.py: {elsewhere}"


def test_nothing_else_overrides_a_private_method_of_a_trainer() -> None:
    theirs = {name for kind in (GRPOTrainer, SFTTrainer) for name in dir(kind)}
    elsewhere = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources()
        if path.is_relative_to(ROOT / "rarl/training")
        for kind in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(kind, ast.ClassDef)
        for node in kind.body
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("_")
        and not node.name.startswith("__")
        and node.name in theirs
    ]
    assert not elsewhere, f"give it a name in rarl/compat/trl.py and override that: {elsewhere}"
