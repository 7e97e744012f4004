"""`python -m rarl train sft|rl|rarl|dpo|kto`: train one adapter."""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from rarl.arguments import check_output_folder, seed_number, whole_number
from rarl.errors import DataError
from rarl.training.shown import next_steps, write_variants

if TYPE_CHECKING:
    from rarl.data import Example
    from rarl.training.preference import Preferences

HELP = "Train a variant (SFT, RL, RARL, DPO or KTO) as a LoRA adapter, and say what it is made of."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "recipe", choices=("sft", "rl", "rarl", "dpo", "kto"), help="the variant to train"
    )
    parser.add_argument(
        "--model", default="pocket", metavar="NAME", help="pocket, a folder or a Hub name"
    )
    parser.add_argument(
        "--data", required=True, metavar="NAME[,NAME...]", help="sets whose training rows are used"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="the adapter's folder"
    )
    parser.add_argument(
        "--variant", help="a variant of the recipe, or 9m; otherwise the model's size decides"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change one key of the recipe, as in lora.rank=4; may be repeated",
    )
    parser.add_argument(
        "--max-steps", type=whole_number(1), metavar="N", help="steps, instead of the recipe's"
    )
    parser.add_argument(
        "--limit", type=whole_number(1), metavar="N", help="use N rows, drawn by the seed"
    )
    parser.add_argument(
        "--pass-rates",
        type=Path,
        metavar="FILE",
        help="train on the questions that the base gets right in part; see rarl pass-rates",
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="0 if not given")
    parser.add_argument("--threads", type=whole_number(1, 4096), metavar="N", help="CPU threads")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--report-to",
        action="append",
        default=[],
        choices=("tensorboard", "trackio", "wandb"),
        help="a tracker to log to as well; may be repeated",
    )
    parser.add_argument(
        "--judge", metavar="URL", help="OpenAI-compatible API that scores reasoning"
    )
    parser.add_argument("--judge-model", metavar="NAME", help="the judge's model")
    parser.add_argument(
        "--judge-calls", type=whole_number(1), metavar="N", help="most requests to the judge"
    )
    parser.add_argument(
        "--vllm-server", metavar="URL", help="a server (trl vllm-serve) that samples completions"
    )
    parser.add_argument(
        "--vllm",
        choices=("colocate",),
        help="sample completions with vLLM in this process, asleep during updates",
    )
    parser.add_argument("--json", action="store_true", help="print rarl.json as one line")


def run(arguments: argparse.Namespace) -> int:
    """Train.

    Returns:
        The exit status, 0.

    Raises:
        RarlError: something the user can mend.
    """
    check_output_folder(arguments.out)
    if bool(arguments.judge) != bool(arguments.judge_model):
        raise DataError("--judge URL and --judge-model NAME go together.")
    for tracker in arguments.report_to:
        if find_spec(tracker) is None:
            raise DataError(f"--report-to {tracker} needs the package; pip install {tracker}.")
    if arguments.vllm and arguments.vllm_server:
        raise DataError("--vllm colocate and --vllm-server exclude each other; give one of them.")
    if arguments.vllm and find_spec("vllm") is None:
        raise DataError(
            "--vllm colocate needs vLLM on a GPU: pip install vllm, or leave it out to sample with "
            "this package's own decoder."
        )
    # Before the libraries are imported: nothing about a hospital's run leaves the machine.
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    import torch

    from rarl.data import load_examples
    from rarl.judge import Judge
    from rarl.models.loader import resolve_model
    from rarl.training.run import Options, train
    from rarl.training.trl_config import end_processes, processes

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    names = tuple(name for name in arguments.data.split(",") if name)
    preferences = None
    if arguments.recipe in ("dpo", "kto"):
        rows, preferences = _preferences(arguments, names)
        examples = preferences.examples()
    else:
        rows = load_examples(names, ("train", "validation"))
        examples = [row for row in rows if row.split == "train"]
        if arguments.pass_rates:
            examples = _differing(arguments.pass_rates, arguments.model, examples)
        if arguments.limit and arguments.limit < len(examples):
            examples = random.Random(arguments.seed).sample(examples, arguments.limit)
    judge = None
    if arguments.judge:
        judge = Judge(
            arguments.judge,
            arguments.judge_model,
            cache=arguments.out / "judge",
            calls=arguments.judge_calls,
        )
    try:
        record = train(
            Options(
                recipe=arguments.recipe,
                model=arguments.model,
                out=arguments.out,
                data=names,
                variant=arguments.variant,
                overrides=tuple(arguments.overrides),
                steps=arguments.max_steps,
                seed=arguments.seed,
                resume=arguments.resume,
                report_to=tuple(arguments.report_to),
                judge=judge,
                vllm_server=arguments.vllm_server,
                vllm_colocate=arguments.vllm == "colocate",
            ),
            examples,
            held_out=[row for row in rows if row.split == "validation"],
            preferences=preferences,
        )
    finally:
        end_processes()
    if not processes().is_main_process:
        return 0
    others = resolve_model(arguments.model).adapters
    name = write_variants(arguments.out, arguments.recipe, arguments.model, others)
    if arguments.json:
        print(json.dumps(record))
    else:
        print(
            f"Saved to {arguments.out} after {record['steps']} steps in {record['seconds']:.0f} s; "
            f"the adapter changes its layers by {100 * record['adapter_norm_relative']:.2f} %."
        )
        print(next_steps(arguments.out, name, names))
    return 0


def _differing(path: Path, model: str, examples: list[Example]) -> list[Example]:
    """Rows that the base gets right in part."""
    from rarl.models.loader import resolve_model, weights_revision
    from rarl.training.pass_rates import read_pass_rates, with_differing_answers

    folder = resolve_model(model).directory
    if folder is None:
        raise DataError("--pass-rates needs the model as a folder; name its local copy.")
    rates = read_pass_rates(path)
    kept = with_differing_answers(examples, rates, weights_revision(folder))
    share = 100 * sum(rate.differs for rate in rates) / len(rates)
    print(
        f"Pass rates: {len(kept)} questions are trained on; of those sampled, the base gets "
        f"{share:.0f} % right in part.",
        file=sys.stderr,
    )
    return kept


def _preferences(
    arguments: argparse.Namespace, names: tuple[str, ...]
) -> tuple[list[Example], Preferences]:
    """Validation rows of the other sets, and what readers prefer.

    Raises:
        DataError: the review store is not named or holds nothing to train on.
    """
    from rarl.data import load_examples
    from rarl.data.sets import REVIEW
    from rarl.review.training_rows import load_judged
    from rarl.training.preference import Preferences

    if REVIEW not in names:
        raise DataError(
            f"{arguments.recipe} learns from what readers said; add review to --data. Other sets "
            "there give the questions that show whether accuracy falls."
        )
    others = [name for name in names if name != REVIEW]
    rows = load_examples(others, ("validation",)) if others else []
    preferences = Preferences.of(load_judged(), arguments.recipe)
    if arguments.limit:
        preferences = preferences.limited(arguments.limit, arguments.seed)
    return rows, preferences
