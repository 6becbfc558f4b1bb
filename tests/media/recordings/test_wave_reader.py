"""PCM and WAV in pieces of any length."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.files import Encoder, UnreadableFileError
from media.recordings.wave_reader import PcmReader, WavReader, is_plain_wav
from tests.server.http.rest.clients import sound_file

TONE = (np.sin(np.arange(1600) / 5) * 8000).astype(np.int16)


def in_pieces(reader: PcmReader | WavReader, data: bytes, sizes: list[int]) -> np.ndarray:
    made = []
    for size in [*sizes, len(data)]:
        made.append(reader.push(data[:size]))
        data = data[size:]
    return np.concatenate(made)


@given(st.lists(st.integers(1, 700), max_size=12))
def test_pieces_of_any_length_make_the_same_sound(sizes):
    assert in_pieces(PcmReader(), TONE.astype("<i2").tobytes(), sizes).tolist() == TONE.tolist()
    reader = WavReader()
    assert in_pieces(reader, sound_file(TONE), sizes).tolist() == TONE.tolist()
    reader.finish()
    assert reader.rate == 16_000


@pytest.mark.parametrize(
    ("codec", "off"),
    [("pcm_u8", 256), ("pcm_s16le", 0), ("pcm_s24le", 0), ("pcm_s32le", 0), ("pcm_f32le", 2), ("pcm_f64le", 2)],
)
def test_samples_of_any_width(codec, off):
    heard = WavReader().push(sound_file(TONE, codec=codec))
    assert np.abs(heard[: len(TONE)].astype(int) - TONE).max() <= off


def test_channels_are_mixed():
    both = np.stack([TONE, -TONE], axis=1).astype("<i2").tobytes()
    assert not PcmReader(2).push(both).any()


def test_a_file_whose_length_is_not_known_yet():
    encoder = Encoder("wav", 8000)
    file = encoder.push(TONE, 8000) + encoder.finish()
    reader = WavReader()
    assert reader.push(file).tolist() == TONE.tolist()
    assert reader.rate == 8000


def test_what_follows_the_sound_is_no_sound():
    file = sound_file(TONE) + b"LIST\4\0\0\0abcd"
    assert len(WavReader().push(file)) == len(TONE)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (20, b"\x06\x00", "compressed"),
        (22, b"\x63\x00", "99 channels"),
        (24, b"\x01\x00\x00\x00", "rate is 1 Hz"),
        (34, b"\x0c\x00", "12 bits"),
    ],
)
def test_a_head_that_makes_no_sense(at, value, words):
    file = sound_file(TONE)
    with pytest.raises(UnreadableFileError, match=words):
        WavReader().push(file[:at] + value + file[at + len(value) :])


def test_a_file_that_ends_before_its_sound():
    reader = WavReader()
    reader.push(sound_file(TONE)[:30])
    with pytest.raises(UnreadableFileError, match="ends before"):
        reader.finish()


def test_a_head_without_an_end():
    reader = WavReader()
    with pytest.raises(UnreadableFileError, match="first megabyte"):
        for _ in range(40):
            reader.push(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f" + bytes(1 << 16))


def test_each_chunk_in_front_of_the_sound_is_looked_at_once_and_there_are_few():
    """Whoever sends a head of empty chunks byte by byte makes each byte cost a step, not all before it."""
    reader, junk = WavReader(), b"junk\0\0\0\0"
    reader.push(sound_file(TONE)[:12] + junk * 99)
    assert len(reader._head) == 0
    for byte in junk:
        reader.push(bytes([byte]))
        assert len(reader._head) <= 8
    with pytest.raises(UnreadableFileError, match="hundred chunks"):
        reader.push(junk)


@given(st.lists(st.integers(1, 300), max_size=12))
def test_chunks_of_any_length_stand_in_front_of_the_sound(sizes):
    file = sound_file(TONE)
    file = file[:12] + b"JUNK\5\0\0\0abcde\0" + file[12:36] + b"bext\0\2\0\0" + bytes(512) + file[36:]
    assert in_pieces(WavReader(), file, sizes).tolist() == TONE.tolist()


def test_which_files_are_read_here():
    assert is_plain_wav(sound_file(TONE)[:32])
    assert is_plain_wav(sound_file(TONE, codec="pcm_alaw", rate=8000)[:32]) is False
    assert is_plain_wav(b"OggS" + bytes(30)) is False
    assert is_plain_wav(b"RIFF") is None
