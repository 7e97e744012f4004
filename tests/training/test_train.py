"""Each recipe trains through the real command line and leaves an adapter that stands alone."""

import json
import math
import re
import shlex
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from PIL import Image
from safetensors.torch import load_file
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

from demo.pages.results import Results
from rarl.cli import main
from rarl.data import Example
from rarl.inference import load_offer
from rarl.inference.engine import Decoding, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import load_model, weights_revision
from rarl.models.processor import load_processor
from rarl.models.variants import read_arms
from rarl.prompts import messages, user_text
from rarl.text.normalise import exact_match
from rarl.training.run import Options, train
from rarl.training.shown import write_variants

SMALL = {
    "sft": ["batch=4", "micro_batch=4"],
    "rl": ["prompts=2", "group=4", "micro_batch=8", "max_completion=40"],
    "rarl": ["prompts=2", "group=4", "micro_batch=8", "max_completion=40"],
}


def command(recipe: str, base: Path, out: Path, *more: str) -> list[str]:
    changes = [*SMALL[recipe], "learning_rate=1e-3", "warmup_steps=0", "log_steps=1"]
    words = ["train", recipe, "--model", str(base), "--data", "brain_tumor_mri", "--out", str(out)]
    for change in changes:
        words += ["--set", change]
    return [*words, *more]


