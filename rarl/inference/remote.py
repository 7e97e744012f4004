"""The engine that calls an OpenAI-compatible server.

Arms are models of the server (as `vllm serve --enable-lora --lora-modules sft=...` names them).
Retries with growing pauses on time-outs, 429 and 5xx are the openai client's own; they end with the
first token of an answer, which would otherwise change under the reader's eyes. The server applies
its own chat template to the words of `rarl.prompts`, so one picture asks what the local engine
asks.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from threading import Condition, Event
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from openai import APIError, APIStatusError, APITimeoutError, DefaultHttpxClient, OpenAI
from openai.types import Model
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from PIL import Image

from rarl.errors import ModelError, QuestionError, UnreachableError
from rarl.inference.composite import side_by_side
from rarl.inference.engine import Answer, Arm, Question, Seen, arm_label
from rarl.prompts import messages, words_of
from rarl.response import Mode, parse_response

# What a server says that has too much to do.
_BUSY = frozenset({429, 503, 529})


class EndpointEngine:
    """Asks models of a server, so many at once; see `Engine`.

    Args:
        url: where the server's `/v1` is, say http://127.0.0.1:8000/v1.
        model: the server's name of the base; None takes the one that it lists, leaving LoRAs aside.
        arms: arm name to the server's model, taken as they are; None offers the base, and each of
            sft, rl and rarl that the server lists.
        key: API key, for servers that want one.
        concurrency: most requests at once of `answer_batch` and `answer_each`; fewer while the
            server says that it is busy.
        retries: how often a request is tried again before it is given up.
        timeout: seconds without a word from the server after which a request has failed.

    Raises:
        UnreachableError: the server does not answer.
        ModelError: it does not list the model, or the address is none.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        arms: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
        concurrency: int = 8,
        retries: int = 5,
        timeout: float = 300.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ModelError(
                f"{_shown(url)} is not the address of a server; give one such as "
                "http://127.0.0.1:8000/v1."
            )
        self._where = _shown(url)
        # Servers on one's own machine want no key, but the client does.
        self._client = OpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=timeout,
            max_retries=retries,
            http_client=DefaultHttpxClient(
                timeout=timeout, event_hooks={"response": [self._answered]}
            ),
        )
        self._concurrency = concurrency
        self._gate = Gate(concurrency)
        if arms is None:
            listed = self._listed()
            model = model or _base_of(listed)
            if model is None:
                raise ModelError(
                    f"The server at {self._where} does not list its models; name one with --model."
                )
            names = {model.id for model in listed}
            if names and model not in names:
                raise ModelError(
                    f"The server has no model {model!r}; it has {', '.join(sorted(names))}."
                )
            arms = {"base": model} | {arm: arm for arm in ("sft", "rl", "rarl") if arm in names}
        self._models = dict(arms)
        self._name = model or next(iter(self._models.values()))
        self._arms = tuple(Arm(arm, arm_label(arm), "", chats=True) for arm in self._models)

    @property
    def model_name(self) -> str:
        """The server's name of the base."""
        return self._name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer; a server does not tell their weights, so revisions are "" ."""
        return self._arms

    @property
    def requests_at_once(self) -> int:
        """How many requests may be under way now, as far as the server has let it be known."""
        return self._gate.limit

    def seen(self, image: Image.Image) -> Seen:
        """Not known here: the server resizes.

        Raises:
            QuestionError: always.
        """
        raise QuestionError("What the model sees is known only where the model runs.")

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """Yield all arms' answers so far; see `Engine.stream`.

        Each arm is a request of its own. One that breaks off leaves `Answer.failure`.

        Raises:
            QuestionError: at once, not with the first item.
        """
        urls = self._checked([question])
        return side_by_side(
            [
                (single, partial(self._streamed, single, urls))
                for single in (replace(question, arms=(arm,)) for arm in question.arms)
            ],
            stop or Event(),
        )

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Ask every arm every question, `concurrency` at a time; one tuple per question.

        Raises:
            QuestionError: a question is empty or too long, or an arm is not on offer.
            ModelError: the server failed for good; what was answered before is kept by the run.
        """
        urls = self._checked(questions)
        with ThreadPoolExecutor(self._concurrency) as pool:
            asked = [
                [pool.submit(self._ask, question, arm, urls) for arm in question.arms]
                for question in questions
            ]
            try:
                return [tuple(answer.result() for answer in answers) for answers in asked]
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def answer_each(
        self, questions: Iterable[Question]
    ) -> Iterator[tuple[int, tuple[Answer, ...]]]:
        """Keep `concurrency` requests under way; see `AnswersAsTheyCome`.

        Raises:
            QuestionError: a question is empty or too long, or an arm is not on offer.
            ModelError: the server failed for good; what was answered before has been handed over.
        """
        waiting = enumerate(questions)
        arrived: dict[int, dict[str, Answer]] = {}
        asked: dict[int, Question] = {}
        running: dict[Future[Answer], tuple[int, str]] = {}
        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                while True:
                    while len(running) < self._concurrency:
                        following = next(waiting, None)
                        if following is None:
                            break
                        place, question = following
                        urls = self._checked([question])
                        asked[place], arrived[place] = question, {}
                        for arm in question.arms:
                            running[pool.submit(self._ask, question, arm, urls)] = (place, arm)
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    # Failures last, so that what came with them is handed over.
                    for request in sorted(
                        done, key=lambda finished: finished.exception() is not None
                    ):
                        place, arm = running.pop(request)
                        arrived[place][arm] = request.result()
                        if len(arrived[place]) == len(asked[place].arms):
                            whole = arrived.pop(place)
                            yield place, tuple(whole[name] for name in asked.pop(place).arms)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _answered(self, response: Any) -> None:
        """Told of every response, repeated requests included."""
        self._gate.told(response.status_code in _BUSY)

    def _checked(self, questions: Sequence[Question]) -> dict[int, str]:
        """Each picture's identity to its address; raises `QuestionError` where one cannot be asked.

        Within one call every picture is alive, so that its identity is a safe shortcut.
        """
        urls: dict[int, str] = {}
        for question in questions:
            for arm in question.arms:
                if arm not in self._models:
                    raise QuestionError(
                        f"There is no arm {arm!r}; choose from {', '.join(self._models)}."
                    )
            messages(words_of(question), [named.name for named in question.images])
            for named in question.images:
                if id(named.image) not in urls:
                    urls[id(named.image)] = _data_url(named.image)
        return urls

    def _ask(self, question: Question, arm: str, urls: Mapping[int, str]) -> Answer:
        started = perf_counter()
        try:
            with self._gate:
                made = self._client.chat.completions.create(**self._request(question, arm, urls))
        except APIError as error:
            raise ModelError(
                f"{self._trouble(error)} See its log, then run the same command again: answered "
                "rows are kept."
            ) from error
        received = _Received()
        if made.choices:
            received.add(made.choices[0].message)
        return Answer(
            arm=arm,
            response=parse_response(received.text(question.mode), question.mode),
            tokens=made.usage.completion_tokens if made.usage else 0,
            seconds=perf_counter() - started,
            done=True,
        )

    def _streamed(
        self, question: Question, urls: Mapping[int, str]
    ) -> Iterator[tuple[Answer, ...]]:
        """One arm's answer as it grows."""
        started = perf_counter()
        (arm,) = question.arms
        received, tokens, ended = _Received(), 0, False

        def answer() -> tuple[Answer, ...]:
            response = parse_response(received.text(question.mode), question.mode)
            return (Answer(arm, response, tokens, perf_counter() - started, ended),)

        try:
            # Leaving the block closes the connection, upon which servers end the generation.
            with self._client.chat.completions.create(
                **self._request(question, arm, urls),
                stream=True,
                stream_options={"include_usage": True},
            ) as chunks:
                for chunk in chunks:
                    if chunk.usage:
                        tokens = chunk.usage.completion_tokens
                    if not chunk.choices:
                        continue
                    # The end is told before the count of tokens, so the loop goes on after it.
                    ended = ended or chunk.choices[0].finish_reason is not None
                    if received.add(chunk.choices[0].delta):
                        tokens += 1  # until the server says how many: mostly one in each piece
                    if not ended:
                        yield answer()
        except APIError as error:
            kept = (
                " What came so far is kept; ask again." if received else " Ask again in a minute."
            )
            raise ModelError(self._trouble(error) + kept) from error
        if not ended:
            raise ModelError(
                f"The server at {self._where} broke off in the middle of the answer. What came so "
                "far is kept; ask again."
            )
        yield answer()

    def _request(self, question: Question, arm: str, urls: Mapping[int, str]) -> dict[str, Any]:
        drawn = question.decoding
        return {
            "model": self._models[arm],
            "messages": _turns(question, arm, urls),
            "max_tokens": drawn.max_new_tokens,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "seed": drawn.seed,
        }

    def _trouble(self, error: APIError) -> str:
        """An error message that quotes nothing of the request."""
        if isinstance(error, APIStatusError):
            return f"The server at {self._where} refused with status {error.status_code}."
        if isinstance(error, APITimeoutError):
            return f"The server at {self._where} is silent for too long."
        return f"The server at {self._where} does not answer."

    def _listed(self) -> list[Model]:
        """The server's models; none where it keeps no list."""
        try:
            return list(self._client.models.list())
        except APIError as error:
            if isinstance(error, APIStatusError) and error.status_code < 500:
                return []
            # A proxy without its server behind it is no better than nobody.
            raise UnreachableError(
                f"The server at {self._where} does not answer; start it, or correct --endpoint."
            ) from error


