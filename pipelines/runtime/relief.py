"""What a session gives up while the machine has too much to do. Whoever sheds load says it here; stages go by it.

A session keeps one :class:`Easing`. What runs for the session finds it in the context variable :data:`easing`, so that
engines that all sessions share know whose work may come less often.
"""

from __future__ import annotations

from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal, get_args

Part = Literal["vision", "partials", "speculation"]
"""What can be given up, in the order in which it is."""
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True)
class Relief:
    """How much is given up; as it is made: nothing."""

    vision: float = 1.0
    """By how much detections are rarer, and pictures that go back; at least 1."""
    partials: float = 1.0
    """By how much more speech is awaited before the next partial transcript; at least 1. Final ones always come."""
    speculates: bool = True
    """Whether answers are prepared before the end of a turn is certain."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What comes less often than usual, or not at all."""
        given_up = (self.vision > 1.0, self.partials > 1.0, not self.speculates)
        return tuple(part for part, is_eased in zip(PARTS, given_up, strict=True) if is_eased)


NOTHING = Relief()


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something is given up: a measurement and its limit."""

    measure: str
    """Such as ``event_loop``: see :mod:`server.load.readings`."""
    value: float
    limit: float
    unit: str
    """``ms`` or ``%``."""


@dataclass(slots=True)
class Easing:
    """What one session gives up now, and what it has given up so far."""

    relief: Relief = NOTHING
    left_out: Counter[Part] = field(default_factory=Counter)
    """How often, by part: pictures not looked at, partial transcripts not made, answers not prepared."""
    _rest: dict[Part, float] = field(default_factory=dict)

    def may_speculate(self) -> bool:
        """Whether an answer may be prepared now that otherwise is; where not, that counts as left out."""
        if not self.relief.speculates:
            self.leave_out("speculation")
        return self.relief.speculates

    def leave_out(self, part: Part, times: float = 1.0) -> None:
        """So much of ``part`` has not been done that otherwise had been; fractions add up."""
        whole, self._rest[part] = divmod(self._rest.get(part, 0.0) + times, 1.0)
        self.left_out[part] += int(whole)


easing: ContextVar[Easing | None] = ContextVar("easing", default=None)
"""Of the session that work is done for; ``None``: of no session, so nothing is given up."""
