"""A range of UDP ports, as the settings have it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

LEAST_PORT, LAST_PORT = 1024, 65_535


@dataclass(frozen=True, slots=True)
class PortRange:
    """From ``first`` to ``last``, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def __len__(self) -> int:
        return self.last - self.first + 1


def parse_ports(text: str) -> PortRange:
    """Read ``50000-50100``. Raises :class:`ValueError` with what is legal."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*-\s*(\d{1,5})\s*", text)
    if found is not None:
        first, last = int(found[1]), int(found[2])
        if LEAST_PORT <= first <= last <= LAST_PORT:
            return PortRange(first, last)
    raise ValueError(f"must be two ports from {LEAST_PORT} to {LAST_PORT}, such as 50000-50100, not {text[:40]!r}")