class Gate:
    """Lets so many requests through at once, and fewer while the server says that it is busy.

    The limit halves when a busy server is seen, at most once for as many responses as were under
    way, and grows by one for as many good responses as it allows at once (as TCP does).

    Args:
        most: requests at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit = most
        self._inside = 0
        self._good = 0
        self._spared = 0
        self._free = Condition()

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return self._limit

    def __enter__(self) -> None:
        with self._free:
            self._free.wait_for(lambda: self._inside < self._limit)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._free:
            self._inside -= 1
            self._free.notify_all()

    def told(self, busy: bool) -> None:
        """Take note of a response."""
        with self._free:
            self._spared = max(0, self._spared - 1)
            if busy:
                self._good = 0
                if not self._spared:
                    self._spared = self._limit
                    self._limit = max(1, self._limit // 2)
                return
            self._good += 1
            if self._good >= self._limit and self._limit < self._most:
                self._good = 0
                self._limit += 1
                self._free.notify_all()


def _base_of(listed: Sequence[Model]) -> str | None:
    """The first model that is no LoRA on another (vLLM names a LoRA's base as its parent)."""
    return next((model.id for model in listed if not (model.model_extra or {}).get("parent")), None)


@dataclass
class _Received:
    """Text of a model whose server may split off the reasoning.

    transformers' and vLLM's servers can do so, under one of two names outside the protocol. In
    which order the parts stood is lost: the one that the mode asks for is taken.
    """

    content: str = ""
    reasoning: str = ""

    def __bool__(self) -> bool:
        return bool(self.content or self.reasoning)

    def add(self, part: ChatCompletionMessage | ChoiceDelta) -> bool:
        """Take a message or a piece of one; whether there was anything in it."""
        extra = part.model_extra or {}
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        thought = thought if isinstance(thought, str) else ""
        self.content += part.content or ""
        self.reasoning += thought
        return bool(part.content or thought)

    def text(self, mode: Mode) -> str:
        if not self.reasoning or "<think>" in self.content:
            return self.content
        thought = f"<think>{self.reasoning}"
        if mode == "answer-then-reason":
            return f"{self.content}{thought}</think>"
        # While it streams, reasoning is closed by the first word of what follows.
        return f"{thought}</think>{self.content}" if self.content else thought


def _turns(question: Question, arm: str, urls: Mapping[int, str]) -> Any:
    """The conversation with its pictures inside, as the protocol wants it."""
    images = iter(question.images)
    earlier = [
        (words_of(turn), turn.answers[arm]) for turn in question.earlier if arm in turn.answers
    ]
    names = [named.name for named in question.images]
    turns = messages(words_of(question), names, earlier)
    return [
        {
            "role": turn["role"],
            "content": [
                {"type": "image_url", "image_url": {"url": urls[id(next(images).image)]}}
                if part["type"] == "image"
                else part
                for part in turn["content"]  # type: ignore[attr-defined]
            ],
        }
        for turn in turns
    ]


def _data_url(image: Image.Image) -> str:
    """PNG inside its own address: lossless, and without any metadata."""
    buffer = io.BytesIO()
    bare = Image.new("RGB", image.size)
    bare.paste(image.convert("RGB"))
    bare.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _shown(url: str) -> str:
    """An address without a password that it may hold."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    return f"{parts.hostname}{port}" if parts.hostname else "the address given"
