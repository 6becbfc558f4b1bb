"""Whisper for real, with random weights or those in ``VISAVIS_TEST_WHISPER``: what is encoded, when and how often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest

from media.frames import Samples
from pipelines.engines.whisper import WhisperRecognizer
from pipelines.engines.whisper_settings import WhisperSettings, known_languages
from pipelines.engines.whisper_utterance import WhisperRecognition
from pipelines.engines.whisper_windows import Guard
from pipelines.errors import ListenError
from pipelines.models.residency import Kept
from pipelines.ports import VAD_RATE, Transcript
from pipelines.voice.stt import Utterance
from pipelines.worker import session
from tests.assets import asset, speech_16k, word_recall
from tests.fakes.tiny_whisper import RANDOM
from tests.fakes.watched_whisper import WatchedWhisper

BELIEVE = Guard(least_logprob=-1000.0, most_compression=1000.0)
"""Random weights are sure of nothing."""


def noise(seconds: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(0, 3000, int(seconds * VAD_RATE)).astype(np.int16)


@pytest.fixture
def watched(whisper) -> WatchedWhisper:
    return WatchedWhisper(whisper)


@pytest.fixture
async def make(watched) -> AsyncIterator[Callable[..., WhisperRecognizer]]:
    """``engine = make(**settings)``: a recogniser on the watched model."""
    engines = []

    def made(*, model: Any = watched, name: str = "whisper-test", **settings: Any) -> WhisperRecognizer:
        chosen = WhisperSettings(**{"language": "en", "guard": BELIEVE, **settings})
        engines.append(WhisperRecognizer(Kept(name, model), chosen))
        return engines[-1]

    yield made
    watched.gate.set()
    for engine in engines:
        await engine.close()


async def heard(engine: WhisperRecognizer, samples: Samples) -> Transcript:
    recognition = await engine.open()
    try:
        await recognition.feed(samples)
        return await recognition.transcript()
    finally:
        await recognition.close()


async def idle(recognition: WhisperRecognition) -> None:
    """Wait for the decoding that runs beside the user's speech."""
    while recognition._running is not None:
        await asyncio.wait([recognition._running])


async def begun(watched: WatchedWhisper) -> None:
    """Wait until the encoder has been started once more."""
    await asyncio.to_thread(watched.begun.acquire)


# ---------------------------------------------------------------------------------------------------- final


async def test_a_final_transcript_takes_one_run_of_the_encoder_on_a_short_window(make, watched):
    transcript = await heard(make(partial_seconds=0), noise(2.0))
    assert watched.encoded == [(1, 400)]
    assert len(watched.generated) == 1
    assert transcript.language == "en"
    assert transcript.confidence is None or 0 <= transcript.confidence <= 1


async def test_nothing_said_since_the_last_transcript_is_decoded_again(make, watched):
    engine = make(partial_seconds=0)
    recognition = await engine.open()
    await recognition.feed(noise(1.0))
    first = await recognition.transcript()
    assert await recognition.transcript() == first
    assert watched.encoded == [(1, 300)]


async def test_a_turn_that_goes_on_after_a_pause_is_decoded_as_a_whole(make, watched):
    recognition = await make(partial_seconds=0).open()
    for _ in range(2):
        await recognition.feed(noise(2.0))
        await recognition.transcript()
    assert watched.encoded == [(1, 400), (1, 600)]


async def test_hardly_any_audio_is_no_speech(make, watched):
    assert await heard(make(), noise(0.05)) == Transcript("", None, "en")
    assert await heard(make(), noise(0)) == Transcript("", None, "en")
    assert watched.encoded == []


async def test_silence_is_recognised_and_not_decoded_again(make, watched):
    engine = make(guard=Guard(least_logprob=1.0, most_no_speech=-1.0), partial_seconds=0)
    transcript = await heard(engine, noise(2.0))
    assert (transcript.text, transcript.confidence) == ("", None)
    assert watched.encoded == [(1, 400)]


