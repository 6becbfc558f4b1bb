"""Real aiortc ↔ the real server: RTP and RTCP that nobody should send end nothing and hold nobody up."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from aiortc.rtp import RtcpByePacket, is_rtcp

from media.aiortc_internals.guard import MOST_SOURCES
from media.opus import RATE
from pipelines.voice.conversation import Conversation
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.peer import Peer, loud, picture_frame
from tests.patience import PATIENCE

TURN = np.concatenate([loud(0.8), np.zeros(RATE, np.int16)])
SILENCE = b"\xf8\xff\xfe"


def session_of(app) -> Any:
    return next(iter(app[REGISTRY]._sessions.values()))


async def until_empty(app) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*app[REGISTRY]._tasks)
    assert not len(app[REGISTRY])


async def spoken_turn(peer: Peer) -> None:
    """The call still works: a turn is heard, answered, and the answer played to its end."""
    turns = len(peer.named("conversation.item.input_audio_transcription.completed"))
    answers = len(peer.named("output_audio_buffer.stopped"))
    peer.say(TURN, RATE)
    await peer.event("conversation.item.input_audio_transcription.completed", turns + 1)
    await peer.event("output_audio_buffer.stopped", answers + 1)


@pytest.fixture
async def call(serve):
    """``peer, app`` of a running call with audio and video."""
    url, app = await serve(fake_engines(stt=FakeRecognizer(*["hello"] * 9), llm=FakeModel(*["Hello there."] * 9)))
    async with Peer(url, kinds=("audio", "video")) as peer:
        await peer.event("session.created")
        yield peer, app
    await until_empty(app)


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_more_ssrcs_than_a_report_holds_do_not_keep_a_call_from_ending(call, kind):
    peer, app = call
    for n in range(300):
        payload = SILENCE if kind == "audio" else b"\x10\x01rest"
        await peer.rtp(kind, n, n * 3000, payload, ssrc=1000 + n, marker=True)
    await spoken_turn(peer)
    (receiver,) = [t.receiver for t in session_of(app)._pc.getTransceivers() if t.kind == kind]
    assert len(receiver._RTCRtpReceiver__remote_streams) <= MOST_SOURCES + 1
    assert not receiver._RTCRtpReceiver__rtcp_task.done()


async def test_a_close_that_hangs_in_the_library_frees_the_place_and_lets_the_server_stop(call, monkeypatch):
    _, app = call
    session = session_of(app)

    async def never() -> None:
        await asyncio.Event().wait()

    for transceiver in session._pc.getTransceivers():
        monkeypatch.setattr(transceiver.receiver, "stop", never)
    await app[REGISTRY].close_all(5.0)
    assert not len(app[REGISTRY])
    assert session.ended_because == "the server is shutting down"


async def test_a_part_that_does_not_end_frees_the_place(serve, monkeypatch):
    released = asyncio.Event()

    async def stubborn(self, audio) -> None:
        while not released.is_set():
            with suppress(asyncio.CancelledError):
                await released.wait()

    monkeypatch.setattr(Conversation, "run", stubborn)
    url, app = await serve()
    async with Peer(url) as peer:
        await peer.event("session.created")
        session_of(app).close("enough")
        await until_empty(app)
    released.set()


async def test_who_says_goodbye_and_goes_on_talking_is_heard(call):
    peer, _ = call
    await spoken_turn(peer)
    for sender in peer.pc.getSenders():
        await peer.rtcp(RtcpByePacket(sources=[sender._ssrc]))
    await spoken_turn(peer)
    await peer.show(lambda n: picture_frame(pts=n * 3000), lambda: len(peer.seen) > 2)


async def test_packets_that_cannot_be_read_end_nothing(call):
    peer, _ = call
    transport = peer.pc.getSenders()[0].transport
    opus = peer.pc.getTransceivers()[0]._codecs[0].payloadType
    for number in range(1, 6):  # each extension that was agreed on, three bytes long
        header = struct.pack("!BBHLL", 0x90, opus, number, 0, 99)
        await transport._send_rtp(header + bytes([0xBE, 0xDE, 0, 1, number << 4 | 2, 0, 0, 0]) + SILENCE)
    for n, payload in enumerate([b"", b"\x00", b"\xff" * 1100, b"\x90\xf0", b"\x10"]):
        await peer.rtp("audio", n, n * 960, payload)
        await peer.rtp("video", n, n * 3000, payload, marker=True)
    await transport._send_rtp(struct.pack("!BBHLL", 0x9F, 201, 2, 1, 1))
    await spoken_turn(peer)


async def test_a_senders_clock_that_leaps_inside_a_word_is_no_pause(serve):
    """Timestamps that jump 1.5 s ahead while packets go on coming: the user is still speaking."""
    url, _ = await serve(fake_engines(stt=FakeRecognizer("one", "two"), llm=FakeModel("Fine.", "Fine.")))
    async with Peer(url) as peer:
        await peer.event("session.created")
        transport = peer.pc.getSenders()[0].transport
        send, leap = transport._send_rtp, 0

        async def leaping(data: bytes) -> None:
            if not is_rtcp(data):
                timestamp = (int.from_bytes(data[4:8], "big") + leap) % 2**32
                data = data[:4] + timestamp.to_bytes(4, "big") + data[8:]
            await send(data)

        transport._send_rtp = leaping
        playout = peer.say(np.concatenate([loud(2.4), np.zeros(RATE, np.int16)]), RATE)
        await peer.event("input_audio_buffer.speech_started")
        leap = round(1.5 * RATE)
        await playout.ended.wait()
        await peer.event("response.done")
        started = peer.named("input_audio_buffer.speech_started")
        stopped = peer.named("input_audio_buffer.speech_stopped")
        assert len(started) == len(stopped) == 1
        spoken = stopped[0]["audio_end_ms"] - started[0]["audio_start_ms"]
        assert spoken == pytest.approx(2400, abs=1000)  # 3,900 with the leap; a busy machine's own gaps count, too
