"""Short-lived keys for clients that are not to hold the server's own (``ek_…``), kept as hashes. Pure.

A value is ``ek_ID_SECRET``: the identifier finds the entry, and the whole value is compared with its SHA-256 in
constant time. 256 random bits need neither salt nor a slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from pipelines.voice.history import new_id
from server.dialects.openai.fields import SessionPatch

PREFIX = "ek_"
"""The service's; its browser clients take no other key."""
MOST_SECRETS = 1000
"""That can be used at a time."""
MOST_ENDED = 1000
"""Expired or revoked ones that are still known as such; the oldest are forgotten first."""
REMEMBERED_SECONDS = 24 * 3600.0
"""For which it is known why a secret is none any more."""
MOST_CALLS = 256
"""Of one secret, the newest: whose they are is known so long."""

State = Literal["active", "expired", "revoked"]


class TooManySecretsError(Exception):
    """No more can be held until some have expired or are revoked."""


@dataclass(slots=True)
class ClientSecret:
    """What is known of one. Its value is told once, to whoever asked for it."""

    id: str
    digest: bytes
    """SHA-256 of the value."""
    created_at: int
    """Unix seconds, as the next."""
    expires_at: int
    session: SessionPatch
    """The settings that sessions begin with; the client may choose others."""
    is_revoked: bool = False
    calls: dict[str, None] = field(default_factory=dict)
    """Identifiers of the calls that were made with it, without their kind."""
    told: Callable[[ClientSecret], object] = field(default=lambda secret: None, compare=False, repr=False)
    """Is told when it has changed."""

    def state(self, now: float) -> State:
        """Whether it can be used."""
        if self.is_revoked:
            return "revoked"
        return "expired" if now >= self.expires_at else "active"

    def made(self, call: str) -> None:
        """Keep in mind that this call is its holder's."""
        self.calls[_plain(call)] = None
        while len(self.calls) > MOST_CALLS:
            del self.calls[next(iter(self.calls))]
        self.told(self)

    def join(self, other: ClientSecret) -> None:
        """Take over what another process knows of the same secret."""
        self.is_revoked = self.is_revoked or other.is_revoked
        self.calls |= other.calls
        while len(self.calls) > MOST_CALLS:
            del self.calls[next(iter(self.calls))]

    def has_made(self, call: str) -> bool:
        """Whether it is, by any name that it goes by."""
        return _plain(call) in self.calls


def _plain(call: str) -> str:
    """A session is ``sess_X``, and ``rtc_X`` among calls."""
    return call.removeprefix("sess_").removeprefix("rtc_")


class ClientSecrets:
    """Those of this server; a restart forgets them all. ``now`` gives Unix seconds, ``ids`` new ids of a kind; ``told``
    hears of each that is made here or has changed, for other processes that are to know it (:meth:`learn`)."""

    def __init__(
        self,
        now: Callable[[], float],
        ids: Callable[[str], str] = new_id,
        told: Callable[[ClientSecret], object] = lambda secret: None,
    ) -> None:
        self._now = now
        self._told = told
        self._new_id = ids
        self._active: dict[str, ClientSecret] = {}
        self._ended: dict[str, ClientSecret] = {}

    def __iter__(self) -> Iterator[tuple[ClientSecret, State]]:
        self._forget()
        now = self._now()
        for secret in (*self._active.values(), *self._ended.values()):
            yield secret, secret.state(now)

    def make(self, session: SessionPatch, seconds: int) -> tuple[str, ClientSecret]:
        """A new one and its value. Raises :class:`TooManySecretsError`."""
        self._forget()
        if len(self._active) >= MOST_SECRETS:
            raise TooManySecretsError(f"{MOST_SECRETS} client secrets are in use; revoke some, or let them expire")
        name = self._new_id("ek").removeprefix(PREFIX)
        value = f"{PREFIX}{name}_{secrets.token_urlsafe(32)}"
        created = int(self._now())
        secret = ClientSecret(name, _digest(value), created, created + seconds, session, told=self._told)
        self._active[name] = secret
        self._told(secret)
        return value, secret

    def learn(self, secret: ClientSecret) -> None:
        """Know one that another process has made, or what has become of it there."""
        known = self._active.get(secret.id) or self._ended.get(secret.id)
        if known is not None:
            known.join(secret)
        else:
            secret.told = self._told
            self._active[secret.id] = secret
        self._forget()

    def named(self, name: str) -> ClientSecret | None:
        """The one of that identifier, as far as it is known here."""
        return self._active.get(name) or self._ended.get(name)

    def find(self, value: str) -> tuple[ClientSecret, State] | None:
        """The secret of this value; ``None`` when there is none, or none any more."""
        self._forget()
        secret = self.named(name_in(value))
        known = secret.digest if secret is not None else bytes(hashlib.sha256().digest_size)
        is_same = hmac.compare_digest(_digest(value), known)
        return (secret, secret.state(self._now())) if secret is not None and is_same else None

    def revoke(self, name: str) -> bool:
        """Let nobody use it any more; ``False`` when there is none of that identifier."""
        self._forget()
        secret = self._active.get(name) or self._ended.get(name)
        if secret is not None:
            secret.is_revoked = True
            self._told(secret)
            self._forget()
        return secret is not None

    def _forget(self) -> None:
        now = self._now()
        for secret in [secret for secret in self._active.values() if secret.state(now) != "active"]:
            secret.session = SessionPatch()
            self._ended[secret.id] = self._active.pop(secret.id)
        for secret in list(self._ended.values()):
            if len(self._ended) > MOST_ENDED or now >= secret.expires_at + REMEMBERED_SECONDS:
                del self._ended[secret.id]


def name_in(value: str) -> str:
    """The identifier of the secret that has this value."""
    return value.removeprefix(PREFIX).partition("_")[0]


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "surrogateescape")).digest()
