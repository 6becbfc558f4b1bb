"""The libopus that PyAV brings, called directly: FFmpeg's wrapper cannot decode what is sent again in the next packet,
nor tell an encoder that runs how many packets are lost.

An Opus packet may carry the speech of the one before at a low bit rate (in-band FEC, RFC 6716 §2.1.7). Only
``opus_decode(…, decode_fec=1)`` gets at it. The functions are libopus's public API; where the file lies in PyAV's wheel
is not, and a test pins it. Where it is not found, everything works but this.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
from functools import cache
from pathlib import Path

import av
import numpy as np

from media.frames import Samples

log = logging.getLogger(__name__)

_LONGEST = 5760
"""Samples of the longest packet, 120 ms at 48 kHz."""
_PLACES = ("../av.libs", ".dylibs", "../av.dylibs")
"""Where wheels for Linux and Windows, and for macOS, keep the libraries that they bring; from the package's folder."""


_APPLICATIONS = {"voip": 2048, "audio": 2049, "lowdelay": 2051}
_SET_BITRATE, _SET_VBR, _SET_COMPLEXITY = 4002, 4006, 4010
_SET_INBAND_FEC, _SET_PACKET_LOSS, _SET_VBR_CONSTRAINT = 4012, 4014, 4020
"""Requests of ``opus_defines.h``."""
_LARGEST_PACKET = 4000
"""Bytes, as libopus's documentation recommends."""


class OpusError(Exception):
    """A packet that cannot be decoded, or sound that cannot be encoded."""


@cache
def library() -> ctypes.CDLL | None:
    """libopus, or ``None`` where none is found that is new enough (1.4)."""
    package = Path(av.__file__).parent
    brought = [str(path) for place in _PLACES for path in sorted((package / place).glob("*opus*"))]
    for name in filter(None, (*brought, ctypes.util.find_library("opus"))):
        try:
            found = ctypes.CDLL(name)
            found.opus_packet_has_lbrr.argtypes = [ctypes.c_char_p, ctypes.c_int32]
            found.opus_packet_get_nb_samples.argtypes = [ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32]
            found.opus_decoder_create.argtypes = [ctypes.c_int32, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
            found.opus_decoder_create.restype = ctypes.c_void_p
            found.opus_decoder_destroy.argtypes = [ctypes.c_void_p]
            found.opus_decoder_destroy.restype = None
            found.opus_decode.argtypes = [
                ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
            ]  # fmt: skip
            found.opus_encoder_create.argtypes = [
                ctypes.c_int32, ctypes.c_int, ctypes.c_int, ctypes.POINTER(ctypes.c_int),
            ]  # fmt: skip
            found.opus_encoder_create.restype = ctypes.c_void_p
            found.opus_encoder_destroy.argtypes = [ctypes.c_void_p]
            found.opus_encoder_destroy.restype = None
            found.opus_encoder_ctl.argtypes = [ctypes.c_void_p, ctypes.c_int]  # and one that varies
            found.opus_encode.argtypes = [
                ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int32,
            ]  # fmt: skip
        except (OSError, AttributeError):
            continue
        return found
    log.info("no libopus is found beside FFmpeg's: what senders repeat of lost packets (FEC) is not used")
    return None


class Encoder:
    """One stream, mono at ``rate`` hertz, of variable bit rate. :meth:`close` frees it."""

    def __init__(self, found: ctypes.CDLL, rate: int, application: str, bitrate: int, fec: bool) -> None:
        self._library = found
        error = ctypes.c_int()
        self._state: int | None = found.opus_encoder_create(rate, 1, _APPLICATIONS[application], ctypes.byref(error))
        if error.value or not self._state:
            raise MemoryError(f"libopus gives no encoder ({error.value})")
        self._out = ctypes.create_string_buffer(_LARGEST_PACKET)
        for request, value in (
            (_SET_BITRATE, bitrate),
            (_SET_VBR, 1),
            (_SET_VBR_CONSTRAINT, 0),
            (_SET_INBAND_FEC, int(fec)),
        ):
            self._set(request, value)

    def work_at(self, complexity: int) -> None:
        """How much is tried for a good sound, 0–10."""
        self._set(_SET_COMPLEXITY, complexity)

    def expect_loss(self, percent: int) -> None:
        """So many packets in a hundred are lost, 0–100: what FEC is dimensioned for from the next packet on."""
        self._set(_SET_PACKET_LOSS, percent)

    def encode(self, samples: Samples) -> bytes:
        """The packet of int16 samples, shape ``(n,)``, 20 ms of them. Raises :class:`OpusError`; after :meth:`close`
        there is none."""
        if self._state is None:
            raise OpusError("the encoder is closed")
        samples = np.ascontiguousarray(samples, np.int16)
        got = self._library.opus_encode(self._state, samples.ctypes.data, len(samples), self._out, _LARGEST_PACKET)
        if got < 0:
            raise OpusError(f"libopus: error {got}")
        return ctypes.string_at(self._out, got)

    def close(self) -> None:
        """Free the memory. Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            self._library.opus_encoder_destroy(state)

    def __del__(self) -> None:
        self.close()

    def _set(self, request: int, value: int) -> None:
        if self._state is not None:
            self._library.opus_encoder_ctl(self._state, request, ctypes.c_int32(value))


class Decoder:
    """One stream, mono at ``rate`` hertz. :meth:`close` frees it."""

    def __init__(self, found: ctypes.CDLL, rate: int) -> None:
        self._library = found
        self._rate = rate
        error = ctypes.c_int()
        self._state: int | None = found.opus_decoder_create(rate, 1, ctypes.byref(error))
        if error.value or not self._state:
            raise MemoryError(f"libopus gives no decoder ({error.value})")
        self._out = np.empty(_LONGEST, np.int16)
        self._address = self._out.ctypes.data

    def decode(self, payload: bytes) -> Samples:
        """The samples of a packet that is not empty. Raises :class:`OpusError`. After :meth:`close` there are none."""
        return self._decode(payload, _LONGEST, 0)

    def before(self, payload: bytes) -> Samples:
        """What a packet says of the one before it, which is lost; nothing when it says nothing.

        To be asked before the packet itself is decoded.
        """
        if self._library.opus_packet_has_lbrr(payload, len(payload)) != 1:
            return np.zeros(0, np.int16)
        count = self._library.opus_packet_get_nb_samples(payload, len(payload), self._rate)
        try:
            return self._decode(payload, count, 1) if count > 0 else np.zeros(0, np.int16)
        except OpusError:
            return np.zeros(0, np.int16)

    def close(self) -> None:
        """Free the memory. Idempotent."""
        state, self._state = self._state, None
        if state is not None:
            self._library.opus_decoder_destroy(state)

    def __del__(self) -> None:
        self.close()

    def _decode(self, payload: bytes, count: int, repeated: int) -> Samples:
        if self._state is None:
            return np.zeros(0, np.int16)
        got = self._library.opus_decode(self._state, payload, len(payload), self._address, count, repeated)
        if got < 0:
            raise OpusError(f"libopus: error {got}")
        return self._out[:got].copy()
