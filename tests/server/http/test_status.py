"""``GET /v1/status``, going on with a conversation by ``resume``, and what is told without room or engines."""

from __future__ import annotations

import aiohttp
import pytest

from media.aiortc_internals.ports import NoPortError
from pipelines.models.fetches import Fetch
from pipelines.voice.history import Item
from server.engines.choices import Choice
from server.engines.quality import advice, quality_of
from server.http.lobby import Arrivals, create_lobby
from server.http.openapi.shapes import Error
from server.http.openapi.status_shapes import ShortStatus, Status
from server.http.signaling.offer import REGISTRY
from server.http.web_server import WebServer
from server.settings import load_settings
from server.stores import model_store
from server.transports.webrtc.connection import Connection
from tests.conftest import fake_engines
from tests.fakes.peer import Peer
from tests.server.transports.test_offers_and_ice import AUDIO

KEY = {"Authorization": "Bearer a-key-for-this-test"}


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_the_status_tells_everybody_little_and_the_key_everything(serve, http):
    url, _ = await serve(api_key="a-key-for-this-test", max_sessions=3, recordings="/tmp", recording_mb=7)
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Origin": "https://elsewhere.example"}):
        response = await http.get(f"{url}/v1/status", headers=headers)
        told = await response.json()
        ShortStatus.model_validate(told)
        assert (response.status, told["auth_required"], told["ready"]) == (200, True, True)
    told = await (await http.get(f"{url}/v1/status", headers=KEY)).json()
    Status.model_validate(told)
    assert told["limits"] == {"max_sessions": 3, "free_sessions": 3, "max_viewers": 4}
    assert told["recording"] == {"allowed": True, "max_minutes": 60.0, "max_mb": 7}
    assert {"id": "square", "name": "square", "language": "en"} in told["voices"]
    assert told["pipelines"][0]["id"] == told["pipeline"] == "voice-assistant"
    assert "read-aloud" not in [one["id"] for one in told["pipelines"]], "that is no conversation"
    assert not any(one["available"] for one in told["detectors"])
    assert all(one["reason"] for one in told["detectors"])


async def test_under_a_foreign_name_the_status_tells_little(serve, http):
    url, _ = await serve()
    told = await (await http.get(f"{url}/v1/status", headers={"Host": "evil.test"})).json()
    ShortStatus.model_validate(told)
    Status.model_validate(await (await http.get(f"{url}/v1/status")).json())


async def test_a_new_connection_goes_on_with_the_conversation(serve):
    url, app = await serve(max_sessions=1)

    class Again(Peer):
        def __init__(self, url: str, resume: str) -> None:
            super().__init__(url)
            self.resume = resume

        async def _signal(self, offer):
            return await super()._signal({**offer, "resume": self.resume})

    async with Peer(url) as old:
        first = old.answer["session_id"]
        assert old.answer["resumed"] is False
        conversation = app[REGISTRY].find(first).session.conversation
        conversation.add(Item("said", "user", "My name is Ada."))
        at_first, conversation.settings.instructions = conversation.settings.instructions, "Be brief."
        async with Again(url, first) as new:
            assert new.answer["resumed"] is True
            assert new.answer["session_id"] != first
            goes_on = app[REGISTRY].find(new.answer["session_id"]).session.conversation
            assert [item.text for item in goes_on.history.items] == ["My name is Ada."]
            assert goes_on.settings.instructions == "Be brief."
            await new.event("session.created")
            new.send({"type": "session.update", "session": {"instructions": None}})
            updated = await new.event("session.updated")
            assert updated["session"]["instructions"] == at_first != "Be brief.", "null: as the server has it"


@pytest.mark.parametrize(
    ("problem", "status"), [(NoPortError("no port of ice_port_range is free"), 503), (KeyError("a defect"), 500)]
)
async def test_a_conversation_that_could_not_go_on_goes_on_the_next_time(serve, http, monkeypatch, problem, status):
    """The ports of the range may be those of the connection that has just been given up."""
    url, app = await serve()
    answer = Connection.answer

    async def fails(*_: object) -> str:
        monkeypatch.setattr(Connection, "answer", answer)
        raise problem

    async with Peer(url) as old:
        first = old.answer["session_id"]
        app[REGISTRY].find(first).session.conversation.add(Item("said", "user", "My name is Ada."))
        monkeypatch.setattr(Connection, "answer", fails)
        offer = {"sdp": AUDIO, "type": "offer", "resume": first}
        assert (await http.post(f"{url}/offer", json=offer)).status == status
        again = await (await http.post(f"{url}/offer", json=offer)).json()
        assert again["resumed"] is True
        goes_on = app[REGISTRY].find(again["session_id"]).session.conversation
        assert [item.text for item in goes_on.history.items] == ["My name is Ada."]


