"""Names to models; and no adapter gets onto a base that it does not fit."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rarl.errors import ModelError
from rarl.models import loader
from rarl.models.loader import load_model, parameter_count, resolve_model, weights_revision
from rarl.models.small import TINY, make_model, make_processor, train_tokenizer
from tests.tiny_model import save_tiny

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """A model folder to damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def adapter_of(folder: Path, arm: str = "sft") -> Path:
    return folder / "adapters" / arm


def refusal(folder: Path, **adapters: Path) -> str:
    """The one sentence with which loading fails."""
    with pytest.raises(ModelError) as caught:
        load_model(str(folder), adapters or None, device="cpu")
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    return sentence


def test_a_folder_gives_the_base_and_its_adapters(tiny_model: Path) -> None:
    loaded = load_model(str(tiny_model), device="cpu")
    assert loaded.name == str(tiny_model)
    assert list(loaded.adapters) == ["sft", "rl", "rarl"]
    assert len({loaded.revision, *loaded.adapters.values()}) == 4
    assert all(len(revision) == 12 for revision in [loaded.revision, *loaded.adapters.values()])
    assert loaded.revision == weights_revision(tiny_model)
    assert loaded.dtype == torch.float32
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_the_adapters_on_the_base_are_those_in_the_files(tiny_model: Path) -> None:
    loaded = load_model(str(tiny_model), device="cpu")
    held = loaded.model.state_dict()
    for arm in loaded.adapters:
        saved = load_file(adapter_of(tiny_model, arm) / WEIGHTS)
        assert saved
        for key, tensor in saved.items():
            name = key.removesuffix(".weight") + f".{arm}.weight"
            assert torch.equal(held[name], tensor), name


def test_special_tokens_are_told_apart(tiny_model: Path) -> None:
    loaded = load_model(str(tiny_model), device="cpu")
    names = loaded.processor.tokenizer.convert_ids_to_tokens
    assert set(names(list(loaded.end_ids))) == {"<|im_end|>", "<|endoftext|>"}
    assert set(names(list(loaded.forbidden_ids))) == {
        "<|im_start|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
        "<|image_pad|>",
        "<|video_pad|>",
    }
    assert "<think>" not in loaded.reserved


def test_a_base_without_adapters(copy: Path) -> None:
    shutil.rmtree(copy / "adapters")
    assert load_model(str(copy), device="cpu").adapters == {}


def test_given_adapters_replace_those_in_the_folder(tiny_model: Path) -> None:
    loaded = load_model(str(tiny_model), {"mine": adapter_of(tiny_model)}, device="cpu")
    whole = load_model(str(tiny_model), device="cpu")
    assert loaded.adapters == {"mine": whole.adapters["sft"]}


def test_the_setting_names_the_model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_MODEL", str(tiny_model))
    assert resolve_model().directory == tiny_model
    assert resolve_model("Qwen/Qwen2-VL-2B-Instruct").directory is None


def test_pocket_is_the_default(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RARL_MODEL", raising=False)
    monkeypatch.setitem(loader.EMBEDDED, "pocket", tiny_model)
    assert resolve_model() == resolve_model("pocket")
    assert resolve_model().directory == tiny_model
    monkeypatch.setitem(loader.EMBEDDED, "pocket", tiny_model / "nothing")
    with pytest.raises(ModelError, match="build_pocket"):
        resolve_model()


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "model", "a/b/c"])
def test_a_missing_folder_says_what_to_do(name: str) -> None:
    assert "give an existing folder" in refusal(Path(name))


def test_a_hub_name_is_fetched_and_then_a_folder(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked.append(name)
        return str(tiny_model)

    monkeypatch.setattr(loader, "snapshot_download", fetch)
    loaded = load_model("Qwen/Qwen2-VL-2B-Instruct", device="cpu")
    assert (loaded.name, asked) == ("Qwen/Qwen2-VL-2B-Instruct", ["Qwen/Qwen2-VL-2B-Instruct"])
    assert list(loaded.adapters) == ["sft", "rl", "rarl"]
    assert loaded.revision == weights_revision(tiny_model)


def test_a_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, allow_patterns: list[str]) -> str:
        raise OSError("no network")

    monkeypatch.setattr(loader, "snapshot_download", fail)
    assert "from the Hub" in refusal(Path("Qwen/Qwen2-VL-2B-Instruct"))


