"""Whisper for real, with random weights or those in ``VISAVIS_TEST_WHISPER``: what is encoded, when and how often."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from pipelines.engines.stt.whisper_model import Whisper
from pipelines.engines.stt.whisper_settings import LANGUAGES
from pipelines.engines.stt.whisper_windows import Guard
from pipelines.errors import STTError
from pipelines.interfaces.stt import Hearing, Transcript, can_hear, hearing
from pipelines.runtime.crew import LOAD_SECONDS
from pipelines.runtime.worker import session
from tests.fakes.clock import FakeClock
from tests.fakes.watched_whisper import Credulous, begun, heard, idle, noise

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
    unsure = Credulous(least_logprob=1.0, most_no_speech=2.0)
    engine = make(guard=unsure, partial_seconds=0)
    recognition = await engine.open()
    await recognition.feed(noise(2.0))
    await recognition.transcript()
    await recognition.transcript()
    assert watched.encoded == [(1, 400), (1, 3000)]
    assert watched.limits == [{"most": 48, "may_repeat": True}, {"most": 48, "may_repeat": True}]


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
    await speaking.feed(noise(0.1))
    await idle(speaking)
    assert len(watched.generated) == 2  # it is tried again
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


# ---------------------------------------------------------------------------------------------------- language


async def test_the_language_is_detected_from_the_encoders_output_and_kept(make, watched):
    recognition = await make(language=None).open()
    await recognition.feed(noise(2.5))
    await idle(recognition)
    await recognition.feed(noise(0.2))
    transcript = await recognition.transcript()
    assert transcript.language in LANGUAGES
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


@pytest.mark.parametrize(
    ("ranking", "language"), [(("la", "nn", "fr", "es"), "fr"), (("de", "la"), "de"), (("la",), "la")]
)
def test_what_nobody_speaks_is_not_detected(ranking: tuple[str, ...], language: str) -> None:
    found = [[(f"<|{code}|>", 0.5) for code in ranking]]
    model = SimpleNamespace(
        is_multilingual=True, device="cpu", compute_type="int8", detect_language=lambda encoded: found
    )
    assert Whisper(SimpleNamespace(model=model)).detect(None) == [language]


async def test_an_english_model_needs_no_detection_and_cannot_translate(make, english_whisper):
    transcript = await heard(make(model=english_whisper, language=None), noise(1.0))
    assert transcript.language == "en"
    with pytest.raises(STTError) as refused:
        await make(model=english_whisper, task="translate").warm()
    assert refused.value.code == "stt_cannot_translate"
    with pytest.raises(STTError) as unknown:
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
    with pytest.raises(STTError) as refused:
        make(**settings)
    assert refused.value.code == code


async def test_a_decoding_that_hangs_is_given_up_and_the_next_one_served(make, watched):
    engine = make(partial_seconds=0)
    await heard(engine, noise(1.0))
    await begun(watched)
    crew = engine.worker.crew
    crew.clock = FakeClock()
    watched.gate.clear()
    hanging = asyncio.create_task(heard(engine, noise(2.0)))
    await begun(watched)
    crew.look()
    assert crew.away == 0
    crew.clock.advance(LOAD_SECONDS - 1.0)  # long past what the pace of the first allows
    crew.look()
    with pytest.raises(STTError) as stuck:
        await hanging
    assert stuck.value.code == "engine_stuck"
    watched.gate.set()
    assert (await heard(engine, noise(2.0))).language == "en"
    assert engine.worker.counts().stuck == 1


# ---------------------------------------------------------------------------------------------------- for one utterance


async def test_the_times_of_words_can_be_asked_for_one_utterance(make, watched):
    engine = make(partial_seconds=0)
    token = hearing.set(Hearing(word_times=True))
    try:
        timed = await heard(engine, noise(2.0))
    finally:
        hearing.reset(token)
    assert timed.words and all(0 <= word.start <= word.end <= 2.0 for word in timed.words)
    assert " ".join(word.text for word in timed.words).split() == timed.text.split()
    assert (await heard(engine, noise(2.0))).words == ()


async def test_one_utterance_can_be_translated_beside_others(make, watched, monkeypatch):
    tasks = []
    generate = type(watched).generate

    def noted(self, encoded, task, languages, previous, **limits):
        tasks.append((task, len(languages)))
        return generate(self, encoded, task, languages, previous, **limits)

    monkeypatch.setattr(type(watched), "generate", noted)
    engine = make(partial_seconds=0, language=None)

    async def translated() -> Transcript:
        hearing.set(Hearing(translate=True))
        return await heard(engine, noise(2.0))

    await asyncio.gather(asyncio.create_task(translated()), asyncio.create_task(heard(engine, noise(2.0))))
    assert sorted(tasks) == [("transcribe", 1), ("translate", 1)], "never in one batch"


@pytest.mark.parametrize(
    ("name", "translates"), [("whisper-base", True), ("whisper-base.en", False), ("whisper-large-turbo", False)]
)
def test_who_can_translate(make, name, translates):
    engine = make(name=name)
    assert can_hear(engine, Hearing(translate=True)) is translates
    assert can_hear(engine, Hearing(word_times=True))
