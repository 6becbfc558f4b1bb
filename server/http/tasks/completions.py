"""``POST /v1/completions`` of OpenAI: a text continued, or with ``suffix`` filled in; and ``/infill`` of llama.cpp."""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from pipelines.interfaces.task import Done
from pipelines.tasks.ensemble import EnsembleRunner
from pipelines.tasks.runner import ModelRunner
from server.http.bodies import json_body
from server.http.rest.requests import Body, refuse, validated
from server.http.rest.serving import event_stream
from server.http.tasks.door import TaskDoor, heed_deadline

ANY_MODEL = ("auto", "gpt-3.5-turbo-instruct", "davinci-002", "babbage-002")
"""Names that clients have built in → whichever is here."""
FINISH = {"length": "length", "eos_token": "stop", "stop_sequence": "stop"}
Token = Annotated[int, Field(ge=0, strict=True)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class CompletionStreamOptions(Body):
    """Of a stream."""

    include_usage: bool = False


class CompletionBody(Body):
    """The body."""

    model: str
    prompt: str | tuple[Token, ...] | Annotated[tuple[str | tuple[Token, ...], ...], Field(max_length=64)]
    suffix: str | None = None
    max_tokens: int = Field(16, ge=1, le=32_768)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1, le=8)
    stream: bool = False
    stream_options: CompletionStreamOptions = CompletionStreamOptions()
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool = False
    stop: Annotated[
        tuple[Stop, ...], BeforeValidator(_as_list, json_schema_input_type=str | tuple[str, ...]), Field(max_length=4)
    ] = ()
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    user: str = ""

    @property
    def prompts(self) -> list[Any]:
        """All of them."""
        if isinstance(self.prompt, str) or (self.prompt and isinstance(self.prompt[0], int)):
            return [self.prompt if isinstance(self.prompt, str) else list(self.prompt)]
        return [one if isinstance(one, str) else list(one) for one in self.prompt]  # type: ignore[arg-type]

    @property
    def parameters(self) -> dict[str, Any]:
        """As the task has them."""
        draws = {"temperature": self.temperature, "top_p": self.top_p} if self.temperature else {}
        more = {"top_n_tokens": self.logprobs} if self.logprobs else {}
        seed = {"seed": self.seed} if self.seed is not None else {}
        return {"max_new_tokens": self.max_tokens, "stop": list(self.stop), "details": True, **draws, **more, **seed}


NAMES = {
    "text": "prompt",
    "prefix": "prompt",
    "parameters.max_new_tokens": "max_tokens",
    **{f"parameters.{name}": name for name in ("temperature", "top_p", "stop", "seed")},
}


class Completions:
    """The handlers."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A text continued."""
        heed_deadline(request)
        body = validated(CompletionBody, await json_body(request))
        task = "text-generation" if body.suffix is None else "code-completion"
        runner = await self._door.runner(task, "auto" if body.model in ANY_MODEL else body.model)
        items = [_item(body, prompt) for prompt in body.prompts for _ in range(body.n)]
        if body.n > 1 and (not body.temperature or body.seed is not None):
            raise refuse("n", "with temperature 0 or a seed all would be the same")
        if body.stream:
            if len(items) != 1:
                raise refuse("stream", "takes one prompt and n 1")
            if body.echo:
                raise refuse("echo", "is not done with stream")
            return await self._streamed(request, runner, items[0], body)
        answer = await self._door.run(runner, items, body.parameters, NAMES)
        choices = [_choice(n, done, body, items[n]) for n, done in enumerate(answer.done)]
        whole = _head(answer.model) | {"choices": choices, "usage": _usage(answer.tokens, answer.answer_tokens)}
        return await self._door.answered(whole, headers=answer.headers)

    async def infill(self, request: web.Request) -> web.StreamResponse:
        """What stands between two texts, as llama.cpp's server is asked."""
        heed_deadline(request)
        body = validated(InfillBody, await json_body(request))
        runner = await self._door.runner("code-completion", body.model)
        names = {"prefix": "input_prefix", "suffix": "input_suffix", "extra": "input_extra"}
        names |= {"parameters.max_new_tokens": "n_predict"}
        if not body.stream:
            answer = await self._door.run(runner, [body.item], body.parameters, names)
            return await self._door.answered(_filled(answer.done[0]), headers=answer.headers)
        async with (
            self._door.stream(runner, body.item, body.parameters, names) as pieces,
            event_stream(request) as events,
        ):
            async for piece in pieces:
                if isinstance(piece, Done):
                    await events.send(_filled(piece) | {"content": ""})
                else:
                    await events.send({"content": piece["token"]["text"], "stop": False})
        return events.response

    async def _streamed(
        self, request: web.Request, runner: ModelRunner | EnsembleRunner, item: dict[str, Any], body: CompletionBody
    ) -> web.StreamResponse:
        async with (
            self._door.stream(runner, item, body.parameters, NAMES) as pieces,
            event_stream(request) as events,
        ):
            head, place = _head(runner.models[0].id), 0
            async for piece in pieces:
                if isinstance(piece, Done):
                    reason = FINISH[piece.output["details"]["finish_reason"]]
                    row = {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}
                    await events.send(head | {"choices": [row]})
                    if body.stream_options.include_usage:
                        usage = _usage(piece.tokens, piece.answer_tokens)
                        await events.send(head | {"choices": [], "usage": usage})
                else:
                    wanted = body.logprobs is not None
                    logprobs = _logprobs([piece], [piece.get("top_tokens")], place) if wanted else None
                    text = piece["token"]["text"]
                    place += len(text)
                    row = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": None}
                    await events.send(head | {"choices": [row]})
            await events.write("[DONE]")
        return events.response


