"""One peer connection of a headless client to any server that answers an SDP offer over HTTP.

The address decides how it is asked: without a path ``POST /offer`` (visavis), with one that ends in
``/v1/realtime/calls`` as OpenAI's Realtime over WebRTC (``application/sdp``), with any other the JSON of ``/offer`` is
posted just there (Pipecat's ``/api/offer``).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCRtpReceiver, RTCRtpSender, RTCSessionDescription

from media.aiortc_internals.consent import guard_consent, release_consent
from media.aiortc_internals.receive import receiver_of
from pipelines.text import base_url, header_value
from server.settings import SettingsError
from server.transports.webrtc import ice
from server.transports.webrtc.ice_servers import GivenServer

log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
LOOK_SECONDS = 1.0
SILENT_LOOKS = 6
"""Looks in a row at which nothing at all had come, after which a call is lost. Time in which this process did not run
is nobody's silence, so looks are counted and not seconds."""
REALTIME_CALLS = "/v1/realtime/calls"
Listen = Callable[[RTCRtpReceiver], Iterable[Coroutine[Any, Any, None]]]
"""What is done with the sound that comes back; the coroutines belong to the call."""


@dataclass(frozen=True, slots=True)
class Address:
    """A server, and the conversation that is wanted of it."""

    url: str
    api_key: str | None = None
    pipeline: str | None = None
    """Id of a pipeline of the server; ``None``: its own live conversation."""
    relays: tuple[GivenServer, ...] = ()
    """TURN servers: media goes through the first of them, and no other way."""

    def check(self) -> None:
        """Raise :class:`SettingsError` for what no server can be reached by."""
        for name, check, value in (("--url", base_url, self.url), ("--api-key", header_value, self.api_key)):
            try:
                if value is not None:
                    check(value)
            except ValueError as error:
                raise SettingsError(f"{name}: {error}") from None
        if self.pipeline is not None and self.asks_realtime:
            raise SettingsError(f"--pipeline: has no effect where calls are made as OpenAI's clients do ({self.url})")

    @property
    def asks_realtime(self) -> bool:
        """Whether calls are made as OpenAI's clients make them."""
        return urlsplit(self.url).path.rstrip("/").endswith(REALTIME_CALLS)

    @property
    def place(self) -> str:
        """Where offers are posted."""
        path = urlsplit(self.url).path.rstrip("/")
        return self.url.rstrip("/") if path else f"{self.url.rstrip('/')}/offer"

    @property
    def root(self) -> str:
        """The server without any path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def headers(self) -> dict[str, str]:
        """Sent with every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


@dataclass(frozen=True, slots=True)
class Answered:
    """What a server answers to an offer."""

    description: RTCSessionDescription
    session: str | None = None
    """Its id, where the server tells it."""
    resumed: bool = False
    """Whether an earlier conversation goes on."""
    watched: bool = False
    """Whether the server tells when the session has to go on elsewhere (:mod:`server.headless.watch`)."""


async def offer_to(offer: RTCSessionDescription, address: Address, resume: str | None = None) -> Answered:
    """The server's answer to an offer, perhaps to go on with the conversation of an earlier session.

    Raises :class:`SettingsError` when there is none."""
    asked: dict[str, Any] = {"sdp": offer.sdp, "type": offer.type}
    if resume is not None:
        asked["resume"] = resume
    if address.pipeline is not None:
        asked["pipeline"] = address.pipeline
    url, headers = address.url, dict(address.headers)
    body: dict[str, Any] = {"json": asked}
    if address.asks_realtime:
        body = {"data": offer.sdp.encode()}
        headers["Content-Type"] = "application/sdp"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CONNECT_SECONDS)) as http,
            http.post(address.place, headers=headers, **body) as got,
        ):
            if address.asks_realtime and got.status in (200, 201):
                return Answered(RTCSessionDescription(await got.text(), "answer"))
            answer = await got.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SettingsError(f"no visavis at {url}: {error or 'no answer'}") from error
    except ValueError as error:
        raise SettingsError(f"no visavis at {url}: what answers there says {got.status} and no JSON") from error
    match answer:
        case {"sdp": str(sdp), "type": "answer"} if got.status == 200:
            told = answer.get("session_id"), answer.get("resumed") is True, answer.get("watched") is True
            return Answered(RTCSessionDescription(sdp, "answer"), *told)
        case {"error": {"message": str(message), "retry_after": int() | float() as seconds}}:
            raise SettingsError(f"{url} refused: {message}; try again in {seconds:g} s")
        case {"error": {"message": str(message)}}:
            raise SettingsError(f"{url} refused: {message}{' (--api-key KEY)' if got.status == 401 else ''}")
    raise SettingsError(f"no visavis at {url}: what answers there says {got.status} and nothing of a call")


async def relays_of(address: Address) -> tuple[GivenServer, ...]:
    """The TURN servers that the server names. Raises :class:`SettingsError` when there is none."""
    place = f"{address.root}/v1/realtime/ice_servers"
    timeout = aiohttp.ClientTimeout(total=CONNECT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout, headers=address.headers) as http, http.get(place) as got:
            told = await got.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise SettingsError(f"no visavis at {address.url}: {error or 'no answer'}") from error
    match told:
        case {"ice_servers": list(servers)} if got.status == 200:
            found = [
                GivenServer(url, server.get("username"), server.get("credential"))
                for server in servers
                for url in server["urls"]
                if url.startswith(("turn:", "turns:"))
            ]
        case _:
            raise SettingsError(f"{place} answers {got.status} and names no servers")
    if not found:
        raise SettingsError(f"--relay: {address.url} names no TURN server (its setting ice_servers)")
    return tuple(found)


