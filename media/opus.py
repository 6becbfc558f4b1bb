"""Opus (RFC 6716): encoding of 20 ms frames, and decoding.

aiortc would encode in the event loop's default executor after measuring the audio level sample by sample in Python;
both cost more than the codec. A track may return encoded packets instead, which also leaves bitrate, in-band FEC and
DTX to us. It is libopus itself that encodes and decodes (:mod:`media.libopus_internals`), which can use the in-band FEC
and be told of losses, or FFmpeg where that is not found. FFmpeg's codecs are told to use the caller's thread: it would
start one for each processor, which Opus never uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from media.frames import Samples
from media.libopus_internals import Decoder, Encoder, OpusError, library
from media.resample import frame_of, mono

RATE = 48_000
"""Hertz: RTP clock and codec rate."""
RATES = (8_000, 12_000, 16_000, 24_000, RATE)
"""Hertz that libopus decodes to (RFC 6716 §2): the RTP clock stays that of :data:`RATE`."""
FRAME = 960
"""Samples per 20 ms frame."""
FRAME_SECONDS = FRAME / RATE
TIME_BASE = Fraction(1, RATE)

_SILENT_FRAMES_TO_SETTLE = 10
"""Frames of digital silence after which the encoder's output no longer changes and need not be computed again."""


@dataclass(frozen=True, slots=True)
class OpusSettings:
    """How speech is encoded."""

    application: Literal["voip", "audio", "lowdelay"] = "voip"
    """``voip`` favours intelligibility and cuts what is below the voice; ``audio`` keeps the sound as it is."""
    bitrate: int = 32_000
    """Bits per second; 24–40 k is transparent for one voice."""
    fec: bool = True
    """In-band forward error correction (RFC 6716 §2.1.7)."""
    expected_loss_percent: int = 5
    """What FEC is dimensioned for until more is known."""
    complexity: int = 7
    """0–10. A voice takes a quarter to a third less time with 7 than with 10, and is no farther from what was said
    (``tests/benchmarks/opus.py``). With less than 7 libopus does not tell music from voices any more."""


class OpusEncoder:
    """Mono 48 kHz frames of exactly 960 samples → RTP-ready packets with continuous timestamps."""

    def __init__(self, settings: OpusSettings | None = None) -> None:
        settings = settings or OpusSettings()
        found = library()
        self._direct: Encoder | None = None
        self._codec: AudioCodecContext | None = None
        if found is not None:
            self._direct = Encoder(found, RATE, settings.application, settings.bitrate, settings.fec)
            self._direct.work_at(settings.complexity)
            self._direct.expect_loss(settings.expected_loss_percent)
        else:
            self._codec = _encoding(settings)
        self._silent = 0
        self._silence = b""

    def encode(self, samples: Samples, frame_number: int) -> av.Packet[Any]:
        """One packet whose timestamp is ``frame_number`` × 20 ms."""
        if samples.any():
            self._silent = 0
            payload = self._encode(samples)
        elif self._silent < _SILENT_FRAMES_TO_SETTLE:
            self._silent += 1
            payload = self._silence = self._encode(samples)
        else:
            payload = self._silence
        packet = av.Packet(payload)
        packet.pts, packet.time_base = frame_number * FRAME, TIME_BASE
        return packet

    def expect_loss(self, percent: int) -> None:
        """So many packets in a hundred are lost on their way. FFmpeg's codec keeps to what it was made for."""
        if self._direct is not None:
            self._direct.expect_loss(percent)

    def close(self) -> None:
        """Free the codec's memory; nothing can be encoded any more. Idempotent."""
        if self._direct is not None:
            self._direct.close()
        self._codec = None

    def _encode(self, samples: Samples) -> bytes:
        if self._direct is not None:
            return self._direct.encode(samples)
        assert self._codec is not None
        return b"".join(bytes(packet) for packet in self._codec.encode(frame_of(samples, RATE)))


class OpusDecoder:
    """Opus packets of any kind → mono samples at :attr:`rate` hertz: ``wanted``, if Opus decodes to that by itself."""

    def __init__(self, wanted: int = RATE) -> None:
        found = library()
        self.rate = wanted if found is not None and wanted in RATES else RATE
        self._direct = Decoder(found, self.rate) if found is not None else None
        self._codec: AudioCodecContext | None = _codec("r") if self._direct is None else None

    def decode(self, payload: bytes) -> Samples:
        """The samples of a packet that is not empty, shape ``(n,)``. Raises :class:`OpusError` for a broken one.

        After :meth:`close` there are none.
        """
        if self._direct is not None:
            return self._direct.decode(payload)
        if self._codec is None:
            return np.zeros(0, np.int16)
        try:
            pieces = [mono(frame) for frame in self._codec.decode(av.Packet(payload))]
        except av.FFmpegError as error:
            raise OpusError(str(error)) from error
        return pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, np.int16), *pieces])

    def before(self, payload: bytes) -> Samples:
        """What a packet repeats of the one before it, if that is lost and the packet not yet decoded (in-band FEC)."""
        return self._direct.before(payload) if self._direct is not None else np.zeros(0, np.int16)

    def close(self) -> None:
        """Free the codec's memory. Idempotent."""
        if self._direct is not None:
            self._direct.close()
        self._codec = None


def _encoding(settings: OpusSettings) -> AudioCodecContext:
    codec = _codec("w")
    codec.bit_rate = settings.bitrate
    codec.options = {
        "application": settings.application,
        "fec": str(int(settings.fec)),
        "packet_loss": str(settings.expected_loss_percent),
        "compression_level": str(settings.complexity),
    }
    return codec


def _codec(mode: Literal["r", "w"]) -> AudioCodecContext:
    codec = av.CodecContext.create("libopus", mode)
    assert isinstance(codec, AudioCodecContext)
    codec.format, codec.layout, codec.sample_rate = "s16", "mono", RATE
    codec.thread_count = 1
    return codec
