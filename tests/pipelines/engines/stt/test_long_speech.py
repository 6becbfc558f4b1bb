"""Long speech: however long somebody has spoken, what remains to be done at the end is that of a short sentence."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest

from media.frames import Samples
from pipelines.engines.stt.moonshine import MoonshineRecognizer
from pipelines.engines.stt.moonshine_model import load_moonshine
from pipelines.engines.stt.pocketsphinx_process import Listener
from pipelines.engines.stt.whisper_decode import Decoded, Request
from pipelines.engines.stt.whisper_settings import WhisperSettings
from pipelines.engines.stt.whisper_utterance import WhisperRecognition
from pipelines.engines.stt.whisper_windows import Said, fades, pauses
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.residency import Kept
from pipelines.runtime.relief import Easing, Relief, easing
from pipelines.voice.stt import Utterance
from tests.assets import speech_16k, word_recall
from tests.fakes.watched_whisper import noise
from tests.real_models import real_folder

STEP = VAD_RATE // 10


class CountingEngine:
    """Decodes at once, and notes what it was asked for: seconds of sound, and whether for good."""

    def __init__(self, settings: WhisperSettings) -> None:
        self.settings = settings
        self.asked: list[tuple[float, bool]] = []
        self.known: list[tuple[int, ...]] = []

    async def decode(self, request: Request) -> Decoded:
        self.asked.append((len(request.samples) / VAD_RATE, request.final))
        self.known.append(request.known)
        number = len(self.asked)
        return Decoded(Said(f"part{number}", (number,), -0.1, 0.0, 1.0), "en", request.frames)

    async def decode_well(self, request: Request, decoded: Decoded | None = None) -> Decoded:
        return decoded or await self.decode(request)

    def make_final(self, request: Request) -> None:
        request.final = True

    def spoken_in(self, session_id: str) -> str | None:
        return None

    def heard_in(self, session_id: str, language: str) -> None:
        pass


def phrases(seconds: float, *, every: float = 3.0, pause: float = 0.3) -> Samples:
    """Noise with a pause at the end of every so many seconds."""
    speech = noise(seconds)
    for n in range(1, int(seconds / every) + 1):
        end = int(n * every * VAD_RATE)
        speech[end - int(pause * VAD_RATE) : end] //= 200
    return speech


async def spoken(recognition: WhisperRecognition, speech: Samples) -> None:
    """Feed it as it comes, to a machine that is never late."""
    for begin in range(0, len(speech), STEP):
        await recognition.feed(speech[begin : begin + STEP])
        while recognition._running is not None:
            await asyncio.wait([recognition._running])


@pytest.mark.parametrize("every", [3.0, 100.0])
@pytest.mark.parametrize("context", [0.0, 12.0])
async def test_the_last_pass_over_a_minute_of_speech_is_that_over_a_few_seconds(every, context):
    settings = WhisperSettings(language="en", context_seconds=context)
    engine = CountingEngine(settings)
    recognition = WhisperRecognition(engine, "")
    for speech in np.array_split(phrases(60.0, every=every), 4):
        await spoken(recognition, speech)
        before = len(engine.asked)
        await recognition.transcript()
        assert sum(seconds for seconds, _ in engine.asked[before:]) <= max(settings.window_seconds, context)
        assert len(recognition._window) <= settings.window_seconds * VAD_RATE
    assert max(seconds for seconds, _ in engine.asked) <= max(settings.window_seconds, context) + 0.1
    transcript = await recognition.transcript()
    await recognition.close()
    assert len(transcript.text.split()) >= 60 / settings.window_seconds  # no part is lost


async def test_under_load_partials_come_less_often_and_the_transcript_is_the_same():
    counts, heard = [], []
    for rarer in (1.0, 2.0, 4.0):
        engine = CountingEngine(WhisperSettings(language="en", partial_seconds=0.4))
        own = Easing(Relief(partials=rarer))
        token = easing.set(own)
        recognition = WhisperRecognition(engine, "")
        easing.reset(token)
        await spoken(recognition, phrases(6.0, every=100.0))
        counts.append(sum(not final for _, final in engine.asked))
        assert own.left_out["partials"] == pytest.approx(counts[-1] * (rarer - 1.0))
        transcript = await recognition.transcript()
        heard.append(engine.asked[-1][0])
        assert transcript.text
        await recognition.close()
    assert counts[0] > 1.6 * counts[1] > 2.5 * counts[2] > 0
    assert heard == pytest.approx([6.0] * 3), "the final one is of all that was said"


async def test_sound_is_settled_once_and_the_parts_make_up_the_whole():
    engine = CountingEngine(WhisperSettings(language="en", partial_seconds=0))
    recognition = WhisperRecognition(engine, "")
    await spoken(recognition, phrases(30.0))
    await recognition.transcript()
    await recognition.close()
    assert sum(seconds for seconds, _ in engine.asked) == pytest.approx(30.0)


async def test_a_decoder_that_is_shown_the_sound_before_is_told_its_words():
    engine = CountingEngine(WhisperSettings(language="en", partial_seconds=0, context_seconds=12.0))
    recognition = WhisperRecognition(engine, "")
    await spoken(recognition, phrases(8.0))
    await recognition.transcript()
    await recognition.close()
    assert engine.known == [(), (1,)]
    assert [seconds for seconds, _ in engine.asked] == pytest.approx([2.85, 8.0], abs=0.1)


async def test_no_partial_is_begun_when_a_pause_may_have_begun():
    engine = CountingEngine(WhisperSettings(language="en", partial_seconds=0.6))
    recognition = WhisperRecognition(engine, "")
    quiet = noise(0.2) // 200
    await spoken(recognition, np.concatenate([noise(0.5), quiet]))
    assert engine.asked == []
    await spoken(recognition, noise(0.1))
    assert len(engine.asked) == 1
    await recognition.close()


def test_pauses_are_found_between_words_and_not_in_steady_noise():
    assert pauses(noise(3.0)) == []
    found = pauses(phrases(7.0))
    assert [begin / VAD_RATE for begin, _ in found] == pytest.approx([2.7, 5.7], abs=0.02)
    assert [end / VAD_RATE for _, end in found] == pytest.approx([3.0, 6.0], abs=0.02)
    assert not fades(phrases(7.0))
    assert fades(phrases(6.0))
    assert pauses(np.zeros(0, np.int16)) == []


class SlowEngine:
    """A recogniser whose transcripts wait until they are allowed."""

    name = "slow"

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.allowed = asyncio.Event()
        self.transcripts = 0
        self.fed = 0

    async def open(self) -> SlowEngine:
        return self

    async def feed(self, samples: Samples) -> str:
        self.fed += len(samples)
        return ""

    async def transcript(self) -> Transcript:
        self.asked.set()
        await self.allowed.wait()
        self.transcripts += 1
        return Transcript(f"{self.fed}")

    async def close(self) -> None: ...


async def test_a_transcript_that_nobody_wants_any_more_is_not_waited_for():
    engine = SlowEngine()
    utterance = Utterance(engine, lambda partial: None)
    async with asyncio.TaskGroup() as group:
        utterance.start(group)
        utterance.push(noise(1.0))
        paused = asyncio.create_task(utterance.settle())
        await engine.asked.wait()
        paused.cancel()
        await asyncio.wait([paused])
        utterance.resume()
        utterance.push(noise(0.5))
        engine.asked.clear()
        again = asyncio.create_task(utterance.settle())
        await engine.asked.wait()
        engine.allowed.set()
        assert (await again).text == f"{int(1.5 * VAD_RATE)}"
        assert (await utterance.finish()).text == f"{int(1.5 * VAD_RATE)}"
    assert engine.transcripts == 1


# ---------------------------------------------------------------------------------------------------- real weights


@pytest.mark.long
async def test_moonshine_hears_no_worse_in_parts():
    engine = MoonshineRecognizer(Kept("moonshine", load_moonshine(real_folder("moonshine-tiny-en"))))
    recognition = await engine.open()
    await spoken(recognition, speech_16k("audio/jfk48.wav"))
    transcript = await recognition.transcript()
    assert len(recognition._settled) >= 1
    await recognition.close()
    await engine.close()
    expected = "ask not what your country can do for you ask what you can do for your country"
    assert word_recall(expected, transcript.text) == 1.0, transcript.text


class CountingDecoder:
    """PocketSphinx's, and how many bytes it was given."""

    def __init__(self, decoder: object) -> None:
        self._decoder = decoder
        self.given = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._decoder, name)

    def process_raw(self, pcm: bytes) -> None:
        self.given += len(pcm)
        self._decoder.process_raw(pcm)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system makes no copies of processes")
@pytest.mark.long
def test_pocketsphinx_goes_on_after_a_pause_as_if_it_had_been_none():
    pytest.importorskip("pocketsphinx")
    speech = speech_16k("audio/LJ001-0004.wav")
    texts = []
    for pauses_at in ((), (1.0, 2.0, 2.5, 3.0)):
        listener = Listener()
        listener._decoder = counting = CountingDecoder(listener._decoder)
        for begin in range(0, len(speech), 512):
            listener.feed(speech[begin : begin + 512].tobytes())
            if any(begin <= at * VAD_RATE < begin + 512 for at in pauses_at):
                assert listener.transcript()["text"]
        texts.append(listener.transcript()["text"])
        assert counting.given <= 2 * len(speech) + 2 * 2 * VAD_RATE  # what it was fed, and one second look
    assert texts[0] == texts[1]
