"""Clients that want to know at once when the worker of their session ends: its peer connection ends without a word.

A client asks and is answered when the worker leaves or is gone, or else after a while, so that proxies see a request
that ends. Those of one worker are answered one after another: all of them offer anew then, and whoever takes their
sessions must not let the sound of its own wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass

from server.http.signaling.watching import State

SPREAD_SECONDS = 0.04
"""Between two that are told of the same end: about what it costs a worker to begin a session."""
MOST_SPREAD_SECONDS = 1.5
"""From the first to the last of them."""
MOST_OF_ONE = 4
"""Requests that may wait for news of the same session: who holds one must not take the places of all."""


@dataclass(frozen=True, slots=True)
class News:
    """What became of a worker."""

    state: State
    after: float = 0.0
    """Seconds until this client is to hear of it."""


class Watches:
    """Who waits for news of which worker: at most ``most`` at a time. On one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[int, list[asyncio.Future[News]]] = {}
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def wait(self, number: int, seconds: float, session: str = "") -> News | None:
        """The next news of a worker; ``serving`` when there were none for so long, ``None`` where too many wait, or too
        many for this session."""
        if len(self) >= self._most or self._of[session] >= (MOST_OF_ONE if session else self._most):
            return None
        news: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(number, [])
        waiting.append(news)
        self._of[session] += 1
        try:
            async with asyncio.timeout(seconds):
                return await news
        except TimeoutError:
            return News("serving")
        finally:
            self._of[session] -= 1
            if not self._of[session]:
                del self._of[session]
            if news in waiting:  # the list has been replaced for those who were told
                waiting.remove(news)
            if not waiting and self._waiting.get(number) is waiting:
                del self._waiting[number]

    def tell(self, number: int, state: State) -> None:
        """A worker leaves, or is gone: all who wait hear it."""
        waiting = [news for news in self._waiting.pop(number, ()) if not news.done()]
        step = min(SPREAD_SECONDS, MOST_SPREAD_SECONDS / max(1, len(waiting)))
        for place, news in enumerate(waiting):
            news.set_result(News(state, place * step))
