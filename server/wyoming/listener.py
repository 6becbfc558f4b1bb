"""The port: connections, how many and for how long. Owns the task of every one."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

from pipelines.errors import PipelineError
from pipelines.runtime.worker import Worker, session
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from server.settings import Settings, SettingsError
from server.wyoming.requests import Requests, Shared
from server.wyoming.wire import LARGEST_LINE, Event, WyomingError, read_event, written

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 32
"""At a time; one more is told so and closed."""
_INBOX = 2 * MOST_CONNECTIONS
_PARTING_SECONDS = 1.0
"""For the client to take the end of what it was sent."""
_LOOK_SECONDS = 0.2
"""How often it is looked whether the client of a request is still there."""


@asynccontextmanager
async def listening(
    settings: Settings,
    voice: VoiceEngines,
    first: Callable[[], ConversationSettings],
    leaving: asyncio.Event | None = None,
) -> AsyncIterator[int]:
    """Serve ``voice`` on the port that ``settings`` name; yields the port. ``first``: what new sessions start with.

    ``leaving``: another process may listen there, too, and from this event on it alone gets new connections.

    Raises :class:`SettingsError` when it cannot be had.
    """
    sound = Worker("wyoming-sound", inbox=_INBOX)
    listener = _Listener(Shared(voice, first, sound), settings)
    host, port = settings.wyoming_host, settings.wyoming_port
    try:
        server = await asyncio.start_server(
            listener.connected, host, port, limit=LARGEST_LINE, reuse_port=True if leaving is not None else None
        )
    except OSError as error:
        sound.close()
        raise SettingsError(f"wyoming_port: cannot listen on {host}:{port}: {error.strerror}") from error
    found: int = server.sockets[0].getsockname()[1]
    log.info("Wyoming is spoken on %s:%d", host, found)
    left = asyncio.create_task(_leave(server, leaving), name="wyoming-leave") if leaving is not None else None
    try:
        yield found
    finally:
        if left is not None:
            left.cancel()
        server.close()
        await listener.close()
        sound.close()


async def _leave(server: asyncio.Server, leaving: asyncio.Event) -> None:
    await leaving.wait()
    server.close()


class _Listener:
    def __init__(self, shared: Shared, settings: Settings) -> None:
        self._shared = shared
        self._idle, self._seconds = settings.idle_timeout, settings.request_timeout
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has come."""
        task = asyncio.create_task(self._serve(reader, writer, full=len(self._tasks) >= MOST_CONNECTIONS))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, full: bool) -> None:
        async def send(event: Event) -> None:
            writer.write(written(event))
            async with asyncio.timeout(self._seconds):  # for a client that takes nothing
                await writer.drain()

        try:
            if full:
                text = f"all {MOST_CONNECTIONS} connections are taken"
                await send(Event("error", {"text": text, "code": "server_busy"}))
                return
            session.set(f"wyoming-{uuid.uuid4().hex}")
            requests = Requests(self._shared, send)
            while (event := await read_event(reader, self._idle, self._seconds)) is not None:
                await _unless_left(requests.receive(event), reader)
        except (WyomingError, PipelineError) as error:
            with suppress(OSError, TimeoutError):
                text = error.message if isinstance(error, PipelineError) else str(error)
                await send(Event("error", {"text": text, "code": error.code}))
                await _end_answers(reader, writer)
        except (OSError, TimeoutError):
            pass  # the client has left, or does nothing
        except Exception:
            log.exception("a Wyoming connection failed")
        finally:
            await _hang_up(writer)


async def _end_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Tell the client that nothing more comes, and let go what it still sends.

    Clients such as Home Assistant know no ``error``: they wait for the end of an answer or of the connection. To close
    a socket that still has something to read would reset it, and take the error back from who has not read it yet.
    """
    if writer.is_closing():
        return
    writer.write_eof()
    async with asyncio.timeout(_PARTING_SECONDS):
        while await reader.read(LARGEST_LINE):
            pass


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Close; a client that does not take the rest of what it was sent in time is cut off."""
    writer.close()
    try:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_PARTING_SECONDS):
                await writer.wait_closed()
    finally:
        writer.transport.abort()


async def _unless_left(work: Coroutine[Any, Any, None], reader: asyncio.StreamReader) -> None:
    """Carry out a request; when its client leaves, stop it: nobody wants the rest of an answer."""
    task = asyncio.create_task(work, name="wyoming-request")
    try:
        while not task.done():
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
            if not task.done() and reader.at_eof():
                raise ConnectionResetError("the client has left")
        task.result()
    finally:
        task.cancel()
        await asyncio.wait([task])
