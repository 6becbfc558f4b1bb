"""A remote video track → its newest frame, for each of several readers.

aiortc queues frames nobody reads without bound; this always reads, and a reader that is slow sees only the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from media.channel import Channel
from media.clock import Clock
from media.picture import frame_time
from media.receive import release_video_on_marker
from media.timeline import Timeline

VIDEO_TIME_BASE = Fraction(1, 90_000)


class VideoIn:
    """Owns the reading of one track.

    The timestamps of the frames it gives out increase strictly (:class:`~media.timeline.Timeline`); good ones are those
    of the sender.
    """

    def __init__(self, receiver: RTCRtpReceiver, clock: Clock) -> None:
        self.received = 0
        """Frames decoded so far."""
        self.newest: av.VideoFrame | None = None
        """The last frame that came. Read only: it is being sent and looked at elsewhere."""
        self.arrived = 0.0
        """When it came, by the clock."""
        self.timeline = Timeline()
        self.on_frame: Callable[[av.VideoFrame], object] = lambda frame: None
        """Called with every frame, on the event loop."""
        self._clock = clock
        self._track = receiver.track
        release_video_on_marker(receiver)
        self._readers: list[Channel[av.VideoFrame]] = []

    def subscribe(self) -> Channel[av.VideoFrame]:
        """A slot that holds the newest frame this reader has not seen; closed when the track ends."""
        reader: Channel[av.VideoFrame] = Channel(1)
        self._readers.append(reader)
        return reader

    async def run(self) -> None:
        """Read until the track ends."""
        try:
            while True:
                frame = await self._track.recv()
                if isinstance(frame, av.VideoFrame):
                    self._take(frame)
        except MediaStreamError:
            pass
        finally:
            self.newest = None
            for reader in self._readers:
                reader.close()

    def _take(self, frame: av.VideoFrame) -> None:
        self.received += 1
        self.arrived = self._clock.now()
        time = self.timeline.place(frame_time(frame), self.arrived)
        if time != frame_time(frame):
            frame.time_base = frame.time_base or VIDEO_TIME_BASE
            frame.pts = round(time / frame.time_base)
        self.newest = frame
        self.on_frame(frame)
        for reader in self._readers:
            reader.put(frame)
