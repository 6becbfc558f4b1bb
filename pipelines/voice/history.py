"""The items of a conversation: messages, of answers what was heard, and function calls with their results. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from pipelines.interfaces.llm import Image, Message, ToolCall
from pipelines.voice.context import fit
from pipelines.voice.tts import Script

FIRST = "root"
"""The place before the first item, where the id of an item stands for the place behind it."""
LONGEST_HISTORY = 400
"""Items kept in memory. One more, and the older half is forgotten, or of it the empty items where these are most: a
beginning that changed with every item would make a language model read everything again each time."""
MOST_CHARACTERS = 2_000_000
"""Of all items that are kept: with more the older half is forgotten, too. No model is told as much, but all of it is
gone through for each response."""
KEPT_IMAGES = 4
"""Pictures kept; of older messages only the words are."""
LONGEST_RESULT = 4_000
"""Characters of a function's result that a language model is shown; a longer one loses its middle."""
NO_RESULT = "No result has come back."
"""What a language model is told of a call that nobody has answered: servers insist on a result for every call."""


@dataclass(slots=True)
class Item:
    """One message of the conversation."""

    id: str
    role: Literal["user", "assistant", "system"]
    text: str
    interrupted: bool = False
    """An answer that was cut off, or ended at its limit of tokens: ``text`` holds only what was heard."""
    images: tuple[Image, ...] = ()
    """What the user showed with the words."""
    spoken: bool = False
    """Whether the words were heard and not written."""
    script: Script | None = None
    """Of a spoken answer: when each of its words sounds."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The assistant asks for one of its tools."""

    id: str
    call: ToolCall


@dataclass(frozen=True, slots=True)
class FunctionResult:
    """What a call has brought."""

    id: str
    call_id: str
    output: str


HistoryItem = Item | FunctionCall | FunctionResult


