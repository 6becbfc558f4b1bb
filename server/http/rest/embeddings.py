"""``POST /v1/embeddings``: texts as vectors, by the embedding model of the catalogue that is here."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BeforeValidator, Field

from pipelines.engines.embedding.sentences import MOST_TOKENS, SentenceEmbedder, Vectors, sentence_plan
from pipelines.errors import ModelError
from pipelines.models.residency import Residency
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.runtime.worker import Worker
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.http.rest.engine_names import check_name
from server.http.rest.requests import Body, refuse, validated
from server.http.rest.serving import Places

TASK, LIBRARY = "embedding", "onnxruntime"
"""Of the catalogue's models that can be served."""
MOST_TEXTS = 2048


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
    """The handler. The model is looked for when it is first asked for, so that one that is pulled later serves, too."""

    def __init__(self, store: ModelStore, residency: Residency, reader: Worker) -> None:
        self._store = store
        self._residency = residency
        self._reader = reader
        self._places = Places(1, 32)
        self._embedder: SentenceEmbedder | None = None
        self._finding = asyncio.Lock()
        self._ids = [model.id for model in store.catalogue.models if model.task == TASK and model.requires == LIBRARY]

    async def find(self) -> str | None:
        """The id of the model that is here, or ``None``; its files are compared, nothing is loaded."""
        async with self._finding:
            if self._embedder is None and (files := await self._reader.run(self._here)) is not None:
                self._embedder = SentenceEmbedder(self._residency.add(sentence_plan(files)))
        return self._embedder.name if self._embedder is not None else None

    async def post(self, request: web.Request) -> web.StreamResponse:
        """The vectors of the texts in the body."""
        body = validated(EmbeddingBody, await json_body(request))
        if await self.find() is None or (embedder := self._embedder) is None:
            message = f"no embedding model is here: visavis models pull {self._ids[0]}"
            raise HttpError(501, "model_not_here", message, "model")
        check_name("embed", embedder.name, body.model)
        async with self._places.place():
            texts = await _tokens(embedder, body)
            vectors = await embedder.embed(texts)
        size = len(vectors[0])
        if body.dimensions not in (None, size):
            raise refuse("dimensions", f"the vectors of {embedder.name} have {size} numbers, no more and no fewer")
        count = sum(map(len, texts))
        rest = {"object": "list", "model": embedder.name, "usage": {"prompt_tokens": count, "total_tokens": count}}
        text = await self._reader.run(_written, vectors, body.encoding_format, rest)
        return web.Response(text=text, content_type="application/json")

    def close(self) -> None:
        """End the model's thread."""
        if self._embedder is not None:
            self._embedder.close()

    def _here(self) -> ModelFiles | None:
        for model_id in self._ids:
            try:
                if (files := self._store.here(model_id)) is not None:
                    return files
            except ModelError:  # broken: as good as not here, and pulling it again mends it
                continue
        return None


async def _tokens(embedder: SentenceEmbedder, body: EmbeddingBody) -> list[list[int]]:
    """Each text as tokens of the model."""
    words = [text for text in body.input if isinstance(text, str)]
    encoded = iter(await embedder.encode(words) if words else [])
    texts = [next(encoded) if isinstance(text, str) else list(text) for text in body.input]
    most = await embedder.vocabulary()
    for n, (given, tokens) in enumerate(zip(body.input, texts, strict=True)):
        if not given:
            raise refuse(f"input.{n}", "is empty", "invalid_value")
        if len(tokens) > MOST_TOKENS:
            raise refuse(
                f"input.{n}",
                f"has {len(tokens)} tokens; {embedder.name} reads {MOST_TOKENS}: split it",
                "invalid_value",
            )
        if not isinstance(given, str) and max(tokens) >= most:
            what = f"{max(tokens)} is no token of {embedder.name}, which has its own {most:,}: send the text"
            raise refuse(f"input.{n}", what, "invalid_value")
    return texts


def _written(vectors: list[Vectors], kind: str, rest: dict[str, Any]) -> str:
    """The whole answer, row by row: as one, JSON of a million numbers would hold everybody up, from any thread."""
    rows = [
        json.dumps({"object": "embedding", "index": n, "embedding": _numbers(vector, kind)})
        for n, vector in enumerate(vectors)
    ]
    return f'{json.dumps(rest)[:-1]}, "data": [{", ".join(rows)}]}}'


def _numbers(vector: Vectors, kind: str) -> Any:
    """A vector as numbers, or as little-endian float32 in base64."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii") if kind == "base64" else vector.tolist()
