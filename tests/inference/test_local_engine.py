"""All arms in one batch say what each says alone, stream, stop, and share the model in peace."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest
import torch
from holding import PATIENCE, Hold, picture, until
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook

from rarl.errors import QuestionError
from rarl.inference.engine import Answer, Arm, Decoding, NamedImage, Question
from rarl.inference.local import LocalEngine
from rarl.models.loader import LoadedModel, load_model
from rarl.prompts import messages, user_text

EVERY = ("base", "sft", "rl", "rarl")
Ask = Callable[..., Question]
Holding = Callable[[int], AbstractContextManager[Hold]]


def said(answers: tuple[Answer, ...]) -> list[tuple[Any, ...]]:
    """All of the answers but the seconds."""
    return [(a.arm, a.response, a.tokens, a.done, a.stopped) for a in answers]


def reference_ids(loaded: LoadedModel, question: Question, arm: str) -> list[int]:
    """The plain way: the processor's own inputs, one arm, pixels through the whole model."""
    processor = loaded.processor
    prompt = processor.apply_chat_template(
        messages(user_text(question.text, question.mode), [n.name for n in question.images]),
        add_generation_prompt=True,
        tokenize=False,
    )
    pictures = [named.image.convert("RGB") for named in question.images]
    inputs = processor(text=[prompt], images=pictures, return_tensors="pt")
    settings = {
        "max_new_tokens": question.decoding.max_new_tokens,
        "do_sample": False,
        "suppress_tokens": list(loaded.forbidden_ids),
        "eos_token_id": list(loaded.end_ids),
        "pad_token_id": loaded.pad_id,
    }
    if arm == "base":
        with loaded.model.disable_adapter():
            out = loaded.model.generate(**inputs, **settings)
    else:
        loaded.model.set_adapter(arm)
        out = loaded.model.generate(**inputs, **settings)
    return [int(token) for token in out[0, inputs["input_ids"].shape[1] :]]


@contextmanager
def vision_calls(loaded: LoadedModel) -> Iterator[list[int]]:
    """How many images each run of the vision tower got."""
    calls: list[int] = []

    def count(_module: object, _args: object, kwargs: dict[str, Any], _out: object) -> None:
        calls.append(len(kwargs["grid_thw"]))

    handle = loaded.base.model.visual.register_forward_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def test_the_arms_on_offer(engine: LocalEngine, tiny_loaded: LoadedModel) -> None:
    assert [arm.name for arm in engine.arms] == list(EVERY)
    assert engine.arms[0] == Arm("base", "Base", tiny_loaded.revision, tiny_loaded.chats)
    assert engine.arms[3] == Arm("rarl", "RARL", tiny_loaded.adapters["rarl"], tiny_loaded.chats)
    assert engine.model_name == tiny_loaded.name


@pytest.mark.parametrize("mode", ["reason", "answer", "answer-then-reason"])
@pytest.mark.parametrize("size", [(60, 50), (30, 200)])
def test_one_mixed_batch_says_what_each_arm_says_alone(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask, mode: str, size: tuple[int, int]
) -> None:
    question = ask(arms=EVERY, mode=mode, size=size, tokens=24)
    decode = tiny_loaded.processor.tokenizer.decode
    expected = {}
    for arm in EVERY:
        ids = reference_ids(tiny_loaded, question, arm)
        kept = [token for token in ids if token not in tiny_loaded.end_ids]
        expected[arm] = (decode(kept).rstrip("\ufffd"), len(kept))
    *_, last = engine.stream(question)
    assert {a.arm: (a.response.text, a.tokens) for a in last} == expected
    assert len({a.response.text for a in last}) == len(EVERY), "the arms must differ"


def several(*sizes: tuple[int, int], names: tuple[str, ...] = ()) -> tuple[NamedImage, ...]:
    """Pictures of these sizes, all different."""
    names = names or ("",) * len(sizes)
    return tuple(
        NamedImage(picture(seed, size), name)
        for seed, (size, name) in enumerate(zip(sizes, names, strict=True), 10)
    )


