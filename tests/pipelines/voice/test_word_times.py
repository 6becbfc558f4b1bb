"""The words of a spoken answer as they are written, and when each of them sounds."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.interfaces.tts import Speech, WordTiming
from pipelines.voice.events import ResponseGenerated, ResponseInterrupted, ResponseText, ResponseWords
from pipelines.voice.spoken_text.normalize import speakable
from pipelines.voice.spoken_text.word_times import ClauseWords
from tests.fakes.engines import FakeVoice
from tests.pipelines.voice.test_conversation import scene, settle


def spoken(text: str) -> list[WordTiming]:
    """As a voice tells it, a second for each word."""
    return [WordTiming(word, float(n), n + 1.0) for n, word in enumerate(text.split())]


def times(words: tuple[WordTiming, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start, 2), round(word.end, 2)) for word in words]


def test_words_that_are_said_as_they_are_written_keep_their_times():
    clause = ClauseWords("It is late.", "It is late.")
    first, second, third = spoken("It is late.")
    assert times(clause.take([first])) == [("It", 0, 1)]
    assert times(clause.take([second, third])) == [("is", 1, 2), ("late.", 2, 3)]
    assert clause.rest(3.0) == ((), False)


def test_what_is_said_in_other_words_shares_their_time():
    clause = ClauseWords("It costs $3.50 today **now** 🙂", "It costs three dollars fifty today now")
    told = clause.take(spoken("It costs three dollars fifty today now"))
    assert times(told) == [
        ("It", 0, 1),
        ("costs", 1, 2),
        ("$3.50", 2, 5),
        ("today", 5, 6),
        ("**now**", 6, 6.88),
        ("🙂", 6.88, 7),
    ]


def test_a_voice_that_joins_signs_to_words_is_understood():
    clause = ClauseWords("yes — no", "yes — no")
    told = clause.take([WordTiming("yes —", 0.0, 1.0), WordTiming("no", 1.0, 2.0)])
    assert [word.text for word in told] == ["yes", "—", "no"]


def test_without_times_they_are_estimated_by_length_at_the_end():
    clause = ClauseWords("a bcd", "a bcd")
    assert clause.take([]) == ()
    words, estimated = clause.rest(2.0)
    assert (times(words), estimated) == ([("a", 0, 0.5), ("bcd", 0.5, 2.0)], True)


@given(st.text(alphabet="ab $*5.🙂 ", max_size=40))
def test_nothing_written_is_lost_and_time_never_runs_back(text):
    said = speakable(text)
    clause = ClauseWords(text, said)
    told = clause.take(spoken(said))
    rest, _ = clause.rest(float(len(said.split())))
    words = (*told, *rest)
    assert [word.text for word in words] == text.split()
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)


class Untimed(FakeVoice):
    """Tells no times."""

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        async for piece in super().synthesize(text, voice, speed):
            yield Speech(piece.samples, piece.rate)


@pytest.mark.parametrize("voice", [FakeVoice, Untimed])
async def test_the_words_of_an_answer_are_told_behind_its_text(voice):
    async with scene("hello", answers=("That is 5 % of it. And no more.",), tts=voice()) as s:
        await s.say(1.0)
        await s.hush(0.8)
        told = [event for event in s.events if isinstance(event, ResponseWords)]
        assert " ".join(word.text for event in told for word in event.words) == s.last(ResponseGenerated).text
        assert all(event.estimated is (voice is Untimed) for event in told)
        kinds = [type(event) for event in s.events if isinstance(event, ResponseWords | ResponseText)]
        assert kinds[0] is ResponseText, "the message is opened first"
        assert told[-1].words[-1].end == pytest.approx(s.out.playouts[0].seconds)


async def test_of_an_answer_that_is_cut_off_the_words_heard_are_those_that_had_sounded():
    async with scene("hello", answers=("It costs 5 % more than ever before.",)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(1.1)
        await settle()
        s.conversation.responses.interrupt("client_cancelled")
        heard = s.last(ResponseInterrupted)
        words = [word for event in s.events if isinstance(event, ResponseWords) for word in event.words]
        sounded = [word.text for word in words if (word.start + word.end) / 2 <= heard.heard_seconds]
        assert heard.heard == " ".join(sounded)
        assert heard.heard.startswith("It costs 5 %"), "as it is written"
