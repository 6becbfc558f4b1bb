"""Events → the text of data channel messages that the peer can take. Pure.

A peer says in its session description how large a message may be (``a=max-message-size``, RFC 8841 §6): 64 KiB when
it says nothing, 256 KiB for browsers, anything for others. What is larger is split where that loses nothing (deltas)
and shortened everywhere else, with a mark.
"""

from __future__ import annotations

import json
import math
from typing import Any

from server.dialects.openai.shapes import Json, server_event

MARK = "…"
"""Stands where a text was cut."""
_SHORTEST_TEXT = 32
"""Characters that are left of a text at least."""
_WHOLE = frozenset({"type", "id", "event_id", "item_id", "previous_item_id", "response_id", "code", "param"})
"""Fields whose text is never cut."""


def encode(event: Json) -> str:
    """JSON in UTF-8, unescaped: an escaped emoji takes three times the space. Half surrogate pairs become ``\\ufffd``,
    and numbers that are none ``null``."""
    try:
        text = json.dumps(event, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _whole(text)


def messages(event: Json, largest: int) -> list[str]:
    """The event as messages of at most ``largest`` bytes of UTF-8; none when it cannot be made that small."""
    text = encode(event)
    if _size(text) <= largest:
        return [text]
    delta = event.get("delta")
    if isinstance(delta, str) and delta:
        return _split(event, _whole(delta), largest)
    shortened = _shorten(event, largest)
    return [] if shortened is None else [shortened]


def _whole(text: str) -> str:
    """Halves of surrogate pairs put together where they are neighbours, and replaced where they are not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _split(event: Json, delta: str, largest: int) -> list[str]:
    """Several deltas that together say the same."""
    size = _size(encode(event))
    around = _size(encode({**event, "delta": ""}))
    if around + 16 > largest:
        return []
    step = max(1, len(delta) * (largest - around) // (size - around))
    pieces = []
    place = 0
    while place < len(delta):
        length = step
        while True:
            part = {**event, "delta": delta[place : place + length]}
            text = encode(part if place == 0 else {**part, "event_id": server_event("")["event_id"]})
            if _size(text) <= largest or length == 1:
                break
            length = max(1, length * 3 // 4)
        pieces.append(text)
        place += length
    return pieces


def _shorten(event: Json, largest: int) -> str | None:
    """The event with its longest texts cut, and then with its largest parts left out."""
    event = {**event, "shortened": True}
    longest = _longest_text(event)
    while longest > _SHORTEST_TEXT:
        text = encode(_cut(event, longest))
        if (size := _size(text)) <= largest:
            return text
        longest = max(_SHORTEST_TEXT, min(longest * 9 // 10, longest * largest // size))
    event = _cut(event, _SHORTEST_TEXT)
    while _size(text := encode(event)) > largest:
        if not _leave_out_largest(event):
            return None
    return text


def _longest_text(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return max((_longest_text(part) for name, part in value.items() if name not in _WHOLE), default=0)
    return max(map(_longest_text, value), default=0) if isinstance(value, list) else 0


def _cut(value: Any, longest: int) -> Any:
    """A copy in which no text is longer than ``longest`` characters."""
    if isinstance(value, str):
        return value if len(value) <= max(longest, _SHORTEST_TEXT) else value[: longest - 1] + MARK
    if isinstance(value, dict):
        return {name: part if name in _WHOLE else _cut(part, longest) for name, part in value.items()}
    return [_cut(part, longest) for part in value] if isinstance(value, list) else value


def _leave_out_largest(event: Json) -> bool:
    """Take the largest object out of the event's objects, or half of its largest list; ``False`` when there is none.

    The event's own fields stay: what they are called is what clients look for.
    """
    found: tuple[int, Any, Any] | None = None
    waiting: list[tuple[Any, int]] = [(event, 0)]
    while waiting:
        holder, depth = waiting.pop()
        for key, part in holder.items() if isinstance(holder, dict) else enumerate(holder):
            if not isinstance(part, dict | list) or not part:
                continue
            waiting.append((part, depth + 1))
            if depth > 0 or isinstance(part, list):
                size = len(encode({"": part}))
                if found is None or size > found[0]:
                    found = (size, holder, key)
    if found is None:
        return False
    _, holder, key = found
    if isinstance(holder[key], list):
        holder[key] = holder[key][: len(holder[key]) // 2]
    else:
        del holder[key]
    return True


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
