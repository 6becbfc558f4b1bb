"""The conversation on fake engines: audio in, events out, in order, and only what was heard is remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from media.channel import Channel
from media.frames import AudioChunk
from pipelines.errors import EngineBusyError, LLMError
from pipelines.interfaces.stt import Transcript
from pipelines.interfaces.turn import TurnDetector
from pipelines.tools.server_tool import ServerTool
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseHeld,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    ResponseWords,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
)
from pipelines.voice.history import Item
from pipelines.voice.responses import Surroundings
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from pipelines.voice.turn import TurnSettings
from pipelines.voice.visual_context import HOLD_SECONDS, Sight
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeOut, FakeRecognizer, FakeVoice, LoudnessVad, crashed

RATE = 16_000


class Scene:
    """A conversation with a microphone the test speaks into."""

    def __init__(
        self,
        stt: FakeRecognizer,
        llm: FakeModel,
        tts: FakeVoice,
        settings: ConversationSettings,
        sight: Sight | None = None,
        vad: LoudnessVad | None = None,
        tools: tuple[ServerTool, ...] = (),
        turn: TurnDetector | None = None,
    ) -> None:
        self.stt, self.llm, self.tts = stt, llm, tts
        self.out = FakeOut()
        self.clock = FakeClock()
        self.events: list[object] = []
        self.audio: Channel[AudioChunk] = Channel(1000)
        self._time = 0.0
        self.seen = "one person"
        self.lips: bool | None = None
        self.attentive: bool | None = None
        self.sight = Sight(lambda: self.lips, lambda: self.attentive)
        engines = VoiceEngines(vad or LoudnessVad(), stt, llm, tts, turn, tools=lambda: tools)
        around = Surroundings(engines, self.out, self.events.append, self.clock, lambda: self.seen, sight or self.sight)
        self.conversation = Conversation(around, settings)

    async def say(self, seconds: float, loud: bool = True) -> None:
        for _ in range(round(seconds / 0.02)):
            samples = np.full(320, 3000 if loud else 0, np.int16)
            self.audio.put(AudioChunk(samples, RATE, self._time))
            self._time += 0.02
            self.clock.advance(0.02)
            await settle(2)
        await settle()

    async def hush(self, seconds: float) -> None:
        await self.say(seconds, loud=False)

    def kinds(self, *ignored: type) -> list[type]:
        return [type(event) for event in self.events if not isinstance(event, (PartialTranscript, *ignored))]

    def last(self, kind: type) -> object:
        return [event for event in self.events if isinstance(event, kind)][-1]

    @property
    def remembered(self) -> list[tuple[str, str]]:
        return [(item.role, item.text) for item in self.conversation.history.items]


async def settle(rounds: int = 60) -> None:
    """Let every task that can go on do so."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@asynccontextmanager
async def scene(*texts: object, answers: tuple[object, ...] = (), **parts: object) -> AsyncIterator[Scene]:
    settings = parts.pop("settings", None) or ConversationSettings(instructions="Be kind.")
    llm = parts.pop("llm", None) or FakeModel(*answers)
    tts, sight, vad = parts.pop("tts", FakeVoice()), parts.pop("sight", None), parts.pop("vad", None)
    tools, turn = parts.pop("tools", ()), parts.pop("turn", None)
    stage = Scene(FakeRecognizer(*texts), llm, tts, settings, sight, vad, tools, turn)
    task = asyncio.create_task(stage.conversation.run(stage.audio))
    await settle()
    try:
        yield stage
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert stage.stt.opened == stage.stt.closed, "a decoder was not given back"


class Busy:
    """A turn detector that has no time for the first ``refused`` pauses, and then is sure."""

    name = "busy"

    def __init__(self, refused: int) -> None:
        self.refused, self.asked = refused, 0

    async def completeness(self, samples):
        self.asked += 1
        if self.asked <= self.refused:
            raise EngineBusyError("deadline", "too many pauses")
        return 0.99

    async def close(self):
        pass


@pytest.mark.parametrize(("refused", "text", "ends_by"), [(9, "what is the weather", 0.5), (9, "what is the", 1.4)])
async def test_words_and_the_pause_decide_where_the_detector_has_no_time(refused, text, ends_by, caplog):
    async with scene(text, answers=("It is fine.",), turn=Busy(refused)) as s:
        await s.say(1.0)
        await s.hush(ends_by - 0.16)
        assert SpeechStopped not in s.kinds()
        await s.hush(0.16)
        assert SpeechStopped in s.kinds()
        s.out.playouts[0].play(5)
        await settle()
        assert s.last(TurnLatency).unjudged
    assert not caplog.records, "nothing failed"


