"""Whole turns on a Whisper: the times of words, long turns, pauses, and every way to end one."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.engines.stt.whisper_windows import Guard
from pipelines.errors import STTError
from pipelines.interfaces.vad import VAD_RATE
from pipelines.voice.stt import Utterance
from tests.assets import asset, speech_16k, word_recall
from tests.fakes.tiny_whisper import RANDOM
from tests.fakes.watched_whisper import begun, heard, idle, noise

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
    speech = noise(8.0)
    speech[3 * VAD_RATE : int(3.4 * VAD_RATE)] = 0
    transcript = await heard(make(partial_seconds=0, word_timestamps=True), speech)
    assert watched.encoded == [(1, 500), (1, 700)]  # 3.2 s, 4.8 s
    first, second = watched.said
    assert watched.previous == [[()], [first[0].tokens[-64:]]]
    assert transcript.text == f"{first[0].text} {second[0].text}".strip()
    times = [time for timing in transcript.words for time in (timing.start, timing.end)]
    assert times == sorted(times)
    if (whisper_folder / RANDOM).exists():  # a trained model hears no words in noise
        assert times[-1] > 3.2


async def test_the_beginning_of_a_long_turn_is_settled_while_the_user_still_speaks(make, watched):
    recognition = await make(partial_seconds=0).open()
    for n in range(10):
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


async def test_a_session_is_listened_to_in_the_language_that_it_chooses(make):
    utterance = Utterance(make(language=None), lambda partial: None, "de")
    async with asyncio.TaskGroup() as group:
        utterance.start(group)
        utterance.push(noise(1.5))
        transcript = await utterance.finish()
    assert transcript.language == "de"


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
    with pytest.raises(STTError) as closed:
        await recognition.feed(noise(1.0))
    assert closed.value.code == "stt_closed"
    watched.gate.set()
    assert (await heard(engine, noise(1.0))).language == "en"


async def test_a_crash_fails_its_utterance_only(make, watched):
    engine = make(partial_seconds=0)
    watched.error = RuntimeError("out of luck")
    with pytest.raises(STTError, match="out of luck") as failed:
        await heard(engine, noise(1.0))
    assert failed.value.code == "stt_failed"
    assert (await heard(engine, noise(1.0))).language == "en"


async def test_a_partial_that_failed_is_told_with_the_next_audio(make, watched):
    recognition = await make().open()
    watched.error = RuntimeError("out of luck")
    await recognition.feed(noise(1.0))
    await idle(recognition)
    with pytest.raises(STTError, match="out of luck"):
        await recognition.feed(noise(0.1))
    await recognition.close()


async def test_a_closed_engine_says_so(make):
    engine = make()
    await engine.close()
    with pytest.raises(STTError) as closed:
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
