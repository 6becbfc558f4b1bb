"""Real data channels under a peer that sends what no browser would: the channel lives, or is closed and told."""

from __future__ import annotations

import asyncio
import json
import re

import numpy as np
import pytest

from media.aiortc_internals import sctp
from media.opus import RATE
from pipelines.voice.conversation import Conversation
from server.http.signaling.offer import REGISTRY
from server.transports.webrtc.data_channels import MOST_CHANNELS, EventChannels
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.hostile_events import hostile_messages
from tests.fakes.hostile_sctp import HostileSctp
from tests.fakes.peer import Peer, loud

HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}


def only_session(app):
    (session,) = app[REGISTRY]._sessions.values()
    return session


def codes(peer: Peer) -> list[str]:
    return [event["error"]["code"] for event in peer.named("error")]


async def answered(peer: Peer, times: int = 1) -> None:
    """The session still converses."""
    before = len(peer.named("response.done"))
    for _ in range(times):
        peer.send({"type": "conversation.item.create", "item": HELLO})
        peer.send({"type": "response.create"})
    done = await peer.event("response.done", before + times)
    assert done["response"]["status"] in ("completed", "cancelled")


async def test_events_sent_when_the_channel_opens_are_all_heard(serve):
    """The conversation begins some steps of the loop after the channel: what comes before waits for it."""
    url, app = await serve(fake_engines(llm=FakeModel("Hi there.")))
    peer = Peer(url)
    create = peer.pc.createDataChannel

    def create_and_talk(label):
        channel = create(label)

        def talk():
            session = {"type": "realtime", "instructions": "Sing."}
            for event in (
                {"type": "session.update", "session": session},
                {"type": "conversation.item.create", "item": HELLO},
                {"type": "response.create"},
            ):
                channel.send(json.dumps(event))

        channel.on("open", talk)
        return channel

    peer.pc.createDataChannel = create_and_talk
    async with peer:
        done = await peer.event("response.done")
        assert done["response"]["status"] == "completed"
        assert [event["type"] for event in peer.events[:3]] == ["session.created", "engine.status", "session.updated"]
        assert only_session(app).session.conversation.settings.instructions == "Sing."
        assert peer.named("error") == []


async def test_what_the_client_says_before_the_conversation_runs_waits(serve, monkeypatch):
    """The same with the race decided: the conversation is held back until the events have arrived."""
    url, app = await serve(fake_engines(llm=FakeModel("Hi there.")))
    begin = asyncio.Event()
    asked = asyncio.Event()
    run, take = Conversation.run, EventChannels._take

    async def late(self, audio):
        await begin.wait()
        await run(self, audio)

    def watched(self, spoken, message):
        take(self, spoken, message)
        if "response.create" in message:
            asked.set()

    monkeypatch.setattr(Conversation, "run", late)
    monkeypatch.setattr(EventChannels, "_take", watched)
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send({"type": "conversation.item.create", "item": HELLO})
        peer.send({"type": "response.create"})
        await asked.wait()
        assert len(only_session(app)._channels._held) == 2
        assert peer.named("conversation.item.added") == []
        begin.set()
        assert (await peer.event("response.done"))["response"]["status"] == "completed"


async def test_closed_channels_make_room_for_new_ones(serve):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        for n in range(2 * MOST_CHANNELS):
            channel = peer.pc.createDataChannel(f"extra-{n}")
            channel.on("message", peer._take)
            await peer.event("session.created", n + 2)
            closed = asyncio.Event()
            channel.on("close", closed.set)
            channel.close()
            await closed.wait()
        assert codes(peer) == []
        await answered(peer)
        assert len(only_session(app)._channels._open()) == 1


