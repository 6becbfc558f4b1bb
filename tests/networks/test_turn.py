"""Calls through a real TURN server, and what is told of one that cannot be used."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from media.aiortc_internals.relays import REST_SECONDS, parse_url, watch_relays, why_none
from server.transports.webrtc import ice
from server.transports.webrtc.ice_servers import GivenServer, IceServer, for_session
from tests.fakes.clock import FakeClock
from tests.fakes.coturn import SECRET, Coturn, coturn, missing
from tests.fakes.peer import Peer

needs_coturn = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
async def turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Coturn]:
    async with coturn(tmp_path, secrets=(SECRET, "the-one-before")) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        yield running


def entry(turn: Coturn, *ways: str, **more: Any) -> dict[str, Any]:
    return {"urls": [turn.url(way) for way in ways or ("udp",)], "secret": SECRET, **more}


async def given_by(url: str) -> list[GivenServer]:
    """What the server gives its clients, as a client reads it."""
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/realtime/ice_servers") as response:
        servers = (await response.json())["ice_servers"]
    return [GivenServer(one["urls"][0], one["username"], one["credential"]) for one in servers]


def kinds_of(peer: Peer) -> set[str]:
    """Of the candidates that a peer has gathered."""
    return {
        candidate.type
        for transceiver in peer.pc.getTransceivers()
        for candidate in transceiver.sender.transport.transport.iceGatherer.getLocalCandidates()
    }


@needs_coturn
async def test_a_call_goes_through_the_relay_alone_by_udp_tcp_and_tls(serve, turn: Coturn):
    url, _ = await serve(ice_servers=[entry(turn, "udp", "tcp", "tls", used_by="clients")])
    for one in await given_by(url):
        async with Peer(url, relays=[one]) as peer:
            await peer.event("session.created")
            assert kinds_of(peer) == {"relay"}
            assert "typ relay" not in peer.answer["sdp"], "the server asked for no relay of its own"
    assert turn.said().count("ALLOCATE processed, success") == 3


@needs_coturn
async def test_the_server_has_a_relay_of_its_own(serve, turn: Coturn):
    url, _ = await serve(ice_servers=[entry(turn, used_by="server")])
    assert await given_by(url) == []
    async with Peer(url) as peer:
        await peer.event("session.created")
        assert "typ relay" in peer.answer["sdp"]


@needs_coturn
async def test_credentials_of_either_secret_hold_and_others_do_not(serve, turn: Coturn, tmp_path: Path):
    file = tmp_path / "secret"
    file.write_text("the-one-before\n")
    server = IceServer(urls=turn.url("tcp"), secret_file=file)  # type: ignore[arg-type]
    now, told = time.time(), list[str]()
    watch_relays(lambda name, why: told.append(why), FakeClock())
    for secret, when, good in (
        ("the-one-before", now, True),
        (SECRET, now, True),
        (SECRET, now - 2 * server.ttl, False),  # they have expired
        ("a-wrong-one", now, False),
    ):
        file.write_text(secret)
        peer = Peer("", relays=for_session([server], "alice", when))
        try:
            await peer.pc.setLocalDescription(await _offer(peer))
            assert ("typ relay" in peer.pc.localDescription.sdp) is good, (secret, when)
        finally:
            await peer.close()
        if not good:
            assert len(told) == 1
            assert "refuses the credentials (401" in told.pop()
            watch_relays(lambda name, why: told.append(why), FakeClock())


@needs_coturn
async def test_a_wrong_secret_is_told_once_and_holds_no_call_up(serve, turn: Coturn, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING)
    url, _ = await serve(ice_servers=[{**entry(turn), "secret": "not-this-one"}])
    for _ in range(2):
        async with Peer(url) as peer:
            await peer.event("session.created")
    said = [record.message for record in caplog.records if "TURN server" in record.message]
    assert len(said) == 1
    assert "refuses the credentials (401 Unauthorized): is the secret its static-auth-secret" in said[0]
    assert turn.said().count("not-this-one") == 0
    assert not any(SECRET in record.message or "not-this-one" in record.message for record in caplog.records)


async def _offer(peer: Peer) -> Any:
    peer.pc.addTransceiver("audio")
    return await peer.pc.createOffer()


async def test_a_server_that_gave_no_relay_rests(monkeypatch: pytest.MonkeyPatch):
    asked, told, clock = [], [], FakeClock()

    async def refusing(**options: Any) -> None:
        asked.append(options["turn_server"])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("media.aiortc_internals.relays._ask", refusing)
    watch_relays(lambda server, why: told.append((server, why)), clock)
    options = {"turn_server": ("::1", 3478), "turn_ssl": False, "turn_transport": "tcp"}
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await ice.aioice.ice.relayed_candidate(**options)
    assert len(asked) == 1
    assert told == [("[::1]:3478 (tcp)", "Connection refused")]
    clock.advance(REST_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        await ice.aioice.ice.relayed_candidate(**options)
    assert len(asked) == len(told) == 2


def test_urls_may_have_addresses_of_ipv6():
    assert parse_url("turn:[2001:db8::7]:3479?transport=tcp") == {
        "scheme": "turn", "host": "2001:db8::7", "port": 3479, "transport": "tcp",
    }  # fmt: skip
    assert parse_url("turns:[::1]") == {"scheme": "turns", "host": "::1", "port": 5349, "transport": "tcp"}
    assert parse_url("stun:stun.example.org") == {"scheme": "stun", "host": "stun.example.org", "port": 3478}


def test_what_is_wrong_is_told_in_words():
    assert why_none(TimeoutError()) == "it does not answer"
    assert why_none(OSError(113, "No route to host")) == "No route to host"
    assert why_none(asyncio.InvalidStateError("odd")) == "odd"
