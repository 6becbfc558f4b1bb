"""The table of routes → the OpenAPI document. Pure."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from pipelines.runtime.worker import Worker
from server.http.auth import OPEN
from server.http.openapi.rows import Answer, Operation, Schema
from server.http.openapi.shapes import Error
from server.http.openapi.table import OPERATIONS, PARAMETERS

PATH = "/openapi.json"


def add_openapi(app: web.Application, *, keyed: bool) -> None:
    """Serve the document. ``keyed``: whether this server has an API key."""
    app.router.add_get(PATH, _Document(keyed).send)


class _Document:
    def __init__(self, keyed: bool) -> None:
        self._keyed = keyed
        self._making = asyncio.Lock()
        self._text: bytes | None = None

    async def send(self, request: web.Request) -> web.Response:
        """The document."""
        async with self._making:
            if self._text is None:
                worker = Worker("openapi")
                try:
                    self._text = await worker.run(_written, self._keyed)
                finally:
                    worker.close()
        return web.Response(body=self._text, content_type="application/json")


def _written(keyed: bool) -> bytes:
    from server.http.openapi.document import document  # its models take 0.1 s, and most servers are never asked

    return json.dumps(document(keyed=keyed), ensure_ascii=False).encode()


Json = dict[str, Any]
_MODE: JsonSchemaMode = "validation"
_ERRORS = {
    400: "the request cannot be read, or a field of it is wrong (`param` tells which)",
    401: "the API key is missing or wrong",
    403: "this server does not go by that name, or pages of that origin or clients may not use it",
    404: "there is nothing of that name",
    406: "the offer holds nothing that can be served",
    408: "the body did not arrive in time",
    409: "it is not clear which one is meant",
    412: "`If-Match` names another version",
    413: "the body is too large",
    415: "the body is of a kind that is not read here",
    416: "the range is not in the file",
    417: "only `100-continue` can be expected",
    422: "that cannot be changed while it runs, or not be done with this model",
    426: "this is a WebSocket",
    429: "too much of this is asked for or open already",
    500: "the server or an engine failed",
    501: "no engine here can do that",
    502: "the hub behind this one failed",
    503: "there is no room now, or an engine is away",
    504: "it was not done in the time that was given",
}
"""What every error means, unless its code says more."""
_EVERYWHERE = (400, 408, 413, 417, 429, 500, 503)
_GUARDED = (401, 403)
_TAGS = {
    "calls": "Sessions over WebRTC: sound, pictures, and events as docs/reference/protocol.md has them.",
    "WHIP": "Publishing by WHIP (RFC 9725), and watching by WHEP.",
    "Pipecat": "Sessions for Pipecat's SmallWebRTC clients, which speak RTVI.",
    "keys": "Short-lived keys for clients, and what they need before a call.",
    "REST": "The same engines for clients of OpenAI's REST API.",
    "tasks": "What models do with one item, as clients of several other servers ask for it.",
    "pipelines": "Pipelines of stages, as docs/reference/pipelines.md has them, on what a request brings.",
    "foresight": "Predictions: what comes next after a picture, in words and as a video.",
    "state": "Whether the server is well, and what serves.",
    "recordings": "What was recorded of a session, as long as it is kept.",
    "hub": "A Hugging Face hub for other machines: set their `HF_ENDPOINT` to this server.",
    "page": "The web client.",
}


def document(operations: Iterable[Operation] = OPERATIONS, *, keyed: bool) -> Json:
    """The whole document. ``keyed``: whether this server has an API key."""
    operations = list(operations)
    definitions, references = _definitions(operations)
    paths: Json = {}
    for row in operations:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, references, keyed=keyed)
    components: Json = {"schemas": definitions, "responses": {f"Error{status}": _error(status) for status in _ERRORS}}
    if keyed:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "the API key"}}
    about = "A self-hosted voice-and-vision assistant. Every error has the shape of `Error`."
    return {
        "openapi": "3.1.0",
        "info": {"title": "visavis", "version": _version(), "description": about},
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": paths,
        "components": components,
    }


def _version() -> str:
    try:
        return version("visavis")
    except PackageNotFoundError:  # run out of its folder
        return "0"


# ---------------------------------------------------------------------------------------------------- operations


def _operation(row: Operation, references: Mapping[type[BaseModel], Json], *, keyed: bool) -> Json:
    guarded = row.path not in OPEN
    refused = {*_EVERYWHERE, *row.refuses, *(_GUARDED if guarded else ())} - row.answers.keys()
    responses = {str(status): _answer(answer, references) for status, answer in row.answers.items()}
    responses |= {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in sorted(refused)}
    made: Json = {
        "operationId": _name(row),
        "tags": [row.tag],
        "summary": row.summary,
        **({"description": row.words} if row.words else {}),
        "responses": responses,
        "security": [{"key": []}] if keyed and guarded else [],
    }
    if parameters := _parameters(row):
        made["parameters"] = parameters
    if row.body:
        content = {kind: _content(kind, schema, references) for kind, schema in row.body.items()}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _name(row: Operation) -> str:
    words = re.findall(r"[A-Za-z0-9]+", row.path) or ["page"]
    return row.method.lower() + "".join(word[0].upper() + word[1:] for word in words)


def _parameters(row: Operation) -> list[Json]:
    found: list[Json] = []
    for name in re.findall(r"\{(\w+)\}", row.path):
        schema: Json = {"type": "string", "minLength": 1}
        found.append({"name": name, "in": "path", "required": True, "schema": schema, "description": PARAMETERS[name]})
    for name, (schema, words) in row.query.items():
        found.append({"name": name, "in": "query", "schema": schema, "description": words})
    for name, (schema, words) in row.headers.items():
        found.append({"name": name, "in": "header", "schema": schema, "description": words})
    return found


def _answer(answer: Answer, references: Mapping[type[BaseModel], Json]) -> Json:
    made: Json = {"description": answer.words}
    if answer.content:
        made["content"] = {kind: _content(kind, schema, references) for kind, schema in answer.content.items()}
    if answer.events:
        events = [references[event] for event in answer.events]
        made["content"]["text/event-stream"]["x-events"] = {"anyOf": events}  # 3.1 has no word for them
    if answer.headers:
        texts = answer.headers.items()
        made["headers"] = {name: {"description": words, "schema": {"type": "string"}} for name, words in texts}
    return made


def _content(kind: str, schema: Schema, references: Mapping[type[BaseModel], Json]) -> Json:
    made: Json = {"schema": _resolved(schema, references)}
    if kind == "multipart/form-data" and "session" in made["schema"].get("properties", ()):
        made["encoding"] = {"session": {"contentType": "application/json"}}
    return made


def _error(status: int) -> Json:
    made: Json = {"description": f"{HTTPStatus(status).phrase}: {_ERRORS[status]}"}
    made["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    if status in (429, 503):
        made["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return made


# ---------------------------------------------------------------------------------------------------- schemas


def _definitions(operations: Iterable[Operation]) -> tuple[Json, dict[type[BaseModel], Json]]:
    """The schemas of all models, and how each is referred to."""
    models: dict[type[BaseModel], None] = {Error: None}
    for row in operations:
        for schema in (
            *row.body.values(),
            *(one for answer in row.answers.values() for one in answer.content.values()),
        ):
            models |= dict.fromkeys(_models(schema))
        for answer in row.answers.values():
            models |= dict.fromkeys(answer.events)
    found, made = models_json_schema([(model, _MODE) for model in models], ref_template="#/components/schemas/{model}")
    return made.get("$defs", {}), {model: found[model, _MODE] for model in models}


def _models(schema: Any) -> list[type[BaseModel]]:
    """The models in a schema."""
    if isinstance(schema, type):
        return [schema]
    if isinstance(schema, dict | list):
        parts = schema.values() if isinstance(schema, dict) else schema
        return [model for part in parts for model in _models(part)]
    return []


def _resolved(schema: Any, references: Mapping[type[BaseModel], Json]) -> Any:
    """The schema with references in the place of models."""
    if isinstance(schema, type):
        return references[schema]
    if isinstance(schema, dict):
        return {name: _resolved(part, references) for name, part in schema.items()}
    return [_resolved(part, references) for part in schema] if isinstance(schema, list) else schema
