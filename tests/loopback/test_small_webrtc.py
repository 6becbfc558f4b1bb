"""Calls as Pipecat's SmallWebRTC clients make them, by a real peer: start, offer, candidates, and a new connection."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest

from media.opus import RATE
from server.http.signaling.offer import REGISTRY
from server.resumption import KEPT_SECONDS
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import loud
from tests.fakes.pipecat_peer import PipecatPeer, asked, started
from tests.fakes.rtvi_shapes import check
from tests.patience import PATIENCE

CANDIDATES = re.compile(r"(?m)^a=(?:candidate:(.*)|end-of-candidates)\r\n")


async def test_a_spoken_turn_over_the_channel_of_pipecats_clients(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("what is the time"), llm=FakeModel("It is noon.")))
    async with PipecatPeer(url, path=await started(url), kinds=("audio", "video")) as peer:
        assert (await peer.ready())["id"] == "ready"
        peer.say(loud(1.0), RATE)
        await peer.event("bot-stopped-speaking")
        for event in peer.events:
            check(event)
        assert [event["data"]["text"] for event in peer.named("user-transcription")][-1] == "what is the time"
        assert peer.named("bot-output")[-1]["data"]["spoken_status"] == "completed"
        assert peer.named("metrics") and not peer.named("error")


async def test_settings_come_with_the_start_or_with_the_offer(serve):
    model = FakeModel("Aye.", "Oui.")
    url, _ = await serve(fake_engines(llm=model))
    path = await started(url, {"body": {"session": {"instructions": "Be a sailor."}, "mine": 1}, "other": True})
    async with PipecatPeer(url, path=path) as peer:
        assert (await peer.response("Ahoy?"))["text"] == "Aye."
    peer = PipecatPeer(url, path=path)
    peer.extra = {"requestData": {"session": {"instructions": "Be French."}}}
    async with peer:
        assert (await peer.response("Salut?"))["text"] == "Oui."
    assert [request.messages[0].content for request in model.requests] == ["Be a sailor.", "Be French."]


async def test_both_dialects_are_spoken_over_one_connection(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Hello both.")))
    async with PipecatPeer(url) as peer:
        await peer.ready()
        realtime: list[dict[str, Any]] = []
        done = asyncio.Event()
        channel = peer.pc.createDataChannel("oai-events")

        def take(text: str) -> None:
            realtime.append(json.loads(text))
            if realtime[-1]["type"] == "output_audio_buffer.stopped":
                done.set()

        channel.on("message", take)
        assert (await peer.response("Anybody?"))["text"] == "Hello both."
        await done.wait()
        kinds = [event["type"] for event in realtime]
        assert kinds[0] == "session.created" and "response.done" in kinds
        assert not [kind for kind in kinds if kind == "bot-output"]
        assert not peer.named("response.done")
        channel.send(json.dumps({"type": "nonsense"}))
        peer.say_message("nonsense", "mine")
        assert (await peer.event("error-response"))["id"] == "mine"
        assert peer.named("error") == []


async def test_a_new_connection_goes_on_with_the_conversation(serve):
    model = FakeModel("Nice to meet you, Anna.", "Anna.")
    url, app = await serve(fake_engines(llm=model))
    path = await started(url)
    async with PipecatPeer(url, path=path) as old:
        await old.ready()
        old.say_message("client-message", t="session.update", d={"session": {"instructions": "Remember names."}})
        await old.event("server-response")
        await old.response("I am Anna.")
        async with PipecatPeer(url, path=path, pc_id=old.pc_id) as new:
            assert new.pc_id != old.pc_id
            assert (await new.response("Who am I?"))["text"] == "Anna."
            await old.until(lambda: old.channel.readyState == "closed")
            assert not old.named("error") and not old.named("signalling"), "a farewell would send the client away"
            said = [(message.role, message.content) for message in model.requests[1].messages]
            assert said == [
                ("system", "Remember names."),
                ("user", "I am Anna."),
                ("assistant", "Nice to meet you, Anna."),
                ("user", "Who am I?"),
            ]
            assert app[REGISTRY].find(new.pc_id) is not None


async def test_the_conversation_survives_the_end_of_its_connection_for_a_while(serve):
    """As when the network was away for longer than the server waits; of what was being said, what was heard is kept."""
    long = " ".join(["One two three four five six seven eight nine ten"] * 6) + " seventeen."
    model = FakeModel(long, "Seventeen.")
    url, app = await serve(fake_engines(llm=model), max_sessions=1)
    path = await started(url)
    async with PipecatPeer(url, path=path) as old:
        await old.ready()
        old.say_message("send-text", content="Count.")
        await old.event("bot-tts-text", 3)
        app[REGISTRY].find(old.pc_id).close("nothing has arrived for 6 s")
        await old.until(lambda: old.channel.readyState == "closed")
    await _gone(app, old.pc_id)
    assert app[REGISTRY].goes_on(old.pc_id)
    async with PipecatPeer(url, path=path, pc_id=old.pc_id) as new:
        assert (await new.response("Go on."))["text"] == "Seventeen."
        (heard,) = (message.content for message in model.requests[1].messages if message.role == "assistant")
        assert heard.startswith("One two three") and "seventeen" not in heard
        assert not app[REGISTRY].goes_on(old.pc_id), "it is taken over once"
    assert KEPT_SECONDS >= 30


async def _gone(app: Any, session_id: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while app[REGISTRY].find(session_id) is not None:
            await asyncio.wait(app[REGISTRY]._tasks)


async def test_a_client_that_sends_the_assistant_away_is_not_remembered(serve):
    url, app = await serve()
    async with PipecatPeer(url) as peer:
        await peer.ready()
        peer.say_message("disconnect-bot")
        await peer.event("signalling")
        await peer.until(lambda: peer.channel.readyState == "closed")
        assert peer.named("error") == []
    await _gone(app, peer.pc_id)
    assert not app[REGISTRY].goes_on(peer.pc_id)


class Trickler(PipecatPeer):
    """Offers without candidates, and gives them later."""

    def __init__(self, url: str, *, again: bool = False) -> None:
        super().__init__(url, rewrite=lambda sdp: CANDIDATES.sub("", sdp))
        self.again = again
        """Whether they come in a second offer instead of a PATCH."""

    async def _signal(self, offer: dict[str, Any]) -> dict[str, Any]:
        answer = await super()._signal(offer)
        if self.again:
            body = {"sdp": self.pc.localDescription.sdp, "type": "offer", "pc_id": self.pc_id, "restart_pc": False}
            status, second = await self.request("POST", body)
            assert (status, second) == (200, answer)
        else:
            found = [match[1] for match in CANDIDATES.finditer(self.pc.localDescription.sdp) if match[1]]
            candidates = [{"candidate": f"candidate:{one}", "sdp_mid": "0", "sdp_mline_index": 0} for one in found]
            candidates.append({"candidate": "", "sdp_mid": "0", "sdp_mline_index": 0})
            status, told = await self.request("PATCH", {"pc_id": self.pc_id, "candidates": candidates})
            assert (status, told) == (200, {"status": "success"})
        return {**answer, "sdp": CANDIDATES.sub("", answer["sdp"])}


@pytest.mark.parametrize("again", [False, True])
async def test_candidates_come_after_the_offer_or_with_it_once_more(serve, again):
    url, _ = await serve()
    async with Trickler(url, again=again) as peer:
        await peer.ready()


async def test_another_offer_for_the_same_connection_asks_for_a_new_one(serve):
    """501 is no 4xx: the client drops its connection and offers with restart_pc."""
    url, app = await serve()
    async with PipecatPeer(url) as peer:
        await peer.ready()
        other = re.sub(r"(?m)^a=ice-ufrag:.*$", "a=ice-ufrag:other", peer.pc.localDescription.sdp)
        body = {"sdp": other, "type": "offer", "pc_id": peer.pc_id, "restart_pc": False}
        status, answer = await peer.request("POST", body)
        assert (status, answer["error"]["code"]) == (501, "renegotiation_unsupported")
        assert "restart_pc" in answer["error"]["message"]
        assert len(app[REGISTRY]) == 1
        await peer.response("Still there?")


OFFER = {"sdp": "v=0", "type": "offer"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("POST", "/start", [], 400, "the body"),
        ("POST", "/start", {"transport": "daily"}, 400, "transport"),
        ("POST", "/start", {"createDailyRoom": True}, 400, "transport"),
        ("POST", "/start", {"body": 5}, 400, "body"),
        ("POST", "/start", {"body": {"session": {"instructions": 5}}}, 400, "session.instructions"),
        ("POST", "/api/offer", [], 400, "the body"),
        ("POST", "/api/offer", OFFER, 400, "sdp"),
        ("POST", "/api/offer", {**OFFER, "type": "answer"}, 400, "type"),
        ("POST", "/api/offer", {**OFFER, "pc_id": 5}, 400, "pc_id"),
        ("POST", "/api/offer", {**OFFER, "pc_id": "x" * 101}, 400, "pc_id"),
        ("POST", "/api/offer", {**OFFER, "restart_pc": "yes"}, 400, "restart_pc"),
        ("POST", "/api/offer", {**OFFER, "requestData": []}, 400, "requestData"),
        ("POST", "/api/offer", {**OFFER, "requestData": {"session": 1}}, 400, "session"),
        ("POST", "/sessions/nobody/api/offer", OFFER, 404, "session_id"),
        ("PATCH", "/sessions/nobody/api/offer", {}, 404, "session_id"),
        ("PATCH", "/api/offer", {"pc_id": "nobody", "candidates": []}, 404, "pc_id"),
        ("PATCH", "/api/offer", {}, 404, "pc_id"),
    ],
)
async def test_what_is_no_offer_is_refused_with_the_field(serve, method, path, body, status, param):
    url, app = await serve()
    got, answer = await asked(url, method, path, body)
    assert (got, answer["error"]["param"]) == (status, param), answer
    assert not len(app[REGISTRY])


@pytest.mark.parametrize(
    ("candidates", "param"),
    [
        (5, "candidates"),
        (["x"], "candidates.0"),
        ([{"candidate": None}], "candidates.0.candidate"),
        ([{"candidate": "", "sdp_mid": 0}], "candidates.0.sdp_mid"),
        ([{"candidate": "", "sdp_mline_index": True}], "candidates.0.sdp_mline_index"),
        ([{"candidate": "candidate:1 1 udp 1 127.0.0.1 9 typ host", "sdp_mid": "no"}], "mid"),
    ],
)
async def test_what_is_no_candidate_is_refused_with_the_field(serve, candidates, param):
    url, _ = await serve()
    async with PipecatPeer(url) as peer:
        status, answer = await peer.request("PATCH", {"pc_id": peer.pc_id, "candidates": candidates})
        assert (status, answer["error"]["param"]) == (400, param)
        await peer.ready()


async def test_a_connection_belongs_to_the_start_it_began_with(serve):
    url, app = await serve()
    async with PipecatPeer(url, path=await started(url)) as peer:
        other = await started(url)
        status, _ = await asked(url, "PATCH", other, {"pc_id": peer.pc_id, "candidates": []})
        assert status == 404
        async with PipecatPeer(url, path=other, pc_id=peer.pc_id) as stranger:
            await stranger.ready()
            assert len(app[REGISTRY]) == 2, "the other one goes on undisturbed"
            await peer.ready()


async def test_a_server_that_is_full_takes_a_new_connection_for_an_old_one(serve):
    url, app = await serve(max_sessions=1)
    async with PipecatPeer(url) as old:
        status, answer = await asked(url, "POST", "/api/offer", {"sdp": old.pc.localDescription.sdp, "type": "offer"})
        assert (status, answer["error"]["code"]) == (503, "server_full")
        status, answer = await asked(url, "POST", "/start")
        assert (status, answer["error"]["code"]) == (503, "server_full")
        async with PipecatPeer(url, pc_id=old.pc_id) as new:
            await new.ready()
            assert app[REGISTRY].find(new.pc_id) is not None


async def test_the_start_names_the_servers_for_ice(serve):
    url, _ = await serve(
        ice_servers=({"urls": "stun:127.0.0.1:9"}, {"urls": "turn:127.0.0.1:9", "username": "me", "credential": "it"})
    )
    _, answer = await asked(url, "POST", "/start", {"enableDefaultIceServers": True, "transport": "webrtc"})
    assert answer["iceConfig"] == {
        "iceServers": [
            {"urls": ["stun:127.0.0.1:9"]},
            {"urls": ["turn:127.0.0.1:9"], "username": "me", "credential": "it"},
        ]
    }


@pytest.mark.parametrize("path", ["/start", "/api/offer", "/sessions/x/api/offer"])
async def test_the_key_is_asked_for_and_other_pages_may_ask_first(serve, path):
    origin = "https://app.example"
    url, _ = await serve(api_key="a-key-of-mine", allowed_origins=(origin,))
    assert (await asked(url, "POST", path, {}))[0] == 401
    assert (await asked(url, "POST", path, {}, Authorization="Bearer a-key-of-mine"))[0] != 401
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    async with aiohttp.ClientSession() as http, http.options(url + path, headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()


async def test_a_client_secret_reaches_what_it_has_started(serve):
    key = "a-key-of-mine"
    model = FakeModel("Aye.")
    url, app = await serve(fake_engines(llm=model), api_key=key)

    async def secret() -> dict[str, str]:
        wish = {"session": {"instructions": "Be a sailor."}}
        status, made = await asked(url, "POST", "/v1/realtime/client_secrets", wish, Authorization=f"Bearer {key}")
        assert status == 200
        return {"Authorization": f"Bearer {made['value']}"}

    mine, other = await secret(), await secret()
    status, start = await asked(url, "POST", "/start", {}, **mine)
    assert status == 200
    path = f"/sessions/{start['sessionId']}/api/offer"
    async with PipecatPeer(url, path=path, headers=mine) as peer:
        assert (await peer.response("Ahoy?"))["text"] == "Aye."
        assert model.requests[0].messages[0].content == "Be a sailor."
        nothing = {"pc_id": peer.pc_id, "candidates": []}
        assert (await asked(url, "PATCH", path, nothing, **mine))[0] == 200
        assert (await asked(url, "PATCH", path, nothing, **other))[0] == 403
        assert (await asked(url, "PATCH", "/api/offer", nothing, **other))[0] == 404
        async with PipecatPeer(url, pc_id=peer.pc_id, headers=other) as stranger:
            await stranger.ready()
            assert app[REGISTRY].find(peer.pc_id) is not None, "it goes on undisturbed"


async def test_an_expired_secret_goes_on_with_its_conversation_and_begins_no_other(serve, monkeypatch):
    key = "a-key-of-mine"
    url, _ = await serve(api_key=key)
    wish = {"expires_after": {"seconds": 10}}
    _, made = await asked(url, "POST", "/v1/realtime/client_secrets", wish, Authorization=f"Bearer {key}")
    mine = {"Authorization": f"Bearer {made['value']}"}
    _, start = await asked(url, "POST", "/start", {}, **mine)
    path = f"/sessions/{start['sessionId']}/api/offer"
    async with PipecatPeer(url, path=path, headers=mine) as peer:
        monkeypatch.setattr("server.http.access.client_secrets.ClientSecret.state", lambda self, now: "expired")
        async with PipecatPeer(url, path=path, pc_id=peer.pc_id, headers=mine) as again:
            await again.ready()
            offer = {"sdp": peer.pc.localDescription.sdp, "type": "offer"}
            for more in ({}, {"pc_id": None}, {"pc_id": "sess_0123456789abcdef", "restart_pc": True}):
                status, answer = await asked(url, "POST", path, {**offer, **more}, **mine)
                assert (status, answer["error"]["code"]) == (401, "client_secret_expired")


async def test_a_new_connection_that_is_refused_leaves_the_old_one_alone(serve):
    url, app = await serve()
    async with PipecatPeer(url) as peer:
        await peer.response("Hello?")
        body = {"sdp": peer.pc.localDescription.sdp, "type": "offer", "pc_id": peer.pc_id, "restart_pc": True}
        wish = {"session": {"audio": {"input": {"format": {"type": "audio/pcmu"}}}}}
        status, _ = await asked(url, "POST", "/api/offer", {**body, "requestData": wish})
        assert status == 400
        assert app[REGISTRY].find(peer.pc_id) is not None
        await peer.response("Still there?", 2)
