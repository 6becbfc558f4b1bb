"""STUN and TURN servers, and the credentials of TURN servers that share a secret with this server.

Credentials for a while, as coturn's ``use-auth-secret`` wants them (draft-uberti-behave-turn-rest-00, 2.2): the user is
``EXPIRY:NAME``, the password the base64 of HMAC-SHA1 of that with the secret. Who is given them can relay media until
they expire, and cannot make new ones. The secret may lie in a file, which is read for each session: it can be changed
while the server runs.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipelines.text import in_home

log = logging.getLogger(__name__)

DEFAULT_TTL = 86_400
"""Seconds, as the draft recommends: a call that lasts longer loses its relay."""


UsedBy = Literal["both", "clients", "server"]
_URL = re.compile(
    r"(stun:|turns?:)(?P<host>\[[0-9a-fA-F:.]{2,45}\]|[^\[\]/?:@#]{1,253})(:(?P<port>[0-9]{1,5}))?"
    r"((?<!stun)\?transport=(udp|tcp))?"
)


class IceServer(BaseModel):
    """A STUN or TURN server, as in WebRTC's RTCIceServer, or with a secret that credentials are made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    urls: tuple[str, ...] = Field(min_length=1)
    """One or several ways to it, such as ``stun:stun.example.org:3478`` or ``turn:turn.example.org?transport=tcp``."""
    username: str | None = None
    credential: SecretStr | None = None
    secret: SecretStr | None = None
    """coturn's ``static-auth-secret``; in place of ``username`` and ``credential``."""
    secret_file: Path | None = None
    """A file that holds it, read anew for each session; in place of ``secret``."""
    ttl: int = Field(DEFAULT_TTL, ge=60, le=30 * 86_400)
    """Seconds for which the credentials made from the secret hold."""
    used_by: UsedBy = "both"
    """Who uses it: this server that can be reached needs no relay of its own, and saves the time to ask for one."""

    @field_validator("urls", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not url.startswith(("stun:", "turn:", "turns:")):
                raise ValueError("must begin with stun:, turn: or turns:")
            if any(char in url for char in ' <>"\\') or not url.isprintable():
                raise ValueError("must be an address without spaces, quotes and angle brackets")
            found = _URL.fullmatch(url)
            if found is None or (found["port"] and int(found["port"]) > 65_535):
                raise ValueError(
                    f"{url!r} is no address: legal values are stun:HOST[:PORT], turn:HOST[:PORT][?transport=udp|tcp] "
                    "and turns:HOST[:PORT][?transport=tcp], with an IPv6 address in brackets"
                )
        return value

    @field_validator("secret_file")
    @classmethod
    def _is_absolute(cls, value: Path | None) -> Path | None:
        return value if value is None else in_home(value)

    @model_validator(mode="after")
    def _one_way(self) -> IceServer:
        if self.secret is None and self.secret_file is None:
            if "ttl" in self.model_fields_set:
                raise ValueError("ttl is for how long credentials made from a secret hold: it needs secret")
            return self
        if self.secret is not None and self.secret_file is not None:
            raise ValueError("either secret or secret_file, not both")
        if self.username is not None or self.credential is not None:
            raise ValueError("either secret, or username and credential: with a secret both are made for each session")
        if any(url.startswith("stun:") for url in self.urls):
            raise ValueError("a STUN server asks for no credentials: secret is for turn: and turns:")
        if self.secret is not None and not self.secret.get_secret_value():
            raise ValueError("secret is empty; leave it unset if there is none")
        if self.secret_file is not None:
            read_secret(self.secret_file)
        return self


def read_secret(file: Path) -> str:
    """The secret in a file, without the white space around it. Raises :class:`ValueError` when there is none."""
    try:
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ValueError(f"secret_file: {file} cannot be read: {why}") from None
    if not secret:
        raise ValueError(f"secret_file: {file} is empty")
    return secret


@dataclass(frozen=True, slots=True)
class GivenServer:
    """A server with the credentials of one session."""

    urls: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)

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


def for_session(
    servers: Sequence[IceServer], name: str, now: float, user: Literal["clients", "server"] = "clients"
) -> list[GivenServer]:
    """The servers for one session or client, whom ``name`` tells apart in the TURN server's log: one for each URL.

    ``now`` is in Unix seconds. Only those that are for this ``user``. One whose secret cannot be read is left out.
    """
    return [given for server in servers if server.used_by in ("both", user) for given in _given(server, name, now)]


def _given(server: IceServer, name: str, now: float) -> list[GivenServer]:
    try:
        secret = read_secret(server.secret_file) if server.secret_file is not None else _plain(server.secret)
    except ValueError as error:
        log.warning("%s is left out: %s", ", ".join(server.urls), error)
        return []
    if secret is None:
        return [GivenServer(url, server.username, _plain(server.credential)) for url in server.urls]
    user = f"{int(now) + server.ttl}:{name}"
    mac = hmac.digest(secret.encode(), user.encode(), hashlib.sha1)
    return [GivenServer(url, user, base64.b64encode(mac).decode()) for url in server.urls]


def _plain(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def _quoted(text: str) -> str:
    """A quoted-string (RFC 9110, 5.6.4)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
