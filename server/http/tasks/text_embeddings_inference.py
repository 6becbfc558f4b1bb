"""``/embed``, ``/rerank`` and ``/predict`` of Hugging Face's text-embeddings-inference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from server.http.bodies import json_body
from server.http.rest.requests import Body, refuse, validated
from server.http.tasks.door import MOST_ITEMS, TaskDoor, heed_deadline

Texts = Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_ITEMS)]
Direction = Literal["left", "right", "Left", "Right"]


class EmbedBody(Body):
    """The body of ``/embed``."""

    inputs: str | Texts
    normalize: bool = True
    truncate: bool = False
    truncation_direction: Direction = "right"
    prompt_name: str | None = None
    dimensions: int | None = None
    model: str = "auto"


class RerankTextsBody(Body):
    """The body of ``/rerank``."""

    query: str
    texts: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool = False
    truncation_direction: Literal["right", "Right"] = "right"
    model: str = "auto"


class PredictBody(Body):
    """The body of ``/predict``: a text, a list of one or two texts (a pair), or a list of such lists."""

    inputs: str | Texts | Annotated[tuple[Texts, ...], Field(min_length=1, max_length=MOST_ITEMS)]
    raw_scores: bool = False
    truncate: bool = False
    truncation_direction: Literal["right", "Right"] = "right"
    model: str = "auto"


class TextEmbeddingsInference:
    """The handlers."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def embed(self, request: web.Request) -> web.Response:
        """A list of vectors, also for a single text."""
        heed_deadline(request)
        body = validated(EmbedBody, await json_body(request))
        single = isinstance(body.inputs, str)
        items = [{"text": text} for text in ([body.inputs] if single else body.inputs)]
        fields = body.model_dump(include={"normalize", "truncate", "prompt_name", "dimensions"})
        parameters = {**fields, "truncation_direction": body.truncation_direction.lower()}
        names = {"text": "inputs", **{f"parameters.{name}": name for name in parameters}}
        runner = await self._door.runner("feature-extraction", body.model)
        answer = await self._door.run(runner, items, parameters, names, numbered=not single)
        return await self._door.answered([done.output for done in answer.done], headers=answer.headers)

    async def rerank(self, request: web.Request) -> web.Response:
        """Texts, the best first."""
        heed_deadline(request)
        body = validated(RerankTextsBody, await json_body(request))
        item = {"query": body.query, "documents": body.texts}
        runner = await self._door.runner("text-ranking", body.model)
        parameters = {"raw_scores": body.raw_scores, "truncate": body.truncate}
        answer = await self._door.run(runner, [item], parameters, {"documents": "texts", "query": "query"})
        rows = [dict(row) for row in answer.done[0].output]
        if body.return_text:
            rows = [{**row, "text": body.texts[row["index"]]} for row in rows]
        return await self._door.answered(rows, headers=answer.headers)

    async def predict(self, request: web.Request) -> web.Response:
        """The labels of a text or of each of several."""
        heed_deadline(request)
        body = validated(PredictBody, await json_body(request))
        given: Any = body.inputs
        several = not isinstance(given, str) and not isinstance(given[0], str)
        items = [
            _texts(f"inputs.{n}" if several else "inputs", one) for n, one in enumerate(given if several else [given])
        ]
        parameters: dict[str, Any] = {"truncate": body.truncate}
        if body.raw_scores:
            parameters["function_to_apply"] = "none"
        runner = await self._door.runner("text-classification", body.model)
        answer = await self._door.run(runner, items, parameters, {"text": "inputs"}, numbered=several)
        outputs = [done.output for done in answer.done]
        return await self._door.answered(outputs if several else outputs[0], headers=answer.headers)


def _texts(field: str, given: Any) -> dict[str, str]:
    texts = [given] if isinstance(given, str) else list(given)
    if len(texts) > 2:
        raise refuse(
            field, "holds one text, or two that make a pair: several are written as [[…], […]]", "invalid_value"
        )
    return dict(zip(("text", "text_pair"), texts, strict=False))
