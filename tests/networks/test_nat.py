"""Calls through address translation, in networks of their own: port ranges, external addresses, UDP that is blocked."""

from __future__ import annotations

import re

import pytest

from tests.fakes.networks import Networks, forward_ports, translate
from tests.fakes.peer import Peer
from tests.networks.conftest import KEY, ServeIn

CLIENT, ROUTER, SERVER = "203.0.113.9", "203.0.113.1", "10.9.0.2"


@pytest.mark.parametrize("inside", ["one address", "two addresses"])
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

    async def call() -> str:
        async with Peer(f"http://{ROUTER}:8080", key=KEY) as peer:
            await peer.event("session.created")
            return str(peer.answer["sdp"])

    answer = await client.do(call())
    candidates = re.findall(r"^a=candidate:\S+ \d \S+ \d+ (\S+) (\d+) typ (\S+)", answer, re.MULTILINE)
    assert candidates
    assert {address for address, _, _ in candidates} == {ROUTER}
    assert all(50_000 <= int(port) <= 50_010 for _, port, _ in candidates)
