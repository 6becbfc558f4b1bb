"""What may wait for a video decoder that is slower than the camera. Pure."""

from __future__ import annotations

MOST = 30
"""Encoded frames that may wait: a second of a usual camera."""
_AGAIN = 30
"""Frames after which a key frame that did not come is asked for once more."""
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
        self._since_asked: int | None = None

    def admits(self, waiting: int, *, key: bool) -> bool:
        """Whether the next frame is to be decoded while ``waiting`` others are."""
        if self._skipping:
            self._skipping = not key or not self._has_caught_up(waiting)
        elif waiting >= self._most:
            self._skipping, self._since_asked = True, None
        self.skipped += self._skipping
        return not self._skipping

    def asks(self, waiting: int) -> bool:
        """Whether to ask for a key frame now, once a frame has been refused."""
        if not self._skipping or not self._has_caught_up(waiting):
            return False
        due = self._since_asked is None or self._since_asked >= _AGAIN
        self._since_asked = 0 if due else (self._since_asked or 0) + 1
        return due

    def _has_caught_up(self, waiting: int) -> bool:
        return waiting <= self._most // 6


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether decoding can begin with this frame (RFC 6386, 9.1; H.264 7.4.1); of an unknown codec: yes."""
    if codec == "VP8":
        return not data[0] & 1
    if codec == "H264":
        units = data[:_HEAD].split(b"\x00\x00\x01")[1:]
        return any(unit and unit[0] & 31 in (5, 7) for unit in units)
    return True
