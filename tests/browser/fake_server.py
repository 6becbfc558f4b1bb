"""A stand-in for the server: real HTTP and real WebRTC, scripted events, a tone for a voice, a card for a picture."""

from __future__ import annotations

import asyncio
import fractions
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from aiohttp import web
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole
from aiortc.mediastreams import MediaStreamTrack, VideoStreamTrack

from pipelines.vision.detectors import DETECTORS
from tests.browser.waiting import SECONDS

STATIC = Path(__file__).parents[2] / "static"
POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ENGINES: list[dict[str, Any]] = [
    {
        "stage": "vad",
        "engine": "silero-vad",
        "device": "cpu",
        "reason": "ONNX, shared by all sessions",
        "ok": True,
    },
    {
        "stage": "stt",
        "engine": "pocketsphinx",
        "device": "cpu",
        "reason": "no Whisper model in the store and the network is closed",
        "ok": True,
    },
    {
        "stage": "llm",
        "engine": "visavis-starter",
        "device": "cpu",
        "reason": "no Ollama on port 11434; the starter model ships with visavis",
        "ok": True,
    },
    {
        "stage": "tts",
        "engine": "espeak-ng",
        "device": "cpu",
        "reason": "no Piper voice in the store",
        "ok": True,
    },
    {
        "stage": "vision",
        "engine": "none",
        "device": "-",
        "reason": "libEGL missing: no vision",
        "ok": False,
        "detectors": [{"name": row.name, "label": row.label} for row in DETECTORS.values()],
    },
]
SAMPLE_RATE = 48_000
FRAME = 960  # 20 ms


