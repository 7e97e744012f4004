"""How a variant was made, as escaped HTML: recipe, data, seed, selection, curves and model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from demo.pages.results.run import Results, arm_name
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
    entry = next(one for one in results.summary()["arms"] if one["name"] == arm)
    title = Markup("<h2>How {} was made</h2>").format(arm_name(entry))
    parts = [_facts(entry, making, loaded)]
    if making.record:
        parts.append(_selection(making.record))
    if not making:
        parts.append(
            Markup(
                '<p class="quiet">Its recipe and data are not at hand: they stand in the folder of '
                "its weights, which is not the loaded one, and this evaluation holds no copy.</p>"
            )
        )
    elif missing := [word for word, held in _named(making) if not held]:
        parts.append(
            Markup('<p class="quiet">Not among the files of these weights: {}.</p>').format(
                ", ".join(missing)
            )
        )
    if curves := _curves(making):
        parts.append(curves)
    for name, text in (("Recipe", making.recipe), ("Model card", making.card)):
        if text:
            parts.append(
                Markup("<details><summary>{}</summary><pre>{}</pre></details>").format(name, text)
            )
    return Markup(
        '<section class="made" tabindex="-1" aria-label="How {} was made"><button type="button" '
        'class="ghost" data-event="close">Close</button>{}{}</section>'
    ).format(arm_name(entry), title, Markup().join(parts))


def _named(making: Making) -> tuple[tuple[str, bool], ...]:
    """What training leaves beside weights, in words, and whether it is there."""
    return (
        ("the record of its training (rarl.json)", bool(making.record)),
        ("its recipe (recipe.yaml)", bool(making.recipe)),
        ("its training curves (metrics.jsonl)", bool(making.curve)),
        ("a model card of its own (README.md)", bool(making.card)),
    )


def _facts(entry: Mapping[str, Any], making: Making, loaded: bool) -> str:
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
    cells = Markup().join(Markup("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows)
    return Markup("<dl>{}</dl>").format(cells)


def _selection(record: Mapping[str, Any]) -> str:
    """The table by which one checkpoint was kept."""
    chosen = record.get("selection")
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("table"), list):
        return Markup('<p class="quiet">The last checkpoint was kept; none was selected.</p>')
    lines = Markup().join(
        Markup("<tr{}><td>{}</td><td>{}</td><td>{}</td></tr>").format(
            Markup(' aria-current="true"') if row.get("step") == chosen.get("step") else "",
            row.get("step"),
            _share(row.get("accuracy")),
            _share(row.get("changed")),
        )
        for row in chosen["table"]
        if isinstance(row, Mapping)
    )
    return Markup(
        "<h3>Selection</h3><p>Each checkpoint answered {} validation questions; step 0 is the base "
        "and step {} was kept.</p><table><thead><tr><th scope='col'>Step</th><th scope='col'>Exact "
        "match, %</th><th scope='col'>Answers other than the base’s, %</th></tr></thead>"
        "<tbody>{}</tbody></table>"
    ).format(chosen.get("questions", "–"), chosen.get("step", "–"), lines)


def _curves(making: Making) -> str:
    figure = training_curves(making.curve)
    if figure is None:
        return ""
    # A drawing of ours; Matplotlib escapes the words in it.
    drawing = Markup(svg(figure, "Training curves"))  # noqa: S704
    return Markup('<h3>Training curves</h3><div class="papers"><figure>{}</figure></div>').format(
        Markup('<div class="paper" tabindex="0">{}</div>').format(drawing)
    )


def _share(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, int | float) else "–"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _listed(names: object) -> str:
    if not isinstance(names, Sequence) or isinstance(names, str):
        return "–"
    return ", ".join(str(name) for name in names)
