"""The study: sentences that follow from its numbers, and a tiny grid through the command line."""

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from threading import Thread
from time import sleep

import pandas as pd
import psutil
import pytest
from PIL import Image, ImageDraw

from rarl.evaluation.image_ablations import PERTURBED
from rarl.evaluation.study import CLAIMS, find, median_seed, report, scores, stress

ROOT = Path(__file__).parents[2]


def frame(right: dict[tuple[str, str], list[bool]]) -> pd.DataFrame:
    """Four unseen questions about four images; (arm, mode) to which are right."""
    return pd.DataFrame(
        {
            "id": f"q{number}", "image": f"i{number}", "source": "covid_chestxray",
            "split": "unseen", "condition": "scan", "draw": 0, "arm": arm, "mode": mode,
            "exact": exact, "covered": float("nan"),
        }
        for (arm, mode), answers in right.items()
        for number, exact in enumerate(answers)
    )  # fmt: skip


def test_verdicts_follow_from_the_intervals() -> None:
    asked = frame(
        {
            ("sft-0", "reason"): [False] * 4,
            ("sft-1", "reason"): [False] * 4,
            ("rl-0", "reason"): [True] * 4,
            ("rarl-0", "reason"): [True, True, True, True],
            ("rarl-1", "reason"): [True, True, True, False],
            ("rarl-0", "answer"): [True, True, False, True],
        }
    )
    found = {one.claim.name: one for one in find(asked)}
    sft = found["RARL answers better than SFT on unseen sources"]
    assert (sft.value, sft.by_seed, sft.n, sft.images) == (0.875, (1.0, 0.75), 4, 4)
    assert sft.verdict == (
        "Confirmed here: the interval lies above zero; the paper's +27 points lie outside it."
    )
    rl = found["RARL answers better than RL on unseen sources"]
    # Only seed 0 is in both, but a kind is the mean over its seeds.
    assert (rl.value, rl.by_seed) == (-0.125, (0.0,))
    assert "Not decided" in rl.verdict and "lie outside it" in rl.verdict
    worse = frame({("sft-0", "reason"): [True] * 4, ("rarl-0", "reason"): [False] * 4})
    assert "Contradicted here" in find(worse)[0].verdict
    assert "Diversity prompting is crucial" not in found  # that arm was not asked
    table = scores(asked)
    assert table.loc[table["mode"] == "reason", "sft"].tolist() == ["0.0 [0.0, 0.0]"]
    noisy = asked[asked["mode"] == "reason"].assign(condition="noisy", exact=False)
    stressed = stress(pd.concat([asked, noisy]))
    assert stressed.loc[0, ["picture", "sft", "rl"]].tolist() == [
        "noisy", "+0.0 [+0.0, +0.0]", "-100.0 [-100.0, -100.0]",
    ]  # fmt: skip
    assert stress(asked).empty
    costs = pd.DataFrame({"arm": ["sft-0"]})
    text = report(list(found.values()), table, stressed, costs, "Setting.")
    assert "| unseen sources | noisy | 4 |" in text
    assert "+87.5 [+62.5, +100.0] | +100.0, +75.0 | Confirmed here" in text
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)


def test_the_median_seed_is_chosen() -> None:
    assert median_seed({0: 0.3, 1: 0.5, 2: 0.4}) == 2
    assert median_seed({0: 0.3, 1: 0.5}) == 0


def test_a_tiny_study_runs_and_resumes(
    data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    labels = data / "brain_tumor_mri" / "labels.jsonl"
    with labels.open("a") as file:
        for number, label in enumerate(("glioma", "notumor", "meningioma", "pituitary")):
            image = Image.new("L", (64, 64), 10)
            ImageDraw.Draw(image).ellipse((8, 8, 30 + 8 * number, 40), fill=60 * number)
            image.save(labels.parent / f"drawn-{number}.png")
            file.write(json.dumps({"image": f"drawn-{number}.png", "label": label}) + "\n")
    small = ["sft.batch=4", "sft.micro_batch=4", "sft.held_out=0", "sft.warmup_steps=0"]
    for recipe in ("rl", "rarl"):
        small += [f"{recipe}.{one}" for one in
                  ("prompts=1", "group=2", "micro_batch=2", "max_completion=8", "held_out=0",
                   "warmup_steps=0")]  # fmt: skip
    words = ["experiment", "--model", str(tiny_model),
             "--data", "brain_tumor_mri", "--asked", "brain_tumor_mri:test", "--seeds", "1",
             "--no-ablations", "--max-steps", "1", "--limit", "4", "--max-new-tokens", "4",
             "--out", str(tmp_path / "run"), "--results", str(tmp_path / "results")]  # fmt: skip
    for change in small:
        words += ["--set", change]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.chdir(ROOT)

    def study() -> str:
        """Run the script here, its trainings in processes of their own; what it tells."""
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts/experiment"), run_name="__main__")
        captured = capfd.readouterr()
        assert not ended.value.code, captured.err[-2000:]
        return captured.err

    def trainings() -> list[psutil.Process]:
        return [one for one in psutil.Process().children() if "train" in one.cmdline()]

    def end_it() -> None:
        while not trainings():
            sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    Thread(target=end_it, daemon=True).start()
    with pytest.raises(SystemExit, match="143"):
        runpy.run_path(str(ROOT / "scripts/experiment"), run_name="__main__")
    assert not trainings()

    assert "Training" in study()
    summary = json.loads((tmp_path / "run/measured/summary.json").read_text("utf-8"))
    assert {arm["name"] for arm in summary["arms"]} == {"base", "sft-0", "rl-0", "rarl-0"}
    costs = pd.read_csv(tmp_path / "results/experiment/costs.csv")
    assert costs["arm"].tolist() == ["sft-0", "rl-0", "rarl-0"]
    assert (costs["peak memory, MB"] > 50).all() and (costs["seconds"] > 0).all()
    rows = pd.read_parquet(tmp_path / "run/measured/rows.parquet")
    stressed = rows["condition"].isin(PERTURBED)
    questions = rows["id"].nunique()
    assert (~stressed).sum() == questions * 4 * 3
    assert stressed.sum() == rows.loc[rows["category"] == "label", "id"].nunique() * 3 * 4
    assert not rows["category"].isin(["modality", "organ"]).any()
    table_text = (tmp_path / "results/experiment.md").read_text("utf-8")
    assert (
        f"| held-out images | reason | {questions} |" in table_text
        and "| sft-0 | 1 |" in table_text
    )
    assert str(tmp_path) not in table_text and str(tiny_model) not in table_text

    answers = (tmp_path / "run/answers/rows.jsonl").read_bytes()
    assert "Training" not in study()
    assert (tmp_path / "run/answers/rows.jsonl").read_bytes() == answers
