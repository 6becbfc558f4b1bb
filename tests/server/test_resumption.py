"""What goes on in a new connection: what was heard and how it was set, for a while and not of too many."""

from __future__ import annotations

import asyncio

from pipelines.voice.events import ResponseAudioStopped, ResponseText
from pipelines.voice.history import Item
from server.resumption import MOST_KEPT, KeptConversations, Remembered, remembered
from tests.fakes.engines import FakeModel
from tests.fakes.memory_transport import call

NOTHING = Remembered(None, None, ())


async def test_of_a_response_that_is_being_given_only_what_was_heard_goes_on():
    async with call(llm=FakeModel("One two three four five six.", "Seven.")) as line:
        conversation = line.session.conversation
        conversation.add(Item("said", "user", "Count."))
        conversation.respond()
        await line.hush(1.0)
        what = remembered(line.session)
        assert [(item.role, item.interrupted) for item in what.items] == [("user", False), ("assistant", True)]
        assert what.items[1].text in ("One two three", "One two three four")
        assert what.conversation is conversation.settings
        assert conversation.responses.active, "the session itself is not touched"
        await line.hush(4.0, until=ResponseAudioStopped)
        assert remembered(line.session).items[1].text == "One two three four five six."
        async with call() as other:
            what.tell(other.session)
            assert other.session.conversation.history.items[0].text == "Count."


async def test_a_response_of_which_nothing_was_heard_is_left_out():
    model = FakeModel("One two three.")
    model.gate.clear()
    async with call(llm=model) as line:
        line.session.conversation.add(Item("said", "user", "Count."))
        line.session.conversation.respond()
        await line.hush(0.2)
        assert [item.id for item in remembered(line.session).items] == ["said"]


async def test_a_response_in_text_is_remembered_as_far_as_it_was_written():
    async with call(llm=FakeModel("One two three.")) as line:
        conversation = line.session.conversation
        conversation.settings.spoken = False
        conversation.add(Item("said", "user", "Count."))
        conversation.respond()
        await line.hush(1.0, until=ResponseText)
        assert remembered(line.session).items[-1].text == "One two three."


async def test_a_conversation_is_taken_over_once_and_only_so_many_are_kept():
    kept = KeptConversations()
    for n in range(MOST_KEPT + 1):
        kept.keep(str(n), NOTHING)
    assert "0" not in kept and "1" in kept
    assert kept.take("1") is NOTHING
    assert kept.take("1") is None
    kept.clear()
    assert "2" not in kept


async def test_what_is_kept_is_forgotten_in_time(monkeypatch):
    monkeypatch.setattr("server.resumption.KEPT_SECONDS", 0.0)
    kept = KeptConversations()
    kept.keep("sess", NOTHING)
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(0.0, later.set)
    assert "sess" in kept
    await later.wait()
    assert "sess" not in kept
