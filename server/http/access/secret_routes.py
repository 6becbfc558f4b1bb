"""``/v1/realtime/client_secrets``: make, list and revoke the short-lived keys of clients.

As OpenAI's (https://developers.openai.com/api/docs/guides/realtime-webrtc), whose browser clients take no key that does
not begin with ``ek_``; listing and revoking are ours. A value is told once, in the response that makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from aiohttp import hdrs, web
from pydantic import Field, ValidationError

from server.dialects.openai.fields import Given, SessionPatch
from server.dialects.openai.settings import RefusedError, offered_session, refusal
from server.dialects.openai.shapes import Json
from server.http.access.client_secrets import ClientSecret, ClientSecrets, State, TooManySecretsError
from server.http.bodies import json_body
from server.http.errors import HttpError

SECRETS = "/v1/realtime/client_secrets"
OWN_SECRETS = web.AppKey("client_secrets", ClientSecrets)
LARGEST_SECRET = 128 << 10
"""Bytes of a body: its session is kept for as long as the secret."""
Effective = Callable[[SessionPatch], Json]
"""The session object that a patch leads to. Raises :class:`~server.dialects.openai.settings.RefusedError`."""


class _ExpiresAfter(Given):
    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200)


class _Create(Given):
    session: Any = None
    expires_after: _ExpiresAfter | None = None


def add_client_secrets(app: web.Application, secrets: ClientSecrets, effective: Effective) -> None:
    """The routes."""
    app[OWN_SECRETS] = secrets
    routes = _Routes(secrets, effective)
    app.router.add_post(SECRETS, routes.create)
    app.router.add_get(SECRETS, routes.list)
    app.router.add_delete(f"{SECRETS}/{{id}}", routes.revoke)


class _Routes:
    def __init__(self, secrets: ClientSecrets, effective: Effective) -> None:
        self._secrets = secrets
        self._effective = effective

    async def create(self, request: web.Request) -> web.Response:
        if len(await request.read()) > LARGEST_SECRET:
            raise HttpError(413, "body_too_large", f"the session of a client secret may have {LARGEST_SECRET:,} bytes")
        wish = _read(await json_body(request) if request.body_exists else {})
        patch = offered_session(wish.session)
        session = self._effective(patch)
        try:
            value, secret = self._secrets.make(patch, (wish.expires_after or _ExpiresAfter()).seconds)
        except TooManySecretsError as error:
            raise HttpError(429, "too_many_client_secrets", str(error)) from error
        body = {"value": value, "expires_at": secret.expires_at, "session": session, "id": secret.id}
        return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [_shown(*one) for one in self._secrets]})

    async def revoke(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        if not self._secrets.revoke(name):
            raise HttpError(404, "client_secret_not_found", f"there is no client secret {name[:64]!a}", "id")
        return web.json_response({"object": "realtime.client_secret", "id": name, "deleted": True})


def _read(body: Any) -> _Create:
    """Raises :class:`~server.dialects.openai.settings.RefusedError` naming the field."""
    if not isinstance(body, dict):
        raise RefusedError(
            "", "the body must be a JSON object; its fields are session and expires_after", "invalid_body"
        )
    try:
        return _Create.model_validate(body)
    except ValidationError as error:
        raise refusal(error, body, tagged=False) from error


def _shown(secret: ClientSecret, state: State) -> Json:
    return {
        "object": "realtime.client_secret",
        "id": secret.id,
        "status": state,
        "created_at": secret.created_at,
        "expires_at": secret.expires_at,
        "calls": len(secret.calls),
    }
