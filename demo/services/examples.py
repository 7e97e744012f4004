"""Example scans for visitors without a file of their own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from PIL import Image
from pydicom.data import get_testdata_file

from demo.services.phantoms import CHEST_FILE, ct_picture, ct_series
from rarl.data import load_set
from rarl.data.sets import at_hand
from rarl.errors import RarlError
from rarl.scans import Stack, open_stack, open_stack_file

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ExampleScan:
    """One scan on offer, with a question that suits it.

    Attributes:
        key: stable name, safe in HTML.
        title: what the person reads ("CT, head").
        question: put into the question box.
        open: makes the scan; called once, when the page is built.
        source: where it comes from, in words.
        reference: the reference answer of a test row, hidden until asked for.
        modality: where the file itself does not say.
        preview: draws the thumbnail of a scan that takes long to make; such a scan is made when
            it is first asked for.
    """

    key: str
    title: str
    question: str
    open: Callable[[], Stack]
    source: str
    reference: str | None = None
    modality: str | None = None
    preview: Callable[[], Image.Image] | None = None


@dataclass
class OpenedExample:
    """An example that can be put on the page.

    Attributes:
        example: what it is.
        thumbnail: any size.
    """

    example: ExampleScan
    thumbnail: Image.Image
    _stack: Stack | None = None
    _lock: Lock = field(default_factory=Lock, repr=False)

    def stack(self) -> Stack:
        """The scan; shared by all pages, which only read it."""
        with self._lock:
            if self._stack is None:
                self._stack = self.example.open()
            return self._stack


def _pydicom(key: str, title: str, question: str, name: str) -> ExampleScan:
    def open_it() -> Stack:
        # download=False: an example that is not in the installed wheel is left out.
        path = get_testdata_file(name, download=False)
        if not path:
            raise FileNotFoundError(name)
        return open_stack_file([Path(str(path))])

    return ExampleScan(key, title, question, open_it, "pydicom's sample files")


# All but the phantoms are in pydicom's wheel.
BUILT_IN: tuple[ExampleScan, ...] = (
    ExampleScan(
        "phantom-chest",
        "Chest (drawing)",
        "Is there a nodule in the lung?",
        lambda: open_stack_file([CHEST_FILE]),
        "a drawing, not a patient",
        modality="x-ray",
    ),
    ExampleScan(
        "phantom-ct",
        "CT volume (drawing)",
        "Is there a mass in the liver?",
        lambda: open_stack(ct_series()),
        "a drawing, not a patient",
        preview=ct_picture,
    ),
    _pydicom("ct-head", "CT, head", "Is the midline shifted?", "J2K_pixelrep_mismatch.dcm"),
    _pydicom("mr-abdomen", "MR, abdomen", "Is there a mass in the liver?", "examples_overlay.dcm"),
    _pydicom("us-node", "Ultrasound", "Which organ is shown?", "examples_rgb_color.dcm"),
    _pydicom("ct-spine", "CT, spine", "Which organ is shown?", "CT_small.dcm"),
)


def vqa_rad_rows(limit: int = 3) -> list[ExampleScan]:
    """Test rows of VQA-RAD whose images never trained anything, where a local copy exists."""
    try:
        # Without a copy at hand the Hub would be asked, and the page would wait for it.
        if "vqa_rad" not in at_hand():
            return []
        rows = load_set("vqa_rad")
    except RarlError:
        return []
    except Exception as error:  # a set that is half there must not keep the page from coming up
        log.warning("examples: %s", type(error).__name__)
        return []
    examples: dict[str, ExampleScan] = {}
    for row in rows:
        if row.split != "image-disjoint" or row.kind != "closed" or row.image is None:
            continue
        kind = row.modality or row.organ or "scan"
        if kind in examples:
            continue
        examples[kind] = ExampleScan(
            f"vqa-rad-{len(examples)}",
            f"VQA-RAD, {row.organ or kind}",
            row.question,
            partial(_of_row, row.image.read),
            f"VQA-RAD {row.id.removeprefix('vqa_rad/')}, an image no variant was trained on",
            row.answer,
            row.modality,
        )
        if len(examples) == limit:
            break
    return list(examples.values())


def _of_row(read: Callable[[], bytes]) -> Stack:
    return open_stack([read()])


def open_examples(wanted: tuple[ExampleScan, ...] = BUILT_IN) -> dict[str, OpenedExample]:
    """Open what can be opened, in order; what cannot is left out and logged."""
    opened: dict[str, OpenedExample] = {}
    for example in wanted:
        try:
            if example.preview is not None:
                opened[example.key] = OpenedExample(example, example.preview())
            else:
                stack = example.open()
                opened[example.key] = OpenedExample(example, stack.scan().image, stack)
        except (RarlError, OSError) as error:
            log.warning("example %s left out: %s", example.key, type(error).__name__)
    return opened
