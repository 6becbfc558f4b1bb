"""The client decides: when a turn is over, whether it is answered, and how. On fake engines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipelines.voice import speculation
from pipelines.voice.events import (
    MessageAdded,
    PartialTranscript,
    Problem,
    ResponseInterrupted,
    ResponseStarted,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    UserTurn,
)
from pipelines.voice.history import FIRST, Item
from pipelines.voice.responses import Wish
from pipelines.voice.settings import LONGEST_RESPONSE_TOKENS, ConversationSettings
from pipelines.voice.turn import TurnMode, TurnSettings
from tests.fakes.engines import crashed
from tests.pipelines.voice.test_conversation import scene, settle

MANUAL = ConversationSettings(instructions="Be kind.", turn=TurnSettings(TurnMode.MANUAL))
LISTENING = ConversationSettings(turn=TurnSettings(TurnMode.SERVER_VAD, silence_seconds=0.5))


def asked(s) -> list[tuple[str, str]]:
    """What the model was shown last."""
    return [(message.role, message.content) for message in s.llm.requests[-1].messages]


async def test_what_is_said_between_two_commits_is_one_turn():
    async with scene("what is", "the time", settings=MANUAL) as s:
        await s.say(1.0)
        await s.hush(3.0)
        assert (s.stt.opened, s.stt.closed) == (1, 1)  # nobody speaks: no decoder is held
        await s.say(1.0)
        await s.hush(0.2)
        assert s.conversation.commit()
        await settle()
        turn = s.last(UserTurn)
        assert turn.text == "what is the time"
        assert 2.0 < turn.seconds < 4.5  # with what is around the words, without the long silence
        assert s.remembered == [("user", "what is the time")]
        partials = [event.text for event in s.events if isinstance(event, PartialTranscript)]
        assert partials[-1] == "what is the time"
        assert not s.conversation.commit()


async def test_the_words_before_a_pause_are_kept_when_the_rest_is_not_understood():
    async with scene("what is", crashed(), settings=MANUAL) as s:
        for _ in range(2):
            await s.say(1.0)
            await s.hush(1.5)
        s.conversation.commit()
        await settle()
        assert s.last(UserTurn).text == "what is"


async def test_nothing_understood_is_a_failure_and_leaves_an_empty_item():
    async with scene(crashed(), settings=MANUAL) as s:
        await s.say(1.0)
        await s.hush(1.5)
        s.conversation.commit()
        await settle()
        assert s.kinds() == [SpeechStopped, TranscriptFailed]
        assert s.remembered == [("user", "")]


async def test_an_answer_asked_for_at_once_waits_for_the_words():
    async with scene("what is the time", answers=("Noon.",), settings=MANUAL) as s:
        s.stt.gate.clear()
        await s.say(1.0)
        s.conversation.commit()
        s.conversation.respond()
        s.conversation.add(Item("item_typed", "user", "quickly"))
        await settle()
        assert s.llm.requests == []
        s.stt.gate.set()
        await settle()
        assert asked(s) == [("system", "Be kind."), ("user", "what is the time\nquickly")]
        assert [item.id for item in s.conversation.history.items][1] == "item_typed"
        assert s.kinds().count(ResponseStarted) == 1


async def test_an_answer_that_was_asked_for_comes_also_when_nothing_was_understood():
    async with scene(crashed(), answers=("Pardon?",), settings=MANUAL) as s:
        s.conversation.add(Item("item_1", "user", "listen"))
        await s.say(1.0)
        s.conversation.commit()
        s.conversation.respond()
        await settle()
        assert asked(s)[-1] == ("user", "listen")
        assert s.kinds().count(ResponseStarted) == 1


async def test_asked_for_by_the_client_an_answer_comes_once():
    quiet = replace(LISTENING, turn=replace(LISTENING.turn, create_response=False))
    async with scene("what is the time", settings=quiet) as s:
        await s.say(1.0)
        await s.hush(1.0)
        assert s.llm.requests == []
        s.conversation.respond()
        s.conversation.configure(LISTENING)
        await settle()
        s.out.playouts[0].play(9)
        await s.say(0.3)  # nothing is understood of this
        await s.hush(1.0)
        assert len(s.llm.requests) == 1


async def test_voice_interrupts_nothing():
    async with scene("stop it now", answers=("A long story about a cat.",), settings=MANUAL) as s:
        s.conversation.add(Item("item_1", "user", "a story please"))
        s.conversation.respond()
        await settle()
        s.out.playouts[0].play(0.3)
        await s.say(2.0)
        assert ResponseInterrupted not in s.kinds()
        assert all(decibels == 0 for decibels in s.out.ducks)
        assert s.conversation.responses.active


async def test_push_to_talk_can_begin_and_end_in_mid_utterance():
    async with scene("what is the time", "and the date", settings=LISTENING) as s:
        await s.say(0.5)
        s.conversation.configure(MANUAL)
        await s.say(0.5)
        await s.hush(3.0)
        assert s.kinds() == [SpeechStarted]
        s.conversation.commit()
        await settle()
        assert s.kinds() == [SpeechStarted, SpeechStopped, UserTurn]
        assert s.last(SpeechStopped).detected  # its beginning was told
        await s.say(0.5)
        s.conversation.configure(LISTENING)
        await s.hush(1.0)
        assert s.last(UserTurn).text == "and the date"
        assert s.last(SpeechStopped).detected is False
        assert len(s.llm.requests) == 1


async def test_a_turn_is_bounded_and_says_so(monkeypatch):
    monkeypatch.setattr(speculation, "MOST_PARTS", 2)
    async with scene("one", "two", "three", settings=MANUAL) as s:
        for _ in range(3):
            await s.say(0.5)
            await s.hush(1.5)
        assert s.kinds() == [Problem]
        assert s.last(Problem).error.code == "input_audio_buffer_full"
        s.conversation.commit()
        await settle()
        assert s.last(UserTurn).text == "one two"
        assert s.stt.opened == 2


async def test_cleared_parts_are_forgotten():
    async with scene("one", "two", settings=MANUAL) as s:
        await s.say(0.5)
        await s.hush(1.5)
        await s.say(0.5)
        s.conversation.clear()
        await s.hush(2.0)
        assert not {UserTurn, SpeechStopped} & set(s.kinds())
        s.conversation.commit()
        await settle()
        assert {text for _, text in s.remembered} <= {""}


async def test_one_answer_can_have_settings_of_its_own():
    async with scene(answers=("Yes.", "No."), settings=MANUAL) as s:
        s.conversation.add(Item("item_1", "user", "really?"))
        short = replace(MANUAL, instructions="One word.", max_tokens=None, spoken=False)
        s.conversation.respond(Wish(short, {"mine": "1"}))
        await settle()
        assert asked(s)[0] == ("system", "One word.")
        assert s.llm.requests[-1].max_tokens == LONGEST_RESPONSE_TOKENS
        assert s.last(ResponseStarted).spoken is False
        assert s.last(ResponseStarted).metadata == {"mine": "1"}
        assert s.out.playouts == []
        s.conversation.respond()
        await settle()
        assert asked(s)[0] == ("system", "Be kind.")
        assert s.llm.requests[-1].max_tokens == MANUAL.max_tokens
        assert s.last(ResponseStarted).spoken
        assert not s.last(ResponseStarted).metadata


@pytest.mark.parametrize(("after", "order"), [(None, "abx"), (FIRST, "xab"), ("a", "axb"), ("b", "abx")])
async def test_messages_can_be_put_anywhere(after, order):
    async with scene(settings=MANUAL) as s:
        for name in "ab":
            s.conversation.add(Item(name, "user", name))
        s.conversation.add(Item("x", "assistant", "x"), after)
        assert "".join(item.id for item in s.conversation.history.items) == order
        assert s.last(MessageAdded) == MessageAdded("x", "assistant", "x", after)


async def test_rules_that_come_later_are_told_in_front_with_the_others():
    async with scene(settings=MANUAL) as s:
        s.conversation.add(Item("a", "user", "hello"))
        s.conversation.add(Item("b", "system", "Be brief."))
        s.conversation.respond()
        await settle()
        assert asked(s) == [("system", "Be kind.\nBe brief."), ("user", "hello")]
