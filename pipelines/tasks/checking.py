"""Items of tasks as their pydantic models read them, with errors that name the field and what is legal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.interfaces.task import TaskError
from pipelines.routing.stage_types import explained

B = TypeVar("B", bound=BaseModel)

_LONGEST = 400
"""Characters of an error."""


def checked(kind: type[B], given: Mapping[str, Any], before: str) -> B:
    """``given`` as ``kind``, where ``None`` is as good as a field that is not there.

    Raises :class:`TaskError` (``invalid_value``): ``FIELD: what is legal``, with ``before`` in front of the field.
    """
    try:
        return kind.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        problem: dict[str, Any] = dict(error.errors(include_url=False)[0])
    problem["loc"], path = (), ".".join(map(str, _path(tuple(problem["loc"]))))
    words = explained(problem)[:_LONGEST]
    field = before + path if path else before.rstrip(".") or "inputs"
    raise TaskError("invalid_value", f"{field}: {words}")


_KINDS = frozenset("str int float bool bytes tuple list dict none".split())


def _path(loc: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where the problem is, without the kinds of value that pydantic has tried there."""
    first, rest = loc[:1], loc[1:]
    return (*first, *(one for one in rest if isinstance(one, int) or (one.isidentifier() and one not in _KINDS)))
