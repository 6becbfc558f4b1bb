"""The tracks of one peer: what comes in is read, what goes out is offered, in the order of the offer's sections."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import aiortc
import numpy as np
from aiortc import RTCPeerConnection, RTCRtpReceiver, RTCRtpTransceiver

from media.aiortc_internals.receive import receiver_of
from media.aiortc_internals.send import codec_sent, keep_sending, limit_bitrate, preferring, tell_loss
from media.audio_in import QUIET_PEAK, AudioIn
from media.audio_out import AudioOut
from media.channel import Channel
from media.clock import Clock
from media.frames import AudioChunk
from media.opus import FRAME_SECONDS, RATE
from media.video_tracks import VideoIn, VideoOut
from pipelines.assistant.session import AssistantSession
from pipelines.vision.camera import Shot
from server.recordings.recorder import Taps
from server.transports.webrtc.negotiation import Taken
from server.transports.webrtc.offers import Offer


class Tracks:
    """The first incoming audio is heard, further ones are read and forgotten, and so it is with what comes as third
    video: the first is the camera, the second the screen.

    Should our picture go back in the section of another one, that is the camera, wherever it stands in the offer.
    ``rate`` is that of the audio that comes out, ``codec`` the preferred one of the video that goes back.
    """

    def __init__(
        self,
        pc: RTCPeerConnection,
        offer: Offer,
        session: AssistantSession,
        voice: AudioOut | None,
        rate: int,
        codec: str | None,
        clock: Clock,
    ) -> None:
        self.audio: list[AudioIn] = []
        self.video: list[VideoIn] = []
        self.shown: VideoOut[Shot] = VideoOut(session.vision.render)
        """The annotated camera, which goes back, and to viewers."""
        self.returned = self.shown if offer.wants_video else None
        """The same where it goes back to the peer itself."""
        self._is_heard = offer.wants_audio
        self._pc = pc
        self._session = session
        self._voice = voice
        self._rate = rate
        self._codec = codec
        self._clock = clock
        self._transceiver: RTCRtpTransceiver | None = None
        self.shown.connect(session.vision.returns)

    @property
    def codec(self) -> str | None:
        """In which video goes back; ``None`` when none does, or before it is agreed on."""
        return codec_sent(self._transceiver) if self._transceiver is not None else None

    def offer(self, section: Taken) -> None:
        """What goes out in a section of audio or video. Before the remote description is set."""
        if not section.sends:
            self._pc.addTransceiver(section.kind, "recvonly")
        elif section.kind == "video":
            self._offer_video()
        elif self._voice is not None:
            sender = self._pc.addTransceiver(self._voice, "sendrecv").sender
            keep_sending(sender, lambda error: self._session.optional.failed("the outgoing voice", error))
            tell_loss(sender, self._voice.lost)

    def _offer_video(self) -> None:
        """The annotated camera, in the preferred codec if there is one."""
        if self.returned is None:
            return
        self._transceiver = self._pc.addTransceiver(self.returned, "sendrecv")
        sender = self._transceiver.sender
        limit_bitrate(sender, lambda: self._session.vision.settings.bitrate)
        keep_sending(sender, lambda error: self._session.optional.failed("the returned video", error))
        if self._codec is not None:
            self._transceiver.setCodecPreferences(preferring(self._codec))

    def receive(self, track: aiortc.MediaStreamTrack) -> None:
        """Another incoming track."""
        receiver = receiver_of(self._pc, track)
        if track.kind == "audio":
            follow = self._voice.follow if self._voice is not None and not self.audio else None
            self.audio.append(AudioIn(receiver, self._rate, self._clock, follow))
        else:
            self._receive_video(receiver)

    def _receive_video(self, receiver: RTCRtpReceiver) -> None:
        is_answered = self._transceiver is not None and self._transceiver.receiver is receiver
        self.video.insert(0 if is_answered else len(self.video), VideoIn(receiver, self._clock))
        self._session.vision.see([reader.feed for reader in self.video])

    @property
    def microphone(self) -> Channel[AudioChunk] | None:
        """What is heard."""
        return self.audio[0].chunks if self.audio else None

    @property
    def taps(self) -> Taps:
        """Where the call can be listened to, once it is connected."""
        user = self.audio[0].followers if self.audio else None
        assistant = self._voice.sounding if self._voice is not None and self._is_heard else None
        return Taps(user, assistant, self.shown.followers if self.video else None)

    def work(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What has to run for as long as the session."""
        optional = self._session.optional
        work = {f"audio-{n}": reader.run() for n, reader in enumerate(self.audio)}
        if self._voice is not None and not self._is_heard:  # then no sender takes it
            work["voice"] = optional.keep("the voice for viewers", self._voice.run)
        if self.returned is None:
            work["shown"] = optional.keep("the video for viewers", self.shown.run)
        return work | {f"video-{n}": optional.keep(f"video-{n}", reader.run) for n, reader in enumerate(self.video)}

    def stop(self) -> None:
        """Nothing goes out any more, to whomever. Idempotent."""
        self.shown.stop()
        if self._voice is not None:
            self._voice.stop()


MOST_FRAMES = 3
"""Frames that may wait to be sent. Without a limit every burst of delay would stay in the echo for good."""


async def echo(chunks: Channel[AudioChunk], out: AudioOut) -> None:
    """The echo of ``--bench-echo``, which measures the media path alone: send ``chunks`` (mono, 48 kHz) back.

    In quiet a frame that would wait behind another is left out: delay that a burst has brought is gone after it.
    """
    playout, written = out.mixer.open(), 0.0
    async for chunk in chunks:
        assert chunk.rate == RATE
        loud = len(chunk.samples) > 0 and int(np.abs(chunk.samples.astype(np.int32)).max()) > QUIET_PEAK
        waiting = round((written - playout.heard_seconds) / FRAME_SECONDS)
        if waiting < (MOST_FRAMES if loud else 1):
            await playout.write(chunk.samples, RATE)
            written += chunk.seconds
    playout.finish()