class Call:
    """``async with Call(…) as call``: a live connection whose data channel is open; hung up at the end.

    ``take`` is given the text of every event on the data channel named ``channel``; ``resume`` is the session whose
    conversation goes on. Raises :class:`SettingsError` when no connection comes about.
    """

    def __init__(
        self,
        address: Address,
        microphone: MediaStreamTrack,
        take: Callable[[str], object],
        listen: Listen,
        camera: MediaStreamTrack | None = None,
        channel: str = "oai-events",
        resume: str | None = None,
    ) -> None:
        host = urlsplit(address.url).hostname
        if host in ("127.0.0.1", "localhost", "::1"):
            ice.gather_from([host if host == "::1" else "127.0.0.1"])
        self._address = address
        self._resume = resume
        self.answered: Answered | None = None
        """What the server has said, once it has."""
        self.over = asyncio.Event()
        """Set when the call is lost, or has to go on in another."""
        self.over_because = ""
        self.silent_seconds = 0.0
        """For how long nothing had come when it was found to be lost."""
        self._closing = False
        self._take = take
        self._pc = RTCPeerConnection(ice.relayed(address.relays) if address.relays else ice.configuration(()))
        self.voice: RTCRtpSender = self._pc.addTrack(microphone)
        """Sends the microphone."""
        if camera is not None:
            self._pc.addTransceiver(camera, direction="sendrecv")
        self._listen = listen
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel: Any = self._pc.createDataChannel(channel)
        self._channel.on("message", self._message)
        self._channel.on("close", lambda: self.end("the call was lost"))
        self._opened = asyncio.Event()
        self._channel.on("open", self._opened.set)
        self._pc.on("track", self._track)
        self._pc.on("connectionstatechange", self._on_state)

    async def __aenter__(self) -> Call:
        return await self.connected()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connected(self) -> Call:
        """Itself, once it is connected; of no effect a second time. Raises :class:`SettingsError`, and is closed."""
        if self.answered is None:
            try:
                await self._connect()
            except BaseException:
                await self.close()
                raise
        return self

    def send(self, event: dict[str, Any]) -> None:
        """Send a client event."""
        self._channel.send(json.dumps(event))

    def end(self, why: str) -> None:
        """It is over, though nobody here hangs up; the first reason counts."""
        if not self._closing and not self.over.is_set():
            self.over_because = why
            self.over.set()

    async def close(self) -> None:
        """Hang up. Idempotent."""
        self._closing = True
        for transport in self._transports:
            release_consent(transport)
        await self._pc.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> None:
        await self._pc.setLocalDescription(await self._pc.createOffer())
        for transport in self._transports:
            guard_consent(transport)  # a machine that is busy answers late
        self.answered = await offer_to(self._pc.localDescription, self._address, self._resume)
        await self._pc.setRemoteDescription(self.answered.description)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._opened.wait()
        except TimeoutError:
            way = " through its TURN server" if self._address.relays else ""
            raise SettingsError(f"{self._address.url} answered, but no media connection came about{way}") from None
        self._tasks.add(asyncio.create_task(self._watch(), name="call-watch"))

    @property
    def _transports(self) -> set[Any]:
        found = {transceiver.receiver.transport for transceiver in self._pc.getTransceivers()}
        return found | ({self._pc.sctp.transport} if self._pc.sctp is not None else set())

    async def _watch(self) -> None:
        """A server that is killed, and a network that is gone, say nothing; one that lives sends reports at least."""
        before, silent = -1, 0
        while not self.over.is_set():
            await asyncio.sleep(LOOK_SECONDS)
            stats = await self.voice.getStats()
            received = sum(one.packetsReceived for one in stats.values() if one.type == "transport")
            silent = silent + 1 if received == before else 0
            before = received
            if silent >= SILENT_LOOKS:
                self.silent_seconds = silent * LOOK_SECONDS
                self.end("the call was lost")

    def _on_state(self) -> None:
        if self._pc.connectionState in ("failed", "closed"):
            self.end("the call was lost")

    def _message(self, text: str) -> None:
        try:
            self._take(text)
        except Exception:  # in the transport it would end the channel, and nobody would know why
            log.exception("an event of the server's could not be read: %.200s", text)
        if "session.moved" in text:
            with suppress(ValueError):
                if json.loads(text).get("type") == "session.moved":
                    self.end("its process is being replaced")

    def _track(self, track: MediaStreamTrack) -> None:
        receiver = receiver_of(self._pc, track)
        work = self._listen(receiver) if track.kind == "audio" else [_discard(track)]
        self._tasks |= {asyncio.create_task(one) for one in work}


async def _discard(track: MediaStreamTrack) -> None:
    """Take the pictures that come back: aiortc would queue them without bound."""
    from aiortc.mediastreams import MediaStreamError

    try:
        while True:
            await track.recv()
    except MediaStreamError:
        return
