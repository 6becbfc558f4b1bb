"""What the front knows of its workers, and which of them gets a request. Pure: the clock is passed in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from server.load.readings import HIGHEST

KEPT_SECONDS = 60.0
"""For which a conversation waits whose worker has ended: clients offer a new connection within some 30 s."""
MOST_KEPT = 1024
SLOW_MS = 60.0
"""Lateness of a worker's event loop above which others are preferred: sound comes every 20 ms."""

State = Literal["starting", "ready", "quiet", "leaving", "ended"]
"""``quiet``: it serves and has told nothing for seconds, so nothing is sent there."""


@dataclass(slots=True)
class Seat:
    """One worker, as it told last."""

    number: int
    state: State = "starting"
    sessions: int = 0
    asked: int = 0
    """Sessions that it has been asked for and has not answered yet."""
    begun: int = 0
    """Sessions since its start, as it told last."""
    settling: list[int] = field(default_factory=list)
    """Of those that it has answered and may not have told of: after how many reports they have become no session."""
    delay_ms: float = 0.0
    """How late its event loop is."""
    level: int = 0
    """How much it has to do: 0 to 4 (:class:`server.load.state.Load`)."""
    retry_after: int = 0
    """Seconds after which that may be less."""
    heard: float = 0.0
    """When it told something last, by the clock of the front."""
    since: float = 0.0
    """When it began to serve."""
    memory_mib: int | None = None
    """Of its own, as it was seen last."""
    pid: int | None = None
    kept: dict[str, str] = field(default_factory=dict)
    """Conversations of its sessions that could go on elsewhere, by the session."""
    restarting: bool = False
    """Whether it is to be replaced: it serves until the next one does."""

    @property
    def coming(self) -> int:
        """Sessions that were sent there and are not among :attr:`sessions`."""
        return self.asked + len(self.settling)

    def ask(self) -> None:
        """It is being asked for a session."""
        self.asked += 1

    def answered(self, *, begun: bool) -> None:
        """It has answered; if there is a session, one of its next two reports tells of it."""
        self.asked -= 1
        if begun:
            self.settling.append(2)

    @property
    def shown(self) -> str:
        """Its state for people."""
        return "restarting" if self.restarting and self.state == "ready" else self.state

    @property
    def load(self) -> tuple[int, bool, int, float]:
        """The smaller, the sooner it gets the next session."""
        sessions = self.sessions + self.coming
        return (
            self.level if sessions else min(self.level, HIGHEST - 1),
            self.delay_ms > SLOW_MS,
            sessions,
            self.delay_ms,
        )


class Board:
    """``places``: sessions of all workers together, of which ``reserved`` are kept for urgent ones."""

    def __init__(self, places: int, reserved: int = 0) -> None:
        self.places = places
        self.reserved = reserved
        self._seats: dict[int, Seat] = {}
        self._orphans: dict[str, tuple[str, float]] = {}
        """Conversations whose worker is gone, and until when they are kept."""

    def add(self, number: int) -> Seat:
        """A worker is being started."""
        seat = self._seats[number] = Seat(number)
        return seat

    def remove(self, number: int, now: float) -> None:
        """It is gone; its conversations wait for a while."""
        seat = self._seats.pop(number, None)
        if seat is None:
            return
        seat.state = "ended"
        for session, state in seat.kept.items():
            self._orphans[session] = state, now + KEPT_SECONDS
        self._forget(now)

    def find(self, number: int | None) -> Seat | None:
        """The worker of that number while it serves, even if it is about to end."""
        seat = self._seats.get(number) if number is not None else None
        return seat if seat is not None and seat.state in ("ready", "leaving") else None

    def is_quiet(self, number: int | None) -> bool:
        """Whether the worker of that number says nothing: it may go on, or be ended soon."""
        seat = self._seats.get(number) if number is not None else None
        return seat is not None and seat.state in ("quiet", "ended")

    @property
    def seats(self) -> list[Seat]:
        """All, oldest first."""
        return list(self._seats.values())

    @property
    def serving(self) -> list[Seat]:
        """Those that answer requests, oldest first."""
        return [seat for seat in self._seats.values() if seat.state in ("ready", "leaving")]

    @property
    def sessions(self) -> int:
        """Of all workers, those included that are on their way."""
        return sum(seat.sessions + seat.coming for seat in self._seats.values())

    @property
    def free(self) -> int:
        """How many more sessions would be accepted."""
        return self.places_for(urgent=False) if self.busy_for is None else 0

    def places_for(self, *, urgent: bool) -> int:
        """How many places are left, however loaded the workers are."""
        left = self.places - self.sessions - (0 if urgent else self.reserved)
        return max(0, left) if any(self._ready()) else 0

    @property
    def busy_for(self) -> int | None:
        """Seconds until one of them may take sessions again, where all have too much to do."""
        ready = list(self._ready())
        if not ready or any(seat.level < HIGHEST or not seat.sessions + seat.coming for seat in ready):
            return None
        return min(seat.retry_after for seat in ready)

    def house(self) -> Seat | None:
        """The worker that gets what is no session: models of tasks are loaded once, in the oldest."""
        return next(iter(self._ready()), None)

    def least_loaded(self) -> Seat | None:
        """The worker for another session."""
        return min(self._ready(), key=lambda seat: seat.load, default=None)

    def owner(self, session: str) -> Seat | None:
        """The worker that still has this session or its conversation, and takes sessions."""
        return next((seat for seat in self._ready() if session in seat.kept), None)

    def conversation(self, session: str, now: float) -> str | None:
        """What a session remembered whose worker ends or has ended; it stays until the next one has it."""
        self._forget(now)
        for seat in self._seats.values():
            if seat.state in ("leaving", "quiet", "ended") and session in seat.kept:
                return seat.kept[session]
        return self._orphans[session][0] if session in self._orphans else None

    def moved(self, session: str) -> Seat | None:
        """A conversation goes on elsewhere; returns the worker that still has the session, if one does."""
        self._orphans.pop(session, None)
        for seat in self._seats.values():
            if seat.kept.pop(session, None) is not None:
                return seat
        return None

    def shown(self) -> list[dict[str, Any]]:
        """For ``GET /v1/workers``."""
        return [
            {
                "number": seat.number,
                "state": seat.shown,
                "pid": seat.pid,
                "sessions": seat.sessions,
                "event_loop_delay_ms": round(seat.delay_ms, 1),
                "load": seat.level,
                "memory_mib": seat.memory_mib,
            }
            for seat in self._seats.values()
        ]

    def _ready(self) -> Iterable[Seat]:
        return (seat for seat in self._seats.values() if seat.state == "ready")

    def _forget(self, now: float) -> None:
        for session in [name for name, (_, until) in self._orphans.items() if until <= now]:
            del self._orphans[session]
        while len(self._orphans) > MOST_KEPT:
            del self._orphans[next(iter(self._orphans))]


def told(seat: Seat, message: Mapping[str, Any]) -> None:
    """Note what a worker says of itself."""
    match message.get("type"):
        case "ready":
            seat.state = "ready"
        case "load":
            seat.sessions, seat.delay_ms = int(message["sessions"]), float(message["delay_ms"])
            seat.level, seat.retry_after = int(message.get("level", 0)), int(message.get("retry_after", 0))
            begun, seat.begun = int(message["begun"]) - seat.begun, int(message["begun"])
            seat.settling = [left - 1 for left in seat.settling[begun:] if left > 1]
        case "kept":
            seat.kept[str(message["session"])] = str(message["state"])
        case "forgotten":
            seat.kept.pop(str(message["session"]), None)