def _item(body: CompletionBody, prompt: Any) -> dict[str, Any]:
    if body.suffix is None:
        return {"text": prompt}
    if not isinstance(prompt, str):
        raise refuse("prompt", "must be a text when there is a suffix")
    return {"prefix": prompt, "suffix": body.suffix}


def _head(model: str) -> dict[str, Any]:
    made = int(time.time())
    return {"id": f"cmpl-{uuid.uuid4().hex}", "object": "text_completion", "created": made, "model": model}


def _usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _choice(n: int, done: Done, body: CompletionBody, item: dict[str, Any]) -> dict[str, Any]:
    details = done.output["details"]
    before = item.get("text", item.get("prefix", "")) if body.echo else ""
    if not isinstance(before, str):
        raise refuse("echo", "needs a prompt that is text")
    logprobs = None
    if body.logprobs is not None:
        tokens = [{"token": token} for token in details["tokens"]]
        logprobs = _logprobs(tokens, details.get("top_tokens") or [None] * len(tokens), len(before))
    text = before + done.output["generated_text"]
    return {"index": n, "text": text, "logprobs": logprobs, "finish_reason": FINISH[details["finish_reason"]]}


def _logprobs(pieces: list[dict[str, Any]], top: list[Any], place: int) -> dict[str, Any]:
    """``place``: characters of the choice's text before them."""
    offsets = []
    for piece in pieces:
        offsets.append(place)
        place += len(piece["token"]["text"])
    return {
        "tokens": [piece["token"]["text"] for piece in pieces],
        "token_logprobs": [piece["token"]["logprob"] for piece in pieces],
        "top_logprobs": [{one["text"]: one["logprob"] for one in row} if row else None for row in top],
        "text_offset": offsets,
    }


class InfillFile(Body):
    """A file for context."""

    filename: str = ""
    text: str


class InfillBody(Body):
    """The body of ``/infill``."""

    input_prefix: str
    input_suffix: str
    input_extra: Annotated[tuple[InfillFile, ...], Field(max_length=50)] = ()
    prompt: str = ""
    """What the text between begins with."""
    model: str = "auto"
    n_predict: int = Field(128, ge=1, le=32_768)
    temperature: float = Field(0.0, ge=0, le=10)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    stop: Annotated[tuple[Stop, ...], Field(max_length=8)] = ()
    stream: Literal[True, False] = False

    @property
    def item(self) -> dict[str, Any]:
        """As the task has it."""
        files = [{"filename": file.filename, "text": file.text} for file in self.input_extra]
        return {"prefix": self.input_prefix, "suffix": self.input_suffix, "begun": self.prompt, "extra": files}

    @property
    def parameters(self) -> dict[str, Any]:
        """As the task has them."""
        draws: dict[str, Any] = {}
        if self.temperature:
            draws = {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k or None}
        return {
            "max_new_tokens": self.n_predict,
            "stop": list(self.stop),
            "details": True,
            "seed": self.seed,
            **draws,
        }


def _filled(done: Done) -> dict[str, Any]:
    kind = {"length": "limit", "eos_token": "eos", "stop_sequence": "word"}[done.output["details"]["finish_reason"]]
    return {
        "content": done.output["generated_text"],
        "stop": True,
        "stop_type": kind,
        "model": done.model,
        "tokens_predicted": done.answer_tokens,
        "tokens_evaluated": done.tokens,
    }