async def test_a_second_look_in_the_same_pause_makes_it_judged():
    async with scene("what is the weather", answers=("It is fine.",), turn=Busy(1)) as s:
        await s.say(1.0)
        await s.hush(0.5)
        s.out.playouts[0].play(5)
        await settle()
        assert not s.last(TurnLatency).unjudged


async def test_one_turn_in_order():
    async with scene("what is the weather", answers=("It is fine.",)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.1)
        await settle()
        s.out.playouts[0].play(5)
        await settle()
        assert s.kinds(ResponseWords) == [
            SpeechStarted,
            SpeechStopped,
            UserTurn,
            ResponseStarted,
            ResponseText,
            ResponseGenerated,
            ResponseAudioStarted,
            TurnLatency,
            ResponseAudioStopped,
        ]
        assert s.remembered == [("user", "what is the weather"), ("assistant", "It is fine.")]
        assert not s.conversation.responses.active


async def test_words_are_shown_while_the_user_speaks():
    async with scene("one two three four") as s:
        await s.say(0.7)
        partials = [event.text for event in s.events if isinstance(event, PartialTranscript)]
        assert partials[-1] == "one two three"


async def test_no_syllable_is_lost():
    async with scene("hello") as s:
        await s.hush(1.0)
        await s.say(1.0)
        await s.hush(0.8)
        heard = s.stt.heard[0]
        assert (heard > 0).sum() == pytest.approx(RATE, abs=RATE * 0.01)
        assert (heard[: int(0.25 * RATE)] == 0).all()


async def test_the_model_is_told_what_the_camera_shows():
    async with scene("what do you see") as s:
        await s.say(1.0)
        await s.hush(0.8)
        request = s.llm.requests[0]
        assert request.scene == "one person"
        assert [m.role for m in request.messages] == ["system", "user"]


async def test_latency_parts_add_up():
    async with scene("hello") as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.clock.advance(0.05)
        s.out.playouts[0].play(0.1)
        await settle()
        latency = s.last(TurnLatency)
        assert sum(latency.parts.values()) == pytest.approx(latency.voice_to_voice)
        assert latency.parts["endpoint"] == pytest.approx(0.6, abs=0.05)


async def test_interruption_stops_the_voice_and_remembers_only_what_was_heard():
    async with scene("tell me a story", "stop that now", answers=("Once upon a time there was a king.", "Okay.")) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.8)
        await settle()
        await s.say(0.5)
        assert s.out.flushes == 1
        interrupted = s.last(ResponseInterrupted)
        assert interrupted.heard == "Once upon a"
        assert interrupted.reason == "turn_detected"
        assert s.remembered[1] == ("assistant", "Once upon a")
        await s.say(0.5)
        await s.hush(0.8)
        s.out.playouts[1].play(9)
        await settle()
        assert s.llm.requests[1].messages[-2].content == "Once upon a —"
        assert s.remembered[-1] == ("assistant", "Okay.")


async def test_interruption_cancels_generation():
    async with scene("tell me a story", "stop", answers=("Once upon a time there was a king.",)) as s:
        s.llm.gate.clear()
        await s.say(1.0)
        await s.hush(0.8)
        await s.say(0.6)
        assert s.llm.cancelled == 1
        assert s.remembered == [("user", "tell me a story")], "nobody has been told of an item before its first word"


async def test_a_cough_costs_nothing():
    async with scene("tell me a story", "", answers=("Once upon a time there was a king.",)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.5)
        await s.say(0.2)
        assert s.out.ducks[-1] > 0
        await s.hush(1.0)
        assert s.out.ducks[-1] == 0
        s.out.playouts[0].play(9)
        await settle()
        assert s.remembered[1] == ("assistant", "Once upon a time there was a king.")
        assert ResponseInterrupted not in s.kinds()


async def test_going_on_before_the_answer_joins_both_turns():
    async with scene("i would like to know", "what the time is") as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.7)
        await s.say(1.0)
        s.stt.gate.set()
        await settle()
        assert ResponseStarted not in s.kinds()
        await s.hush(0.8)
        assert len(s.llm.requests) == 1
        assert s.llm.requests[0].messages[-1].content == "i would like to know\nwhat the time is"


async def test_noise_after_the_question_does_not_swallow_the_answer():
    async with scene("what is the time", "") as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.7)
        await s.say(0.3)
        s.stt.gate.set()
        await s.hush(0.8)
        assert len(s.llm.requests) == 1


