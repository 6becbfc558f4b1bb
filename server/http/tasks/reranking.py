"""``/v1/rerank`` as Jina, Cohere and vLLM have it, and ``/v2/rerank`` of Cohere."""

from __future__ import annotations

import uuid
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from server.http.bodies import json_body
from server.http.rest.requests import Body, validated
from server.http.tasks.door import Answer, TaskDoor, heed_deadline

PREFIXES = ("rerank-", "jina-reranker")
"""Names of hosted models that clients have built in begin so; they mean whichever is here."""


class Document(Body):
    """A document as an object."""

    text: str


class RerankBody(Body):
    """The body. Documents that are too long are cut, as there."""

    model: str = "auto"
    query: str
    documents: Annotated[tuple[str | Document, ...], Field(min_length=1, max_length=1000)]
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = False

    @property
    def texts(self) -> list[str]:
        """The documents as text."""
        return [one if isinstance(one, str) else one.text for one in self.documents]


class Reranking:
    """The handlers."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def post(self, request: web.Request) -> web.Response:
        """With who did it and how many tokens were read."""
        body = validated(RerankBody, await json_body(request))
        answer, rows = await self._ranked(request, body)
        usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
        whole = {"id": f"rerank-{uuid.uuid4().hex}", "model": answer.model, "results": rows, "usage": usage}
        return await self._door.answered(whole, headers=answer.headers)

    async def second(self, request: web.Request) -> web.Response:
        """Cohere's second version."""
        body = validated(RerankBody, await json_body(request))
        answer, rows = await self._ranked(request, body)
        meta = {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}}
        return await self._door.answered(
            {"id": str(uuid.uuid4()), "results": rows, "meta": meta}, headers=answer.headers
        )

    async def _ranked(self, request: web.Request, body: RerankBody) -> tuple[Answer, list[dict[str, Any]]]:
        heed_deadline(request)
        model = "auto" if body.model.startswith(PREFIXES) and not await self._is_here(body.model) else body.model
        runner = await self._door.runner("text-ranking", model)
        item = {"query": body.query, "documents": body.texts}
        parameters = {"top_n": body.top_n, "truncate": True}
        names = {"query": "query", "documents": "documents", "parameters.top_n": "top_n"}
        answer = await self._door.run(runner, [item], parameters, names)
        rows = [{"index": row["index"], "relevance_score": row["score"]} for row in answer.done[0].output]
        if body.return_documents:
            rows = [{**row, "document": {"text": body.texts[row["index"]]}} for row in rows]
        return answer, rows

    async def _is_here(self, model: str) -> bool:
        await self._door.tasks.look("text-ranking")
        return model in self._door.tasks.models("text-ranking")
