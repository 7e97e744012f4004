"""An engine that says what it is told to, word by word."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from threading import Event

from PIL import Image

from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Arm, Question, Seen
from rarl.prompts import user_text
from rarl.response import parse_response

SAID = {
    "base": "The image shows lungs. I am not sure <answer>maybe",
    "sft": "<think>This is a frontal chest radiograph. The lungs are shown on both sides. "
    "The heart is of normal size.</think><answer>No</answer>",
    "rl": "<think>There is a rounded density.</think><answer>Yes</answer>",
    "rarl": "<think>This is a frontal chest radiograph. In the right upper lung there is a rounded "
    "density about 2.5 cm wide. It has a smooth edge and no calcium. A rounded density under 3 cm "
    "is called a nodule.</think><answer>Yes, in the right upper lung</answer>",
}


class ScriptedEngine:
    """Streams `said`, one word of every arm at a time.

    Args:
        said: arm name to raw text.
        pause: seconds between words.
        fail_after: words after which it raises, or None.
    """

    model_name = "scripted"
    arms = tuple(
        Arm(name, label, f"{index:012x}")
        for index, (name, label) in enumerate(
            (("base", "Base"), ("sft", "SFT"), ("rl", "RL"), ("rarl", "RARL"))
        )
    )

    def __init__(
        self,
        said: Mapping[str, str] = SAID,
        pause: float = 0.0,
        fail_after: int | None = None,
    ) -> None:
        self.said = said
        self.pause = pause
        self.fail_after = fail_after

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """All arms at once, a word at a time."""
        user_text(question.text, question.mode)
        if not set(question.arms) <= {arm.name for arm in self.arms}:
            raise QuestionError("This arm is not on offer.")
        words = {arm: self.said[arm].split(" ") for arm in question.arms}
        for count in range(1, max(map(len, words.values())) + 1):
            if self.fail_after is not None and count > self.fail_after:
                raise RuntimeError(f"scripted failure on {question.text}")
            time.sleep(self.pause)
            halted = stop is not None and stop.is_set()
            yield tuple(
                Answer(
                    arm,
                    parse_response(" ".join(words[arm][:count]), question.mode),
                    tokens=min(count, len(words[arm])),
                    seconds=0.1 * count,
                    done=halted or count >= len(words[arm]),
                    stopped=halted and count < len(words[arm]),
                )
                for arm in question.arms
            )
            if halted:
                return

    def seen(self, image: Image.Image) -> Seen:
        return Seen(image, 1)

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """The last item of each stream."""
        return [list(self.stream(question))[-1] for question in questions]
