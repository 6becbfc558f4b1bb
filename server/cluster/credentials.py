"""What the nodes of one cluster prove to each other with, and hide from everybody else with. Pure but for randomness.

All comes from one secret, by HKDF-SHA256 (RFC 5869): a key that signs, a key that encrypts (AES-256-GCM), and a key
that names are hashed with. Of what is kept in Redis nobody can tell without the secret whose it is or what it says, and
nobody can add to it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VALID_SECONDS = 30.0
"""For which a signed request may be on its way; the clocks of nodes may differ by so much."""
MOST_SEEN = 20_000
"""Signed requests that are remembered, so that none is taken twice."""
_NONCE = 12
_SALT = b"visavis cluster 1"


class ForgedError(ValueError):
    """It was not signed by a node of this cluster, not for this node, not now, or was used already."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a signature covers."""

    target: str
    """The node that it is for."""
    parts: Sequence[str]
    """All that must be as it was sent."""


class Credentials:
    """Those of one node. ``now`` gives Unix seconds."""

    def __init__(self, secret: str, now: Callable[[], float]) -> None:
        self._now = now
        self._sign, encrypt, self._name = (_derived(secret, what) for what in ("sign", "encrypt", "name"))
        self._cipher = AESGCM(encrypt)
        self._seen: OrderedDict[str, float] = OrderedDict()

    # ------------------------------------------------------------------------------------------------ requests

    def signature(self, what: Signed) -> str:
        """To be sent with it: ``TIME:NONCE:MAC``."""
        time, nonce = f"{self._now():.3f}", secrets.token_hex(8)
        return f"{time}:{nonce}:{self._mac(time, nonce, what)}"

    def check(self, given: str, what: Signed) -> None:
        """Raise :class:`ForgedError` unless a node of this cluster has signed this, now, and it is new."""
        time, _, rest = given.partition(":")
        nonce, _, mac = rest.partition(":")
        if not hmac.compare_digest(mac.encode("utf-8", "surrogateescape"), self._mac(time, nonce, what).encode()):
            raise ForgedError("the signature of a node is not right")
        now = self._now()
        if abs(now - float(time)) > VALID_SECONDS:  # it is a number: one of ours has written it
            raise ForgedError(
                f"it was signed {now - float(time):.0f} s ago by its clock; are the clocks of nodes right?"
            )
        if nonce in self._seen:
            raise ForgedError("it has come already")
        self._seen[nonce] = now + 2 * VALID_SECONDS
        while self._seen and (len(self._seen) > MOST_SEEN or next(iter(self._seen.values())) < now):
            self._seen.popitem(last=False)

    def now(self) -> float:
        """Unix seconds by the clock of this node."""
        return self._now()

    def since(self, time: float) -> float:
        """Seconds that have passed since then, by the clock of this node."""
        return self._now() - time

    def _mac(self, time: str, nonce: str, what: Signed) -> str:
        return self.mac(time, nonce, what.target, *what.parts)

    def mac(self, *parts: str) -> str:
        """Proves that a node has written these parts, in this order."""
        text = "".join(f"{len(part)}:{part}" for part in parts)
        return hmac.new(self._sign, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    # ------------------------------------------------------------------------------------------------ what is kept

    def name(self, kind: str, name: str) -> str:
        """Under which something is kept. A client may have made it up: halves of surrogate pairs are as good as any."""
        text = f"{kind}:{name}".encode("utf-8", "surrogatepass")
        return f"{kind}:{hmac.new(self._name, text, hashlib.sha256).hexdigest()[:40]}"

    def seal(self, name: str, plain: bytes) -> bytes:
        """Encrypted, and good under this name alone."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, name.encode())

    def unseal(self, name: str, sealed: bytes) -> bytes:
        """Raises :class:`ForgedError`."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise ForgedError("what was kept was not written by a node with this secret") from error


def _derived(secret: str, what: str) -> bytes:
    return HKDF(hashes.SHA256(), 32, _SALT, what.encode()).derive(secret.encode())
