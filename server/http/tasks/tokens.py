"""``/tokenize`` and ``/detokenize`` as vLLM and text-embeddings-inference have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, model_validator

from pipelines.runtime.worker import Worker
from server.http.bodies import json_body
from server.http.rest.requests import Body, validated
from server.http.tasks.door import MOST_ITEMS, TaskDoor, heed_deadline

Ids = tuple[Annotated[int, Field(ge=0, strict=True)], ...]
Texts = Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_ITEMS)]


class TokenizeBody(Body):
    """The body of ``/tokenize``: ``prompt`` as with vLLM, or ``inputs`` as with text-embeddings-inference."""

    prompt: str | None = None
    inputs: str | Texts | None = None
    model: str = "auto"
    add_special_tokens: bool = True
    return_token_strs: bool = False
    """Of ``prompt``."""

    @model_validator(mode="after")
    def _one(self) -> TokenizeBody:
        if (self.prompt is None) == (self.inputs is None):
            raise ValueError("needs either prompt or inputs")
        return self


class DetokenizeBody(Body):
    """The body of ``/detokenize``: ``tokens`` as with vLLM, or ``ids`` as with text-embeddings-inference."""

    tokens: Ids | None = None
    ids: Ids | Annotated[tuple[Ids, ...], Field(min_length=1, max_length=MOST_ITEMS)] | None = None
    model: str = "auto"
    skip_special_tokens: bool = True
    """Of ``ids``."""

    @model_validator(mode="after")
    def _one(self) -> DetokenizeBody:
        if (self.tokens is None) == (self.ids is None):
            raise ValueError("needs either tokens or ids")
        return self


class Tokens:
    """The handlers."""

    def __init__(self, door: TaskDoor, reader: Worker) -> None:
        self._door = door
        self._reader = reader

    async def tokenize(self, request: web.Request) -> web.Response:
        """A text as tokens."""
        heed_deadline(request)
        body = validated(TokenizeBody, await json_body(request))
        runner = await self._door.runner("tokenize", body.model)
        parameters = {"add_special_tokens": body.add_special_tokens}
        if body.prompt is not None:
            answer = await self._door.run(runner, [{"text": body.prompt}], parameters, {"text": "prompt"})
            whole = await self._reader.run(_of_prompt, answer.done[0].output, body.return_token_strs)
            return await self._door.answered(whole, headers=answer.headers)
        texts = [body.inputs] if isinstance(body.inputs, str) else list(body.inputs or ())
        items = [{"text": text} for text in texts]
        answer = await self._door.run(runner, items, parameters, {"text": "inputs"}, numbered=len(items) > 1)
        return await self._door.answered([done.output["tokens"] for done in answer.done], headers=answer.headers)

    async def detokenize(self, request: web.Request) -> web.Response:
        """Tokens as a text."""
        heed_deadline(request)
        body = validated(DetokenizeBody, await json_body(request))
        runner = await self._door.runner("detokenize", body.model)
        if body.tokens is not None:
            names = {"tokens": "tokens"}
            answer = await self._door.run(runner, [{"tokens": list(body.tokens)}], {}, names)
            return await self._door.answered({"prompt": answer.done[0].output["text"]}, headers=answer.headers)
        ids: Any = body.ids
        several = bool(ids) and not isinstance(ids[0], int)
        items = [{"tokens": list(one)} for one in (ids if several else [ids])]
        parameters = {"skip_special_tokens": body.skip_special_tokens}
        answer = await self._door.run(runner, items, parameters, {"tokens": "ids"}, numbered=several)
        return await self._door.answered([done.output["text"] for done in answer.done], headers=answer.headers)


def _of_prompt(found: Mapping[str, Any], with_texts: bool) -> dict[str, Any]:
    """As vLLM tells it."""
    whole: dict[str, Any] = {"count": found["count"], "max_model_len": found["max_model_len"]}
    whole["tokens"] = [row["id"] for row in found["tokens"]]
    whole["token_strs"] = [row["text"] for row in found["tokens"]] if with_texts else None
    return whole