class Tone(MediaStreamTrack):
    """A quiet 440 Hz tone, paced at 20 ms."""

    kind = "audio"

    def __init__(self, silent: Callable[[], bool] = lambda: False) -> None:
        super().__init__()
        self._silent = silent
        self._sent = 0
        self._started = 0.0

    async def recv(self) -> av.AudioFrame:
        clock = asyncio.get_running_loop().time
        self._started = self._started or clock()
        await asyncio.sleep(max(0.0, self._started + self._sent / SAMPLE_RATE - clock()))
        while self._silent():  # noqa: ASYNC110 - a test silences it for a moment
            await asyncio.sleep(0.02)
        times = (self._sent + np.arange(FRAME)) / SAMPLE_RATE
        samples = (6_000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, self._sent, fractions.Fraction(1, SAMPLE_RATE)
        self._sent += FRAME
        return frame


class Card(VideoStreamTrack):
    """One still picture, again and again."""

    def __init__(self, picture: np.ndarray) -> None:
        super().__init__()
        self._frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")

    async def recv(self) -> av.VideoFrame:
        frame = self._frame
        frame.pts, frame.time_base = await self.next_timestamp()
        return frame


class FakeServer:
    """What a test says to the page and what it hears from it."""

    def __init__(self) -> None:
        self.url = ""
        self.key: str | None = None
        """With a key set, requests without it are answered 401."""
        self.refusal: web.Response | None = None
        """The answer to the next offer, instead of a session."""
        self.answering = asyncio.Event()
        """While it is not set, offers and status requests wait for their answer."""
        self.answering.set()
        self.engines: list[dict[str, Any]] = ENGINES
        self.status: dict[str, Any] = {}
        """More fields of ``GET /v1/status``."""
        self.away = False
        """Whether connections are cut off instead of answered."""
        self.silent = False
        """Whether the voice stops without a word, as that of a server that was killed."""
        self.offers: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        """Of the offers."""
        self.left: list[str] = []
        """Sessions whose page has been left."""
        self.remembers = False
        """Whether a conversation goes on where the page asks for that."""
        self.picture = np.full((240, 320, 3), (24, 96, 90), np.uint8)
        self.recording: dict[str, bytes] = {}
        """Files of the recording, by name."""
        self.deleted: list[str] = []
        """Sessions whose recording was deleted."""
        self.echoes = False
        """Whether the camera's picture is sent back instead of the card."""
        self.ice_servers: list[dict[str, Any]] = []
        self.history: list[dict[str, Any]] = []
        """Series of ``GET /v1/history``."""
        self.asked: list[dict[str, str]] = []
        """Queries of it."""
        self._peers: list[RTCPeerConnection] = []
        self._sinks: list[MediaBlackhole] = []
        self._channels: asyncio.Queue[RTCDataChannel] = asyncio.Queue()
        self._channel: RTCDataChannel | None = None
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._sent = 0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_static("/static", STATIC)
        app.router.add_get("/v1/status", self._status)
        app.router.add_get("/v1/history", self._history)
        app.router.add_get("/v1/sessions/{session}/recording", self._recording)
        app.router.add_delete("/v1/sessions/{session}/recording", self._recording)
        app.router.add_get("/v1/sessions/{session}/recording/{name}", self._recorded)
        app.router.add_get("/v1/realtime/ice_servers", self._ice_servers)
        app.router.add_post("/offer", self._call)
        app.router.add_post("/v1/realtime/calls/{session}/hangup", self._left)
        return app

    async def connected(self) -> None:
        """Wait for the page's data channel."""
        async with asyncio.timeout(SECONDS):
            self._channel = await self._channels.get()

    def send(self, *events: dict[str, Any]) -> None:
        """Send events to the page, in order."""
        assert self._channel is not None, "await connected() first"
        for event in events:
            self._sent += 1
            self._channel.send(json.dumps({"event_id": f"event_{self._sent}", **event}))

    async def next_event(self) -> dict[str, Any]:
        """The next event that the page sent."""
        async with asyncio.timeout(SECONDS):
            return await self._events.get()

    async def hang_up(self) -> None:
        """Close every peer connection, as a stopping server does."""
        for sink in self._sinks:
            await sink.stop()
        for peer in self._peers:
            await peer.close()
        self._sinks.clear()
        self._peers.clear()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if self.away and request.transport is not None:
            request.transport.abort()
        public = request.path in ("/", "/v1/status") or request.path.startswith("/static/")
        if self.key and not public and request.headers.get("Authorization") != f"Bearer {self.key}":
            return error(401, "This server needs an API key.", "invalid_api_key")
        response: web.StreamResponse = await handler(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    async def _page(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _status(self, request: web.Request) -> web.Response:
        await self.answering.wait()
        ready = self.status.get("ready", True)
        public = {"name": "visavis", "version": "0", "auth_required": self.key is not None, "ready": ready}
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response(public)
        return web.json_response(public | {"engines": self.engines} | self.status)

    async def _history(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        if "series" not in request.query:
            return web.json_response({"object": "list", "data": [], "gpu": "there is no such GPU"})
        session = request.query.get("session")
        rows = [row for row in self.history if row["labels"].get("session") == session]
        return web.json_response({"object": "history", "from": 0, "to": 600, "step": 5, "series": rows})

    async def _recording(self, request: web.Request) -> web.Response:
        session = request.match_info["session"]
        if request.method == "DELETE":
            self.deleted.append(session)
        kept = {} if session in self.deleted else self.recording
        files = [
            {"name": name, "bytes": len(data), "type": "audio/wav", "url": f"/v1/sessions/{session}/recording/{name}"}
            for name, data in kept.items()
        ]
        return web.json_response({"session_id": session, "state": "done", "seconds": 70, "files": files})

    async def _recorded(self, request: web.Request) -> web.Response:
        return web.Response(body=self.recording[request.match_info["name"]], content_type="audio/wav")

    async def _ice_servers(self, _: web.Request) -> web.Response:
        return web.json_response({"ice_servers": self.ice_servers})

    async def _call(self, request: web.Request) -> web.Response:
        body = await request.json()
        offer = body["sdp"]
        await self.answering.wait()
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            return refusal
        self.offers.append(offer)
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        sink = MediaBlackhole()
        self._peers.append(peer)
        self._sinks.append(sink)
        peer.on("track", lambda track: self._on_track(peer, sink, track))
        peer.on("datachannel", self._on_channel)
        await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        peer.addTrack(Tone(lambda: self.silent))
        if "m=video" in offer and not self.echoes:
            peer.addTrack(Card(self.picture))
        await peer.setLocalDescription(await peer.createAnswer())
        await sink.start()
        self.bodies.append(body)
        answer = {"sdp": peer.localDescription.sdp, "type": "answer", "session_id": f"sess_{len(self.offers)}"}
        return web.json_response(answer | {"resumed": self.remembers and "resume" in body})

    async def _left(self, request: web.Request) -> web.Response:
        self.left.append(request.match_info["session"])
        return web.Response()

    def _on_track(self, peer: RTCPeerConnection, sink: MediaBlackhole, track: MediaStreamTrack) -> None:
        if self.echoes and track.kind == "video" and all(sender.track is None for sender in _videos(peer)):
            peer.addTrack(track)  # the first video is the camera
        else:
            sink.addTrack(track)

    def _on_channel(self, channel: RTCDataChannel) -> None:
        channel.on("message", lambda message: self._events.put_nowait(json.loads(message)))
        self._channels.put_nowait(channel)


def _videos(peer: RTCPeerConnection) -> list[RTCRtpSender]:
    return [sender for sender in peer.getSenders() if sender.kind == "video"]


def error(status: int, message: str, code: str, **headers: str) -> web.Response:
    """An error answer as the server words it."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def running_server() -> AsyncIterator[FakeServer]:
    """A fake server on a free port of the loopback interface."""
    server = FakeServer()
    runner = web.AppRunner(server.app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield server
    finally:
        await server.hang_up()
        await runner.cleanup()
