"""OpenAI's Live over a peer connection: made and hung up by the stock client, every event one of its strict types."""

from __future__ import annotations

from typing import Any

import aiohttp
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI

from media.opus import RATE
from server.http.signaling.live import LIVE
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.live_shapes import check
from tests.fakes.peer import Peer, loud

KEY = "a-key-for-this-test"


class LivePeer(Peer):
    """A peer whose session the ``openai`` package makes; ``wishes`` are those of the session beside its model."""

    def __init__(self, url: str, wishes: dict[str, Any] | None = None, key: str = "any-key", **options: Any) -> None:
        super().__init__(url, **options)
        self.client = AsyncOpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0)
        self.wishes: Any = {"model": "gpt-live-1", **(wishes or {})}
        self.id = ""

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        transport: Any = {"type": "webrtc", "sdp": offer["sdp"]}
        made = await self.client.live.create(session=self.wishes, transport=transport)
        self.id = made.session.id
        assert made.transport.type == "webrtc"
        return {"sdp": made.transport.sdp, "type": "answer"}

    async def close(self) -> None:
        await super().close()
        await self.client.close()

    async def closed(self) -> dict[str, Any]:
        event = await self.event("session.closed")
        await self.until(lambda: self.channel.readyState == "closed")
        for event in self.events:
            check(event)
        assert self.events[-1] is event
        return event

    def transcript(self, kind: str) -> str:
        return "".join(event["delta"] for event in self.named(f"session.{kind}_transcript.delta"))


async def test_a_spoken_turn_and_the_end(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("what is the time"), llm=FakeModel("It is noon.")))
    async with LivePeer(url, {"instructions": "Be brief."}) as peer:
        started = await peer.event("session.started")
        assert peer.events[0] is started
        assert (started["session"]["id"], started["session"]["instructions"]) == (peer.id, "Be brief.")
        peer.say(loud(1.0), RATE)
        await peer.until(lambda: peer.transcript("output").endswith("noon."))
        assert (peer.transcript("input"), peer.transcript("output")) == ("what is the time", "It is noon.")
        assert np.abs(peer.heard.astype(int)).max() > 1000
        peer.send({"type": "thinking.nonsense"})
        assert (await peer.event("error"))["error"]["code"] == "unknown_event"
        peer.send({"type": "session.close", "event_id": "bye"})
        assert (await peer.closed())["reason"] == "close_requested"


