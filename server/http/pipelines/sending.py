"""What a run gives is sent while it is made, in the shape that was asked for.

What fails before the first byte has a status of its own. Afterwards events tell of it, and an answer of
bytes is broken off.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import Any

from aiohttp import web

from pipelines.errors import PipelineError
from pipelines.interfaces.task import CALLERS_FAULT
from pipelines.routing.executor import Run, StageOutput
from pipelines.runtime.worker import Worker
from server.http.errors import error_body, error_response, status_of
from server.http.pipelines.accept import EVENTS, JSON
from server.http.pipelines.answers import JsonAnswer, answer_of
from server.http.pipelines.arriving import InputError
from server.http.pipelines.ready import Ready
from server.http.pipelines.store import LATE, KeptRun
from server.http.pipelines.tell import event_json
from server.http.pipelines.wishes import TARGET
from server.http.rest.serving import event_stream

log = logging.getLogger(__name__)
RUN_ID, PIPELINE, PARTIAL = "X-Run-Id", "X-Pipeline", "X-Partial"
_CALLERS = ("wrong_input", "invalid_input", "unknown_language", *CALLERS_FAULT)
_STATUS = {
    LATE: 504,
    "no_backend": 503,
    "stt_unable": 501,
    "input_too_large": 413,
    "output_too_large": 413,
    **dict.fromkeys(_CALLERS, 400),
}
"""Codes of errors that runs alone have → status."""


class Sending:
    """The answer to one request."""

    def __init__(self, request: web.Request, ready: Ready, kept: KeptRun, worker: Worker) -> None:
        self._request = request
        self._ready = ready
        self._kept = kept
        self._worker = worker

    async def send(self, run: Run) -> web.StreamResponse:
        """The whole answer. Raises :class:`PipelineError` for what fails before its first byte."""
        kind = self._ready.shape.content_type
        if kind == EVENTS:
            return await self._events(run)
        return await (self._object(run) if kind == JSON else self._bytes(run))

    # ---- bytes

    async def _bytes(self, run: Run) -> web.StreamResponse:
        ready = self._ready
        answer = answer_of(ready.shape, ready.sinks, ready.rate, self._worker)
        response: web.StreamResponse | None = None
        held = bytearray()
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    if not isinstance(event, StageOutput) or not (data := await answer.push(event.stage, event.item)):
                        continue
                    if self._may_come_late:
                        held += data
                        continue
                    response = response or await self._begin(answer.content_type)
                    await response.write(data)
        except PipelineError as error:
            if not self._is_partial(error):
                if response is None:
                    raise
                self._kept.fail(error)
                raise ConnectionResetError(f"the answer broke off: {error}") from error  # it is to be seen as such
        rest = await answer.finish()
        response = response or await self._begin(answer.content_type)
        self._kept.finish("completed")
        await response.write(bytes(held) + rest)
        await response.write_eof()
        return response

    @property
    def _may_come_late(self) -> bool:
        """Whether it is known only at the end if the answer is whole: its head, which tells, has to wait."""
        wishes, options = self._ready.asked.wishes, self._ready.pipeline.options
        return wishes.max_latency_ms is not None and not options.enable_streaming

    async def _begin(self, content_type: str) -> web.StreamResponse:
        headers = {"Content-Type": content_type, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers={**headers, **self.headers})
        await response.prepare(self._request)
        return response

    # ---- JSON

    async def _object(self, run: Run) -> web.StreamResponse:
        answer = JsonAnswer(self._kept, self._ready.sinks, self._worker)
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    if isinstance(event, StageOutput):
                        await answer.push(event.stage, event.item)
        except PipelineError as error:
            if not self._is_partial(error):
                raise
        self._kept.finish("completed")
        return web.Response(body=await answer.finish(), content_type=JSON, charset="utf-8", headers=self.headers)

    # ---- events

    async def _events(self, run: Run) -> web.StreamResponse:
        kept, sinks = self._kept, frozenset(self._ready.sinks)
        async with event_stream(self._request, self.headers) as stream:
            await stream.send({"type": "run.started", "run_id": kept.id, "pipeline": kept.pipeline})
            try:
                async with aclosing(run.events()) as events:
                    async for event in events:
                        if (told := await event_json(event, sinks, self._worker)) is not None:
                            await stream.send(told)
                kept.finish("completed")
            except PipelineError as error:
                kept.fail(error)
                if not self._is_partial(error):
                    await stream.send({"type": "error", **_error_body(error, self._ready.asked.wishes.target_backend)})
            kept.stop()
            await stream.send({"type": "run.ended", **_ended(kept)})
        return stream.response

    # ---- both

    @property
    def headers(self) -> dict[str, str]:
        """What every answer of a run has."""
        return run_headers(self._kept)

    def _is_partial(self, error: PipelineError) -> bool:
        """Whether what there is will do; then it is noted."""
        if error.code != LATE or self._ready.asked.on_late != "partial":
            return False
        self._kept.fail(error)
        return True


def run_headers(kept: KeptRun) -> dict[str, str]:
    """Of answers to runs, and of errors."""
    late = {PARTIAL: LATE} if kept.outcome == "late" else {}
    return {RUN_ID: kept.id, PIPELINE: kept.pipeline, **late}


def refused(error: PipelineError, kept: KeptRun | None, target: str = "") -> web.Response:
    """The answer to a run of which nothing has been sent; ``target``: the backend that the request forces."""
    status, param = _told(error, target)
    if isinstance(error, InputError):
        param = error.param
    headers = None if kept is None else {RUN_ID: kept.id, PIPELINE: kept.pipeline}
    response = error_response(status, error.code, error.message, param, headers=headers)
    if status in (408, 413) or error.code == "invalid_body":
        response.force_close()  # the rest of the body may still come, and is no request
    return response


def _status(error: PipelineError) -> int:
    if isinstance(error, InputError):
        return error.status
    return _STATUS.get(error.code) or status_of(error)


def _told(error: PipelineError, target: str) -> tuple[int, str | None]:
    """Status and parameter. What a backend cannot do that is forced is not to be had by coming again."""
    if target and error.code == "no_backend":
        return 400, TARGET
    return _status(error), None


def _error_body(error: PipelineError, target: str) -> dict[str, Any]:
    status, param = _told(error, target)
    return error_body(status, error.code, error.message, param)


def _ended(kept: KeptRun) -> dict[str, Any]:
    told = kept.json()
    return {"run_id": told.pop("id"), **{name: value for name, value in told.items() if name != "object"}}
