"""JSON of any size as text. Python's writer keeps the interpreter to itself until a value is written, on any thread: an
answer of a million numbers would hold up everybody's audio for a second. So a large one is written in pieces, on a
worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any

from aiohttp import web

from pipelines.runtime.worker import Worker

_MOST_AT_ONCE = 2048
"""Numbers and short strings in one piece."""
_SHORT = 256
"""Characters of a string that counts as one value."""
_SLICE = 3 << 16
"""Characters or bytes of a longer one in one piece; a multiple of three, for base64."""
_SHORT_ANSWER = 4096
"""Values of an answer that is written at once where it is made, for a worker may have a long one in hand."""


def in_base64(value: object) -> str:
    """For ``json.dumps``: files that stand in a result. Raises :class:`TypeError` for what is none."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(f"{type(value).__name__} is no JSON")


async def json_answer(value: Any, writer: Worker, headers: Mapping[str, str] | None = None) -> web.Response:
    """``value`` as the body of a response; bytes in it are written in base64."""
    body = _whole(value, compact=False).encode() if is_short(value) else await writer.run(written, value)
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


def written(value: Any, *, compact: bool = False) -> bytes:
    """All of it. ``compact``: without blanks, and characters beyond ASCII as they are."""
    return "".join(pieces(value, compact=compact)).encode("utf-8", "replace")


def pieces(value: Any, *, compact: bool = False) -> Iterator[str]:
    """The same piece by piece; none takes long."""
    comma = "," if compact else ", "
    if isinstance(value, str) and len(value) > _SLICE:
        yield '"'
        for start in range(0, len(value), _SLICE):
            yield _whole(value[start : start + _SLICE], compact=compact)[1:-1]
        yield '"'
    elif isinstance(value, bytes) and len(value) > _SLICE:
        yield '"'
        for start in range(0, len(value), _SLICE):
            yield base64.b64encode(value[start : start + _SLICE]).decode("ascii")
        yield '"'
    elif isinstance(value, dict) and not (len(value) <= _MOST_AT_ONCE and all(map(_is_small, value.values()))):
        yield "{"
        for n, (key, one) in enumerate(value.items()):
            yield (comma if n else "") + _whole({key: 0}, compact=compact)[1:-2]  # all but the value
            yield from pieces(one, compact=compact)
        yield "}"
    elif isinstance(value, list | tuple):
        yield "["
        for n, part in enumerate(_parts(value)):
            yield comma if n else ""
            if isinstance(part, _Small):
                yield _whole(part.values, compact=compact)[1:-1]
            else:
                yield from pieces(part, compact=compact)
        yield "]"
    else:
        yield _whole(value, compact=compact)


def is_short(value: Any) -> bool:
    """Whether writing it at once takes no time to speak of; looks at no more of it than that."""
    waiting, count = [value], 0
    while waiting:
        one = waiting.pop()
        if isinstance(one, str | bytes):
            count += len(one) // _SHORT
        elif isinstance(one, dict | list | tuple):
            count += len(one)
            if count <= _SHORT_ANSWER:
                waiting.extend(one.values() if isinstance(one, dict) else one)
        if count > _SHORT_ANSWER:
            return False
    return True


class _Small:
    """Neighbours in a list that are written together."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values


def _parts(values: list[Any] | tuple[Any, ...]) -> Iterator[Any]:
    held: list[Any] = []
    for one in values:
        if _is_small(one):
            held.append(one)
        if held and (len(held) == _MOST_AT_ONCE or not _is_small(one)):
            yield _Small(held)
            held = []
        if not _is_small(one):
            yield one
    if held:
        yield _Small(held)


def _is_small(value: Any) -> bool:
    if isinstance(value, str | bytes):
        return len(value) <= _SHORT
    return not isinstance(value, dict | list | tuple)


def _whole(value: Any, *, compact: bool) -> str:
    if compact:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=in_base64)
    return json.dumps(value, default=in_base64)
