"""What a transport needs of a dialect, and what it counts.

A transport carries messages and knows none of the words in them. What an event is, is the dialect's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

from media.frames import Samples

Event = Any
"""Something the dialect has to say; opaque to the transport."""
Message = str | bytes


class Dialect(Protocol):
    """Speaks with one client, for one session."""

    def greeting(self) -> Sequence[Event]:
        """What a new channel gets first."""
        ...

    def receive(self, message: Message) -> None:
        """What the client says; answers go the way of all events."""
        ...

    def refusal(self, code: str, message: str) -> Event:
        """Something of the client was not let through to here."""
        ...

    def failure(self, what: str, *, answers: bool) -> Event:
        """The server has failed at ``what``; ``answers``: at the message that is being received."""
        ...

    def farewell(self, reason: str) -> Sequence[Event]:
        """The last events of a session that ends."""
        ...

    def messages(self, event: Event, largest: int) -> Sequence[str]:
        """The event as messages of at most ``largest`` bytes; none when it cannot be made that small."""
        ...

    async def run(self) -> None:
        """Tell the client what happens, until the session ends."""
        ...


class Listener(Protocol):
    """Passes the assistant's voice on to a client that plays it itself."""

    def sound_rate(self) -> int:
        """Hertz in which the client wants the next response."""
        ...

    def sound(self, samples: Samples, rate: int) -> None:
        """The next of the response that sounds, mono, shape ``(n,)``; ``n`` may be 0."""
        ...

    def sound_ended(self) -> None:
        """All of that response has been passed on."""
        ...


class VisitingDialect(Dialect, Protocol):
    """Speaks with a client that may go while the session stays."""

    def leave(self) -> None:
        """Listen to the session no more."""
        ...


class SoundingDialect(Dialect, Listener, Protocol):
    """A dialect whose events carry the sound, too."""


REPLACED = "its conversation goes on in a new connection"
"""Why a session ends that has been followed by another: there is nothing to say farewell to."""

Speaks = Callable[[Callable[[Event], None], Callable[[], str | None]], Dialect]
"""Makes the dialect of one session: given where its events go, and the codec of the video that is sent, if any is."""


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """What one session has counted so far."""

    events_dropped: int = 0
    """Events not sent because the peer did not read."""
    concealed_samples: int = 0
    """Audio made up in place of what was lost, at 48 kHz; whole numbers, whose sum never seems to go back."""
    packets_lost: int = 0
    """Audio packets that never came, or too late."""
    video_in: int = 0
    """Frames decoded."""
    video_out: int = 0
    """Frames sent back."""
    pictures_looked_at: int = 0
    """Frames that the detectors were given."""
    looking_ms: int = 0
    """Milliseconds that this took, waiting for the detectors' worker included."""
    lag_frames: int = 0
    """Frames that came while detectors were at work."""
    lag_ms: int = 0
    """How far the overlay was behind these frames, in all."""
    timestamps_repaired: int = 0
    """Frames whose timestamp made no sense."""
    repeated_samples: int = 0
    """Audio that was lost and came with the next packet (FEC), at 48 kHz."""

    def __add__(self, other: SessionCounts) -> SessionCounts:
        return SessionCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(SessionCounts)))
