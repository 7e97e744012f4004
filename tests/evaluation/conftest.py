import json
from pathlib import Path

import pytest
from PIL import Image

from rarl.data.root import SPLIT_FILES

LABELS = ("glioma", "meningioma", "notumor", "pituitary")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight test images of brain_tumor_mri, two of each label; gliomas are red, others green."""
    root = tmp_path / "data"
    folder = root / "brain_tumor_mri"
    listed = json.loads((SPLIT_FILES / "brain_tumor_mri.json").read_text("utf-8"))["images"]
    rows = []
    for index, image in enumerate(listed["test"][:8]):
        label = LABELS[index % 4]
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = (200, 20, 20) if label == "glioma" else (20, 200, 20)
        Image.new("RGB", (64 + 8 * (index % 2), 64), colour).save(path)
        rows.append({"image": image, "label": label, "split": "test"})
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    monkeypatch.setenv("RARL_DATA", str(root))
    return root
