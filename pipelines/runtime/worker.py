"""The one door to threads: a worker runs blocking engine code off the event loop, one job after another.

asyncio's default executor is left to aiortc's codecs; a model that ran there could starve the audio. Threads that hang
are left behind and replaced (:mod:`pipelines.runtime.crew`).
"""

from __future__ import annotations

import asyncio
import math
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from pipelines.errors import EngineBusyError
from pipelines.runtime.crew import Crew, Hand, allow

P = ParamSpec("P")
T = TypeVar("T")

session: ContextVar[str] = ContextVar("session", default="")
"""For whom work is done: the id of the peer's session. Workers that serve sessions in turn go by it."""
client: ContextVar[str] = ContextVar("client", default="")
"""Who asks, where one may have many sessions at a time: workers that serve sessions in turn then serve clients in turn,
and the sessions of each in turn among themselves. Empty: the session is its own client."""
spoken_language: ContextVar[str | None] = ContextVar("spoken_language", default=None)
"""The code of the language that the session has chosen to speak; ``None``: recognisers detect it, if they can."""


@dataclass(frozen=True, slots=True)
class _Job:
    run: Callable[[], None]
    refuse: Callable[[BaseException], None]
    """Tells the caller that the job will not be run."""
    session: str = ""
    """For whom it is."""
    arrived: float = 0.0
    """Monotonic seconds."""


class Worker:
    """Threads with a bounded inbox.

    ``inbox`` is the number of jobs that may wait; one more raises :class:`EngineBusyError` (never blocks the loop).
    A job whose caller was cancelled before it began is skipped. A job, or the step of a stream to its next item, that
    takes longer than ``limit`` seconds is given up: it raises :class:`EngineStuckError` where it is waited for, as all
    do while no thread is left. A job may allow itself more (:func:`pipelines.runtime.crew.allow`).
    """

    def __init__(self, name: str, *, threads: int = 1, inbox: int = 64, limit: float | None = None) -> None:
        self.name = name
        self._inbox: queue.Queue[_Job | None] = queue.Queue(max(inbox, threads))
        self._closed = False
        self._limit = limit
        self.crew = Crew(name, self._work, threads, limit)

    def _work(self, hand: Hand) -> None:
        while (job := self._inbox.get()) is not None:
            hand.begin(job.refuse, (job.session,), time.monotonic() - job.arrived)
            job.run()
            if not hand.end():
                return

    def _submit(self, job: _Job) -> None:
        if self._closed:
            raise self._closed_error()
        self.crew.check()
        try:
            self._inbox.put_nowait(job)
        except queue.Full:
            raise EngineBusyError(
                "engine_busy", f"the {self.name} worker has {self._inbox.maxsize} jobs waiting"
            ) from None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function`` on the worker and return its result (or raise what it raised)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if future.cancelled():
                return
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                post(loop, fail, future, error)
            else:
                post(loop, succeed, future, result)

        self._submit(_job(job, lambda error: post(loop, fail, future, error)))
        return await future

    async def stream(
        self, produce: Callable[[threading.Event], Iterator[T]], *, ahead: int = 16
    ) -> AsyncGenerator[T, None]:
        """Iterate ``produce(stop)`` on the worker and yield its items here, at most ``ahead`` waiting.

        ``stop`` is set when the caller closes the generator; the producer should look at it between steps.
        """
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        room = threading.Semaphore(ahead)
        items: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()  # bounded by ``room``

        def job() -> None:
            try:
                for item in () if stop.is_set() else produce(stop):
                    allow(math.inf)  # a reader that takes its time is no engine that hangs
                    room.acquire()
                    allow(math.inf if self._limit is None else self._limit)
                    if stop.is_set():
                        return
                    post(loop, items.put_nowait, ("item", item))
                post(loop, items.put_nowait, ("end", None))
            except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
                post(loop, items.put_nowait, ("error", error))

        self._submit(_job(job, lambda error: post(loop, items.put_nowait, ("error", error))))
        try:
            while True:
                kind, value = await items.get()
                if kind == "end":
                    return
                if kind == "error":
                    raise value
                room.release()
                yield value
        finally:
            stop.set()
            room.release()

    @property
    def waiting(self) -> int:
        """Jobs in the inbox."""
        return self._inbox.qsize()

    def resize(self, threads: int) -> None:
        """Work with so many threads from now on, at least one and at most as many as jobs may wait. On the loop."""
        if self._closed:
            return
        for _ in range(self.crew.resize(min(threads, self._inbox.maxsize))):
            try:
                self._inbox.put_nowait(_job(_nothing, _nothing))  # wakes one that may go
            except queue.Full:
                return  # none is idle

    def _closed_error(self) -> EngineBusyError:
        return EngineBusyError("engine_closed", f"the {self.name} worker has been closed")

    def close(self) -> None:
        """Finish the job in hand, refuse those waiting, end the threads. Idempotent; does not wait."""
        if self._closed:
            return
        self._closed = True
        while True:
            try:
                job = self._inbox.get_nowait()
            except queue.Empty:
                break
            if job is not None:
                job.refuse(self._closed_error())
        self.crew.close()
        for _ in range(self.crew.threads):
            self._inbox.put_nowait(None)


def _job(run: Callable[[], None], refuse: Callable[[BaseException], None]) -> _Job:
    return _Job(run, refuse, session.get(), time.monotonic())


def _nothing(*of: object) -> None:
    pass


def succeed(future: asyncio.Future[T], result: T) -> None:
    """Set the result if anybody still waits for it. On the future's loop."""
    if not future.done():
        future.set_result(result)


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Set the exception if anybody still waits. On the future's loop."""
    if future.done():
        return
    if isinstance(error, StopIteration):  # which a future refuses, and its caller would wait for ever
        error = RuntimeError(f"an iterator ended too early: {error!r}")
    future.set_exception(error)


def post(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: object) -> None:
    """Have ``loop`` call the function, from any thread; a loop that has ended is no error."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:  # the loop has ended, and with it whoever waited
        return