def test_several_pictures_in_one_mixed_batch(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    images = several((60, 50), (30, 200), (200, 30), names=("frontal", "lateral", "prior"))
    question = ask(arms=EVERY, images=images, tokens=24)
    decode = tiny_loaded.processor.tokenizer.decode
    expected = {}
    for arm in EVERY:
        ids = reference_ids(tiny_loaded, question, arm)
        kept = [token for token in ids if token not in tiny_loaded.end_ids]
        expected[arm] = decode(kept).rstrip("\ufffd")
    (last,) = engine.answer_batch([question])
    assert {answer.arm: answer.response.text for answer in last} == expected
    # Every picture, its place and its name count.
    first, second, third = images
    others = [
        (first, second),
        (second, first, third),
        (first, NamedImage(second.image, "left"), third),
    ]
    for other in others:
        (changed,) = engine.answer_batch([replace(question, images=other)])
        assert said(changed) != said(last)


@pytest.mark.parametrize("batch_rows", [3, 32])
def test_a_ragged_batch_of_several_pictures_says_what_one_by_one_says(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask, batch_rows: int
) -> None:
    questions = [
        ask("Why?", arms=EVERY, images=several((60, 50), (30, 200), names=("prior", "current"))),
        ask("Is the heart of normal size on both of them?", arms=("base", "rl")),
        ask("What changed?", images=several((200, 30), (40, 40), (30, 200), (60, 50)), tokens=9),
        ask("Why?", arms=("rarl",), images=several((30, 200)), mode="answer"),
    ]
    singly = [engine.answer_batch([question])[0] for question in questions]
    with vision_calls(tiny_loaded) as calls:
        fresh = LocalEngine(tiny_loaded, batch_rows=batch_rows)
        batch = fresh.answer_batch(questions)
    assert [said(answers) for answers in batch] == [said(answers) for answers in singly]
    # 60 x 50 with seed 10, 30 x 200 with 11, and so on: each distinct picture once.
    assert sum(calls) == 2 + 1 + 4 + 1


def test_a_picture_is_encoded_once_whatever_it_is_called_and_stands_beside(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    first, second, third = several((60, 50), (30, 200), (50, 60))
    with vision_calls(tiny_loaded) as calls:
        engine.answer_batch([ask(images=(first, second))])
        engine.answer_batch([ask(images=(NamedImage(second.image, "prior"),))])
        engine.answer_batch([ask(images=(third, first))])
    assert calls == [2, 1]


def test_arms_come_in_the_questions_order(engine: LocalEngine, ask: Ask) -> None:
    (forward,) = engine.answer_batch([ask(arms=("base", "rl", "sft"))])
    (backward,) = engine.answer_batch([ask(arms=("sft", "rl", "base"))])
    assert [a.arm for a in forward] == ["base", "rl", "sft"]
    assert said(forward) == said(backward)[::-1]


def test_it_streams(engine: LocalEngine, ask: Ask, hold: Holding) -> None:
    question = ask(arms=EVERY, tokens=12)
    with hold(4) as held:
        stream = engine.stream(question)
        first = next(stream)
        # The model has not been let past its fourth step, so this came before the end.
        assert all(1 <= answer.tokens <= 4 and not answer.done for answer in first)
        held.go.set()
        items = [first, *stream]
    for earlier, later in itertools.pairwise(items):
        for before, after in zip(earlier, later, strict=True):
            assert after.tokens >= before.tokens
            assert after.response.text.startswith(before.response.text)
    assert all(not answer.done for item in items[:-1] for answer in item)
    assert all(answer.done and not answer.stopped for answer in items[-1])
    assert said(items[-1]) == said(engine.answer_batch([question])[0])


def test_nothing_runs_before_it_is_asked_for(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    with vision_calls(tiny_loaded) as calls:
        stream = engine.stream(ask())
        assert engine.waiting == 0
        stream.close()
    assert calls == []


def test_a_row_that_ended_is_done_while_the_others_go_on(
    tiny_loaded: LoadedModel, ask: Ask, hold: Holding
) -> None:
    question = ask(arms=EVERY, tokens=20)
    ids = {arm: reference_ids(tiny_loaded, question, arm) for arm in EVERY}
    # A token that one arm says early, and that no other arm ever says, ends its answer.
    short, end = next(
        (arm, token)
        for arm in EVERY
        for token in ids[arm][2:8]
        if not any(token in ids[other] for other in EVERY if other != arm)
    )
    length = ids[short].index(end)
    engine = LocalEngine(replace(tiny_loaded, end_ids=(*tiny_loaded.end_ids, end)))
    with hold(length + 2) as held:
        items = []
        stream = engine.stream(question)
        for item in stream:
            items.append(item)
            if any(answer.done for answer in item):
                break
        assert {answer.arm for answer in items[-1] if answer.done} == {short}
        held.go.set()
        rest = list(stream)
    ended = [answer for item in [items[-1], *rest] for answer in item if answer.arm == short]
    assert len(ended) > 1
    assert set(ended) == {ended[0]}, "an ended answer changes no more, its seconds neither"
    assert ended[0].tokens == length
    assert not ended[0].stopped
    decode = tiny_loaded.processor.tokenizer.decode
    for answer in rest[-1]:
        whole = ids[answer.arm][:length] if answer.arm == short else ids[answer.arm]
        assert answer.response.text == decode(whole).rstrip("\ufffd")
        assert answer.tokens == len(whole)
    until(lambda: engine.waiting == 0)


def test_stop_ends_it_even_in_the_midst_of_a_step(
    engine: LocalEngine, ask: Ask, hold: Holding
) -> None:
    stop = Event()
    with hold(3) as held:
        stream = engine.stream(ask(tokens=200), stop)
        next(stream)
        assert held.reached.wait(PATIENCE)
        stop.set()
        *_, last = stream  # though the model stands still
        held.go.set()
        until(lambda: engine.waiting == 0)
        assert held.steps == 4
    assert all(answer.done and answer.stopped and answer.tokens == 3 for answer in last)
    (whole,) = engine.answer_batch([ask(tokens=3)])
    assert [a.response for a in last] == [a.response for a in whole]


def test_stop_before_the_start(engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask) -> None:
    stop = Event()
    stop.set()
    with vision_calls(tiny_loaded) as calls:
        items = list(engine.stream(ask(), stop))
    assert calls == []
    assert [(a.done, a.stopped, a.tokens) for a in items[-1]] == [(True, True, 0)] * 3


def test_who_finds_no_room_sees_their_place_and_may_leave(
    tiny_loaded: LoadedModel, ask: Ask, hold: Holding
) -> None:
    engine = LocalEngine(tiny_loaded, batch_rows=3)
    stop = Event()
    # Held again once the places are told, so that nobody reads them late.
    with hold(2) as held, hold(3) as told:
        running = engine.stream(ask(tokens=8))
        next(running)
        assert held.reached.wait(PATIENCE)
        streams = [engine.stream(ask(seed=number, tokens=4), stop) for number in (1, 2)]
        lines: list[list[tuple[Answer, ...]]] = [[], []]
        waiters = []
        for number, (line, stream) in enumerate(zip(lines, streams, strict=True), 2):
            waiters.append(Thread(target=lambda line=line, stream=stream: line.extend(stream)))
            waiters[-1].start()
            until(lambda number=number: engine.waiting == number)
        held.go.set()
        until(lambda: all(lines))
        told.go.set()
        *_, last = running
        for waiter in waiters:
            waiter.join(PATIENCE)
    assert [(a.stopped, a.tokens) for a in last] == [(False, 8)] * 3
    for place, line in enumerate(lines, 1):
        assert {(a.place, a.tokens) for a in line[0]} == {(place, 0)}
        assert [(a.place, a.tokens, a.stopped) for a in line[-1]] == [(0, 4, False)] * 3
    # The second moves up before its turn comes.
    assert [items[0].place for items in lines[1] if items[0].tokens == 0][-1] == 1
    with hold(2) as held:
        running = engine.stream(ask(tokens=8))
        next(running)
        assert held.reached.wait(PATIENCE)
        stop.set()
        (only,) = engine.stream(ask(), stop)
        assert [(a.done, a.stopped, a.tokens) for a in only] == [(True, True, 0)] * 3
        held.go.set()
        assert [a.tokens for a in list(running)[-1]] == [8] * 3
    until(lambda: engine.waiting == 0)


def test_people_join_and_leave_while_others_are_answered(
    engine: LocalEngine, ask: Ask, hold: Holding
) -> None:
    """One is answered all the while; the second joins, the third stops, the fourth breaks."""
    questions = [ask(tokens=40), ask("Why?", seed=1, tokens=5), ask(seed=2, tokens=200)]
    alone = [said(engine.answer_batch([question])[0]) for question in questions[:2]]
    stop = Event()
    with hold(4) as held:
        first = engine.stream(questions[0])
        next(first)
        assert held.reached.wait(PATIENCE)
        others = [engine.stream(questions[1]), engine.stream(questions[2], stop)]
        news: list[list[tuple[Answer, ...]]] = [[], []]
        threads = [
            Thread(target=lambda own=own, stream=stream: own.extend(stream))
            for own, stream in zip(news, others, strict=True)
        ]
        for number, thread in enumerate(threads, 2):
            thread.start()
            until(lambda number=number: engine.waiting == number)
        held.go.set()
        until(lambda: bool(news[1]))
        stop.set()
        *_, last = first
        for thread in threads:
            thread.join(PATIENCE)
    assert said(last) == alone[0]
    assert said(news[0][-1]) == alone[1]
    assert all(answer.stopped and answer.tokens for answer in news[1][-1])
    assert all(answer.place == 0 for items in news for answers in items for answer in answers)


def test_an_error_in_one_leaves_the_others_alone(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask, hold: Holding
) -> None:
    question = ask(tokens=30)
    (alone,) = engine.answer_batch([question])
    steps = 0

    def fail(_module: object, _args: object, kwargs: dict[str, Any]) -> None:
        # Neither two at once, nor this picture's prompt.
        nonlocal steps
        rows, tokens = kwargs["inputs_embeds"].shape[:2]
        steps += 1
        if rows > 3 or tokens > 150:
            raise ArithmeticError

    with hold(3) as held:
        stream = engine.stream(question)
        next(stream)
        assert held.reached.wait(PATIENCE)
        language = tiny_loaded.base.model.language_model
        handle = language.register_forward_pre_hook(fail, with_kwargs=True)
        try:
            broken = [engine.stream(ask(size=(600, 600))), engine.stream(ask("Why?"))]
            errors: list[BaseException] = []

            def ask_in_vain(stream: Iterator[tuple[Answer, ...]]) -> None:
                with pytest.raises(ArithmeticError) as caught:
                    list(stream)
                errors.append(caught.value)

            threads = [Thread(target=ask_in_vain, args=(stream,)) for stream in broken]
            for number, thread in enumerate(threads, 2):
                thread.start()
                until(lambda number=number: engine.waiting == number)
            held.go.set()
            *_, last = stream
            for thread in threads:
                thread.join(PATIENCE)
        finally:
            handle.remove()
    assert len(errors) == 2
    assert steps
    assert said(last) == said(alone)


def test_closing_the_iterator_ends_it(engine: LocalEngine, ask: Ask, hold: Holding) -> None:
    with hold(3) as held:
        stream = engine.stream(ask(tokens=200))
        next(stream)
        assert held.reached.wait(PATIENCE)
        stream.close()
        held.go.set()
        until(lambda: engine.waiting == 0)
        assert held.steps == 4


def test_what_goes_wrong_reaches_the_caller_as_it_is(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    error = ArithmeticError("no number")

    def fail(*_: object) -> None:
        raise error

    handle = tiny_loaded.base.model.language_model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(ArithmeticError) as caught:
            list(engine.stream(ask()))
        assert caught.value is error
        with pytest.raises(ArithmeticError):
            engine.answer_batch([ask()])
    finally:
        handle.remove()
    *_, last = engine.stream(ask())
    assert all(answer.done and answer.tokens for answer in last)


@pytest.mark.parametrize("size", [(60, 50), (30, 200), (57, 84)])
def test_what_the_model_sees_is_what_it_gets(
    engine: LocalEngine, tiny_loaded: LoadedModel, size: tuple[int, int]
) -> None:
    image = picture(3, size)
    seen = engine.seen(image)
    processor = tiny_loaded.processor
    inputs = processor.image_processor(images=[image.convert("RGB")], return_tensors="pt")
    assert seen.tokens == inputs["image_grid_thw"].prod() // 4
    assert seen.image.mode == "RGB"
    # Given as it is, the picture makes the very patches that the model got.
    again = processor.image_processor(images=[seen.image], do_resize=False, return_tensors="pt")
    assert torch.equal(again["pixel_values"], inputs["pixel_values"])
    with pytest.raises(QuestionError, match="too narrow"):
        engine.seen(Image.new("L", (1, 201)))


@pytest.mark.parametrize("batch_rows", [1, 3, 32])
def test_a_batch_says_what_one_by_one_says(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask, batch_rows: int
) -> None:
    drawn = Decoding(max_new_tokens=9, temperature=0.8, top_p=0.9, seed=3)
    questions = [
        ask("Why?", arms=EVERY),
        ask("Is the heart of normal size, and are the lungs clear on both sides?", tokens=7),
        ask("Why?", arms=("rl",), mode="answer", size=(200, 30)),
        ask("Why?", arms=("rl",), mode="reason", seed=1, tokens=1),
        ask("What is this?", arms=("base", "rarl"), seed=1, decoding=drawn),
        ask("What is this?", arms=("rarl",), seed=1, decoding=replace(drawn, seed=4)),
    ]
    batch = LocalEngine(tiny_loaded, batch_rows=batch_rows).answer_batch(questions)
    singly = [engine.answer_batch([question])[0] for question in questions]
    streamed = [list(engine.stream(question))[-1] for question in questions]
    assert [said(answers) for answers in batch] == [said(answers) for answers in singly]
    assert [said(answers) for answers in streamed] == [said(answers) for answers in singly]
    assert all(a.done and not a.stopped for answers in batch for a in answers)
    assert [[a.tokens for a in answers] for answers in batch][1] == [7, 7, 7]
    assert len({a.response.text for answers in batch for a in answers}) > 8


def test_no_questions_no_answers(engine: LocalEngine) -> None:
    assert engine.answer_batch([]) == []


def test_the_vision_tower_runs_once_per_image(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    with vision_calls(tiny_loaded) as calls:
        list(engine.stream(ask(arms=EVERY)))
        assert calls == [1]
        # The same pixels in another object, asked about again.
        list(engine.stream(ask("Anything else?", seed=0)))
        assert calls == [1]
        list(engine.stream(ask(seed=1)))
        assert calls == [1, 1]
        # Turned by a quarter, the bytes of this picture are the same.
        blank = [Image.new("L", size, 7) for size in ((40, 60), (60, 40))]
        engine.answer_batch([Question((NamedImage(image),), "Why?", ("sft",)) for image in blank])
        assert calls == [1] * 4


def test_a_batch_encodes_each_distinct_image_once(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    images = (NamedImage(picture(5)),)
    questions = [ask(), ask("Why?"), ask(images=images), ask(images=images)]
    with vision_calls(tiny_loaded) as calls:
        engine.answer_batch(questions)
    assert calls == [1, 1]


def test_the_cache_forgets_the_oldest(tiny_loaded: LoadedModel, ask: Ask) -> None:
    engine = LocalEngine(tiny_loaded, cached_images=2)
    with vision_calls(tiny_loaded) as calls:
        for seed in (0, 1, 0, 2, 0):  # 2 pushes 1 out, since 0 was used after it
            engine.answer_batch([ask(seed=seed, tokens=1)])
        assert len(calls) == 3
        engine.answer_batch([ask(seed=1, tokens=1)])
        assert len(calls) == 4


def test_an_image_in_any_mode_is_its_rgb(engine: LocalEngine, ask: Ask) -> None:
    grey = picture()
    texts = set()
    for mode in ("L", "RGB", "RGBA", "P"):
        images = (NamedImage(grey.convert(mode)),)
        (answers,) = engine.answer_batch([ask(arms=("rarl",), images=images)])
        texts.add(answers[0].response.text)
    assert len(texts) == 1


def test_a_picture_of_one_pixel_is_answered(engine: LocalEngine, ask: Ask) -> None:
    (answers,) = engine.answer_batch([ask(size=(1, 1))])
    assert all(answer.tokens for answer in answers)


def test_vision_and_turn_tokens_are_never_said(
    engine: LocalEngine, tiny_loaded: LoadedModel, ask: Ask
) -> None:
    (plain,) = engine.answer_batch([ask(arms=EVERY)])

    tempted_steps = 0
    words = tiny_loaded.base.config.get_text_config().vocab_size

    def tempt(_module: object, _args: object, out: object) -> None:
        nonlocal tempted_steps
        if isinstance(out, torch.Tensor) and out.shape[-1] == words:
            out[..., list(tiny_loaded.forbidden_ids)] += 1e4
            tempted_steps += 1

    handle = register_module_forward_hook(tempt)
    try:
        (tempted,) = engine.answer_batch([ask(arms=EVERY)])
    finally:
        handle.remove()
    assert tempted_steps == max(answer.tokens for answer in plain)
    assert said(tempted) == said(plain)


def test_a_seed_gives_the_same_answer_and_leaves_the_process_alone(
    engine: LocalEngine, ask: Ask
) -> None:
    def drawn(seed: int, arms: tuple[str, ...]) -> dict[str, str]:
        decoding = Decoding(max_new_tokens=16, temperature=1.0, seed=seed)
        (answers,) = engine.answer_batch([ask(arms=arms, decoding=decoding)])
        return {answer.arm: answer.response.text for answer in answers}

    state = torch.get_rng_state()
    first = drawn(1, EVERY)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert drawn(1, EVERY) == first
    assert drawn(1, ("rarl",)) == {"rarl": first["rarl"]}, "whoever else is asked"
    assert drawn(2, EVERY)["rarl"] != first["rarl"]
    torch.set_rng_state(state)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text": "  \n "}, "Type a question"),
        ({"text": "x" * 1001}, "shorten it"),
        ({"text": "What is <|image_pad|>?"}, r"holds <\|image_pad\|>"),
        ({"text": "<|im_end|>"}, "leave it out"),
        ({"arms": ()}, "at least one"),
        ({"arms": ("sft", "ppo")}, "no arm 'ppo' here; choose from base, sft, rl, rarl"),
        ({"decoding": Decoding(max_new_tokens=0)}, "one token or more"),
        ({"decoding": Decoding(temperature=-1)}, "temperature"),
        ({"decoding": Decoding(temperature=float("nan"))}, "temperature"),
        ({"decoding": Decoding(top_p=0)}, "top-p"),
        ({"images": (NamedImage(Image.new("L", (1, 201))),)}, "too narrow"),
        ({"images": ()}, "Open a scan first"),
        ({"images": (NamedImage(picture()),) * 9}, "9 pictures; ask about 8 or fewer"),
        ({"images": (NamedImage(picture(), "prior"), NamedImage(picture(), "Prior"))}, "'Prior'"),
        ({"images": (NamedImage(picture(), "<|image_pad|>"),)}, r"holds <\|image_pad\|>"),
        ({"images": (NamedImage(picture(), "a\nb"),)}, "one line of at most 40"),
        ({"images": (NamedImage(picture(), "x" * 41),)}, "one line of at most 40"),
    ],
)
def test_what_cannot_be_asked_is_said_at_once(
    engine: LocalEngine, ask: Ask, change: dict[str, Any], words: str
) -> None:
    question = replace(ask(), **change)
    with pytest.raises(QuestionError, match=words):
        engine.stream(question)
    with pytest.raises(QuestionError, match=words):
        engine.answer_batch([ask(), question])
    assert engine.waiting == 0


def test_eight_threads_at_once(engine: LocalEngine, ask: Ask) -> None:
    questions = [
        ask("Why? " * (1 + number), arms=EVERY[number % 4 :], seed=number % 3, tokens=6 + number)
        for number in range(8)
    ]
    alone = [said(engine.answer_batch([question])[0]) for question in questions]

    def one(number: int) -> list[tuple[Any, ...]]:
        if number % 2:
            return said(engine.answer_batch([questions[number]])[0])
        return said(list(engine.stream(questions[number]))[-1])

    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(one, range(8))) == alone


def test_a_base_without_adapters_answers(tiny_loaded: LoadedModel, ask: Ask) -> None:
    bare = LocalEngine(load_model(tiny_loaded.name, {}, device="cpu"))
    assert [arm.name for arm in bare.arms] == ["base"]
    (answers,) = bare.answer_batch([ask(arms=("base",))])
    (expected,) = LocalEngine(tiny_loaded).answer_batch([ask(arms=("base",))])
    assert said(answers) == said(expected)


def test_half_precision_answers(
    tiny_loaded: LoadedModel, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rarl.models.loader.HALVED", 1)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    loaded = load_model(tiny_loaded.name, device="cpu")
    assert loaded.dtype == torch.bfloat16
    (answers,) = LocalEngine(loaded).answer_batch([ask(arms=EVERY)])
    assert all(answer.tokens for answer in answers)
