"""A remote video track → its newest frame, for each of several readers.

aiortc queues frames nobody reads without bound; here a reader that is slow sees only the newest.
"""

from __future__ import annotations

import av
from aiortc import RTCRtpReceiver

from media.aiortc_internals.receive import VideoIntake
from media.clock import Clock
from media.video_convert import frame_time
from media.video_decoder import TIME_BASE
from media.video_feed import VideoFeed
from media.video_timing import Timeline


class VideoIn:
    """Owns the reading of one track.

    The timestamps of the frames in its feed increase strictly (:class:`~media.video_timing.Timeline`); good ones are
    those of the sender. No frame is larger than :data:`~media.video_decoder.LONGEST_SIDE`.
    """

    def __init__(self, receiver: RTCRtpReceiver, clock: Clock) -> None:
        self.feed = VideoFeed()
        self.timeline = Timeline()
        self._clock = clock
        self._intake = VideoIntake(receiver, self._take, clock)

    async def run(self) -> None:
        """Read until the track ends."""
        try:
            await self._intake.run()
        finally:
            self.feed.close()

    def _take(self, frame: av.VideoFrame) -> None:
        arrived = self._clock.now()
        time = self.timeline.place(frame_time(frame), arrived)
        if time != frame_time(frame):
            frame.time_base = frame.time_base or TIME_BASE
            frame.pts = round(time / frame.time_base)
        self.feed.put(frame, arrived)