async def test_a_muted_microphone_is_not_heard_over_the_connection(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello"), llm=FakeModel("Hi.")))
    async with LivePeer(url, {"delegation": {"type": "responses", "responses": {"model": "gpt-5"}}}) as peer:
        await peer.event("session.started")
        peer.send({"type": "session.input_audio.mute"})
        await peer.event("session.input_audio.muted")
        await peer.say(loud(1.0), RATE).ended.wait()
        peer.send({"type": "response.item.create", "item": {"role": "user", "content": "Hello?"}})
        peer.send({"type": "response.create"})
        await peer.until(lambda: peer.transcript("output") == "Hi.")
        assert peer.transcript("input") == ""
        nested = [event["event"]["type"] for event in peer.named("response.event")]
        assert nested[0] == "response.created" and nested[-1] == "response.completed"


async def test_it_is_hung_up_over_http(serve):
    url, _ = await serve()
    async with LivePeer(url) as peer:
        await peer.event("session.started")
        await peer.client.live.sessions.hangup(peer.id)
        assert (await peer.closed())["reason"] == "close_requested"
        assert not peer.named("error")
        with pytest.raises(openai.NotFoundError, match="there is no session"):
            await peer.client.live.sessions.hangup("sess_none")


async def test_a_server_that_ends_tells_why(serve):
    url, app = await serve()
    async with LivePeer(url) as peer:
        await peer.event("session.started")
        app[REGISTRY].close(peer.id, "the server is shutting down")
        assert (await peer.closed())["reason"] == "connection_lost"
        assert "shutting down" in peer.named("error")[0]["error"]["message"]


async def test_a_client_secret_makes_sessions_and_ends_its_own(serve):
    url, _ = await serve(api_key=KEY)
    headers = {"Authorization": f"Bearer {KEY}"}
    body = {"session": {"type": "realtime", "instructions": "Be bound."}}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(f"{url}/v1/realtime/client_secrets", json=body) as answer:
            secret = (await answer.json())["value"]
        async with http.post(f"{url}/v1/realtime/client_secrets", json={}) as answer:
            other = (await answer.json())["value"]
    async with LivePeer(url, key=secret) as peer:
        assert (await peer.event("session.started"))["session"]["instructions"] == "Be bound."
        async with AsyncOpenAI(api_key=other, base_url=f"{url}/v1", max_retries=0) as stranger:
            with pytest.raises(openai.PermissionDeniedError):
                await stranger.live.sessions.hangup(peer.id)
        await peer.client.live.sessions.hangup(peer.id)
        await peer.closed()
    async with AsyncOpenAI(api_key="wrong", base_url=f"{url}/v1", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.live.sessions.hangup(peer.id)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ([], None),
        ({"transport": {"type": "webrtc", "sdp": "v=0"}}, "session"),
        ({"session": {}, "transport": {"type": "webrtc", "sdp": "v=0"}}, "session.model"),
        ({"session": {"model": "m", "store": True}, "transport": {"type": "webrtc", "sdp": "v=0"}}, "session.store"),
        ({"session": {"model": "m"}, "transport": {"type": "sip", "sdp": "v=0"}}, "transport.type"),
        ({"session": {"model": "m"}, "transport": {"type": "webrtc", "sdp": "v=0"}}, "transport.sdp"),
        ({"session": {"model": "m"}, "transport": {"type": "webrtc", "sdp": ""}}, "transport.sdp"),
        (
            {
                "session": {"model": "m", "audio": {"output": {"voice": "x", "speed": 2}}},
                "transport": {"type": "webrtc", "sdp": "v=0"},
            },
            "session.audio.output.speed",
        ),
    ],
)
async def test_a_body_that_cannot_be_served_is_refused_by_its_field(serve, body, param):
    url, app = await serve()
    async with aiohttp.ClientSession() as http, http.post(url + LIVE, json=body) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["param"]) == (400, param), error
        assert param is None or error["message"].startswith(param)
    assert len(app[REGISTRY]) == 0


@pytest.mark.parametrize(
    ("delegation", "param"),
    [
        ({"type": "decisions", "decisions": {}}, "session.delegation.decisions"),
        ({"type": "responses"}, "session.delegation.responses"),
    ],
)
async def test_a_delegation_that_cannot_be_makes_no_session(serve, delegation, param):
    url, app = await serve()
    peer = LivePeer(url, {"delegation": delegation})
    try:
        with pytest.raises(openai.BadRequestError) as refused:
            await peer.connect()
    finally:
        await peer.close()
    assert refused.value.param == param
    assert len(app[REGISTRY]) == 0


async def test_a_sideband_speaks_realtime_and_what_it_asks_aside_is_no_transcript(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Nobody hears this.", "Ahoy.")))
    async with LivePeer(url) as peer, aiohttp.ClientSession() as http:
        await peer.event("session.started")
        async with http.ws_connect(f"{url}/v1/realtime?call_id={peer.id}") as sideband:
            response = {"conversation": "none", "output_modalities": ["text"]}
            await sideband.send_json({"type": "response.create", "response": response})
            async for message in sideband:
                if message.json()["type"] == "response.done":
                    break
        peer.send({"type": "session.commentary.append", "content": "A ship.", "delegation_id": None})
        await peer.until(lambda: peer.transcript("output").endswith("Ahoy."))
        assert peer.transcript("output") == "Ahoy."