async def test_one_channel_too_many_is_refused_with_the_reason(serve):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        for n in range(MOST_CHANNELS):
            peer.pc.createDataChannel(f"extra-{n}").on("message", peer._take)
        assert (await peer.event("error"))["error"]["code"] == "too_many_channels"
        await answered(peer)


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (lambda sctp: sctp.text(b"\xff\xfe text"), "invalid_json"),
        (lambda sctp: sctp.text(b'{"type": "\xc3'), "invalid_json"),
        (lambda sctp: sctp.open(sctp.stream), "invalid_channel_open"),
        (lambda sctp: sctp.open(sctp.stream + 2, b"\xff\xff", 40), None),
        (lambda sctp: sctp.open(sctp.stream + 2, b"", 65_535), None),
        (lambda sctp: sctp.sctp._send(999, 50, b"\x02"), None),
        (lambda sctp: sctp.raw(4, b"\x00\x01\x00\x00"), None),
        (lambda sctp: sctp.raw(130, b"\x00\x0d\x00\x05\x00"), None),
        (lambda sctp: sctp.raw(130, b"\x00\x10\x00\x0c" + b"\x00" * 8), None),
        (lambda sctp: sctp.raw(1, b"\xff" * 24), None),
        (lambda sctp: sctp.raw(0, b"\x00" * 3), None),
        (lambda sctp: sctp.raw(3, b"\xff" * 12), None),
        (lambda sctp: sctp.random_chunks(300, 1), None),
    ],
    ids=[
        "no UTF-8",
        "cut UTF-8",
        "opened twice",
        "label of no UTF-8",
        "label longer than the message",
        "acknowledged what was never opened",
        "parameter without length",
        "reset of too few bytes",
        "answer to no reset",
        "second INIT",
        "DATA without header",
        "SACK of what was never sent",
        "random chunks",
    ],
)
async def test_the_channel_lives(serve, attack, told):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        await attack(HostileSctp(peer.channel))
        if told is not None:
            assert (await peer.event("error"))["error"]["code"] == told
        await answered(peer)


async def test_a_message_that_never_ends_is_thrown_away(serve):
    """Memory and time are bounded, and when it does end the next message is heard."""
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        hostile = HostileSctp(peer.channel)
        await hostile.fragments(800, 1100)
        assert (await peer.event("error"))["error"]["code"] == "event_too_large"
        waiting = only_session(app)._pc.sctp._inbound_streams[hostile.stream].reassembly
        assert sum(len(chunk.user_data) for chunk in waiting) <= sctp.LARGEST_MESSAGE
        await hostile.end_message()
        await answered(peer)
        assert codes(peer) == ["event_too_large"]


async def test_crumbs_of_a_message_are_bounded_too(serve):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        hostile = HostileSctp(peer.channel)
        await hostile.fragments(sctp.MOST_FRAGMENTS + 50, 1)
        assert (await peer.event("error"))["error"]["code"] == "event_too_large"
        await hostile.end_message()
        await answered(peer)


async def test_a_flood_without_a_beginning_closes_the_channels_and_not_the_call(serve):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        closed = asyncio.Event()
        peer.channel.on("close", closed.set)
        heard = len(peer.heard)
        await HostileSctp(peer.channel).fragments(sctp.MOST_WAITING + 50, 1, first=0)
        assert (await peer.event("error"))["error"]["code"] == "data_channel_flooded"
        await closed.wait()
        await peer.until(lambda: len(peer.heard) > heard + 4800)  # the voice goes on
        assert only_session(app).ended_because == ""


async def test_a_handler_that_fails_is_told_and_ends_nothing(serve, caplog):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        client = only_session(app)._channels.dialect._client

        def fail(event):
            raise RuntimeError("a defect")

        carry_out, client._carry_out = client._carry_out, fail
        peer.send({"type": "response.create", "event_id": "mine"})
        error = (await peer.event("error"))["error"]
        assert (error["code"], error["type"], error["event_id"]) == ("internal_error", "server_error", "mine")
        assert "a defect" in caplog.text
        client._carry_out = carry_out
        await answered(peer)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": value}]}
        for value in ({"url": "data:image/png;base64,"}, None, 7, [], "data:image/png;base64,\u00e9")
    ],
)
async def test_an_odd_picture_is_an_invalid_value(serve, item):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send({"type": "conversation.item.create", "item": item})
        error = (await peer.event("error"))["error"]
        assert error["code"] == "invalid_value"
        assert "image_url" in error["param"]
        await answered(peer)


@pytest.mark.parametrize("text", ["[" * 6_000, "[" * 990 + "]" * 990, '{"type": "\\ud83d"}', '{"a": NaN}', "\x00"])
async def test_what_is_no_json_is_told(serve, text):
    url, _ = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        peer.send(text)
        assert (await peer.event("error"))["error"]["code"] == "invalid_json"
        await answered(peer)


