"""Sound files in and out."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest

from media.files import ENCODED_RATE, FORMATS, Encoder, UnreadableFileError, decode
from media.frames import Samples

RATE = 22_050


def tone(seconds: float, rate: int = RATE) -> Samples:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.int16)


def encoded(kind: str, samples: Samples, chunk: int = 2205) -> list[bytes]:
    encoder = Encoder(kind)
    pieces = [encoder.push(samples[at : at + chunk], RATE) for at in range(0, len(samples), chunk)]
    return [*pieces, encoder.finish()]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_encoded_piece_by_piece_is_the_same_sound_when_decoded(kind):
    pieces = encoded(kind, tone(2.0))
    data = b"".join(pieces)
    assert sum(map(bool, pieces)) > 3, "it comes as it is made"
    if kind == "pcm":
        found = np.frombuffer(data, "<i2")
        rate = ENCODED_RATE
    else:
        rate = 16_000
        found = np.concatenate(list(decode(data, rate, 60.0)))
    assert len(found) / rate == pytest.approx(2.0, abs=0.1)
    middle = found[rate // 2 : rate * 3 // 2].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.1)


def test_a_file_without_sound_breaks_nothing():
    for kind in FORMATS:
        Encoder(kind).finish()


def test_files_are_decoded_in_small_pieces_up_to_a_length():
    data = b"".join(encoded("flac", tone(30.0)))
    pieces = list(decode(data, 16_000, 31.0))
    assert max(map(len, pieces)) <= 16_000
    with pytest.raises(UnreadableFileError, match="longer"):
        list(decode(data, 16_000, 29.0))
    assert len(list(itertools.islice(decode(data, 16_000, 29.0), 3))) == 3, (
        "what is before the limit comes all the same"
    )


def test_a_list_of_files_is_not_followed(tmp_path):
    (tmp_path / "secret.wav").write_bytes(b"".join(encoded("wav", tone(1.0))))
    lists = (
        f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nm=audio 5004 RTP/AVP 0\na={tmp_path}\n",
    )
    for text in lists:
        with pytest.raises(UnreadableFileError):
            list(decode(text.encode(), 16_000, 60.0))


def test_pictures_are_no_sound():
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("vp8", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "yuv420p"
        output.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(UnreadableFileError, match="no audio"):
        list(decode(file.getvalue(), 16_000, 60.0))
