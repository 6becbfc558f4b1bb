"""A remote video track → its newest frame, for each of several readers.

aiortc queues frames nobody reads without bound; here a reader that is slow sees only the newest.
"""

from __future__ import annotations

import av
from aiortc import RTCRtpReceiver

from media.aiortc_internals.receive import VideoIntake
from media.channel import Channel
from media.clock import Clock
from media.video_convert import frame_time
from media.video_decoder import TIME_BASE
from media.video_timing import Timeline


class VideoIn:
    """Owns the reading of one track.

    The timestamps of the frames it gives out increase strictly (:class:`~media.video_timing.Timeline`); good ones are
    those of the sender. No frame is larger than :data:`~media.video_decoder.LONGEST_SIDE`.
    """

    def __init__(self, receiver: RTCRtpReceiver, clock: Clock) -> None:
        self.received = 0
        """Frames decoded so far."""
        self.newest: av.VideoFrame | None = None
        """The last frame that came. Read only: it is being sent and looked at elsewhere."""
        self.arrived = 0.0
        """When it came, by the clock."""
        self.timeline = Timeline()
        self._clock = clock
        self._intake = VideoIntake(receiver, self._take, clock)
        self._readers: list[Channel[av.VideoFrame]] = []
        self._closed = False

    def subscribe(self) -> Channel[av.VideoFrame]:
        """A slot that holds the newest frame this reader has not seen; closed when the track ends."""
        reader: Channel[av.VideoFrame] = Channel(1)
        self._readers.append(reader)
        return reader

    async def run(self) -> None:
        """Read until the track ends."""
        try:
            await self._intake.run()
        finally:
            self._closed, self.newest = True, None
            for reader in self._readers:
                reader.close()

    def _take(self, frame: av.VideoFrame) -> None:
        if self._closed:
            return
        self.received += 1
        self.arrived = self._clock.now()
        time = self.timeline.place(frame_time(frame), self.arrived)
        if time != frame_time(frame):
            frame.time_base = frame.time_base or TIME_BASE
            frame.pts = round(time / frame.time_base)
        self.newest = frame
        for reader in self._readers:
            reader.put(frame)