async def test_what_is_not_known_any_more_begins_anew(serve, http):
    url, _ = await serve()
    async with Peer(url) as peer:
        offer = {"sdp": peer.pc.localDescription.sdp, "type": "offer", "resume": "sess_unknown"}
        answer = await (await http.post(f"{url}/offer", json=offer)).json()
        assert answer["resumed"] is False
        response = await http.post(f"{url}/offer", json={**offer, "resume": 7})
        assert (response.status, (await response.json())["error"]["param"]) == (400, "resume")


@pytest.mark.parametrize(("places", "words"), [(1, "the only place is taken"), (2, "all 2 places are taken")])
async def test_who_finds_no_place_is_told_how_many_there_are(serve, http, places, words):
    url, _ = await serve(max_sessions=places)
    for _ in range(places):
        assert (await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})).status == 200
    response = await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})
    body = await response.json()
    Error.model_validate(body)
    error = body["error"]
    assert (response.status, error["code"], error["message"]) == (503, "server_full", words)
    assert (error["places"], str(error["retry_after"])) == (places, response.headers["Retry-After"])


async def test_a_server_that_loads_says_how_far_it_has_come_and_hands_over(loopback, http):
    settings = load_settings({"port": 0})
    arrivals = Arrivals(model_store(settings).catalogue)
    server, engines = WebServer(create_lobby(settings, arrivals), settings), fake_engines()
    try:
        await server.start()
        arrivals(Fetch("whisper-base", "fetching", done=62, total=100))
        arrivals(Fetch("piper-en_US-joe-medium", "waiting"))
        arrivals(Fetch("moonshine-tiny-en", "arrived"))
        assert (await http.get(server.url)).status == 200, "the page is there"
        assert (await http.get(f"{server.url}/healthz")).status == 200
        assert (await http.get(f"{server.url}/readyz")).status == 503
        coming = [
            {"engine": "stt", "name": "whisper-base", "percent": 62},
            {"engine": "tts", "name": "piper-en_US-joe-medium", "percent": None},
        ]
        told = await (await http.get(f"{server.url}/v1/status")).json()
        assert (told["ready"], told["warming_up"]) == (False, coming)
        response = await http.post(f"{server.url}/offer", json={"sdp": AUDIO, "type": "offer"})
        body = await response.json()
        Error.model_validate(body)
        assert (response.status, body["error"]["code"], body["error"]["progress"]) == (503, "warming_up", coming)
        assert "whisper-base 62 %, piper-en_US-joe-medium" in body["error"]["message"]
        assert response.headers["Retry-After"] == str(body["error"]["retry_after"])

        from server.http.app import create_app

        await server.hand_over(create_app(settings, engines))
        Status.model_validate(await (await http.get(f"{server.url}/v1/status")).json())
    finally:
        await server.close()
        await engines.close()


def test_how_good_an_engine_is_follows_from_its_model():
    models = model_store(load_settings({})).catalogue.models

    def word(stage: str, engine: str) -> str:
        return quality_of(Choice(stage, engine, "cpu", ""), models)

    assert [word("stt", name) for name in ("pocketsphinx", "moonshine-tiny-en + whisper-base", "whisper-small.en")] == [
        "basic",
        "good",
        "best",
    ]
    assert [word("llm", name) for name in ("starter", "smollm2-360m-instruct", "llama3.2:3b")] == [
        "basic",
        "good",
        "best",
    ]
    assert word("llm", "llama.cpp smollm2-135m-instruct-gguf, starter first") == "basic", (
        "as it is called while it serves"
    )
    voices = ("espeak-ng", "none", "piper en_US-joe-medium")
    assert [word("tts", name) for name in voices] == ["basic", "basic", "good"]


def test_what_is_advised_is_what_helps_most():
    models = model_store(load_settings({})).catalogue.models
    rows = [Choice("stt", "pocketsphinx", "cpu", ""), Choice("llm", "starter", "cpu", "")]
    assert "visavis models pull" in advice({"stt": "basic", "llm": "basic"}, rows, models)
    assert "--llm-url" in advice({"stt": "good", "llm": "basic"}, rows, models)
    assert advice({"stt": "good", "llm": "best"}, rows, models) is None
    coming = [Choice("stt", "pocketsphinx", "cpu", "", fetching=(Fetch("whisper-base", "fetching"),))]
    assert "whisper-base is on its way" in advice({"stt": "basic"}, coming, models)