async def test_nothing_understood_is_not_answered():
    async with scene("") as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.kinds() == [SpeechStarted, SpeechStopped, UserTurn]
        assert s.remembered == [("user", "")], "clients know of it"
        assert not s.llm.requests


@pytest.mark.parametrize(
    ("error", "code"), [(crashed(), "stt_crashed"), (RuntimeError("the handler is closed"), "stt_failed")]
)
async def test_a_failing_recogniser_is_told_and_the_next_turn_works(error, code):
    async with scene(error, "hello") as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(TranscriptFailed).error.code == code
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(UserTurn).text == "hello"


async def test_a_failing_model_is_told_and_the_next_turn_works():
    async with scene("hello", "again", answers=(LLMError("llm_unreachable", "no server"), "Hi.")) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(ResponseFailed).error.code == "llm_unreachable"
        assert not s.conversation.responses.active
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(ResponseText).text == "Hi."


async def test_a_failing_voice_activity_is_told_and_the_turn_is_understood():
    class Broken(LoudnessVad):
        def probability(self, window: np.ndarray) -> float:
            raise RuntimeError("onnxruntime: bad allocation")

    async with scene("hello", vad=Broken()) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(Problem).error.code == "vad_failed"
        assert s.last(UserTurn).text == "hello"


@pytest.mark.parametrize("fails", [True, KeyError("phoneme")])
async def test_a_failing_voice_is_told(fails):
    async with scene("hello", tts=FakeVoice(fails)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.last(ResponseFailed).error.stage == "tts"
        assert not s.conversation.responses.active


async def test_speech_that_may_not_interrupt_is_answered_afterwards():
    settings = ConversationSettings(turn=TurnSettings(interrupt_response=False))
    async with scene(
        "tell me a story", "what happened next", answers=("Once upon a time.", "The end."), settings=settings
    ) as s:
        await s.say(1.0)
        await s.hush(0.8)
        await s.say(1.0)
        await s.hush(0.8)
        assert len(s.llm.requests) == 1
        assert s.out.flushes == 0
        s.out.playouts[0].play(9)
        await settle()
        assert len(s.llm.requests) == 2


PATIENT = ConversationSettings(turn=TurnSettings(interrupt_response=False))


async def test_who_has_begun_to_speak_during_the_reply_is_not_talked_over_at_its_end():
    texts = ("tell me a story", "what happened next", "i mean after that")
    async with scene(*texts, answers=("Once upon a time.", "The end."), settings=PATIENT) as s:
        for _ in range(2):
            await s.say(1.0)
            await s.hush(1.5)
        await s.say(0.5)
        s.out.playouts[0].play(9)
        await settle()
        await s.say(1.0)
        assert s.kinds().count(ResponseStarted) == 1, "the user is speaking"
        await s.hush(1.5)
        assert s.kinds().count(ResponseStarted) == 2
        assert s.llm.requests[-1].messages[-1].content == "what happened next\ni mean after that"


async def test_a_voice_that_comes_to_nothing_as_the_reply_ends_does_not_cost_the_answer():
    """With lips that rest, voices during a reply are questions for later, or nothing; the last one is a cough."""
    async with scene("tell me a story", "the news at nine", "", answers=("Once upon a time.", "Yes.")) as s:
        await s.say(1.0)
        await s.hush(1.5)
        s.out.playouts[0].play(0.1)
        s.lips = False
        await s.say(1.2)
        await s.hush(1.0)
        s.stt.gate.clear()
        await s.say(0.2)
        s.out.playouts[0].play(60)
        s.stt.gate.set()
        await s.hush(1.0)
        assert s.kinds().count(ResponseStarted) == 2
        assert s.llm.requests[-1].messages[-1].content == "the news at nine"


async def test_what_the_client_has_had_answered_meanwhile_is_not_answered_again():
    async with scene("a story", "go on", answers=("Once upon a time.", "The end."), settings=PATIENT) as s:
        for _ in range(2):
            await s.say(1.0)
            await s.hush(1.5)
        s.conversation.responses.respond()
        await settle()
        assert len(s.out.playouts) == 1, "what is being heard is heard to its end"
        s.out.playouts[0].play(60)
        await settle()
        s.out.playouts[1].play(60)
        await s.hush(1.0)
        assert s.kinds().count(ResponseStarted) == 2


async def test_no_answer_when_the_client_wants_to_ask_for_it():
    settings = ConversationSettings(turn=TurnSettings(create_response=False))
    async with scene("hello", settings=settings) as s:
        await s.say(1.0)
        await s.hush(0.8)
        assert s.llm.requests == []
        s.conversation.responses.respond()
        await settle()
        assert len(s.llm.requests) == 1


async def test_typed_messages_are_answered():
    async with scene(answers=("Hi.",)) as s:
        s.conversation.add(Item("item_1", "user", "hello there"))
        s.conversation.responses.respond()
        await settle()
        assert s.last(UserTurn).spoken is False
        assert s.last(ResponseText).text == "Hi."


async def test_client_cancels():
    async with scene(answers=("Once upon a time there was a king.",)) as s:
        s.conversation.add(Item("item_1", "user", "a story please"))
        s.conversation.responses.respond()
        await settle()
        s.out.playouts[0].play(0.5)
        assert s.conversation.responses.interrupt("client_cancelled")
        assert s.last(ResponseInterrupted).heard == "Once upon"
        assert not s.conversation.responses.interrupt("client_cancelled")


async def test_without_context_only_the_last_message_is_shown():
    async with scene("one", "two", settings=ConversationSettings("Be kind.", preserve_context=False)) as s:
        for _ in range(2):
            await s.say(1.0)
            await s.hush(0.8)
            s.out.playouts[-1].play(9)
            await settle()
        assert [m.content for m in s.llm.requests[1].messages] == ["Be kind.", "two"]


# ---------------------------------------------------------------------------------------------------- looks


async def test_a_voice_without_lips_does_not_interrupt_and_is_answered_afterwards():
    async with scene(
        "tell me a story", "the news at nine", answers=("Once upon a time there was a king.", "Yes.")
    ) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.1)
        s.lips = False
        await s.say(1.2)
        await s.hush(1.0)
        assert s.kinds().count(ResponseInterrupted) == 0
        assert s.last(UserTurn).text == "the news at nine"
        assert s.out.ducks[-1] == 0.0
        s.out.playouts[0].play(60)
        await settle()
        assert s.kinds().count(ResponseStarted) == 2
        assert ("assistant", "Once upon a time there was a king.") in s.remembered


