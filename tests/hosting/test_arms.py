"""Arms from a file: LoRAs on a base, whole checkpoints and servers, side by side."""

from __future__ import annotations

import json
import shutil
import urllib.request
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from threading import Event

import pytest
from PIL import Image

from demo.pages import frame
from demo.pages.ask.variants import with_pairs
from demo.services.asking import arm_choices, chosen_arms
from demo.services.engine_loader import EngineLoader
from rarl.errors import ModelError, QuestionError
from rarl.inference import Offer, load_engine, load_offer, with_modes
from rarl.inference.composite import Side, SideBySide
from rarl.inference.engine import (
    Arm,
    Decoding,
    Looks,
    NamedImage,
    Question,
    Turn,
    Verbatim,
    chosen_variants,
)
from rarl.inference.local import LocalEngine
from rarl.inference.remote import EndpointEngine
from rarl.models.loader import load_model
from rarl.models.variants import read_arms
from rarl.response import MODES
from rarl.review import case_from
from tests.evaluation.chat_server import serving
from tests.hosting.conftest import Serve
from tests.hosting.word_server import WORDS

SAID = " ".join(WORDS)
PICTURE = NamedImage(Image.new("L", (56, 56), 90))


def question(*arms: str, tokens: int = 8) -> Question:
    return Question((PICTURE,), "Is it new?", arms, "reason", Decoding(max_new_tokens=tokens))


def arms_file(folder: Path, text: str) -> str:
    path = folder / "arms.yaml"
    path.write_text(text, "utf-8")
    return str(path)


