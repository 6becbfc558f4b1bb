"""Sessions that clients have asked for (``POST /start``) and that begin with their offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from media.clock import Clock
from pipelines.voice.history import new_id
from server.dialects.openai.fields import SessionPatch

START_SECONDS = 300.0
"""How long a client may take from the start to its offer, and from there on to a new one after the last has ended."""
MOST_STARTS = 1024
"""Starts that are remembered; the oldest that nobody uses is forgotten first."""


@dataclass(slots=True)
class Start:
    """One of them."""

    id: str
    wishes: SessionPatch
    """Settings that its sessions begin with."""
    until: float
    """Clock seconds."""
    pipeline: str | None = None
    """That its sessions run, if not the usual one."""
    sessions: list[str] = field(default_factory=list)
    """Ids of those that have begun, newest last."""


class Starts:
    """Bounded, and each is forgotten after a while. ``lives`` tells of a session whether it may go on; ``ids`` makes
    new ids of a kind."""

    def __init__(self, clock: Clock, lives: Callable[[str], bool], ids: Callable[[str], str] = new_id) -> None:
        self._new_id = ids
        self._clock = clock
        self._lives = lives
        self._starts: dict[str, Start] = {}

    def add(self, wishes: SessionPatch, pipeline: str | None = None) -> Start:
        """A client asks for a session."""
        for start in list(self._starts.values()):
            if not self._is_valid(start):
                del self._starts[start.id]
        return self._add(Start(self._new_id("start"), wishes, self._clock.now() + START_SECONDS, pipeline))

    def adopt(self, start_id: str, wishes: SessionPatch, pipeline: str | None) -> Start:
        """A client has asked elsewhere, and comes here with its offer."""
        return self._add(Start(start_id, wishes, self._clock.now() + START_SECONDS, pipeline))

    def _add(self, start: Start) -> Start:
        if len(self._starts) >= MOST_STARTS:
            unused = (start.id for start in self._starts.values() if not self._is_used(start))
            del self._starts[next(unused, next(iter(self._starts)))]
        self._starts[start.id] = start
        return start

    def find(self, start_id: str) -> Start | None:
        """The start of that id, while it is valid."""
        start = self._starts.get(start_id)
        return start if start is not None and self._is_valid(start) else None

    def begun(self, start: Start, session_id: str) -> None:
        """A session has begun with this start; older ones that are over are forgotten."""
        start.sessions = [*filter(self._lives, start.sessions), session_id]
        start.until = self._clock.now() + START_SECONDS

    def _is_used(self, start: Start) -> bool:
        return any(map(self._lives, start.sessions))

    def _is_valid(self, start: Start) -> bool:
        return self._clock.now() < start.until or self._is_used(start)
