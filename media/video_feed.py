"""The newest frame of one incoming video, for each of several readers; wherever the frames come from."""

from __future__ import annotations

from media.channel import Channel
from media.frames import VideoFrame


class VideoFeed:
    """Filled by a transport, read by whoever looks at the video. Nothing queues: a slow reader sees only the newest."""

    def __init__(self) -> None:
        self.received = 0
        """Frames that have come so far."""
        self.newest: VideoFrame | None = None
        """The last frame that came; ``None`` before the first and after the end."""
        self.arrived = 0.0
        """When it came, by the clock."""
        self._readers: list[Channel[VideoFrame]] = []
        self._closed = False

    def subscribe(self) -> Channel[VideoFrame]:
        """A slot that holds the newest frame this reader has not seen; closed when the video ends."""
        reader: Channel[VideoFrame] = Channel(1)
        self._readers.append(reader)
        return reader

    def put(self, frame: VideoFrame, arrived: float) -> None:
        """The next frame, whose media time is after that of the last one; ``arrived`` by the clock."""
        if self._closed:
            return
        self.received += 1
        self.newest, self.arrived = frame, arrived
        for reader in self._readers:
            reader.put(frame)

    def close(self) -> None:
        """No more frames. Idempotent."""
        self._closed, self.newest = True, None
        for reader in self._readers:
            reader.close()
