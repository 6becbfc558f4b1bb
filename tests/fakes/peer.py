"""A real aiortc client for tests: speaks, listens, and keeps the events it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import count
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtp import RtpPacket

from media.aiortc_internals.receive import receiver_of
from media.audio_in import AudioIn
from media.audio_out import AudioOut
from media.channel import Channel
from media.clock import MonotonicClock
from media.opus import RATE
from media.video_tracks import VideoIn, VideoOut
from server.transports.webrtc import ice
from server.transports.webrtc.ice_servers import GivenServer
from tests.patience import PATIENCE


async def _as_it_is(frame: av.VideoFrame) -> av.VideoFrame:
    return frame


class Peer:
    """``async with Peer(url) as peer``; ``kinds`` (audio, video, screen) chooses the media of the offer.

    ``order`` does, too, and writes the sections in just this order; ``data`` in it is the data channel. With ``relays``
    (TURN servers) it is reached through those alone.
    """

    def __init__(
        self,
        url: str,
        *,
        kinds: tuple[str, ...] = ("audio",),
        channel: str | None = "oai-events",
        session: dict[str, Any] | None = None,
        codecs: tuple[str, ...] = (),
        rewrite: Callable[[str], str] = str,
        order: tuple[str, ...] = (),
        key: str | None = None,
        relays: Sequence[GivenServer] = (),
        patience: float = PATIENCE,
    ) -> None:
        self.patience = patience
        self.url = url
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self.session = session
        """Sent with the offer."""
        self.codecs = codecs
        """The only video codecs that are offered, the preferred one first."""
        self.rewrite = rewrite
        """What is done to the text of the offer before it is sent."""
        has_channel = "data" in order if order else channel is not None
        usual = [kind for kind in ("audio", "video", "screen") if kind in kinds] + ["data"] * has_channel
        self.order = order or tuple(usual)
        self.in_order = bool(order)
        self.channel_label = channel
        self.events: list[dict[str, Any]] = []
        self.heard = np.zeros(0, np.int16)
        """Audio that came back, 48 kHz mono."""
        self.seen: list[av.VideoFrame] = []
        """Video that came back, newest last."""
        self.answer: dict[str, Any] = {}
        self.camera: Channel[av.VideoFrame] = Channel(1)
        self.screen: Channel[av.VideoFrame] = Channel(1)
        self.microphone = AudioOut(MonotonicClock())
        self.pc = RTCPeerConnection(ice.relayed(relays) if relays else ice.configuration((), answers=bool(order)))
        self.channel: Any = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Peer:
        try:
            await self.connect()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Offer, answer, and wait until media can flow."""
        for kind in self.order:
            self._add(kind)
            if self.in_order:  # a section that was once offered keeps its place
                await self.pc.setLocalDescription(await self.pc.createOffer())
        self.pc.on("track", self._listen)
        self.pc.on("connectionstatechange", self._changed.set)
        await self.pc.setLocalDescription(await self.pc.createOffer())
        offer = {"sdp": self.rewrite(self.pc.localDescription.sdp), "type": "offer", "something": "else"}
        if self.session is not None:
            offer["session"] = self.session
        self.answer = await self._signal(offer)
        await self.pc.setRemoteDescription(RTCSessionDescription(self.answer["sdp"], self.answer["type"]))
        await self.until(lambda: self.pc.connectionState == "connected", self.patience)

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as http,
            http.post(self.url + "/offer", json=offer, headers=self.headers) as response,
        ):
            answer: dict[str, Any] = await response.json()
            assert response.status == 200, answer
            return answer

    async def close(self) -> None:
        await self.pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def vanish(self) -> None:
        """Be gone without a goodbye, as a killed process is: the sockets close, nothing is sent any more."""
        for transceiver in self.pc.getTransceivers():
            for protocol in transceiver.sender.transport.transport.iceGatherer._connection._protocols:
                protocol.transport.abort()

    def say(self, samples: np.ndarray, rate: int) -> Any:
        """Speak; returns the playout (``ended`` tells when all was sent)."""
        playout = self.microphone.mixer.open()
        self._spawn(self._write(playout, samples, rate))
        return playout

    def send(self, event: dict[str, Any] | str) -> None:
        """A client event."""
        self.channel.send(event if isinstance(event, str) else json.dumps(event))

    async def rtp(
        self, kind: str, sequence: int, timestamp: int, payload: bytes, *, ssrc: int = 77, marker: bool = False
    ) -> None:
        """A packet as no sender of ours would write it, in the first codec agreed on."""
        transceiver = next(t for t in self.pc.getTransceivers() if t.kind == kind)
        codec = transceiver._codecs[0]
        packet = RtpPacket(codec.payloadType, int(marker), sequence % 2**16, timestamp % 2**32, ssrc, payload)
        await transceiver.sender.transport._send_rtp(packet.serialize())

    async def rtcp(self, packet: Any) -> None:
        """The same for control packets."""
        await self.pc.getSenders()[0].transport._send_rtp(bytes(packet))

    def named(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    async def event(self, kind: str, count: int = 1, timeout: float = PATIENCE) -> dict[str, Any]:
        """Wait for the ``count``-th event of this type."""
        await self.until(lambda: len(self.named(kind)) >= count, timeout, kind)
        return self.named(kind)[count - 1]

    async def until(self, condition: Any, timeout: float = PATIENCE, what: str = "the condition") -> None:
        """Wait until something that arrives makes ``condition()`` true."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; events: {[e['type'] for e in self.events]}") from None

    async def show(
        self, frame: Callable[[int], av.VideoFrame], condition: Callable[[], Any], *, screen: bool = False
    ) -> None:
        """Send ``frame(n)`` with ``n`` = 0, 1, … at a camera's pace, until ``condition()`` is true."""
        async with asyncio.timeout(PATIENCE):
            for n in count():
                if condition():
                    return
                (self.screen if screen else self.camera).put(frame(n))
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1 / 30):
                        await self._changed.wait()

    def heard_since(self, position: int) -> np.ndarray:
        return self.heard[position:].astype(float)

    def _take(self, message: str) -> None:
        self.events.append(json.loads(message))
        self._changed.set()

    def _listen(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            audio = AudioIn(receiver_of(self.pc, track), RATE, MonotonicClock())
            self._spawn(audio.run())
            self._spawn(self._hear(audio))
        else:
            video = VideoIn(receiver_of(self.pc, track), MonotonicClock())
            frames = video.feed.subscribe()
            self._spawn(video.run())
            self._spawn(self._see(frames))

    async def _hear(self, audio: AudioIn) -> None:
        async for chunk in audio.chunks:
            self.heard = np.concatenate([self.heard, chunk.samples])
            self._changed.set()

    async def _see(self, frames: Channel[Any]) -> None:
        async for frame in frames:
            self.seen.append(frame)
            self._changed.set()

    async def _write(self, playout: Any, samples: np.ndarray, rate: int) -> None:
        await playout.write(samples, rate)
        playout.finish()

    def _add(self, kind: str) -> None:
        if kind == "audio":
            self.pc.addTrack(self.microphone)
        elif kind == "data":
            self.channel = self.pc.createDataChannel(self.channel_label)
            self.channel.on("message", self._take)
        else:
            screen = kind == "screen"
            self._add_video(self.screen if screen else self.camera, "sendonly" if screen else "sendrecv")

    def _add_video(self, source: Channel[av.VideoFrame], direction: str) -> None:
        track = VideoOut(_as_it_is)
        track.connect(source)
        transceiver = self.pc.addTransceiver(track, direction=direction)
        if self.codecs:
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences(
                [codec for name in self.codecs for codec in known if codec.mimeType.lower() == f"video/{name}"]
            )

    def _spawn(self, work: Any) -> None:
        self._tasks.add(asyncio.create_task(work))


def loud(seconds: float, rate: int = RATE) -> np.ndarray:
    """A buzz that the fake voice activity takes for speech; shape ``(n,)``."""
    return np.where(np.arange(round(seconds * rate)) % (rate // 200) < rate // 400, 9000, -9000).astype(np.int16)


def picture_frame(
    width: int = 320, height: int = 240, level: int = 128, pts: int = 0, *, noise: bool = False
) -> av.VideoFrame:
    """A grey camera frame: flat, or with noise of its mean, which makes large packets."""
    pixels = np.full((height, width, 3), level, np.uint8)
    if noise:
        pixels += np.random.default_rng(pts).integers(0, 40, pixels.shape, np.uint8)
        pixels -= np.uint8(20)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame = frame.reformat(format="yuv420p")
    frame.pts, frame.time_base = pts, Fraction(1, 90_000)
    return frame
