"""Hub sets, loaded from small folders of the published form."""

import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from PIL import Image

from rarl.data import hub
from rarl.data.hub import HUB, ColumnMapping, HubSet, load_hub, read_hub_set
from rarl.data.sets import load_examples, load_set, place
from rarl.errors import DataError


@pytest.fixture(autouse=True)
def private_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What `datasets` makes of the folders does not outlive the test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


def picture(shade: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (12, 9), shade).save(buffer, form)
    return buffer.getvalue()


def parquet_set(folder: Path, **splits: list[tuple[bytes, str, str]]) -> Path:
    """A folder like flaviagiammarino's repositories: data/SPLIT-00000-of-00001.parquet."""
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        table = datasets.Dataset.from_dict(
            {
                "image": [{"bytes": data, "path": None} for data, _, _ in rows],
                "question": [question for _, question, _ in rows],
                "answer": [answer for _, _, answer in rows],
            },
            features=features,
        )
        table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def slake_set(folder: Path, **changes: object) -> Path:
    """A folder like BoKelvin/SLAKE: one JSON file per split and an archive of images."""
    folder.mkdir()
    row = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Does the picture contain liver?",
        "answer": "Yes",
        "q_lang": "en",
        "location": "Abdomen",
        "modality": "X-Ray",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": 3,
    }
    other = {
        **row,
        "question": "Which  lung is abnormal?",
        "answer": "Left Lung",
        "answer_type": "OPEN",
        "location": "Neck",
        "modality": "MRI",
    }
    chinese = {**row, "q_lang": "zh", "question": "图中有肝脏吗?", "answer": "有"}
    for split in ("train", "validation", "test"):
        rows = [chinese, {**row, **changes}, other]
        (folder / f"{split}.json").write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    with zipfile.ZipFile(folder / "imgs.zip", "w") as archive:
        archive.writestr("imgs/xmlab1/source.jpg", picture(80, "JPEG"))
        archive.writestr("imgs/xmlab1/question.json", "[]")
    (folder / "mask.txt").write_text("not a table")
    return folder


def test_columns_images_and_splits_of_a_parquet_set(tmp_path: Path) -> None:
    liver, lung = picture(10), picture(200)
    parquet_set(
        tmp_path / "set",
        train=[(liver, "Is this  the liver?", "Yes "), (liver, "What organ?", "liver")],
        validation=[(lung, "Is there fluid?", "no")],
        test=[(lung, "Where?", "Right lung")],
    )
    rows = load_hub(replace(HUB["path_vqa"], repository=str(tmp_path / "set")))

    assert [(row.id, row.split, row.kind) for row in rows] == [
        ("path_vqa/train/0", "train", "closed"),
        ("path_vqa/train/1", "train", "open"),
        ("path_vqa/validation/0", "validation", "closed"),
        ("path_vqa/test/0", "test", "open"),
    ]
    assert (rows[0].question, rows[0].answer) == ("Is this the liver?", "yes")
    assert all(row.explanation is None and row.facts == () for row in rows)
    assert {row.licence for row in rows} == {"MIT"}
    images = [row.image for row in rows]
    assert images[0] is images[1]  # one copy of the bytes for all questions about an image
    assert images[0] is not None and images[0].data == liver
    assert images[0].key == hashlib.sha256(liver).hexdigest()
    assert images[2] is not None and images[2].load().size == (12, 9)


def test_slake_reads_english_rows_and_the_archive(tmp_path: Path) -> None:
    slake_set(tmp_path / "slake")
    rows = load_hub(replace(HUB["slake"], repository=str(tmp_path / "slake")))

    assert [row.split for row in rows] == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    closed, open_ = rows[:2]
    assert (closed.id, closed.kind, closed.answer) == ("slake/train/1", "closed", "yes")
    assert (closed.modality, closed.organ, closed.category) == ("x-ray", "abdomen", "Organ")
    assert (open_.kind, open_.answer, open_.organ) == ("open", "left lung", None)
    assert open_.question == "Which lung is abnormal?"
    assert closed.image is open_.image is rows[5].image
    assert closed.image is not None and closed.image.load().mode == "RGB"


def test_the_first_of_several_accepted_answers_is_the_reference(tmp_path: Path) -> None:
    parquet_set(tmp_path / "set", test=[(picture(1), "What organ?", "Skull # face#neck")])
    rows = load_hub(replace(HUB["vqa_med_2019"], repository=str(tmp_path / "set")))
    assert [row.answer for row in rows] == ["skull"]


def test_a_local_folder_stands_for_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet_set(tmp_path / "path_vqa", test=[(picture(1), "Is it?", "no")])
    monkeypatch.setenv("RARL_DATA", str(tmp_path))
    assert [row.answer for row in load_set("path_vqa")] == ["no"]
    assert place("vqa_rad") == HUB["vqa_rad"]  # no local copy: its Hub form
    with pytest.raises(DataError, match="hold no row of split train"):
        load_examples(["path_vqa"], ["train"])


