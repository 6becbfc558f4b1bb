"""A client of the Realtime protocol over a WebSocket: keeps what it is told, and what it hears."""

from __future__ import annotations

import asyncio
import base64
import json
from types import TracebackType
from typing import Any

import aiohttp
import numpy as np

from tests.fakes.peer import loud
from tests.patience import PATIENCE

RATE = 24_000


class SocketClient:
    """``async with SocketClient(url) as client``; ``query`` and further options go into the handshake."""

    def __init__(
        self, url: str, query: str = "model=gpt-realtime", *, answers_pings: bool = True, **options: Any
    ) -> None:
        self.url = f"{url}/v1/realtime?{query}"
        self.events: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self.socket: Any = None
        self.pings = 0
        """Seen with ``autoping=False``."""
        self._answers_pings = answers_pings
        self._options = options
        self._http: aiohttp.ClientSession | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def __aenter__(self) -> SocketClient:
        self._http = aiohttp.ClientSession()
        try:
            self.socket = await self._http.ws_connect(self.url, max_msg_size=0, **self._options)
        except BaseException:
            await self._http.close()
            raise
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._reading is not None and self._http is not None
        await self.socket.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._http.close()

    async def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            await self.socket.send_str(json.dumps(event))

    async def say(self, seconds: float = 0.8, pause: float = 1.6) -> None:
        """Speak, and be silent, all at once."""
        samples = np.concatenate([loud(seconds, RATE), np.zeros(round(pause * RATE), np.int16)])
        await self.append(samples)

    async def append(self, samples: np.ndarray) -> None:
        await self.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(samples.tobytes()).decode()})

    def named(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    def types(self) -> list[str]:
        """The protocol's own events, in order; a run of the same counts once."""
        named = [event["type"] for event in self.events]
        return [kind for n, kind in enumerate(named) if n == 0 or named[n - 1] != kind]

    @property
    def heard(self) -> np.ndarray:
        """All PCM that was sent to us."""
        return np.frombuffer(b"".join(base64.b64decode(e["delta"]) for e in self.named(DELTA)), np.int16)

    async def event(self, kind: str, count: int = 1) -> dict[str, Any]:
        """Wait for the ``count``-th event of this type."""
        await self.until(lambda: len(self.named(kind)) >= count, kind)
        return self.named(kind)[count - 1]

    async def closed(self) -> None:
        await self.until(lambda: self.close_code is not None, "the end")

    async def until(self, condition: Any, what: str = "the condition") -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; events: {self.types()}") from None

    async def _read(self) -> None:
        while True:
            message = await self.socket.receive()
            if message.type is aiohttp.WSMsgType.PING:
                self.pings += 1
                self._changed.set()
                if self._answers_pings:
                    await self.socket.pong(message.data)
                continue
            if message.type is not aiohttp.WSMsgType.TEXT:
                self.close_code = self.socket.close_code
                self.close_reason = message.extra or ""
                self._changed.set()
                return
            self.events.append(json.loads(message.data))
            self._changed.set()


DELTA = "response.output_audio.delta"
