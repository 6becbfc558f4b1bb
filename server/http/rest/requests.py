"""What bodies of requests have in common: checked by pydantic, and every error names the field and what is legal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipelines.text import unknown
from server.http.errors import HttpError

_LONGEST_SHOWN = 60
"""Characters of a wrong value that are repeated."""
_KIND = re.compile(r"(str|int|float|bool|tuple|list|dict|none)$|\w+\[")
"""Kinds of value that pydantic has tried, which it puts into the place of an error."""
_TAGS = frozenset({"text", "image_url"})
"""Kinds of parts, which pydantic puts into the place of an error beside its names."""


class Body(BaseModel):
    """Data that may hold nothing else than its fields. ``None`` is as good as a field that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {name: given for name, given in value.items() if given is not None}
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Says of ``None`` what :meth:`_without_nulls` does."""
        made = handler(core)
        schema = handler.resolve_ref_schema(made)
        properties = schema.get("properties", {})
        for name in properties.keys() - set(schema.get("required", ())):
            if properties[name].get("type") != "null" and {"type": "null"} not in properties[name].get("anyOf", ()):
                properties[name] = {"anyOf": [properties[name], {"type": "null"}]}
        return made


B = TypeVar("B", bound=Body)


def validated(kind: type[B], data: Any) -> B:
    """``data`` as what a handler reads. Raises :class:`HttpError` (400) naming the first field that is wrong."""
    if not isinstance(data, Mapping):
        raise HttpError(400, "invalid_body", "the body must be a JSON object")
    for name, value in data.items():
        if value is not None and name not in kind.model_fields:
            message = unknown("field", str(name)[:_LONGEST_SHOWN], sorted(kind.model_fields))
            raise HttpError(400, "unknown_parameter", message, str(name)[:_LONGEST_SHOWN])
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problem = _likeliest(error.errors(include_url=False))
    param = _place(problem["loc"])
    code = "missing_parameter" if problem["type"] == "missing" else "invalid_value"
    raise HttpError(400, code, f"{param}: {_words(problem)}", param)


def refuse(param: str, message: str, code: str = "unsupported_value") -> HttpError:
    """The answer to a field that is understood and cannot be honoured."""
    return HttpError(400, code, f"{param}: {message}", param)


def _likeliest(problems: Sequence[Any]) -> Any:
    """The first problem; where a field may be of several kinds, that of the kind which was given."""
    first = problems[0]
    same = [one for one in problems if one["loc"][:1] == first["loc"][:1]]
    return next((one for one in same if one["type"] not in ("string_type", "tuple_type")), first)


def _place(loc: tuple[int | str, ...]) -> str:
    loc = tuple(part for n, part in enumerate(loc) if not (n and isinstance(part, str) and _KIND.match(part)))
    parts = [part for n, part in enumerate(loc) if not (n and isinstance(loc[n - 1], int) and part in _TAGS)]
    return ".".join(str(part)[:_LONGEST_SHOWN] for part in parts)


def _words(problem: Any) -> str:
    if problem["type"] == "extra_forbidden":
        return "there is no such field here"
    if problem["type"] == "none_required":
        return "is not supported here and must be left out"
    message = str(problem["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    given = problem.get("input")
    shown = isinstance(given, str | int | float) and problem["type"] not in ("value_error", "missing")
    return f"{message}, not {ascii(given)[:_LONGEST_SHOWN]}" if shown else message
