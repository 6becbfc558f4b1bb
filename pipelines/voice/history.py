"""What is remembered of a conversation: what the user said, and of the answers what was heard. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pipelines.interfaces.llm import Image, Message
from pipelines.voice.context import fit
from pipelines.voice.events import FIRST

LONGEST_HISTORY = 400
"""Items kept in memory. One more, and the older half is forgotten: a beginning that changed with every item would make
a language model read everything again each time."""
KEPT_IMAGES = 4
"""Pictures kept; of older messages only the words are."""


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


class History:
    """The items of one conversation, in order."""

    def __init__(self, *, context_tokens: int = 3_000) -> None:
        self._items: list[Item] = []
        self._context_tokens = context_tokens

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, oldest first."""
        return tuple(self._items)

    def find(self, item_id: str) -> Item | None:
        """The item with this id, if it is remembered."""
        return next((item for item in self._items if item.id == item_id), None)

    def remove(self, item_id: str) -> None:
        """Forget the item with this id."""
        self._items = [item for item in self._items if item.id != item_id]

    def add(self, item: Item, after: str | None = None) -> Item:
        """Add an item and return it: at the end, or behind the one with the id ``after`` (:data:`FIRST`: in front)."""
        places = {before.id: n + 1 for n, before in enumerate(self._items)} if after is not None else {}
        self._items.insert(0 if after == FIRST else places.get(after or "", len(self._items)), item)
        if len(self._items) > LONGEST_HISTORY:
            del self._items[: -LONGEST_HISTORY // 2]
        left = KEPT_IMAGES
        for shown in reversed(self._items) if item.images else ():
            shown.images = shown.images[-left:] if left > 0 else ()
            left -= len(shown.images)
        return item

    def truncate(self, item_id: str, heard: str) -> None:
        """Keep only what was heard of an answer; an answer of which nothing was heard is forgotten."""
        for item in self._items:
            if item.id == item_id:
                item.text, item.interrupted = heard, True
                if not heard:
                    self._items.remove(item)
                return

    def complete(self, item_id: str, text: str, *, cut: bool = False) -> None:
        """An answer has been given in full, or up to its limit of tokens (``cut``); an empty one is forgotten."""
        for item in self._items:
            if item.id == item_id:
                item.text, item.interrupted = text, cut
                if not text:
                    self._items.remove(item)
                return

    def clear(self) -> None:
        """Forget everything."""
        self._items.clear()

    def messages(self, instructions: str, tentative: Item | None = None) -> tuple[Message, ...]:
        """The conversation as a language model wants it: system first, roles alternating, within the budget.

        ``tentative`` is shown as the last item without being remembered. What does not fit is told in one line (see
        :mod:`pipelines.voice.context`). A model with less room cuts further by itself.
        """
        items = [*self._items, tentative] if tentative is not None else self._items
        shown = [item for item in items if (item.text or item.images) and item.role != "system"]
        while shown and shown[0].role == "assistant":
            shown = shown[1:]
        rules = "\n".join(filter(None, [instructions, *(item.text for item in items if item.role == "system")]))
        system = [Message("system", rules)] if rules else []  # one, in front: templates insist on that, too
        merged = _merge([*system, *(Message(item.role, _shown(item), images=item.images) for item in shown)])
        return tuple(fit(merged, self._context_tokens))


def _shown(item: Item) -> str:
    return f"{item.text} —" if item.interrupted else item.text


def _merge(messages: list[Message]) -> list[Message]:
    """Neighbours of the same role become one message: chat templates insist on alternating roles."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            before = merged.pop()
            text = f"{before.content}\n{message.content}".strip()
            message = replace(message, content=text, images=before.images + message.images)
        merged.append(message)
    return merged
