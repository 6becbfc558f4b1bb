"""Real aiortc ↔ the real server: media, events, interruption, and the ways a peer can come and go."""

from __future__ import annotations

import asyncio

import aiohttp
import numpy as np
import pytest
from aiortc import RTCPeerConnection

from media.opus import RATE
from pipelines.runtime import worker
from server.http.signaling.offer import REGISTRY
from server.transports.webrtc import ice
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud, picture_frame
from tests.patience import PATIENCE

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
COUNTING = " ".join(["one two three four five six seven eight nine ten eleven twelve"] * 6)
"""Sounds for 18 s: long enough to be stopped on a busy machine, too."""


def energy(samples: np.ndarray) -> float:
    return float(np.abs(samples.astype(float)).mean()) if len(samples) else 0.0


async def until_empty(app) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*app[REGISTRY]._tasks)


async def test_a_spoken_turn_is_answered_by_voice(serve):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello there"), llm=FakeModel("Hello to you too.")))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        completed = await peer.event("conversation.item.input_audio_transcription.completed")
        assert completed["transcript"] == "hello there"
        await peer.event("output_audio_buffer.started")
        await peer.event("output_audio_buffer.stopped")
        assert peer.events[0]["type"] == "session.created"
        assert (await peer.event("response.done"))["response"]["status"] == "completed"
        assert energy(peer.heard[-RATE * 2 :]) > 500
        latency = await peer.event("turn.latency")
        assert latency["voice_to_voice_ms"] == pytest.approx(sum(latency["parts"].values()), abs=5)


