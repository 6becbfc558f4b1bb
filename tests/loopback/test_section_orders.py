"""Real aiortc ↔ the real server: sections in any order, with voice, picture and events in both directions."""

from __future__ import annotations

import re
from typing import Any

import pytest

from server.http.signaling.offer import REGISTRY
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


def unbundled(sdp: str) -> str:
    """As GStreamer writes it by default: a transport for each section."""
    return re.sub(r"a=group:.*\r\n", "", sdp)


def bundle_only(sdp: str) -> str:
    """As RFC 9143 has it for max-bundle: only the first section tells a port and a transport."""
    head, first, *others = re.split(r"(?m)^(?=m=)", sdp)
    transport = re.compile(r"a=(?:ice-|fingerprint|setup|candidate|end-of-candidates).*\r\n")
    bare = (re.sub(r"^(m=\w+) \d+", r"\1 0", transport.sub("", other)) + "a=bundle-only\r\n" for other in others)
    return "".join([head, first, *bare])


async def works(peer: Peer, session: Any) -> None:
    """What the peer says and shows arrives, and so do voice, picture and events."""
    peer.say(loud(1.0), 48_000)
    if "video" in peer.order:
        await peer.show(lambda n: picture_frame(pts=3000 * n), lambda: peer.seen)
    if "screen" in peer.order:
        _, screen = session.tracks.video
        await peer.show(lambda n: picture_frame(pts=3000 * n), lambda: screen.feed.received, screen=True)
    if "data" in peer.order:
        await peer.event("session.created")
        await peer.event("input_audio_buffer.speech_started")
    await peer.until(lambda: len(peer.heard) > 0)


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
async def test_sections_in_any_order_connect(serve, order):
    url, app = await serve()
    async with Peer(url, order=order) as peer:
        kinds = [line.split()[0][2:] for line in peer.answer["sdp"].splitlines() if line.startswith("m=")]
        assert kinds == [{"data": "application", "screen": "video"}.get(kind, kind) for kind in order]
        await works(peer, *app[REGISTRY]._sessions.values())


@pytest.mark.parametrize("order", [("video", "audio", "data"), ("data", "audio", "video", "screen")], ids=" ".join)
@pytest.mark.parametrize("rewrite", [unbundled, bundle_only])
async def test_sections_connect_with_a_transport_each_and_with_one_for_all(serve, order, rewrite):
    url, app = await serve()
    async with Peer(url, order=order, rewrite=rewrite) as peer:
        (session,) = app[REGISTRY]._sessions.values()
        transports = {transceiver.receiver.transport for transceiver in session._pc.getTransceivers()}
        assert len(transports | {session._pc.sctp.transport}) == (len(order) if rewrite is unbundled else 1)
        await works(peer, session)


@pytest.mark.parametrize("role", ["active", "passive"])
async def test_a_peer_that_can_be_only_one_side_of_dtls_connects(serve, role):
    url, app = await serve()
    async with Peer(url, order=("data", "audio"), rewrite=lambda sdp: sdp.replace("actpass", role)) as peer:
        assert f"a=setup:{'passive' if role == 'active' else 'active'}\r\n" in peer.answer["sdp"]
        await works(peer, *app[REGISTRY]._sessions.values())
