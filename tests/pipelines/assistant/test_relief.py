"""What a session gives up while there is too much to do, and what its clients are told of it."""

from __future__ import annotations

import pytest

from pipelines.assistant.events import SessionDegraded
from pipelines.runtime.relief import NOTHING, Cause, Easing, Relief
from pipelines.voice.events import ResponseAudioStopped, SpeechStopped
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.memory_transport import MemoryTransport, call, settle
from tests.fakes.vision import FakeVision

CAUSE = Cause("event_loop", 55.0, 40.0, "ms")
LESS, LESS_STILL = Relief(vision=2.0, partials=2.0), Relief(vision=3.0, partials=4.0, speculates=False)


async def degraded(line: MemoryTransport) -> list[SessionDegraded]:
    await settle()
    line.told += line.events.take()
    return line.named(SessionDegraded)


async def test_clients_are_told_once_when_what_is_given_up_changes_and_when_all_is_as_usual():
    async with call(vision=FakeVision()) as line:
        for relief in (NOTHING, Relief(vision=1.5), Relief(vision=2.0), LESS, LESS, LESS_STILL, NOTHING, NOTHING):
            line.session.relieve(relief, None if relief == NOTHING else CAUSE)
        told = [(event.parts, event.cause) for event in await degraded(line)]
    assert told == [
        (("vision",), CAUSE),
        (("vision", "partials"), CAUSE),
        (("vision", "partials", "speculation"), CAUSE),
        ((), None),
    ]


async def test_who_shows_no_camera_is_not_told_of_vision():
    async with call() as line:
        line.session.vision.see([])
        line.session.relieve(Relief(vision=2.0), CAUSE)
        line.session.relieve(LESS, CAUSE)
        assert [event.parts for event in await degraded(line)] == [("partials",)]


@pytest.mark.parametrize("relief", [NOTHING, LESS, LESS_STILL])
async def test_an_answer_is_prepared_before_the_end_of_the_turn_unless_that_is_given_up(relief: Relief):
    llm = FakeModel("It is fine.")
    async with call(stt=FakeRecognizer("what is the weather"), llm=llm) as line:
        line.session.relieve(relief, CAUSE)
        await line.say(1.0)
        while not llm.requests:
            await line.hush(0.02)
        assert (not line.named(SpeechStopped)) == relief.speculates
        await line.hush(6.0, until=ResponseAudioStopped)
        assert line.named(ResponseAudioStopped), "it is answered all the same"
        assert (line.session.left_out.get("speculation", 0) > 0) == (not relief.speculates)


async def test_a_picture_that_is_asked_for_is_remembered():
    async with call(vision=FakeVision()) as line:
        assert line.session.vision.asked_at == float("-inf")
        await line.session.vision.image("camera")
        assert line.session.vision.asked_at == line.clock.now()


def test_fractions_of_what_is_left_out_add_up():
    easing = Easing()
    for _ in range(5):
        easing.leave_out("partials", 0.5)
    easing.leave_out("vision", 0.0)
    assert easing.left_out == {"partials": 2, "vision": 0}
