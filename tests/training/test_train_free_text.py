"""The paper's data form trains through the real command line, without annotated facts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from PIL import Image
from transformers import Qwen2VLForConditionalGeneration

from rarl.cli import main
from rarl.models.processor import load_processor
from rarl.prompts import messages, user_text
from rarl.training.grpo import GroupedGRPOTrainer
from rarl.training.likelihood import AnswerLikelihood

EXAMPLE = Path(__file__).parents[2] / "examples" / "silvar_med.yaml"
EXPLANATION = "The left kidney contains a stone of 9 mm, while the right kidney appears normal."
ANSWERED, UNANSWERED = "Is there a stone?", "Which kidney is affected?"
PARAPHRASE = "A 9 mm stone lies in the left kidney, and the right kidney is unremarkable."
OPPOSITE = "The left kidney contains no stone."
SIDE = "The right kidney contains a stone of 9 mm, while the left kidney appears normal."
# One group: reasoning, and the answer to each question.
THOUGHTS = (
    (PARAPHRASE, "yes", "left kidney"),
    (OPPOSITE, "no", "no kidney"),
    (SIDE, "yes", "right kidney"),
    (UNANSWERED, "yes", "kidney"),
)
SMALL = "prompts=2 group=4 micro_batch=8 max_completion=160 warmup_steps=0 log_steps=1".split()


@pytest.fixture
def silvar_med(tmp_path: Path) -> Callable[[bool], Path]:
    """Writes a small folder of Silvar-Med's form, with or without a file of short answers."""

    def write(answers: bool) -> Path:
        folder = tmp_path / "silvar_med"
        (folder / "imgs").mkdir(parents=True)
        for name, shade in (("xmlab7", 60), ("xmlab8", 160)):
            Image.new("RGB", (60, 60), (shade, shade, shade)).save(folder / "imgs" / f"{name}.jpg")
        rows = [
            {"img_name": "xmlab7.jpg", "question": ANSWERED, "answer": EXPLANATION},
            {"img_name": "xmlab8.jpg", "question": UNANSWERED, "answer": EXPLANATION},
        ]
        (folder / "train.json").write_text(json.dumps(rows), "utf-8")
        text = EXAMPLE.read_text("utf-8").replace("repository: silvar_med", f"repository: {folder}")
        if answers:
            short = [{"img_name": "xmlab7.jpg", "question": ANSWERED, "answer": "Yes"}]
            (folder / "short_answers.json").write_text(json.dumps(short), "utf-8")
            text = text.replace("# short_answers:", "short_answers:")
        path = tmp_path / "silvar_med.yaml"
        path.write_text(text, "utf-8")
        return path

    return write


def command(recipe: str, base: Path, data: Path, out: Path, *changes: str) -> list[str]:
    words = ["train", recipe, "--model", str(base), "--data", str(data), "--out", str(out)]
    for change in changes:
        words += ["--set", change]
    return [*words, "--max-steps", "1", "--json"]


def completion(thought: str, answer: str) -> str:
    return f"<think>{thought}</think><answer>{answer}</answer>"


def fixed(self: GroupedGRPOTrainer, prompt_ids: list[list[int]], *rest: Any, **more: Any) -> Any:
    """Completions of the group in place of sampled ones."""
    ids = []
    for place, prompt in enumerate(prompt_ids):
        thought, first, second = THOUGHTS[place % len(THOUGHTS)]
        asked = self._tokenizer.decode(prompt)
        text = completion(thought, first if ANSWERED in asked else second)
        ids.append([*self._tokenizer.encode(text, add_special_tokens=False), *self.eos_token_ids])
    return ids, None


