"""One peer connection: joins its tracks to the pipelines, its data channels to the dialect, and ends in one place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import aiortc
from aiortc import RTCPeerConnection, RTCSessionDescription

from media.aiortc_internals.closing import close_peer
from media.aiortc_internals.guard import guard_peer
from media.aiortc_internals.receive import receiver_of
from media.aiortc_internals.sctp import SctpGuard
from media.aiortc_internals.send import keep_sending
from media.audio_in import AudioIn
from media.audio_out import AudioOut
from media.clock import Clock, local_time
from media.opus import RATE
from pipelines.engines.llm.messages import time_words
from pipelines.interfaces.stt import languages_of
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime import worker
from pipelines.vision.settings import Action
from pipelines.voice.conversation import Conversation
from pipelines.voice.responses import Surroundings, new_id
from server.dialects.openai.client_events import RealtimeClient
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.settings import Served
from server.dialects.openai.shapes import Json, ended_event, error_event, session_event, status_event
from server.engines.build import Engines
from server.observability.metrics import Event, SessionCounts
from server.settings import Settings
from server.supervision import Supervisor, end
from server.transports.webrtc import ice
from server.transports.webrtc.answers import complete
from server.transports.webrtc.barrier import Barrier
from server.transports.webrtc.data_channels import MESSAGE, EventChannels
from server.transports.webrtc.echo import echo
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.session_sight import SessionSight
from server.transports.webrtc.session_video import SessionVideo

END_SECONDS = 1.0
"""What the parts of a session may take to end before they are let go."""

log = logging.getLogger(__name__)


class Session:
    """Lives from the offer to :meth:`close`; :meth:`run` owns every task in between."""

    def __init__(
        self, offer: Offer, engines: Engines, settings: Settings, clock: Clock, observe: Callable[[Event], None]
    ) -> None:
        self.id = new_id("sess")
        self.ended_because = ""
        """Why the session ended; empty while it lives."""
        self._settings = settings
        self._engines = engines
        self._unavailable = dict(engines.unavailable_detectors)
        self._clock = clock
        self._observe = observe
        self._pc = RTCPeerConnection(ice.configuration(settings.ice_servers, answers=True))
        self._connected = asyncio.Event()
        self._ended = asyncio.Event()
        self._events = RealtimeEvents(lambda: self.conversation.settings.transcripts)
        self._audio_in: AudioIn | None = None
        self._listeners: list[AudioIn] = []
        self._optional = Supervisor(self._tell, clock)
        self.video = SessionVideo(offer, engines, clock, self._tell, self._optional)
        self._audio_out = AudioOut(clock) if offer.wants_audio else None
        self._sight = SessionSight(self.video, engines.drawing_worker, clock, self._act, self._optional)
        scene, offered = (lambda: self.video.watching.scene), self._sight.offered
        time = (lambda: time_words(local_time())) if settings.tell_time else str
        around = Surroundings(engines.voice, self._audio_out, self._tell, clock, scene=scene, time=time, sight=offered)
        spoken = self._audio_out is not None
        self.conversation = Conversation(around, replace(engines.conversation_settings(), spoken=spoken))
        self._sight.responses = self.conversation.responses
        self._barrier = barrier = Barrier(self.id, self._tell_failure)
        self._channels = EventChannels(self._greeting, lambda message: self._client.receive(message), barrier)
        self._client = RealtimeClient(
            self.conversation,
            self.video,
            Served(lambda: engines.voice.tts.voices, lambda: languages_of(engines.voice.stt), spoken),
            self._channels.send,
            lambda: self._session_event("session.updated"),
        )
        self._pc.on("track", barrier.around(self._on_track, "a track"))
        self._pc.on("datachannel", barrier.around(self._channels.add, "a data channel"))
        self._pc.on("connectionstatechange", barrier.around(self._on_state, "a change of the connection"))

    # ------------------------------------------------------------------------------------------------ signalling

    async def answer(self, offer: Offer) -> str:
        """Apply the offer and return the answer, candidates included.

        Step by step: together they would hold up everybody's audio for some 20 ms.
        """
        for one in offer.negotiation.media:  # in its order: aiortc takes the first that is free
            await asyncio.sleep(0)
            if not one.sends:
                self._pc.addTransceiver(one.kind, "recvonly")
            elif one.kind == "video":
                self.video.send_over(self._pc)
            elif self._audio_out is not None:
                sender = self._pc.addTransceiver(self._audio_out, "sendrecv").sender
                keep_sending(sender, lambda error: self._optional.failed("the outgoing voice", error))
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
        worker.session.set(self.id)  # the tasks of this session inherit it: engines serve sessions in turn
        try:
            if await self._wait_connected():
                await self._serve()
        except Exception:
            # A defect must end one session, not the server; its traceback belongs in the log.
            log.exception("session %s failed", self.id)
            self._end("internal error")
        finally:
            await self._channels.farewell(ended_event(self.ended_because))
            await close_peer(self._pc)
            self._channels.release()
            log.info("session %s ended: %s", self.id, self.ended_because)

    def close(self, reason: str) -> None:
        """End the session; :meth:`run` returns soon after. Idempotent."""
        self._end(reason)

    def tell_engines(self) -> None:
        """Send the client the present choice of engines; detectors that have come are put to use."""
        if (unavailable := self._engines.unavailable_detectors) != self._unavailable:
            self._unavailable = dict(unavailable)
            self.video.watching.reselect()
        self._channels.send(status_event(self._engines.status()))

    def counts(self) -> SessionCounts:
        """What the parts of the session have counted so far."""
        return replace(
            self.video.counts(),
            events_dropped=self._channels.dropped,
            concealed_samples=sum(reader.concealed_samples for reader in self._listeners),
            packets_lost=sum(reader.order.lost for reader in self._listeners),
        )

    @property
    def is_behind(self) -> bool:
        """Whether vision trails the camera now."""
        return self.video.watching.is_behind

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
            await end(tasks, END_SECONDS)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """A defect in what the call is made of must end the one session, not the server."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error)
            self._end("internal error")

    def _work(self) -> dict[str, Coroutine[Any, Any, None]]:
        work = {"watchdog": self._watch_peer()}
        chunks = self._audio_in.chunks if self._audio_in is not None else None
        work["events"] = self._channels.serve_after(self.conversation.running)
        work["conversation"] = self.conversation.run(None if self._settings.bench_echo else chunks)
        if self._settings.bench_echo and chunks is not None and self._audio_out is not None:
            work["echo"] = echo(chunks, self._audio_out)
        for name, run in self.video.work().items():
            work[name] = self._optional.keep(name, run)
        work.update({f"audio-{n}": reader.run() for n, reader in enumerate(self._listeners)})
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

    def _on_track(self, track: aiortc.MediaStreamTrack) -> None:
        receiver = receiver_of(self._pc, track)
        if track.kind != "audio":
            self.video.receive(receiver)
            return
        reader = AudioIn(receiver, RATE if self._settings.bench_echo else VAD_RATE, self._clock)
        if self._audio_in is None:
            self._audio_in = reader
            reader.on_packet = self._audio_out.follow if self._audio_out is not None else None
        self._listeners.append(reader)

    # ------------------------------------------------------------------------------------------------ events out

    def _act(self, action: Action) -> None:
        """What a gesture does."""
        match action:
            case "stop_speaking":
                self.conversation.responses.interrupt("client_cancelled")
            case "end_turn":
                self.conversation.commit()
            case "mute_camera":
                self.video.configure(replace(self.video.settings, enabled=False))
                self._channels.send(self._session_event("session.updated"))
            case "none":
                pass

    def _tell(self, event: Event) -> None:
        self._optional.call("metrics", self._observe, event)
        self._optional.call("captions", self._sight.take, event)
        for message in self._optional.call("the client's events", self._events.translate, event) or []:
            self._channels.send(message)

    def _tell_failure(self, what: str) -> None:
        message = f"the server failed at {what}; its log has the details"
        event_id = self._client.event_id if what == MESSAGE else None
        self._channels.send(error_event("internal_error", message, event_id=event_id, kind="server_error"))

    def _greeting(self) -> list[Json]:
        return [self._session_event("session.created"), status_event(self._engines.status())]

    def _session_event(self, kind: str) -> Json:
        voice = self._engines.voice
        models = {"listen": voice.stt.name, "think": voice.llm.name, "speak": voice.tts.name}
        models["language"] = self.conversation.settings.language or self._settings.language
        event = session_event(kind, self.id, self.conversation.settings, voice.tts.voices[0], models)
        event["session"]["vision"] = self.video.describe()
        return event