def logits(model: torch.nn.Module, folder: Path) -> torch.Tensor:
    processor = load_processor(folder)
    text = processor.apply_chat_template(
        messages(user_text("Is there a tumor?")), tokenize=False, add_generation_prompt=True
    )
    batch = processor(images=[Image.new("RGB", (60, 60))], text=[text], return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits


@pytest.mark.parametrize("recipe", ["sft", "rl", "rarl"])
@pytest.mark.usefixtures("examples")
def test_two_steps_make_an_adapter(
    recipe: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / recipe
    assert main(command(recipe, tiny, out, "--max-steps", "2", "--seed", "1", "--json")) == 0
    shown = capsys.readouterr()
    record = json.loads(shown.out)
    assert record == json.loads((out / "rarl.json").read_text("utf-8"))
    assert record["recipe"] == recipe
    assert record["base_revision"] == weights_revision(tiny)
    # Each image has four questions and, in training, one more that names a label.
    assert record["data"]["rows"] == 40 and record["data"]["images"] == 8
    assert record["moved"] and record["adapter_norm"] > 0
    assert "Pre-flight: " in shown.err and "Warning" not in shown.err
    assert str(tmp_path) not in (out / "adapter_config.json").read_text("utf-8")
    card = (out / "README.md").read_text("utf-8")
    assert card.startswith("---\nbase_model: ") and "Not a medical device" in card
    assert "## Intended use" in card and "## Known limits" in card
    assert date.fromisoformat(record["made"]) <= datetime.now(UTC).date()
    assert record["data"]["sha256_of_rows"] in card and str(tmp_path) not in card
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for line in shown.err.splitlines() if line.startswith("Pre-flight: ")]
    assert len(lines) == (4 if recipe == "sft" else 6)
    assert "distinct prompts hold" in lines[0] and "fits in memory" in lines[-1]
    if recipe != "sft":
        assert "sampling answers" in shown.err and re.search(r" 0\.\d+/2 ", shown.err)
        (table,) = out.glob("checkpoints/completions/*2.parquet")
        assert {"prompt", "completion", "accuracy"} <= set(pd.read_parquet(table).columns)

    kept = yaml.safe_load((out / "recipe.yaml").read_text("utf-8"))
    assert (kept["recipe"], kept["variant"], kept["seed"], kept["steps"]) == (
        recipe,
        "9m",
        1,
        2,
    )

    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(math.isfinite(line["loss"]) for line in lines)
    kinds = {"sft": set(), "rl": {"accuracy", "format"}}.get(
        recipe, {"accuracy", "format", "reasoning"}
    )
    assert all(set(line.get("rewards", {})) == kinds for line in lines)
    assert all(line["adapter_change"] > 0 for line in lines)

    base = Qwen2VLForConditionalGeneration.from_pretrained(tiny)
    before = logits(base, tiny)
    adapted = PeftModel.from_pretrained(base, str(out))
    names = [name for name, module in adapted.named_modules() if isinstance(module, LoraLayer)]
    assert len(names) == 14 and all(".language_model.layers." in name for name in names)
    after = logits(adapted, tiny)
    assert torch.isfinite(after).all() and not torch.allclose(before, after, atol=1e-4)
    # The app loads it through its own door, which checks more.
    assert list(load_model(str(tiny), {recipe: out}).adapters) == [recipe]


@pytest.mark.usefixtures("examples")
def test_a_run_says_where_the_adapter_is_and_how_to_evaluate_and_show_it(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "2nd run"
    words = command("sft", tiny, out, "--max-steps", "1", "--set", "micro_batch=2")
    assert main(words) == 0
    shown = capsys.readouterr()
    # Two forward passes to the step: the bar stands between them once.
    assert "0.5/1" in shown.err
    _, where, evaluate, show, name = shown.out.splitlines()
    assert where.startswith(f"The adapter is in '{out}'; README.md")
    assert (out / "README.md").is_file()
    file = str(out / "variants.yaml")
    assert evaluate.endswith(
        f"python -m rarl evaluate --model '{file}' --data brain_tumor_mri --out '{out}'/evaluation"
    )
    assert show.endswith(f"RARL_MODEL='{file}' RARL_RESULTS='{out}' scripts/demo")
    assert "'sft-2nd-run'" in name
    engine = load_offer(file).engine
    assert [arm.label for arm in engine.arms] == ["Base", "sft-2nd-run (SFT)"]
    # The drawn set holds nothing out.
    line = evaluate.partition("rarl ")[2].replace("brain_tumor_mri", "brain_tumor_mri:train")
    assert main([*shlex.split(line), "--limit", "1"]) == 0
    results = Results(out / "evaluation")
    assert results.making("sft-2nd-run").record["recipe"] == "sft"


@pytest.mark.parametrize(
    ("folder", "others", "name"),
    [
        ("mine", {}, "mine"),
        ("rarl", {"rarl": "{}/elsewhere", "sft": "{}/sft"}, "my-rarl"),
        ("adapters/rarl", {"rarl": "{}/adapters/rarl"}, "rarl"),
        ("base", {}, "rarl-base"),
    ],
    ids=["own", "taken", "in the base's folder", "reserved"],
)
def test_the_new_variant_stands_beside_those_of_its_base(
    tmp_path: Path, folder: str, others: dict[str, str], name: str
) -> None:
    out = tmp_path / folder
    out.mkdir(parents=True)
    places = {other: Path(place.format(tmp_path)) for other, place in others.items()}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    assert write_variants(out, "rarl", "pocket", places) == name
    arms = read_arms(out / "variants.yaml")
    assert arms.base == "pocket" and set(arms.adapters) == {name, *others}
    assert Path(arms.adapters[name]).resolve() == out.resolve()
    for other in set(others) - {name}:
        assert Path(arms.adapters[other]).resolve() == places[other].resolve()


@pytest.mark.usefixtures("examples")
def test_an_adapter_that_has_not_moved_is_said(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("--max-steps", "1", "--set", "learning_rate=0", "--json")
    assert main(command("sft", tiny, tmp_path / "sft", *still)) == 0
    shown = capsys.readouterr()
    assert not json.loads(shown.out)["moved"] and "The adapter has not moved" in shown.err
    assert "it has not moved" in (tmp_path / "sft" / "README.md").read_text("utf-8")


@pytest.mark.usefixtures("examples")
def test_positions_know_the_image_in_rollout_reference_and_update(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    original = Qwen2VLModel.get_rope_index

    def recorded(self: Qwen2VLModel, input_ids, mm_token_type_ids, **rest):  # type: ignore[no-untyped-def]
        image = input_ids == self.config.image_token_id
        seen.append(bool(image.any()) and torch.equal(image, mm_token_type_ids == 1))
        return original(self, input_ids, mm_token_type_ids=mm_token_type_ids, **rest)

    monkeypatch.setattr(Qwen2VLModel, "get_rope_index", recorded)
    assert main(command("rl", tiny, tmp_path / "rl", "--max-steps", "1")) == 0
    assert len(seen) >= 3 and all(seen)


@pytest.mark.usefixtures("examples")
def test_a_resumed_run_ends_where_an_unbroken_one_does(tiny: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    every = ("--set", "save_steps=1", "--set", "schedule=constant", "--set", "lora.dropout=0")
    assert main(command("sft", tiny, whole, "--max-steps", "3", *every)) == 0
    assert main(command("sft", tiny, broken, "--max-steps", "3", *every)) == 0
    # As if the run had been cut off after its second step.
    (broken / "adapter_model.safetensors").unlink()
    for file in (broken / "checkpoints" / "checkpoint-3").iterdir():
        file.unlink()
    (broken / "checkpoints" / "checkpoint-3").rmdir()
    assert main(command("sft", tiny, broken, "--max-steps", "3", *every, "--resume")) == 0
    one, other = (json.loads((out / "rarl.json").read_text("utf-8")) for out in (whole, broken))
    assert one["adapter_norm"] == pytest.approx(other["adapter_norm"], rel=1e-6)
    steps = [
        json.loads(line)["step"] for line in (broken / "metrics.jsonl").read_text().splitlines()
    ]
    assert steps == [1, 2, 3]


@pytest.mark.usefixtures("examples")
def test_bad_input_is_one_sentence(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "adapter_model.safetensors").touch()
    cases = [
        (command("sft", tiny, used), "already holds a run"),
        (command("sft", tiny, tmp_path / "new", "--resume"), "no checkpoint to resume"),
        (command("sft", tiny, tmp_path / "new", "--set", "lora.rnk=4"), "lora has no key rnk"),
        (command("rl", tiny, tmp_path / "new", "--set", "micro_batch=3"), "must divide"),
        (command("rl", tiny, tmp_path / "new", "--variant", "70b"), "70b"),
        (command("rl", tmp_path / "none", tmp_path / "new"), "model folder"),
        (command("rl", tiny, tmp_path / "new", "--max-steps", "0"), "--max-steps"),
    ]
    for words, expected in cases:
        try:
            status: object = main(words)
        except SystemExit as ended:  # an argument that cannot be
            status = ended.code
        assert status == 2
        error = capsys.readouterr().err
        assert expected in error and error.count("\n") == 1


def test_the_checkpoint_that_answers_best_is_kept(
    examples: list[Example], tiny: Path, tmp_path: Path
) -> None:
    # The recipe asks no held-out question about modality or organ.
    asked = [row for row in examples if row.category not in {"modality", "organ"}]
    held_out = [replace(row, split="validation") for row in asked[::3]]
    changes = "batch=4 micro_batch=4 save_steps=1 learning_rate=0.05 warmup_steps=0 log_steps=1"
    record = train(
        Options(
            recipe="sft",
            model=str(tiny),
            out=tmp_path,
            data=("brain_tumor_mri",),
            overrides=(*changes.split(), "schedule=constant"),
            steps=3,
        ),
        examples,
        held_out=held_out,
    )
    table = record["selection"]["table"]
    assert [row["step"] for row in table] == [0, 1, 2, 3]
    assert table[0]["changed"] == 0  # the base answers as the base, cut off or not
    best = max(row["accuracy"] for row in table[1:])
    kept = record["selection"]["step"]
    assert kept == max(row["step"] for row in table[1:] if row["accuracy"] == best)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    texts = [
        json.loads(line)
        for line in (tmp_path / "held_out" / f"step-{kept}.jsonl").read_text("utf-8").splitlines()
    ]
    assert sum(one["right"] for one in texts) / len(texts) == best
    chosen = load_file(tmp_path / "selection" / f"step-{kept}" / "adapter_model.safetensors")
    assert all(torch.equal(saved[name], chosen[name]) for name in saved)
    assert [folder.name for folder in (tmp_path / "selection").iterdir()] == [f"step-{kept}"]
    assert f"step {kept} was kept" in (tmp_path / "README.md").read_text("utf-8")
    # The app's engine counts the same.
    engine = LocalEngine(load_model(str(tiny), {"sft": tmp_path}, device="cpu"))
    answers = engine.answer_batch(
        [
            Question(
                (NamedImage(row.image.load()),),
                row.question,
                ("sft",),
                decoding=Decoding(record["selection"]["most"]),
            )
            for row in held_out
            if row.image
        ]
    )
    right = sum(
        exact_match(answer_text[0].response.answer, row.answer)
        for answer_text, row in zip(answers, held_out, strict=True)
    )
    assert right / len(held_out) == best
