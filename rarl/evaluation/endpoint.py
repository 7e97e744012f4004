"""The engine that answers through any OpenAI-compatible server.

Arms are models of the server (as `vllm serve --enable-lora --lora-modules sft=...` names them).
Retries with growing pauses on time-outs, 429 and 5xx are the openai client's own. The server
applies its own chat template to the words of `rarl.prompts`, so one picture asks what the local
engine asks.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from openai import APIConnectionError, APIError, APIStatusError, OpenAI
from openai.types.chat import ChatCompletionMessage
from PIL import Image

from rarl.errors import ModelError, QuestionError
from rarl.inference.engine import Answer, Arm, Question, Seen
from rarl.prompts import messages, user_text
from rarl.response import Mode, parse_response

_LABELS = {"base": "Base", "sft": "SFT", "rl": "RL", "rarl": "RARL"}


class EndpointEngine:
    """Asks models of a server, so many at once; see `Engine`.

    Args:
        url: where the server's `/v1` is, say http://127.0.0.1:8000/v1.
        model: the server's name of the base.
        arms: arm name to the server's model, taken as they are; None offers the base, and each of
            sft, rl and rarl that the server lists.
        key: API key, for servers that want one.
        concurrency: requests at once.
        retries: how often a request is tried again before the run gives up.
        timeout: seconds for one request.

    Raises:
        ModelError: the server cannot be reached, or does not list the model.
    """

    def __init__(
        self,
        url: str,
        model: str,
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
            base_url=url, api_key=key or "none", timeout=timeout, max_retries=retries
        )
        self._concurrency = concurrency
        self._name = model
        named = arms
        if named is None:
            listed = self._listed()
            if listed and model not in listed:
                raise ModelError(
                    f"The server has no model {model!r}; it has {', '.join(sorted(listed))}."
                )
            named = {"base": model} | {arm: arm for arm in ("sft", "rl", "rarl") if arm in listed}
        self._models = dict(named)
        self._arms = tuple(Arm(arm, _LABELS.get(arm, arm), "") for arm in self._models)

    @property
    def model_name(self) -> str:
        """The server's name of the base."""
        return self._name

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms on offer; a server does not tell their weights, so revisions are "" ."""
        return self._arms

    def seen(self, image: Image.Image) -> Seen:
        """Not known here: the server resizes.

        Raises:
            QuestionError: always.
        """
        raise QuestionError("What the model sees is known only where the model runs.")

    def stream(self, question: Question, stop: Event | None = None) -> Iterator[tuple[Answer, ...]]:
        """The whole answers at once, as soon as all arms have ended."""
        (answers,) = self.answer_batch([question])
        yield answers

    def answer_batch(self, questions: Sequence[Question]) -> list[tuple[Answer, ...]]:
        """Ask every arm every question, `concurrency` at a time; one tuple per question.

        Raises:
            QuestionError: a question is empty or too long, or an arm is not on offer.
            ModelError: the server failed for good; what was answered before is kept by the run.
        """
        urls: dict[int, str] = {}
        for question in questions:
            for arm in question.arms:
                if arm not in self._models:
                    raise QuestionError(
                        f"There is no arm {arm!r}; choose from {', '.join(self._models)}."
                    )
            for named in question.images:
                if id(named.image) not in urls:
                    urls[id(named.image)] = _data_url(named.image)
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

    def _ask(self, question: Question, arm: str, urls: Mapping[int, str]) -> Answer:
        started = perf_counter()
        drawn = question.decoding
        try:
            made = self._client.chat.completions.create(
                model=self._models[arm],
                messages=_turns(question, urls),
                max_tokens=drawn.max_new_tokens,
                temperature=drawn.temperature,
                top_p=drawn.top_p,
                seed=drawn.seed,
            )
        except APIStatusError as error:
            raise ModelError(
                f"The server at {self._where} refused with status {error.status_code}; see its "
                "log, then run the same command again: answered rows are kept."
            ) from error
        except (APIConnectionError, APIError) as error:
            raise ModelError(
                f"The server at {self._where} does not answer; start it, then run the same "
                "command again: answered rows are kept."
            ) from error
        text = _whole_text(made.choices[0].message, question.mode) if made.choices else ""
        return Answer(
            arm=arm,
            response=parse_response(text, question.mode),
            tokens=made.usage.completion_tokens if made.usage else 0,
            seconds=perf_counter() - started,
            done=True,
        )

    def _listed(self) -> set[str]:
        """The server's models; none where it keeps no list."""
        try:
            return {model.id for model in self._client.models.list()}
        except APIStatusError:
            return set()
        except (APIConnectionError, APIError) as error:
            raise ModelError(
                f"The server at {self._where} does not answer; start it, or correct --endpoint."
            ) from error


def _whole_text(message: ChatCompletionMessage, mode: Mode) -> str:
    """What the model wrote, where a server has cut the reasoning out of it as well.

    transformers' and vLLM's servers can do so, under one of two names outside the protocol. In
    which order the parts stood is lost: the one that the mode asks for is taken.
    """
    content = message.content or ""
    extra = message.model_extra or {}
    reasoning = extra.get("reasoning_content") or extra.get("reasoning")
    if not isinstance(reasoning, str) or "<think>" in content:
        return content
    thought = f"<think>{reasoning}</think>"
    return content + thought if mode == "answer-then-reason" else thought + content


def _turns(question: Question, urls: Mapping[int, str]) -> Any:
    """The chat turn with its pictures inside, as the protocol wants them."""
    names = [named.name for named in question.images]
    images = iter(question.images)
    (turn,) = messages(user_text(question.text, question.mode), names)
    content = [
        {"type": "image_url", "image_url": {"url": urls[id(next(images).image)]}}
        if part["type"] == "image"
        else part
        for part in turn["content"]  # type: ignore[attr-defined]
    ]
    return [{"role": turn["role"], "content": content}]


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
