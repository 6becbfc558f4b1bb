"""A tiny Whisper on OpenVINO's processor: it hears gibberish, but in the right language, and is broken off."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("openvino_genai", reason="the extra openvino is not installed")

from media.frames import Samples
from pipelines.engines.registry import reader
from pipelines.engines.stt.openvino_whisper import (
    OpenVinoDecoder,
    OpenVinoRecognizer,
    OpenVinoWhisper,
    UnsureGuard,
    load_openvino_whisper,
)
from pipelines.engines.stt.whisper_decode import Decoded, Request
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.stt.whisper_windows import Said
from pipelines.errors import ModelError, STTError
from pipelines.interfaces.stt import PLAIN, Hearing, Transcript, hearing
from pipelines.models.residency import Kept
from tests.fakes import tiny_openvino

RATE = 16_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_openvino.build(tmp_path_factory.mktemp("openvino-whisper"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> OpenVinoWhisper:
    return load_openvino_whisper(folder, "cpu", 1)


def noise(seconds: float, seed: int = 1) -> Samples:
    return (np.random.default_rng(seed).normal(size=int(seconds * RATE)) * 3000).astype(np.int16)


@asynccontextmanager
async def serving(
    loaded: OpenVinoWhisper, settings: WhisperSettings | None = None, name: str = "tiny"
) -> AsyncIterator[OpenVinoRecognizer]:
    settings = settings or WhisperSettings(guard=UnsureGuard(), partial_seconds=0)
    engine = OpenVinoRecognizer(Kept(name, loaded), settings, times=True)
    try:
        yield engine
    finally:
        await engine.close()


async def heard(engine: OpenVinoRecognizer, samples: Samples, asked: Hearing = PLAIN) -> Transcript:
    token = hearing.set(asked)
    recognition = await engine.open()
    hearing.reset(token)
    try:
        await recognition.feed(samples)
        return await recognition.transcript()
    finally:
        await recognition.close()


async def test_it_hears_the_same_again_and_tells_no_confidence(loaded: OpenVinoWhisper) -> None:
    async with serving(loaded, WhisperSettings(language="en", guard=UnsureGuard(), partial_seconds=0)) as engine:
        first, second = [await heard(engine, noise(2)) for _ in range(2)]
    assert first.text
    assert first.text == second.text
    assert first.language == "en"
    assert first.confidence is None


async def test_the_language_is_detected_where_none_is_given(loaded: OpenVinoWhisper) -> None:
    async with serving(loaded) as engine:
        transcript = await heard(engine, noise(2))
    assert transcript.language is not None
    assert len(transcript.language) in (2, 3)
    assert transcript.language.isalpha()


async def test_words_have_times_within_the_sound(loaded: OpenVinoWhisper) -> None:
    async with serving(loaded) as engine:
        transcript = await heard(engine, noise(2), Hearing(word_times=True))
    assert " ".join(word.text for word in transcript.words) == transcript.text
    assert all(0 <= word.start <= word.end <= 2 for word in transcript.words)


def test_translation_is_another_task(loaded: OpenVinoWhisper) -> None:
    request = Request(noise(2), 300, "de", final=True)
    said, translated = (loaded.hear(request, task, lambda: True) for task in ("transcribe", "translate"))
    assert said.said.text != translated.said.text
    assert said.language == "de"


def test_what_is_wanted_no_more_is_broken_off(loaded: OpenVinoWhisper) -> None:
    request = Request(noise(2), 300, "en", final=True)
    whole = loaded.hear(request, "transcribe", lambda: True).said.text
    assert len(loaded.hear(request, "transcribe", lambda: False).said.text) < len(whole)


def test_a_language_that_it_does_not_know_is_refused(loaded: OpenVinoWhisper) -> None:
    with pytest.raises(STTError, match="does not know the language 'xx'"):
        loaded.hear(Request(noise(1), 300, "xx", final=True), "transcribe", lambda: True)


def test_partials_make_way_for_finals(loaded: OpenVinoWhisper) -> None:
    decoder = OpenVinoDecoder(Kept("tiny", loaded), "transcribe")
    partial, final = Request(noise(1), 300, "en"), Request(noise(1), 300, "en", final=True)
    jobs = [SimpleNamespace(request=request, cancelled=False) for request in (partial, final)]
    decoder.finals_waiting.add(Request(noise(1), 300, "en", final=True))
    dropped, decoded = decoder.run(jobs)
    assert dropped is None
    assert isinstance(decoded, Decoded)
    jobs[1].cancelled = True
    assert decoder.run(jobs[1:]) == [None]


def test_only_what_can_be_done_is_promised(loaded: OpenVinoWhisper) -> None:
    settings = WhisperSettings(guard=UnsureGuard())
    english = OpenVinoRecognizer(Kept("base.en", loaded), settings, times=False)
    many = OpenVinoRecognizer(Kept("base", loaded), settings, times=True)
    assert many.can_hear(Hearing(translate=True, word_times=True))
    assert not english.can_hear(Hearing(translate=True))
    assert not english.can_hear(Hearing(word_times=True))
    assert english.can_hear(PLAIN)


def test_text_without_words_is_silence() -> None:
    guard = UnsureGuard()
    assert guard.is_silence(Said(" ...", (), 0, 0, 0))
    assert not guard.is_silence(Said("yes", (), 0, 0, 0))
    assert not guard.suspects(Said("yes", (), 0, 0, 0))
    assert guard.suspects(Said("a b c d e a b c d e", (), 0, 0, 0))


def test_its_folders_are_known_and_broken_ones_are_told(folder: Path, tmp_path: Path) -> None:
    assert reader("stt", folder).name == "openvino-whisper"
    for name in ("openvino_encoder_model.xml", "openvino_decoder_model.xml"):
        (tmp_path / name).write_text("<net>")
    with pytest.raises(ModelError, match=r"openvino_tokenizer\.xml, openvino_detokenizer\.xml not found"):
        load_openvino_whisper(tmp_path, "cpu", 1)
    for name in ("openvino_tokenizer.xml", "openvino_detokenizer.xml"):
        (tmp_path / name).write_text("<net>")
    with pytest.raises(ModelError) as caught:
        load_openvino_whisper(tmp_path, "cpu", 1)
    assert caught.value.code == "whisper_broken"
