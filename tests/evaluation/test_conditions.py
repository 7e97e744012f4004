import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rarl.data.example import Example, ImageRef
from rarl.evaluation.image_ablations import (
    ALTERED,
    PERTURBED,
    perturbed,
    reference_under,
    swap_partners,
)
from rarl.evaluation.metrics import measured_frame, reliance
from rarl.evaluation.report import image_sentences, report_html
from rarl.evaluation.rows import Row
from rarl.evaluation.run import evaluate, select, summarise
from rarl.inference.engine import Answer, Question
from rarl.response import parse_response
from tests.evaluation.scripted_engine import ScriptedEngine


class SideEngine(ScriptedEngine):
    """rarl sees on which side it is brighter; sft says left whatever it is shown."""

    def _answer(self, question: Question, arm: str) -> Answer:
        image = question.images[0].image.convert("L")
        left, right = image.getpixel((0, 0)), image.getpixel((image.width - 1, 0))
        seen = "left" if left > right else "right" if right > left else "neither"  # type: ignore[operator]
        text = f"<think>Bright.</think><answer>{seen if arm == 'rarl' else 'left'}</answer>"
        return Answer(arm, parse_response(text, question.mode), 3, 0.1, True)


@pytest.fixture
def sided(tmp_path: Path) -> list[Example]:
    """Six X-rays that are brighter on the left or on the right, and which side it is."""
    examples = []
    for index in range(6):
        side = ("left", "right")[index % 2]
        image = Image.new("RGB", (40, 40), (20, 20, 20 + index))
        image.paste((220, 220, 220), (0, 0, 10, 40) if side == "left" else (30, 0, 40, 40))
        path = tmp_path / f"{index}.png"
        image.save(path)
        examples.append(
            Example(
                id=f"sided/{index}",
                image=ImageRef(f"sided/{index}.png", path),
                question="On which side is it bright?",
                answer=side,
                explanation=None,
                kind="open",
                modality="x-ray",
                organ="chest",
                facts=(),
                source="sided",
                licence="CC0-1.0",
                split="test",
                category="POS",
            )
        )
    return examples


def ask(examples: Sequence[Example], out: Path, **changes: object) -> list[Row]:
    settings = {"arms": ("sft", "rarl"), "modes": ("reason",), "progress": False} | changes
    return evaluate(SideEngine(), examples, out=out, **settings)  # type: ignore[arg-type]


def test_a_mirrored_scan_flips_the_side_that_is_right(sided: list[Example], tmp_path: Path) -> None:
    rows = ask(sided, tmp_path / "run", altered=lambda example: ALTERED)
    assert len(rows) == 6 * 4 * 2
    mirrored = [row for row in rows if row.condition == "mirrored" and row.id == "sided/0"]
    assert [row.reference for row in mirrored] == ["right", "right"]
    assert [(row.arm, row.answer, row.exact) for row in mirrored] == [
        ("sft", "left", False),
        ("rarl", "right", True),
    ]
    assert mirrored[0].shown == "sided/0.png mirrored"
    found = {
        (one.arm, one.condition): one
        for one in reliance(measured_frame(rows))
        if "overall" not in one.group
    }
    looks, blind = found["rarl", "mirrored"], found["sft", "mirrored"]
    assert (looks.scan, looks.altered, looks.flipped, looks.sided) == (1.0, 1.0, 1.0, 6)
    assert (blind.scan, blind.altered, blind.flipped, blind.changed) == (0.5, 0.5, 0.0, 0.0)
    assert (found["rarl", "blank"].altered, found["rarl", "blank"].changed) == (0.0, 1.0)
    needs, ignores = found["rarl", "blank"].low, found["sft", "blank"].low
    assert needs is not None and needs > 0 and ignores is not None and ignores <= 0


