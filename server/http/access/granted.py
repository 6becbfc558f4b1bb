"""What let a request in: no key was needed, the server's own key, or a client secret with its session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel

from pipelines.routing.run import PRIORITIES
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import RefusedError
from server.http.access.client_secrets import ClientSecret
from server.http.errors import HttpError

NOT_ITS_CALL = "a client secret reaches the calls that were made with it, and this is none of them"
Patch = TypeVar("Patch", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Granted:
    """Handlers read it as ``request[GRANTED]``."""

    secret: ClientSecret | None = None
    """The client secret that was given; ``None``: the server's own key, or none where none is needed."""
    has_expired: bool = False
    """Whether that secret opens nothing any more but what was made with it."""

    def begins(self, wishes: SessionPatch) -> SessionPatch:
        """The settings that a session begins with: those bound to the secret, and over them what the client wants.

        A secret is no way past others: a higher priority than its own raises :class:`RefusedError`.
        """
        if self.secret is None:
            return wishes
        most = self.secret.session.priority or "normal"
        legal = PRIORITIES[: PRIORITIES.index(most) + 1]
        if wishes.priority is not None and wishes.priority not in legal:
            message = f"with this client secret legal values are {', '.join(legal)}, not {wishes.priority}"
            raise RefusedError("session.priority", f"session.priority: {message}")
        return over(self.secret.session, wishes)

    def made(self, call: str) -> None:
        """To be told of every call (session) that this request made: its holder alone may end it later."""
        if self.secret is not None:
            self.secret.made(call)

    def may_reach(self, call: str) -> bool:
        """Whether that call is within reach: with the server's key every one, with a secret those made with it."""
        return self.secret is None or self.secret.has_made(call)

    def check_reach(self, call: str) -> None:
        """For a call that is named elsewhere than in the path or as ``call_id``: raises :class:`HttpError` (403)."""
        if not self.may_reach(call):
            raise HttpError(403, "call_not_allowed", NOT_ITS_CALL)


GRANTED = web.RequestKey("granted", Granted)
CLIENT = web.RequestKey("client", str)
"""Who asks, as far as it can be told: the part of the network that the address is in, and the client secret."""


def over(base: Patch, patch: Patch) -> Patch:
    """``base`` with every field that ``patch`` was given. Objects are merged, unless both name a ``type`` and these
    differ: the fields of ``semantic_vad`` mean nothing to ``server_vad``."""
    values = {name: getattr(base, name) for name in base.model_fields_set}
    for name in patch.model_fields_set:
        below, value = values.get(name), getattr(patch, name)
        values[name] = over(below, value) if _are_alike(below, value) else value
    return type(base).model_construct(set(values), **values)


def _are_alike(one: object, other: object) -> bool:
    if not isinstance(one, BaseModel) or type(one) is not type(other):
        return False
    kinds = {getattr(one, "type", None), getattr(other, "type", None)} - {None}
    return len(kinds) <= 1
