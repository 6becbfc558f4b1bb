"""The stock ``openai`` package for Python as a Realtime client: WebSocket, calls and their control, client secrets."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import openai
import pytest

from media.opus import RATE
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.peer import Peer
from tests.patience import PATIENCE
from tests.server.http.rest.clients import client_of

HELLO: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
KEY = "a-long-secret"


async def event(connection: Any, kind: str) -> Any:
    """The next event of this type."""
    seen = []
    async with asyncio.timeout(PATIENCE):
        async for found in connection:
            seen.append(found.type)
            if found.type == kind:
                return found
    raise AssertionError(f"the connection ended without {kind}: {seen}")


class StockCaller(Peer):
    """A peer whose offer the ``openai`` package carries."""

    def __init__(self, client: openai.AsyncOpenAI, session: Any = openai.omit) -> None:
        super().__init__(str(client.base_url))
        self.client = client
        self.wishes = session
        self.call = ""

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        answer = await self.client.realtime.calls.create(sdp=offer["sdp"], session=self.wishes)
        self.call = answer.response.headers["Location"].rpartition("/")[2]
        return {"sdp": answer.text, "type": "answer"}


async def test_a_typed_conversation(serve):
    model = FakeModel("Good day.")
    url, _ = await serve(fake_engines(llm=model))
    async with client_of(url) as client, client.realtime.connect(model="gpt-realtime") as connection:
        await event(connection, "session.created")
        wishes: Any = {"type": "realtime", "instructions": "Speak like a sailor.", "output_modalities": ["text"]}
        await connection.session.update(session=wishes)
        assert (await event(connection, "session.updated")).session.instructions == "Speak like a sailor."
        await connection.response.cancel()
        assert (await event(connection, "error")).error.code == "response_cancel_not_active"
        await connection.conversation.item.create(item=HELLO)
        assert (await event(connection, "conversation.item.done")).item.content[0].text == "Hello?"
        await connection.response.create()
        assert (await event(connection, "response.output_text.done")).text == "Good day."
        assert (await event(connection, "response.done")).response.status == "completed"
    assert model.requests[0].messages[0].content == "Speak like a sailor."


async def test_events_that_the_service_has_not_are_told_to_who_asks(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Good day.")))
    async with client_of(url) as client:
        for asked in ({}, {"events": "all"}):
            async with client.realtime.connect(model="gpt-realtime", extra_query=asked) as connection:
                await connection.response.cancel()
                told = [await connection.recv() for _ in range(2)]
                kinds = ["session.created", "engine.status" if asked else "error"]
                assert [found.type for found in told] == kinds
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{url}/v1/realtime?model=any&events=none")
    assert refused.value.status == 400


@pytest.mark.parametrize("wishes", [openai.omit, {"type": "realtime", "instructions": "Speak like a sailor."}])
async def test_a_call_that_is_made_watched_and_hung_up(serve, wishes):
    model = FakeModel("Good day.")
    url, _ = await serve(fake_engines(llm=model))
    async with client_of(url) as client, StockCaller(client, wishes) as caller:
        assert caller.call.startswith("rtc_")
        async with client.realtime.connect(call_id=caller.call) as connection:
            await event(connection, "session.created")
            await connection.conversation.item.create(item=HELLO)
            await connection.response.create()
            seen = []
            async for told in connection:
                seen.append(told.type)
                if told.type == "output_audio_buffer.stopped":
                    break
            assert "response.output_audio.delta" not in seen
            await caller.event("output_audio_buffer.stopped")
            await caller.until(lambda: abs(caller.heard_since(-RATE)).mean() > 100)
            await client.realtime.calls.hangup(caller.call)
            await caller.until(lambda: caller.channel.readyState == "closed")
            async with asyncio.timeout(PATIENCE):
                async for _ in connection:  # ends with the call
                    pass
        with pytest.raises(openai.NotFoundError):
            await client.realtime.calls.hangup(caller.call)
    if wishes is not openai.omit:
        assert model.requests[0].messages[0].content == "Speak like a sailor."


async def test_a_secret_for_a_client(serve):
    model = FakeModel("Good day.")
    url, _ = await serve(fake_engines(llm=model), api_key=KEY)
    wishes: Any = {"type": "realtime", "instructions": "Speak like a sailor.", "output_modalities": ["text"]}
    async with client_of(url, KEY) as client:
        secret = await client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": 60}, session=wishes
        )
    assert secret.value.startswith("ek_")
    async with client_of(url, secret.value) as client, client.realtime.connect(model="gpt-realtime") as connection:
        assert (await event(connection, "session.created")).session.instructions == "Speak like a sailor."
        await connection.conversation.item.create(item=HELLO)
        await connection.response.create()
        assert (await event(connection, "response.output_text.done")).text == "Good day."
        with pytest.raises(openai.PermissionDeniedError):
            await client.realtime.client_secrets.create(session=wishes)
    assert model.requests[0].messages[0].content == "Speak like a sailor."
