"""A quick recogniser with a slower one behind it for what it doubts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest

from media.frames import Samples
from pipelines.errors import STTError
from pipelines.interfaces.stt import Hearing, Transcript, can_hear, hearing
from pipelines.interfaces.vad import VAD_RATE
from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.second_opinion import Doubt, SecondOpinion
from pipelines.runtime.worker import session, spoken_language

SECOND = np.zeros(VAD_RATE, np.int16)


class Told:
    """A recogniser that hears what it is told to; ``gate`` holds its transcripts up."""

    def __init__(self, name: str, *transcripts: Transcript | STTError) -> None:
        self.name = name
        self.transcripts = list(transcripts)
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked = asyncio.Event()
        """Set once somebody has begun an utterance."""
        self.opened = self.closed = self.samples = 0

    async def open(self) -> Told:
        self.opened += 1
        self.asked.set()
        return self

    async def feed(self, samples: Samples) -> str:
        self.samples += len(samples)
        return "partial"

    async def transcript(self) -> Transcript:
        await self.gate.wait()
        told = self.transcripts.pop(0)
        if isinstance(told, STTError):
            raise told
        return told

    async def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def in_a_session() -> Iterator[None]:
    token = session.set("one")
    yield
    session.reset(token)


async def heard(ears: SecondOpinion, seconds: int = 2) -> Transcript:
    """What is heard in the end, with the other's opinion."""
    recognition = await ears.open()
    for _ in range(seconds):
        await recognition.feed(SECOND)
    try:
        transcript = await recognition.transcript()
        return (await transcript.better if transcript.better is not None else None) or transcript
    finally:
        await recognition.close()


@pytest.mark.parametrize(("confidence", "lost"), [(0.7, False), (0.5, True)])
async def test_who_is_lost_says_so(confidence: float, lost: bool) -> None:
    ears = SecondOpinion(Told("quick", Transcript("a", confidence)), Told("slow", Transcript("b", 0.9)))
    recognition = await ears.open()
    await recognition.feed(SECOND)
    assert (await recognition.transcript()).lost is lost
    await recognition.close()


async def test_who_is_sure_is_believed() -> None:
    first, second = Told("quick", Transcript("hello there", 0.95, "en")), Told("slow")
    ears = SecondOpinion(first, second)
    assert (await heard(ears)).text == "hello there"
    assert second.opened == 0


async def test_in_doubt_the_surer_one_is_believed() -> None:
    first = Told("quick", Transcript("yellow bear", 0.7), Transcript("yellow bear", 0.7))
    second = Told("slow", Transcript("hello there", 0.9, "en"), Transcript("jello dare", 0.4, "en"))
    ears = SecondOpinion(first, second)
    assert (await heard(ears)).text == "hello there"
    assert second.samples == 2 * VAD_RATE
    assert (await heard(ears)).text == "yellow bear"
    assert ears.forwarded == {("quick", "slow"): 2}
    assert second.closed == second.opened == 2


async def test_where_the_second_one_hears_nothing_nothing_was_said() -> None:
    ears = SecondOpinion(Told("quick", Transcript("you", 0.3)), Told("slow", Transcript("")))
    assert (await heard(ears)).text == ""


async def test_the_quick_one_is_not_held_up_and_an_opinion_ends_with_the_recognition() -> None:
    first, second = Told("quick", Transcript("yellow bear", 0.7)), Told("slow", Transcript("hello there", 0.9))
    second.gate.clear()
    recognition = await SecondOpinion(first, second).open()
    await recognition.feed(SECOND)
    transcript = await recognition.transcript()
    assert (transcript.text, transcript.lost) == ("yellow bear", False)
    assert transcript.better is not None
    await second.asked.wait()
    await recognition.close()
    assert transcript.better.cancelled()
    assert second.closed == second.opened == 1


async def test_more_sound_makes_an_opinion_void() -> None:
    first = Told("quick", Transcript("yellow", 0.7), Transcript("yellow bear", 0.95))
    second = Told("slow", Transcript("hello", 0.9))
    second.gate.clear()
    recognition = await SecondOpinion(first, second).open()
    await recognition.feed(SECOND)
    doubted = await recognition.transcript()
    assert doubted.better is not None
    await recognition.feed(SECOND)
    assert doubted.better.cancelled()
    assert (await recognition.transcript()).better is None
    await recognition.close()


async def test_of_a_turn_that_is_over_at_once_nobody_else_is_asked() -> None:
    first, second = Told("quick", Transcript("yellow bear", 0.7)), Told("slow", Transcript("hello there", 0.9))
    recognition = await SecondOpinion(first, second, doubt=Doubt(defer=60.0)).open()
    await recognition.feed(SECOND)
    doubted = await recognition.transcript()
    await recognition.close()
    assert doubted.better is not None and doubted.better.cancelled()
    assert not second.opened


async def test_who_is_lost_asks_at_once() -> None:
    first, second = Told("quick", Transcript("donde as tar", 0.3)), Told("slow", Transcript("¿Dónde está?", 0.5, "es"))
    assert (await heard(SecondOpinion(first, second, doubt=Doubt(defer=60.0)))).text == "¿Dónde está?"