async def test_what_is_not_believed_is_decoded_once_more_in_thirty_seconds(make, watched):
    unsure = Guard(least_logprob=1.0, most_no_speech=2.0, most_compression=1000.0)
    engine = make(guard=unsure, partial_seconds=0)
    recognition = await engine.open()
    await recognition.feed(noise(2.0))
    await recognition.transcript()
    await recognition.transcript()
    assert watched.encoded == [(1, 400), (1, 3000)]
    assert watched.limits == [{"most": 48, "may_repeat": True}, {"most": 48, "may_repeat": True}]
    assert engine.counts.padded == 1


async def test_what_went_round_in_circles_may_not_repeat_itself_the_second_time(make, watched):
    engine = make(guard=Guard(least_logprob=-1000.0, most_compression=-1.0))
    recognition = await engine.open()
    await recognition.feed(noise(2.0))
    await idle(recognition)
    assert await recognition.feed(noise(0.1)) == ""  # it is not shown either
    await recognition.transcript()
    assert [limits["may_repeat"] for limits in watched.limits] == [True, True, False]
    tokens = watched.said[-1][0].tokens
    assert len({tokens[n : n + 3] for n in range(len(tokens) - 2)}) == max(0, len(tokens) - 2)


# ---------------------------------------------------------------------------------------------------- partials


async def test_partials_are_decoded_while_the_user_speaks_and_never_queue_up(make, watched):
    watched.gate.clear()
    recognition = await make().open()
    for _ in range(6):
        assert await recognition.feed(noise(0.2)) == ""  # returns although the encoder is held
    await begun(watched)
    assert watched.encoded == [(1, 200)]  # the first 0.6 s
    watched.gate.set()
    await idle(recognition)
    partial = await recognition.feed(noise(0.2))
    await idle(recognition)
    assert watched.encoded == [(1, 200), (1, 300)]  # all 1.4 s
    assert partial == " ".join(partial.split())
    await recognition.close()


async def test_a_partial_of_the_very_same_audio_becomes_the_final_transcript(make, watched):
    engine = make()
    watched.gate.clear()
    recognition = await engine.open()
    await recognition.feed(noise(0.7))
    transcript = asyncio.create_task(recognition.transcript())
    await begun(watched)
    watched.gate.set()
    assert (await transcript).language == "en"
    await recognition.feed(noise(0.6))
    await idle(recognition)
    await recognition.transcript()
    assert watched.encoded == [(1, 200), (1, 300)]
    assert engine.counts.reused == 2


async def test_a_partial_that_came_too_early_is_given_up_for_the_final_transcript(make, watched):
    watched.gate.clear()
    recognition = await make().open()
    await recognition.feed(noise(0.7))
    await begun(watched)
    await recognition.feed(noise(0.4))
    transcript = asyncio.create_task(recognition.transcript())
    await asyncio.sleep(0)
    watched.gate.set()
    await transcript
    assert watched.encoded == [(1, 200), (1, 300)]
    assert len(watched.generated) == 1


async def test_partials_make_way_for_the_final_transcript_of_another(make, watched):
    engine = make()
    watched.gate.clear()
    speaking, done = await engine.open(), await engine.open()
    await speaking.feed(noise(0.7))
    await begun(watched)
    await done.feed(noise(0.5))
    transcript = asyncio.create_task(done.transcript())
    await asyncio.sleep(0)
    watched.gate.set()
    await transcript
    await idle(speaking)
    assert len(watched.generated) == 1
    assert engine.counts.dropped == 1
    await speaking.feed(noise(0.1))
    await idle(speaking)
    assert engine.counts.partials == 1  # it is tried again
    await speaking.close()
    await done.close()


async def test_shown_words_begin_with_those_that_were_agreed_on(make):
    recognition = await make().open()
    for n in range(8):
        await recognition.feed(noise(0.6, seed=n))
        await idle(recognition)
        agreed = recognition._agreement.committed
        assert recognition._agreement.text.split()[: len(agreed)] == agreed
    await recognition.close()


# ---------------------------------------------------------------------------------------------------- batches


