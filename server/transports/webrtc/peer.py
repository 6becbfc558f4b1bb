"""One peer connection, docked onto a session: its tracks, its data channels, its watchdogs; ends in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiortc import RTCPeerConnection

from media.aiortc_internals.sctp import SctpGuard
from media.audio_out import AudioOut
from media.clock import Clock
from media.opus import RATE
from pipelines.assistant.session import END_SECONDS, AssistantSession
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.supervision import end
from server.recordings.recorder import Recorder
from server.settings import Settings
from server.transports.interface import SessionCounts, Speaks
from server.transports.webrtc.connection import Connection, Owner
from server.transports.webrtc.data_channels import EventChannels, MakeDialect
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.tracks import Tracks, echo
from server.transports.webrtc.trickle import Trickled
from server.transports.webrtc.viewer import Watched

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Docked:
    """What a peer connection is docked onto, and with what."""

    session: AssistantSession
    voice: AudioOut | None
    """Where the session's voice sounds."""
    speaks: Speaks
    """Makes the dialect that is spoken on the data channels …"""
    codec: str | None = None
    """The video's, if there is a choice."""
    labelled: Mapping[str, Speaks] = field(default_factory=dict)
    """… but on those with these labels, which have dialects of their own."""
    ending: Callable[[str], None] = lambda reason: None
    """Is told the reason when the end of the session is decided, while its conversation still runs."""
    recorder: Recorder | None = None
    """What records it, when its client asks for that."""


class PeerConnection:
    """Lives from the offer to :meth:`close`; :meth:`run` owns every task in between."""

    def __init__(self, offer: Offer, docked: Docked, settings: Settings, clock: Clock) -> None:
        self.session = session = docked.session
        self._settings = settings
        self._voice = docked.voice
        self._ending = docked.ending
        self.recorder = docked.recorder
        owner = Owner(session.id, lambda what: self._channels.tell_failure(what), self._on_end)
        self._connection = Connection(offer, settings, clock, owner)
        rate = RATE if settings.bench_echo else VAD_RATE
        self.tracks = Tracks(self._pc, offer, session, docked.voice, rate, docked.codec, clock)
        barrier = self._connection.barrier
        labelled = {label: self._maker(speaks) for label, speaks in docked.labelled.items()}
        self._channels = EventChannels(self._maker(docked.speaks), barrier, labelled)
        self._pc.on("track", barrier.around(self.tracks.receive, "a track"))
        self._pc.on("datachannel", barrier.around(self._channels.add, "a data channel"))

    @property
    def id(self) -> str:
        """The session's."""
        return self.session.id

    @property
    def ended_because(self) -> str:
        """Why the session ended; empty while it lives."""
        return self._connection.ended_because

    @property
    def _pc(self) -> RTCPeerConnection:
        return self._connection.pc

    # ------------------------------------------------------------------------------------------------ signalling

    async def answer(self, offer: Offer) -> str:
        """Apply the offer and return the answer, candidates included."""
        return await self._connection.answer(self.tracks.offer, self._guard_channels)

    async def add_candidates(self, candidates: Sequence[Trickled]) -> None:
        """Try candidates of the peer that came after its offer, as far as they may be tried (trickle ICE).

        Raises :class:`~server.transports.webrtc.trickle.TrickleError`; then none is tried.
        """
        await self._connection.add_candidates(candidates)

    async def answer_again(self, offer: Offer) -> str | None:
        """The same answer, if this is the same offer with other candidates, which are tried; ``None`` if it is not."""
        return await self._connection.answer_again(offer)

    def _maker(self, speaks: Speaks) -> MakeDialect:
        return lambda send: speaks(send, lambda: self.tracks.codec)

    def _guard_channels(self) -> None:
        if self._pc.sctp is not None:
            self._channels.guard(SctpGuard(self._pc.sctp, self._channels.tell_refused))

    # ------------------------------------------------------------------------------------------------ life

    async def run(self) -> None:
        """Serve the peer until it is gone, never came, or :meth:`close` is called."""
        try:
            if await self._connection.connected():
                await self._serve()
        except Exception:
            # A defect must end one session, not the server; its traceback belongs in the log.
            log.exception("session %s failed", self.id)
            self.close("internal error")
        finally:
            try:
                await self._channels.farewell(self.ended_because)
            except Exception:  # the connection must be closed, whatever cannot be told any more
                log.exception("session %s could not say goodbye", self.id)
            finally:
                await self._connection.close()
                self.tracks.stop()
                self._channels.release()
            log.info("session %s ended: %s", self.id, self.ended_because)

    def close(self, reason: str) -> None:
        """End the session; :meth:`run` returns soon after. Idempotent."""
        self._connection.end(reason)

    def counts(self) -> SessionCounts:
        """What the parts of the session have counted so far."""
        tracks, camera = self.tracks, self.session.vision.camera
        looked, seconds = camera.looked
        return SessionCounts(
            events_dropped=self._channels.dropped + self.session.events.dropped,
            concealed_samples=sum(reader.concealed_samples for reader in tracks.audio),
            repeated_samples=sum(reader.repeated_samples for reader in tracks.audio),
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
    def watched(self) -> Watched:
        """What viewers get of the session."""
        video = self.tracks.shown if self.tracks.video else None
        settings = self.session.vision
        return Watched(self.id, self._voice, video, lambda: settings.settings.bitrate, self._connection.ended)

    @property
    def is_behind(self) -> bool:
        """Whether vision trails the camera now."""
        return self.session.vision.camera.is_behind

    async def _serve(self) -> None:
        log.info("session %s connected", self.id)
        tasks = [asyncio.create_task(work, name=f"{self.id}-{name}") for name, work in self._work().items()]
        for task in tasks:
            task.add_done_callback(self._part_ended)
        try:
            await self._connection.ended.wait()
        finally:
            await end(tasks, 1.5 * END_SECONDS)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """A defect in what the call is made of must end the one session, not the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self.close("internal error")

    def _work(self) -> dict[str, Coroutine[Any, Any, None]]:
        session, microphone = self.session, self.tracks.microphone
        work = {"watchdog": self._connection.watch(), **self.tracks.work()}
        work["messages"] = self._channels.serve_after(session.running)
        work["telling"] = self._channels.tell("the client's events", session.optional)
        work["session"] = session.run(None if self._settings.bench_echo else microphone)
        if (recorder := self.recorder) is not None:
            taps = self.tracks.taps
            work["recording"] = session.optional.keep("the recording", lambda: recorder.run(taps))
        if self._settings.bench_echo and microphone is not None and self._voice is not None:
            work["echo"] = echo(microphone, self._voice)
        return work

    def _on_end(self) -> None:
        self._channels.hear_no_more()
        self._ending(self.ended_because)
