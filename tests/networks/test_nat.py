"""Calls through address translation, in networks of their own: port ranges, external addresses, UDP that is blocked."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from server.transports.webrtc.ice_servers import IceServer, for_session
from tests.fakes.coturn import SECRET, coturn
from tests.fakes.coturn import missing as no_coturn
from tests.fakes.networks import Networks, blocks_udp, forward_ports, translate
from tests.fakes.peer import Peer
from tests.networks.conftest import KEY, ServeIn

CLIENT, ROUTER, SERVER = "203.0.113.9", "203.0.113.1", "10.9.0.2"
needs_coturn = pytest.mark.skipif(bool(no_coturn()), reason=no_coturn())


@pytest.mark.parametrize("inside", ["one address", pytest.param("two addresses", marks=pytest.mark.long)])
async def test_every_candidate_has_the_public_address_and_a_port_of_the_range(
    networks: Networks, serve_in: ServeIn, inside: str
):
    client, router, server = networks.host("c"), networks.router("r"), networks.host("s")
    networks.cable(client, router, {f"{CLIENT}/24": f"{ROUTER}/24"}, dev="out")
    networks.cable(server, router, {f"{SERVER}/24": "10.9.0.1/24"}, dev="in")
    if inside == "two addresses":
        server.run("ip", "address", "add", "10.9.0.3/24", "dev", "in")
    server.route("default", "via", "10.9.0.1")
    translate(router, "out")
    forward_ports(router, "out", SERVER, 8080, (50_000, 50_010))
    await serve_in(server, SERVER, port=8080, external_address=ROUTER, ice_port_range="50000-50010",
                   ice_peer_ranges=())  # fmt: skip

    answer = await client.do(call(f"http://{ROUTER}:8080"))
    candidates = re.findall(r"^a=candidate:\S+ \d \S+ \d+ (\S+) (\d+) typ (\S+)", answer, re.MULTILINE)
    assert candidates
    assert {address for address, _, _ in candidates} == {ROUTER}
    assert all(50_000 <= int(port) <= 50_010 for _, port, _ in candidates)


async def call(url: str, **options: Any) -> str:
    """One that comes about; the answer."""
    async with Peer(url, key=KEY, **options) as peer:
        await peer.event("session.created")
        return str(peer.answer["sdp"])


@needs_coturn
@pytest.mark.parametrize("way", ["tcp", pytest.param("tls", marks=pytest.mark.long)])
async def test_where_udp_is_blocked_a_call_goes_through_turn_over_tcp(
    networks: Networks, serve_in: ServeIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    client, router, server = networks.host("c"), networks.router("r"), networks.host("s")
    networks.cable(client, router, {"192.168.7.2/24": "192.168.7.1/24"}, dev="in")
    networks.cable(server, router, {f"{SERVER}/24": "10.9.0.1/24"}, dev="out")
    client.route("default", "via", "192.168.7.1")
    translate(router, "out")
    blocks_udp(router)
    server.run("ip", "address", "add", "10.9.0.7/24", "dev", "out")
    async with coturn(tmp_path, host=server, address="10.9.0.7", ports=(3478, 5349)) as turn:
        monkeypatch.setenv("SSL_CERT_FILE", str(turn.certificate))
        relay = {"urls": [turn.url(way)], "secret": SECRET, "used_by": "clients"}
        url = await serve_in(server, SERVER, ice_servers=[relay])
        with pytest.raises(AssertionError, match="the condition did not come"):
            await client.do(call(url, patience=1.0))
        (given,) = for_session([IceServer(**relay)], "client", time.time())
        await client.do(call(url, relays=[given]))


@needs_coturn
@pytest.mark.long
async def test_a_server_that_nobody_can_reach_is_called_through_a_relay_of_its_own(
    networks: Networks, serve_in: ServeIn, tmp_path: Path
):
    """Both are behind NATs that give every flow another port, and only HTTP is forwarded to the server."""
    client, inner, server, middle = (networks.host(n) for n in "cisn")
    outer = networks.router("r")
    networks.cable(middle, outer, {"203.0.113.7/24": f"{ROUTER}/24"}, dev="out")
    networks.cable(server, outer, {f"{SERVER}/24": "10.9.0.1/24"}, dev="in")
    networks.cable(client, inner, {"192.168.7.2/24": "192.168.7.1/24"}, dev="home")
    inner.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    middle.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
    networks.cable(inner, middle, {"198.51.100.2/24": "198.51.100.1/24"}, dev="isp")
    for host, by in ((server, "10.9.0.1"), (client, "192.168.7.1"), (inner, "198.51.100.1"), (outer, "203.0.113.7")):
        host.route("default", "via", by)
    middle.run("ip", "tuntap", "add", "sink", "mode", "tun")  # the rest of the world: what goes there is gone
    middle.run("ip", "link", "set", "sink", "up")
    middle.route("default", "dev", "sink")
    translate(outer, "out", "symmetric")
    translate(inner, "isp", "symmetric")
    forward_ports(outer, "out", SERVER, 8080, (1, 1))
    async with coturn(tmp_path, host=middle, address="203.0.113.7", ports=(3478, 5349)) as turn:
        relay = {"urls": [turn.url("udp")], "secret": SECRET}
        url = f"http://{ROUTER}:8080"
        await serve_in(server, SERVER, port=8080, ice_servers=[{**relay, "used_by": "server"}])
        (given,) = for_session([IceServer(**relay)], "client", time.time())
        assert "typ relay" in await client.do(call(url, relays=[given]))
