"""What a session remembers, as text: it outlives the worker process that served it, and goes on in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from pipelines.interfaces.llm import Image
from pipelines.routing.run import Priority
from pipelines.vision.settings import VisionSettings
from pipelines.voice.history import FunctionCall, FunctionResult, HistoryItem, Item
from pipelines.voice.settings import ConversationSettings
from server.resumption import Remembered

LARGEST_STATE = 4 << 20
"""Bytes of a conversation that is handed over; the oldest items of a longer one stay behind."""


class HandoverError(ValueError):
    """What was handed over cannot be read."""


@dataclass(frozen=True, slots=True)
class _Message:
    id: str
    role: Literal["user", "assistant", "system"]
    text: str
    interrupted: bool
    images: tuple[Image, ...]
    spoken: bool


@dataclass(frozen=True, slots=True)
class _State:
    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")  # holds for all inside
    conversation: ConversationSettings
    vision: VisionSettings
    items: tuple[_Message | FunctionCall | FunctionResult, ...]
    priority: Priority = "normal"


_STATES = TypeAdapter(_State)


def to_text(what: Remembered) -> str:
    """As JSON, in at most :data:`LARGEST_STATE` bytes. When each word was heard stays behind: it only matters while the
    response sounds."""
    state = _State(what.conversation, what.vision, tuple(map(_plain, what.items)), what.priority)
    while True:
        text = _STATES.dump_json(state)
        if len(text) <= LARGEST_STATE or not state.items:
            return text.decode()
        state = replace(state, items=state.items[(len(state.items) + 1) // 2 :])


def from_text(text: str) -> Remembered:
    """Raises :class:`HandoverError`."""
    try:
        state = _STATES.validate_json(text)
    except ValidationError as error:
        raise HandoverError(f"not a conversation: {error.errors()[0]['msg']}") from error
    return Remembered(state.conversation, state.vision, _items(state.items), state.priority)


def _plain(item: HistoryItem) -> _Message | FunctionCall | FunctionResult:
    if not isinstance(item, Item):
        return item
    return _Message(item.id, item.role, item.text, item.interrupted, item.images, item.spoken)


def _items(items: Sequence[_Message | FunctionCall | FunctionResult]) -> tuple[HistoryItem, ...]:
    return tuple(
        Item(one.id, one.role, one.text, one.interrupted, one.images, one.spoken) if isinstance(one, _Message) else one
        for one in items
    )
