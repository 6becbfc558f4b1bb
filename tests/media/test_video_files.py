"""Video files in and out."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest

from media.files import Encoder, TooLongError, UnreadableFileError
from media.frames import AudioChunk, Picture, Pixels, Samples
from media.video_files import FORMATS, MOST_PIXELS, Reading, VideoEncoder, VideoFormat, facts, read
from tests.assets import asset
from tests.media.odd_films import WAYS, beginning_at, corners, lying, turned_corners, with_a_large_picture

WIDTH, HEIGHT, FPS, RATE = 160, 120, 30, 16_000


def picture(n: int) -> Pixels:
    """Grey that tells its number."""
    return np.full((HEIGHT, WIDTH, 3), 40 + 3 * (n % 60), np.uint8)


def tone(seconds: float) -> Samples:
    return (8000 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def film(
    kind: VideoFormat, seconds: float = 2.0, *, sound: bool = True, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> list[bytes]:
    """The pieces of a file."""
    encoder = VideoEncoder(kind, *size, fps=FPS, sound=sound)
    made, whole, each = [], tone(seconds), RATE // FPS + 1
    for n in range(round(seconds * FPS)):
        if sound:
            made.append(encoder.sound(whole[n * each : (n + 1) * each], RATE))
        made.append(encoder.picture(picture(n), n / FPS))
    return [*made, encoder.finish()]


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_encoded_is_the_same_film_when_decoded(kind: VideoFormat) -> None:
    pieces = film(kind)
    assert sum(map(bool, pieces)) > 1, "it comes as it is made"
    data = b"".join(pieces)
    told = facts(data)
    assert (told.width, told.height, told.has_sound) == (WIDTH, HEIGHT, True)
    parts = list(read(data, Reading(60.0, fps=100)))
    pictures = [part for part in parts if isinstance(part, Picture)]
    sound = [part for part in parts if isinstance(part, AudioChunk)]
    assert len(pictures) == 2 * FPS
    for n, one in enumerate(pictures):
        assert one.time == pytest.approx(n / FPS, abs=0.03)
        assert one.pixels.mean() == pytest.approx(picture(n).mean(), abs=4)
    samples = np.concatenate([chunk.samples for chunk in sound]).astype(float)
    assert len(samples) / RATE == pytest.approx(2.0, abs=0.1)
    assert np.argmax(np.abs(np.fft.rfft(samples[RATE // 2 : RATE * 3 // 2]))) == pytest.approx(440, abs=1)
    for before, after in itertools.pairwise(sound):
        assert after.time == pytest.approx(before.end)
    first = next(n for n, part in enumerate(parts) if isinstance(part, Picture) and part.time > 1.0)
    heard = sum(len(part.samples) for part in parts[:first] if isinstance(part, AudioChunk))
    assert 0.3 < heard / RATE < 1.9, "sound and pictures come by their times"


@pytest.mark.parametrize(("fps", "count"), [(12, 24), (7.5, 15), (1, 2), (1000, 60)])
def test_no_more_pictures_come_than_are_wanted(fps: float, count: int) -> None:
    data = b"".join(film("mp4", sound=False))
    times = [one.time for one in read(data, Reading(60.0, fps=fps)) if isinstance(one, Picture)]
    assert len(times) == pytest.approx(count, abs=1)
    assert all(after > before for before, after in itertools.pairwise(times))


def test_only_what_is_wanted_comes_and_not_larger_than_that() -> None:
    data = b"".join(film("webm", 1.0))
    small = list(read(data, Reading(60.0, longest_side=80, sound=False)))
    assert all(isinstance(one, Picture) and (one.width, one.height) == (80, 60) for one in small) and small
    heard = list(read(data, Reading(60.0, pictures=False)))
    assert all(isinstance(one, AudioChunk) for one in heard) and heard


def test_a_file_is_read_from_where_it_lies() -> None:
    with asset("video/face_then_gestures_jfk.mp4").open("rb") as file:
        parts = list(read(file, Reading(60.0, fps=2, longest_side=160)))
    pictures = [part for part in parts if isinstance(part, Picture)]
    assert len(pictures) == pytest.approx(22, abs=2)
    assert sum(len(part.samples) for part in parts if isinstance(part, AudioChunk)) / RATE == pytest.approx(11, abs=0.2)


def test_a_file_that_lasts_too_long_is_refused_when_that_is_seen() -> None:
    for reading in (Reading(1.0), Reading(1.0, sound=False), Reading(1.0, pictures=False)):
        parts = read(b"".join(film("mp4")), reading)
        with pytest.raises(TooLongError, match="longer than 1 seconds"):
            list(parts)


def test_a_file_of_a_thousand_pictures_a_moment_is_refused() -> None:
    encoder = VideoEncoder("mp4", 16, 16)
    data = b"".join(
        [*(encoder.picture(np.zeros((16, 16, 3), np.uint8), n / 90_000) for n in range(300)), encoder.finish()]
    )
    with pytest.raises(TooLongError, match="240 pictures"):
        list(read(data, Reading(1.0)))


def test_pictures_that_would_fill_the_memory_are_refused() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 8192, 2048, "yuvj420p"
        container.mux(stream.encode(av.VideoFrame(8192, 2048, "yuvj420p")))
        container.mux(stream.encode(None))
    for look in (lambda data: list(read(data, Reading(60.0))), facts):
        with pytest.raises(UnreadableFileError, match="too large"):
            look(file.getvalue())


def test_a_picture_that_is_larger_than_the_file_says_is_not_decoded() -> None:
    data = with_a_large_picture((64, 48), (4096, 2400))
    assert (facts(data).width, facts(data).height) == (64, 48)
    found: list[Picture | AudioChunk] = []
    with pytest.raises(UnreadableFileError, match=f"at most {MOST_PIXELS} pixels"):
        found.extend(read(data, Reading(60.0)))


@pytest.mark.parametrize(("way", "quarters", "mirrored"), WAYS)
def test_what_was_filmed_sideways_is_turned(way: str, quarters: int, mirrored: bool) -> None:
    shown = [part for part in read(lying(way), Reading(60.0)) if isinstance(part, Picture)]
    assert corners(shown[0].pixels) == turned_corners(quarters, mirrored)


@pytest.mark.parametrize("first", [0.0, 700.0])
def test_times_count_from_the_beginning_of_the_earlier_track(first: float) -> None:
    parts = list(read(beginning_at(first, sound_after=0.5), Reading(10.0)))
    pictures = [part.time for part in parts if isinstance(part, Picture)]
    sounds = [part.time for part in parts if isinstance(part, AudioChunk)]
    assert pictures[0] == pytest.approx(0.0, abs=0.01)
    assert pictures[-1] == pytest.approx(0.9, abs=0.05)
    assert sounds[0] == pytest.approx(0.5, abs=0.05)


def test_what_is_no_video_is_refused_with_words() -> None:
    whole = b"".join(film("mp4", 0.5))
    playlist = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"
    concat = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    for data in (b"", b"nothing", playlist, concat, whole[:400], b"RIFF" + bytes(60)):
        with pytest.raises(UnreadableFileError):
            list(read(data, Reading(60.0)))
        with pytest.raises(UnreadableFileError):
            facts(data)
    encoder = Encoder("opus")
    song = encoder.push(tone(1.0), RATE) + encoder.finish()
    with pytest.raises(UnreadableFileError, match="no video track"):
        list(read(song, Reading(60.0)))


def test_a_broken_file_ends_in_words_wherever_it_is_broken() -> None:
    whole = bytearray(b"".join(film("webm", 0.5)))
    generator = np.random.default_rng(7)
    for _ in range(25):
        broken = bytearray(whole)
        for at in generator.integers(0, len(whole), 20):
            broken[at] = int(generator.integers(0, 256))
        try:
            list(read(bytes(broken), Reading(60.0)))
        except UnreadableFileError as error:
            assert str(error)


def test_an_encoder_takes_odd_sizes_and_times() -> None:
    encoder = VideoEncoder("mp4", 101, 75)
    pixels = np.zeros((75, 101, 3), np.uint8)
    made = [encoder.picture(pixels, time) for time in (0.0, 0.5, 0.5, 0.2, 1.0)]
    with pytest.raises(ValueError, match="no sound"):
        encoder.sound(tone(0.1), RATE)
    data = b"".join([*made, encoder.finish()])
    pictures = [one for one in read(data, Reading(60.0, fps=30)) if isinstance(one, Picture)]
    assert [one.time for one in pictures] == pytest.approx([0.0, 0.5, 1.0], abs=0.01)
    assert (pictures[0].width, pictures[0].height) == (100, 74)
