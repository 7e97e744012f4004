"""A set of four images, and the files of a run on it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from rarl.data.root import SPLIT_FILES
from rarl.evaluation.image_ablations import ALTERED
from rarl.evaluation.run import evaluate, select, summarise
from rarl.evaluation.run_files import write_run
from tests.evaluation.scripted_engine import ScriptedEngine

LABEL = "brain_tumor_mri test label"


def write_set(root: Path) -> Path:
    """Four test images of brain_tumor_mri; the glioma is red."""
    folder = root / "brain_tumor_mri"
    listed = json.loads((SPLIT_FILES / "brain_tumor_mri.json").read_text("utf-8"))["images"]
    lines = []
    for image, label in zip(
        listed["test"][:4], ("glioma", "notumor", "meningioma", "pituitary"), strict=True
    ):
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (200, 20, 20) if label == "glioma" else (20, 200, 20)
        Image.new("RGB", (64, 64), colour).save(path)
        lines.append(json.dumps({"image": image, "label": label, "split": "test"}))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return root


def measure(root: Path, out: Path) -> Path:
    """Ask the scripted engine about the set in `root`; returns `out`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RARL_DATA", str(root))
        labels = [one for one in select("brain_tumor_mri").examples if one.category == "label"]
        rows = evaluate(
            ScriptedEngine(),
            labels,
            arms=("base", "sft", "rarl"),
            modes=("reason",),
            out=out / "answers",
            altered=lambda example: ALTERED,
            draws=lambda example: 2,
            progress=False,
        )
    # Without words, as a run is published: the page takes them from the set.
    write_run(out, summarise(ScriptedEngine(), rows, []), rows, [], words=False)
    return out
