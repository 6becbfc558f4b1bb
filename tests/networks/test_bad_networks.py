"""Calls over networks that lose, delay, double and reorder packets, that break, move and are narrow."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from media.opus import RATE
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.networks import Networks, translate
from tests.fakes.peer import Peer, loud, picture_frame
from tests.fakes.wire import Conditions
from tests.networks.conftest import KEY, ServeIn

SERVER, CLIENT = "10.9.1.1", "10.9.1.2"
BAD = {
    "loss and jitter": Conditions(loss=0.1, jitter=0.1),
    "doubled and reordered": Conditions(duplicate=0.3, jitter=0.06),
    "narrow": Conditions(rate=120_000, delay=0.04),
}
QUICK = ("doubled and reordered",)
"""What takes no longer than on a good network."""


def spoken() -> np.ndarray:
    return np.concatenate([loud(1.0), np.zeros(RATE, np.int16)])


@pytest.mark.parametrize(
    "conditions",
    [pytest.param(one, id=name, marks=() if name in QUICK else pytest.mark.long) for name, one in BAD.items()],
)
async def test_a_call_comes_about_and_is_a_conversation(networks: Networks, serve_in: ServeIn, conditions: Conditions):
    server, client = networks.host("s"), networks.host("c")
    wire = networks.wire(server, client, {f"{SERVER}/24": f"{CLIENT}/24"}, conditions)
    url = await serve_in(server, SERVER, fake_engines(stt=FakeRecognizer("is it raining"), llm=FakeModel("It is.")))

    async def call() -> None:
        async with Peer(url, key=KEY) as peer:
            await peer.event("session.created")
            peer.say(spoken(), RATE)
            await peer.event("response.output_audio_transcript.done")
            await peer.event("output_audio_buffer.stopped")
            assert np.abs(peer.heard).max() > 300

    await client.do(call())
    assert wire.there.sent > 50
    assert wire.there.lost > 0 or not conditions.loss


@pytest.mark.long
async def test_a_call_outlives_an_address_that_goes_and_comes_back(networks: Networks, serve_in: ServeIn):
    server, client = networks.host("s"), networks.host("c")
    networks.cable(server, client, {f"{SERVER}/24": f"{CLIENT}/24"})
    url = await serve_in(server, SERVER, fake_engines(stt=FakeRecognizer("still there"), llm=FakeModel("Yes.")))

    async def call() -> None:
        async with Peer(url, key=KEY) as peer:
            await peer.event("session.created")
            client.run("ip", "address", "del", f"{CLIENT}/24", "dev", "net")
            peer.say(spoken(), RATE)  # into nowhere
            await asyncio.sleep(1.0)
            client.run("ip", "address", "add", f"{CLIENT}/24", "dev", "net")
            before = len(peer.heard)
            await peer.until(lambda: len(peer.heard) > before + RATE, what="sound")
            peer.say(spoken(), RATE)
            await peer.event("response.output_audio_transcript.done")
            assert peer.pc.connectionState == "connected"

    await client.do(call())


@pytest.mark.long
async def test_a_peer_whose_nat_forgot_the_way_is_followed(networks: Networks, serve_in: ServeIn):
    client, router, server = networks.host("c"), networks.router("r"), networks.host("s")
    networks.cable(client, router, {"192.168.7.2/24": "192.168.7.1/24"}, dev="in")
    networks.cable(server, router, {f"{SERVER}/24": "10.9.1.254/24"}, dev="out")
    client.route("default", "via", "192.168.7.1")
    translate(router, "out", "symmetric")
    engines = fake_engines(stt=FakeRecognizer("who am i"), llm=FakeModel("You."))
    url = await serve_in(server, SERVER, engines, peer_timeout=20, ice_peer_ranges=())

    async def call() -> None:
        async with Peer(url, key=KEY) as peer:
            await peer.event("session.created")
            router.run("ip", "link", "set", "out", "down")  # a masquerade forgets its flows with that
            router.run("ip", "link", "set", "out", "up")
            before = len(peer.heard)
            await peer.until(lambda: len(peer.heard) > before + RATE, what="sound, from here on to another port")
            peer.say(spoken(), RATE)
            await peer.event("response.output_audio_transcript.done")

    await client.do(call())


async def test_pictures_come_through_where_nothing_over_1280_bytes_does(networks: Networks, serve_in: ServeIn):
    """And nobody says so: pieces are dropped, and so is the word that a packet was too large."""
    client, router, server = networks.host("c"), networks.router("r"), networks.host("s")
    networks.cable(client, router, {"10.9.2.2/24": "10.9.2.1/24"}, dev="in", mtu=1280)
    networks.cable(server, router, {f"{SERVER}/24": "10.9.1.254/24"}, dev="out")
    client.run("ip", "link", "set", "in", "mtu", "1500")
    for host, by in ((client, "10.9.2.1"), (server, "10.9.1.254")):
        host.route("default", "via", by)
    clamp = ("-p", "tcp", "--tcp-flags", "SYN,RST", "SYN", "-j", "TCPMSS", "--set-mss", "1240")
    router.run("iptables", "-t", "mangle", "-A", "FORWARD", *clamp)  # as every VPN does for TCP
    router.run("iptables", "-A", "FORWARD", "-f", "-j", "DROP")
    router.run("iptables", "-A", "FORWARD", "-p", "udp", "-m", "length", "--length", "1281:", "-j", "DROP")
    router.run("iptables", "-A", "OUTPUT", "-p", "icmp", "-j", "DROP")
    url = await serve_in(server, SERVER)

    async def call() -> None:
        async with Peer(url, key=KEY, kinds=("audio", "video")) as peer:
            await peer.event("session.created")
            await peer.show(lambda n: picture_frame(640, 480, pts=n * 3000, noise=True), lambda: len(peer.seen) >= 3)

    await client.do(call())