async def test_interrupting_stops_the_voice_and_answers_the_new_question(serve):
    llm = FakeModel(f"{COUNTING}.", "Okay.")
    url, _ = await serve(fake_engines(stt=FakeRecognizer("count please", "stop it"), llm=llm))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("output_audio_buffer.started")
        start = len(peer.heard)
        await peer.until(lambda: energy(peer.heard[start:]) > 500 and len(peer.heard) > start + RATE // 2)
        peer.say(TURN, RATE)
        truncated = await peer.event("conversation.item.truncated")
        heard = truncated["transcript"].split()
        assert 1 <= len(heard) < len(COUNTING.split())
        assert COUNTING.startswith(truncated["transcript"])
        await peer.event("output_audio_buffer.stopped")
        assert llm.requests[1].messages[-2].content == f"{truncated['transcript']} —"
        assert llm.requests[1].messages[-1].content == "stop it"
        statuses = [event["response"]["status"] for event in peer.named("response.done")]
        assert statuses[-1] == "completed"


async def test_a_defect_in_a_reply_is_told_as_its_end(serve):
    class Defective(FakeModel):
        async def stream(self, request):
            yield "One two three. "
            raise ZeroDivisionError

    url, _ = await serve(fake_engines(stt=FakeRecognizer("hello"), llm=Defective()))
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        response = (await peer.event("response.done"))["response"]
        assert (response["status"], response["status_details"]["error"]["code"]) == ("failed", "llm_failed")
        assert response["output"][0]["content"][0]["transcript"] == "One two three."
        await peer.event("output_audio_buffer.stopped")
        assert energy(peer.heard[-RATE:]) > 500


@pytest.mark.parametrize("kinds", [("audio",), ("video",), ("audio", "video")], ids="+".join)
@pytest.mark.parametrize("channel", [None, "anything"])
async def test_every_kind_of_offer_connects_and_flows(serve, kinds, channel):
    url, app = await serve()
    async with Peer(url, kinds=kinds, channel=channel) as peer:
        if "audio" in kinds:
            await peer.until(lambda: len(peer.heard) > RATE // 10)
        if "video" in kinds:
            await peer.show(lambda n: picture_frame(level=128, pts=n * 3000), lambda: len(peer.seen) >= 3)
            assert peer.seen[-1].width == 320
            assert 100 < peer.seen[-1].to_ndarray(format="gray").mean() < 156
        if channel is not None:
            assert (await peer.event("session.created"))["session"]["id"] == peer.answer["session_id"]
    await until_empty(app)


async def test_a_peer_that_hangs_up_frees_its_place(serve):
    url, app = await serve()
    async with Peer(url):
        assert len(app[REGISTRY]) == 1
    await until_empty(app)
    assert len(app[REGISTRY]) == 0


async def test_a_peer_that_vanishes_in_mid_sentence_is_noticed(serve):
    llm = FakeModel(" ".join(["word"] * 200) + ".")
    url, app = await serve(fake_engines(stt=FakeRecognizer("hello"), llm=llm), peer_timeout=3.0)
    async with Peer(url) as peer:
        peer.say(TURN, RATE)
        await peer.event("output_audio_buffer.started")
        session = next(iter(app[REGISTRY]._sessions.values()))
        peer.vanish()
        await until_empty(app)
        assert session.ended_because.startswith("nothing has arrived")
        assert not session.session.conversation.responses.active


@pytest.fixture
async def lone_offer(loopback):
    """The body of an offer whose sender never connects."""
    pc = RTCPeerConnection(ice.configuration(()))
    pc.addTransceiver("audio")
    await pc.setLocalDescription(await pc.createOffer())
    yield {"sdp": pc.localDescription.sdp, "type": "offer"}
    await pc.close()


async def test_a_full_server_says_so(serve, lone_offer):
    url, _ = await serve(connect_timeout=PATIENCE, max_sessions=20)
    async with aiohttp.ClientSession() as http:
        statuses = [(await http.post(f"{url}/offer", json=lone_offer)).status for _ in range(25)]
        assert statuses == [200] * 20 + [503] * 5
        assert (await http.get(f"{url}/readyz")).status == 503


async def test_offers_that_never_connect_are_all_freed(serve, lone_offer):
    url, app = await serve(connect_timeout=1.0, max_sessions=20)
    async with aiohttp.ClientSession() as http:
        assert {(await http.post(f"{url}/offer", json=lone_offer)).status for _ in range(10)} == {200}
        await until_empty(app)
        assert len(app[REGISTRY]) == 0
        assert (await http.get(f"{url}/readyz")).status == 200


async def test_shutdown_ends_sessions_politely(serve):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        await app[REGISTRY].close_all(2.0)
        await peer.until(lambda: peer.pc.connectionState == "closed")
        async with aiohttp.ClientSession() as http:
            response = await http.post(f"{url}/offer", json={"sdp": peer.pc.localDescription.sdp, "type": "offer"})
            assert response.status == 503


async def test_client_events(serve):
    url, _ = await serve(fake_engines(llm=FakeModel("Hi there.", f"{COUNTING}.")))
    async with Peer(url) as peer:
        await peer.event("session.created")
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
        peer.send({"type": "conversation.item.create", "item": item})
        peer.send({"type": "response.create"})
        assert (await peer.event("response.done"))["response"]["status"] == "completed"
        await peer.event("output_audio_buffer.stopped")
        peer.send({"type": "response.create"})
        await peer.event("output_audio_buffer.started", 2)
        peer.send({"type": "response.cancel"})
        await peer.event("conversation.item.truncated")
        peer.send({"type": "response.cancel", "event_id": "mine"})
        error = (await peer.event("error"))["error"]
        assert error["code"] == "response_cancel_not_active"
        assert error["event_id"] == "mine"


async def test_engines_know_whose_answer_it_is_when_the_client_asks_for_it(serve):
    asked: list[str] = []

    class Whose(FakeModel):
        async def stream(self, request):
            asked.append(worker.session.get())
            yield "Yes. "

    url, _ = await serve(fake_engines(llm=Whose()))
    async with Peer(url) as one, Peer(url) as other:
        for peer in (one, other, one):
            await peer.event("session.created")
            done = len(peer.named("response.done"))
            peer.send({"type": "response.create"})
            await peer.event("response.done", done + 1)
        ids = [peer.answer["session_id"] for peer in (one, other, one)]
    assert asked == ids


@pytest.mark.parametrize(
    ("message", "code", "named"),
    [
        ("{", "invalid_json", "JSON"),
        ("[]", "invalid_json", "JSON"),
        ("{}", "unknown_event", "type"),
        ('{"type": "session.destroy"}', "unknown_event", "session.update"),
        ('{"type": "conversation.item.create", "item": {"type": "message", "role": "king"}}', "invalid_value", "role"),
        ('{"type": "session.update", "session": {"audio": {"output": {"speed": 9}}}}', "invalid_value", "speed"),
        ('{"type": "input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", "commit"),
    ],
)
async def test_bad_client_events_get_one_error_and_change_nothing(serve, message, code, named):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        before = next(iter(app[REGISTRY]._sessions.values())).session.conversation.settings
        peer.send(message)
        error = (await peer.event("error"))["error"]
        assert error["code"] == code
        assert named in f"{error.get('param')} {error['message']}"
        assert next(iter(app[REGISTRY]._sessions.values())).session.conversation.settings == before


async def test_session_update_changes_what_it_names_and_echoes_all(serve):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        detection = {"type": "server_vad", "silence_duration_ms": 400}
        audio = {"input": {"turn_detection": detection}, "output": {"voice": "other", "speed": 1.5}}
        peer.send({"type": "session.update", "session": {"type": "realtime", "instructions": "Sing.", "audio": audio}})
        session = (await peer.event("session.updated"))["session"]
        assert session["instructions"] == "Sing."
        assert session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 400
        assert session["audio"]["input"]["turn_detection"]["prefix_padding_ms"] == 300
        assert (session["audio"]["output"]["voice"], session["audio"]["output"]["speed"]) == ("other", 1.5)
