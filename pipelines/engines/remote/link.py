"""Calls from this process through the bridge's process to Ray, each with a deadline, and the bridge's life.

The bridge is started when it is first needed, and again when it has ended, but not in quick succession. Whoever waits
for an answer when it ends is told that nothing can be reached, and a stage's next engine goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from media.clock import Clock, MonotonicClock
from pipelines.engines.remote.messages import AHEAD, Answered, Ask, Call, Cancel, More, Orders, Said
from pipelines.engines.remote.wire import LARGEST, Failed, RemoteError, framed, next_message
from pipelines.runtime.child_process import CHILDREN, ChildProcess

log = logging.getLogger(__name__)

REST_SECONDS = 3.0
"""Between two starts of a bridge."""
START_SECONDS = 40.0
"""For it to import Ray and join the cluster, on a busy machine."""
_ROOT = Path(__file__).parents[3]
_COMMAND = (sys.executable, "-m", "pipelines.engines.remote.bridge")
_LAST_WORDS = 8


class Wire(Protocol):
    """A bridge that runs."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def end(self) -> None:
        """End it by force. Idempotent."""
        ...


class BridgeProcess:
    """Implements :class:`Wire` on a process. :meth:`start` raises :class:`OSError`."""

    def __init__(self, child: ChildProcess) -> None:
        self.reader = child.stdout
        self.writer = child.stdin
        self._child = child
        self._words: deque[str] = deque(maxlen=_LAST_WORDS)
        self._listening = asyncio.create_task(self._listen(), name="ray-bridge-log")

    @classmethod
    async def start(cls) -> BridgeProcess:
        """Start the process."""
        child = await ChildProcess.start(_COMMAND, longest_line=LARGEST, errors=True, env=_environment())
        CHILDREN.add(child)
        return cls(child)

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._child.pid

    def end(self) -> None:
        """End it by force. Idempotent."""
        CHILDREN.discard(self._child)
        with suppress(ProcessLookupError):
            self._child.kill()

    async def _listen(self) -> None:
        """Read what it complains of, which is told where somebody looks for it."""
        assert self._child.stderr is not None
        with suppress(OSError, ValueError):
            while text := await self._child.stderr.readline():
                log.debug("ray: %s", text.decode("utf-8", "replace").rstrip())


def _environment() -> Mapping[str, str]:
    paths = (str(_ROOT), *filter(None, (os.environ.get("PYTHONPATH"),)))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAY_USAGE_STATS_ENABLED": "0"}


