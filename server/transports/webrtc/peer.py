"""One peer connection, docked onto a session: its tracks, its data channels, its watchdogs; ends in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from aiortc import RTCPeerConnection, RTCSessionDescription

from media.aiortc_internals.closing import close_peer
from media.aiortc_internals.guard import guard_peer
from media.aiortc_internals.sctp import SctpGuard
from media.audio_out import AudioOut
from media.clock import Clock
from media.opus import RATE
from pipelines.assistant.session import END_SECONDS, AssistantSession
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.supervision import end
from server.settings import Settings
from server.transports.interface import SessionCounts, Speaks
from server.transports.webrtc import ice
from server.transports.webrtc.answers import complete
from server.transports.webrtc.barrier import Barrier
from server.transports.webrtc.data_channels import MESSAGE, EventChannels
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.tracks import Tracks, echo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Docked:
    """What a peer connection is docked onto, and with what."""

    session: AssistantSession
    voice: AudioOut | None
    """Where the session's voice sounds."""
    speaks: Speaks
    """Makes the dialect that is spoken on the data channels."""
    codec: str | None = None
    """The video's, if there is a choice."""


class PeerConnection:
    """Lives from the offer to :meth:`close`; :meth:`run` owns every task in between."""

    def __init__(self, offer: Offer, docked: Docked, settings: Settings, clock: Clock) -> None:
        self.session = session = docked.session
        self.ended_because = ""
        """Why the session ended; empty while it lives."""
        self._settings = settings
        self._clock = clock
        self._voice = docked.voice
        self._pc = RTCPeerConnection(ice.configuration(settings.ice_servers, answers=True))
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()
        rate = RATE if settings.bench_echo else VAD_RATE
        self.tracks = Tracks(self._pc, offer, session, docked.voice, rate, docked.codec, clock)
        self._barrier = barrier = Barrier(session.id, self._tell_failure)
        self._channels = EventChannels(lambda send: docked.speaks(send, lambda: self.tracks.codec), barrier)
        self._pc.on("track", barrier.around(self.tracks.receive, "a track"))
        self._pc.on("datachannel", barrier.around(self._channels.add, "a data channel"))
        self._pc.on("connectionstatechange", barrier.around(self._on_state, "a change of the connection"))

    @property
    def id(self) -> str:
        """The session's."""
        return self.session.id

    # ------------------------------------------------------------------------------------------------ signalling

    async def answer(self, offer: Offer) -> str:
        """Apply the offer and return the answer, candidates included.

        Step by step: together they would hold up everybody's audio for some 20 ms.
        """
        for section in offer.negotiation.media:  # in its order: aiortc takes the first that is free
            await asyncio.sleep(0)
            self.tracks.offer(section)
        await asyncio.sleep(0)
        await self._pc.setRemoteDescription(RTCSessionDescription(offer.negotiation.sdp, "offer"))
        guard_peer(self._pc)
        if self._pc.sctp is not None:
            self._channels.guard(SctpGuard(self._pc.sctp, self._channels.tell_refused))
        await asyncio.sleep(0)
        description = await self._pc.createAnswer()
        await asyncio.sleep(0)
        await self._pc.setLocalDescription(description)
        return complete(offer.negotiation, self._pc.localDescription.sdp)

    # ------------------------------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Serve the peer until it is gone, never came, or :meth:`close` is called."""
        try:
            if await self._wait_connected():
                await self._serve()
        except Exception:
            # A defect must end one session, not the server; its traceback belongs in the log.
            log.exception("session %s failed", self.id)
            self._end("internal error")
        finally:
            await self._channels.farewell(self.ended_because)
            await close_peer(self._pc)
            self._channels.release()
            log.info("session %s ended: %s", self.id, self.ended_because)

    def close(self, reason: str) -> None:
        """End the session; :meth:`run` returns soon after. Idempotent."""
        self._end(reason)

    def counts(self) -> SessionCounts:
        """What the parts of the session have counted so far."""
        tracks, camera = self.tracks, self.session.vision.camera
        looked, seconds = camera.looked
        return SessionCounts(
            events_dropped=self._channels.dropped + self.session.events.dropped,
            concealed_samples=sum(reader.concealed_samples for reader in tracks.audio),
            packets_lost=sum(reader.order.lost for reader in tracks.audio),
            video_in=sum(reader.feed.received for reader in tracks.video),
            video_out=tracks.returned.sent if tracks.returned is not None else 0,
            pictures_looked_at=looked,
            looking_ms=round(seconds * 1000),
            lag_frames=camera.lag.frames,
            lag_ms=round(camera.lag.seconds * 1000),
            timestamps_repaired=sum(reader.timeline.repaired for reader in tracks.video),
        )

    @property
    def is_behind(self) -> bool:
        """Whether vision trails the camera now."""
        return self.session.vision.camera.is_behind

    async def _wait_connected(self) -> bool:
        ended = asyncio.create_task(self._ended.wait())
        connected = asyncio.create_task(self._connected.wait())
        try:
            await asyncio.wait(
                {ended, connected}, timeout=self._settings.connect_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            ended.cancel()
            connected.cancel()
        if not self._connected.is_set():
            self._end(f"did not connect within {self._settings.connect_timeout:g} s")
        return not self._ended.is_set()

    async def _serve(self) -> None:
        log.info("session %s connected", self.id)
        tasks = [asyncio.create_task(work, name=f"{self.id}-{name}") for name, work in self._work().items()]
        for task in tasks:
            task.add_done_callback(self._part_ended)
        try:
            await self._ended.wait()
        finally:
            await end(tasks, 1.5 * END_SECONDS)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """A defect in what the call is made of must end the one session, not the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self._end("internal error")

    def _work(self) -> dict[str, Coroutine[Any, Any, None]]:
        session, microphone = self.session, self.tracks.microphone
        work = {"watchdog": self._watch_peer(), **self.tracks.work()}
        work["messages"] = self._channels.serve_after(session.running)
        work["telling"] = session.optional.keep("the client's events", self._channels.dialect.run)
        work["session"] = session.run(None if self._settings.bench_echo else microphone)
        if self._settings.bench_echo and microphone is not None and self._voice is not None:
            work["echo"] = echo(microphone, self._voice)
        return work

    async def _watch_peer(self) -> None:
        """End the session of a peer from which nothing arrives; ICE consent alone would take 30 s to notice."""
        seen, since = -1, self._clock.now()
        while True:
            await self._clock.sleep(min(1.0, self._settings.peer_timeout / 3))
            received = self._bytes_received()
            if received != seen:
                seen, since = received, self._clock.now()
            elif self._clock.now() - since >= self._settings.peer_timeout:
                self._end(f"nothing has arrived for {self._settings.peer_timeout:g} s")

    def _bytes_received(self) -> int:
        """RTP, RTCP and data over all transports: a peer that listens in silence still sends receiver reports."""
        transports = {t.receiver.transport for t in self._pc.getTransceivers()}
        if self._pc.sctp is not None:
            transports.add(self._pc.sctp.transport)
        stats = [next(iter(transport._get_stats().values())) for transport in transports]
        return sum(stat.bytesReceived for stat in stats)

    def _end(self, reason: str) -> None:
        if not self._ended.is_set():
            self.ended_because = reason
            self._channels.hear_no_more()
            self._ended.set()

    # ------------------------------------------------------------------------------------------------ peer events

    def _on_state(self) -> None:
        state = self._pc.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self._end("the peer closed the connection" if state == "closed" else "the connection failed")

    def _tell_failure(self, what: str) -> None:
        self._channels.send(self._channels.dialect.failure(what, answers=what == MESSAGE))
