"""JSON from outside, read within bounds. Every body and every data channel message goes through :func:`read_json`.

Python's own reader goes as deep as its caller's stack allows (``RecursionError``, which is no ``ValueError``), takes
``NaN`` and ``Infinity``, and makes strings with halves of surrogate pairs that no encoder takes later. None of these is
JSON (RFC 8259), and each of them has ended a call.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic_core import from_json

MOST_VALUES = 20_000
"""Commas and opening brackets a text may have, wherever they stand: reading a million values would hold everybody's
audio up for 60 ms. An offer has a few dozen."""
DEEPEST = 200
"""Brackets inside each other, at least; pydantic's reader goes hardly any deeper."""
_LONG = 1 << 20
"""Bytes of a text in which looking at its values is quicker than looking for what a number too large may look like."""
_HUGE = re.compile(rb"\d[eE]\+?\d{3}")
"""What a number too large for a float looks like (and many another text)."""


class JsonInputError(ValueError):
    """What was sent is no JSON that is read here; the message tells why, in words for its sender."""

    code = "invalid_json"


def read_json(data: str | bytes) -> Any:
    """The value of a JSON text, UTF-8 when given as bytes. Raises :class:`JsonInputError`."""
    try:
        raw = data.encode() if isinstance(data, str) else data
        if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MOST_VALUES:
            raise JsonInputError(f"JSON with more than {MOST_VALUES:,} values is not read")
        value = from_json(raw, allow_inf_nan=False, cache_strings="none")
    except UnicodeEncodeError as error:
        raise JsonInputError("the text holds half a surrogate pair, which is no character") from error
    except ValueError as error:
        if isinstance(error, JsonInputError):
            raise
        raise JsonInputError(_explained(str(error))) from error
    if (len(raw) > _LONG or _HUGE.search(raw)) and _has_infinity(value):
        raise JsonInputError("a number in the JSON is too large")
    return value


def read_json_object(data: str | bytes, what: str) -> dict[str, Any]:
    """The same for a text that must be an object; ``what`` names it in the error."""
    value = read_json(data)
    if not isinstance(value, dict):
        raise JsonInputError(f"{what} must be a JSON object")
    return value


def _has_infinity(value: Any) -> bool:
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, float) and math.isinf(value):
            return True
    return False


def _explained(problem: str) -> str:
    """The reader's words, made clearer where they tell of its insides."""
    if problem.startswith("recursion limit"):
        return f"JSON may be nested {DEEPEST} deep: {problem}"
    if "hex escape" in problem:
        return f"this is no valid JSON (half a surrogate pair is no character): {problem}"
    return f"this is no valid JSON: {problem}"
