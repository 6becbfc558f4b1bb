"""Turns that wait for their words or for their answer: each is answered once, and none is lost. On fake engines."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pipelines.voice.events import (
    ResponseGenerated,
    ResponseHeld,
    ResponseStarted,
    SpeechStopped,
    TranscriptFailed,
    UserTurn,
)
from pipelines.voice.history import Item
from pipelines.voice.responses import Wish
from tests.fakes.engines import crashed
from tests.pipelines.voice.test_conversation import PATIENT, Scene, scene, settle


def started(s: Scene) -> int:
    return s.kinds().count(ResponseStarted)


def generated(s: Scene) -> list[str]:
    return [event.text for event in s.events if isinstance(event, ResponseGenerated)]


def question(s: Scene) -> str:
    """What the model was asked last."""
    return s.llm.requests[-1].messages[-1].content


async def test_an_answer_that_is_held_back_and_asked_for_meanwhile_comes_once():
    async with scene("is that so", answers=("It is.", "It is.")) as s:
        s.attentive = False
        await s.say(1.0)
        await s.hush(2.0)
        s.conversation.respond()
        await settle()
        s.out.playouts[0].play(60)
        await settle()
        s.attentive = True
        await s.hush(1.0)
        assert started(s) == 1
        assert [event.outcome for event in s.events if isinstance(event, ResponseHeld)] == ["waiting", "given"]


async def test_turns_that_may_not_interrupt_are_written_down_during_the_reply():
    texts = ("tell me a story", "what happened next", "who was the king")
    async with scene(*texts, answers=("Once upon a time.", "The end."), settings=PATIENT) as s:
        for _ in texts:
            await s.say(1.0)
            await s.hush(1.5)
        assert [event.text for event in s.events if isinstance(event, UserTurn)] == list(texts)
        assert s.stt.closed == 3, "no decoder is held"
        assert started(s) == 1
        s.out.playouts[0].play(60)
        await settle()
        assert started(s) == 2
        assert question(s) == "what happened next\nwho was the king"


async def test_a_turn_that_is_not_understood_does_not_swallow_the_answer_to_the_one_before():
    async with scene("what is the time", crashed()) as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.7)
        await s.say(0.3)
        s.stt.gate.set()
        await s.hush(0.8)
        assert TranscriptFailed in s.kinds()
        assert started(s) == 1
        assert question(s) == "what is the time"


async def test_an_mhm_does_not_swallow_the_answer_to_a_turn_whose_words_come_in_the_midst_of_it():
    texts = ("tell me a story", "the news at nine", "mhm")
    async with scene(*texts, answers=("Once upon a time there was a king.", "Yes.")) as s:
        await s.say(1.0)
        await s.hush(1.5)
        s.out.playouts[0].play(0.1)
        s.lips = False
        s.stt.gate.clear()
        await s.say(1.2)
        await s.hush(1.0)
        await s.say(0.4)
        s.stt.gate.set()
        await settle()
        assert s.last(UserTurn).text == "the news at nine"
        await s.hush(1.0)
        assert started(s) == 1
        s.out.playouts[0].play(60)
        await settle()
        assert started(s) == 2
        assert question(s) == "the news at nine"


async def test_what_was_said_before_is_answered_when_the_client_clears_what_the_user_goes_on_with():
    async with scene("what is the time", "never mind that", answers=("Noon.",)) as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.7)
        await s.say(0.5)
        s.stt.gate.set()
        await settle()
        assert s.last(UserTurn).text == "what is the time"
        assert started(s) == 0, "the user is speaking"
        s.conversation.clear()
        await settle()
        assert started(s) == 1
        assert question(s) == "what is the time"


async def test_a_fixed_sentence_does_not_take_the_place_of_an_answer_whose_question_is_not_written_down_yet():
    async with scene("what is the time", answers=("Noon.",)) as s:
        s.stt.gate.clear()
        await s.say(1.0)
        await s.hush(0.8)
        s.conversation.respond(Wish(says="Still there?"))
        s.stt.gate.set()
        await settle()
        s.out.playouts[0].play(60)
        await settle()
        assert generated(s) == ["Still there?", "Noon."]
        assert question(s) == "what is the time"


async def test_a_fixed_sentence_does_not_take_the_place_of_an_answer_that_waits_for_the_end_of_the_reply():
    texts = ("tell me a story", "what happened next")
    async with scene(*texts, answers=("Once upon a time.", "The end."), settings=PATIENT) as s:
        for _ in texts:
            await s.say(1.0)
            await s.hush(1.5)
        s.conversation.respond(Wish(says="One moment."))
        await settle()
        for n in range(2):
            s.out.playouts[n].play(60)
            await settle()
        assert generated(s) == ["Once upon a time.", "One moment.", "The end."]


# ------------------------------------------------------------------------------------------------ prepared answers


async def test_no_answer_is_prepared_without_the_words_of_the_turn_before():
    async with scene("what is", "the time", answers=("Noon.",)) as s:
        first = s.stt.gate
        first.clear()
        await s.say(1.0)
        await s.hush(0.7)
        assert SpeechStopped in s.kinds()
        s.stt.gate = asyncio.Event()
        s.stt.gate.set()
        await s.say(1.0)
        await s.hush(0.2)
        assert s.llm.requests == []
        first.set()
        await s.hush(0.8)
        assert (started(s), len(s.llm.requests)) == (1, 1)
        assert question(s) == "what is\nthe time"


async def test_settings_that_change_in_the_pause_hold_for_the_answer():
    async with scene("what is the time", answers=("Old.", "New.")) as s:
        await s.say(1.0)
        await s.hush(0.4)
        assert len(s.llm.requests) == 1
        s.conversation.configure(replace(s.conversation.settings, instructions="Be new."))
        await s.hush(0.5)
        assert s.llm.requests[-1].messages[0].content == "Be new."
        assert (generated(s), len(s.llm.requests)) == (["New."], 2)


async def test_how_the_user_is_heard_does_not_matter_to_what_is_prepared():
    async with scene("what is the time", answers=("Noon.",)) as s:
        await s.say(1.0)
        await s.hush(0.4)
        s.conversation.configure(replace(s.conversation.settings, muted=True))
        await s.hush(0.5)
        assert (generated(s), len(s.llm.requests)) == (["Noon."], 1)


async def test_items_that_come_and_go_in_the_pause_count_for_the_answer():
    async with scene("what is the time", answers=("Old.", "New.")) as s:
        s.conversation.add(Item("item_before", "user", "slowly"))
        await s.say(1.0)
        await s.hush(0.4)
        assert question(s) == "slowly\nwhat is the time"
        s.conversation.add(Item("item_typed", "user", "quickly"))
        s.conversation.remove("item_before")
        await s.hush(0.5)
        assert question(s) == "quickly\nwhat is the time"
        assert (generated(s), len(s.llm.requests)) == (["New."], 2)


async def test_what_is_prepared_and_held_back_is_made_anew_when_the_settings_change():
    async with scene("is that so", answers=("Old.", "New.")) as s:
        s.attentive = False
        await s.say(1.0)
        await s.hush(2.0)
        s.conversation.configure(replace(s.conversation.settings, instructions="Be new."))
        s.attentive = True
        await s.hush(0.2)
        assert (generated(s), len(s.llm.requests)) == (["New."], 2)


async def test_settings_that_change_once_it_is_given_leave_an_answer_alone():
    async with scene("what is the time", answers=("It is noon.",)) as s:
        s.llm.gate.clear()
        await s.say(1.0)
        await s.hush(0.9)
        assert started(s) == 1
        s.conversation.configure(replace(s.conversation.settings, instructions="Be new."))
        s.llm.gate.set()
        await settle()
        s.out.playouts[0].play(60)
        await settle()
        assert generated(s) == ["It is noon."]
        assert s.remembered[-1] == ("assistant", "It is noon.")
