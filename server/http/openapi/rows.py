"""What the rows of the table are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from server.http.openapi.shapes import Error

Schema = type[BaseModel] | dict[str, Any]
"""A pydantic model, or JSON Schema as it is."""
TEXT: dict[str, Any] = {"type": "string"}
BYTES: dict[str, Any] = {}
"""Anything at all: that is how OpenAPI 3.1 says it of bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: content type → what it holds. ``events`` are those of a ``text/event-stream``."""

    words: str
    content: Mapping[str, Schema] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    events: tuple[type[BaseModel], ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    """As the router has it (``resource.canonical``)."""
    tag: str
    summary: str
    answers: Mapping[int, Answer]
    body: Mapping[str, Schema] = field(default_factory=dict)
    """Content type → what it holds."""
    query: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    """Parameter → its schema, and what it does."""
    headers: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    """The same of headers."""
    refuses: tuple[int, ...] = ()
    """Statuses of errors beside those of every route."""
    words: str = ""
    """What the summary does not say."""


def json_answer(words: str, *shapes: Schema) -> Answer:
    """A JSON response, of one of the shapes."""
    return Answer(words, {"application/json": shapes[0]} if len(shapes) == 1 else {"application/json": any_of(*shapes)})


def event_answer(words: str, content: Mapping[str, Schema], *events: type[BaseModel]) -> Answer:
    """A response that may be streamed as server-sent events instead of its ``content``."""
    return Answer(words, {**content, "text/event-stream": TEXT}, events=(*events, Error))


def any_of(*shapes: Schema) -> dict[str, Any]:
    """One of several; models among them become references when the document is made."""
    return {"anyOf": list(shapes)}
