"""Conversations that go on in a new peer connection: a client whose network has changed offers a new one.

aiortc cannot restart ICE, so the old connection is given up with its session, and the new session begins with what the
old one remembers and how it was set. Of a connection that has ended by itself that is kept for a while.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.assistant.session import AssistantSession
from pipelines.routing.run import Priority
from pipelines.vision.settings import VisionSettings
from pipelines.voice.history import HistoryItem, Item
from pipelines.voice.responses import Responses
from pipelines.voice.settings import ConversationSettings

KEPT_SECONDS = 60.0
"""After the end of a connection; clients offer a new one within some 30 s."""
MOST_KEPT = 64
"""Conversations; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What of a session goes on in the next one."""

    conversation: ConversationSettings
    vision: VisionSettings
    items: tuple[HistoryItem, ...]
    priority: Priority = "normal"

    def tell(self, session: AssistantSession) -> None:
        """Let a new session remember it."""
        for item in self.items:
            session.conversation.history.add(replace(item) if isinstance(item, Item) else item)


def remembered(session: AssistantSession) -> Remembered:
    """What a session would go on with now: of a response that is being given, what has been heard."""
    conversation = session.conversation
    responses, items = conversation.responses, list(conversation.history.items)
    heard = [responses.heard]  # of the first that is being given; those behind it wait for its end
    for n, item in enumerate(items):
        if isinstance(item, Item) and responses.gives(item.id):
            items[n] = _so_far(item, responses, heard)
    told = tuple(item for item in items if not isinstance(item, Item) or item.text or item.images)
    return Remembered(conversation.settings, session.vision.settings, told, session.priority)


def _so_far(item: Item, responses: Responses, heard: list[str]) -> Item:
    """A response as it would be remembered if it was cut off now."""
    if item.spoken:
        return replace(item, text=heard.pop() if heard else "", interrupted=True)
    current = responses.current
    return replace(item, text=current.text, interrupted=True) if current and current.item_id == item.id else item


class Memory(Protocol):
    """Where conversations are kept beside this process, so that they outlive it."""

    def follow(self, session: AssistantSession) -> None:
        """A session has begun that another may go on with: keep what it remembers, as it changes."""
        ...

    def ended(self, session_id: str, *, resumable: bool) -> None:
        """It is over; ``resumable``: another may still go on with it, for a while."""
        ...


class NoMemory:
    """Of a process that is alone. Implements :class:`Memory`."""

    def follow(self, session: AssistantSession) -> None:
        """Keep nothing."""

    def ended(self, session_id: str, *, resumable: bool) -> None:
        """Nothing was kept."""


class KeptConversations:
    """Those of sessions that have ended a short while ago, by the id of the session."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Remembered, asyncio.TimerHandle]] = {}

    def __contains__(self, session_id: str) -> bool:
        return session_id in self._kept

    def keep(self, session_id: str, what: Remembered) -> None:
        """Keep it from now on, for :data:`KEPT_SECONDS`."""
        self.take(session_id)
        while len(self._kept) >= MOST_KEPT:
            self.take(next(iter(self._kept)))
        forgetting = asyncio.get_running_loop().call_later(KEPT_SECONDS, self.take, session_id)
        self._kept[session_id] = what, forgetting

    def find(self, session_id: str) -> Remembered | None:
        """What is kept of this session."""
        kept = self._kept.get(session_id)
        return None if kept is None else kept[0]

    def take(self, session_id: str) -> Remembered | None:
        """What is kept of this session, once."""
        kept = self._kept.pop(session_id, None)
        if kept is None:
            return None
        kept[1].cancel()
        return kept[0]

    def clear(self) -> None:
        """Forget all."""
        for session_id in list(self._kept):
            self.take(session_id)
