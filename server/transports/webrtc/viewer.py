"""Somebody who only watches: a connection of its own that gets what a running session sends, and gives it nothing.

The voice comes as the packets that the session has encoded anyway, the annotated camera as its frames, which aiortc
encodes anew for each viewer: so one that joins begins with a key frame, and has a bitrate that its own network bears.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from media.aiortc_internals.send import keep_sending, limit_bitrate
from media.audio_out import AudioOut
from media.clock import Clock
from media.fan_out import Relay
from media.video_tracks import OwnFrames, VideoOut
from pipelines.runtime.supervision import end
from pipelines.voice.history import new_id
from server.settings import Settings
from server.transports.webrtc.connection import Connection, Owner
from server.transports.webrtc.negotiation import Taken
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.trickle import Trickled

log = logging.getLogger(__name__)

END_SECONDS = 1.0
"""What its watchdogs may take to end."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What there is to watch of a session."""

    session_id: str
    voice: AudioOut | None
    """``None``: it answers in text."""
    video: VideoOut[Any] | None
    """``None``: it has no camera."""
    bitrate: Callable[[], int | None]
    """The bits per second that its video is to have; ``None``: aiortc decides."""
    ended: asyncio.Event
    """Set when it is over."""


class Viewer:
    """Lives from its offer to :meth:`close`, or to the end of the session; :meth:`run` owns its tasks in between."""

    def __init__(self, offer: Offer, watched: Watched, settings: Settings, clock: Clock) -> None:
        self.id = new_id("view")
        self.session_id = watched.session_id
        self._watched = watched
        self._tracks: list[Relay[Any]] = []
        owner = Owner(self.id, lambda what: None, lambda: None)
        self._connection = Connection(offer, settings, clock, owner)

    @property
    def has_ended(self) -> bool:
        """Whether it is over, though its end may still take a moment."""
        return self._connection.ended.is_set()

    async def answer(self) -> str:
        """Apply the offer and return the answer, candidates included."""
        return await self._connection.answer(self._offer, lambda: None)

    async def add_candidates(self, candidates: Sequence[Trickled]) -> None:
        """As for :meth:`~server.transports.webrtc.peer.PeerConnection.add_candidates`."""
        await self._connection.add_candidates(candidates)

    async def run(self) -> None:
        """Serve the viewer until it is gone, never came, or the session or :meth:`close` ends it."""
        connection = self._connection
        watching = [asyncio.create_task(self._follow_session(), name=f"{self.id}-session")]
        try:
            if await connection.connected():
                log.info("viewer %s of session %s connected", self.id, self.session_id)
                watching.append(asyncio.create_task(connection.watch(self._sent), name=f"{self.id}-watchdog"))
                await connection.ended.wait()
        finally:
            await end(watching, END_SECONDS)
            await connection.close()
            for track in self._tracks:
                track.stop()
            log.info("viewer %s ended: %s", self.id, connection.ended_because)

    def close(self, reason: str) -> None:
        """End it; :meth:`run` returns soon after. Idempotent."""
        self._connection.end(reason)

    def _sent(self) -> int:
        return sum(track.given for track in self._tracks)

    async def _follow_session(self) -> None:
        await self._watched.ended.wait()
        self.close("the session has ended")

    def _offer(self, section: Taken) -> None:
        """What goes out in a section; nothing comes in, whatever is offered."""
        track = self._track(section) if section.sends else None
        if track is None:
            self._connection.pc.addTransceiver(section.kind, "inactive")
            return
        self._tracks.append(track)
        sender = self._connection.pc.addTransceiver(track, "sendonly").sender
        if section.kind == "video":
            limit_bitrate(sender, self._watched.bitrate)
        keep_sending(sender, lambda error: log.warning("viewer %s: sending %s failed: %r", self.id, track.kind, error))

    def _track(self, section: Taken) -> Relay[Any] | None:
        watched = self._watched
        if section.kind == "audio":
            return Relay("audio", watched.voice.followers) if watched.voice is not None else None
        return Relay("video", watched.video.followers, OwnFrames()) if watched.video is not None else None