async def test_moving_lips_interrupt_as_ever():
    async with scene("tell me a story", "stop that please", answers=("Once upon a time there was a king.",)) as s:
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[0].play(0.1)
        s.lips = False
        await s.say(0.3)
        s.lips = True
        await s.say(0.6)
        assert s.kinds().count(ResponseInterrupted) == 1


async def test_a_face_that_is_turned_away_holds_the_reply_back_until_it_turns_back():
    async with scene("is that so", answers=("It is.",)) as s:
        s.attentive = False
        await s.say(1.0)
        await s.hush(3.0)
        assert s.kinds()[-1] is ResponseHeld
        assert s.out.playouts == []
        s.attentive = True
        await s.hush(0.2)
        held = [event.outcome for event in s.events if isinstance(event, ResponseHeld)]
        assert held == ["waiting", "given"]
        assert len(s.out.playouts) == 1
        assert len(s.llm.requests) == 1, "what was prepared is what is given"


async def test_a_face_that_stays_away_gets_no_answer_and_the_words_are_remembered():
    async with scene("pass me the salt", "what did i say", answers=("Never heard.", "You asked for salt.")) as s:
        s.attentive = False
        await s.say(1.0)
        await s.hush(HOLD_SECONDS + 1.0)
        assert s.last(ResponseHeld).outcome == "dropped"
        assert s.remembered == [("user", "pass me the salt")]
        assert s.out.playouts == []
        s.attentive = True
        await s.hush(1.0)
        assert s.out.playouts == [], "it is not answered when it is too late"
        await s.say(1.0)
        await s.hush(0.8)
        assert len(s.out.playouts) == 1


async def test_going_on_while_the_reply_is_held_back_is_one_question():
    async with scene("what is", "the capital of france", answers=("What?", "Paris.")) as s:
        s.attentive = False
        await s.say(0.5)
        await s.hush(2.0)
        await s.say(0.5)
        s.attentive = True
        await s.say(0.5)
        await s.hush(1.0)
        assert len(s.out.playouts) == 1
        assert s.llm.requests[-1].messages[-1].content == "what is\nthe capital of france"


async def test_a_camera_that_is_switched_off_does_not_hold_a_reply_for_ever():
    async with scene("hello there", answers=("Hello.",)) as s:
        s.attentive = False
        await s.say(1.0)
        await s.hush(1.0)
        s.attentive = None
        await s.hush(0.2)
        assert len(s.out.playouts) == 1