class _Waiting:
    """One call that is under way."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()  # bounded by the bridge: AHEAD unread pieces
        self.unread = 0


class Link:
    """The way to the deployments of one ``application`` on the cluster at ``address``.

    Everything raises :class:`~pipelines.engines.remote.wire.RemoteError`.
    """

    def __init__(
        self,
        address: str,
        application: str = "visavis",
        start: Callable[[], Awaitable[Wire]] = BridgeProcess.start,
        clock: Clock | None = None,
    ) -> None:
        self.address = address
        self.application = application
        self._start = start
        self._clock = clock or MonotonicClock()
        self._wire: Wire | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._rests_until = float("-inf")
        self._problem = Failed("unreachable", "it has not been asked yet")
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the bridge has joined the cluster."""
        return self._wire is not None

    @property
    def problem(self) -> str:
        """Why not, for people."""
        return "" if self.connected else self._problem.message

    async def call(self, call: Call, seconds: float) -> Any:
        """The result, which has to be there within ``seconds``."""
        async for piece in self.stream(call, seconds, seconds):
            return piece
        raise RemoteError("failed", f"{call.deployment} gave no answer")

    async def stream(self, call: Call, first: float, pause: float) -> AsyncGenerator[Any, None]:
        """The pieces, the first within ``first`` seconds and each further one within ``pause``. Closing it cancels."""
        number, waiting, ended = next(self._numbers), _Waiting(), False
        try:
            limit = first
            async with asyncio.timeout(first):
                await self._ready(call.patient)
                self._waiting[number] = waiting
                self._say(Ask(number, call))
                what, value = await waiting.answers.get()
            while True:
                if what == "end":
                    ended = True
                    return
                if isinstance(value, Failed):
                    ended = not value.own
                    raise FailedError(value)
                yield value
                waiting.unread += 1
                if waiting.unread >= AHEAD // 2:
                    self._say(More(number, waiting.unread))
                    waiting.unread = 0
                limit = pause
                async with asyncio.timeout(pause):
                    what, value = await waiting.answers.get()
        except TimeoutError:
            raise RemoteError("timeout", f"{call.deployment} did not go on within {limit:g} s") from None
        finally:
            if self._waiting.pop(number, None) is not None and not ended:
                self._say(Cancel(number))

    async def connect(self) -> None:
        """Wait until the bridge has joined the cluster, or raise why it has not."""
        await self._ready(patient=True)

    async def close(self) -> None:
        """End the bridge. Idempotent."""
        self._closed = True
        tasks = [task for task in (self._connecting, self._reading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lost(Failed("unreachable", "the connection was closed"))

    # ------------------------------------------------------------------------------------------------ the bridge

    async def _ready(self, patient: bool) -> None:
        if self._wire is not None:
            return
        if self._closed:
            raise RemoteError("unreachable", "the connection was closed")
        if self._connecting is None:
            if self._clock.now() < self._rests_until:
                raise RemoteError(self._problem.code, self._problem.message)
            self._connecting = asyncio.create_task(self._connect(), name="ray-bridge")
        if not patient:
            raise RemoteError(self._problem.code, self._problem.message)
        await asyncio.shield(self._connecting)
        if self._wire is None:
            raise RemoteError(self._problem.code, self._problem.message)

    async def _connect(self) -> None:
        """Leaves a wire, or a problem."""
        wire: Wire | None = None
        try:
            async with asyncio.timeout(START_SECONDS):
                wire = await self._start()
                wire.writer.write(framed(Orders(self.address, self.application)))
                problem: Failed | None = await next_message(wire.reader)
            if problem is None:
                self._wire, kept, wire = wire, wire, None
                self._reading = asyncio.create_task(self._read(kept), name="ray-bridge-answers")
                return
            self._problem = problem
        except TimeoutError:
            self._problem = Failed("unreachable", f"no Ray cluster answers at {self.address}")
        except (EOFError, OSError) as error:
            self._problem = Failed("unreachable", f"the process that asks Ray has ended: {error}")
        finally:
            if wire is not None:
                wire.end()
            self._connecting = None
            self._rests_until = self._clock.now() + REST_SECONDS
        log.warning("ray: %s", self._problem.message)

    async def _read(self, wire: Wire) -> None:
        """Hand answers to who waits for them, until the bridge has ended."""
        told = "it was told to end"
        try:
            while True:
                answer: Answered = await next_message(wire.reader)
                number, what, value = answer
                if (waiting := self._waiting.get(number)) is not None:
                    waiting.answers.put_nowait((what, value))
        except (EOFError, OSError) as error:
            told = str(error)
        finally:
            wire.end()
            if self._wire is wire:
                self._lost(Failed("unreachable", f"the process that asks Ray has ended: {told}"))

    def _lost(self, problem: Failed) -> None:
        wire, self._wire = self._wire, None
        self._problem = problem
        self._rests_until = self._clock.now() + REST_SECONDS
        if wire is not None:
            wire.end()
        for waiting in self._waiting.values():
            waiting.answers.put_nowait(("piece", problem))

    def _say(self, said: Said) -> None:
        if self._wire is not None and not self._wire.writer.is_closing():
            self._wire.writer.write(framed(said))


class FailedError(RemoteError):
    """A :class:`~pipelines.engines.remote.wire.Failed` came back."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.code, failed.message)
        self.failed = failed
