"""The sessions of a node as the others see them, of one process and of several workers."""

from __future__ import annotations

from server.load.readings import HIGHEST
from server.load.state import Load
from server.sessions import Registry
from server.settings import Settings
from server.workers.board import Board
from server.workers.supervisor import Supervisor


class OneProcess:
    """Implements :class:`~server.cluster.membership.Local` for a server without workers."""

    workers = 1
    delay_ms = 0.0

    def __init__(self, sessions: Registry, settings: Settings, load: Load) -> None:
        self._sessions = sessions
        self._settings = settings
        self._load = load

    @property
    def capacity(self) -> int:
        """As many as the settings allow, or fewer where something else is short."""
        return min(self._settings.max_sessions, self.used + self._sessions.free)

    @property
    def used(self) -> int:
        """How many there are."""
        return len(self._sessions)

    @property
    def begun(self) -> int:
        """Since the start."""
        return self._sessions.begun

    @property
    def level(self) -> int:
        """How much there is to do, 0 to 4; not 4 without any session, for the first one is taken."""
        return self._load.level if self.used else min(self._load.level, HIGHEST - 1)

    def leave(self, seconds: float) -> None:
        """Take no sessions any more, and ask those that are here to go on elsewhere."""
        self._sessions.leave(seconds)

    def replaced(self, session: str) -> None:
        """The conversation of a session goes on elsewhere."""
        self._sessions.replaced(session)


class Workers:
    """Implements :class:`~server.cluster.membership.Local` for a front and its workers."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def _board(self) -> Board:
        return self._supervisor.board

    @property
    def capacity(self) -> int:
        """Of all together."""
        return self.used + self._board.free

    @property
    def used(self) -> int:
        """Those included that are on their way."""
        return self._board.sessions

    @property
    def begun(self) -> int:
        """Of those workers that live."""
        return sum(seat.begun for seat in self._board.seats)

    @property
    def level(self) -> int:
        """Of the worker that has the least to do, 0 to 4: it is the one that gets a session."""
        return min((seat.load[0] for seat in self._board.seats if seat.state == "ready"), default=0)

    @property
    def delay_ms(self) -> float:
        """Of the worker that is least late: it is the one that gets a session."""
        return min((seat.delay_ms for seat in self._board.seats if seat.state == "ready"), default=0.0)

    @property
    def workers(self) -> int:
        """That serve."""
        return sum(seat.state in ("ready", "leaving") for seat in self._board.seats)

    def leave(self, seconds: float) -> None:
        """Every worker asks its sessions, and takes no more."""
        for seat in self._board.seats:
            worker = self._supervisor.worker(seat)
            seat.state = "leaving"
            if worker is not None:
                worker.send("leave", seconds=seconds)

    def replaced(self, session: str) -> None:
        """The worker that has it is told."""
        seat = self._board.moved(session)
        worker = self._supervisor.worker(seat) if seat is not None else None
        if worker is not None:
            worker.send("replaced", session=session)
