"""``/v1/audio/…`` with the stock ``openai`` client: sound files in and out."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import openai
import pytest

from media.files import FORMATS
from pipelines.errors import EngineBusyError, STTError, TTSError
from pipelines.interfaces.stt import PLAIN, Hearing, Transcript, hearing
from pipelines.interfaces.tts import WordTiming
from pipelines.runtime.worker import session, spoken_language
from tests.fakes.engines import FakeRecognizer, FakeVoice
from tests.server.http.rest.clients import bursts, seconds_of, sound_file

SPOKEN = bursts(1.0, 2.0)
"""Two sentences, at 0.5–1.5 s and at 2.7–4.7 s."""


class Ears(FakeRecognizer):
    """Hears the next text, with the times of its words where they are asked for; notes what was asked."""

    languages = ("en", "de")

    def __init__(self, *texts: str | Exception, able: bool = True) -> None:
        super().__init__(*texts)
        self.able = able
        self.asked: list[tuple[str, str | None, Hearing]] = []
        self.language = "en"

    def can_hear(self, asked: Hearing) -> bool:
        return self.able

    async def open(self):
        self.asked.append((session.get(), spoken_language.get(), hearing.get()))
        recognition = await super().open()
        if hearing.get().word_times:
            recognition.transcript = self._with_times(recognition)
        return recognition

    @staticmethod
    def _with_times(recognition):
        plain = recognition.transcript

        async def transcript() -> Transcript:
            found = await plain()
            words = tuple(WordTiming(word, n * 0.5, n * 0.5 + 0.4) for n, word in enumerate(found.text.split()))
            return Transcript(found.text, found.confidence, found.language, words)

        return transcript


def file_of(samples=SPOKEN) -> tuple[str, bytes]:
    return "speech.wav", sound_file(samples)


# --------------------------------------------------------------------------------------------------- transcriptions


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 16_000),
        ("mp3", "libmp3lame", 44_100),
        ("flac", "flac", 48_000),
        ("ogg", "libopus", 48_000),
        ("ipod", "aac", 44_100),
        ("webm", "libopus", 48_000),
    ],
)
async def test_files_of_all_kinds_are_heard_part_by_part(rest, container, codec, rate):
    ears = Ears("Good morning.", "How are you?")
    client = await rest(stt=ears)
    data = sound_file(SPOKEN, container, codec, rate)
    found = await client.audio.transcriptions.create(model="whisper-1", file=(f"speech.{container}", data))
    assert found.text == "Good morning. How are you?"
    lengths = [len(one) / 16_000 for one in ears.heard]
    assert lengths == pytest.approx([1.5, 2.5], abs=0.2), "each with a little of the silence around it"


async def test_a_transcript_as_text_and_with_times(rest):
    ears = Ears(*["Good morning.", "", "How are you?"] * 2, "Good morning.", "How are you?")
    client = await rest(stt=ears)
    three = bursts(1.0, 1.0, 2.0)

    async def ask(samples=three, **fields):
        return await client.audio.transcriptions.create(model="whisper-1", file=file_of(samples), **fields)

    assert await ask(response_format="text") == "Good morning. How are you?\n"
    verbose = await ask(response_format="verbose_json")
    assert (verbose.language, verbose.words) == ("en", None)
    assert verbose.duration == pytest.approx(8.1, abs=0.01)
    assert [one.text for one in verbose.segments] == ["Good morning.", "How are you?"], "nothing was said in between"
    assert [one.start for one in verbose.segments] == pytest.approx([0.25, 4.65], abs=0.1)
    assert [one.end for one in verbose.segments] == pytest.approx([1.75, 7.15], abs=0.1)
    timed = await ask(SPOKEN, response_format="verbose_json", timestamp_granularities=["word"], language="de")
    assert timed.segments is None and [one.word for one in timed.words] == "Good morning. How are you?".split()
    assert timed.words[2].start == pytest.approx(timed.words[0].start + 2.2, abs=0.1), "counted from the file's start"
    assert [asked[1:] for asked in ears.asked[-2:]] == [("de", Hearing(word_times=True))] * 2
    assert ears.asked[0][1:] == (None, PLAIN)
    assert len({asked[0] for asked in ears.asked}) == 3 and "" not in ears.asked[0], "a session for each request"


async def test_subtitles(rest):
    for able in (True, False):
        client = await rest(stt=Ears(*["Good morning. Sir.", "How <are> you?"] * 2, able=able))
        srt = await client.audio.transcriptions.create(model="whisper-1", file=file_of(), response_format="srt")
        vtt = await client.audio.transcriptions.create(model="whisper-1", file=file_of(), response_format="vtt")
        cues = [block.splitlines() for block in str(srt).strip().split("\n\n")]
        said = ["Good morning.", "Sir.", "How <are> you?"] if able else ["Good morning. Sir.", "How <are> you?"]
        assert [cue[0] for cue in cues] == [str(n) for n in range(1, len(said) + 1)]
        assert [cue[2] for cue in cues] == said
        assert cues[0][1].startswith("00:00:00,2") and " --> 00:00:01," in cues[0][1]
        assert str(vtt).startswith("WEBVTT\n\n00:00:00.2")
        assert "How &lt;are&gt; you?" in str(vtt)


async def test_a_transcript_as_it_is_heard(rest):
    client = await rest(stt=Ears("Good morning.", "How are you?"))
    stream = await client.audio.transcriptions.create(model="gpt-4o-transcribe", file=file_of(), stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(event.delta for event in events[:2]) == events[2].text == "Good morning. How are you?"


async def test_silence_has_no_words(rest):
    ears = Ears("made up")
    client = await rest(stt=ears)
    silent = file_of(np.zeros(48_000, np.int16))
    assert (await client.audio.transcriptions.create(model="whisper-1", file=silent)).text == ""
    assert not ears.asked


async def test_minutes_without_a_pause_are_cut(rest):
    ears = Ears(*["word"] * 40)
    client = await rest(stt=ears)
    found = await client.audio.transcriptions.create(model="whisper-1", file=file_of(bursts(150.0)))
    assert found.text.split() == ["word"] * len(ears.heard)
    assert max(map(len, ears.heard)) <= 18.1 * 16_000
    assert sum(map(len, ears.heard)) / 16_000 == pytest.approx(150.5, abs=0.2), "and nothing is lost"


async def test_a_better_opinion_is_waited_for(rest):
    ears = Ears("Good mourning.")
    ears.better = asyncio.get_running_loop().create_future()
    ears.better.set_result(Transcript("Good morning."))
    client = await rest(stt=ears)
    found = await client.audio.transcriptions.create(model="whisper-1", file=file_of(bursts(1.0)))
    assert found.text == "Good morning."


REFUSED = (
    ({"model": "nobody"}, "model"),
    ({"language": "xx"}, "language"),
    ({"prompt": "names"}, "prompt"),
    ({"temperature": 0.4}, "temperature"),
    ({"response_format": "diarized_json"}, "response_format"),
    ({"response_format": "json", "timestamp_granularities": ["segment"]}, "timestamp_granularities"),
    ({"response_format": "verbose_json", "timestamp_granularities": ["word"]}, "timestamp_granularities"),
    ({"include": ["logprobs"]}, "include"),
    ({"response_format": "srt", "stream": True}, "response_format"),
    ({"extra_body": {"hotwords": "x"}}, "hotwords"),
    ({"file": ("a.wav", b"")}, "file"),
    ({"file": ("a.wav", b"RIFF and so on")}, "file"),
    ({"file": ("list.txt", b"ffconcat version 1.0\nfile '/etc/hostname'\n")}, "file"),
)


async def test_what_cannot_be_heard_so_is_refused_by_its_name(rest):
    ears = Ears("x", able=False)
    client = await rest(stt=ears)
    for fields, param in REFUSED:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.audio.transcriptions.create(**{"model": "whisper-1", "file": file_of(), **fields})
        assert caught.value.status_code in (400, 404)
        assert (caught.value.param or "").startswith(param)
    assert not ears.asked


async def test_recognisers_that_fail_or_are_busy(rest):
    client = await rest(stt=Ears(STTError("stt_failed", "deaf"), EngineBusyError("engine_busy", "later")))
    for status in (500, 503):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.audio.transcriptions.create(model="whisper-1", file=file_of())
        assert caught.value.status_code == status


async def test_files_that_take_long_hold_up_nothing_else(rest):
    ears = Ears("Good morning.", "How are you?")
    ears.gate.clear()
    client = await rest(stt=ears)
    hearing_both = [
        asyncio.create_task(client.audio.transcriptions.create(model="whisper-1", file=file_of(bursts(1.0))))
        for _ in range(2)
    ]
    while ears.opened < 2:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.01)
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}]}
    assert (await client.chat.completions.create(**asked)).choices[0].message.content
    assert (await client.audio.speech.create(model="tts-1", voice="alloy", input="Hi.")).content
    ears.gate.set()
    assert {found.text for found in await asyncio.gather(*hearing_both)} == {"Good morning.", "How are you?"}


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # by OpenAI, and still asked for
async def test_translations(rest):
    ears = Ears("Good morning.", "How are you?")
    client = await rest(stt=ears)
    found = await client.audio.translations.create(model="whisper-1", file=file_of())
    assert found.text == "Good morning. How are you?"
    assert ears.asked[0][2] == Hearing(translate=True)
    client = await rest(stt=Ears("x", able=False))
    with pytest.raises(openai.APIStatusError, match="visavis models pull whisper-base") as caught:
        await client.audio.translations.create(model="whisper-1", file=file_of())
    assert caught.value.status_code == 501


# ----------------------------------------------------------------------------------------------------------- speech

TEXT = "Hello to you. That is 20%."
WORDS = 3 + 4
"""Each takes the fake voice 0.25 s."""


@pytest.mark.parametrize("kind", FORMATS)
async def test_speech_in_every_format_lasts_as_long_as_was_spoken(rest, kind):
    voice = FakeVoice()
    client = await rest(tts=voice)
    pieces = []
    async with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input=TEXT, response_format=kind
    ) as response:
        pieces += [piece async for piece in response.iter_bytes()]
    data = b"".join(pieces)
    assert len(pieces) > 1, "it comes as it is made"
    seconds = len(data) / 2 / 24_000 if kind == "pcm" else seconds_of(data)
    assert seconds == pytest.approx(WORDS * 0.25, abs=0.1)
    assert voice.said == ["Hello to you.", "That is 20 percent."], "by clauses, with signs in words"
    assert voice.asked == [None, None]


async def test_speech_as_events(rest):
    client = await rest()
    request = {"model": "gpt-4o-mini-tts", "voice": "other", "input": TEXT, "response_format": "wav"}
    async with client.audio.speech.with_streaming_response.create(**request, stream_format="sse") as response:
        events = [json.loads(line[6:]) async for line in response.iter_lines() if line.startswith("data: ")]
    assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    data = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert seconds_of(data) == pytest.approx(WORDS * 0.25, abs=0.05)


async def test_voices(rest):
    voice = FakeVoice()
    client = await rest(tts=voice)
    for name in ("other", {"id": "square"}, "shimmer"):
        await client.audio.speech.create(model="tts-1", voice=name, input="Hi.", response_format="pcm")
    assert voice.asked == ["other", "square", None], "what clients have built in is the default voice"


async def test_what_cannot_be_said_so_is_refused_by_its_name(rest):
    client = await rest()
    for fields, param in (
        ({"voice": "nobody"}, "voice"),
        ({"speed": 9}, "speed"),
        ({"input": ""}, "input"),
        ({"input": "x" * 40_000}, "input"),
        ({"response_format": "midi"}, "response_format"),
        ({"instructions": "Whisper."}, "instructions"),
        ({"model": "whisper-1"}, "model"),
    ):
        with pytest.raises(openai.APIStatusError) as caught:
            await client.audio.speech.create(**{"model": "tts-1", "voice": "alloy", "input": "Hi.", **fields})
        assert caught.value.status_code in (400, 404)
        assert caught.value.param == param


class BreakingVoice(FakeVoice):
    """Fails in its second clause."""

    async def synthesize(self, text, voice=None, speed=1.0):
        if self.said:
            raise TTSError("tts_failed", "hoarse")
        async for piece in super().synthesize(text, voice, speed):
            yield piece


async def test_a_voice_that_fails(rest):
    client = await rest(tts=FakeVoice(fails=True))
    with pytest.raises(openai.InternalServerError, match="hoarse"):
        await client.audio.speech.create(model="tts-1", voice="alloy", input="Hi.")
    client = await rest(tts=BreakingVoice())
    with pytest.raises(openai.APIConnectionError):  # and no file that looks whole
        await client.audio.speech.create(model="tts-1", voice="alloy", input=TEXT, response_format="wav")
