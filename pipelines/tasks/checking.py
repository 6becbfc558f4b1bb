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
        words = explained(error.errors(include_url=False)[0])
    field, separator, _ = words.partition(": ")
    if not (separator and field.replace(".", "").replace("_", "").isalnum()):
        words = f"{before.rstrip('.') or 'inputs'}: {words}"
        before = ""
    raise TaskError("invalid_value", f"{before}{words[:_LONGEST]}")
