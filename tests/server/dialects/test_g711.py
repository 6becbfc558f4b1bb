"""G.711 as FFmpeg writes and reads it, sample by sample."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from av import AudioFrame

from server.dialects.openai.g711 import RATE, Law, compress, expand

EVERY_SAMPLE = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
EVERY_CODE = bytes(range(256))
CODECS = {"pcmu": "pcm_mulaw", "pcma": "pcm_alaw"}


def codec(law: str, mode: str) -> Any:
    made: Any = av.CodecContext.create(CODECS[law], mode)
    made.sample_rate, made.layout, made.format = RATE, "mono", "s16"
    return made


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_every_code_means_what_it_means_to_ffmpeg(law: Law):
    frames = codec(law, "r").decode(av.Packet(EVERY_CODE))
    theirs = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert np.array_equal(expand(EVERY_CODE, law), theirs)


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_every_sample_becomes_a_code_as_near_as_ffmpegs(law: Law):
    """Halfway between two codes either may be taken: the standard decides by thresholds, FFmpeg by distance."""
    frame = AudioFrame.from_ndarray(EVERY_SAMPLE[None, :], format="s16", layout="mono")
    frame.sample_rate = RATE
    theirs = expand(b"".join(bytes(packet) for packet in codec(law, "w").encode(frame)), law).astype(int)
    ours = expand(compress(EVERY_SAMPLE, law), law).astype(int)
    wanted = EVERY_SAMPLE.astype(int)
    step = np.maximum(16, np.abs(wanted) / 16)
    assert (np.abs(ours - wanted) <= np.abs(theirs - wanted) + step / 2).all()
    assert (np.abs(ours - theirs) <= 2 * step).all()


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_what_was_expanded_is_compressed_to_the_same(law: Law):
    again = expand(compress(expand(EVERY_CODE, law), law), law)
    assert np.array_equal(again, expand(EVERY_CODE, law))
    assert compress(np.zeros(0, np.int16), law) == b""
    assert len(expand(b"", law)) == 0
