"""Client secrets that every worker knows, whoever has made them: they outlive their worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from server.http.access.client_secrets import ClientSecrets
from server.http.access.secret_copies import from_json, to_json

Json = dict[str, Any]


class SecretsOfAll:
    """What the front knows of them. ``tell`` is given the number of a worker and what all others should know."""

    def __init__(self, tell: Callable[[int, Json], object], now: Callable[[], float] = time.time) -> None:
        self.known = ClientSecrets(now)
        self._tell = tell

    def hear(self, number: int, told: Json) -> None:
        """A worker has made a secret, or changed it."""
        self.known.learn(from_json(told))
        self._tell(number, told)

    def all(self) -> Iterator[Json]:
        """For a worker that has just begun."""
        return (to_json(secret) for secret, _ in self.known)
