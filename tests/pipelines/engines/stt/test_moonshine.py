"""Moonshine: its token file, its guard, and its real weights on recorded speech."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.engines.stt.moonshine import MoonshineGuard, MoonshineRecognizer
from pipelines.engines.stt.moonshine_model import Moonshine, load_moonshine, read_tokens
from pipelines.engines.stt.whisper_windows import Said
from pipelines.errors import ModelError
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from tests.assets import speech_16k
from tests.real_models import real_folder


@pytest.fixture(scope="module")
def moonshine() -> Moonshine:
    return load_moonshine(real_folder("moonshine-tiny-en"))


def test_tokens_have_their_length_before_them() -> None:
    long = b"x" * 200
    data = b"\x00\x03abc" + bytes([128 + 200 % 128, 200 // 128]) + long
    assert read_tokens(data) == [b"", b"abc", long]


def test_a_token_file_that_ends_early_is_refused() -> None:
    with pytest.raises(ModelError, match="ends within a token"):
        read_tokens(b"\x05ab")


def test_a_folder_that_is_no_moonshine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"encoder_model\.ort, decoder_model_merged\.ort, tokenizer\.bin not found"):
        load_moonshine(tmp_path)


@pytest.mark.parametrize(
    ("said", "silence"),
    [
        (Said("You", (7,), -0.6, 0.0, 0.3), True),
        (Said("You", (7,), -0.05, 0.0, 0.3), True),
        (Said("You, you, you,", (7, 8, 7, 8), -0.3, 0.0, 0.3), True),
        (Said("Thank you for watching!", (1, 2, 3, 4, 5), -0.44, 0.0, 0.3), True),
        (Said("Thank you.", (1, 2), -0.1, 0.0, 0.3), False),
        (Said("Yes.", (7, 8), -0.15, 0.0, 0.4), False),
        (Said("I'm going to do it.", (1, 2, 3, 4, 5), -1.2, 0.0, 0.7), True),
        (Said("♪♪♪", (1, 2, 3), -0.2, 0.0, 0.7), True),
        (Said("what is the weather", (1, 2, 3, 4), -0.6, 0.0, 0.7), False),
    ],
)
def test_what_it_makes_of_noise_is_not_believed(said: Said, silence: bool) -> None:
    assert MoonshineGuard().is_silence(said) is silence


def test_real_speech_is_understood(moonshine: Moonshine) -> None:
    said = moonshine.transcribe(speech_16k("audio/LJ001-0002.wav"))
    assert said.text == "In being comparatively modern."
    assert said.logprob > -0.3


def test_nothing_is_said_of_next_to_nothing(moonshine: Moonshine) -> None:
    assert moonshine.transcribe(np.zeros(100, np.int16)).text == ""


def noises() -> dict[str, np.ndarray]:
    """Sounds of nobody: hiss and rumble of several lengths and levels, a hum, clicks, coughs and knocks. int16."""
    random = np.random.default_rng(5)
    found = {}
    for seconds in (0.7, 1.5, 3.0):
        white = random.standard_normal(int(seconds * VAD_RATE))
        spectrum = np.fft.rfft(white)
        pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(1, np.arange(len(spectrum)))), len(white))
        for level in (30, 300, 2000):
            found[f"white {seconds} s, {level}"] = white * level
            found[f"pink {seconds} s, {level}"] = pink / pink.std() * level
    found["hum"] = np.sin(np.arange(2 * VAD_RATE) / VAD_RATE * 2 * np.pi * 100) * 5000
    for length, fading in ((400, 80), (3000, 700), (6000, 1500)):
        knock = random.standard_normal(length) * np.exp(-np.arange(length) / fading) * 8000
        found[f"knock of {length}"] = np.pad(knock, (5000, 11000 - length))
    return {name: np.clip(sound, -32768, 32767).astype(np.int16) for name, sound in found.items()}


def test_of_noise_it_makes_no_words(moonshine: Moonshine) -> None:
    guard = MoonshineGuard()
    said = {name: moonshine.transcribe(sound) for name, sound in noises().items()}
    assert {name: one.text for name, one in said.items() if one.text and not guard.is_silence(one)} == {}


def test_what_goes_on_for_longer_than_anybody_speaks_is_hardly_probable() -> None:
    class Encoder:
        def run(self, outputs: object, feed: object) -> list[np.ndarray]:
            return [np.zeros((1, 1, 1), np.float32)]

    class Decoder:
        def get_inputs(self) -> list[object]:
            return []

        def get_outputs(self) -> list[SimpleNamespace]:
            return [SimpleNamespace(name="logits")]

        def run(self, outputs: object, feed: object) -> list[np.ndarray]:
            return [np.array([[[0.0, 0.0, -20.0, 9.0]]], np.float32)]  # never the end, which is token 2

    said = Moonshine(Encoder(), Decoder(), [b"", b"", b"", b"la"]).transcribe(np.zeros(VAD_RATE, np.int16))
    assert len(said.tokens) == 12
    assert said.logprob < -2
    assert MoonshineGuard().is_silence(said)


async def test_partials_come_while_somebody_speaks_and_noise_is_nothing(moonshine: Moonshine) -> None:
    engine = MoonshineRecognizer(Kept("moonshine", moonshine))
    speech = speech_16k("audio/jfk48.wav")
    recognition = await engine.open()
    partials = []
    for begin in range(0, len(speech), VAD_RATE):
        partials.append(await recognition.feed(speech[begin : begin + VAD_RATE]))
        while recognition._running is not None:
            await asyncio.wait([recognition._running])
    transcript = await recognition.transcript()
    await recognition.close()
    assert "ask what you can do for your country" in transcript.text.lower()
    assert any("fellow americans" in partial.lower() for partial in partials)
    assert transcript.confidence is not None
    assert transcript.confidence > 0.8
    noise = await engine.open()
    await noise.feed((np.random.default_rng(1).standard_normal(2 * VAD_RATE) * 30).astype(np.int16))
    assert (await noise.transcript()).text == ""
    await noise.close()
    await engine.close()
