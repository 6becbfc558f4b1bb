"""What all handlers of tasks share: whom they ask, how errors are told, and the headers of an answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aiohttp import web

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, TaskError
from pipelines.runtime.worker import Worker
from pipelines.tasks import service as services
from pipelines.tasks.ensemble import EnsembleRunner
from pipelines.tasks.runner import ModelRunner
from pipelines.tasks.service import TaskService
from server.http.errors import HttpError, status_of
from server.http.rest.json_text import is_short, json_answer, written
from server.http.rest.serving import Places

MOST_ITEMS = 2048
"""Of one request."""
X_MAX_LATENCY = "X-Max-Latency-Ms"
STATUS = {
    "unknown_task": 404,
    "unknown_model": 404,
    "model_not_here": 501,
    "model_not_allowed": 403,
    "invalid_value": 400,
    "input_too_long": 400,
    "unsupported_value": 400,
    "model_cannot_infill": 422,
    "model_needs_remote_code": 422,
    "does_not_fit": 503,
    "out_of_memory": 503,
    "device_unavailable": 503,
}
"""Codes of errors that are no failure of ours."""
CODES = {"unknown_model": "model_not_found"}
"""Codes that OpenAI's clients know by another name."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The results of a request's items, in their order."""

    done: Sequence[Done]
    seconds: float

    @property
    def model(self) -> str:
        """Who did it."""
        return self.done[0].model

    @property
    def tokens(self) -> int:
        """Read."""
        return sum(one.tokens for one in self.done)

    @property
    def answer_tokens(self) -> int:
        """Written."""
        return sum(one.answer_tokens for one in self.done)

    @property
    def headers(self) -> dict[str, str]:
        """What bodies of the Hugging Face API have no place for."""
        without = self.done[0].missing
        return {
            **model_headers(self.done[0].model, self.done[0].revision),
            **({"X-Missing-Members": quote(", ".join(without), safe="/ ,.-_")} if without else {}),
            "X-Compute-Time": f"{self.seconds:.3f}",
            "X-Prompt-Tokens": str(self.tokens),
            "X-Generated-Tokens": str(self.answer_tokens),
        }


def model_headers(model: str, revision: str) -> dict[str, str]:
    """Who did it, in ASCII."""
    named = {"X-Model": model, "X-Model-Revision": revision}
    return {name: quote(value, safe="/ ():.-_+@") for name, value in named.items() if value}


class TaskDoor:
    """Asks the tasks for handlers of any dialect."""

    def __init__(self, tasks: TaskService, writer: Worker) -> None:
        self.tasks = tasks
        self._writer = writer
        self._places = Places(64, 256, most=256)

    async def answered(self, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
        """``value`` as JSON."""
        return await json_answer(value, self._writer, headers)

    async def written(self, value: Any) -> bytes:
        """The same as bytes without blanks."""
        return written(value, compact=True) if is_short(value) else await self._writer.run(written, value, compact=True)

    async def runner(self, task: str, model: str = "auto") -> ModelRunner | EnsembleRunner:
        """Who does ``task``. Raises :class:`HttpError`."""
        with told({}):
            await self.tasks.look(task)
            return self.tasks.runner(task, model)

    async def run(
        self,
        runner: ModelRunner | EnsembleRunner,
        items: Sequence[Mapping[str, Any]],
        parameters: Mapping[str, Any],
        names: Mapping[str, str],
        *,
        numbered: bool = False,
    ) -> Answer:
        """All items of one request, side by side. Raises :class:`HttpError`.

        ``names``: fields of the task → those of the request, for errors; ``numbered``: whether to say which item.
        """
        limited(items, names)
        begun = time.monotonic()
        async with self._places.place():
            work = [asyncio.ensure_future(runner.run(item, parameters)) for item in items]
            try:
                await asyncio.wait(work, return_when=asyncio.FIRST_EXCEPTION)
                for n, one in enumerate(work):
                    if one.done():
                        with told(names, n if numbered else None):
                            one.result()
                done = [await one for one in work]
            finally:
                for one in work:
                    one.cancel()
                await asyncio.gather(*work, return_exceptions=True)
        return Answer(done, time.monotonic() - begun)

    async def run_each(
        self,
        runner: ModelRunner | EnsembleRunner,
        items: Sequence[Mapping[str, Any]],
        parameters: Mapping[str, Any],
        names: Mapping[str, str],
    ) -> Sequence[Done | HttpError]:
        """As :meth:`run`, but what is wrong with an item stands in its place and does not end the others."""
        limited(items, names)
        async with self._places.place():
            work = [asyncio.ensure_future(runner.run(item, parameters)) for item in items]
            try:
                await asyncio.wait(work)
                return [_result(one, names, n) for n, one in enumerate(work)]
            finally:
                for one in work:
                    one.cancel()
                await asyncio.gather(*work, return_exceptions=True)

    @asynccontextmanager
    async def stream(
        self,
        runner: ModelRunner | EnsembleRunner,
        item: Mapping[str, Any],
        parameters: Mapping[str, Any],
        names: Mapping[str, str],
    ) -> AsyncIterator[AsyncGenerator[Any, None]]:
        """Pieces of one item; what is wrong with it is raised before the first of them. Raises :class:`HttpError`."""
        async with self._places.place():
            pieces = runner.stream(item, parameters)
            try:
                with told(names):
                    first = await anext(pieces)
                yield _all(first, pieces)
            finally:
                await pieces.aclose()


def limited(items: Sequence[Any], names: Mapping[str, str]) -> None:
    """Raise :class:`HttpError` for no items, or too many."""
    if not items or len(items) > MOST_ITEMS:
        name = next(iter(names.values()), "inputs")
        raise HttpError(400, "invalid_value", f"{name}: must hold 1 to {MOST_ITEMS:,}, not {len(items):,}", name)


def _result(work: asyncio.Future[Done], names: Mapping[str, str], item: int) -> Done | HttpError:
    try:
        with told(names, item):
            return work.result()
    except HttpError as error:
        return error
    except PipelineError as error:
        return HttpError(status_of(error), error.code, error.message)


async def _all(first: Any, rest: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    yield first
    async for piece in rest:
        yield piece


@contextmanager
def told(names: Mapping[str, str], item: int | None = None) -> Iterator[None]:
    """Errors of tasks become those of HTTP, with the field as the request names it."""
    try:
        yield
    except (TaskError, ModelError) as error:
        status = STATUS.get(error.code)
        if status is None:
            raise
        code = CODES.get(error.code, error.code)
        field, colon, rest = error.message.partition(": ")
        if not colon or " " in field:
            raise HttpError(status, code, error.message) from error
        first, dot, place = field.partition(".")
        name = names.get(field, names.get(first, first) + dot + place)
        if item is not None and first in names:
            name = f"{name}.{item}"
        raise HttpError(status, code, f"{name}: {rest}", name) from error


def heed_deadline(request: web.Request) -> None:
    """Let the header ``X-Max-Latency-Ms`` bound how long the items of this request may wait for their turn.

    Raises :class:`HttpError`.
    """
    if (by := deadline_of(request.headers)) is not None:
        services.deadline.set(by)


def deadline_of(headers: Mapping[str, str]) -> float | None:
    """What that header says, in monotonic seconds. Raises :class:`HttpError`."""
    if (asked := headers.get(X_MAX_LATENCY)) is None:
        return None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 12 and 0 < int(asked) <= 3_600_000):
        message = f"{X_MAX_LATENCY}: must be milliseconds from 1 to 3600000, not {asked[:40]!a}"
        raise HttpError(400, "invalid_value", message, X_MAX_LATENCY)
    return time.monotonic() + int(asked) / 1000