# ------------------------------------------------------------------------------------------------ second opinions


def doubtful(s: Scene, *, lost: bool = False) -> asyncio.Future[Transcript | None]:
    """From now on another opinion comes with every transcript: what the future is given."""
    s.stt.better, s.stt.lost = asyncio.get_running_loop().create_future(), lost
    return s.stt.better


async def test_a_better_transcript_that_comes_before_the_end_of_the_turn_is_answered_instead():
    async with scene("yellow bear", answers=("Bears are brown.", "Hello!")) as s:
        better = doubtful(s)
        await s.say(1.0)
        await s.hush(0.2)
        assert s.llm.requests[-1].messages[-1].content == "yellow bear", "it is prepared all the same"
        better.set_result(Transcript("hello there"))
        await s.hush(0.8)
        assert s.last(UserTurn).text == "hello there"
        assert s.llm.requests[-1].messages[-1].content == "hello there"
        assert (s.last(UserTurn).text, s.last(ResponseGenerated).text) == ("hello there", "Hello!")
        assert s.kinds().count(ResponseStarted) == 1


async def test_a_better_transcript_that_is_late_does_not_hold_the_answer_up():
    async with scene("yellow bear", answers=("Bears are brown.",)) as s:
        better = doubtful(s)
        await s.say(1.0)
        await s.hush(0.8)
        better.cancel()
        await settle()
        assert (s.last(UserTurn).text, s.last(ResponseGenerated).text) == ("yellow bear", "Bears are brown.")


async def test_the_same_words_once_more_keep_what_is_prepared():
    async with scene("hello there", answers=("Hello!",)) as s:
        better = doubtful(s)
        await s.say(1.0)
        await s.hush(0.2)
        better.set_result(Transcript("Hello, there."))
        await s.hush(0.8)
        assert len(s.llm.requests) == 1
        assert (s.last(UserTurn).text, s.last(ResponseGenerated).text) == ("Hello, there.", "Hello!")


@pytest.mark.parametrize(("found", "words"), [("¿Qué hora es?", "¿Qué hora es?"), (None, "key or a yes")])
async def test_where_the_recogniser_is_lost_the_answer_waits_for_the_other_one(found, words):
    async with scene("key or a yes", answers=("Son las dos.",)) as s:
        better = doubtful(s, lost=True)
        await s.say(1.0)
        await s.hush(0.8)
        assert SpeechStopped in s.kinds()
        assert not s.llm.requests, "nobody answers what is of no use"
        better.set_result(None if found is None else Transcript(found))
        await settle()
        assert (s.last(UserTurn).text, s.last(ResponseGenerated).text) == (words, "Son las dos.")


async def test_where_the_other_one_hears_nothing_nothing_was_said():
    async with scene("you") as s:
        better = doubtful(s, lost=True)
        await s.say(1.0)
        better.set_result(Transcript(""))
        await s.hush(0.8)
        assert not s.llm.requests
        assert s.kinds() == [SpeechStarted, SpeechStopped, UserTurn]
        assert s.last(UserTurn).text == ""


async def test_who_goes_on_speaking_makes_an_opinion_void():
    async with scene("yellow bear runs", answers=("Does it?", "It does.")) as s:
        better = doubtful(s)
        await s.say(1.0)
        await s.hush(0.2)
        await s.say(1.0)
        better.set_result(Transcript("hello there"))
        s.stt.better = None
        await s.hush(0.8)
        assert (s.last(UserTurn).text, s.last(ResponseGenerated).text) == ("yellow bear runs", "It does.")


# ------------------------------------------------------------------------------------------------ languages


@pytest.mark.parametrize("speculate", [True, False])
async def test_who_speaks_another_language_is_answered_in_a_voice_of_it_turn_by_turn(speculate):
    tts = FakeVoice(voices=("en_US-joe-medium", "de"))
    answers = ("Guten Morgen, wie geht es dir?", "Hello, my friend.")
    settings = ConversationSettings(speculate=speculate)
    async with scene("guten morgen", "hello", answers=answers, tts=tts, settings=settings) as s:
        s.stt.language = "de"
        await s.say(1.0)
        await s.hush(0.8)
        s.out.playouts[-1].play(10)
        await settle()
        s.stt.language = "en"
        await s.say(1.0)
        await s.hush(0.8)
        assert (s.tts.said[0], s.tts.asked[0]) == (answers[0], "de")
        assert (s.tts.said[-1], s.tts.asked[-1]) == (answers[1], None)
