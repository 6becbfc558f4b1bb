"""The annotated camera on its way back: paced by the camera itself, keeps its timestamps, queues nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import av
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.channel import Channel, ChannelClosedError

Render = Callable[[av.VideoFrame], Awaitable[av.VideoFrame]]
"""Draws onto a frame (or returns it as it is)."""


class VideoOut(MediaStreamTrack):
    """Sends ``render(frame)`` of the newest camera frame; frames that come while one is drawn are skipped.

    The frames arrive through :meth:`connect`, because a track must exist before the offer that brings them is applied.
    """

    kind = "video"

    def __init__(self, render: Render) -> None:
        super().__init__()
        self._render = render
        self._frames: Channel[Channel[av.VideoFrame]] = Channel(1)
        self._source: Channel[av.VideoFrame] | None = None
        self.sent = 0
        """Frames handed to the encoder so far."""

    def connect(self, frames: Channel[av.VideoFrame]) -> None:
        """Send the frames of this channel from now on."""
        self._frames.put(frames)

    async def recv(self) -> av.VideoFrame:
        """The next annotated frame. Raises ``MediaStreamError`` when the camera's track has ended."""
        if self.readyState != "live":
            raise MediaStreamError
        try:
            if self._source is None:
                self._source = await self._frames.get()
            frame = await self._render(await self._source.get())
        except ChannelClosedError:
            raise MediaStreamError from None
        self.sent += 1
        return frame

    def stop(self) -> None:
        """End the track. Idempotent."""
        super().stop()
        self._frames.close()
