"""Real aiortc ↔ the real server: sections in any order, with voice, picture and events in both directions."""

from __future__ import annotations

import pytest

from server.signaling import REGISTRY
from tests.fakes.peer import Peer, loud, picture_frame

ORDERS = [
    ("audio", "video", "data"),
    ("video", "audio", "data"),
    ("audio", "data", "video"),
    ("video", "data", "audio"),
    ("data", "audio", "video"),
    ("data", "video", "audio"),
    ("video", "audio"),
    ("data", "audio"),
    ("data", "video", "audio", "screen"),
    ("screen", "video", "audio", "data"),
]


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
async def test_sections_in_any_order_connect(serve, order):
    url, app = await serve()
    async with Peer(url, order=order) as peer:
        (session,) = app[REGISTRY]._sessions.values()
        kinds = [line.split()[0][2:] for line in peer.answer["sdp"].splitlines() if line.startswith("m=")]
        assert kinds == [{"data": "application", "screen": "video"}.get(kind, kind) for kind in order]
        peer.say(loud(1.0), 48_000)
        if "video" in order:
            await peer.show(lambda n: picture_frame(pts=3000 * n), lambda: peer.seen)
        if "screen" in order:
            _, screen = session.video.incoming
            await peer.show(lambda n: picture_frame(pts=3000 * n), lambda: screen.received, screen=True)
        if "data" in order:
            await peer.event("session.created")
            await peer.event("input_audio_buffer.speech_started")
        await peer.until(lambda: len(peer.heard) > 0)
