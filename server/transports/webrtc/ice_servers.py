"""STUN and TURN servers, and the credentials of TURN servers that share a secret with this server. Pure.

Credentials for a while, as coturn's ``use-auth-secret`` wants them (draft-uberti-behave-turn-rest-00, 2.2): the user is
``EXPIRY:NAME``, the password the base64 of HMAC-SHA1 of that with the secret. Who is given them can relay media until
they expire, and cannot make new ones.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

DEFAULT_TTL = 86_400
"""Seconds, as the draft recommends: a call that lasts longer loses its relay."""


class IceServer(BaseModel):
    """A STUN or TURN server, as in WebRTC's RTCIceServer, or with a secret that credentials are made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: str
    """Such as ``stun:stun.example.org:3478`` or ``turn:turn.example.org:3478?transport=udp``."""
    username: str | None = None
    credential: SecretStr | None = None
    secret: SecretStr | None = None
    """coturn's ``static-auth-secret``; in place of ``username`` and ``credential``."""
    ttl: int = Field(DEFAULT_TTL, ge=60, le=30 * 86_400)
    """Seconds for which the credentials made from ``secret`` hold."""

    @field_validator("urls")
    @classmethod
    def _known_scheme(cls, value: str) -> str:
        if not value.startswith(("stun:", "turn:", "turns:")):
            raise ValueError("must begin with stun:, turn: or turns:")
        if any(char in value for char in ' <>"\\') or not value.isprintable():
            raise ValueError("must be an address without spaces, quotes and angle brackets")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> IceServer:
        if self.secret is None:
            if "ttl" in self.model_fields_set:
                raise ValueError("ttl is for how long credentials made from a secret hold: it needs secret")
            return self
        if not self.secret.get_secret_value():
            raise ValueError("secret is empty; leave it unset if there is none")
        if self.username is not None or self.credential is not None:
            raise ValueError("either secret, or username and credential: with a secret both are made for each session")
        if self.urls.startswith("stun:"):
            raise ValueError("a STUN server asks for no credentials: secret is for turn: and turns:")
        return self


@dataclass(frozen=True, slots=True)
class GivenServer:
    """A server with the credentials of one session."""

    urls: str
    username: str | None = None
    credential: str | None = None

    def json(self) -> dict[str, Any]:
        """WebRTC's RTCIceServer."""
        known = {"username": self.username, "credential": self.credential}
        return {"urls": [self.urls], **{name: value for name, value in known.items() if value is not None}}

    def link(self) -> str:
        """A ``Link`` header of WHIP (RFC 9725, 4.6)."""
        parts = [f"<{self.urls}>", 'rel="ice-server"']
        if self.username is not None and self.credential is not None:
            parts += [f"username={_quoted(self.username)}", f"credential={_quoted(self.credential)}"]
            parts.append('credential-type="password"')
        return "; ".join(parts)


def for_session(servers: Sequence[IceServer], name: str, now: float) -> list[GivenServer]:
    """The servers for one session or client, whom ``name`` tells apart in the TURN server's log.

    ``now`` is in Unix seconds. The server's own peer connections and clients are given them alike.
    """
    return [_given(server, name, now) for server in servers]


def _given(server: IceServer, name: str, now: float) -> GivenServer:
    if server.secret is None:
        credential = server.credential.get_secret_value() if server.credential is not None else None
        return GivenServer(server.urls, server.username, credential)
    user = f"{int(now) + server.ttl}:{name}"
    mac = hmac.digest(server.secret.get_secret_value().encode(), user.encode(), hashlib.sha1)
    return GivenServer(server.urls, user, base64.b64encode(mac).decode())


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110, 5.6.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