class History:
    """The items of one conversation, in order."""

    def __init__(self, *, context_tokens: int = 3_000) -> None:
        self._items: list[HistoryItem] = []
        self._context_tokens = context_tokens

    @property
    def items(self) -> tuple[HistoryItem, ...]:
        """All items, oldest first."""
        return tuple(self._items)

    def find(self, item_id: str) -> HistoryItem | None:
        """The item with this id, if it is remembered."""
        return next((item for item in self._items if item.id == item_id), None)

    def before(self, item_id: str) -> str:
        """The place in front of the item with this id, as :meth:`add` takes it."""
        places = [item.id for item in self._items]
        return places[places.index(item_id) - 1] if item_id in places[1:] else FIRST

    def remove(self, item_id: str) -> None:
        """Forget the item with this id."""
        self._items = [item for item in self._items if item.id != item_id]

    def add(self, item: HistoryItem, after: str | None = None) -> None:
        """Add an item: at the end, or behind the one with the id ``after`` (:data:`FIRST`: in front)."""
        places = {before.id: n + 1 for n, before in enumerate(self._items)} if after is not None else {}
        self._items.insert(0 if after == FIRST else places.get(after or "", len(self._items)), item)
        if len(self._items) > LONGEST_HISTORY:
            self._forget_older()
        sizes = list(map(_size, self._items))
        if (size := sum(sizes)) > MOST_CHARACTERS:
            while len(self._items) > 1 and size > MOST_CHARACTERS // 2:
                size -= sizes.pop(0)
                del self._items[0]
        left = KEPT_IMAGES
        for shown in reversed(self._items) if isinstance(item, Item) and item.images else ():
            if isinstance(shown, Item):
                shown.images = shown.images[-left:] if left > 0 else ()
                left -= len(shown.images)

    def _forget_older(self) -> None:
        """The older half: of many empty items, which noise brings, these alone."""
        older, newer = self._items[: -LONGEST_HISTORY // 2], self._items[-LONGEST_HISTORY // 2 :]
        worded = [item for item in older if not isinstance(item, Item) or item.text or item.images]
        self._items = newer if len(worded) > LONGEST_HISTORY // 4 else [*worded, *newer]

    def truncate(self, item_id: str, heard: str) -> None:
        """Keep only what was heard of an answer. One of which nothing was heard stays as an empty item: clients know of
        it, and one that plays it itself may know better."""
        self._write(item_id, heard, interrupted=True)

    def complete(self, item_id: str, text: str, *, cut: bool = False) -> None:
        """What was said is known in full, or up to an answer's limit of tokens (``cut``). Without a word it stays as an
        empty item: clients know of it, ask for it and put others behind it."""
        self._write(item_id, text, interrupted=cut)

    def _write(self, item_id: str, text: str, *, interrupted: bool) -> None:
        item = self.find(item_id)
        if isinstance(item, Item):
            item.text, item.interrupted = text, interrupted

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()

    def messages(self, instructions: str, tentative: Item | None = None) -> tuple[Message, ...]:
        """The conversation as a language model wants it: system first, roles alternating, within the budget. Who spoke
        first comes first: what the assistant has said by itself is what the user answers.

        ``tentative`` is shown as the last item without being remembered. What does not fit is told in one line (see
        :mod:`pipelines.voice.context`). A model with less room cuts further by itself.
        """
        items = [*self._items, tentative] if tentative is not None else self._items
        return messages_of(items, instructions, self._context_tokens)


def messages_of(items: Iterable[HistoryItem], instructions: str, context_tokens: int = 3_000) -> tuple[Message, ...]:
    """Any ``items`` as a language model wants them, as :meth:`History.messages` does for its own."""
    items = list(items)
    systems = [item.text for item in items if isinstance(item, Item) and item.role == "system"]
    rules = "\n".join(filter(None, [instructions, *systems]))
    shown = _merge(_shown(items))
    system = [Message("system", rules)] if rules else []  # one, in front: templates insist on that, too
    return tuple(fit([*system, *shown], context_tokens))


def _shown(items: list[HistoryItem]) -> list[Message]:
    """Calls made at a time as one message with their results behind it, wherever these stand; results of nothing are
    left out."""
    results = {item.call_id: item.output for item in items if isinstance(item, FunctionResult)}
    messages: list[Message] = []
    for _, group in groupby(items, type):
        neighbours = list(group)
        calls = tuple(item.call for item in neighbours if isinstance(item, FunctionCall))
        if calls:
            messages.append(Message("assistant", "", calls))
        messages += [Message("tool", _within(results.get(call.id, NO_RESULT)), tool_call_id=call.id) for call in calls]
        for item in neighbours:
            if isinstance(item, Item) and item.role != "system" and (item.text or item.images):
                text = f"{item.text} —" if item.interrupted else item.text
                messages.append(Message(item.role, text, images=item.images))
    return messages


def _size(item: HistoryItem) -> int:
    """Characters."""
    match item:
        case Item():
            return len(item.text)
        case FunctionCall():
            return len(item.call.arguments)
        case FunctionResult():
            return len(item.output)


def _within(output: str) -> str:
    if len(output) <= LONGEST_RESULT:
        return output
    half = LONGEST_RESULT // 2
    return f"{output[:half]} […] {output[-half:]}"


def _merge(messages: list[Message]) -> list[Message]:
    """Neighbours of the same role become one message: chat templates insist on alternating roles."""
    runs: list[list[Message]] = []
    for message in messages:
        before = runs[-1][-1] if runs else None
        if before is not None and before.role == message.role != "tool" and not before.tool_calls:
            runs[-1].append(message)
        else:
            runs.append([message])
    return [_joined(run) if len(run) > 1 else run[0] for run in runs]


def _joined(run: list[Message]) -> Message:
    text = "\n".join(message.content for message in run if message.content).strip()
    return replace(run[-1], content=text, images=tuple(image for message in run for image in message.images))


def new_id(kind: str) -> str:
    """An id such as ``item_4f1c…``, unique for all practical purposes."""
    return f"{kind}_{secrets.token_hex(8)}"
