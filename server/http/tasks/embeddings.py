"""``POST /v1/embeddings`` of OpenAI: texts as vectors."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from aiohttp import web
from pydantic import BeforeValidator, Field

from pipelines.runtime.worker import Worker
from server.http.bodies import json_body
from server.http.rest.engine_names import ALIASES
from server.http.rest.requests import Body, validated
from server.http.tasks.door import TaskDoor, heed_deadline

TASK = "feature-extraction"
MOST_TEXTS = 2048
"""Texts in one request."""


def _as_texts(value: Any) -> Any:
    """One text, as a string or as tokens, is a list of one."""
    single = isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], int))
    return [value] if single else value


Token = Annotated[int, Field(ge=0, strict=True)]
Texts = tuple[str | tuple[Token, ...], ...]


class EmbeddingBody(Body):
    """The body."""

    input: Annotated[
        Texts,
        BeforeValidator(
            _as_texts, json_schema_input_type=str | tuple[Token, ...] | Annotated[Texts, Field(max_length=MOST_TEXTS)]
        ),
        Field(min_length=1, max_length=MOST_TEXTS),
    ]
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str = ""


class Embeddings:
    """The handler."""

    def __init__(self, door: TaskDoor, reader: Worker) -> None:
        self._door = door
        self._reader = reader

    async def find(self) -> str | None:
        """The id of the model that serves when none is named, or ``None``; nothing is loaded."""
        await self._door.tasks.look(TASK)
        return next(iter(self._door.tasks.models(TASK)), None)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The vectors of the texts in the body."""
        heed_deadline(request)
        body = validated(EmbeddingBody, await json_body(request))
        runner = await self._door.runner(TASK, "auto" if body.model in ALIASES["embed"] else body.model)
        items = [{"text": text if isinstance(text, str) else list(text)} for text in body.input]
        names = {"text": "input", "parameters.dimensions": "dimensions"}
        answer = await self._door.run(runner, items, {"dimensions": body.dimensions}, names, numbered=True)
        usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
        rest = {"object": "list", "model": answer.model, "usage": usage}
        vectors = [done.output for done in answer.done]
        rows = await self._reader.run(_rows, vectors, body.encoding_format)
        return await self._door.answered({**rest, "data": rows}, answer.headers)


def _rows(vectors: list[list[float]], kind: str) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": n, "embedding": _numbers(vector, kind)} for n, vector in enumerate(vectors)
    ]


def _numbers(vector: list[float], kind: str) -> Any:
    """A vector as numbers, or as little-endian float32 in base64."""
    return base64.b64encode(np.array(vector, "<f4").tobytes()).decode("ascii") if kind == "base64" else vector
