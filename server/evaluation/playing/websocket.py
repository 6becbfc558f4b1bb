"""OpenAI Realtime over a WebSocket: the sound travels in events, and the client plays it.

The player tells what the service tells over WebRTC, in the same words: ``output_audio_buffer.started``, ``stopped`` and
``cleared``. When the user begins to speak it drops what it has not played and says how much was heard, as the
documentation of the service asks of clients.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import numpy as np

from media.clock import Clock
from media.frames import Samples
from media.opus import FRAME_SECONDS, RATE
from media.resample import Resampler
from server.evaluation.playing.ear import Ear
from server.evaluation.playing.mouth import Mouth
from server.headless.call import CONNECT_SECONDS, Address
from server.settings import SettingsError

log = logging.getLogger(__name__)

WIRE_RATE = 24_000
PATH = "/v1/realtime"
_FRAME = int(RATE * FRAME_SECONDS)
_AUDIO = ("response.output_audio.delta", "response.audio.delta")
_AUDIO_DONE = ("response.output_audio.done", "response.audio.done")
LARGEST_MESSAGE = 16 << 20
MOST_FRAMES = 15_000
"""Five minutes that wait to be played; what comes beyond them is dropped."""


class Player:
    """Plays what has come, in real time. ``tell`` is given what the service would tell of it over WebRTC."""

    def __init__(self, ear: Ear, clock: Clock, tell: Callable[[dict[str, Any]], object]) -> None:
        self._ear, self._clock, self._tell = ear, clock, tell
        self._frames: deque[tuple[Samples, str, str]] = deque(maxlen=MOST_FRAMES)
        self._resampler = Resampler(RATE)
        self._rest = np.zeros(0, np.int16)
        self._come = asyncio.Event()
        self._sounding: tuple[str, str] | None = None
        """Response and item that are heard."""
        self._complete: set[str] = set()
        self._dropped: set[str] = set()
        self._played = 0

    def add(self, samples: Samples, response: str, item: str) -> None:
        """The next sound of a response, at :data:`WIRE_RATE`."""
        if response in self._dropped:
            return
        whole = np.concatenate([self._rest, self._resampler.push(samples, WIRE_RATE)])
        full = len(whole) // _FRAME * _FRAME
        self._rest = whole[full:]
        self._frames.extend((frame, response, item) for frame in whole[:full].reshape(-1, _FRAME))
        self._come.set()

    def complete(self, response: str, item: str) -> None:
        """Nothing more of it comes."""
        if len(self._rest) and response not in self._dropped:
            self._frames.append((np.pad(self._rest, (0, _FRAME - len(self._rest))), response, item))
        self._rest = np.zeros(0, np.int16)
        self._complete.add(response)
        self._come.set()

    def flush(self) -> tuple[str, int] | None:
        """Play no more of it; the item that was heard and for how many milliseconds."""
        self._dropped |= {response for _, response, _ in self._frames}
        self._frames.clear()
        self._rest = np.zeros(0, np.int16)
        sounding, self._sounding = self._sounding, None
        if sounding is None:
            return None
        self._dropped.add(sounding[0])
        self._tell({"type": "output_audio_buffer.cleared", "response_id": sounding[0]})
        return sounding[1], int(self._played * FRAME_SECONDS * 1000)

    async def run(self) -> None:
        """Play until cancelled."""
        due = 0.0
        while True:
            if not self._frames:
                self._stop_if_over()
                self._come.clear()
                if not self._frames:
                    await self._come.wait()
                continue
            now = self._clock.now()
            due = max(due, now - FRAME_SECONDS)
            await self._clock.sleep(due + FRAME_SECONDS - now)
            due += FRAME_SECONDS
            if self._frames:
                self._play()

    def _play(self) -> None:
        samples, response, item = self._frames.popleft()
        if self._sounding is None or self._sounding[0] != response:
            self._stop_if_over(force=True)
            self._sounding, self._played = (response, item), 0
            self._tell({"type": "output_audio_buffer.started", "response_id": response})
        self._ear.sound(samples, self._clock.now(), self._clock.now())
        self._played += 1

    def _stop_if_over(self, force: bool = False) -> None:
        if self._sounding is not None and (force or self._sounding[0] in self._complete):
            sounding, self._sounding = self._sounding, None
            self._tell({"type": "output_audio_buffer.stopped", "response_id": sounding[0]})


class WebSocketLine:
    """One session over a WebSocket."""

    def __init__(self, address: Address, mouth: Mouth, ear: Ear, take: Callable[[str], object], clock: Clock) -> None:
        self._address, self._mouth, self._take = address, mouth, take
        self._player = Player(ear, clock, lambda event: take(json.dumps(event)))
        self.over = asyncio.Event()
        """Set when the connection is lost."""
        self.over_because = ""
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue(512)

    @property
    def _place(self) -> str:
        parts = urlsplit(self._address.url)
        return self._address.url if parts.path.strip("/") else f"{self._address.url.rstrip('/')}{PATH}"

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                self._socket = await self._http.ws_connect(
                    self._place, headers=self._address.headers, max_msg_size=LARGEST_MESSAGE
                )
        except (aiohttp.ClientError, TimeoutError) as error:
            await self._http.close()
            raise SettingsError(f"no server at {self._place}: {error or 'no answer'}") from error
        work = (self._read(), self._write(), self._speak(), self._player.run())
        self._tasks = [asyncio.create_task(self._doing(one)) for one in work]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event. A server that takes none any more is as good as lost."""
        if self.over.is_set():
            return
        try:
            self._outgoing.put_nowait(event)
        except asyncio.QueueFull:
            self._end("the server takes no events any more")

    def _end(self, why: str) -> None:
        if not self.over.is_set():
            self.over_because = why
            self.over.set()

    async def _doing(self, work: Coroutine[Any, Any, None]) -> None:
        """One of the things that are done on the line: where one fails, there is no use in the others."""
        try:
            await work
        except (aiohttp.ClientError, OSError) as error:
            self._end(f"the connection was lost: {error}")
        except Exception as error:
            log.exception("a WebSocket of a scenario failed")
            self._end(f"an event of the server's could not be read: {error!r}")

    async def _write(self) -> None:
        assert self._socket is not None
        while True:
            await self._socket.send_str(json.dumps(await self._outgoing.get()))

    async def _speak(self) -> None:
        resampler = Resampler(WIRE_RATE)
        while True:
            samples, _ = await self._mouth.frame()
            wire = resampler.push(samples, RATE)
            if len(wire):
                sound = base64.b64encode(wire.astype("<i2").tobytes()).decode()
                await self._outgoing.put({"type": "input_audio_buffer.append", "audio": sound})

    async def _read(self) -> None:
        assert self._socket is not None
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            event = json.loads(message.data)
            kind = event.get("type")
            if kind in _AUDIO:
                samples = np.frombuffer(base64.b64decode(event["delta"]), "<i2").astype(np.int16)
                self._player.add(samples, event["response_id"], event["item_id"])
                continue
            self._take(message.data)
            if kind in _AUDIO_DONE:
                self._player.complete(event["response_id"], event["item_id"])
            elif kind == "input_audio_buffer.speech_started" and (heard := self._player.flush()) is not None:
                item, milliseconds = heard
                truncate = {"item_id": item, "content_index": 0, "audio_end_ms": milliseconds}
                self.send({"type": "conversation.item.truncate", **truncate})
        self._end(f"the server has closed the connection ({self._socket.close_code or 'without a code'})")
