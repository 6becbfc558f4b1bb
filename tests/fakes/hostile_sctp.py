"""The far end of an SCTP association, used as no browser would: raw chunks, lies and endless messages."""

from __future__ import annotations

import random
from struct import pack
from typing import Any

from aiortc.rtcsctptransport import SCTP_DATA_FIRST_FRAG, WEBRTC_DCEP, WEBRTC_STRING, Chunk, DataChunk

from media.aiortc_internals.sctp import SctpGuard

TAME_TYPES = (0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 14, 130, 192, 77)
"""All chunk types but those that say that the association is over (6 ABORT, 7 SHUTDOWN)."""


_TSNS = 1 << 32


class RawChunk(Chunk):
    """A chunk of any type with any body."""

    def __init__(self, kind: int, body: bytes, flags: int = 0) -> None:
        super().__init__(flags, body)
        self.type = kind


class HostileSctp:
    """Misuses the association of a connected ``channel``."""

    def __init__(self, channel: Any) -> None:
        self.sctp = channel.transport
        self.stream = channel.id
        self._guard = SctpGuard(self.sctp, lambda *_: None)  # it is answered in kind, and must survive that

    async def text(self, data: bytes) -> None:
        """A message that calls itself text."""
        await self.sctp._send(self.stream, WEBRTC_STRING, data)

    async def open(self, stream: int, label: bytes = b"again", claimed: int | None = None) -> None:
        """A DATA_CHANNEL_OPEN; ``claimed`` is the length that it claims for its label."""
        size = len(label) if claimed is None else claimed
        await self.sctp._send(stream, WEBRTC_DCEP, pack("!BBHLHH", 3, 0, 0, 0, size, 0) + label)

    async def raw(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Any chunk."""
        await self.sctp._send_chunk(RawChunk(kind, body, flags))

    async def fragments(self, count: int, size: int, first: int = SCTP_DATA_FIRST_FRAG) -> None:
        """The beginning of a message that goes on, whatever the other end's window."""
        for n in range(count):
            chunk = DataChunk(first if n == 0 else 0)
            chunk.tsn, chunk.stream_id, chunk.protocol = self.sctp._local_tsn, self.stream, WEBRTC_STRING
            chunk.stream_seq = self.sctp._outbound_stream_seq.get(self.stream, 0)
            chunk.user_data = b"x" * size
            self.sctp._local_tsn = (chunk.tsn + 1) % _TSNS
            await self.sctp._send_chunk(chunk)
            await self._arrived(16)
        await self._arrived(0)

    async def _arrived(self, outstanding: int) -> None:
        """Wait until at most so many chunks are on their way: these are not sent again when they are lost."""
        while (
            self.sctp.state != "closed"
            and (self.sctp._local_tsn - 1 - self.sctp._last_sacked_tsn) % _TSNS > outstanding
        ):
            self._guard._heard.clear()
            await self._guard._heard.wait()

    async def end_message(self) -> None:
        """The last fragment of it."""
        sequence = self.sctp._outbound_stream_seq.get(self.stream, 0)
        chunk = DataChunk(1)
        chunk.tsn, chunk.stream_id, chunk.protocol = self.sctp._local_tsn, self.stream, WEBRTC_STRING
        chunk.stream_seq, chunk.user_data = sequence, b"x"
        self.sctp._local_tsn = (chunk.tsn + 1) % _TSNS
        self.sctp._outbound_stream_seq[self.stream] = (sequence + 1) % (1 << 16)
        await self.sctp._send_chunk(chunk)

    async def random_chunks(self, count: int, seed: int) -> None:
        """Chunks of random bytes, whose sums are right."""
        dice = random.Random(seed)
        for _ in range(count):
            await self.raw(dice.choice(TAME_TYPES), dice.randbytes(dice.randrange(64)), dice.randrange(256))
