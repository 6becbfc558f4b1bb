"""One WebRTC connection from its offer to its end: answered, guarded, watched. What flows is its owner's business."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from media.aiortc_internals.closing import close_peer
from media.aiortc_internals.guard import guard_peer
from media.aiortc_internals.roaming import follow_peer
from media.clock import Clock
from server.settings import Settings
from server.transports.barrier import Barrier
from server.transports.webrtc import ice
from server.transports.webrtc.answers import complete
from server.transports.webrtc.negotiation import Taken
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.trickle import Trickled, Trickling


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose connection it is."""

    name: str
    """For the log."""
    failed: Callable[[str], None]
    """Is told which handler of the connection's events has failed."""
    ended: Callable[[], None]
    """Is called once, when the connection has ended or is to end."""


class Connection:
    """Lives from the offer to :meth:`close`; ends when the peer goes, never comes, falls silent, or by :meth:`end`."""

    def __init__(self, offer: Offer, settings: Settings, clock: Clock, owner: Owner) -> None:
        self.pc = RTCPeerConnection(ice.configuration(settings.ice_servers, answers=True))
        self.barrier = Barrier(owner.name, owner.failed)
        """For every handler of the connection's events."""
        self.ended = asyncio.Event()
        self.ended_because = ""
        """Empty while it lives."""
        self._offer = offer
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._answer: str | None = None
        self._connected = asyncio.Event()
        self._trickling = Trickling(offer.negotiation, settings.peer_ranges)
        self.pc.on("connectionstatechange", self.barrier.around(self._on_state, "a change of the connection"))

    # ------------------------------------------------------------------------------------------------ signalling

    async def answer(self, prepare: Callable[[Taken], object], taken: Callable[[], object]) -> str:
        """Apply the offer and return the answer, candidates included.

        ``prepare`` adds what goes out in each section of audio or video, ``taken`` is called once aiortc has the offer.
        Step by step: together they would hold up everybody's audio for some 20 ms.
        """
        negotiation = self._offer.negotiation
        for section in negotiation.media:  # in its order: aiortc takes the first that is free
            await asyncio.sleep(0)
            prepare(section)
        await asyncio.sleep(0)
        await self.pc.setRemoteDescription(RTCSessionDescription(negotiation.sdp, "offer"))
        guard_peer(self.pc)
        follow_peer(self.pc)
        taken()
        await asyncio.sleep(0)
        description = await self.pc.createAnswer()
        await asyncio.sleep(0)
        await self.pc.setLocalDescription(description)
        self._answer = complete(negotiation, self.pc.localDescription.sdp)
        return self._answer

    async def answer_again(self, offer: Offer) -> str | None:
        """The same answer for an offer that differs in its candidates only, which are tried; ``None`` for any other.

        Nothing else of a connection can be negotiated anew: aiortc has no ICE restart.
        """
        again, first = offer.negotiation, self._offer.negotiation
        if self._answer is None or again.without_candidates != first.without_candidates:
            return None
        more = [Trickled(value, mid) for mid, transport in again.transports for value in transport.candidates]
        await self.add_candidates(more)
        return self._answer

    async def add_candidates(self, candidates: Sequence[Trickled]) -> None:
        """Try candidates of the peer that came after its offer, as far as they may be tried.

        Raises :class:`~server.transports.webrtc.trickle.TrickleError`; then none is tried.
        """
        for mid, value in self._trickling.take(candidates):
            if self.ended.is_set():
                return
            candidate = candidate_from_sdp(value)
            candidate.sdpMid = mid
            await self.pc.addIceCandidate(candidate)

    # ------------------------------------------------------------------------------------------------ life

    async def connected(self) -> bool:
        """Wait until the peer has come; ``False`` when the connection has ended instead, or it did not in time."""
        ended = asyncio.create_task(self.ended.wait())
        connected = asyncio.create_task(self._connected.wait())
        seconds = self._settings.connect_timeout
        try:
            await asyncio.wait({ended, connected}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            connected.cancel()
        if not self._connected.is_set():
            self.end(f"did not connect within {seconds:g} s")
        return not self.ended.is_set()

    async def watch(self, sent: Callable[[], int] | None = None) -> None:
        """End it when nothing arrives any more; ICE consent alone would take 30 s to notice.

        ``sent`` counts what a peer that only takes was sent: while that is nothing, some have nothing to report. Time
        in which this process did not run (a machine that slept, or was moved) is nobody's silence: what has arrived
        meanwhile is read only after those who waited for the time.
        """
        seen, since, reported = -1, self._clock.now(), 0
        pause = min(1.0, self._settings.peer_timeout / 3)
        while True:
            before = self._clock.now()
            await self._clock.sleep(pause)
            since += max(0.0, self._clock.now() - before - pause)
            received, counted = self._bytes_received(), sent() if sent is not None else 0
            if received != seen or (sent is not None and counted == reported):
                seen, since, reported = received, self._clock.now(), counted
            elif self._clock.now() - since >= self._settings.peer_timeout:
                self.end(f"nothing has arrived for {self._settings.peer_timeout:g} s")

    def _bytes_received(self) -> int:
        """RTP, RTCP and data over all transports: a peer that listens in silence still sends receiver reports."""
        transports = {t.receiver.transport for t in self.pc.getTransceivers()}
        if self.pc.sctp is not None:
            transports.add(self.pc.sctp.transport)
        stats = [next(iter(transport._get_stats().values())) for transport in transports]
        return sum(stat.bytesReceived for stat in stats)

    def _on_state(self) -> None:
        state = self.pc.connectionState
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self.end("the peer closed the connection" if state == "closed" else "the connection failed")

    def end(self, reason: str) -> None:
        """Let it end; the first reason counts. Idempotent."""
        if not self.ended.is_set():
            self.ended_because = reason
            self.ended.set()
            self._owner.ended()

    async def close(self) -> None:
        """Close the connection, within a deadline."""
        await close_peer(self.pc)
