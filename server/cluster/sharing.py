"""What the sessions of one process need of other nodes, and leave for them: in every process that serves sessions.

Before a request is served, what it names and is not known here is looked for in the store: a client secret, a start,
the conversation that it goes on with. Afterwards what it has made is written there. A store that is away is not asked:
then a process knows what it has made itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from media.clock import Clock
from server.cluster.credentials import ForgedError
from server.cluster.store import StoreAwayError
from server.cluster.writer import Writer
from server.dialects.openai.settings import RefusedError
from server.http.access.client_secrets import PREFIX, ClientSecret, name_in
from server.http.access.granted import GRANTED
from server.http.access.keys import key_of
from server.http.access.secret_copies import from_json, to_json
from server.http.access.secret_routes import OWN_SECRETS, SECRETS
from server.http.errors import HttpError
from server.http.signaling.offer import REGISTRY
from server.http.signaling.small_webrtc import START, STARTS, asked_for
from server.http.signaling.starts import START_SECONDS, Start
from server.workers.handover import HandoverError, from_text
from server.workers.passing import json_of

log = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""After which it is asked again whether a client secret has been revoked elsewhere."""
MOST_CHECKED = 4096
OWNER_SECONDS = 24 * 3600.0
"""For which it is known with which secret and start a session was begun."""
READ_SECONDS = 1.0
"""For which the store is waited for."""
AWAY_SECONDS = 1.0
"""For which a store is not asked that has not answered."""
WRITTEN_SECONDS = 0.3
"""For which the answer waits until other nodes know of what it names."""
_SECRET, _START, _OWNER = "secret", "start", "owner"


@dataclass(frozen=True, slots=True)
class _Owner:
    """With what a session was begun."""

    secret: str | None = None
    start: str | None = None


