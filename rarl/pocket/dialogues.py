"""Scripted dialogues: whether a follow-up question is answered in the context of the scan."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rarl.data.example import Example
from rarl.inference.engine import Decoding, Engine, NamedImage, Question, Turn
from rarl.rewards.accuracy import is_right

# Each is understood only after the question before it.
FOLLOW_UPS: Mapping[str, tuple[str, ...]] = {
    "modality": ("And how was it made?", "Which imaging modality is that?", "What kind of scan?"),
    "organ": ("And which part of the body is that?", "Where in the body are we?"),
    "presence": ("And is anything abnormal there?", "Is there anything wrong with it?"),
    "side": ("Which side is it?", "Is that the left or the right one?"),
    "label": ("And what does it show?", "So what is it?"),
    "grade": ("And which grade is that?",),
}
"""Category of an annotated question to ways of asking it in a dialogue; a grade is a label, too."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Two questions about one picture.

    Attributes:
        first: the annotated row that is asked first, in its own words.
        second: the row whose answer the follow-up asks for.
        follow_up: the words of the second question.
    """

    first: Example
    second: Example
    follow_up: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model replied to a follow-up, and whether that is the annotated answer."""

    dialogue: Dialogue
    text: str
    right: bool


def script(examples: Sequence[Example], count: int, seed: int) -> list[Dialogue]:
    """Draw dialogues from annotated rows, as evenly over sets and categories as they allow.

    Args:
        examples: held-out rows; those without a picture or a category are left out.
        count: dialogues, each about a picture of its own.
        seed: the same seed draws the same dialogues.

    Raises:
        ValueError: the rows do not allow that many.
    """
    rng = random.Random(seed)
    pictures: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if example.image is not None and example.category is not None:
            pictures[example.image.key].append(example)
    drawn: dict[tuple[str, str], list[Dialogue]] = defaultdict(list)
    for key in sorted(pictures):
        rows = pictures[key]
        for second in rows:
            firsts = [row for row in rows if row.category != second.category]
            words = _follow_ups(second)
            if words and firsts:
                dialogue = Dialogue(rng.choice(firsts), second, rng.choice(words))
                drawn[second.source, second.category or ""].append(dialogue)
    chosen: list[Dialogue] = []
    used: set[str] = set()
    queues = [drawn[kind] for kind in sorted(drawn)]
    for queue in queues:
        rng.shuffle(queue)
    while len(chosen) < count and any(queues):
        for queue in queues:
            fresh = next((dialogue for dialogue in queue if _key(dialogue) not in used), None)
            queue[:] = [
                dialogue
                for dialogue in queue
                if dialogue is not fresh and _key(dialogue) not in used
            ]
            if fresh is not None and len(chosen) < count:
                used.add(_key(fresh))
                chosen.append(fresh)
    if len(chosen) < count:
        raise ValueError(f"the rows allow {len(chosen)} dialogues, {count} are wanted")
    return chosen


def hold(engine: Engine, arm: str, dialogues: Sequence[Dialogue]) -> list[Reply]:
    """Have a model answer the first question of each dialogue, and then the follow-up.

    The first answer goes into the context as the model gave it, right or wrong.
    """
    replies = []
    for dialogue in dialogues:
        assert dialogue.first.image is not None
        images = (NamedImage(dialogue.first.image.load()),)
        decoding = Decoding(max_new_tokens=128)
        opening = Question(images, dialogue.first.question, (arm,), decoding=decoding)
        ((first,),) = engine.answer_batch([opening])
        turn = Turn(dialogue.first.question, "reason", {arm: first.response.text})
        question = Question(images, dialogue.follow_up, (arm,), decoding=decoding, earlier=(turn,))
        ((second,),) = engine.answer_batch([question])
        row = dialogue.second
        right = is_right(second.response.answer, row.answer, row.question, row.explanation or "")
        replies.append(Reply(dialogue, second.response.text, right))
    return replies


def _key(dialogue: Dialogue) -> str:
    assert dialogue.first.image is not None
    return dialogue.first.image.key


def _follow_ups(row: Example) -> tuple[str, ...]:
    """Follow-ups that the row's own answer answers."""
    if row.category == "label":
        if row.answer.lower() in {"yes", "no"}:
            return ()
        return FOLLOW_UPS["grade" if row.answer.isdigit() else "label"]
    return FOLLOW_UPS.get(row.category or "", ())
