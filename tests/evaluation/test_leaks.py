import json
from pathlib import Path

import pytest
from PIL import Image

from rarl.cli import main
from rarl.data.example import Example, ImageRef, Split
from rarl.errors import DataError
from rarl.evaluation.contamination import find_leaks, training_rows, without_leaks


def row(folder: Path, name: str, split: Split, colour: int, *, source: str = "set") -> Example:
    """A question about a picture whose left or right half is bright, by its colour."""
    path = folder / f"{name}.png"
    if not path.exists():
        image = Image.new("L", (64, 64), 10)
        # Stripes in a rhythm of the colour's own, so that hashes differ between colours.
        for at in range(0, 64, 2 + colour):
            image.paste(200, (at, 0, at + 1 + colour // 2, 64))
        image.save(path)
    return Example(
        id=f"{source}/{name}/{split}", image=ImageRef(f"{source}/{name}", path), question="What?",
        answer="x", explanation=None, kind="open", modality="ct", organ=None, facts=(),
        source=source, licence="CC0-1.0", split=split,
    )  # fmt: skip


def test_shared_identical_and_alike_images_are_listed(tmp_path: Path) -> None:
    shared_train, shared_test = (
        row(tmp_path, "a", "train", 3),
        row(tmp_path, "a", "test", 3),
    )
    # The same pixels in another file of another set, and a brighter copy.
    copy = row(tmp_path, "b", "unseen", 3, source="other")
    Image.open(tmp_path / "a.png").point(lambda value: value + 20).save(tmp_path / "c.png")
    alike = row(tmp_path, "c", "unseen", 3, source="other")
    apart = row(tmp_path, "d", "unseen", 9, source="other")
    alone = row(tmp_path, "e", "unseen", 12, source="third")
    leaks = {
        leak.source: leak
        for leak in find_leaks([shared_train], [shared_test, copy, alike, apart, alone])
    }
    assert leaks["set"].same == ("set/a",)
    assert leaks["other"].identical == (("set/a", "other/b"),)
    assert leaks["other"].near == (("set/a", "other/c"),)
    assert leaks["other"].images == 3
    # A set with a shared image is never called unseen; one that only looks alike may be.
    assert leaks["other"].label == "images seen"
    assert leaks["third"].label == "unseen" and leaks["third"].keys(near=True) == set()
    assert leaks["set"].label == "test"
    assert leaks["other"].counts()["identical"] == 1

    asked = [shared_test, copy, alike, apart, alone]
    held = list(leaks.values())
    assert without_leaks(asked, held, "none") == asked
    assert without_leaks(asked, held, "identical") == [alike, apart, alone]
    assert without_leaks(asked, held, "near") == [apart, alone]
    with pytest.raises(DataError, match="leaves nothing; choose another split"):
        without_leaks([copy], held, "identical")


def test_training_sets_that_are_not_at_hand_are_named(data: Path) -> None:
    rows, missing = training_rows(["brain_tumor_mri", "bccd_blood", "brain_tumor_mri"])
    assert (rows, missing) == ([], ["bccd_blood"])


def test_a_run_writes_what_it_shares_and_leaves_it_out(
    tiny_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data / "brain_tumor_mri"
    lines = (folder / "labels.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    # A training image with the pixels of a test image.
    (folder / "copy.png").write_bytes((folder / first["image"]).read_bytes())
    seen = {"image": "copy.png", "label": first["label"], "split": "train"}
    (folder / "labels.jsonl").write_text("\n".join([*lines, json.dumps(seen)]) + "\n", "utf-8")
    out = tmp_path / "run"
    run = [
        "evaluate", "--model", str(tiny_model), "--data", "brain_tumor_mri", "--out", str(out),
        "--arms", "sft", "--max-new-tokens", "2", "--exclude-leaks", "identical", "--json",
    ]  # fmt: skip
    assert main(run) == 0
    shown = capsys.readouterr()
    (leak,) = json.loads((out / "leakage.json").read_text("utf-8"))
    shared = {second for _, second in leak["identical"]}
    assert f"brain_tumor_mri/{first['image']}" in shared
    (counts,) = json.loads(shown.out)["leakage"]
    assert counts["images"] == 8 and counts["identical"] == len(shared) < 8
    rows = [json.loads(line) for line in (out / "rows.jsonl").open("r")]
    assert shared.isdisjoint(line["image"] for line in rows)
    assert len(rows) == 4 * (8 - len(shared))
    assert f"training has {len(shared)} of its 8 images" in shown.err