def plain_probability(base: Path, image: Path, question: str, lead: str, answer: str) -> float:
    """Mean probability of the answer's tokens by one forward pass of the base."""
    processor = load_processor(base)
    model = Qwen2VLForConditionalGeneration.from_pretrained(base).eval()
    text = processor.apply_chat_template(
        messages(user_text(question, "reason")), tokenize=False, add_generation_prompt=True
    )
    batch = processor(images=[Image.open(image)], text=[text], return_tensors="pt")
    parts = [processor.tokenizer.encode(part, add_special_tokens=False) for part in (lead, answer)]
    behind = torch.tensor([[*parts[0], *parts[1]]])
    ids = torch.cat([batch["input_ids"], behind], 1)
    kinds = torch.cat([batch["mm_token_type_ids"], torch.zeros_like(behind)], 1)
    with torch.no_grad():
        logits = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            mm_token_type_ids=kinds,
            pixel_values=batch["pixel_values"],
            image_grid_thw=batch["image_grid_thw"],
        ).logits[0]
    count = len(parts[1])
    chances = logits[-count - 1 : -1].float().softmax(-1)
    return float(chances[range(count), parts[1]].mean())


def test_one_step_pays_a_paraphrase_more_than_the_opposite(
    silvar_med: Callable[[bool], Path],
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[Any] = []
    original = AnswerLikelihood.answer_probabilities

    def recorded(self: AnswerLikelihood, inputs: Any, completions: Any) -> Any:
        pairs = original(self, inputs, completions)
        measured.extend(
            (row["question"], *pair) for row, pair in zip(inputs, pairs, strict=True) if pair
        )
        return pairs

    monkeypatch.setattr(GroupedGRPOTrainer, "generate_turn", fixed)
    monkeypatch.setattr(AnswerLikelihood, "answer_probabilities", recorded)
    out, data = tmp_path / "out", silvar_med(True)
    changes = (*SMALL, "diversity=false", "rewards.likelihood=1")
    assert main(command("rarl", tiny, data, out, *changes)) == 0

    (path,) = out.glob("checkpoints/completions/*1.parquet")
    table = pd.read_parquet(path)
    table["completion"] = [turns[0]["content"] for turns in table["completion"]]
    assert len(table) == 8 and set(table["question"]) == {ANSWERED, UNANSWERED}
    for question, rows in table.groupby("question"):
        paraphrase, opposite, side, echo = (
            rows[rows["completion"].str.contains(f"<think>{thought}", regex=False)].iloc[0]
            for thought, _, _ in THOUGHTS
        )
        for worse in (opposite, side):
            assert paraphrase["reasoning"] > worse["reasoning"] + 0.15
        assert paraphrase["reasoning"] > echo["reasoning"] + 0.3
        assert paraphrase["accuracy"] > opposite["accuracy"] + 0.4
        if question == UNANSWERED:
            assert paraphrase["accuracy"] > 0.5
            assert side["accuracy"] == echo["accuracy"] == opposite["accuracy"] == 0
            assert rows["likelihood"].isna().all()
        assert paraphrase["advantage"] == rows["advantage"].max() > 0 > opposite["advantage"]

    # The likelihood is that of a plain forward pass.
    assert [question for question, _, _ in measured] == [ANSWERED] * 4
    image = tmp_path / "silvar_med" / "imgs" / "xmlab7.jpg"
    without = plain_probability(tiny, image, ANSWERED, "<answer>", "yes")
    for (_, reasoned, plain), (thought, _, _) in zip(measured, THOUGHTS, strict=True):
        lead = f"<think>{thought}</think><answer>"
        expected = plain_probability(tiny, image, ANSWERED, lead, "yes")
        assert plain == pytest.approx(without, rel=1e-3)
        assert reasoned == pytest.approx(expected, rel=1e-3)
    gains = [max(0.0, (reasoned - plain) / (1 - plain)) for _, reasoned, plain in measured]
    logged = table[table["question"] == ANSWERED]["likelihood"].tolist()
    assert logged == pytest.approx(gains, abs=1e-5)
    curves = json.loads((out / "metrics.jsonl").read_text("utf-8").splitlines()[0])["rewards"]
    assert set(curves) == {"accuracy", "format", "reasoning", "likelihood"}


def test_sft_never_learns_an_empty_answer(
    silvar_med: Callable[[bool], Path],
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = command("sft", tiny, silvar_med(False), tmp_path / "out", "batch=2", "micro_batch=2")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "No row has a short answer" in error and error.strip().count("\n") == 0
