"""Where nodes find each other and what they remember for each other: what such a place must be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class StoreAwayError(Exception):
    """It does not answer, or not in time."""


class Store(Protocol):
    """Every method raises :class:`StoreAwayError`, and takes no longer than a second or two to do so."""

    async def hold(self, name: str, token: str, report: str, seconds: float) -> bool:
        """Say that the node of this name lives, for so long. ``False``: another that lives has the name; only the one
        with the same ``token`` may say so again."""
        ...

    async def release(self, name: str, token: str) -> None:
        """It ends, if it is this one's."""
        ...

    async def reports(self) -> list[str]:
        """Of all nodes that live."""
        ...

    async def put(self, values: Mapping[str, bytes], seconds: float) -> None:
        """Keep these, each for so long."""
        ...

    async def touch(self, names: list[str], seconds: float) -> list[bool]:
        """Keep these for so long from now on; whether each is still there."""
        ...

    async def get(self, names: list[str]) -> list[bytes | None]:
        """What is kept under each name."""
        ...

    async def drop(self, names: list[str]) -> None:
        """Keep these no longer."""
        ...

    async def spend(self, seconds: Mapping[str, float]) -> list[float]:
        """Add to what was used up under each name, which becomes less by itself as time passes; how much it is then."""
        ...

    async def close(self) -> None:
        """End the connections. Idempotent."""
        ...
