"""The pictures of one session: its camera and its screen on their way in, the annotated camera on its way out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import av
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver

from media.aiortc_internals.send import codec_sent, keep_sending, limit_bitrate, preferring
from media.clock import Clock
from media.frames import Picture
from media.video_convert import Converter
from media.video_in import VideoIn
from media.video_out import VideoOut
from pipelines.errors import EngineBusyError
from pipelines.vision.detect import VideoEvent
from pipelines.vision.events import VisionEvent
from pipelines.vision.settings import DetectorName, VisionSettings
from pipelines.voice.events import Problem
from pipelines.voice.visual_context import SOURCES, Source
from server.dialects.openai.vision_client import merge_vision, vision_json
from server.engines.build import Engines
from server.observability.metrics import SessionCounts
from server.supervision import Supervisor
from server.transports.webrtc.offers import Offer
from server.transports.webrtc.returned import Shot
from server.transports.webrtc.watching import Watching

NEWEST_SECONDS = 3.0
"""A camera's frame older than this no longer shows what there is to see; a screen that stands still sends nothing."""


class SessionVideo:
    """The first incoming video is the camera, the second the screen; further ones are read and forgotten.

    Should our picture go back in the section of another one, that is the camera, wherever it stands in the offer.
    """

    def __init__(
        self,
        offer: Offer,
        engines: Engines,
        clock: Clock,
        tell: Callable[[VisionEvent | Problem | VideoEvent], None],
        optional: Supervisor,
    ) -> None:
        self.settings = merge_vision(engines.vision_settings(), offer.vision)
        self.watching = Watching(engines, clock, self.settings, tell, optional)
        self.out: VideoOut[Shot] | None = VideoOut(self.watching.render) if offer.wants_video else None
        self.incoming: list[VideoIn] = []
        self._optional = optional
        self._engines = engines
        self._clock = clock
        self._codec = offer.vision.codec
        self._transceiver: RTCRtpTransceiver | None = None
        self._screen_since = clock.now()
        """What the screen showed before is over."""

    # ------------------------------------------------------------------------------------------------ signalling

    def send_over(self, pc: RTCPeerConnection) -> None:
        """Offer the annotated camera, in the preferred codec if there is one. Before the remote description is set."""
        if self.out is None:
            return
        self._transceiver = pc.addTransceiver(self.out, "sendrecv")
        sender = self._transceiver.sender
        limit_bitrate(sender, lambda: self.settings.bitrate)
        keep_sending(sender, lambda error: self._optional.failed("the returned video", error))
        if self._codec is not None:
            self._transceiver.setCodecPreferences(preferring(self._codec))

    def receive(self, receiver: RTCRtpReceiver) -> VideoIn:
        """Another incoming video."""
        reader = VideoIn(receiver, self._clock)
        is_answered = self._transceiver is not None and self._transceiver.receiver is receiver
        self.incoming.insert(0 if is_answered else len(self.incoming), reader)
        if len(self.incoming) == 1 and self.out is not None:
            self.out.connect(self.watching.returns)
        return reader

    def work(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the session, and may be run again."""
        work = {f"video-{n}": reader.run for n, reader in enumerate(self.incoming)}
        if self.incoming:
            camera = self.incoming[0].subscribe()  # once: whoever watches is run again on the same pictures
            work["vision"] = lambda: self.watching.run(camera)
        return work

    # ------------------------------------------------------------------------------------------------ settings

    def configure(self, settings: VisionSettings) -> None:
        """Change how the session is seen, at once."""
        if settings.screen and not self.settings.screen:
            self._screen_since = self._clock.now()
        self.settings = settings
        self.watching.apply(settings)

    def describe(self) -> dict[str, Any]:
        """``session.vision`` as it is."""
        codec = codec_sent(self._transceiver) if self._transceiver is not None else None
        return vision_json(self.settings, codec, self.unavailable)

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used now; those not named here can."""
        return self._engines.unavailable_detectors

    def counts(self) -> SessionCounts:
        """What has been counted of pictures."""
        watching = self.watching
        looked, seconds = watching.looked
        return SessionCounts(
            video_in=sum(reader.received for reader in self.incoming),
            video_out=self.out.sent if self.out is not None else 0,
            pictures_looked_at=looked,
            looking_ms=round(seconds * 1000),
            lag_frames=watching.lag.frames,
            lag_ms=round(watching.lag.seconds * 1000),
            timestamps_repaired=sum(reader.timeline.repaired for reader in self.incoming),
        )

    # ------------------------------------------------------------------------------------------------ pictures

    def shows(self, source: Source) -> bool:
        """Whether there is a picture to look at now."""
        return self._newest(source) is not None

    async def picture(self, source: Source = "camera", longest_side: int = 768) -> Picture | None:
        """What the camera or the screen shows now, reduced; ``None`` when it shows nothing."""
        frame = self._newest(source)
        if frame is None:
            return None
        try:
            return await self._engines.drawing_worker.run(Converter().picture, frame, longest_side)
        except EngineBusyError:
            return None

    def _newest(self, source: Source) -> av.VideoFrame | None:
        place = SOURCES.index(source)
        if len(self.incoming) <= place or (source == "camera" and not self.settings.enabled):
            return None
        reader = self.incoming[place]
        if source == "screen":
            return reader.newest if self.settings.screen and reader.arrived >= self._screen_since else None
        return reader.newest if self._clock.now() - reader.arrived <= NEWEST_SECONDS else None
