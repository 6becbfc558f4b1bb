"""Who may ask, and how often: the key and the counts that all doors of one server share, HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from media.clock import Clock
from server.admission import neighbourhood
from server.http.access.client_secrets import ClientSecrets
from server.http.access.granted import Granted
from server.http.access.keys import Asking, Denied, Keys
from server.http.access.rate_limits import RateLimit
from server.http.proxies import Proxies
from server.settings import Settings

LIMITS: web.AppKey[Mapping[str, RateLimit]] = web.AppKey("limits")
"""What an application counts, by name: the nodes of a cluster count it together."""


class Admittance:
    """The keys of a server and what was asked with them. ``front``: as for :class:`~server.http.proxies.Proxies`; it
    has counted the requests of every address and of every key."""

    def __init__(self, settings: Settings, secrets: ClientSecrets, clock: Clock, *, front: bool = False) -> None:
        own = settings.api_key.get_secret_value() if settings.api_key is not None else None
        self.keyed = own is not None
        """Whether the server has a key."""
        self.proxies = Proxies(settings.trusted_proxies, front=front)
        self._keys = Keys(own, secrets)
        burst = settings.rate_limit_burst
        self._addresses = None if front else _limit(settings.requests_per_address, burst, clock)
        self._of_keys = None if front else _limit(settings.rate_limit_per_key, burst, clock)

    @property
    def limits(self) -> dict[str, RateLimit]:
        """What is counted here, by name."""
        named = {"address": self._addresses, "key": self._of_keys}
        return {name: limit for name, limit in named.items() if limit is not None}

    def wait_of(self, address: str) -> int:
        """Count a request from an address; seconds until it may come again, 0 when this one is served."""
        if self._addresses is None or self.proxies.trusts(address):
            return 0
        return self._addresses.wait(neighbourhood(address))

    def judge(self, given: str | None, asking: Asking) -> Granted | Denied:
        """What a request with this key may do."""
        return self._keys.judge(given, asking)

    def wait_with(self, granted: Granted) -> int:
        """Count a request with what let it in; as :meth:`wait_of`."""
        if self._of_keys is None:
            return 0
        return self._of_keys.wait(granted.secret.id if granted.secret is not None else "")

    def wait_of_key(self, given: str | None) -> int:
        """Count a request whose key others judge; as :meth:`wait_of`. What opens nothing is not counted."""
        holder = self._keys.holder(given) if self._of_keys is not None else None
        return self._of_keys.wait(holder) if self._of_keys is not None and holder is not None else 0


def _limit(per_minute: float, burst: int, clock: Clock) -> RateLimit | None:
    return RateLimit(per_minute, burst, clock) if per_minute else None