async def test_a_late_opinion_is_not_waited_for() -> None:
    first, second = Told("quick", Transcript("yellow bear", 0.7)), Told("slow", Transcript("hello there", 0.9))
    second.gate.clear()
    ears = SecondOpinion(first, second, doubt=Doubt(patience=0.0))
    assert (await heard(ears)).text == "yellow bear"
    assert second.closed == second.opened


@pytest.mark.parametrize(
    ("quick", "slow", "believed"),
    [
        (Transcript("I'd less to be", 0.83), Transcript("Unless to be", 0.77, "en"), "slow"),
        (Transcript("he said no", 0.82), Transcript("we sat so", 0.7, "en"), "quick"),
        (Transcript("donde as tar", 0.3), Transcript("¿Dónde está?", 0.5, "es"), "slow"),
        (Transcript("you", 0.3), Transcript("", None, "en"), "slow"),
        (Transcript("what a noise", 0.8), Transcript("", None, "en"), "quick"),
        (Transcript("", None), Transcript("1.0", 0.14, "no"), "quick"),
        (Transcript("", None), Transcript("Gracias.", 0.8, "es"), "slow"),
    ],
)
async def test_who_is_believed(quick: Transcript, slow: Transcript, believed: str) -> None:
    ears = SecondOpinion(Told("quick", quick), Told("slow", slow))
    assert (await heard(ears)).text == (slow if believed == "slow" else quick).text


async def test_an_opinion_that_fails_changes_nothing() -> None:
    first = Told("quick", Transcript("yellow bear", 0.7))
    ears = SecondOpinion(first, Told("slow", STTError("stt_failed", "broken")))
    assert (await heard(ears)).text == "yellow bear"


async def test_a_session_that_speaks_another_language_is_heard_by_the_second_one_until_it_speaks_the_first_again() -> (
    None
):
    first = Told("quick", Transcript("donde as tar", 0.3), Transcript("thank you", 0.95, "en"))
    second = Told(
        "slow", Transcript("¿Dónde está?", 0.9, "es"), Transcript("Gracias", 0.9, "es"), Transcript("So", 0.9, "en")
    )
    ears = SecondOpinion(first, second)
    assert (await heard(ears)).language == "es"
    assert (await heard(ears)).text == "Gracias"
    assert first.opened == 1
    assert (await heard(ears)).text == "So"
    assert (await heard(ears)).text == "thank you"


async def test_other_sessions_are_not_concerned() -> None:
    first = Told("quick", Transcript("donde as tar", 0.3), Transcript("hello", 0.95, "en"))
    ears = SecondOpinion(first, Told("slow", Transcript("¿Dónde está?", 0.9, "es")))
    await heard(ears)
    session.set("another")
    assert (await heard(ears)).text == "hello"


async def test_of_a_long_utterance_nothing_is_kept() -> None:
    second = Told("slow")
    ears = SecondOpinion(Told("quick", Transcript("a long story", 0.5)), second, doubt=Doubt(longest=3.0))
    assert (await heard(ears, seconds=4)).text == "a long story"
    assert second.opened == 0


async def test_a_session_that_has_chosen_another_language_is_heard_by_who_knows_it() -> None:
    quick, slow = Told("quick"), Told("slow", Transcript("Guten Tag.", 0.9, "de"))
    ears = SecondOpinion(quick, slow)
    token = spoken_language.set("de")
    try:
        assert (await heard(ears)).text == "Guten Tag."
    finally:
        spoken_language.reset(token)
    assert quick.opened == 0


async def test_a_session_that_has_chosen_english_stays_with_it() -> None:
    quick, slow = Told("quick", Transcript("Hello.", 0.95)), Told("slow", Transcript("Guten Tag.", 0.95, "de"))
    ears = SecondOpinion(quick, slow)
    ears.heard("one", Transcript("Guten Tag.", 0.95, "de"), 9.0)
    token = spoken_language.set("en")
    try:
        assert (await heard(ears)).text == "Hello."
    finally:
        spoken_language.reset(token)


class Able(Told):
    """Can do whatever is asked."""

    def can_hear(self, asked: Hearing) -> bool:
        return True


async def test_what_only_the_second_one_can_do_it_is_asked_alone() -> None:
    first, second = Told("quick"), Able("slow", Transcript("hello", 0.9, "en"))
    ears = SecondOpinion(first, second)
    assert can_hear(ears, Hearing(translate=True))
    token = hearing.set(Hearing(translate=True))
    try:
        assert (await heard(ears)).text == "hello"
    finally:
        hearing.reset(token)
    assert (first.opened, second.opened) == (0, 1)
    assert not can_hear(SecondOpinion(Told("quick"), Told("slow")), Hearing(word_times=True))
    assert can_hear(SecondOpinion(Told("quick"), Told("slow")), Hearing())


def test_who_is_sure_and_who_is_lost_comes_from_the_policy() -> None:
    assert Doubt.of(ForwardingPolicy()).sure == 0.0
    assert Doubt.of(ForwardingPolicy(enable_confidence_check=True, min_confidence=0.9)) == Doubt(sure=0.9, lost=0.6)
    low = Doubt.of(ForwardingPolicy(enable_confidence_check=True, min_confidence=0.5))
    assert (low.sure, low.lost) == (0.5, 0.5)
