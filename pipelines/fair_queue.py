"""The order in which the jobs of many sessions are served: pure, no threads, no time."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Queued(Protocol):
    """What lines up."""

    session: str
    """Whose it is."""
    group: Hashable
    """What it can be served together with."""


J = TypeVar("J", bound=Queued)


class FairQueue(Generic[J]):
    """Jobs that wait: in order within a session, sessions in turn. Not thread-safe.

    A session whose job is taken goes to the end of the line, so that twenty requests of one do not delay the single
    request of another by more than one job.
    """

    def __init__(self) -> None:
        self._sessions: dict[str, deque[J]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: J) -> None:
        """Line up."""
        self._sessions.setdefault(job.session, deque()).append(job)
        self._count += 1

    def remove(self, job: J) -> bool:
        """Leave the line. False if the job is not in it (any more)."""
        line = self._sessions.get(job.session)
        if line is None or job not in line:
            return False
        line.remove(job)
        self._count -= 1
        if not line:
            del self._sessions[job.session]
        return True

    def take(self, like: J | None = None) -> J | None:
        """The next job; with ``like`` the next of its group, past sessions whose next job is of another."""
        for name, line in self._sessions.items():
            if like is None or line[0].group == like.group:
                del self._sessions[name]
                job = line.popleft()
                self._count -= 1
                if line:
                    self._sessions[name] = line
                return job
        return None
