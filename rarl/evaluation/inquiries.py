"""The questions of a run: each is asked once, however many rows share it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from rarl.data.example import Example, ImageRef
from rarl.evaluation.asked import Asked
from rarl.evaluation.image_ablations import (
    CONDITIONS,
    Condition,
    Picture,
    image_of,
    image_size,
    picture_for,
)
from rarl.response import Mode

# Pictures whose questions are asked in one go; engines keep at least so many encoded.
NEIGHBOURS = 12


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question about one picture or several, and the rows it answers.

    Attributes:
        pictures: what is shown, in order.
        text: the question.
        options: of a multiple-choice question, in the order in which they are shown.
        mode: inference mode.
        draw: 0 for the greedy answer, else which of the sampled ones.
        rows: each example with the condition under which this is what it is asked.
    """

    pictures: tuple[Picture, ...]
    text: str
    options: tuple[str, ...]
    mode: Mode
    draw: int
    rows: tuple[tuple[Example, Condition], ...]

    @property
    def shown(self) -> str:
        """Names of the pictures."""
        return _shown(self.pictures)

    @property
    def length(self) -> int:
        """Characters of the question with its options."""
        return len(self.text) + sum(map(len, self.options))


def inquiries_of(
    examples: Sequence[Example],
    modes: Sequence[Mode],
    altered: Callable[[Example], Collection[Condition]],
    partners: dict[str, ImageRef],
    draws: Callable[[Example], int],
    ask: Callable[[Example, Condition], Asked | None],
) -> list[Inquiry]:
    """The questions to ask, ordered by size of the picture, then by picture."""
    for example in examples:
        image_of(example)  # says which example has no picture
    images = {image.key: image for example in examples for image in example.images}
    # Images that are swapped in need a size too.
    needed = images | {partners[key].key: partners[key] for key in images if key in partners}
    sizes = {key: image_size(image) for key, image in needed.items()}
    pictures: dict[str, tuple[Picture, ...]] = {}
    shared: dict[tuple[Mode, str, str, tuple[str, ...], int], list[tuple[Example, Condition]]] = {}
    for example in examples:
        extra = altered(example)
        for condition in CONDITIONS:
            if condition != "scan" and condition not in extra:
                continue
            asked = ask(example, condition)
            if asked is None:
                continue
            altered_pictures = [
                picture_for(image, condition, sizes, partners, asked.burned_in)
                for image in example.images
            ]
            shown = tuple(picture for picture in altered_pictures if picture is not None)
            if len(shown) < len(altered_pictures):
                continue
            name = _shown(shown)
            pictures[name] = shown
            for draw in range(1 + (draws(example) if condition == "scan" else 0)):
                for mode in modes:
                    key = (mode, name, asked.text, asked.options, draw)
                    shared.setdefault(key, []).append((example, condition))
    inquiries = [
        Inquiry(pictures[name], text, options, mode, draw, tuple(of))
        for (mode, name, text, options, draw), of in shared.items()
    ]
    inquiries.sort(
        key=lambda inquiry: (
            modes.index(inquiry.mode),
            inquiry.draw > 0,
            inquiry.pictures[0].source is None,
            CONDITIONS.index(inquiry.pictures[0].change),
            inquiry.pictures[0].size,
            inquiry.shown,
        )
    )
    return inquiries


def _shown(pictures: Iterable[Picture]) -> str:
    return " + ".join(picture.name for picture in pictures)


def batches(inquiries: Iterable[Inquiry], batch: int) -> Iterator[list[Inquiry]]:
    """Cut into batches of one mode, in which questions and answers are about equally long.

    The questions about a few neighbouring pictures are put together by their wording: padding
    costs as much as text does, and an engine keeps that many pictures encoded.
    """
    for _, of_mode in groupby(inquiries, key=lambda inquiry: (inquiry.mode, inquiry.draw > 0)):
        pictures = [list(group) for _, group in groupby(of_mode, key=lambda inquiry: inquiry.shown)]
        ordered = [
            inquiry
            for first in range(0, len(pictures), NEIGHBOURS)
            for inquiry in sorted(
                chain.from_iterable(pictures[first : first + NEIGHBOURS]),
                key=lambda inquiry: (inquiry.length, inquiry.text, inquiry.options),
            )
        ]
        yield from (ordered[first : first + batch] for first in range(0, len(ordered), batch))
