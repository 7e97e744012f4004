"""Load local copies of VQA-Med 2019 and SLAKE."""

from __future__ import annotations

from pathlib import Path

from rarl.data.example import Example, ImageRef, Split
from rarl.data.root import read_rows
from rarl.errors import DataError

_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
_MODALITIES = {"MRI": "mri", "CT": "ct", "X-Ray": "x-ray"}


def vqa_med_2019_mini(root: Path) -> list[Example]:
    """Twelve images of VQA-Med 2019 with 18 questions: unseen, so it trains nothing at all.

    Rows of the published training part are unseen too: the set checks that a form of question
    from elsewhere is understood, and is too small to be quoted as a benchmark.
    """
    folder = root / "vqa_med_2019_mini"
    return [
        Example(
            id=f"vqa_med_2019_mini/{number:02d}-{Path(row['image']).stem}",
            image=ImageRef(f"vqa_med_2019_mini/{row['image']}", folder / row["image"]),
            question=" ".join(row["question"].split()),
            answer=row["answer"].strip().lower(),
            explanation=None,
            kind="closed" if row["answer_type"] == "CLOSED" else "open",
            modality=None,
            organ=None,
            facts=(),
            source="vqa_med_2019_mini",
            licence=row["license"],
            split="unseen",
            category=row["category"],
        )
        for number, row in enumerate(read_rows(folder / "qa.jsonl"))
    ]


def slake_text(root: Path) -> list[Example]:
    """SLAKE's English questions without their images, official splits.

    For looking at wording and answers; rows have no image, so they can neither train nor be
    answered. The Hub form has the images (see `rarl.data.hub`). The one training row that was
    published without an answer is left out.
    """
    rows = []
    for row in read_rows(root / "slake_qa_text_only" / "qa.jsonl"):
        if row["split"] not in _SPLITS:
            raise DataError(f"slake_qa_text_only has a row of split {row['split']!r}.")
        if not row["answer"].strip():
            continue
        rows.append(
            Example(
                id=f"slake/{row['id']}",
                image=None,
                question=" ".join(row["question"].split()),
                answer=row["answer"].strip().lower(),
                explanation=None,
                kind="closed" if row["answer_type"] == "CLOSED" else "open",
                modality=_MODALITIES.get(row["modality"]),
                organ=None,
                facts=(),
                source="slake",
                licence=row["license"],
                split=_SPLITS[row["split"]],
                category=row["content_type"],
            )
        )
    return rows