LONG = "Zażółć gęślą jaźń, ça va très bien. 😀 " * 1_500  # 78 kB of UTF-8, and twice as much when it is escaped


def takes(size: int | None):
    """An offer that says so of its messages."""
    line = "" if size is None else f"a=max-message-size:{size}\r\n"
    return lambda sdp: re.sub(r"a=max-message-size:\d+\r\n", lambda _: line, sdp)


@pytest.mark.parametrize("size", [None, 262_144, 1_000, 0])
async def test_long_texts_reach_every_peer_in_pieces_it_takes(serve, size):
    url, _ = await serve(fake_engines(llm=FakeModel(LONG, "Fine.")))
    async with Peer(url, kinds=("audio",), rewrite=takes(size)) as peer:
        sizes: list[int] = []
        peer.channel.on("message", lambda message: sizes.append(len(message.encode())))
        await peer.event("session.created")
        text = "żółć 😀 " * 4_000
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        peer.send({"type": "session.update", "session": {"type": "realtime", "instructions": text}})
        peer.send({"type": "conversation.item.create", "item": item})
        peer.send({"type": "response.create"})
        echo = (await peer.event("conversation.item.done"))["item"]["content"][0]["text"]
        assert text.startswith(echo.removesuffix("…"))
        delta = (await peer.event("response.output_audio_transcript.delta"))["delta"]
        assert LONG.startswith(delta)
        peer.send({"type": "response.cancel"})
        await peer.event("response.done")
        await peer.event("session.updated")
        assert max(sizes) <= (size or 65_536 if size is None else size or sctp.LARGEST_MESSAGE)
        assert codes(peer) == []
        await answered(peer)


async def test_the_last_event_says_why(serve):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        await app[REGISTRY].close_all(2.0)
        await peer.until(lambda: peer.pc.connectionState == "closed")
        error = peer.events[-1]["error"]
        assert error["code"] == "session_ended"
        assert "the server is shutting down" in error["message"]


async def test_hundreds_of_hostile_events_on_one_call(serve):
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        for message in hostile_messages(7, 300):
            peer.channel.send(message)
            if peer.channel.bufferedAmount > 1 << 18:
                drained = asyncio.Event()
                peer.channel.bufferedAmountLowThreshold = 1 << 16
                peer.channel.once("bufferedamountlow", drained.set)
                await drained.wait()
        peer.send({"type": "nothing", "event_id": "after all"})
        await peer.until(lambda: any(error["error"].get("event_id") == "after all" for error in peer.named("error")))
        assert "internal_error" not in codes(peer)
        peer.send({"type": "session.update", "session": {"output_modalities": ["text"]}})
        await answered(peer)
        assert only_session(app).ended_because == ""


async def test_push_to_talk(serve):
    """Nothing but the commit ends a turn, nothing is answered unasked, and all of it is heard."""
    stt = FakeRecognizer("what is", "the time")
    url, _ = await serve(fake_engines(stt=stt, llm=FakeModel("Noon.")))
    async with Peer(url) as peer:
        await peer.event("session.created")
        detection = {"audio": {"input": {"turn_detection": None}}}
        peer.send({"type": "session.update", "session": detection})
        assert (await peer.event("session.updated"))["session"]["audio"]["input"]["turn_detection"] is None
        pause = np.zeros(round(RATE * 1.5), np.int16)
        await peer.say(np.concatenate([loud(0.8), pause, loud(0.8), pause[: RATE // 2]]), RATE).ended.wait()
        whole = "what is the time"
        await peer.until(lambda: any(one["transcript"] == whole for one in peer.named("visavis.partial_transcript")))
        assert not peer.named("input_audio_buffer.speech_started")
        peer.send({"type": "input_audio_buffer.commit"})
        await peer.event("input_audio_buffer.committed")
        transcript = await peer.event("conversation.item.input_audio_transcription.completed")
        assert transcript["transcript"] == whole
        assert not peer.named("response.created")
        peer.send({"type": "response.create"})
        assert (await peer.event("response.done"))["response"]["status"] == "completed"
        assert not peer.named("input_audio_buffer.speech_stopped")
        assert codes(peer) == []
