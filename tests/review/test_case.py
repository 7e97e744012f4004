"""What a case keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from rarl import __version__
from rarl.errors import ReviewError
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.response import parse_response
from rarl.review import CATEGORIES, SEVERITIES, CaseSnapshot, case_from

MakeCase = Callable[..., CaseSnapshot]


def test_everything_on_the_screen_is_kept(make_case: MakeCase) -> None:
    case = make_case()
    assert len(case.id) == 32 and int(case.id, 16) >= 0
    assert case.created.tzinfo is not None
    assert case.app_version == __version__
    assert case.sha256 == hashlib.sha256(case.png).hexdigest()
    assert (case.width, case.height, case.modality) == (30, 40, "CR")
    assert case.attributes == {"ViewPosition": "PA"}
    assert (case.question, case.mode, case.model) == (
        "Is there a pneumothorax?",
        "reason",
        "pocket",
    )
    assert case.decoding == Decoding(64, 0.7, 0.9, 5)
    assert case.shown_order == ("rarl", "sft", "rl")
    sft, rl, rarl = case.answers
    assert (sft.label, sft.revision, sft.reasoning) == ("SFT", "a" * 12, "The lungs are clear.")
    assert (rl.answer, rl.problems, rl.stopped) == ("yes", ("no-think",), True)
    assert rarl.text == "<think>No line of the pleura.</think><answer>no</answer>"
    assert (rarl.tokens, rarl.seconds, rarl.stopped) == (12, 1.25, False)
    assert (sft.note, rarl.note) == ("", "Memory ran out.")


def test_pixels_are_identical_and_alone(make_case: MakeCase) -> None:
    case = make_case()
    expected = np.random.default_rng(3).integers(0, 256, (40, 30), np.uint8)
    assert np.array_equal(np.asarray(case.image()), expected)
    assert not case.image().info and b"Mustermann" not in case.png


def test_profile_is_left_out_and_other_modes_become_rgb() -> None:
    image = Image.new("RGBA", (20, 20), (9, 8, 7, 255))
    image.info["icc_profile"] = b"Mustermann"
    answer = Answer("sft", parse_response("<think>a</think><answer>b</answer>"), 3, 0.5, done=True)
    case = case_from(
        Question((NamedImage(image),), "What is it?", ("sft",)),
        [answer],
        arms=[Arm("sft", "SFT", "a" * 12)],
        model="pocket",
        prompt_hash="",
        case_id="0" * 32,
    )
    shown = Image.open(BytesIO(case.png))
    assert (shown.mode, shown.getpixel((0, 0)), shown.info) == ("RGB", (9, 8, 7), {})
    assert (case.id, case.modality, case.shown_order) == ("0" * 32, None, ("sft",))


def test_without_answers_there_is_no_case() -> None:
    question = Question((NamedImage(Image.new("L", (20, 20))),), "What is it?", ("sft",))
    answer = Answer("sft", parse_response("x"), 1, 0.1, done=True)
    for answers in ([], [answer]):
        with pytest.raises(ReviewError, match="no answer"):
            case_from(question, answers, arms=[], model="pocket", prompt_hash="")


def test_keys_are_unique() -> None:
    for choices in (CATEGORIES, SEVERITIES):
        assert len(dict(choices)) == len(choices)
    assert len(CATEGORIES) == 10
    assert [key for key, _ in SEVERITIES] == ["none", "minor", "major", "critical"]
