"""Calls as OpenAI's Realtime clients make them, by a real peer: the offer alone or in a form, and the end over HTTP."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import numpy as np
import pytest

from media.opus import RATE
from server.http.signaling.offer import REGISTRY
from server.sessions import call_id
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud

CALLS = "/v1/realtime/calls"


class Caller(Peer):
    """A peer that calls as the service's own clients do; ``form`` is the session beside the offer."""

    def __init__(self, url: str, *, form: Any = None, headers: dict[str, str] | None = None, **options: Any) -> None:
        super().__init__(url, **options)
        self.form = form
        self.headers = headers or {}
        self.location = ""

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        body: Any = offer["sdp"].encode()
        headers = {"Content-Type": "application/sdp"}
        if self.form is not None:
            body, headers = aiohttp.FormData(default_to_multipart=True), {}
            body.add_field("sdp", offer["sdp"], content_type="application/sdp")
            body.add_field("session", json.dumps(self.form), content_type="application/json")
        url = self.url + CALLS
        headers |= self.headers
        async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as response:
            assert response.status == 201, await response.text()
            assert response.content_type == "application/sdp"
            self.location = response.headers["Location"]
            return {"sdp": await response.text(), "type": "answer"}


async def ended(url: str, method: str, path: str) -> int:
    async with aiohttp.ClientSession() as http, http.request(method, url + path) as response:
        return response.status


async def posted(url: str, data: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.post(url + CALLS, data=data, headers=headers) as response:
        return response.status, (await response.json())["error"]


@pytest.mark.parametrize(("method", "rest"), [("POST", "/hangup"), ("DELETE", "")])
async def test_a_call_is_made_and_hung_up(serve, method, rest):
    url, _ = await serve()
    async with Caller(url) as caller:
        created = await caller.event("session.created")
        assert caller.location == f"{CALLS}/{call_id(created['session']['id'])}"
        assert caller.location.startswith(f"{CALLS}/rtc_"), "clients insist on that"
        assert await ended(url, method, caller.location + rest) == 200
        await caller.until(lambda: caller.channel.readyState == "closed")
    assert await ended(url, method, f"{CALLS}/nobody{rest}") == 404


async def test_the_session_beside_the_offer_is_in_effect_from_the_start(serve):
    model = FakeModel("Ahoy.")
    url, _ = await serve(fake_engines(llm=model))
    form = {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "Speak like a sailor.",
        "output_modalities": ["text"],
        "audio": {"input": {"turn_detection": None}, "output": {"voice": "alloy"}},
    }
    async with Caller(url, form=form) as caller:
        session = (await caller.event("session.created"))["session"]
        assert session["instructions"] == "Speak like a sailor."
        assert session["output_modalities"] == ["text"]
        assert session["audio"]["input"]["turn_detection"] is None
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}
        caller.send({"type": "conversation.item.create", "item": item})
        caller.send({"type": "response.create"})
        assert (await caller.event("response.output_text.done"))["text"] == "Ahoy."
    assert model.requests[0].messages[0].content == "Speak like a sailor."


async def test_a_call_may_only_be_written_down(serve):
    model = FakeModel("Never.")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("take a note"), llm=model))
    async with Caller(url, form={"type": "transcription"}) as caller:
        assert (await caller.event("session.created"))["session"]["type"] == "transcription"
        caller.say(np.concatenate([loud(0.8), np.zeros(RATE, np.int16)]), RATE)
        heard = await caller.event("conversation.item.input_audio_transcription.completed")
        assert heard["transcript"] == "take a note"
        caller.send({"type": "response.create"})
        assert (await caller.event("error"))["error"]["code"] == "response_not_allowed"
    assert not model.requests


async def test_what_is_no_call_is_refused_with_the_field(serve):
    url, app = await serve()
    assert (await posted(url, b"v=0", **{"Content-Type": "text/plain"}))[0] == 415
    status, error = await posted(url, b"v=0\r\n", **{"Content-Type": "application/sdp"})
    assert (status, error["param"]) == (400, "sdp")
    lacking = aiohttp.FormData(default_to_multipart=True)
    lacking.add_field("session", "{}")
    assert (await posted(url, lacking))[1]["param"] == "sdp"

    offer = Peer(url)
    offer.pc.addTransceiver("audio")
    sdp = (await offer.pc.createOffer()).sdp
    await offer.close()
    for session, param in (
        ('{"output_modalities": ["smoke"]}', "session.output_modalities"),
        ('{"instructions": 5}', "session.instructions"),
        (
            '{"audio": {"output": {"format": {"type": "audio/pcmu"}}}}',
            "session.audio.output.format.type",
        ),
        ('"loud"', "session"),
        ("{", "session"),
    ):
        form = aiohttp.FormData(default_to_multipart=True)
        form.add_field("sdp", sdp)
        form.add_field("session", session)
        status, error = await posted(url, form)
        assert (status, error["param"]) == (400, param), error
    assert not len(app[REGISTRY])
