"""The annotated camera on its way back: paced by the camera itself, keeps its timestamps, queues nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.channel import Channel, ChannelClosedError
from media.frames import VideoFrame

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
        return frame

    def stop(self) -> None:
        """End the track. Idempotent."""
        super().stop()
        self._sources.close()