def test_every_kind_of_arm_and_the_missing_ones(
    tiny_model: Path, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    url, _ = serve()
    shutil.copytree(tiny_model / "adapters/rarl", tmp_path / "mine")
    name = arms_file(
        tmp_path,
        f"""
        base: {tiny_model}
        arms:
          rarl: {{adapter: mine, label: Ours}}
          lost: {{adapter: nowhere/to-be-found}}
          med-r1: {{checkpoint: {tiny_model}}}
          broken: {{checkpoint: {tmp_path}}}
          large: {{endpoint: "{url}", model: tiny}}
          secret: {{endpoint: "{url}", model: tiny, key: NOBODYS_KEY}}
        """,
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offer = load_offer(name)
    engine = offer.engine
    assert [(arm.name, arm.label) for arm in engine.arms] == [
        ("base", "Base"), ("rarl", "Ours"), ("med-r1", "med-r1"), ("large", "large"),
    ]  # fmt: skip
    assert set(offer.missing) == {"lost", "broken", "secret"}
    assert "nowhere/to-be-found" in offer.missing["lost"]
    assert "config.json" in offer.missing["broken"] or "safetensors" in offer.missing["broken"]
    assert "NOBODYS_KEY" in offer.missing["secret"]

    asked = question("large", "rarl", "base", "med-r1")
    *_, last = engine.stream(asked)
    assert [answer.arm for answer in last] == list(asked.arms)
    assert all(answer.done and not answer.failure for answer in last)
    large, rarl, base, med = (answer.response.text for answer in last)
    assert large == SAID and base == med and base != rarl
    # Beside each other they say what they say alone.
    (alone,) = load_engine(str(tiny_model)).answer_batch([question("rarl", "base")])
    assert [answer.response.text for answer in alone] == [rarl, base]
    with pytest.raises(QuestionError, match="no arm 'lost'; choose from base, rarl"):
        engine.stream(question("lost"))
    with pytest.raises(ModelError, match="nowhere/to-be-found"):
        load_engine(name)


def test_a_batch_is_split_and_put_together_again(tiny_model: Path, tmp_path: Path) -> None:
    with serving(lambda body: SAID, ("tiny",)) as server:
        name = arms_file(
            tmp_path,
            f"base: {tiny_model}\narms: {{large: {{endpoint: '{server.url}', model: tiny}}}}\n",
        )
        earlier = Turn("Is it old?", "answer", {"large": "yes", "base": "no"})
        asked = [question("large", "base"), replace(question("large"), earlier=(earlier,))]
        engine = load_engine(name)
        answers = engine.answer_batch(asked)
        longest = max((body["messages"] for body in server.bodies), key=len)
    assert [[answer.arm for answer in one] for one in answers] == [["large", "base"], ["large"]]
    assert answers[0][0].response.text == answers[1][0].response.text == SAID
    # Each arm reads its own earlier answers, under whatever name its engine knows it.
    assert [turn["role"] for turn in longest] == ["user", "assistant", "user"]
    assert longest[1]["content"] == [{"type": "text", "text": "yes"}]
    assert isinstance(engine, Looks)
    (weights,) = engine.looked(asked[0], answers[0][1])
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    with pytest.raises(QuestionError, match="only where its model runs"):
        engine.looked(asked[0], answers[0][0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- base", "the file must be a mapping, not a list"),
        ("base: pocket\nmodels: {}", "the file has no key models; it has base, arms"),
        ("base: [", "is not a YAML file; correct line 1"),
        ("base: 7", "base must be text, not 7"),
        ("arms: {}", "names no variant; add one"),
        ("arms: {sft: {adapter: here}}", "add the base that they share"),
        ("arms: {sft: here}", "arms.sft must be a mapping, not 'here'"),
        (
            "base: pocket\narms: {sft: {adapter: a, checkpoint: b}}",
            "arms.sft must have one of the keys adapter, checkpoint, endpoint, and one alone",
        ),
        ("base: pocket\narms: {sft: {adapter: 7}}", "arms.sft.adapter must be text, not 7"),
        ("base: pocket\narms: {sft: {adapter: ''}}", "arms.sft.adapter must be text that is not"),
        ("arms: {far: {endpoint: 'http://x/v1'}}", "arms.far lacks model; add it"),
        ("arms: {far: {checkpoint: x, key: Y}}", "arms.far has no key key; it has label, check"),
        ("arms: {base: {checkpoint: here}}", "no variant can be called 'base'"),
        ("arms: {'a,b': {checkpoint: here}}", "no variant can be called 'a,b'"),
        (
            "base: pocket\narms:\n  sft: {adapter: a}\n  sft: {checkpoint: b}",
            "arms.yaml, line 4: sft occurs twice; rename or remove one",
        ),
    ],
)
def test_a_malformed_file_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as raised:
        read_arms(arms_file(tmp_path, text))
    assert "\n" not in str(raised.value)


def test_one_name_is_that_of_one_variant(tiny_model: Path) -> None:
    # A model whose only variant is called as a mode of inference, which is offered beside it.
    engine = LocalEngine(load_model(str(tiny_model), {}))
    arm = replace(engine.arms[0], name="reason")
    offer = Offer(SideBySide([Side(engine, ((arm, "base"),))], "tiny"), {})
    with pytest.raises(ModelError, match="Two variants are called 'reason'; give one of them"):
        with_modes(offer)


def test_a_server_that_dies_mid_answer(tiny_model: Path, tmp_path: Path, serve: Serve) -> None:
    dying, process = serve(hold_after=3)
    holding, _ = serve(hold_after=3)
    engine = load_offer(
        arms_file(
            tmp_path,
            f"base: {tiny_model}\n"
            "arms:\n"
            f"  dying: {{endpoint: '{dying}', model: tiny}}\n"
            f"  other: {{endpoint: '{holding}', model: tiny}}\n",
        )
    ).engine
    killed = False
    for answers in engine.stream(question("dying", "other", "base")):
        first = answers[0]
        if first.failure and not answers[1].done:
            # The dead one is told of at once, while the others go on.
            urllib.request.urlopen(holding.replace("/v1", "/go"), data=b"", timeout=30).close()
        if first.response.text == " ".join(WORDS[:3]) and not killed:
            killed = True
            process.kill()
    dead, other, base = answers
    assert dead.response.text == " ".join(WORDS[:3])
    assert dead.done and not dead.stopped
    assert "does not answer. What came so far is kept; ask again." in dead.failure
    assert other.response.text == SAID and other.done and other.tokens == 77
    assert base.done and base.tokens and not other.failure and not base.failure


def test_stop_does_not_wait_for_a_silent_server(serve: Serve) -> None:
    url, process = serve(hold_after=2)
    stop = Event()
    for answers in EndpointEngine(url).stream(question("base"), stop):
        if answers[0].response.text == " ".join(WORDS[:2]):
            stop.set()
    assert answers[0].stopped and answers[0].done
    assert answers[0].response.text == " ".join(WORDS[:2])
    assert process.poll() is None


def test_the_base_of_a_server_is_the_model_that_is_no_lora(serve: Serve) -> None:
    url, _ = serve()
    engine = EndpointEngine(url)
    assert engine.model_name == "tiny"
    assert [arm.name for arm in engine.arms] == ["base", "sft", "rarl"]


def test_the_app_offers_what_can_be_had_of_a_folder(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "copy"))
    (folder / "adapters/rl/rarl.json").write_text(json.dumps({"base_revision": "0" * 12}))
    offer = load_offer(str(folder))
    assert [arm.name for arm in offer.engine.arms] == ["base", "sft", "rarl"]
    assert "take the matching pair" in offer.missing["rl"]
    *_, last = offer.engine.stream(question("base", "sft", "rarl"))
    assert all(answer.done for answer in last)


def test_the_page_compares_whatever_is_offered() -> None:
    arms = [Arm(name, name, "") for name in ("base", "med-r1")]
    assert arm_choices(arms)[0] == ("Compare all 2", "base,med-r1")
    assert chosen_arms("base,med-r1") == ("base", "med-r1")
    more = [*arms, Arm("mine", "My run", "")]
    choices = with_pairs(arm_choices(more), more)
    assert ("Compare med-r1 and My run", "med-r1,mine") in choices
    assert [value for _, value in choices] == [
        "base,med-r1,mine", "base,med-r1", "base,mine", "med-r1,mine", "base", "med-r1", "mine",
    ]  # fmt: skip
    assert with_pairs(arm_choices(arms), arms) == arm_choices(arms), "two are a pair already"
    assert chosen_variants(["all"], more) == ("med-r1", "mine")
    assert chosen_variants([], more) == ("mine",)


def test_a_model_without_variants_is_compared_in_its_forms(tiny_model: Path) -> None:
    load = partial(load_offer, str(tiny_model))
    assert with_modes(load()).engine.arms == load().engine.arms, "variants are compared as before"
    loader = EngineLoader(lambda: with_modes(_bare(tiny_model))).start()
    engine = loader.wait(60)
    assert engine is not None
    (label, choice), *others = arm_choices(engine.arms)
    assert label == "Compare forms of the answer" and [value for _, value in others] == ["base"]
    asked = question(*chosen_arms(choice))
    *_, last = engine.stream(asked)
    for answer, mode in zip(last, MODES, strict=True):
        (alone,) = _bare(tiny_model).engine.answer_batch([replace(question("base"), mode=mode)])
        assert answer.arm == mode and answer.response == alone[0].response
    assert isinstance(engine, Verbatim)
    assert len({engine.prompt(asked, arm) for arm in asked.arms}) == 3
    case = case_from(asked, last, arms=engine.arms, model="tiny", prompt_hash="")
    assert [answer.note for answer in case.answers] == [
        "", "Asked in the mode answer.", "Asked in the mode answer-then-reason.",
    ]  # fmt: skip
    foot = unescape(frame.footer(loader))
    assert f"train $arm --model {tiny_model} --data vqa_rad" in foot


def _bare(folder: Path) -> Offer:
    return Offer(LocalEngine(load_model(str(folder), {}, device="cpu")), {})
