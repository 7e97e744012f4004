"""The paper's data form loads as it is: one text for answer and explanation, no facts."""

import json
from pathlib import Path

import pytest
from PIL import Image

from rarl.data.hub import load_hub, read_hub_set
from rarl.errors import DataError
from rarl.rewards import reasoning_reward

EXAMPLE = Path(__file__).parents[2] / "examples" / "silvar_med.yaml"
TEXT = "The left kidney contains a stone of 9 mm, while the right kidney appears normal."


def described(folder: Path, more: str = "") -> Path:
    (folder / "imgs").mkdir()
    Image.new("RGB", (40, 40)).save(folder / "imgs" / "xmlab7.jpg")
    rows = [
        {"img_name": "xmlab7.jpg", "question": "Which kidney is affected?", "answer": TEXT},
        {"img_name": "xmlab7_1.jpg", "question": "Is there a stone?", "answer": TEXT},
    ]
    (folder / "train.json").write_text(json.dumps(rows), "utf-8")
    text = EXAMPLE.read_text("utf-8").replace("repository: silvar_med", f"repository: {folder}")
    path = folder / "silvar_med.yaml"
    path.write_text(text + more, "utf-8")
    return path


def test_the_text_is_the_explanation_and_images_are_shared(tmp_path: Path) -> None:
    rows = load_hub(read_hub_set(described(tmp_path)))
    assert [row.explanation for row in rows] == [TEXT, TEXT]
    assert [row.answer for row in rows] == ["", ""] and all(row.split == "train" for row in rows)
    assert rows[0].image == rows[1].image


def test_short_answers_come_from_a_second_file(tmp_path: Path) -> None:
    path = described(tmp_path, "short_answers: short.json\n")
    with pytest.raises(DataError, match="could not be read"):
        load_hub(read_hub_set(path))
    answers = [{"img_name": "xmlab7_1.jpg", "question": "Is there a stone?", "answer": "Yes"}]
    (tmp_path / "short.json").write_text(json.dumps(answers), "utf-8")
    assert [row.answer for row in load_hub(read_hub_set(path))] == ["", "yes"]


def test_the_opposite_earns_less_than_a_paraphrase() -> None:
    thoughts = [
        "A stone of 9 mm lies in the left kidney, and the right kidney is unremarkable.",
        "The left kidney contains no stone.",
        "The right kidney contains a stone of 9 mm, while the left kidney appears normal.",
    ]
    answers = ["left kidney", "right kidney", "right kidney"]
    texts = [
        f"<think>{thought}</think><answer>{answer}</answer>"
        for thought, answer in zip(thoughts, answers, strict=True)
    ]
    columns = {
        "question": ["Which kidney is affected?"] * 3,
        "explanation": [TEXT] * 3,
        "facts": ["[]"] * 3,
        "answer": [""] * 3,
        "kind": ["open"] * 3,
        "mode": ["reason"] * 3,
    }
    paraphrase, opposite, side = reasoning_reward([""] * 3, texts, **columns)
    assert paraphrase is not None and opposite is not None and side is not None
    assert paraphrase > opposite + 0.2 and paraphrase > side + 0.2
