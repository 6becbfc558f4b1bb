"""A worker's sessions tell the front what they remember, so that the conversation outlives the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from pipelines.assistant.events import Event, SettingsChanged
from pipelines.assistant.session import AssistantSession
from pipelines.voice.events import (
    FunctionAdded,
    ItemTruncated,
    MessageAdded,
    MessageRemoved,
    ResponseAudioStopped,
    ResponseGenerated,
    ResponseInterrupted,
    UserTurn,
)
from server.resumption import KEPT_SECONDS, remembered
from server.workers.handover import to_text

log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.2
"""Changes come in bursts: what is remembered is told so long after the first of them."""
_CHANGES = (
    SettingsChanged,
    UserTurn,
    MessageAdded,
    MessageRemoved,
    FunctionAdded,
    ItemTruncated,
    ResponseGenerated,
    ResponseAudioStopped,
    ResponseInterrupted,
)
Keep = Callable[[str, str], object]
"""Is told a session and its state."""


class ToldMemory:
    """Implements :class:`~server.resumption.Memory`: ``keep`` is told each state, ``forget`` what is needed no more."""

    def __init__(self, keep: Keep, forget: Callable[[str], object]) -> None:
        self._keep = keep
        self._forget = forget
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tells: dict[str, Callable[[], None]] = {}
        self._last: dict[str, str] = {}

    def follow(self, session: AssistantSession) -> None:
        """Tell of it whenever it has changed."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            if (timer := self._timers.pop(session.id, None)) is not None:
                timer.cancel()
            try:
                state = to_text(remembered(session))
            except Exception:  # what cannot be told must not end the session
                log.exception("the conversation of %s cannot be handed over", session.id)
                return
            if self._last.get(session.id) != state:
                self._last[session.id] = state
                self._keep(session.id, state)

        def changed(event: Event) -> None:
            is_followed = session.id in self._tells  # events of a session that is over come a little later, too
            if isinstance(event, _CHANGES) and is_followed and session.id not in self._timers:
                self._timers[session.id] = loop.call_later(SETTLE_SECONDS, tell)

        self._tells[session.id] = tell
        session.events.attach("memory", changed)
        self._timers[session.id] = loop.call_later(0.0, tell)  # a session of which nothing was said yet can move, too

    def tell_now(self) -> None:
        """Tell of every session as it is now: they are about to go on elsewhere."""
        for tell in list(self._tells.values()):
            tell()

    def ended(self, session_id: str, *, resumable: bool) -> None:
        """Forget it, at once or when nobody goes on with it any more."""
        timer = self._timers.pop(session_id, None)
        if timer is not None:
            timer.cancel()
        self._last.pop(session_id, None)
        self._tells.pop(session_id, None)
        if resumable:
            asyncio.get_running_loop().call_later(KEPT_SECONDS, self._forget, session_id)
        else:
            self._forget(session_id)
