"""What a level means: what running sessions give up, and who is let in no more. Pure.

| level | given up by sessions of priority ``normal`` |
|---|---|
| 0 | nothing |
| 1 | detections are rarer |
| 2 | rarer still; partial transcripts come less often |
| 3 | rarer still; partial transcripts seldom; no answer is prepared before its turn has ended |
| 4 | the same, and new ones are refused |

Those of priority ``low`` are one level ahead, those of ``high`` one and of ``critical`` two behind.
"""

from __future__ import annotations

from typing import Literal

from pipelines.routing.run import Priority
from pipelines.runtime.relief import NOTHING, Relief

RELIEFS = (
    NOTHING,
    Relief(vision=1.5),
    Relief(vision=2.0, partials=2.0),
    Relief(vision=3.0, partials=4.0, speculates=False),
)
AHEAD: dict[Priority, int] = {"low": 1, "normal": 0, "high": -1, "critical": -2}
"""Levels by which what a session gives up is ahead of the others'."""
PICTURED_SECONDS = 60.0
"""After a picture was asked for, by a session that is spoken with about pictures: its vision is one level behind."""

URGENT: tuple[Priority, ...] = ("high", "critical")
"""For whom places may be kept."""
Newcomer = Literal["session", "task"]
"""What asks to be let in: a session, or a single request that computes with models."""
NEVER = 99
REFUSED_FROM: dict[Newcomer, dict[Priority, int]] = {
    "task": {"low": 2, "normal": 4, "high": 5, "critical": NEVER},
    "session": {"low": 3, "normal": 4, "high": 5, "critical": NEVER},
}
"""The level from which they are refused; 5: at the highest, when it is far above its limit (``OVERRUN``)."""
OVERRUN = 5
APART: dict[int, float] = {2: 0.5, 3: 2.0}
"""Seconds between two sessions that are let in at a level: what one costs is measured before the next comes."""


def relief_for(level: int, priority: Priority, *, pictured: bool = False) -> Relief:
    """What a session gives up; ``pictured``: whether it is spoken with about pictures."""
    if level <= 0:
        return NOTHING
    own = _within(level + AHEAD[priority])
    relief = RELIEFS[own]
    if pictured and relief.vision > 1.0:
        return Relief(RELIEFS[own - 1].vision, relief.partials, relief.speculates)
    return relief


def _within(level: int) -> int:
    return max(0, min(level, len(RELIEFS) - 1))
