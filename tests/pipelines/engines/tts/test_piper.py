"""Piper's engine on voices of the same shape made here: real espeak phonemes, a real onnxruntime session, tones."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.engines.tts.espeak import EspeakVoice
from pipelines.engines.tts.piper_clause import Manner, Stop, Voice, specimen
from pipelines.engines.tts.piper_network import WholeNetwork
from pipelines.engines.tts.piper_voices import PiperVoices, load_piper
from pipelines.errors import EngineStuckError, ModelError, TTSError
from pipelines.interfaces.tts import Speech
from pipelines.models.residency import Kept
from tests.fakes.clock import FakeClock
from tests.fakes.piper_voice import RATE, hertz, write_voice
from tests.patience import PATIENCE

SENTENCE = "Hello there, I can count to twenty-five."


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voices")
    write_voice(path, "tone")
    write_voice(path, "plain", alignments=False, level=0.1)
    write_voice(path, "choir", speakers=("low", "high"))
    return path


def loaded(folder: Path, name: str) -> Any:
    return load_piper(folder / f"{name}.onnx", folder / f"{name}.onnx.json")


@pytest.fixture(scope="session")
def models(folder: Path) -> dict[str, Any]:
    return {name: Kept(name, loaded(folder, name)) for name in ("tone", "plain", "choir")}


@pytest.fixture
async def voice(models: dict[str, Any]) -> AsyncIterator[PiperVoices]:
    engine = PiperVoices(models, speakers={"choir": ("low", "high")})
    yield engine
    await engine.close()


async def said(engine: Any, text: str, **how: Any) -> list[Speech]:
    return [piece async for piece in engine.synthesize(text, **how)]


def sound(pieces: list[Speech]) -> np.ndarray:
    return np.concatenate([piece.samples for piece in pieces])


def seconds(pieces: list[Speech]) -> float:
    return len(sound(pieces)) / pieces[0].rate


def pitches(samples: np.ndarray) -> set[int]:
    """Frequencies in hertz that stand out in any 32 ms, to 31 Hz."""
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    spectra = np.abs(np.fft.rfft(frames * np.hanning(512), axis=1))
    return {int(row.argmax()) * RATE // 512 for row in spectra if row.max() > 1e5}


async def test_each_phoneme_is_heard_with_the_tone_of_its_id(voice):
    heard = pitches(sound(await said(voice, "see")))  # s, i
    assert any(abs(pitch - hertz(31)) < 32 for pitch in heard)
    assert any(abs(pitch - hertz(21)) < 32 for pitch in heard)
    assert not any(abs(pitch - hertz(32)) < 8 for pitch in pitches(sound(await said(voice, "bee"))))


@pytest.mark.parametrize("name", ["tone", "plain"])
async def test_words_are_those_of_the_text_in_order_and_within_the_sound(voice, name):
    pieces = await said(voice, SENTENCE, voice=name)
    words = [word for piece in pieces for word in piece.words]
    assert " ".join(word.text for word in words) == SENTENCE
    assert [word.start for word in words] == sorted(word.start for word in words)
    assert all(word.start < word.end for word in words)
    assert words[-1].end == pytest.approx(seconds(pieces), abs=0.05)  # the last phoneme's own silence


async def test_alignments_say_exactly_when_a_word_begins(voice):
    """A pause of six marks lies in front of the second word: proportion alone cannot know of it."""
    pieces = await said(voice, "see, bee")
    samples = sound(pieces)
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 1000)
    gaps = np.flatnonzero(np.diff(loud) > 0.1 * RATE)
    assert len(gaps) == 1
    word = [word for piece in pieces for word in piece.words][1]
    assert word.start == pytest.approx(loud[gaps[0] + 1] / RATE, abs=0.09)  # its stress mark comes first


async def test_an_estimate_is_near_the_alignment(voice):
    starts = {
        name: [
            w.start
            for piece in await said(voice, "We went over to the house of a friend", voice=name)
            for w in piece.words
        ]
        for name in ("tone", "plain")
    }
    assert starts["plain"] == pytest.approx(starts["tone"], abs=0.35)


async def test_voices_of_different_loudness_come_out_alike_and_clauses_keep_their_level(voice):
    peaks = [
        np.abs(sound(await said(voice, text, voice=name)).astype(int)).max()
        for name in ("tone", "plain")
        for text in (SENTENCE, "No.")
    ]
    assert max(peaks) - min(peaks) < 0.05 * max(peaks)
    assert 10_000 < max(peaks) < 20_000


async def test_speed_changes_the_length(voice):
    slow, normal, fast = [seconds(await said(voice, SENTENCE, speed=speed)) for speed in (0.5, 1.0, 2.0)]
    assert slow / normal == pytest.approx(2.0, abs=0.2)
    assert normal / fast == pytest.approx(2.0, abs=0.2)


async def test_speakers_of_a_voice_are_voices(voice):
    assert voice.voices == ("tone", "plain", "choir", "choir#low", "choir#high")
    low, high, default = [
        max(pitches(sound(await said(voice, "see", voice=f"choir{s}")))) for s in ("#low", "#high", "")
    ]
    assert high - low == pytest.approx(1000, abs=40)
    assert default == low


@pytest.mark.parametrize(
    ("how", "code", "named"),
    [
        ({"voice": "nobody"}, "unknown_voice", "choir#high"),
        ({"voice": "tone#1"}, "unknown_voice", "tone"),
        ({"speed": 0.1}, "invalid_speed", "0.25"),
        ({"speed": 9.0}, "invalid_speed", "4"),
    ],
)
async def test_bad_values_are_refused_with_the_legal_ones(voice, how, code, named):
    with pytest.raises(TTSError, match=named) as refused:
        await said(voice, "hello", **how)
    assert refused.value.code == code


async def test_an_error_names_some_of_very_many_voices(models):
    engine = PiperVoices(models, speakers={"choir": [str(n) for n in range(900)]})
    with pytest.raises(TTSError, match="and 863 more") as refused:
        await said(engine, "hello", voice="nobody")
    assert len(refused.value.message) < 600
    await engine.close()


@pytest.mark.parametrize("text", ["", "   ", "...", "—", "\n", "\x00", "🙂"])
async def test_nothing_to_say_is_silent(voice, text):
    assert await said(voice, text) == []


async def test_markup_is_read_and_not_obeyed(voice):
    plain = seconds(await said(voice, "hello"))
    assert seconds(await said(voice, "[[s]] hello")) > plain
    assert seconds(await said(voice, "<break time='60s'/> hello")) < 10


async def test_an_abbreviation_ends_no_sentence(voice):
    """espeak takes ``Dr.`` for the end of a sentence; here it is spoken in one run."""
    pieces = await said(voice, "I saw Dr. Smith")
    samples = sound(pieces)[: -RATE // 10]
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 1000)
    assert np.diff(loud).max() < 0.2 * RATE


async def test_sentences_come_one_by_one(models):
    runs: list[int] = []
    inner = models["tone"]._model

    def run(outputs: Any, feed: dict[str, Any], options: Any) -> Any:
        runs.append(feed["input"].shape[1])
        return run_of(inner, outputs, feed, options)

    engine = PiperVoices({"tone": Kept("tone", like(inner, run))})
    await engine.warm()
    runs.clear()
    async with aclosing(
        engine.synthesize("This is the first one. This is the second. And this is the third, of course.")
    ) as stream:
        await anext(stream)
        assert len(runs) == 1
    await engine.close()
    assert len(runs) == 1


def like(model: Voice, run: Any) -> Voice:
    """``model`` with another way to run its network."""
    return Voice(model.piper, WholeNetwork(SimpleNamespace(run=run)))


def run_of(model: Voice, outputs: Any, feed: dict[str, Any], options: Any) -> Any:
    """What the network of ``model`` answers."""
    return model.network._session.run(outputs, feed, options)


async def test_cancellation_ends_the_run_in_hand(models):
    """The run waits for onnxruntime's flag: if nobody raises it, the second clause never comes."""
    inner = models["tone"]._model
    endless, running, ended = threading.Event(), threading.Event(), threading.Event()

    def run(outputs: Any, feed: dict[str, Any], options: Any) -> Any:
        if not endless.is_set() or ended.is_set():
            return run_of(inner, outputs, feed, options)
        running.set()
        while not options.terminate:
            ended.wait(0.001)
        ended.set()
        raise RuntimeError("Exiting due to terminate flag being set to true.")

    engine = PiperVoices({"tone": Kept("tone", like(inner, run))})
    await engine.warm()
    endless.set()
    task = asyncio.create_task(said(engine, "Stop me."))
    assert await asyncio.to_thread(running.wait, PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await said(engine, "Good morning.")
    assert ended.is_set()
    await engine.close()


async def test_a_run_that_hangs_is_given_up_and_others_speak(models):
    inner = models["tone"]._model
    hangs, hanging, gate = threading.Event(), threading.Event(), threading.Event()

    def run(outputs: Any, feed: dict[str, Any], options: Any) -> Any:
        if hangs.is_set() and not hanging.is_set():
            hanging.set()
            gate.wait()
        return run_of(inner, outputs, feed, options)

    engine = PiperVoices({"tone": Kept("tone", like(inner, run))})
    await engine.warm()
    crew = engine._worker.crew
    crew.clock = FakeClock()
    hangs.set()
    stuck, waiting = (asyncio.create_task(said(engine, text)) for text in ("Hang here.", "Good morning."))
    assert await asyncio.to_thread(hanging.wait, PATIENCE)
    crew.clock.advance(10.0)
    crew.look()
    with pytest.raises(EngineStuckError):
        await stuck
    assert await waiting
    gate.set()
    await engine.close()


async def test_a_real_run_obeys_the_flag(models):
    stop = Stop()
    stop.set()
    with pytest.raises(Exception, match="terminate"):
        specimen(models["tone"]._model, "hello", Manner(None, 1.0), stop)


async def test_a_voice_is_loaded_when_first_used_and_leased_for_each_step(folder):
    leases: list[int] = []

    class Lazy:
        name = "tone"

        @contextmanager
        def lease(self) -> Iterator[Any]:
            leases.append(1)
            yield loaded(folder, "tone")

    engine = PiperVoices({"tone": Lazy(), "other": Lazy()})
    assert not leases
    await said(engine, "One sentence. Another sentence.")
    assert len(leases) == 4  # each sentence: its sound, and the pause after it
    await engine.close()


async def test_a_voice_that_cannot_be_loaded_is_an_error_of_speech():
    class Broken:
        name = "gone"

        def lease(self) -> Any:
            raise ModelError("out_of_memory", "it does not fit")

    engine = PiperVoices({"gone": Broken()})
    with pytest.raises(TTSError, match="gone: it does not fit") as refused:
        await said(engine, "hello")
    assert refused.value.code == "voice_unavailable"
    await engine.close()


async def test_a_failing_network_is_an_error_of_speech(models):
    def run(*_: Any) -> Any:
        raise RuntimeError("bad node")

    engine = PiperVoices({"tone": Kept("tone", like(models["tone"]._model, run))})
    with pytest.raises(TTSError, match="bad node"):
        await said(engine, "hello")
    await engine.close()


def test_files_that_are_no_voice_are_refused(folder, tmp_path):
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    for model, config in ((bad, folder / "tone.onnx.json"), (folder / "tone.onnx", bad), (tmp_path / "none.onnx", bad)):
        with pytest.raises(ModelError) as refused:
            load_piper(model, config)
        assert refused.value.code == "voice_broken"
        assert model.name in refused.value.message


def test_a_device_that_is_not_there_is_refused(folder):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ModelError, match="CPUExecutionProvider") as refused:
        load_piper(folder / "tone.onnx", folder / "tone.onnx.json", device="cuda")
    assert refused.value.code == "device_unavailable"


async def test_on_cuda_a_voice_sounds_as_on_the_processor(folder, voice):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA")
    on_gpu = load_piper(folder / "tone.onnx", folder / "tone.onnx.json", device="cuda")
    engine = PiperVoices({"tone": Kept("tone", on_gpu)})
    pieces, expected = await said(engine, SENTENCE), await said(voice, SENTENCE)
    assert [w for piece in pieces for w in piece.words] == [w for piece in expected for w in piece.words]
    assert pitches(sound(pieces)) == pitches(sound(expected))
    await engine.close()


async def test_clauses_of_several_sessions_do_not_mix_with_each_other_nor_with_espeak(voice):
    other = EspeakVoice()
    texts = [f"This is number {n}. It is followed by {n + 1}." for n in range(6)]
    results = await asyncio.gather(*(said(engine, text) for text in texts for engine in (voice, other)))
    for n, pieces in enumerate(results):
        assert " ".join(w.text for p in pieces for w in p.words) == texts[n // 2]
    await other.close()