@pytest.mark.parametrize(
    ("halved", "able", "dtype"),
    [
        (1, {"avx512_bf16": True}, torch.bfloat16),
        (1, {"avx512_bf16": False}, torch.float32),
        (10**9, {"avx512_bf16": True}, torch.float32),
    ],
)
def test_half_precision_is_for_large_models_on_able_processors(
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    halved: int,
    able: dict[str, bool],
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(loader, "HALVED", halved)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    loaded = load_model(str(tiny_model), device="cpu")
    assert loaded.dtype == dtype
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {dtype}


def test_parameters_are_counted_from_the_headers(tiny_model: Path) -> None:
    base = load_model(str(tiny_model), {}, device="cpu").base
    # `parameters` names a tied weight once, as the file does.
    assert parameter_count(tiny_model) == sum(tensor.numel() for tensor in base.parameters())


def test_an_unchanged_revision_is_needed_where_one_is_noted(copy: Path) -> None:
    note = adapter_of(copy) / "rarl.json"
    note.write_text(json.dumps({"base_revision": weights_revision(copy)}), "utf-8")
    assert "sft" in load_model(str(copy), device="cpu").adapters
    note.write_text(json.dumps({"base_revision": "0123456789ab"}), "utf-8")
    sentence = refusal(copy)
    assert "'sft' was trained on revision 0123456789ab" in sentence
    note.write_text("{", "utf-8")
    assert "'sft' has an unreadable configuration" in refusal(copy)


def test_an_adapter_of_another_width(
    tiny_model: Path, tmp_path: Path, make_adapter: Callable[..., None]
) -> None:
    shape = replace(TINY, width=128)
    tokenizer = train_tokenizer(["other"], shape.vocabulary)
    make_model(tokenizer, shape, 0).save_pretrained(tmp_path / "wide")
    make_processor(tokenizer, shape).save_pretrained(tmp_path / "wide")
    make_adapter(tmp_path / "wide", tmp_path / "lora", 1)
    sentence = refusal(tiny_model, rl=tmp_path / "lora")
    assert "'rl' does not fit the base" in sentence
    assert "96 inputs and 64 outputs" in sentence


def test_an_adapter_of_a_deeper_base(
    tiny_model: Path, tmp_path: Path, make_adapter: Callable[..., None]
) -> None:
    shape = replace(TINY, depth=3)
    tokenizer = train_tokenizer(["other"], shape.vocabulary)
    make_model(tokenizer, shape, 0).save_pretrained(tmp_path / "deep")
    make_adapter(tmp_path / "deep", tmp_path / "lora", 1)
    sentence = refusal(tiny_model, rl=tmp_path / "lora")
    assert "'rl' was made for another architecture" in sentence
    assert "layers.2" in sentence


def test_an_adapter_of_another_architecture(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    sizes = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    config = Qwen2Config(num_hidden_layers=1, vocab_size=64, intermediate_size=96, **sizes)
    other = get_peft_model(Qwen2ForCausalLM(config), LoraConfig(target_modules=["q_proj"]))
    other.save_pretrained(tmp_path / "lora")
    sentence = refusal(tiny_model, sft=tmp_path / "lora")
    assert "'sft' was made for another architecture" in sentence


def test_an_adapter_on_the_vision_tower(
    tiny_model: Path, tmp_path: Path, make_adapter: Callable[..., None]
) -> None:
    make_adapter(tiny_model, tmp_path / "lora", 1, target_modules=r".*visual.*\.qkv")
    sentence = refusal(tiny_model, rarl=tmp_path / "lora")
    assert "'rarl' adapts the vision tower" in sentence


def test_an_adapter_that_is_no_plain_lora(
    tiny_model: Path, tmp_path: Path, make_adapter: Callable[..., None]
) -> None:
    make_adapter(tiny_model, tmp_path / "lora", 1, use_dora=True)
    assert "'sft' is not a plain LoRA" in refusal(tiny_model, sft=tmp_path / "lora")


def test_an_adapter_that_lacks_some_of_its_layers(copy: Path) -> None:
    file = adapter_of(copy) / WEIGHTS
    tensors = load_file(file)
    save_file({key: tensors[key] for key in tensors if "layers.1" not in key}, file)
    assert "'sft' does not fit its own adapter_config.json" in refusal(copy)


def test_an_adapter_that_lacks_one_side(copy: Path) -> None:
    file = adapter_of(copy) / WEIGHTS
    tensors = load_file(file)
    save_file({key: tensors[key] for key in tensors if "lora_B" not in key}, file)
    assert "'sft' does not fit the base" in refusal(copy)


def test_an_adapter_without_weights_never_asks_the_hub(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("asked the network"))
    (adapter_of(copy) / WEIGHTS).unlink()
    assert "'sft' has no adapter_model.safetensors" in refusal(copy)
    shutil.rmtree(adapter_of(copy))
    assert "There is no folder" in refusal(copy, sft=adapter_of(copy))


def test_a_damaged_adapter(copy: Path) -> None:
    file = adapter_of(copy) / WEIGHTS
    file.write_bytes(file.read_bytes()[:1000])
    assert "is damaged" in refusal(copy)


@pytest.mark.parametrize("name", ["base", "all", "a.b", "", "__base__"])
def test_names_that_no_adapter_may_have(tiny_model: Path, name: str) -> None:
    assert "cannot be called" in refusal(tiny_model, **{name: adapter_of(tiny_model)})


def test_a_pointer_in_place_of_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "is damaged" in refusal(copy)


def test_weights_that_were_cut_short(copy: Path) -> None:
    weights = copy / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    assert "is damaged; copy it again" in refusal(copy)


def test_a_base_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "no safetensors weights" in refusal(copy)


def test_a_base_that_lacks_a_weight_is_not_filled_with_noise(copy: Path) -> None:
    file = copy / "model.safetensors"
    tensors = load_file(file)
    gone = next(key for key in tensors if "down_proj" in key)
    save_file({key: tensors[key] for key in tensors if key != gone}, file, {"format": "pt"})
    assert "lacks 1 of its weights" in refusal(copy)


def test_a_base_whose_weights_have_other_shapes(copy: Path, tmp_path: Path) -> None:
    save_tiny(tmp_path / "other", ["another vocabulary"])
    config = json.loads((copy / "config.json").read_text("utf-8"))
    config["text_config"]["intermediate_size"] = 80
    (copy / "config.json").write_text(json.dumps(config), "utf-8")
    assert "do not fit its config.json" in refusal(copy)


def test_a_base_of_another_kind(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "llama"}', "utf-8")
    assert "of the kind llama" in refusal(copy)
    (copy / "config.json").unlink()
    assert "no readable config.json" in refusal(copy)


def test_a_base_without_a_tokenizer(copy: Path) -> None:
    (copy / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(copy)


def test_without_the_pocket_model_the_sentence_says_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loader.EMBEDDED, "pocket", tmp_path / "absent")
    with pytest.raises(ModelError, match="part of a checkout of the repository, not of the wheel"):
        resolve_model("pocket")
