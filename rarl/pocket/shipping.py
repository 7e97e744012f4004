"""Write the folder of the embedded model from a finished base and its variants.

Committed weights must stay small: the LoRA of the base is rounded to 8 bits and the adapters to
fp16. The variants were trained on the base before this rounding, which their records name.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from string import Template

from safetensors.torch import load_file, save_file
from torch import Tensor

from rarl.data import Example
from rarl.models.composed import NOTE, composed_revision, to_eight_bits
from rarl.models.familiarity import FILE as FAMILIARITY
from rarl.models.familiarity import load_familiarity
from rarl.pocket.build import ADAPTERS
from rarl.training.card import model_card

CARD = Path(__file__).with_name("model_card.md")
# Of a trained adapter's folder, what goes along as it is.
_COPIED = ("adapter_config.json", "recipe.yaml", "metrics.jsonl", "selection.jsonl")
_WEIGHTS = "adapter_model.safetensors"
# No file of weights may be large.
SHARD_BYTES = 9_000_000


def write_shards(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write `delta*.safetensors` files of at most `SHARD_BYTES`, in the order of the names."""
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in sorted(tensors.items()):
        if size + value.nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = value.contiguous()
        size += value.nbytes
    for number, shard in enumerate(shards, 1):
        save_file(shard, folder / f"delta-{number:05d}-of-{len(shards):05d}.safetensors")


def ship_base(base: Path, assets: Path) -> str:
    """Copy a folder of differences with its LoRA in 8 bits.

    Args:
        base: see `rarl.models.composed`; may hold the familiarity file.
        assets: made anew.

    Returns:
        The revision of what was written.
    """
    shutil.rmtree(assets, ignore_errors=True)
    assets.mkdir(parents=True)
    delta: dict[str, Tensor] = {}
    for path in sorted(base.glob("delta*.safetensors")):
        delta |= load_file(path)
    for name in [name for name in delta if name.startswith("lora.")]:
        delta[name], delta[f"{name}.scale"] = to_eight_bits(delta[name])
    write_shards(delta, assets)
    for path in base.iterdir():
        if path.suffix in (".json", ".jinja"):
            shutil.copy2(path, assets / path.name)
    revision = composed_revision(assets)
    if (base / FAMILIARITY).is_file():
        # Its features come from the tower, which is not rounded.
        measure = load_familiarity(base, composed_revision(base))
        assert measure is not None
        replace(measure, revision=revision).save(assets / FAMILIARITY)
    return revision


def ship_adapter(source: Path, target: Path, revision: str) -> None:
    """Copy what is shipped of a trained adapter's folder, with its weights in fp16.

    Args:
        source: what `rarl train` wrote.
        target: made anew.
        revision: of the shipped base.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in _COPIED:
        shutil.copy2(source / name, target / name)
    weights = {name: value.half() for name, value in load_file(source / _WEIGHTS).items()}
    save_file(weights, target / _WEIGHTS, metadata={"format": "pt"})
    record = json.loads((source / "rarl.json").read_text("utf-8"))
    record |= {"base": "pocket", "trained_on": record["base_revision"], "base_revision": revision}
    (target / "rarl.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    card = model_card(record, (source / "recipe.yaml").read_text("utf-8"))
    (target / "README.md").write_text(card, "utf-8")


def write_card(
    assets: Path,
    parts: Mapping[str, Sequence[Example]],
    steps: Mapping[str, int],
    rise: float,
) -> None:
    """Write the model card.

    Args:
        assets: the shipped folder, its adapters in place.
        parts: rows of half A and of half B that were available for training.
        steps: of each stage, by the names in the card.
        rise: of the perplexity of plain replies, 0.05 for 5 %.
    """
    note = json.loads((assets / NOTE).read_text("utf-8"))
    selected = {
        name: json.loads((assets / "adapters" / name / "rarl.json").read_text("utf-8"))
        for name in ADAPTERS
    }
    text = Template(CARD.read_text("utf-8")).substitute(
        language=note["hub"],
        sets=_sets_table(parts),
        rise=f"{100 * rise:.1f}",
        sft_rows=selected["sft"]["data"]["rows"],
        rl_rows=selected["rl"]["data"]["rows"],
        **{f"{name}_steps": record["steps"] for name, record in selected.items()},
        **{f"{name}_kept": record["selection"]["step"] for name, record in selected.items()},
        **{f"{name}_steps": str(count) for name, count in steps.items()},
    )
    (assets / "README.md").write_text(text, "utf-8")


def _sets_table(parts: Mapping[str, Sequence[Example]]) -> str:
    images: dict[str, Counter[str]] = {}
    licences: dict[str, set[str]] = {}
    for part, rows in parts.items():
        keys = {(row.source, row.image.key) for row in rows if row.image is not None}
        images[part] = Counter(source for source, _ in keys)
        for row in rows:
            licences.setdefault(row.source, set()).add(row.licence)
    head = f"| set | licence | {' | '.join(f'images of half {part}' for part in parts)} |"
    lines = [head, "|---|---|" + "---|" * len(parts)]
    for source in sorted(licences):
        counts = " | ".join(f"{images[part][source]:,}" for part in parts)
        lines.append(f"| {source} | {', '.join(sorted(licences[source]))} | {counts} |")
    return "\n".join(lines)
