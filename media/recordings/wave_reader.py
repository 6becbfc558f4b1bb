"""Uncompressed sound that arrives in pieces of any length → mono samples, at once. Pure.

Formats: headerless PCM (interleaved int16, little endian), and WAV (RIFF, http://soundfile.sapp.org/doc/WaveFormat/)
with PCM of 8 to 32 bits or floats, also one whose length is not known yet.
"""

from __future__ import annotations

import numpy as np

from media.files import UnreadableFileError
from media.frames import Samples

LOWEST_RATE, HIGHEST_RATE, MOST_CHANNELS = 8_000, 192_000, 8
_LONGEST_HEAD = 1 << 20
"""Bytes in front of the sound."""
_MOST_CHUNKS = 100
"""Parts of a file in front of the sound. Programs write a few; each is a step of the parser."""
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_NOTHING = np.zeros(0, np.int16)
_RIFF = 12
"""Bytes in front of the first chunk."""


class PcmReader:
    """Headerless PCM."""

    def __init__(self, channels: int = 1, bits: int = 16, *, floats: bool = False) -> None:
        self._channels = channels
        self._bytes = bits // 8
        self._floats = floats
        self._rest = b""

    def push(self, data: bytes) -> Samples:
        """The mono samples that ``data`` completes."""
        data = self._rest + data
        whole = len(data) - len(data) % (self._bytes * self._channels)
        self._rest = data[whole:]
        if not whole:
            return _NOTHING
        frames = self._samples(data[:whole]).reshape(-1, self._channels)
        if self._channels == 1:
            return np.asarray(frames[:, 0], np.int16)
        return np.asarray(frames.astype(np.int32).mean(axis=1), np.int16)

    def _samples(self, data: bytes) -> Samples:
        if self._floats:
            values = np.nan_to_num(np.frombuffer(data, f"<f{self._bytes}"))
            return np.asarray(np.clip(values, -1.0, 1.0) * 32767, np.int16)
        if self._bytes == 1:
            return np.asarray((np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8, np.int16)
        if self._bytes == 2:
            return np.frombuffer(data, "<i2").astype(np.int16, copy=False)
        # the two most significant bytes of each sample
        parts = np.frombuffer(data, np.uint8).reshape(-1, self._bytes)[:, -2:]
        return np.ascontiguousarray(parts).view("<i2")[:, 0].astype(np.int16, copy=False)


class WavReader:
    """A WAV file. ``rate`` is 0 until the head has come."""

    def __init__(self) -> None:
        self.rate = 0
        self._head = bytearray()
        """What has come of the next chunk."""
        self._place, self._chunks = 0, 0
        """Where it begins in the file, and how many were before it."""
        self._form: tuple[PcmReader, int] | None = None
        self._reader: PcmReader | None = None
        self._left: int | None = None
        """Bytes of sound still to come; ``None``: nobody knows."""

    def push(self, data: bytes) -> Samples:
        """The samples that ``data`` completes. Raises :class:`UnreadableFileError`."""
        if self._reader is None:
            self._head += data
            if not self._has_begun():
                return _NOTHING
            data, self._head = bytes(self._head), bytearray()
        assert self._reader is not None
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return self._reader.push(data)

    def finish(self) -> None:
        """Nothing more comes. Raises :class:`UnreadableFileError` when there was no sound at all."""
        if self._reader is None:
            raise UnreadableFileError("it ends before its sound begins")

    def _has_begun(self) -> bool:
        """Go on to where the sound begins, as far as that has come; each chunk is looked at once."""
        if self._place == 0:
            if len(self._head) < _RIFF:
                return False
            self._pass(_RIFF)
        while len(self._head) >= 8:
            name, size = bytes(self._head[:4]), int.from_bytes(self._head[4:8], "little")
            if name == b"data":
                if self._form is None:
                    raise UnreadableFileError("its sound comes before its format")
                self._reader, self.rate = self._form
                self._left = None if size in (0, 0xFFFFFFFF, 0x7FFFFFFF) or size >= 0x7FFFF000 else size
                self._pass(8)
                return True
            whole = 8 + size + size % 2
            if self._place + whole > _LONGEST_HEAD or self._chunks == _MOST_CHUNKS:
                raise UnreadableFileError(
                    "its sound does not begin within the first megabyte, or the first hundred chunks"
                )
            if len(self._head) < whole:
                return False
            if name == b"fmt ":
                self._form = _form(bytes(self._head[8 : 8 + size]))
            self._pass(whole)
            self._chunks += 1
        return False

    def _pass(self, count: int) -> None:
        del self._head[:count]
        self._place += count


def is_plain_wav(head: bytes) -> bool | None:
    """Whether a file that begins so is for :class:`WavReader`; ``None``: more of it is needed to tell."""
    if not head.startswith(b"RIFF"[: len(head)]) or (len(head) >= 12 and head[8:12] != b"WAVE"):
        return False
    if len(head) < 22:
        return None
    if head[12:16] != b"fmt ":  # in front of the format stands something else: it is most likely PCM
        return True
    return int.from_bytes(head[20:22], "little") in (_PCM, _FLOAT, _EXTENSIBLE)


def _form(chunk: bytes) -> tuple[PcmReader, int]:
    if len(chunk) < 16:
        raise UnreadableFileError("its format cannot be read")
    code, channels, rate = (int.from_bytes(chunk[a:b], "little") for a, b in ((0, 2), (2, 4), (4, 8)))
    bits = int.from_bytes(chunk[14:16], "little")
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    if code not in (_PCM, _FLOAT):
        raise UnreadableFileError(f"its samples are compressed (format {code}); PCM and floats are read in a WAV")
    legal = (8, 16, 24, 32) if code == _PCM else (32, 64)
    if bits not in legal:
        raise UnreadableFileError(f"its samples have {bits} bits; legal values are {', '.join(map(str, legal))}")
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise UnreadableFileError(f"its rate is {rate} Hz; legal values are {LOWEST_RATE} to {HIGHEST_RATE}")
    if not 1 <= channels <= MOST_CHANNELS:
        raise UnreadableFileError(f"it has {channels} channels; legal values are 1 to {MOST_CHANNELS}")
    return PcmReader(channels, bits, floats=code == _FLOAT), rate
