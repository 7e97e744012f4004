"""Load a base model, its LoRA adapters and its processor.

This is the one place that may know which model it holds. Everything else sees a `LoadedModel`.

A model folder holds the base's weights as safetensors (whole or in shards), its configuration, its
tokenizer and processor, and optionally `adapters/NAME/`, each as PEFT writes a LoRA. An adapter may
carry a `rarl.json` with the revision of the base that it was trained on:
`{"base_revision": "0123456789ab"}`; it then loads on no other base. A folder may also hold
differences alone, see `rarl.models.composed`.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, PeftConfig, PeftModel
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import GenerationConfig, Qwen2VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

from rarl.errors import ModelError
from rarl.models.composed import REVISION, compose, composed_revision, is_composed
from rarl.models.convolution import HybridQwen2VL, is_hybrid
from rarl.models.eight_bit import SUFFIX, to_eight_bits
from rarl.models.familiarity import FILE as FAMILIARITY
from rarl.models.familiarity import Familiarity, load_familiarity
from rarl.models.processor import ImageProcessor, load_processor
from rarl.models.variants import EMBEDDED, POCKET, TINY, is_arms_file
from rarl.settings import read_settings

# A model of this many parameters or more is held in half precision on a CPU that computes in it.
HALVED = 100_000_000
# From this size on, memory counts for more than what a second copy of the weights would save.
LARGE = 300_000_000

_ADAPTER_CONFIG = "adapter_config.json"
_ADAPTER_WEIGHTS = "adapter_model.safetensors"
_ADAPTER_NOTE = "rarl.json"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "adapters/*"]
_ADAPTER_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_LORA_KEY = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_ORDER = ("sft", "rl", "rarl")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The location of a model that is not loaded yet.

    Attributes:
        name: as the user gave it.
        directory: the model folder, or None where `name` is to be fetched from the Hub.
        adapters: adapter name to its folder, in the order of the arms.
    """

    name: str
    directory: Path | None
    adapters: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A base with its adapters, ready for inference.

    Attributes:
        name: as the user gave it.
        model: the base with every adapter on it, or the bare base where there are none.
        processor: image processor, tokenizer (padding on the left) and chat template.
        revision: twelve hex digits of the base's weights, "-8bit" after them where they are held
            so.
        adapters: adapter name to the same of its weights, in the order of the arms.
        device: where the weights lie.
        dtype: what the weights are held in.
        end_ids: tokens that end an answer.
        pad_id: token that fills a batch.
        forbidden_ids: special tokens that an answer never holds (image placeholders, turn marks).
        reserved: special tokens as text, which a question must not hold.
        unfit: name to the reason, in a sentence, of adapters that were left out.
        chats: whether it was trained on conversations, and not on single questions alone.
        english_only: whether it was trained on English alone.
        familiarity: tells pictures of a kind that it never saw, or None where it was not fitted.
    """

    name: str
    model: PeftModel | Qwen2VLForConditionalGeneration
    processor: ImageProcessor
    revision: str
    adapters: Mapping[str, str]
    device: torch.device
    dtype: torch.dtype
    end_ids: tuple[int, ...]
    pad_id: int
    forbidden_ids: tuple[int, ...]
    reserved: tuple[str, ...]
    unfit: Mapping[str, str] = field(default_factory=dict)
    chats: bool = True
    english_only: bool = False
    familiarity: Familiarity | None = None

    @property
    def base(self) -> Qwen2VLForConditionalGeneration:
        """The base itself; its linear layers hold the adapters."""
        if isinstance(self.model, PeftModel):
            base = self.model.get_base_model()
            assert isinstance(base, Qwen2VLForConditionalGeneration)
            return base
        return self.model


def resolve_model(
    name: str | None = None, adapters: Mapping[str, Path | str] | None = None
) -> ModelSpec:
    """Find out what a name means, without loading anything.

    Args:
        name: "pocket", a model folder, or a name on the Hub ("Qwen/Qwen2-VL-2B-Instruct"); None
            takes the setting `RARL_MODEL`, or else "pocket".
        adapters: adapter name to a folder or a name on the Hub; None takes those in the model
            folder's `adapters/`.

    Raises:
        ModelError: there is no such folder, or an adapter's name cannot be used.
    """
    name = name or read_settings().model or POCKET
    directory: Path | None = EMBEDDED.get(name) or Path(name).expanduser()
    assert directory is not None
    if not directory.is_dir():
        if name in EMBEDDED:
            raise ModelError(
                f"The {name} model is not here: it is part of a checkout of the repository, not of "
                "the wheel. Name another model with RARL_MODEL, or build it in a checkout with "
                "scripts/build_pocket."
            )
        if is_arms_file(name):
            raise ModelError(f"{name} names several arms; a single model is needed here.")
        if not _HUB_NAME.fullmatch(name):
            raise ModelError(
                f"There is no model folder {name}; give an existing folder, "
                f'"{POCKET}", or a name on the Hub such as Qwen/Qwen2-VL-2B-Instruct.'
            )
        directory = None
    if adapters is None:
        adapter_folders = {} if directory is None else _adapters_in(directory)
    else:
        adapter_folders = {arm: Path(folder).expanduser() for arm, folder in adapters.items()}
    for arm in adapter_folders:
        if not _ADAPTER_NAME.fullmatch(arm) or arm in {"base", "all"}:
            raise ModelError(
                f"An adapter cannot be called {arm!r}; use letters, digits, - and _, "
                'and neither "base" nor "all".'
            )
    return ModelSpec(name, directory, _in_order(adapter_folders))


def load_model(
    name: str | None = None,
    adapters: Mapping[str, Path | str] | None = None,
    device: torch.device | str | None = None,
    leave_out: bool = False,
    eight_bit: bool | None = None,
) -> LoadedModel:
    """Load a base with its adapters and its processor.

    On CUDA the weights are bfloat16; on the CPU float32, or bfloat16 where the model has `HALVED`
    parameters or more and the processor computes in it. The library's progress bars and remarks
    are turned off for the whole process: what goes wrong here is an exception.

    Args:
        name: see `resolve_model`.
        adapters: see `resolve_model`.
        device: where to put the weights; None takes CUDA where there is one, or else the CPU.
        leave_out: leave an adapter out that is missing or does not fit, see `LoadedModel.unfit`,
            instead of raising.
        eight_bit: hold the weights of linear layers in 8 bits, on the CPU alone, see
            `rarl.models.eight_bit`; None takes `RARL_WEIGHTS` ("8bit", or unset).

    Raises:
        ModelError: a file is missing or damaged, the model is of another kind, or an adapter does
            not fit its base.
    """
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    spec = resolve_model(name, adapters)
    directory = spec.directory
    if directory is None:
        directory = _fetched(spec.name)
        if adapters is None:
            spec = ModelSpec(spec.name, directory, _in_order(_adapters_in(directory)))
    beside = directory
    if is_composed(directory):
        directory = compose(directory)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if eight_bit is None:
        eight_bit = read_settings().weights == "8bit"
    if eight_bit and place.type != "cpu":
        raise ModelError("Weights of 8 bits are for the CPU; unset RARL_WEIGHTS.")
    parameters = parameter_count(directory)
    dtype = _dtype_for(place, parameters)
    revision = weights_revision(directory)
    # Where there is little memory, weights in float32 must not be held even for a moment.
    sparing = eight_bit and parameters >= HALVED
    base = _load_base(spec.name, directory, torch.bfloat16 if sparing else dtype)
    try:
        processor = load_processor(directory)
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The model {spec.name} lacks a readable tokenizer or image processor; "
            "copy its folder again."
        ) from error
    tokenizer = processor.tokenizer
    tokenizer.padding_side = "left"
    pad_id = int(tokenizer.pad_token_id)
    ends = base.generation_config.eos_token_id
    end_ids = {int(tokenizer.eos_token_id), pad_id} | set(
        [] if ends is None else [ends] if isinstance(ends, int) else ends
    )
    special = {
        index: str(token)
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    # Sampling settings of the base's authors must not leak into what the user asked for.
    base.generation_config = GenerationConfig(eos_token_id=sorted(end_ids), pad_token_id=pad_id)
    model, folders, unfit = _with_adapters(base, spec, revision)
    if unfit and not leave_out:
        raise ModelError(next(iter(unfit.values())))
    nn.Module.to(model, place)
    if eight_bit:
        to_eight_bits(model, dtype)
    model.requires_grad_(False)
    model.eval()
    # Their answers are other answers, and must be told apart wherever they are kept.
    suffix = SUFFIX if eight_bit else ""
    digests = {arm: _digest([folder / _ADAPTER_WEIGHTS]) for arm, folder in folders.items()}
    return LoadedModel(
        name=spec.name,
        model=model,
        processor=processor,
        revision=revision + suffix,
        adapters={arm: digest + suffix for arm, digest in digests.items()},
        device=place,
        dtype=dtype,
        end_ids=tuple(sorted(end_ids)),
        pad_id=pad_id,
        forbidden_ids=tuple(sorted(set(special) - end_ids)),
        reserved=tuple(special.values()),
        unfit=unfit,
        chats=beside.resolve() != EMBEDDED[TINY].resolve(),
        english_only=beside.resolve() in {folder.resolve() for folder in EMBEDDED.values()},
        familiarity=load_familiarity(beside, revision),
    )


def weights_revision(directory: Path) -> str:
    """Twelve hex digits of a folder's safetensors files, taken in the order of their names.

    A folder of differences and the model that was put together from it have the same revision.

    Raises:
        ModelError: there are none.
    """
    if is_composed(directory):
        return composed_revision(directory)
    if (directory / REVISION).is_file():
        return (directory / REVISION).read_text("utf-8").strip()
    return _digest(_weight_files(directory))


def parameter_count(directory: Path) -> int:
    """The number of parameters in a folder's safetensors files, read from their headers.

    Raises:
        ModelError: there are none, or one is damaged.
    """
    total = 0
    for path in _weight_files(directory):
        total += sum(torch.Size(shape).numel() for shape in _shapes(path).values())
    return total


def _adapters_in(directory: Path) -> dict[str, Path]:
    return {
        path.parent.name: path.parent for path in directory.glob(f"adapters/*/{_ADAPTER_CONFIG}")
    }


def _in_order(adapters: Mapping[str, Path]) -> dict[str, Path]:
    known = [arm for arm in _ORDER if arm in adapters]
    # Shorter names first: PEFT takes the weights of "rarl-0" for those of a later "rl-0".
    others = sorted(adapters.keys() - set(known), key=lambda arm: (len(arm), arm))
    return {arm: adapters[arm] for arm in [*known, *others]}


def _fetched(name: str, files: Sequence[str] = _HUB_FILES) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except (OSError, ValueError) as error:
        # Its errors of network and cache are of the first kind, those of naming of the second.
        raise ModelError(
            f"The model {name} is neither on this machine nor to be had from the Hub; "
            "check its name and the network, or give a model folder."
        ) from error


def _weight_files(directory: Path) -> list[Path]:
    # What lies beside the weights is not part of them.
    paths = (path for path in directory.glob("*.safetensors") if path.name != FAMILIARITY)
    files = sorted(paths, key=lambda path: path.name)
    if not files:
        raise ModelError(
            f"The model folder {directory} holds no safetensors weights; copy the whole folder."
        )
    return files


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:12]


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(path, framework="pt") as tensors:
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelError(f"The weights file {path} is damaged; copy it again.") from error


def _dtype_for(device: torch.device, parameters: int) -> torch.dtype:
    if device.type == "cuda":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    computes = any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))
    return torch.bfloat16 if parameters >= HALVED and computes else torch.float32


def _load_base(name: str, directory: Path, dtype: torch.dtype) -> Qwen2VLForConditionalGeneration:
    try:
        config = json.loads((directory / "config.json").read_text("utf-8"))
        kind = config["model_type"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"The model {name} has no readable config.json; copy its folder again."
        ) from error
    if kind != "qwen2_vl":
        raise ModelError(f"The model {name} is of the kind {kind}; a Qwen2-VL model is needed.")
    architecture = HybridQwen2VL if is_hybrid(config) else Qwen2VLForConditionalGeneration
    try:
        # Typed by the library as the model alone.
        loaded: Any = architecture.from_pretrained(
            directory, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"The weights of the model {name} do not fit its config.json; copy its folder again."
        ) from error
    base: Qwen2VLForConditionalGeneration = loaded[0]
    missing: set[str] = loaded[1]["missing_keys"]
    # The library fills what is missing with random numbers and goes on.
    if missing:
        raise ModelError(
            f"The model {name} lacks {len(missing)} of its weights "
            f"({min(missing)} for one); copy its folder again."
        )
    return base


def _with_adapters(
    base: Qwen2VLForConditionalGeneration, spec: ModelSpec, revision: str
) -> tuple[PeftModel | Qwen2VLForConditionalGeneration, dict[str, Path], dict[str, str]]:
    """Put every adapter on the base that fits it.

    Returns:
        The model, the folders of the adapters on it, and the reasons of those left out.
    """
    linears = {
        name: (module.in_features, module.out_features)
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear)
    }
    unfit: dict[str, str] = {}
    checked: dict[str, tuple[Path, LoraConfig]] = {}
    # Everything is checked before the first adapter touches the base.
    for arm, folder in spec.adapters.items():
        try:
            if not folder.is_dir() and _HUB_NAME.fullmatch(str(folder)):
                folder = _fetched(str(folder), [_ADAPTER_CONFIG, _ADAPTER_WEIGHTS, _ADAPTER_NOTE])
            checked[arm] = folder, _checked_adapter(arm, folder, linears, revision)
        except ModelError as error:
            unfit[arm] = str(error)
    model: PeftModel | None = None
    for arm, (folder, config) in checked.items():
        try:
            with warnings.catch_warnings():
                # Silence warnings between transformers and PEFT.
                warnings.simplefilter("ignore")
                if model is None:
                    model = PeftModel(base, config, arm, autocast_adapter_dtype=False)
                else:
                    model.add_adapter(arm, config, autocast_adapter_dtype=False)
                # The adapter exists already, so this reads its weights and nothing else.
                report = model.load_adapter(
                    folder, arm, torch_device="cpu", autocast_adapter_dtype=False
                )
            fits = not (report.missing_keys or report.unexpected_keys)
        except (RuntimeError, ValueError):
            fits = False
        if not fits:
            unfit[arm] = (
                f"The adapter {arm!r} does not fit its own {_ADAPTER_CONFIG}: the weights and the "
                "layers it names differ."
            )
            if model is not None and arm in model.peft_config:
                model.delete_adapter(arm)
    folders = {arm: folder for arm, (folder, _) in checked.items() if arm not in unfit}
    if model is not None and not folders:
        model.unload()
        model = None
    return base if model is None else model, folders, unfit


def _checked_adapter(
    arm: str, folder: Path, linears: Mapping[str, tuple[int, int]], revision: str
) -> LoraConfig:
    """Read an adapter's configuration and make sure that its weights fit the base.

    Args:
        arm: the adapter's name.
        folder: where it lies.
        linears: the base's linear layers, name to (inputs, outputs).
        revision: the base's.
    """
    if not folder.is_dir():
        raise ModelError(
            f"There is no folder {folder} for the adapter {arm!r}; correct the path that names it."
        )
    for file in (_ADAPTER_CONFIG, _ADAPTER_WEIGHTS):
        if not (folder / file).is_file():
            raise ModelError(f"The adapter {arm!r} has no {file} in {folder}; copy it again.")
    try:
        config = PeftConfig.from_pretrained(str(folder))
        note = folder / _ADAPTER_NOTE
        wanted = json.loads(note.read_text("utf-8"))["base_revision"] if note.exists() else revision
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"The adapter {arm!r} has an unreadable configuration; copy it again."
        ) from error
    if wanted != revision:
        raise ModelError(
            f"The adapter {arm!r} was trained on revision {wanted} of its base, "
            f"but this base is revision {revision}; take the matching pair."
        )
    if (
        not isinstance(config, LoraConfig)
        or config.use_dora
        or config.bias != "none"
        or config.modules_to_save
    ):
        raise ModelError(
            f"The adapter {arm!r} is not a plain LoRA (no DoRA, biases or whole modules), "
            "so it cannot share a base with others."
        )
    sides: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in _shapes(folder / _ADAPTER_WEIGHTS).items():
        parts = _LORA_KEY.fullmatch(key)
        if parts is None:
            raise ModelError(
                f"The adapter {arm!r} holds {key}, which is no LoRA weight of a linear layer."
            )
        sides.setdefault(parts["module"], {})[parts["side"]] = shape
    for module, pair in sides.items():
        if "visual" in module.split("."):
            raise ModelError(
                f"The adapter {arm!r} adapts the vision tower ({module}), which all arms share; "
                "train it on language layers only."
            )
        if module not in linears:
            raise ModelError(
                f"The adapter {arm!r} was made for another architecture: "
                f"the base has no layer {module}."
            )
        inputs, outputs = linears[module]
        fits = (
            pair.keys() == {"A", "B"}
            and pair["A"][1:] == (inputs,)
            and pair["B"] == (outputs, pair["A"][0])
        )
        if not fits:
            raise ModelError(
                f"The adapter {arm!r} does not fit the base: its weights for {module} are "
                f"{' and '.join('x'.join(map(str, pair[side])) for side in sorted(pair))}, "
                f"where the layer has {inputs} inputs and {outputs} outputs."
            )
    config.inference_mode = True
    return config
