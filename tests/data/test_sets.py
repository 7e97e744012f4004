"""Counts, splits and licences of the sets at hand, and what happens where they are not."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rarl.data.example import SPLITS, Example, Fact
from rarl.data.labelled import Asked, examples
from rarl.data.leakage import shared
from rarl.data.sets import LOCAL, NAMES, at_hand, load_examples, load_set, place
from rarl.data.vqa_rad import normalised_question
from rarl.errors import DataError

# Sets that any model shipped by this project may train on.
TRAINABLE = (
    "vqa_rad",
    "vqa_rad_basics",
    "brain_tumor_mri",
    "busi_breast_us",
    "bccd_blood",
    "brain_tumor_mri_more",
    "chest_pneumonia",
    "knee_oa",
    "pbc_blood_cells",
    "head_ct_hemorrhage",
    "hc18_fetal_head",
    "dsbowl_nuclei",
)

Sets = dict[str, list[Example]]


def key_of(row: Example) -> str:
    assert row.image is not None
    return row.image.key


def images_by_split(rows: list[Example]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row.split].add(key_of(row))
    return found


def test_the_official_test_of_vqa_rad_is_complete(local_sets: Sets) -> None:
    test = [row for row in local_sets["vqa_rad"] if row.split == "test"]
    assert Counter(row.kind for row in test) == {"closed": 272, "open": 179}


def test_no_pair_of_the_official_test_is_trained_on(local_sets: Sets) -> None:
    pairs = defaultdict(set)
    for row in local_sets["vqa_rad"]:
        held = "test" if row.split == "test" else "other"
        pairs[held].add((key_of(row), normalised_question(row.question)))
    assert pairs["test"] and not pairs["test"] & pairs["other"]


def test_image_disjoint_images_train_nothing(local_sets: Sets) -> None:
    images = images_by_split(local_sets["vqa_rad"])
    assert len(images["image-disjoint"]) == 63
    trained = {
        key_of(row)
        for name in TRAINABLE
        for row in local_sets[name]
        if row.split in {"train", "validation"}
    }
    assert not images["image-disjoint"] & (trained | images["test"])


@pytest.mark.parametrize("name", [name for name in TRAINABLE if name != "vqa_rad"])
def test_an_image_belongs_to_one_split(local_sets: Sets, name: str) -> None:
    images = images_by_split(local_sets[name])
    assert sum(map(len, images.values())) == len(set().union(*images.values()))


def test_basics_never_ask_what_a_test_question_asks(local_sets: Sets) -> None:
    tested = {
        (key_of(row), kind)
        for row in local_sets["vqa_rad"]
        if row.split == "test"
        for kind in (row.category or "").lower().split(", ")
    }
    asked = {(key_of(row), row.category) for row in local_sets["vqa_rad_basics"]}
    assert asked and not asked & tested


def test_reworded_test_rows_are_named(local_sets: Sets) -> None:
    rows = local_sets["vqa_rad"]
    assert not any(row.reworded for row in rows if row.split != "test")
    reworded = Counter(row.kind for row in rows if row.reworded)
    assert reworded == {"closed": 80, "open": 32}


def test_near_duplicates_in_busi_never_straddle_a_split(local_sets: Sets) -> None:
    assert shared(local_sets["busi_breast_us"]).overlaps == ()


def test_image_disjoint_has_no_near_duplicate_in_training(local_sets: Sets) -> None:
    rows = [row for row in local_sets["vqa_rad"] if row.split in {"train", "image-disjoint"}]
    assert shared(rows).overlaps == ()


@pytest.mark.parametrize(
    ("name", "images"),
    [("covid_chestxray", 353), ("vqa_med_2019_mini", 12), ("mednist", 1200)],
)
def test_unseen_sets_are_unseen_throughout(local_sets: Sets, name: str, images: int) -> None:
    found = images_by_split(local_sets[name])
    assert {split: len(keys) for split, keys in found.items()} == {"unseen": images}


def test_slake_without_images_keeps_the_official_splits(local_sets: Sets) -> None:
    # 4919 training questions are published; one has no answer.
    rows = local_sets["slake"]
    counts = Counter(row.split for row in rows)
    assert counts == {"train": 4918, "validation": 1053, "test": 1061}
    assert Counter(row.kind for row in rows if row.split == "test") == {"closed": 416, "open": 645}
    assert all(row.image is None and row.explanation is None and not row.facts for row in rows)


def test_trained_rows_are_under_permissive_licences(local_sets: Sets) -> None:
    licences = {
        row.licence for name in TRAINABLE for row in local_sets[name] if row.split == "train"
    }
    assert licences <= {"CC0-1.0", "CC-BY-4.0", "MIT"}


@pytest.mark.parametrize("name", LOCAL)
def test_rows_are_well_formed(local_sets: Sets, name: str) -> None:
    rows = local_sets[name]
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.id.startswith(f"{row.source}/") and row.source == name
        assert row.question == row.question.strip() and row.question
        assert row.answer == row.answer.strip().lower() and row.answer
        assert row.split in SPLITS and row.kind in {"closed", "open"} and row.licence
        assert row.kind == "closed" or row.answer not in {"yes", "no"} or row.source == "vqa_rad"


@pytest.mark.parametrize("name", LOCAL)
def test_every_image_is_there(local_sets: Sets, name: str) -> None:
    refs = {row.image.key: row.image for row in local_sets[name] if row.image}
    assert all(ref.path is not None and ref.path.is_file() for ref in refs.values())


def test_what_is_not_at_hand_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_DATA", str(tmp_path))
    assert at_hand() == []
    with pytest.raises(DataError, match="set RARL_DATA to the folder that holds vqa_rad;"):
        load_set("vqa_rad_basics")
    with pytest.raises(DataError, match="no data set 'rad'; choose from vqa_rad, "):
        load_set("rad")
    with pytest.raises(DataError, match="which is not a folder"):
        monkeypatch.setenv("RARL_DATA", str(tmp_path / "none"))
        place("slake")


def test_a_broken_local_copy_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RARL_DATA", str(tmp_path))
    folder = tmp_path / "slake_qa_text_only"
    folder.mkdir()
    with pytest.raises(DataError, match=r"has no qa\.jsonl; fetch the set again"):
        load_set("slake")
    (folder / "qa.jsonl").write_text("{}\n{broken\n")
    with pytest.raises(DataError, match="line 2: not JSON"):
        load_set("slake")
    (folder / "qa.jsonl").write_text("")
    with pytest.raises(DataError, match="slake holds no row"):
        load_set("slake")
    (folder / "qa.jsonl").write_text(json.dumps({"split": "dev"}) + "\n")
    with pytest.raises(DataError, match="a row of split 'dev'"):
        load_set("slake")


def test_splits_that_hold_nothing_are_said(local_sets: Sets) -> None:
    with pytest.raises(DataError, match="covid_chestxray hold no row of split train"):
        load_examples(["covid_chestxray"], ["train"])


def test_names_are_local_and_hub_sets() -> None:
    benchmarks = {
        "gmai_mmbench", "iu_xray", "med_frame_qa", "med_xpert_qa_mm", "mmmu_medical",
        "omni_med_vqa", "pmc_vqa", "slake_zh",
    }  # fmt: skip
    assert set(NAMES) == {*LOCAL, "path_vqa", "vqa_med_2019", *benchmarks}


# Images of training, validation and test, as the split files have them.
COUNTS = {
    "brain_tumor_mri_more": (2269, 0, 0),
    "chest_pneumonia": (2337, 213, 618),
    "knee_oa": (1853, 267, 611),
    "pbc_blood_cells": (1440, 160, 400),
    "head_ct_hemorrhage": (84, 16, 100),
    "hc18_fetal_head": (699, 99, 200),
    "dsbowl_nuclei": (483, 68, 113),
}


@pytest.mark.parametrize("name", COUNTS)
def test_newer_sets_are_complete(local_sets: Sets, name: str) -> None:
    images = images_by_split(local_sets[name])
    counts = tuple(len(images.get(split, ())) for split in ("train", "validation", "test"))
    assert counts == COUNTS[name]


def person_of(name: str, key: str) -> str:
    """Whose image it is, where the name of its file tells."""
    pattern = {
        "knee_oa": r"\d{7}",
        "chest_pneumonia": r"person\d+|IM-\d+",
        "hc18_fetal_head": r"/\d{3}_",
    }.get(name)
    match = re.search(pattern, key) if pattern else None
    return match[0] if match else key


@pytest.mark.parametrize("name", TRAINABLE)
def test_halves_share_no_image_and_no_person(local_sets: Sets, name: str) -> None:
    halves: dict[str | None, set[str]] = defaultdict(set)
    for row in local_sets[name]:
        assert (row.half is None) == (row.split != "train")
        halves[row.half].add(key_of(row))
    first, second = halves["A"], halves["B"]
    assert not first & second
    assert abs(len(first) - len(second)) <= max(4, 0.05 * len(first | second))
    people = [{person_of(name, key) for key in half} for half in (first, second)]
    assert not people[0] & people[1]


def test_halves_of_both_brain_sets_share_no_near_duplicate(local_sets: Sets) -> None:
    rows = [
        replace(row, split="train" if row.half == "A" else "test", source="brain")
        for name in ("brain_tumor_mri", "brain_tumor_mri_more")
        for row in local_sets[name]
        if row.half is not None and row.category == "label"
    ]
    assert shared(rows).overlaps == ()


def test_the_further_brain_images_repeat_no_held_out_one(local_sets: Sets) -> None:
    rows = [
        row
        for name in ("brain_tumor_mri", "brain_tumor_mri_more")
        for row in local_sets[name]
        if row.category == "label" and (row.split != "train" or name.endswith("more"))
    ]
    leaks = [one for one in shared(rows).overlaps if one.first.split == "train"]
    assert leaks == []


def test_a_half_can_be_named(local_sets: Sets) -> None:
    rows = load_examples(["busi_breast_us:B"], ["train", "validation"])
    assert {row.half for row in rows if row.split == "train"} == {"B"}
    assert any(row.split == "validation" for row in rows)
    both = load_examples(["busi_breast_us:A", "busi_breast_us:B"], ["train"])
    assert len(both) == sum(row.split == "train" for row in local_sets["busi_breast_us"])
    with pytest.raises(DataError, match="slake has no half A; name the whole set"):
        load_examples(["slake:A"], ["train"])


@pytest.mark.parametrize("name", [name for name in TRAINABLE if name != "vqa_rad"])
def test_questions_and_explanations_are_varied(local_sets: Sets, name: str) -> None:
    rows = local_sets[name]
    for row in rows:
        assert row.question in row.wordings and len(set(row.wordings)) == len(row.wordings)
        assert len(set(row.explanations)) == len(row.explanations) >= 3, row.id
    held_out = {row.question for row in rows if row.split == "test"}
    assert held_out <= {row.wordings[0] for row in rows}


def test_grades_and_cells_are_answered_by_their_labels(local_sets: Sets) -> None:
    grades = Counter(
        row.answer
        for row in local_sets["knee_oa"]
        if row.category == "label" and row.split == "test"
    )
    assert grades == {"0": 140, "1": 140, "2": 140, "3": 140, "4": 51}
    for row in local_sets["knee_oa"]:
        if row.category == "side":
            assert row.image is not None
            assert row.answer == ("left" if row.image.key.endswith("L.jpg") else "right")
    cells = {row.answer for row in local_sets["pbc_blood_cells"] if row.category == "label"}
    assert len(cells) == 8


def test_a_set_without_a_split_file_keeps_its_published_splits(tmp_path: Path) -> None:
    def asked(row: dict[str, object]) -> Iterator[Asked]:
        fact = Fact("finding", "mass", True, "It shows a mass.")
        yield Asked("label", ("What is shown?",), "mass", "open", fact)

    def loaded(*rows: dict[str, str]) -> list[tuple[str, str]]:
        (tmp_path / "new_set").mkdir(exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "new_set/labels.jsonl").write_text(lines, "utf-8")
        made = examples(tmp_path, "new_set", "MIT", "mri", "brain", asked)
        return [(row.image.key, row.split) for row in made if row.image and row.category == "label"]

    assert loaded({"image": "a.png", "split": "test"}, {"image": "b.png"}) == [
        ("new_set/a.png", "test"),
        ("new_set/b.png", "train"),
    ]
    with pytest.raises(DataError, match=r"new_set/labels.jsonl has the split 'val' for c.png"):
        loaded({"image": "c.png", "split": "val"})
