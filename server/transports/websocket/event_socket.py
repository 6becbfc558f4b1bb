"""A dialect and one WebSocket: events out through a bounded outbox, messages in as they come, an end with a reason."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Generic, TypeVar

from aiohttp import WSCloseCode, WSMsgType
from aiohttp.web import WebSocketResponse

from pipelines.assistant.session import END_SECONDS
from pipelines.runtime.supervision import end
from server.transports.barrier import Barrier
from server.transports.interface import Dialect, Event
from server.transports.websocket.outbox import Outbox

log = logging.getLogger(__name__)

LARGEST_RECEIVED = 16 << 20
"""Bytes of a message: 15 MiB of sound, which the protocol allows, and what is around it."""
LARGEST_SENT = 1 << 20
"""Bytes of a message of ours: more than that many clients do not take unless told to."""
PING_SECONDS = 20.0
"""A client that does not even answer pings for half as long is gone, if it is listened to all the while."""
CLOSE_SECONDS = 1.0
"""What a client may take to confirm the end."""
FAREWELL_SECONDS = 0.5
"""How long it gets to take what is on the way to it when the session ends."""
LONGEST_REASON = 123
"""Bytes of a close frame's reason (RFC 6455 §5.5)."""
MESSAGE = "a message"
"""What a message of the client is called behind the barrier."""

D = TypeVar("D", bound=Dialect)


class EventSocket(Generic[D]):
    """Lives from its making to the end of :meth:`serve`. ``speaks`` makes the dialect, given where its events go."""

    def __init__(self, name: str, speaks: Callable[[Callable[[Event], None]], D]) -> None:
        self.name = name
        """For the log."""
        self.dropped = 0
        """Events not sent: the client does not read, or they could not be made small enough."""
        self.ended = asyncio.Event()
        self.ended_because = ""
        """Empty while it lives."""
        self.outbox = Outbox()
        self.dialect = speaks(self.send)
        self._code = WSCloseCode.OK
        self._is_listening = False
        self._was_heard = False
        """Since the last ping."""
        self._barrier = Barrier(name, self._tell_failure)
        self._receive = self._barrier.around(self.dialect.receive, MESSAGE)

    def send(self, event: Event) -> None:
        """Give an event to the client. Never raises for what is in the event, never waits."""
        texts = self.dialect.messages(event, LARGEST_SENT)
        self.dropped += not texts
        for text in texts:
            if not self.outbox.put(text):
                self.dropped += 1
                self.end("the client does not read what it is sent", WSCloseCode.POLICY_VIOLATION)

    def around(self, action: Callable[[], object]) -> Callable[[], None]:
        """``action``, which a message of the client asked for, behind the barrier: it never raises."""
        return self._barrier.around(action, MESSAGE)

    def end(self, reason: str, code: WSCloseCode = WSCloseCode.OK) -> None:
        """Let it end; the first reason counts. Idempotent."""
        if not self.ended.is_set():
            self.ended_because, self._code = reason, code
            self.ended.set()

    async def serve(
        self,
        socket: WebSocketResponse,
        work: dict[str, Coroutine[Any, Any, None]],
        running: asyncio.Event,
        room: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Serve the client until it goes or :meth:`end` is called, doing ``work`` meanwhile.

        It is heard from when ``running`` is set, and after each message when there is ``room`` for another.
        """
        for event in self.dialect.greeting():
            self.send(event)
        writer = self._task("writer", self._write(socket))
        tasks = [self._task("reader", self._read(socket, running, room)), self._task("pulse", self._feel_pulse(socket))]
        tasks += [self._task(name, part) for name, part in work.items()]
        try:
            await self.ended.wait()
        finally:
            await end(tasks, 1.5 * END_SECONDS)
            await self._part(socket, writer)
            log.info("%s ended: %s", self.name, self.ended_because)

    def _task(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self.name}-{name}")
        task.add_done_callback(self._part_ended)
        return task

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """A defect in what a session is made of must end this one, not the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self.end("internal error", WSCloseCode.INTERNAL_ERROR)

    async def _part(self, socket: WebSocketResponse, writer: asyncio.Task[None]) -> None:
        """Say the last words, if somebody is there to hear them, and why it is over."""
        try:
            if not socket.closed:
                for event in self.dialect.farewell(self.ended_because):
                    self.send(event)
                with suppress(TimeoutError):
                    async with asyncio.timeout(FAREWELL_SECONDS):
                        await self.outbox.sent()
        finally:
            await end([writer], END_SECONDS)
        reason = self.ended_because.encode()[:LONGEST_REASON].decode(errors="ignore")
        await socket.close(code=self._code, message=reason.encode(), drain=False)

    # ------------------------------------------------------------------------------------------------ the client

    async def _write(self, socket: WebSocketResponse) -> None:
        with suppress(ConnectionError):  # the reader is told, too
            await self.outbox.run(socket.send_str)

    async def _read(
        self, socket: WebSocketResponse, running: asyncio.Event, room: Callable[[], Awaitable[None]] | None
    ) -> None:
        await running.wait()
        while True:
            self._is_listening = True
            message = await socket.receive()
            self._is_listening, self._was_heard = False, True
            await asyncio.sleep(0)  # what has come already is not waited for
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._receive(message.data)
                if room is not None:
                    await room()
            elif message.type is WSMsgType.PING:
                with suppress(ConnectionError):
                    await socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                pass
            elif message.type is WSMsgType.ERROR:
                self.end(f"the connection failed: {message.data!r}", WSCloseCode.PROTOCOL_ERROR)
                return
            else:
                self.end("the client closed the connection")
                return

    async def _feel_pulse(self, socket: WebSocketResponse) -> None:
        """Notice that the client is gone without a word. aiohttp's own heartbeat ends clients that are not listened to:
        their pongs wait behind the sound that there is no room for.

        When this process did not run for a while (a machine that slept), pongs that have come lie unread at the moment
        at which they are looked for: they are looked for once more."""
        with suppress(ConnectionError):  # the reader is told, too
            while True:
                await asyncio.sleep(PING_SECONDS)
                self._was_heard = not self._is_listening
                await socket.ping()
                await asyncio.sleep(PING_SECONDS / 2)
                if not self._was_heard:
                    await asyncio.sleep(PING_SECONDS / 20)
                if not self._was_heard and self._is_listening:
                    self.end("the client does not answer", WSCloseCode.POLICY_VIOLATION)

    def _tell_failure(self, what: str) -> None:
        self.send(self.dialect.failure(what, answers=what == MESSAGE))
