"""The routes of short-lived keys, and of the ICE servers: a part of :mod:`server.http.openapi.table`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from server.dialects.openai.fields import SessionPatch
from server.http.openapi.rows import Operation, json_answer
from server.http.openapi.shapes import Shape


class ExpiresAfter(Shape):
    """How long the secret is valid, from now on."""

    anchor: Literal["created_at"] = "created_at"
    seconds: int = Field(600, ge=10, le=7200)


class SecretBody(Shape):
    """What sessions that are opened with it begin with, and how long it is valid."""

    session: SessionPatch | None = None
    expires_after: ExpiresAfter | None = None


class Secret(Shape):
    """The secret, which is told once."""

    value: str
    expires_at: int
    session: dict[str, Any]
    id: str


class SecretRow(Shape):
    """What is known of a secret."""

    object: Literal["realtime.client_secret"]
    id: str
    status: str
    created_at: int
    expires_at: int
    calls: int


class SecretList(Shape):
    """The secrets that have been made."""

    object: Literal["list"]
    data: list[SecretRow]


class SecretGone(Shape):
    """It is not valid any more."""

    object: Literal["realtime.client_secret"]
    id: str
    deleted: Literal[True]


class IceServers(BaseModel):
    """As WebRTC's ``RTCConfiguration`` takes them."""

    ice_servers: list[dict[str, Any]]


SECRETS = (
    Operation(
        "POST",
        "/v1/realtime/client_secrets",
        "keys",
        "Make a short-lived key for a browser or an app",
        {200: json_answer("the secret, which is told once", Secret)},
        {"application/json": SecretBody},
        refuses=(415,),
    ),
    Operation(
        "GET",
        "/v1/realtime/client_secrets",
        "keys",
        "What secrets there are, without their values",
        {200: json_answer("the list", SecretList)},
    ),
    Operation(
        "DELETE",
        "/v1/realtime/client_secrets/{id}",
        "keys",
        "Revoke a secret",
        {200: json_answer("it is not valid any more", SecretGone)},
        refuses=(404,),
    ),
    Operation(
        "GET",
        "/v1/realtime/ice_servers",
        "keys",
        "STUN and TURN servers for a client, before it makes its offer",
        {200: json_answer("the servers", IceServers)},
    ),
)
