"""Client secrets as JSON, for other processes of the same server: without their values, which nobody keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.dialects.openai.fields import SessionPatch
from server.http.access.client_secrets import ClientSecret


def to_json(secret: ClientSecret) -> dict[str, Any]:
    """All that is known of it."""
    return {
        "id": secret.id,
        "digest": secret.digest.hex(),
        "created_at": secret.created_at,
        "expires_at": secret.expires_at,
        "session": secret.session.model_dump(mode="json", exclude_unset=True, by_alias=True),
        "is_revoked": secret.is_revoked,
        "calls": list(secret.calls),
    }


def from_json(told: Mapping[str, Any]) -> ClientSecret:
    """Of a process of ours. Raises :class:`ValueError` for what is none."""
    return ClientSecret(
        str(told["id"]),
        bytes.fromhex(told["digest"]),
        int(told["created_at"]),
        int(told["expires_at"]),
        SessionPatch.model_validate(told["session"]),
        bool(told["is_revoked"]),
        dict.fromkeys(told["calls"]),
    )
