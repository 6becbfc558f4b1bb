"""The line to a server: WebRTC with events of OpenAI Realtime or RTVI on its data channel, or a WebSocket.

The address decides: ``ws://`` and ``wss://`` are WebSockets of OpenAI Realtime; an offer that is posted to a path of
another name than ``/offer`` and ``/v1/realtime/calls`` is answered by RTVI's servers (Pipecat's ``/api/offer``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from aiortc import InvalidStateError, RTCRtpReceiver

from media.aiortc_internals.receive import take_audio
from media.aiortc_internals.shape import shape_outgoing
from media.clock import Clock
from server.evaluation.playing.camera import Camera
from server.evaluation.playing.ear import Ear
from server.evaluation.playing.mouth import Microphone, Mouth
from server.evaluation.playing.rtvi import RtviTranslator
from server.evaluation.playing.websocket import WebSocketLine
from server.evaluation.scenario import Way
from server.headless.call import Address, Call
from server.headless.network import Network, NetworkOptions
from server.settings import SettingsError

RTVI_CHANNEL = "chat"


class Line(Protocol):
    """One call; ``async with`` it. Events that come are given to whoever made it."""

    @property
    def over(self) -> asyncio.Event:
        """Set when it is lost."""
        ...

    @property
    def over_because(self) -> str:
        """The reason of that."""
        ...

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event of OpenAI Realtime; nothing happens on a line that is lost."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Take = Callable[[str], object]


def is_websocket(address: Address) -> bool:
    """Whether events and sound go over a WebSocket."""
    return urlsplit(address.url).scheme in ("ws", "wss")


def speaks_rtvi(address: Address) -> bool:
    """Whether what answers there speaks RTVI."""
    path = urlsplit(address.url).path.rstrip("/")
    return bool(path) and not (is_websocket(address) or address.asks_realtime or (path.endswith("/offer") and
                               path.count("/") == 1))  # fmt: skip


def line_to(
    address: Address, mouth: Mouth, ear: Ear, take: Take, way: Way, clock: Clock, camera: Camera | None = None
) -> Line:
    """A line, not open yet. Raises :class:`SettingsError` for what cannot be done on it."""
    if is_websocket(address):
        if way.loss_percent or way.jitter_ms:
            raise SettingsError("network: a WebSocket loses no packets; use http:// for loss_percent and jitter_ms")
        if camera is not None:
            raise SettingsError("video: a WebSocket carries no camera; use http://")
        return WebSocketLine(address, mouth, ear, take, clock)
    return PeerLine(address, mouth, ear, take, way, clock, camera)


class PeerLine:
    """A peer connection."""

    def __init__(
        self, address: Address, mouth: Mouth, ear: Ear, take: Take, way: Way, clock: Clock, camera: Camera | None
    ) -> None:  # fmt: skip
        self._ear, self._way, self._clock = ear, way, clock
        self._rtvi = RtviTranslator(self._send_rtvi, take) if speaks_rtvi(address) else None
        told = take if self._rtvi is None else self._rtvi.take
        channel = "oai-events" if self._rtvi is None else RTVI_CHANNEL
        self._call = Call(address, Microphone(mouth), told, self._listen, camera, channel)

    @property
    def over(self) -> asyncio.Event:
        """Set when the call is lost."""
        return self._call.over

    @property
    def over_because(self) -> str:
        """The reason of that."""
        return self._call.over_because

    async def __aenter__(self) -> Self:
        await self._call.__aenter__()
        options = NetworkOptions(self._way.loss_percent, self._way.jitter_ms)
        if not options.perfect:
            shape_outgoing(self._call.voice, Network(options, self._way.seed).delay, self._clock)
        if self._rtvi is not None:
            self._rtvi.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._call.close()

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event."""
        if self.over.is_set():
            return
        try:
            if self._rtvi is not None:
                self._rtvi.send(event)
            else:
                self._call.send(event)
        except InvalidStateError:  # the channel is closing
            self._call.end("the call was lost")

    def _send_rtvi(self, message: dict[str, Any]) -> None:
        self._call.send(message)

    def _listen(self, receiver: RTCRtpReceiver) -> list[Coroutine[Any, Any, None]]:
        return [_wait(take_audio(receiver, self._ear.packet))]


async def _wait(ended: asyncio.Event) -> None:
    await ended.wait()
