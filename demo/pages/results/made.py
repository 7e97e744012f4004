"""How a variant was made, as escaped HTML: recipe, data, seed, selection, curves and model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from demo.pages.results.run import Results, arm_name
from demo.templating import render_template
from rarl.evaluation.plots import svg, training_curves
from rarl.models.making import Making

_RECIPES = {
    "sft": "SFT: it imitates reference explanations.",
    "rl": "RL (GRPO): it is rewarded for right answers.",
    "rarl": "RARL (GRPO): it is rewarded for right answers and for sound reasoning.",
    "dpo": "DPO: it prefers what readers chose to what they rejected.",
    "kto": "KTO: it prefers what readers found good to what they found bad.",
}


def made(results: Results, arm: str, making: Making, loaded: bool) -> str:
    """What is known of how a variant was made.

    Args:
        results: of the evaluation that measured it.
        arm: its name.
        making: what its files say; an empty one where they are not at hand.
        loaded: whether the app has these very weights loaded.
    """
    entry = next(entry for entry in results.summary()["arms"] if entry["name"] == arm)
    missing = [description for description, is_there in _parts(making) if not is_there]
    return render_template(
        "results/made.html",
        name=arm_name(entry),
        facts=_facts(entry, making, loaded),
        has_record=bool(making.record),
        selection=_selection(making.record),
        missing=missing if making else None,
        curves=_curves(making),
        texts=[
            (title, text)
            for title, text in (("Recipe", making.recipe), ("Model card", making.card))
            if text
        ],
    )


def _parts(making: Making) -> tuple[tuple[str, bool], ...]:
    """What training leaves beside weights, in words, and whether it is there."""
    return (
        ("the record of its training (rarl.json)", bool(making.record)),
        ("its recipe (recipe.yaml)", bool(making.recipe)),
        ("its training curves (metrics.jsonl)", bool(making.curve)),
        ("a model card of its own (README.md)", bool(making.card)),
    )


def _facts(entry: Mapping[str, Any], making: Making, loaded: bool) -> list[tuple[str, object]]:
    """Label and value of each line."""
    record = making.record
    data = record.get("data")
    data = data if isinstance(data, Mapping) else {}
    state = "loaded now" if loaded else "not loaded now"
    rows: list[tuple[str, object]] = [("Weights", f"{entry.get('revision') or '–'}, {state}")]
    recipe = record.get("recipe")
    if recipe:
        rows.append(("Recipe", _RECIPES.get(str(recipe), str(recipe))))
        rows.append(("Base", f"{record.get('base', '–')}, {record.get('base_revision', '–')}"))
    if data:
        rows.append(
            (
                "Data",
                f"{_number(data.get('rows'))} rows about {_number(data.get('images'))} images of "
                f"{_listed(data.get('sets'))}",
            )
        )
        licences = data.get("licences")
        if isinstance(licences, Mapping):
            rows.append(("Licences", ", ".join(f"{k}: {v}" for k, v in licences.items())))
        rows.append(("Rows, SHA-256", data.get("sha256_of_rows", "–")))
    for label, key in (("Seed", "seed"), ("Steps", "steps"), ("Processes", "processes")):
        if key in record:
            rows.append((label, record[key]))
    if isinstance(record.get("seconds"), int | float):
        rows.append(("Time", f"{record['seconds'] / 60:.0f} min"))
    if isinstance(record.get("adapter_norm_relative"), int | float):
        share = 100 * record["adapter_norm_relative"]
        rows.append(("Change", f"{share:.2f} % of the weights that it sits on, by norm"))
    judge = record.get("judge")
    if "judge" in record:
        judged = judge.get("model") if isinstance(judge, Mapping) else None
        rows.append(("Judge", judged or "none"))
    versions = record.get("versions")
    if isinstance(versions, Mapping):
        rows.append(("Versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return rows


def _selection(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The table by which one checkpoint was kept, None where none was selected."""
    chosen = record.get("selection")
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("table"), list):
        return None
    rows = [
        {
            "current": row.get("step") == chosen.get("step"),
            "step": row.get("step"),
            "accuracy": _share(row.get("accuracy")),
            "changed": _share(row.get("changed")),
        }
        for row in chosen["table"]
        if isinstance(row, Mapping)
    ]
    return {
        "questions": chosen.get("questions", "–"),
        "step": chosen.get("step", "–"),
        "rows": rows,
    }


def _curves(making: Making) -> Markup | None:
    figure = training_curves(making.curve)
    # A drawing of ours; Matplotlib escapes the words in it.
    return Markup(svg(figure, "Training curves")) if figure else None  # noqa: S704


def _share(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "–"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _listed(names: object) -> str:
    if not isinstance(names, Sequence) or isinstance(names, str):
        return "–"
    return ", ".join(str(name) for name in names)
