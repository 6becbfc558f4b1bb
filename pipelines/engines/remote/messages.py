"""What visavis and the bridge's process tell each other, framed by :mod:`pipelines.engines.remote.wire`.

The first message each way are :class:`Orders`, and ``None`` or a :class:`~pipelines.engines.remote.wire.Failed`. Then
come :data:`Said` one way and :data:`Answered` the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

AHEAD = 32
"""Pieces of one answer that may be on their way unread."""


@dataclass(frozen=True, slots=True)
class Call:
    """One piece of work."""

    deployment: str
    """Such as ``stt``."""
    method: str
    arguments: tuple[Any, ...] = ()
    session: str = ""
    """Calls with the same one go to the same replica; empty: to any."""
    streams: bool = False
    """Whether there are pieces, and not one result."""
    patient: bool = True
    """Whether it waits for a bridge that is being started; else somebody else is to do the work at once."""


STATUS = Call("", "status")
"""Asks what is deployed: stage → :class:`Deployed`."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """How one deployment is."""

    status: str
    """As Ray Serve calls it, such as ``RUNNING``."""
    running: int
    """Replicas that work."""
    replicas: int
    """All of them."""
    message: str = ""
    """What is wrong with it."""
    since: float = 0.0
    """When it was deployed last, in Unix time."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What to be connected with."""

    address: str
    application: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A call with its number."""

    number: int
    call: Call


@dataclass(frozen=True, slots=True)
class More:
    """So many pieces have been read."""

    number: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants it any more."""

    number: int


Said = Ask | More | Cancel
What = Literal["piece", "end"]
Answered = tuple[int, What, Any]
"""Number of the call, what comes, and the piece."""
