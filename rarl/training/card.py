"""Write the model card of an adapter."""

from __future__ import annotations

from typing import Any

import yaml

from rarl.models.intended_use import INTENDED_USE, LIMITS, OUT_OF_SCOPE
from rarl.models.variants import EMBEDDED

_NAMES = {
    "sft": "supervised fine-tuning on explanations and answers",
    "rl": "GRPO under rewards for the answer and the form of the output",
    "rarl": "GRPO under rewards for answer, form and reasoning, with diversity prompting",
    "dpo": "direct preference optimization on readers' blind votes and corrections",
    "kto": "Kahneman-Tversky optimization on readers' votes, corrections and flags",
}
_PAPERS = {
    "dpo": "([arXiv 2305.18290](https://arxiv.org/abs/2305.18290))",
    "kto": "([arXiv 2402.01306](https://arxiv.org/abs/2402.01306))",
}
_PAPER = "([arXiv 2506.06600](https://arxiv.org/abs/2506.06600))"


def model_card(record: dict[str, Any], recipe: str) -> str:
    """The text of an adapter's README.md.

    Args:
        record: what `rarl.json` holds.
        recipe: the text of `recipe.yaml`.
    """
    data = record["data"]
    head = {
        "base_model": record["base"],
        "library_name": "peft",
        "pipeline_tag": "image-text-to-text",
        "license": "apache-2.0",
        "tags": ["lora", "medical", "visual-question-answering", record["recipe"]],
    }
    licences = "; ".join(f"{name}: {licence}" for name, licence in data["licences"].items())
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {record['recipe'].upper()} adapter",
        f"A LoRA adapter made by {_NAMES[record['recipe']]} "
        f"{_PAPERS.get(record['recipe'], _PAPER)}.",
        "**For research. Not a medical device, not for diagnosis.**",
        "## Use",
        f"```python\n{_use(record['base'])}\n```",
        f"It belongs to revision `{record['base_revision']}` of its base and to no other.",
        "## Intended use",
        f"{INTENDED_USE} Not for: {OUT_OF_SCOPE[0].lower()}{OUT_OF_SCOPE[1:]}",
        "## Known limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "`python -m rarl facts BASE --arm NAME` prints these facts with the accuracy that was "
        "measured, also as an Applied Model Card of the Coalition for Health AI.",
        "## Data",
        f"{data['rows']} training rows about {data['images']} images of {', '.join(data['sets'])} "
        f"(rows sha256 `{data['sha256_of_rows']}`). Licences: {licences}.",
        "## Measured",
        *_figures(record),
        "## Recipe",
        f"```yaml\n{recipe.strip()}\n```",
        "Made "
        # Records of earlier versions have no date.
        + (f"on {record['made']} " if record.get("made") else "")
        + "with "
        + ", ".join(f"{name} {v}" for name, v in record["versions"].items())
        + ".",
    ]
    return "\n\n".join(lines) + "\n"


def _use(base: str) -> str:
    """Code that loads the adapter."""
    if base in EMBEDDED:  # in a checkout of the repository, and of an architecture of its own
        return (
            "from rarl.models.loader import load_model\n\n"
            f'model = load_model("{base}", {{"mine": "THIS_FOLDER"}}).model'
        )
    place = base if "/" in base else "FOLDER_OF_THE_BASE"
    return (
        "from peft import PeftModel\nfrom transformers import Qwen2VLForConditionalGeneration\n\n"
        f'base = Qwen2VLForConditionalGeneration.from_pretrained("{place}")\n'
        'model = PeftModel.from_pretrained(base, "THIS_FOLDER")'
    )


def _figures(record: dict[str, Any]) -> list[str]:
    lines = []
    chosen = record["selection"]
    if chosen is not None and "votes" in chosen:
        lines += _votes(chosen)
    elif chosen is not None:
        rows = "\n".join(
            f"| {row['step']} | {100 * row['accuracy']:.1f} | {100 * row['changed']:.1f} |"
            for row in chosen["table"]
        )
        lines += [
            f"Exact match on {chosen['questions']} validation questions, greedy, "
            f"`{chosen['mode']}` mode, in %, and how many it answers otherwise than the base; step "
            f"0 is the base, step {chosen['step']} was kept:",
            f"| step | exact match | changed |\n|---|---|---|\n{rows}",
            "Chosen on these questions, so not a fair estimate: measure on others.",
        ]
    lines.append(
        f"After {record['steps']} steps in {record['seconds']:.0f} s the adapter changes the "
        f"weights it sits on by {100 * record['adapter_norm_relative']:.3f} %"
        + ("." if record["moved"] else ": it has not moved, its answers are the base's.")
    )
    return lines


def _votes(chosen: dict[str, Any]) -> list[str]:
    """How many held-out votes each checkpoint wins, and its guards."""

    def cell(row: dict[str, float], name: str, form: str = "{:.1f}", by: float = 100) -> str:
        return form.format(by * row[name]) if name in row else "-"

    rows = "\n".join(
        f"| {int(row['step'])} | {cell(row, 'win_rate')} ({cell(row, 'win_rate_low')} to "
        f"{cell(row, 'win_rate_high')}) | {cell(row, 'accuracy')} | "
        f"{cell(row, 'length', '{:.0f}', 1)} | {cell(row, 'looks', '{:.0f}')} |"
        for row in chosen["table"]
    )
    guards = (
        "The kept step keeps the guards on length and on the use of the picture."
        if not chosen["guards"]
        else f"**No step keeps the guards**: of the kept one, {' and '.join(chosen['guards'])}."
    )
    return [
        f"Share of {chosen['votes']} held-out votes that each step wins against the base, in %, "
        f"with its 95 % interval over cases; exact match on {chosen['questions']} validation "
        "questions, in %; tokens of an answer; and how many answers change with another picture, "
        f"in %. Step 0 is the base, step {chosen['step']} was kept:",
        "| step | votes won | exact match | tokens | change with the picture |\n"
        f"|---|---|---|---|---|\n{rows}",
        guards,
        "Chosen on these votes, so not a fair estimate: let readers vote anew, blind.",
    ]
