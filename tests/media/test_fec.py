"""What is lost is heard all the same where the next packet repeats it (in-band FEC); pins where PyAV keeps libopus."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from media import opus
from media.frames import Samples
from media.libopus_internals import Decoder, OpusError, library
from media.opus import FRAME, RATE, OpusDecoder, OpusEncoder, OpusSettings
from tests.media.test_audio_in import Call

LOSSY = OpusSettings(bitrate=32_000, expected_loss_percent=20)


def voice(seconds: float = 2.0) -> Samples:
    """A buzz that glides, through two formants: as little like its own past as speech is."""
    time = np.arange(round(seconds * RATE)) / RATE
    pitch = np.cumsum(120 + 40 * np.sin(2 * np.pi * 3 * time)) / RATE
    made = sum(np.sin(2 * np.pi * n * pitch) / n * (1.5 + np.sin(2 * np.pi * (n % 5 + 2) * time)) for n in range(1, 25))
    return (4000 * made / np.abs(made).max()).astype(np.int16)


def packets(settings: OpusSettings = LOSSY) -> list[bytes]:
    encoder = OpusEncoder(settings)
    return [bytes(encoder.encode(frame, n)) for n, frame in enumerate(voice().reshape(-1, FRAME))]


def repeated(sent: list[bytes]) -> list[int]:
    """Those that the next one repeats: an encoder does so for what matters."""
    found = library()
    assert found is not None
    return [n for n, after in enumerate(sent[1:]) if n >= 10 and found.opus_packet_has_lbrr(after, len(after)) == 1]


def test_libopus_is_where_pyav_keeps_it():
    assert library() is not None, "PyAV keeps it elsewhere now: lost packets are made up although they are repeated"


def test_it_decodes_as_ffmpeg_does(monkeypatch: pytest.MonkeyPatch):
    direct, sent = OpusDecoder(), packets()
    monkeypatch.setattr(opus, "library", lambda: None)
    wrapped = OpusDecoder()
    for payload in sent:
        assert np.array_equal(direct.decode(payload), wrapped.decode(payload))
    assert len(wrapped.before(sent[20])) == 0, "FFmpeg cannot"
    for decoder in (direct, wrapped):
        with pytest.raises(OpusError):
            decoder.decode(b"\x03\xff\xff\xff")
        decoder.close()
        decoder.close()
        assert len(decoder.decode(sent[0])) == 0


def test_a_packet_without_repetition_says_nothing_of_the_one_before():
    found = library()
    assert found is not None
    decoder = Decoder(found, RATE)
    for payload in packets(OpusSettings(fec=False)):
        assert len(decoder.before(payload)) == 0
        decoder.decode(payload)
    assert len(decoder.before(b"\x00")) == 0
    decoder.close()
    assert len(decoder.before(packets()[20])) == 0


def spectra(samples: Samples) -> np.ndarray:
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(float)
    return np.log10(np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1))[:, :100] + 100)


async def heard(payloads: Iterator[tuple[int, bytes]]) -> tuple[Call, Samples]:
    call = Call()
    for number, payload in payloads:
        await call.arrive(number * 0.02, number, number * FRAME, payload)
    await call.until(2.5)
    return call, call.samples()


async def test_one_packet_in_some_is_lost_and_heard_all_the_same(monkeypatch: pytest.MonkeyPatch):
    sent = list(enumerate(packets()))
    lost = repeated(packets())[::4]
    assert len(lost) >= 8
    kept = [one for one in sent if one[0] not in lost]
    _, whole = await heard(iter(sent))
    call, mended = await heard(iter(kept))
    assert call.audio.repeated_samples == len(lost) * FRAME
    assert call.audio.concealed_samples == 0
    monkeypatch.setattr(OpusDecoder, "before", lambda self, payload: np.zeros(0, np.int16))
    without, made_up = await heard(iter(kept))
    assert without.audio.concealed_samples == len(lost) * FRAME
    assert len(whole) == len(mended) == len(made_up)
    apart = [np.abs(spectra(one) - spectra(whole))[lost].mean() for one in (mended, made_up)]
    assert apart[0] < 0.6 * apart[1], apart


async def test_of_several_in_a_row_the_last_is_repeated_and_the_others_are_made_up():
    last = repeated(packets())[10]
    kept = ((number, payload) for number, payload in enumerate(packets()) if not last - 3 < number <= last)
    call, samples = await heard(kept)
    assert call.audio.repeated_samples == FRAME
    assert call.audio.concealed_samples == 2 * FRAME
    assert len(samples) == 100 * FRAME