async def test_the_finals_of_four_sessions_are_decoded_together_and_say_the_same(make, watched):
    engine = make(partial_seconds=0)
    turns = [noise(seconds, seed) for seed, seconds in enumerate((1.8, 1.9, 2.0, 2.1))]
    alone = [await heard(engine, turn) for turn in turns]
    watched.gate.clear()
    first = asyncio.create_task(heard(engine, noise(4.0)))  # of another size
    await asyncio.to_thread(lambda: [watched.begun.acquire() for _ in range(5)])
    together = [asyncio.create_task(heard(engine, turn)) for turn in turns]
    await asyncio.sleep(0)
    watched.gate.set()
    assert [(await turn).text for turn in together] == [transcript.text for transcript in alone]
    await first
    assert watched.encoded[-1] == (4, 400)
    assert watched.generated[-1] == ["en"] * 4
    assert engine.decoder.largest_batch == 4


# ---------------------------------------------------------------------------------------------------- language


async def test_the_language_is_detected_from_the_encoders_output_and_kept(make, watched):
    recognition = await make(language=None).open()
    await recognition.feed(noise(2.5))
    await idle(recognition)
    await recognition.feed(noise(0.2))
    transcript = await recognition.transcript()
    assert transcript.language in known_languages()
    assert watched.detections == 1
    assert watched.encoded == [(1, 400), (1, 400)]
    assert watched.generated == [[transcript.language], [transcript.language]]


async def test_a_short_answer_is_taken_to_be_in_the_language_of_the_session(make, watched):
    engine = make(language=None, partial_seconds=0)
    mine = session.set("mine")
    try:
        spoken = await heard(engine, noise(2.5))
        short = await heard(engine, noise(0.5))
    finally:
        session.reset(mine)
    await heard(engine, noise(0.5))
    assert short.language == spoken.language
    assert watched.detections == 2  # not for the short one of the same session


async def test_an_english_model_needs_no_detection_and_cannot_translate(make, english_whisper):
    transcript = await heard(make(model=english_whisper, language=None), noise(1.0))
    assert transcript.language == "en"
    with pytest.raises(ListenError) as refused:
        await make(model=english_whisper, task="translate").warm()
    assert refused.value.code == "stt_cannot_translate"
    with pytest.raises(ListenError) as unknown:
        await make(model=english_whisper, language="de").warm()
    assert unknown.value.code == "stt_language"


async def test_a_multilingual_model_translates(make, watched):
    engine = make(task="translate", language="de", partial_seconds=0)
    await engine.warm()
    assert (await heard(engine, noise(1.0))).language == "de"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"language": "klingon"}, "stt_language"),
        ({"task": "summarise"}, "stt_task"),
        ({"task": "translate", "name": "whisper-tiny.en"}, "stt_cannot_translate"),
        ({"task": "translate", "name": "whisper-large-v3-turbo"}, "stt_cannot_translate"),
    ],
)
async def test_what_no_such_model_can_do_is_refused_at_once(make, settings, code):
    with pytest.raises(ListenError) as refused:
        make(**settings)
    assert refused.value.code == code


# ---------------------------------------------------------------------------------------------------- words


async def test_words_get_times_without_another_run_of_the_encoder(make, watched):
    transcript = await heard(make(word_timestamps=True, partial_seconds=0), noise(2.0))
    assert watched.encoded == [(1, 400)]
    assert [word for timing in transcript.words for word in timing.text.split()] == transcript.text.split()
    times = [time for timing in transcript.words for time in (timing.start, timing.end)]
    assert times == sorted(times)
    assert all(0 <= time <= 2.0 for time in times)


async def test_without_being_asked_for_there_are_no_times(make):
    assert (await heard(make(), noise(1.0))).words == ()


# ---------------------------------------------------------------------------------------------------- long turns


