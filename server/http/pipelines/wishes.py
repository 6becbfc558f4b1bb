"""The headers of a request for a run → what it is asked for. Pure; what is wrong is told with the legal values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from pipelines.routing.run import EFFICIENCY_MODES, PRIORITIES, Wishes
from server.http.errors import HttpError

PRIORITY, CRITICAL, LATENCY = "X-Priority", "X-Latency-Critical", "X-Max-Latency-Ms"
TARGET, EFFICIENCY, ON_LATE = "X-Target-Backend", "X-Efficiency-Mode", "X-On-Late"
OnLate = Literal["error", "partial"]
"""What becomes of a run that misses its time: an error, or an answer with what there is."""
_LONGEST_LATENCY = 3_600_000.0
"""Milliseconds."""
_SHOWN = 60
"""Characters of a wrong value that are repeated."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for beside its input and the shape of its answer."""

    wishes: Wishes = field(default_factory=Wishes)
    on_late: OnLate = "error"


def asked(headers: Mapping[str, str], backends: Callable[[], Sequence[str]]) -> Asked:
    """What the headers ask for; ``backends`` tells which there are. Raises :class:`HttpError` (400)."""
    given = _Headers(headers)
    wishes = Wishes()
    if (priority := given.one_of(PRIORITY, PRIORITIES)) is not None:
        wishes = replace(wishes, priority=priority)  # type: ignore[arg-type]
    if (critical := given.one_of(CRITICAL, ("true", "false"))) is not None:
        wishes = replace(wishes, latency_critical=critical == "true")
    if (latency := given.milliseconds(LATENCY)) is not None:
        wishes = replace(wishes, max_latency_ms=latency)
    if (target := given.value(TARGET)) is not None:
        if target not in (known := backends()):
            raise _refused(TARGET, f"there is no backend {_shown(target)}; there are {', '.join(known) or 'none'}")
        wishes = replace(wishes, target_backend=target)
    if (mode := given.one_of(EFFICIENCY, EFFICIENCY_MODES)) is not None:
        wishes = replace(wishes, efficiency_mode=mode)  # type: ignore[arg-type]
    late = given.one_of(ON_LATE, get_args(OnLate))
    return Asked(wishes, late or "error")  # type: ignore[arg-type]


class _Headers:
    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers

    def value(self, name: str) -> str | None:
        """Of a header, if it is there; an empty one is not."""
        return self._headers.get(name, "").strip() or None

    def one_of(self, name: str, legal: Sequence[str]) -> str | None:
        """Whatever its case."""
        value = self.value(name)
        if value is None:
            return None
        known = {word.lower(): word for word in legal}
        if value.lower() not in known:
            raise _refused(name, f"legal values are {', '.join(legal)}, not {_shown(value)}")
        return known[value.lower()]

    def milliseconds(self, name: str) -> float | None:
        value = self.value(name)
        if value is None:
            return None
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number <= _LONGEST_LATENCY:
            raise _refused(name, f"must be milliseconds above 0 and up to {_LONGEST_LATENCY:.0f}, not {_shown(value)}")
        return number


def _shown(value: str) -> str:
    return ascii(value[:_SHOWN])


def _refused(name: str, message: str) -> HttpError:
    return HttpError(400, "invalid_value", f"{name}: {message}", name)
