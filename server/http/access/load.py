"""Who is let in while there is too much to do: the priority of a request, and the refusal of those that are not."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from multidict import CIMultiDictProxy

from pipelines.routing.run import PRIORITIES, Priority
from server.dialects.openai.fields import SessionPatch
from server.http.errors import HttpError
from server.load.plan import URGENT
from server.load.state import Busy, Load

LOAD = web.AppKey("load", Load)
X_PRIORITY = "X-Priority"


def priority_of(headers: CIMultiDictProxy[str]) -> Priority | None:
    """What the header says, whatever its case; ``None`` without one. Raises :class:`HttpError` (400)."""
    text = headers.get(X_PRIORITY, "").strip().lower()
    if not text:
        return None
    if text not in PRIORITIES:
        message = f"{X_PRIORITY}: legal values are {', '.join(PRIORITIES)}, not {text[:60]!a}"
        raise HttpError(400, "invalid_value", message, X_PRIORITY)
    return cast(Priority, text)


def prioritised(request: web.Request, wishes: SessionPatch) -> SessionPatch:
    """``wishes`` with the priority of the request's header, unless they name one themselves."""
    if wishes.priority is not None or (priority := priority_of(request.headers)) is None:
        return wishes
    return wishes.model_copy(update={"priority": priority})


def check_load(request: web.Request) -> None:
    """Raise :class:`HttpError` (503) for a single request that is not let in now."""
    busy = turned_away(request.app[LOAD], request.headers)
    if busy is not None:
        error = HttpError(503, "server_busy", busy.message)
        error.response.headers["Retry-After"] = str(busy.retry_after)
        raise error


def turned_away(load: Load, headers: CIMultiDictProxy[str]) -> Busy | None:
    """Why a single request with these headers is not let in now, which is counted; ``None``: it is. Raises
    :class:`HttpError` (400) for a priority that there is not."""
    busy = load.refusal("task", priority_of(headers) or "normal")
    if busy is not None:
        load.turned_away("task")
    return busy


def is_urgent(headers: CIMultiDictProxy[str], told: object) -> bool:
    """Whether a session of high priority is asked for, by the header or ``session.priority`` of the JSON ``told``.
    Raises :class:`HttpError` (400)."""
    session = told.get("session") if isinstance(told, dict) else None
    wish = session.get("priority") if isinstance(session, dict) else None
    return (wish or priority_of(headers)) in URGENT
