"""A remote video track → its newest frame, for each of several readers.

aiortc queues frames nobody reads without bound; this always reads, and a reader that is slow sees only the newest.
"""

from __future__ import annotations

import av
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError

from media.channel import Channel
from media.receive import release_video_on_marker


class VideoIn:
    """Owns the reading of one track."""

    def __init__(self, receiver: RTCRtpReceiver) -> None:
        self.received = 0
        """Frames decoded so far."""
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
                    self.received += 1
                    for reader in self._readers:
                        reader.put(frame)
        except MediaStreamError:
            pass
        finally:
            for reader in self._readers:
                reader.close()
