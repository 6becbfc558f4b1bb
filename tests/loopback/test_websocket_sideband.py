"""Other clients of a running session: they see its events, have a say, and leave it alone when they go."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import numpy as np
import pytest

from media.opus import RATE
from server.http.signaling.offer import REGISTRY
from server.sessions import MOST_SIDEBANDS
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud
from tests.fakes.socket_client import DELTA, SocketClient
from tests.loopback.test_calls import CALLS, Caller

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}


def name_of(caller: Caller) -> str:
    """The call's, as clients take it from its location."""
    name = caller.location.removeprefix(f"{CALLS}/")
    assert name.startswith("rtc_")
    return name


async def test_a_call_is_watched_and_controlled(serve):
    model = FakeModel("Noon.", "Ahoy.")
    url, app = await serve(fake_engines(stt=FakeRecognizer("what is the time"), llm=model))
    async with Caller(url) as caller:
        await caller.event("session.created")
        async with SocketClient(url, f"call_id={name_of(caller)}") as sideband:
            created = await sideband.event("session.created")
            assert created["session"]["id"] == caller.named("session.created")[0]["session"]["id"]
            caller.say(np.concatenate([loud(0.8), np.zeros(RATE, np.int16)]), RATE)
            await sideband.event("output_audio_buffer.stopped")
            await caller.event("output_audio_buffer.stopped")
            told = [kind for kind in sideband.types() if kind in {event["type"] for event in caller.events}]
            assert told == sideband.types()
            assert "conversation.item.input_audio_transcription.completed" in told
            assert not sideband.named(DELTA)

            wish = {"type": "realtime", "output_modalities": ["text"]}
            await sideband.send({"type": "session.update", "session": wish})
            assert (await caller.event("session.updated"))["session"]["output_modalities"] == ["text"]
            await sideband.send({"type": "conversation.item.create", "item": HELLO}, {"type": "response.create"})
            assert (await caller.event("response.output_text.done"))["text"] == "Ahoy."
            await sideband.send({"type": "input_audio_buffer.append", "audio": "AAAA"})
            assert (await sideband.event("error"))["error"]["code"] == "unsupported_event"
            assert not caller.named("error")
        caller.send({"type": "conversation.item.retrieve", "item_id": "nothing"})
        await caller.event("error")
        assert len(app[REGISTRY]) == 1
        (session,) = app[REGISTRY]._sessions.values()
        readers, tasks = len(session.session.events._channels), set(app[REGISTRY]._tasks)
        async with SocketClient(url, f"call_id={session.id}") as sideband:
            await sideband.event("session.created")
            assert len(session.session.events._channels) == readers + 1
            tasks = app[REGISTRY]._tasks - tasks
        if tasks:
            await asyncio.wait(tasks)
        assert len(session.session.events._channels) == readers


async def test_null_means_the_same_to_all_clients_of_a_session(serve):
    """That which the session began with, also to one that comes when it has been changed."""
    url, _ = await serve()
    async with Caller(url) as caller:
        first = (await caller.event("session.created"))["session"]["instructions"]
        caller.send({"type": "session.update", "session": {"type": "realtime", "instructions": "Be a pirate."}})
        assert (await caller.event("session.updated"))["session"]["instructions"] == "Be a pirate."
        async with SocketClient(url, f"call_id={name_of(caller)}") as sideband:
            await sideband.event("session.created")
            await sideband.send({"type": "session.update", "session": {"type": "realtime", "instructions": None}})
            assert (await sideband.event("session.updated"))["session"]["instructions"] == first != "Be a pirate."


async def test_the_end_of_a_call_ends_who_looks_on(serve):
    url, app = await serve()
    async with Caller(url) as caller:
        name = name_of(caller)
        async with SocketClient(url, f"call_id={name}") as sideband:
            await sideband.event("session.created")
            async with aiohttp.ClientSession() as http, http.post(f"{url}{CALLS}/{name}/hangup") as response:
                assert response.status == 200
            await sideband.closed()
            assert sideband.events[-1]["error"]["code"] == "session_ended"
            assert sideband.close_reason == "the call was hung up over HTTP"
    assert not app[REGISTRY]._sidebands


async def test_no_more_look_on_than_may(serve):
    url, _ = await serve()
    async with SocketClient(url) as client, AsyncExitStack() as stack:
        created = await client.event("session.created")
        query = f"call_id={created['session']['id']}"
        for _ in range(MOST_SIDEBANDS):
            sideband = await stack.enter_async_context(SocketClient(url, query))
            await sideband.event("session.created")
        with pytest.raises(aiohttp.WSServerHandshakeError) as error:
            async with SocketClient(url, query):
                pass
        assert error.value.status == 429
        await client.send({"type": "conversation.item.create", "item": HELLO}, {"type": "response.create"})
        await client.event("response.done")
        await sideband.event("response.done")
        assert client.named(DELTA)
        assert not sideband.named(DELTA)
        assert not sideband.named("output_audio_buffer.started")


async def test_sessions_of_offers_are_joined_by_their_own_names(serve):
    url, _ = await serve()
    async with Peer(url) as peer, SocketClient(url, f"call_id={peer.answer['session_id']}") as sideband:
        await sideband.event("session.created")


async def test_another_client_of_a_socket_sees_and_changes_the_formats_of_its_sound(serve):
    def formats(event):
        return [event["session"]["audio"][way]["format"]["type"] for way in ("input", "output")]

    url, _ = await serve()
    async with SocketClient(url) as client:
        name = (await client.event("session.created"))["session"]["id"]
        pcmu = {"format": {"type": "audio/pcmu"}}
        await client.send({"type": "session.update", "session": {"audio": {"input": pcmu, "output": pcmu}}})
        await client.event("session.updated")
        async with SocketClient(url, f"call_id={name}") as sideband:
            assert formats(await sideband.event("session.created")) == ["audio/pcmu", "audio/pcmu"]
            pcma = {"format": {"type": "audio/pcma"}}
            await sideband.send({"type": "session.update", "session": {"audio": {"output": pcma}}})
            assert formats(await sideband.event("session.updated")) == ["audio/pcmu", "audio/pcma"]
            assert formats(client.named("session.updated")[0]) == ["audio/pcmu", "audio/pcmu"]
