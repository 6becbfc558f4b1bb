"""One shape for every error a client sees: ``{"error": {"message", "type", "code", "param"}}``."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from pipelines.errors import PipelineError
from server.dialects.openai.settings import RefusedError
from server.http.request_ids import X_REQUEST_ID, named, new_request_id, request_id
from server.sessions import ServerBusyError, ServerFullError
from server.transports.webrtc.offers import OfferError
from server.transports.webrtc.trickle import TrickleError

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
_BUSY = "engine_busy stt_busy engine_closed stt_closed engine_stuck llm_unavailable llm_unreachable out_of_memory"
_BUSY += " deadline does_not_fit"
_CALLERS = "llm_context_full llm_refused llm_template unknown_voice invalid_speed stt_language stt_cannot_translate"
_CALLERS += (
    " tool_choice_unsupported response_format_unsupported logprobs_unsupported adapters_unsupported adapter_broken"
)
_STATUS = {
    "unknown_pipeline": 404,
    "no_conversation": 400,
    **dict.fromkeys(_BUSY.split(), 503),
    **dict.fromkeys(_CALLERS.split(), 400),
}
"""Codes of engines' errors that are no failure of theirs: it is a bad time, or they were asked what they cannot do."""


def error_response(
    status: int,
    code: str,
    message: str,
    param: str | None = None,
    headers: dict[str, str] | None = None,
    **more: Any,
) -> web.Response:
    """An error in the common shape; whoever came at a bad time is told when to come again. ``more``: its own fields."""
    if status in (429, 503):
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS), **(headers or {})}
    body = error_body(status, code, message, param)
    body["error"] |= more
    return web.json_response(body, status=status, headers=headers)


def full_response(message: str, places: int) -> web.Response:
    """There is no room for another session now."""
    return error_response(503, "server_full", message, retry_after=RETRY_AFTER_SECONDS, places=places)


def busy_response(message: str, retry_after: int) -> web.Response:
    """There is too much to do for another one now."""
    headers = {"Retry-After": str(retry_after)}
    return error_response(503, "server_busy", message, headers=headers, retry_after=retry_after)


def no_room_response(error: ServerFullError) -> web.Response:
    """Of either kind."""
    if isinstance(error, ServerBusyError):
        return busy_response(str(error), error.retry_after)
    return full_response(str(error), error.places)


def error_bytes(status: int, code: str, message: str) -> bytes:
    """The same as it is sent, for a connection that has no request yet; it ends the connection."""
    body = json.dumps(error_body(status, code, message)).encode()
    retry = f"Retry-After: {RETRY_AFTER_SECONDS}\r\n" if status in (429, 503) else ""
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{retry}Content-Type: application/json; charset=utf-8\r\n"
    head += f"{X_REQUEST_ID}: {new_request_id()}\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def status_of(error: PipelineError) -> int:
    """Of what went wrong in an engine."""
    return _STATUS.get(error.code, 500)


def error_body(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """The common shape itself."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "code": code, "param": param}}


class HttpError(Exception):
    """A request that is answered by an error; ``param`` names what in it is wrong."""

    def __init__(self, status: int, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.body = error_body(status, code, message, param)
        self.response = error_response(status, code, message, param)
        if status == HTTPStatus.REQUEST_TIMEOUT:
            self.response.force_close()  # the rest of the request may still come, and is none


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """:func:`shaped` for what handlers raise."""
    return await shaped(request, handler)


ABSENT = {
    "/v1/workers": "; this server is one process (serve --workers N starts several)",
    "/v1/nodes": "; this server is no node of a cluster (setting cluster_url)",
    "/v1/node": "; this server is no node of a cluster (setting cluster_url)",
}
"""What is to be said where a route is missing because of how the server was started."""


async def shaped(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's response, or in the common shape what it raised; tracebacks stay in the log."""
    try:
        return await handler(request)
    except HttpError as error:
        return error.response
    except (OfferError, TrickleError) as error:
        return error_response(error.status, error.code, str(error), error.param)
    except RefusedError as error:
        return error_response(400, error.code, str(error), error.param)
    except ServerFullError as error:
        return no_room_response(error)
    except PipelineError as error:
        return error_response(status_of(error), error.code, error.message)
    except web.HTTPRequestEntityTooLarge as error:
        return error_response(413, "body_too_large", f"the body is too large: {error.text}")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        code = error.reason.lower().replace(" ", "_")
        allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        absent = ABSENT.get("/".join(request.path.split("/")[:3]), "") if error.status == 404 else ""
        message = f"{request.method} {request.path}: {error.reason}{absent}"
        return error_response(error.status, code, message, headers=allowed)
    except ConnectionResetError:
        raise
    except Exception as error:
        if isinstance(error, ConnectionError) and request.transport is None:
            raise  # the client has left, or took nothing of the answer for too long
        log.exception("%s failed (%s)", named(request), request_id(request))
        return error_response(500, "internal_error", "the server failed; its log has the details")