async def test_a_long_turn_is_cut_where_it_is_quiet_and_goes_on_from_there(make, watched, whisper_folder):
    speech = noise(40.0)
    speech[20 * VAD_RATE : int(20.4 * VAD_RATE)] = 0
    transcript = await heard(make(partial_seconds=0, word_timestamps=True), speech)
    assert watched.encoded == [(1, 2200), (1, 2100)]  # 20.2 s, 19.8 s
    first, second = watched.said
    assert watched.previous == [[()], [first[0].tokens[-64:]]]
    assert transcript.text == f"{first[0].text} {second[0].text}".strip()
    times = [time for timing in transcript.words for time in (timing.start, timing.end)]
    assert times == sorted(times)
    if (whisper_folder / RANDOM).exists():  # a trained model hears no words in noise
        assert times[-1] > 20.2


async def test_the_beginning_of_a_long_turn_is_settled_while_the_user_still_speaks(make, watched):
    recognition = await make(partial_seconds=0).open()
    for n in range(30):
        await recognition.feed(noise(1.0, seed=n))
    await idle(recognition)
    assert len(watched.encoded) == 1
    await recognition.transcript()
    assert len(watched.encoded) == 2
    await recognition.close()


async def test_a_conversation_takes_a_transcript_at_a_pause_and_goes_on(make, watched):
    utterance = Utterance(make(), lambda partial: None)
    async with asyncio.TaskGroup() as group:
        utterance.start(group)
        utterance.push(noise(1.5, seed=1))
        paused = await utterance.settle()
        utterance.push(noise(0.5, seed=2))
        utterance.resume()
        finished = await utterance.finish()
    assert watched.encoded[-1] == (1, 400)  # the 2.0 s of both
    assert [transcript.language for transcript in (paused, finished)] == ["en", "en"]


# ---------------------------------------------------------------------------------------------------- ends


async def test_cancelling_a_transcript_frees_the_engine_at_the_next_step(make, watched):
    engine = make(partial_seconds=0)
    watched.gate.clear()
    cancelled = asyncio.create_task(heard(engine, noise(3.0)))
    await begun(watched)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    watched.gate.set()
    await heard(engine, noise(2.0))
    assert watched.encoded == [(1, 500), (1, 400)]
    assert len(watched.generated) == 1


async def test_closing_in_mid_decoding_leaves_the_engine_fit_and_is_idempotent(make, watched):
    engine = make()
    watched.gate.clear()
    recognition = await engine.open()
    await recognition.feed(noise(1.0))
    await recognition.close()
    await recognition.close()
    with pytest.raises(ListenError) as closed:
        await recognition.feed(noise(1.0))
    assert closed.value.code == "stt_closed"
    watched.gate.set()
    assert (await heard(engine, noise(1.0))).language == "en"


async def test_a_crash_fails_its_utterance_only(make, watched):
    engine = make(partial_seconds=0)
    watched.error = RuntimeError("out of luck")
    with pytest.raises(ListenError, match="out of luck") as failed:
        await heard(engine, noise(1.0))
    assert failed.value.code == "stt_failed"
    assert (await heard(engine, noise(1.0))).language == "en"


async def test_a_partial_that_failed_is_told_with_the_next_audio(make, watched):
    recognition = await make().open()
    watched.error = RuntimeError("out of luck")
    await recognition.feed(noise(1.0))
    await idle(recognition)
    with pytest.raises(ListenError, match="out of luck"):
        await recognition.feed(noise(0.1))
    await recognition.close()


async def test_a_closed_engine_says_so(make):
    engine = make()
    await engine.close()
    with pytest.raises(ListenError) as closed:
        await heard(engine, noise(1.0))
    assert closed.value.code == "stt_closed"


# ---------------------------------------------------------------------------------------------------- wording


@pytest.mark.parametrize("name", ["audio/LJ001-0002", "audio/LJ001-0004"])
async def test_words_of_real_speech(make, whisper_folder, name):
    if (whisper_folder / RANDOM).exists():
        pytest.skip("random weights know no words; VISAVIS_TEST_WHISPER names the folder of a trained Whisper")
    text = asset(f"{name}.txt").read_text()
    transcript = await heard(make(guard=Guard()), speech_16k(f"{name}.wav"))
    assert word_recall(text, transcript.text) >= 0.8, transcript.text
