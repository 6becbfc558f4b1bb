"""Video tracks: a remote one → its newest frame for each of several readers, and the annotated camera going back.

aiortc queues frames nobody reads without bound; here a reader that is slow sees only the newest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import av
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av.filter import Graph
from av.video.frame import PictureType

from media.aiortc_internals.receive import VideoIntake
from media.channel import Channel, ChannelClosedError
from media.clock import Clock
from media.fan_out import FanOut
from media.frames import VideoFrame
from media.video_convert import frame_time
from media.video_decoder import TIME_BASE
from media.video_feed import VideoFeed
from media.video_timing import Timeline

T = TypeVar("T")


class VideoOut(MediaStreamTrack, Generic[T]):
    """Sends ``render(item)`` of the newest item; those that come while one is rendered are skipped.

    ``render`` returns ``None`` for a picture that shall not be sent. Where items come from is told by :meth:`connect`,
    because a track must exist before the offer that brings them is applied.
    """

    kind = "video"

    def __init__(self, render: Callable[[T], Awaitable[VideoFrame | None]]) -> None:
        super().__init__()
        self._render = render
        self._sources: Channel[Channel[T]] = Channel(1)
        self._source: Channel[T] | None = None
        self.sent = 0
        """Frames handed to the encoder so far."""
        self.followers: FanOut[av.VideoFrame] = FanOut(1)
        """Who gets the same frames."""

    def connect(self, source: Channel[T]) -> None:
        """Send what comes through this channel from now on; its end is the end of the track."""
        self._sources.put(source)

    async def recv(self) -> av.VideoFrame:
        """The next annotated frame. Raises ``MediaStreamError`` when the camera's track has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            if self._source is None:
                self._source = await self._sources.get()
            frame = None
            while frame is None:
                frame = await self._render(await self._source.get())
        except ChannelClosedError:
            raise MediaStreamError from None
        assert isinstance(frame, av.VideoFrame), "the encoder is PyAV's"
        self.sent += 1
        self.followers.put(frame)
        return frame

    async def run(self) -> None:
        """Render where no sender asks for it; only while somebody follows."""
        with suppress(MediaStreamError):
            while True:
                if not len(self.followers):
                    self.followers.wanted.clear()
                    await self.followers.wanted.wait()
                await self.recv()

    def stop(self) -> None:
        """End the track. Idempotent."""
        super().stop()
        self._sources.close()
        self.followers.close()


class OwnFrames:
    """Frames of one's own that share the picture with those given (4 µs, nothing is copied).

    An encoder marks its frame as a key frame or not, and those of several viewers run at the same time.
    """

    def __init__(self) -> None:
        self._shape: tuple[object, ...] | None = None
        self._graph: Graph | None = None

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same picture with the same time, in a frame that nobody else has."""
        shape = frame.width, frame.height, frame.format.name, frame.time_base
        if self._graph is None or shape != self._shape:
            self._shape, self._graph = shape, _passage(frame)
        self._graph.push(frame)
        own = self._graph.pull()
        assert isinstance(own, av.VideoFrame)
        own.pict_type = PictureType.NONE
        return own


def _passage(frame: av.VideoFrame) -> Graph:
    """A filter graph that lets such frames pass."""
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or TIME_BASE
    )
    source.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


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
