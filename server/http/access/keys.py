"""The key of a request → what it grants, or why it grants nothing. Pure.

The server's own key opens everything. A client secret opens what a caller needs: making calls, however they are
signalled, and ending those that it made itself.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import hdrs
from multidict import CIMultiDictProxy

from server.http.access.client_secrets import PREFIX, ClientSecret, ClientSecrets
from server.http.access.granted import NOT_ITS_CALL, Granted

SUBPROTOCOL = "openai-insecure-api-key."
"""In front of the key among the subprotocols of a WebSocket: browsers cannot send headers with one."""
CREATE = "POST /v1/realtime/client_secrets"
_OPENED = re.compile(
    r"/offer|/v1/status|/v1/realtime(/calls(/.*)?|/ice_servers)?|/v1/live/sessions(/.*)?|/whip(/.*)?|/whep/.*|/start"
    r"|/v1/sessions/\{session\}/(recording(/.*)?|watch)"
    r"|(/sessions/\{\w+\})?/api/offer(/.*)?"
)
"""Routes that a client secret opens, as they were added to the router. ``/whep`` alone is not among them: it shows
whichever session there is."""
_JOINS = "/v1/realtime"
"""The route that takes ``call_id`` in its query."""


@dataclass(frozen=True, slots=True)
class Asking:
    """The route that is asked for."""

    route: str
    """Such as ``/v1/realtime/calls/{id}``; empty when there is none."""
    named: str | None = None
    """The call that the path or the query names."""


@dataclass(frozen=True, slots=True)
class Denied:
    """A request that its key does not open."""

    status: int
    code: str
    message: str
    reason: str | None = None
    """``error`` of the challenge (RFC 6750, 3.1); a request without a key has none."""

    @property
    def challenge(self) -> str:
        """``WWW-Authenticate``."""
        return "Bearer" if self.reason is None else f'Bearer error="{self.reason}"'


class Keys:
    """The decision. ``own`` is the server's key; without one everybody may do everything."""

    def __init__(self, own: str | None, secrets: ClientSecrets) -> None:
        self._own = own.encode() if own is not None else None
        self._secrets = secrets

    def judge(self, given: str | None, asking: Asking) -> Granted | Denied:
        """What a request with this key may do."""
        if self._own is not None and given is not None and hmac.compare_digest(_bytes(given), self._own):
            return Granted()
        if given is not None and given.startswith(PREFIX) and (found := self._secrets.find(given)) is not None:
            secret, state = found
            if state == "revoked":
                message = f"this client secret was revoked; {CREATE} gives a new one"
                return Denied(401, "client_secret_revoked", message, "invalid_token")
            if state == "expired" and not _ends_own(secret, asking):
                return Denied(401, "client_secret_expired", expired(secret), "invalid_token")
            return _within(Granted(secret, has_expired=state == "expired"), asking)
        if self._own is None:
            return Granted()  # clients send some key whether one is needed or not
        if given is None:
            message = "give the server's key as `Authorization: Bearer KEY`"
            return Denied(401, "missing_api_key", message)
        message = "this is not the server's key"
        if given.startswith(PREFIX):
            message = "this server knows no such client secret (a restart forgets all of them)"
        return Denied(401, "invalid_api_key", message, "invalid_token")

    def holder(self, given: str | None) -> str | None:
        """Whose requests these are counted with: a client secret's identifier, or empty for all who have the server's
        key, or need none. ``None``: the key opens nothing."""
        if self._own is not None and given is not None and hmac.compare_digest(_bytes(given), self._own):
            return ""
        found = self._secrets.find(given) if given is not None and given.startswith(PREFIX) else None
        return found[0].id if found is not None else "" if self._own is None else None


def expired(secret: ClientSecret) -> str:
    """What its holder is told."""
    since = datetime.fromtimestamp(secret.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"this client secret expired at {since}; {CREATE} gives a new one"


def _within(granted: Granted, asking: Asking) -> Granted | Denied:
    if _OPENED.fullmatch(asking.route) is None:
        message = "a client secret opens calls alone; this needs the server's key"
        return Denied(403, "client_secret_not_allowed", message, "insufficient_scope")
    if asking.named is not None and not granted.may_reach(asking.named):
        return Denied(403, "call_not_allowed", NOT_ITS_CALL, "insufficient_scope")
    return granted


def _ends_own(secret: ClientSecret, asking: Asking) -> bool:
    """A call may last longer than the secret that made it: its holder can still steer and end it."""
    return asking.named is not None and secret.has_made(asking.named)


def key_of(headers: CIMultiDictProxy[str]) -> str | None:
    """The key that a request brings, as a bearer token or as the subprotocol of a WebSocket; ``None`` for none.

    The scheme is case-insensitive (RFC 9110, 11.1); a key without a scheme is none.
    """
    given = headers.getall(hdrs.AUTHORIZATION, ())
    if given:
        scheme, _, token = given[0].partition(" ")
        return token.strip() if len(given) == 1 and scheme.lower() == "bearer" else None
    if headers.get(hdrs.UPGRADE, "").lower() != "websocket":
        return None
    return _among(headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ()))


def asking(route: str, path: Mapping[str, str], query: Mapping[str, str]) -> Asking:
    """What is asked for: the first variable of a path is the call that it is about, or ``call_id`` of the query where
    that joins a call. Elsewhere it means nothing, and proves nothing."""
    return Asking(route, next(iter(path.values()), query.get("call_id") if route == _JOINS else None))


def _among(protocols: Sequence[str]) -> str | None:
    names = [name.strip() for line in protocols for name in line.split(",")]
    keys = [name.removeprefix(SUBPROTOCOL) for name in names if name.startswith(SUBPROTOCOL)]
    return keys[0] if len(keys) == 1 else None


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
