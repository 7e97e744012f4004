"""An engine without a model."""

from collections.abc import Iterator, Sequence
from threading import Event

from PIL import Image

from rarl.inference.engine import Answer, Arm, Question, Seen
from rarl.response import parse_response


class ScriptedEngine:
    """Knows what red (a glioma), green and grey pictures show; each arm has a habit of its own."""

    model_name = "scripted"
    arms = tuple(Arm(name, name.upper(), f"{name:0<12}") for name in ("base", "sft", "rl", "rarl"))

    def __init__(self, fail_after: int | None = None) -> None:
        self.batches: list[Sequence[Question]] = []
        self.fail_after = fail_after

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        raise NotImplementedError

    def seen(self, image: Image.Image) -> Seen:
        return Seen(image, 1)

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        if self.fail_after is not None and len(self.batches) >= self.fail_after:
            raise KeyboardInterrupt
        self.batches.append(questions)
        return [
            tuple(self._answer(question, arm) for arm in question.arms) for question in questions
        ]

    def _answer(self, question: Question, arm: str) -> Answer:
        red, green, _ = question.images[0].image.resize((1, 1)).getpixel((0, 0))  # type: ignore[misc]
        if "modality" in question.text:
            answer_text = "MRI."
        elif arm == "rarl" and red > green:
            answer_text = "a glioma"
        else:
            answer_text = "no tumor"
        marked = f"<answer>{answer_text}</answer>"
        text = marked if arm == "base" else f"<think>It is {arm}.</think>{marked}"
        return Answer(arm, parse_response(text, question.mode), len(text), 0.1, True)
