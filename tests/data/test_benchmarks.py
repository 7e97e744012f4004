"""The field's benchmarks, each read from a tiny folder of its published form."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest
from PIL import Image

from rarl.data.example import Example
from rarl.data.hub import HUB, ColumnMapping, HubSet, load_hub
from rarl.data.leakage import shared
from rarl.data.sets import load_set
from rarl.errors import DataError
from rarl.evaluation.contamination import find_leaks, without_leaks
from rarl.rewards.accuracy import score_answer


@pytest.fixture(autouse=True)
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    monkeypatch.setenv("RARL_DATA", str(folder))
    return folder


def picture(shade: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), (shade, 10, 10)).save(buffer, form)
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def table(path: Path, rows: list[list[Any]], separator: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows(rows)


def parquet(path: Path, rows: list[dict[str, Any]], images: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    features = datasets.Features(
        {
            name: datasets.Image()
            if name in images
            else datasets.List(datasets.Value("string"))
            if isinstance(rows[0][name], list)
            else datasets.Value("string")
            for name in rows[0]
        }
    )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name in images:
        columns[name] = [data and {"bytes": data, "path": None} for data in columns[name]]
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def pmc_vqa(root: Path) -> None:
    head = ["index", "Figure_path", "Caption", "Question", "Choice A", "Choice B", "Choice C",
            "Choice D", "Answer", "split"]  # fmt: skip
    choices = [" A:Diffuse uptake", " B:Focal uptake", " C:No uptake", " D:Cannot be told"]
    for split, shade in (("train", 1), ("test", 2)):
        row = [0, f"PMC{shade}_F1.png", "A breast.", "What is the uptake pattern?", *choices, "B"]
        twice = [1, f"PMC{shade}_F1.png", "A breast.", "Which?", "A:x", "B:x", "C:y", "D:z", "A"]
        table(root / f"pmc_vqa/{split}_2.csv", [head, [*row, split], [*twice, split]])
    with zipfile.ZipFile(root / "pmc_vqa/images_2.zip", "w") as archive:
        archive.writestr("figures/PMC1_F1.png", picture(1))
        archive.writestr("figures/PMC2_F1.png", picture(2))


def omni_med_vqa(root: Path) -> None:
    row = {
        "dataset": "ACRIMA", "question_id": "ACRIMA_0001", "question_type": "Disease Diagnosis",
        "question": "What is the specific abnormality?", "gt_answer": "Glaucoma",
        "image_path": "Images/ACRIMA/Im1.png", "modality_type": "Fundus Photography",
        "option_A": "Cataract", "option_B": "Glaucoma", "option_C": "Myopia", "option_D": "Drusen",
    }  # fmt: skip
    # Another source has fewer options, another format, and calls its modality otherwise.
    other = {
        "dataset": "Chest", "question_id": "Chest_1", "question_type": "Modality Recognition",
        "question": "Is this CT?", "gt_answer": "Yes", "image_path": "Images/Chest/2.bmp",
        "modality_type": "CT(Computed Tomography)", "option_A": "No", "option_B": "Yes",
    }  # fmt: skip
    folder = root / "omni_med_vqa"
    write(folder / "QA_information/Open-access/ACRIMA.json", json.dumps([row]))
    write(folder / "QA_information/Open-access/Chest CT Scan.json", json.dumps([other]))
    write(folder / "Images/ACRIMA/Im1.png", picture(3))
    write(folder / "Images/Chest/2.bmp", picture(4, "BMP"))


def mmmu_medical(root: Path) -> None:
    subjects = ("Basic_Medical_Science", "Clinical_Medicine",
                "Diagnostics_and_Laboratory_Medicine", "Pharmacy", "Public_Health")  # fmt: skip
    names = [f"image_{number}" for number in range(1, 8)]
    for number, subject in enumerate(subjects):
        row: dict[str, Any] = {
            "id": f"validation_{subject}_1",
            "question": "Which of <image 1> and <image 2> shows it?",
            "options": "['<image 1>', '<image 2>', 'neither']",
            "answer": "B",
            "question_type": "multiple-choice",
            "subfield": "Radiology",
            **dict.fromkeys(names, None),
        }
        row |= {"image_1": picture(10 + number), "image_2": picture(20 + number)}
        free = row | {"question": "How many?", "options": "[]", "answer": "['Two', '2']"}
        free |= {"question_type": "open", "image_2": None}
        parquet(
            root / f"mmmu_medical/{subject}/validation-00000-of-00001.parquet", [row, free], names
        )


def med_xpert_qa_mm(root: Path) -> None:
    options = {letter: f"Diagnosis {letter}" for letter in "ABCDE"}
    row = {
        "id": "MM-1", "question": "A man coughs. What is it?\nAnswer Choices: (A) Diagnosis A",
        "options": options, "label": "E", "images": ["MM-1-a.jpeg", "MM-1-b.jpeg"],
        "medical_task": "Diagnosis", "body_system": "Respiratory", "question_type": "Reasoning",
    }  # fmt: skip
    write(root / "med_xpert_qa_mm/MM/test.jsonl", json.dumps(row) + "\n")
    # The archive was unpacked.
    for name, shade in (("MM-1-a.jpeg", 40), ("MM-1-b.jpeg", 41)):
        write(root / "med_xpert_qa_mm/images" / name, picture(shade, "JPEG"))


def med_frame_qa(root: Path) -> None:
    names = [f"image_{number}" for number in range(1, 6)]
    row: dict[str, Any] = {
        "question_id": "1", "system": "nervous", "organ": "brain", "modality": "MRI",
        "question": "Which sequence comes first?", "options": ["T1", "T2", "FLAIR"],
        "correct_answer": "C", **dict.fromkeys(names, None),
    }  # fmt: skip
    row |= {"image_1": picture(50), "image_2": picture(51), "image_3": picture(52)}
    parquet(root / "med_frame_qa/data/test-00000-of-00001.parquet", [row], names)


def gmai_mmbench(root: Path) -> None:
    head = ["index", "image", "question", "A", "B", "C", "D", "E", "answer", "category",
            "clinical VQA task", "department", "perceptual granularity", "modality"]  # fmt: skip
    coded = base64.b64encode(picture(60)).decode()
    row = ["0", coded, "Which cell?", "Basophil", "Monocyte", "Neutrophil", "Platelet", "", "C",
           "Neutrophil", "Cell Recognition", "Hematology", "Box Level", "Microscopy"]  # fmt: skip
    table(root / "gmai_mmbench/GMAI_mm_bench_VAL.tsv", [head, row], "\t")


def slake_zh(root: Path) -> None:
    row = {
        "img_name": "xmlab1/source.jpg", "question": "肺部健康吗", "answer": "不健康。",
        "q_lang": "zh", "location": "Lung", "modality": "X-Ray", "answer_type": "CLOSED",
        "content_type": "Abnormality",
    }  # fmt: skip
    english = row | {"question": "Is the lung healthy?", "answer": "No", "q_lang": "en"}
    for split in ("train", "validation", "test"):
        write(root / f"slake/{split}.json", json.dumps([row, english]))
    write(root / "slake/imgs/xmlab1/source.jpg", picture(70, "JPEG"))


def iu_xray(root: Path) -> None:
    def study(name: str, split: str) -> dict[str, Any]:
        return {
            "id": name, "report": "The heart is normal. No pleural effusion.",
            "image_path": [f"{name}/0.png", f"{name}/1.png"], "split": split,
        }  # fmt: skip

    splits = {split: [study(f"CXR_{split}", split)] for split in ("train", "val", "test")}
    write(root / "iu_xray/annotation.json", json.dumps(splits))
    for number, split in enumerate(splits):
        for view in (0, 1):
            write(root / f"iu_xray/images/CXR_{split}/{view}.png", picture(80 + 2 * number + view))


FORMS: dict[str, Callable[[Path], None]] = {
    form.__name__: form
    for form in (
        pmc_vqa, omni_med_vqa, mmmu_medical, med_xpert_qa_mm, med_frame_qa, gmai_mmbench,
        slake_zh, iu_xray,
    )
}  # fmt: skip


@pytest.fixture
def rows(request: pytest.FixtureRequest, root: Path) -> list[Example]:
    name: str = request.param
    FORMS[name](root)
    return load_set(name)


@pytest.mark.parametrize("rows", sorted(FORMS), indirect=True)
def test_rows_are_whole_and_their_images_open(rows: list[Example]) -> None:
    assert rows
    for row in rows:
        assert row.licence == HUB[row.source].licence
        assert [image.load().size for image in row.images] == [(20, 16)] * len(row.images)
        assert len({row.id for row in rows}) == len(rows)
    # What a set shares with itself across its splits is reported for all images of a question.
    counted = sum(shared(rows).images.values())
    assert counted == len({(row.split, image.key) for row in rows for image in row.images})


def loaded(name: str, root: Path) -> list[Example]:
    FORMS[name](root)
    return load_set(name)


def test_pmc_vqa(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, test = loaded("pmc_vqa", root)
    assert (train.split, test.split, test.kind) == ("train", "test", "choice")
    assert test.options == ("Diffuse uptake", "Focal uptake", "No uptake", "Cannot be told")
    assert test.answer == "Focal uptake"
    assert "test row 1 is left out: no single option is the right one" in caplog.text


def test_omni_med_vqa(root: Path) -> None:
    eye, chest = loaded("omni_med_vqa", root)
    assert (eye.answer, eye.category, eye.modality) == ("Glaucoma", "Disease Diagnosis", None)
    assert (chest.options, chest.answer, chest.modality) == (("No", "Yes"), "Yes", "ct")
    assert eye.split == "unseen"


def test_mmmu_medical(root: Path) -> None:
    rows = loaded("mmmu_medical", root)
    assert len(rows) == 10
    choice, free = rows[:2]
    assert choice.question == "Which of picture 1 and picture 2 shows it?"
    assert (choice.options, choice.answer) == (("picture 1", "picture 2", "neither"), "picture 2")
    assert (len(choice.images), len(free.images)) == (2, 1)
    assert (free.kind, free.answer, free.options) == ("open", "two", ())


def test_med_xpert_qa_mm(root: Path) -> None:
    (row,) = loaded("med_xpert_qa_mm", root)
    assert row.question == "A man coughs. What is it?"
    assert (row.answer, len(row.options), len(row.images)) == ("Diagnosis E", 5, 2)


def test_med_frame_qa(root: Path) -> None:
    (row,) = loaded("med_frame_qa", root)
    assert (row.answer, row.modality, len(row.images)) == ("FLAIR", "mri", 3)


def test_gmai_mmbench(root: Path) -> None:
    (row,) = loaded("gmai_mmbench", root)
    assert row.options == ("Basophil", "Monocyte", "Neutrophil", "Platelet")
    assert (row.answer, row.modality) == ("Neutrophil", "light microscopy")
    assert row.category == "Cell Recognition"


def test_slake_in_chinese(root: Path) -> None:
    rows = loaded("slake_zh", root)
    assert [row.split for row in rows] == ["train", "validation", "test"]
    assert score_answer("不健康", rows[0].answer, rows[0].kind) == 1.0
    assert score_answer("健康", rows[0].answer, rows[0].kind) == 0.0


def test_iu_xray(root: Path) -> None:
    rows = loaded("iu_xray", root)
    assert [row.split for row in rows] == ["train", "validation", "test"]
    assert {row.kind for row in rows} == {"report"}
    assert rows[2].answer == "The heart is normal. No pleural effusion."
    assert len(rows[2].images) == 2


def test_a_further_image_of_a_question_leaks_as_its_first_one_does(root: Path) -> None:
    train, _, test = loaded("iu_xray", root)
    twin = Example(
        id="mine/1", image=test.more[0], question="What is seen?", answer="a lung",
        explanation=None, kind="open", modality=None, organ=None, facts=(), source="mine",
        licence="CC0-1.0", split="train",
    )  # fmt: skip
    leaks = find_leaks([train, twin], [test])
    assert leaks[0].same == (test.more[0].key,)
    with pytest.raises(DataError, match="leaves nothing"):
        without_leaks([test], leaks, "identical")


def test_other_columns_are_named_in_the_description(root: Path) -> None:
    gmai_mmbench(root)
    wrong = HubSet(
        name="gmai_mmbench", repository=str(root / "gmai_mmbench"), licence="CC-BY-NC-SA",
        columns=ColumnMapping("image", "question", "answer", options=("A", "B", "K")),
        files={"validation": "GMAI_mm_bench_VAL.tsv"}, image_form="base64", answers="letter",
        splits={"validation": "unseen"},
    )  # fmt: skip
    with pytest.raises(DataError, match="no column K; its columns are index, image, question"):
        load_hub(wrong)


def test_a_set_that_needs_a_local_copy_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RARL_DATA", raising=False)
    monkeypatch.setattr("rarl.data.sets.data_root", lambda: None)
    with pytest.raises(DataError, match="omni_med_vqa is read from a local copy alone"):
        load_set("omni_med_vqa")