def test_the_first_page_tells_a_model_that_does_not_look(
    sided: list[Example], tmp_path: Path
) -> None:
    rows = ask(sided, tmp_path / "run", altered=lambda example: ALTERED)
    summary = json.loads(json.dumps(summarise(SideEngine(), rows)))
    warnings, fine = image_sentences(summary)
    assert warnings and all(one.startswith("sft on sided test") for one in warnings)
    assert "do not need the image" in warnings[0] and "n 6" in warnings[0]
    assert fine and all(one.startswith("rarl on sided test") for one in fine)
    plain = summary | {"differences": []}
    page = report_html(plain)
    assert page.index("Answers that do not need the image") < page.index("<h2>")
    nothing = report_html(plain | {"reliance": []})
    assert "was not measured" in nothing[: nothing.index("<h2>")]


def test_perturbed_scans_keep_what_they_show(sided: list[Example], tmp_path: Path) -> None:
    rows = ask(sided[:2], tmp_path / "run", altered=lambda example: PERTURBED)
    shown = {(row.condition, row.shown, row.reference) for row in rows if row.id == "sided/0"}
    assert shown == {("scan", "sided/0.png", "left")} | {
        (condition, f"sided/0.png {condition}", "left") for condition in PERTURBED
    }
    scan = Image.effect_noise((40, 20), 60).convert("RGB")
    before = np.asarray(scan, float)
    noisy, faded, cropped = (perturbed(scan, one, "a.png") for one in PERTURBED)
    assert noisy == perturbed(scan, "noisy", "a.png") != perturbed(scan, "noisy", "b.png")
    assert 15 < np.std(np.asarray(noisy, float) - before) < 22
    assert np.std(np.asarray(faded, float)) == pytest.approx(before.std() / 2, rel=0.05)
    assert cropped == scan.crop((4, 2, 36, 18))


def test_where_the_mirrored_answer_is_not_known_nothing_is_asked(
    sided: list[Example], tmp_path: Path
) -> None:
    named = replace(sided[0], question="Is the left side bright?", answer="yes", kind="closed")
    plain = replace(sided[0], question="Is it bright?", answer="yes", kind="closed")
    assert reference_under(named, "mirrored") is None
    assert reference_under(plain, "mirrored") == "yes"
    rows = ask([named], tmp_path / "run", altered=lambda example: ("mirrored",))
    assert {row.condition for row in rows} == {"scan"}


def test_swaps_stay_within_set_and_modality_and_never_show_the_same(
    sided: list[Example], tmp_path: Path
) -> None:
    ct = [replace(one, modality="ct") for one in sided[:2]]
    alone = replace(sided[2], modality="mri")
    unknown = replace(sided[3], modality=None)
    partners = swap_partners([*ct, alone, unknown, *sided[4:]], seed=0)
    assert set(partners) == {one.image.key for one in (*ct, *sided[4:]) if one.image}
    assert all(key != other.key for key, other in partners.items())
    assert partners["sided/0.png"].key == "sided/1.png"
    assert swap_partners(sided, 0) == swap_partners(sided[::-1], 0)
    assert any(swap_partners(sided, seed) != swap_partners(sided, 0) for seed in range(1, 5))
    # Fewer questions are swapped for the same images while the pool is the same.
    few = ask(sided[:1], tmp_path / "few", altered=lambda example: ("swapped",), pool=sided)
    swapped = next(row for row in few if row.condition == "swapped")
    assert swapped.shown == swap_partners(sided, 0)["sided/0.png"].key
    assert swapped.image == "sided/0.png"


def test_a_swapped_picture_is_asked_once(data: Path, tmp_path: Path) -> None:
    engine = ScriptedEngine()
    rows = evaluate(
        engine, select("brain_tumor_mri").examples, arms=("sft",), modes=("reason",),
        out=tmp_path / "run", altered=lambda example: ("swapped",), batch=8, progress=False,
    )  # fmt: skip
    # Every image is asked the same questions, so another image's answers are known already.
    assert sum(map(len, engine.batches)) == 8 * 4
    assert sum(row.condition == "swapped" for row in rows) == 8 * 4
