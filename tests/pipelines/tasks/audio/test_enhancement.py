"""Noise out of speech by DeepFilterNet 3 on its real weights, and loudness."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from huggingface_hub.inference._generated.types import AudioToAudioOutputElement

from pipelines.errors import ModelError
from pipelines.interfaces.task import Done, TaskError
from pipelines.tasks.audio import audio_normalization, audio_to_audio, loudness
from pipelines.tasks.audio.models.deep_filter import FILE, RATE, DeepFilterNet, load_deep_filter
from pipelines.tasks.audio.sounds import Wave, as_samples, as_wave, samples_of, wav_file, wave_of
from tests.assets import asset
from tests.fakes.sounds import job, output, tone_file
from tests.real_models import real_folder


@pytest.fixture(scope="module")
def model() -> DeepFilterNet:
    return load_deep_filter(real_folder("deepfilternet3"))


@pytest.fixture(scope="module")
def speech() -> Wave:
    return wave_of(asset("audio/LJ001-0004.wav").read_bytes(), RATE, 60.0)


def noisy(speech: Wave, decibels: float) -> Wave:
    """The speech in an office, so much louder than that."""
    room = wave_of(asset("audio/office_ambience.mp3").read_bytes(), RATE, 200.0)[20 * RATE :][: len(speech)]
    level = np.sqrt(np.mean(speech**2) / np.mean(room**2)) / 10 ** (decibels / 20)
    return (speech + level * room).astype(np.float32)


def si_sdr(found: Wave, wanted: Wave) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    target = wanted * (np.dot(found, wanted) / np.dot(wanted, wanted))
    return float(10 * np.log10(np.sum(target**2) / np.sum((found - target) ** 2)))


def sound_of(part: dict[str, str]) -> Wave:
    return wave_of(base64.b64decode(part["blob"]), RATE, 60.0)


@pytest.mark.parametrize("decibels", [5.0, 7.5])
def test_speech_in_an_office_is_cleaner_afterwards(model: DeepFilterNet, speech: Wave, decibels: float) -> None:
    given = noisy(speech, decibels)
    (part,) = output(audio_to_audio.SPEC, model, {"inputs": wav_file(as_samples(given), RATE)})
    cleaned = sound_of(part)
    assert len(cleaned) == len(given)
    assert si_sdr(cleaned, speech) > si_sdr(given, speech) + 5.0
    (told,) = AudioToAudioOutputElement.parse_obj_as_list([part])
    assert (told.label, told.content_type) == ("speech", "audio/wav")


def test_a_stream_in_odd_pieces_is_the_same_as_the_whole(model: DeepFilterNet, speech: Wave) -> None:
    sound, generator = speech[: 2 * RATE], np.random.default_rng(3)
    whole = model.clean(sound)
    stream, parts, at = model.open(), [], 0
    while at < len(sound):
        size = int(generator.integers(1, 9000))
        parts.append(stream.push(sound[at : at + size]))
        at += size
    assert np.allclose(np.concatenate([*parts, stream.finish()]), whole, atol=1e-5)


def test_noise_is_lowered_by_no_more_than_the_limit(model: DeepFilterNet) -> None:
    noise = (0.05 * np.random.default_rng(4).standard_normal(RATE)).astype(np.float32)
    gone = np.sqrt(np.mean(model.clean(noise)[RATE // 2 :] ** 2) / np.mean(noise[RATE // 2 :] ** 2))
    left = np.sqrt(np.mean(model.clean(noise, 6.0)[RATE // 2 :] ** 2) / np.mean(noise[RATE // 2 :] ** 2))
    assert gone < 0.05 < 0.4 < left < 0.6


def test_it_comes_in_pieces_and_ends_when_nobody_wants_more(model: DeepFilterNet, speech: Wave) -> None:
    task = job(audio_to_audio.SPEC, {"inputs": wav_file(as_samples(speech), RATE)})
    assert audio_to_audio.SPEC.stream is not None
    *pieces, done = audio_to_audio.SPEC.stream(model, task, lambda: False)
    assert isinstance(done, Done) and len(pieces) >= 4
    whole = sound_of(done.output[0])
    assert np.allclose(np.concatenate([sound_of(piece) for piece in pieces]), whole, atol=2 / 32768)
    assert list(audio_to_audio.SPEC.stream(model, task, lambda: True)) == []


def test_what_is_there_for_context_is_not_given_back(model: DeepFilterNet, speech: Wave) -> None:
    file = wav_file(as_samples(speech), RATE)
    (whole,) = output(audio_to_audio.SPEC, model, {"inputs": file})
    (rest,) = output(audio_to_audio.SPEC, model, {"inputs": file}, context_seconds=1.5)
    assert np.allclose(sound_of(rest), sound_of(whole)[int(1.5 * RATE) :], atol=2 / 32768)
    with pytest.raises(TaskError, match="context_seconds"):
        output(audio_to_audio.SPEC, model, {"inputs": tone_file(0.5)}, context_seconds=2)


@pytest.mark.parametrize(
    ("name", "value", "words"), [("attenuation_limit_db", 101, "100"), ("high_pass_hz", 5, "20"), ("gate", 1, "gate")]
)
def test_settings_that_are_not_legal_are_named(name: str, value: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        job(audio_to_audio.SPEC, {"inputs": tone_file()}, **{name: value})


def test_an_archive_that_is_none_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match=FILE):
        load_deep_filter(tmp_path)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_deep_filter(tmp_path)


# ------------------------------------------------------------------------------------------------- loudness


def sine(decibels: float, seconds: float = 5.0, hertz: float = 997.0) -> Wave:
    """A sine whose peak is so many dB above full scale."""
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def test_loudness_is_that_of_the_recommendation() -> None:
    assert loudness.integrated(sine(0.0)) == pytest.approx(-3.01, abs=0.05)  # BS.1770-4, annex 1
    assert loudness.integrated(sine(-20.0)) == pytest.approx(-23.01, abs=0.05)
    # EBU Tech 3341: a quiet part that the relative gate leaves out
    parts = np.concatenate([sine(-33.0, 10), sine(-20.0, 30), sine(-33.0, 10)])
    assert loudness.integrated(parts) == pytest.approx(-23.0, abs=0.1)
    assert loudness.integrated(np.zeros(RATE, np.float32)) is None
    assert loudness.integrated(sine(0.0, 0.3)) is None


def test_a_filter_on_pieces_is_the_same_as_on_the_whole() -> None:
    sound = np.random.default_rng(5).standard_normal(100_000).astype(np.float32)
    whole = loudness.Filter(loudness.high_pass(100.0)).push(sound)
    stream = loudness.Filter(loudness.high_pass(100.0))
    parts = [stream.push(sound[at : at + 7919]) for at in range(0, len(sound), 7919)]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-4)


def test_a_high_pass_takes_hum_away_and_leaves_speech() -> None:
    hum, voice = sine(-6.0, 1.0, 40.0), sine(-6.0, 1.0, 1000.0)
    left = loudness.Filter(loudness.high_pass(160.0)).push(hum + voice)[RATE // 2 :]
    spectrum = np.abs(np.fft.rfft(left)) / (len(left) / 4)
    assert spectrum[20] < 0.08
    assert spectrum[500] == pytest.approx(1.0, abs=0.03)


def test_a_sound_is_brought_to_a_loudness_as_far_as_its_peaks_allow() -> None:
    quiet = wav_file(as_samples(sine(-40.0)), RATE)
    made = output(audio_normalization.SPEC, None, {"inputs": quiet}, loudness_lufs=-23)
    assert (made["input_lufs"], made["output_lufs"]) == (pytest.approx(-43.0, abs=0.1), pytest.approx(-23.0, abs=0.1))
    peaky = sine(-40.0)
    peaky[1000] = 0.9
    made = output(audio_normalization.SPEC, None, {"inputs": wav_file(as_samples(peaky), RATE)}, loudness_lufs=-10)
    assert np.abs(as_wave(samples_of(base64.b64decode(made["audio"]), RATE, 60.0))).max() == pytest.approx(
        0.891, abs=0.01
    )
    silent = output(audio_normalization.SPEC, None, {"inputs": wav_file(np.zeros(RATE, np.int16), RATE)})
    assert silent["output_lufs"] is None