DESCRIPTION = """
name: silvar_med
repository: {folder}
licence: CC-BY-4.0
columns: {{image: picture, question: query, answer: label, explanation: reason}}
images: scans
splits: {{test: unseen}}
"""


def described_set(folder: Path, description: str = DESCRIPTION) -> Path:
    (folder / "scans").mkdir(parents=True)
    (folder / "scans" / "a.png").write_bytes(picture(30))
    row = {"picture": "a.png", "query": "Is it normal?", "label": "No", "reason": "A mass is seen."}
    (folder / "test.jsonl").write_text(json.dumps(row) + "\n")
    path = folder.parent / "silvar.yaml"
    path.write_text(description.format(folder=folder))
    return path


def test_a_described_set_is_loaded_by_its_file(tmp_path: Path) -> None:
    path = described_set(tmp_path / "silvar")
    (row,) = load_set(str(path))
    assert (row.source, row.split, row.kind) == ("silvar_med", "unseen", "closed")
    assert row.explanation == "A mass is seen."
    assert row.image is not None and row.image.data == picture(30)


def test_wrong_columns_are_named_with_those_that_exist(tmp_path: Path) -> None:
    path = described_set(tmp_path / "silvar", DESCRIPTION.replace("query", "prompt"))
    with pytest.raises(DataError, match="no column prompt; its columns are picture, query, label"):
        load_set(str(path))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("images: scans", "", "column picture holds no pictures"),
        ("images: scans", "images: none.zip", "neither a zip archive nor a folder"),
        ("images: scans", "images: scans\nimage_folder: b", "scans has no b/a.png"),
        ("images: scans", "images: scans\nimage_folder: ../x", "is not the name of an image"),
        ("picture", "label", "scans has no No"),
        ("test: unseen", "test: holdout", "splits.test must be train, validation, test, image-dis"),
        ("licence: CC-BY-4.0", "", "the file lacks licence; add it"),
        ("licence", "license", "the file has no key license; it has name, repository"),
        ("label,", "", "columns must name answer, explanation or both"),
        ("label,", "[label],", "columns.answer must be text, not a list"),
        ("silvar_med", "[1]", "name must be text, not a list"),
        ("splits: {{test: unseen}}", "splits: [test]", "splits must be a mapping, not a list"),
        ("columns:", "columns: 3 #", "columns must be a mapping, not 3"),
        ("name:", "- name:", "not a YAML file"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    description = DESCRIPTION.replace(old, new)
    if message.endswith("explanation or both"):
        description = DESCRIPTION.replace("answer: label, explanation: reason", "kind: label")
    path = described_set(tmp_path / "silvar", description)
    with pytest.raises(DataError, match=message):
        load_set(str(path))


def test_a_missing_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_hub_set(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answer_type": "MAYBE"}, "neither OPEN nor CLOSED"),
        ({"img_name": "xmlab9/source.jpg"}, "imgs.zip has no imgs/xmlab9/source.jpg"),
        ({"img_name": "../../etc/passwd"}, "is not the name of an image"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    slake_set(tmp_path / "slake", **changes)
    with pytest.raises(DataError, match=message):
        load_hub(replace(HUB["slake"], repository=str(tmp_path / "slake")))


@pytest.mark.parametrize("column", ["question", "answer"])
def test_a_row_with_a_blank_is_left_out_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str
) -> None:
    slake_set(tmp_path / "slake", **{column: " "})
    rows = load_hub(replace(HUB["slake"], repository=str(tmp_path / "slake")))
    assert [row.id for row in rows] == ["slake/train/2", "slake/validation/2", "slake/test/2"]
    assert f"slake, train row 1 is left out: no {column}" in caplog.text


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    folder = parquet_set(tmp_path / "set", test=[(picture(1), "Is it?", "no")])
    file = folder / "data" / "test-00000-of-00001.parquet"
    table = datasets.Dataset.from_parquet(str(file), cache_dir=str(tmp_path / "cache"))
    empty = table.remove_columns("image").add_column("image", [None])
    empty.cast_column("image", datasets.Image()).to_parquet(file)
    with pytest.raises(DataError, match="path_vqa, test row 0: no image"):
        load_hub(replace(HUB["path_vqa"], repository=str(folder)))


def test_an_unknown_split_is_not_guessed(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    parquet_set(folder, test=[(picture(1), "Is it?", "no")])
    hub_set = HubSet("raw", str(folder), ColumnMapping("image", "question", "answer"), "MIT")
    with pytest.raises(DataError, match="has a split 'test'; say in its description"):
        load_hub(replace(hub_set, splits={"train": "train"}))


def test_a_folder_without_the_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "slake").mkdir()
    with pytest.raises(DataError, match="is not laid out as described"):
        load_hub(replace(HUB["slake"], repository=str(tmp_path / "slake")))


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("bad name")])
def test_no_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(DataError, match="Hugging Face Hub, which has it as BoKelvin/SLAKE, or put"):
        load_hub(HUB["slake"])


def test_importing_the_loaders_does_not_import_datasets() -> None:
    assert "datasets" not in vars(hub)
