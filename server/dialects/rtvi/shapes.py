"""The JSON shapes of RTVI messages that need no memory of the session. Pure.

Field names follow ``@pipecat-ai/client-js`` 1.13 (``rtvi/messages.ts``) and ``pipecat-ai`` 1.14
(``processors/frameworks/rtvi/models.py``). What is unknown is left out rather than null.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

Json = dict[str, Any]

LABEL = "rtvi-ai"
VERSION = "2.1.0"
"""Of the protocol. Clients compare the first number with their own."""
SIGNALLING = "signalling"
"""The type of what the SmallWebRTC transport itself says on the channel; such messages have no label."""


def message(kind: str, message_id: str | None = None, **data: object) -> Json:
    """A message to the client; ``message_id`` is that of the client's message which it answers."""
    answered: Json = {} if message_id is None else {"id": message_id}
    return {"label": LABEL, "type": kind, **answered, **({"data": data} if data else {})}


def bot_ready(message_id: str) -> Json:
    """The answer to ``client-ready``."""
    return message("bot-ready", message_id, version=VERSION, about=about())


def about() -> Json:
    """What ``bot-ready`` tells of this program."""
    try:
        return {"library": "visavis", "library_version": version("visavis")}
    except PackageNotFoundError:  # run from its sources, uninstalled
        return {"library": "visavis"}


def error(text: str, *, fatal: bool = False) -> Json:
    """Something failed; a client disconnects upon a ``fatal`` one."""
    return message("error", error=text, fatal=fatal)


def error_response(message_id: str, text: str) -> Json:
    """The client's message ``message_id`` is refused, or failed."""
    return message("error-response", message_id, error=text)


def server_response(message_id: str, kind: str, data: object) -> Json:
    """The answer to the ``client-message`` with this id and ``t``."""
    return message("server-response", message_id, t=kind, d=data)


def server_message(data: object) -> Json:
    """An event that RTVI has no name for."""
    return {"label": LABEL, "type": "server-message", "data": data}


def peer_left() -> Json:
    """The SmallWebRTC transport's goodbye, upon which ``onBotDisconnected`` is called."""
    return {"type": SIGNALLING, "message": {"type": "peerLeft"}}
