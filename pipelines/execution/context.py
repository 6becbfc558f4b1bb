"""Conversations that go on from one run to the next: bounded history by id, forgotten after a while. Pure."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable

from pipelines.interfaces.llm import Message

MOST_MESSAGES = 40
"""That are kept of a conversation and stage, the newest."""
MOST_CHARACTERS = 16_000
"""Of them together."""
MOST_CONTEXTS = 1_000
"""Conversations of runs that are kept; the one that was used least recently is forgotten first."""
TTL_SECONDS = 1_800.0


class Context:
    """One conversation: what was said to and by each stage that remembers."""

    def __init__(self) -> None:
        self._messages: defaultdict[str, deque[Message]] = defaultdict(deque)

    def messages(self, stage: str) -> tuple[Message, ...]:
        """Of the stage with this id, oldest first."""
        return tuple(self._messages.get(stage, ()))

    def add(self, stage: str, asked: Message, answered: Message) -> None:
        """One exchange; the oldest are forgotten when there are too many."""
        kept = self._messages[stage]
        kept += (asked, answered)
        while len(kept) > 2 and (
            len(kept) > MOST_MESSAGES or sum(len(message.content) for message in kept) > MOST_CHARACTERS
        ):
            kept.popleft()
            kept.popleft()


class Contexts:
    """Conversations by id. One that is not asked for in ``ttl`` seconds is forgotten, as is the least recently used
    when there are more than ``most``. ``now`` gives seconds."""

    def __init__(self, now: Callable[[], float], *, ttl: float = TTL_SECONDS, most: int = MOST_CONTEXTS) -> None:
        self._now = now
        self._ttl = ttl
        self._most = most
        self._kept: OrderedDict[str, tuple[float, Context]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, context_id: str) -> Context:
        """The conversation, a new one if it is not known (any more)."""
        now = self._now()
        while self._kept and next(iter(self._kept.values()))[0] <= now - self._ttl:
            self._kept.popitem(last=False)
        _, context = self._kept.pop(context_id, (now, Context()))
        self._kept[context_id] = (now, context)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return context

    def forget(self, context_id: str) -> bool:
        """Whether there was such a conversation; there is none now."""
        return self._kept.pop(context_id, None) is not None