class Sharing:
    """``clock`` times how often the store is asked for the same."""

    def __init__(self, writer: Writer, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._checked: dict[str, float] = {}
        self._away_until = 0.0

    async def served(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Its answer, here."""
        path, method = request.path, request.method
        key = key_of(request.headers)
        if key is not None and key.startswith(PREFIX):
            await self._know_secret(request, name_in(key))
        revoked = request.match_info.get("id") if _is_revocation(request) else None
        if revoked is not None:
            await self._know_secret(request, revoked)
        start = request.match_info.get("start")
        if start is not None:
            await self._know_start(request, start)
        previous = await _goes_on_with(request)
        adopted = previous is not None and await self._know_conversation(request, previous, start)
        response = await handler(request)
        if response.status >= 300:
            return response
        if previous is not None and (adopted or _told(response).get("resumed") is True):
            self._writer.taken(previous)
        if revoked is not None or (method == hdrs.METH_POST and path == SECRETS):
            await self._writer.flush(WRITTEN_SECONDS)
        elif method == hdrs.METH_POST and path == START:
            self._leave_start(request, str(_told(response).get("sessionId")), await _json(request))
            await self._writer.flush(WRITTEN_SECONDS)
        elif method == hdrs.METH_POST:
            self._leave_owner(request, response, start)
        return response

    # ------------------------------------------------------------------------------------------------ known here

    async def _know_secret(self, request: web.Request, name: str) -> None:
        """Take up a client secret that another node has made, or revoked."""
        now, secrets = self._clock.now(), request.app[OWN_SECRETS]
        if now < self._checked.get(name, 0.0):
            return
        record = await self._found(_SECRET, name[:100])
        while len(self._checked) >= MOST_CHECKED:
            del self._checked[next(iter(self._checked))]
        if record is None:
            return  # neither is it asked again at once, nor is it known that there is none
        self._checked[name] = now + CHECK_SECONDS
        try:
            secrets.learn(from_json(record))
        except (ValueError, KeyError, TypeError) as error:  # of another version
            log.warning("a client secret of another node cannot be used here: %s", error)

    async def _know_start(self, request: web.Request, name: str) -> None:
        starts = request.app[STARTS]
        if starts.find(name) is not None:
            return
        record = await self._found(_START, name[:100])
        if record is None:
            return
        try:
            starts.adopt(name, *asked_for(record["body"]))
        except (RefusedError, HttpError) as error:
            log.warning("a start of another node cannot be used here: %s", error)
            return
        self._made_by(request, record.get("secret"), name)

    async def _know_conversation(self, request: web.Request, session: str, start_id: str | None) -> bool:
        """Whether a conversation of elsewhere was taken up."""
        registry = request.app[REGISTRY]
        if registry.goes_on(session):
            return False
        state = await self._read(self._writer.memory(session))
        if state is None:
            return False
        try:
            registry.adopt(session, from_text(state))
        except HandoverError as error:
            log.warning("the conversation of %s cannot go on here: %s", session, error)
            return False
        owner = await self._found(_OWNER, session) or {}
        self._made_by(request, owner.get("secret"), session)
        start: Start | None = request.app[STARTS].find(start_id) if start_id is not None else None
        if start is not None and owner.get("start") == start.id and session not in start.sessions:
            start.sessions.append(session)
        return True

    def _made_by(self, request: web.Request, secret: Any, call: str) -> None:
        """The holder of a client secret may reach what was made with it, if that is the one of this request."""
        key = key_of(request.headers)
        if isinstance(secret, str) and key is not None and name_in(key) == secret:
            known = request.app[OWN_SECRETS].named(secret)
            if known is not None:
                known.made(call)

    async def _found(self, kind: str, name: str) -> dict[str, Any] | None:
        plain = await self._read(self._writer.find(kind, name))
        told = json_of(plain) if plain is not None else None
        return told if isinstance(told, dict) else None

    async def _read(self, asking: Any) -> Any:
        """What the store knows; ``None`` where it knows nothing or is away."""
        if self._clock.now() < self._away_until:
            asking.close()
            return None
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await asking
        except (StoreAwayError, TimeoutError):
            self._away_until = self._clock.now() + AWAY_SECONDS
        except ForgedError as error:
            log.warning("%s", error)
        return None

    # ------------------------------------------------------------------------------------------------ left for others

    def leave_secret(self, secret: ClientSecret) -> None:
        """One was made here, or has changed."""
        seconds = max(1.0, secret.expires_at - secret.created_at) + OWNER_SECONDS
        self._writer.put(_SECRET, secret.id, json.dumps(to_json(secret)).encode(), seconds)

    def _leave_start(self, request: web.Request, name: str, body: Mapping[str, Any]) -> None:
        granted = request.get(GRANTED)
        secret = granted.secret.id if granted is not None and granted.secret is not None else None
        record = {"body": {"body": body.get("body")}, "secret": secret}
        self._writer.put(_START, name, json.dumps(record).encode(), START_SECONDS)

    def _leave_owner(self, request: web.Request, response: web.StreamResponse, start: str | None) -> None:
        granted = request.get(GRANTED)
        secret = granted.secret.id if granted is not None and granted.secret is not None else None
        if secret is None and start is None:
            return
        told = _told(response)
        session = told.get("session_id") or told.get("pc_id")
        if isinstance(session, str):
            record = {"secret": secret, "start": start}
            self._writer.put(_OWNER, session, json.dumps(record).encode(), OWNER_SECONDS)


def _is_revocation(request: web.Request) -> bool:
    return request.method == hdrs.METH_DELETE and request.path.startswith(f"{SECRETS}/")


async def _goes_on_with(request: web.Request) -> str | None:
    """The session that an offer in JSON goes on with."""
    path = request.path
    if request.method != hdrs.METH_POST or not (path == "/offer" or path.endswith("/api/offer")):
        return None
    return previous_in(await _json(request))


def previous_in(told: Mapping[str, Any]) -> str | None:
    """The session that the body of an offer names."""
    named = told.get("resume") or told.get("pc_id")
    return named if isinstance(named, str) and named.startswith("sess_") and len(named) <= 100 else None


async def _json(request: web.Request) -> dict[str, Any]:
    """What is wrong in a body is said by whoever serves the request."""
    told = json_of(await request.read()) if request.body_exists else {}
    return told if isinstance(told, dict) else {}


def _told(response: web.StreamResponse) -> dict[str, Any]:
    body = response.body if isinstance(response, web.Response) else None
    told = json_of(bytes(body)) if isinstance(body, bytes | bytearray) else None
    return told if isinstance(told, dict) else {}
