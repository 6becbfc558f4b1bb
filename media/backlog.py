"""What may wait for a video decoder that is slower than the camera. Pure."""

from __future__ import annotations

MOST = 30
"""Encoded frames that may wait: a second of a usual camera."""
_HEAD = 200
"""Bytes at the beginning of a frame that tell what it is."""


class Backlog:
    """Lets frames through to a decoder until too many wait; then none before it has caught up and a key frame comes.

    A frame in the middle cannot be left out: those after it are built upon it.
    """

    def __init__(self, most: int = MOST) -> None:
        self.skipped = 0
        """Frames that were not decoded."""
        self._most = most
        self._skipping = False

    def admits(self, waiting: int, *, key: bool) -> bool:
        """Whether the next frame is to be decoded while ``waiting`` others are."""
        if self._skipping:
            self._skipping = not key or not self.has_caught_up(waiting)
        elif waiting >= self._most:
            self._skipping = True
        self.skipped += self._skipping
        return not self._skipping

    def has_caught_up(self, waiting: int) -> bool:
        """Whether a key frame would be let through while ``waiting`` others wait."""
        return not self._skipping or waiting <= self._most // 6


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether decoding can begin with this frame (RFC 6386, 9.1; H.264 7.4.1); of an unknown codec: yes."""
    if codec == "VP8":
        return not data[0] & 1
    if codec == "H264":
        units = data[:_HEAD].split(b"\x00\x00\x01")[1:]
        return any(unit and unit[0] & 31 in (5, 7) for unit in units)
    return True


def size_of_key_frame(codec: str, data: bytes) -> tuple[int, int]:
    """Width and height in pixels that a key frame of VP8 claims to have; 0 × 0 when it does not say, or for others."""
    if codec != "VP8" or len(data) < 10 or data[3:6] != b"\x9d\x01\x2a":
        return 0, 0
    return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
