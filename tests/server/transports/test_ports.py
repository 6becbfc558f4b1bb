"""Media goes through the ports that are set, and a call for which there is none is told so."""

from __future__ import annotations

import asyncio
import errno
import re
import socket

import aiohttp
import aioice.ice
import pytest

from media.aiortc_internals.ports import NoPortError, bind_within
from server.settings import SettingsError, load_settings
from server.transports.webrtc.ports import parse_ports
from tests.fakes.peer import Peer
from tests.server.transports.test_offers_and_ice import AUDIO


def free_ports(count: int) -> int:
    """The first of so many ports in a row that are free on 127.0.0.1."""
    for first in range(42_000, 60_000, 100):
        held = []
        try:
            for port in range(first, first + count):
                held.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                held[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in held:
                one.close()
    raise AssertionError("no free ports")


async def test_a_call_takes_ports_of_the_range_and_the_next_one_is_told_when_there_are_none(serve):
    first = free_ports(1)
    url, _ = await serve(ice_port_range=f"{max(1024, first)}-{first}")
    async with aiohttp.ClientSession() as http:
        answer = await (await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})).json()
        assert re.findall(r"a=candidate:\S+ \d udp \d+ 127\.0\.0\.1 (\d+) typ host", answer["sdp"]) == [str(first)]
        response = await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (503, "server_full")
        assert "ice_port_range" in error["message"]


async def test_a_conversation_runs_over_a_port_of_the_range(serve):
    first = free_ports(8)  # the peer of the test is in this process, and takes ports of the range, too
    url, _ = await serve(ice_port_range=f"{first}-{first + 7}")
    async with Peer(url) as peer:
        await peer.event("session.created")


async def test_ports_are_used_in_turn_and_what_was_made_is_given_back(monkeypatch):
    first = free_ports(3)
    bind_within(range(first, first + 3))
    loop = aioice.ice.asyncio.get_running_loop()
    assert loop.time() <= asyncio.get_running_loop().time(), "all else is the loop's own"
    made = [await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)) for _ in "123"]
    ports = [transport.get_extra_info("sockname")[1] for transport, _ in made]
    assert ports == [first, first + 1, first + 2]
    with pytest.raises(NoPortError):
        await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    assert all(transport.is_closing() for transport, _ in made)
    bind_within(None)
    loop = aioice.ice.asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    assert transport.get_extra_info("sockname")[1] not in ports
    transport.abort()


async def test_a_call_for_which_there_is_no_descriptor_is_told_so(serve, monkeypatch):
    """Those who came in the same moment have had the last ones of the reserve."""
    url, _ = await serve()
    loop = type(asyncio.get_running_loop())
    create = loop.create_datagram_endpoint

    async def none_left(self, factory, local_addr=None, **options):
        if local_addr is not None and local_addr[1] == 0 and local_addr[0] == "127.0.0.1":
            raise OSError(errno.EMFILE, "Too many open files")
        return await create(self, factory, local_addr=local_addr, **options)

    monkeypatch.setattr(loop, "create_datagram_endpoint", none_left)
    async with aiohttp.ClientSession() as http:
        response = await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})
        error = (await response.json())["error"]
        assert (response.status, error["code"], "Retry-After" in response.headers) == (503, "server_full", True)
        assert "no sockets" in error["message"]
        monkeypatch.undo()
        assert (await http.post(f"{url}/offer", json={"sdp": AUDIO, "type": "offer"})).status == 200


@pytest.mark.parametrize("text", ["50000", "50100-50000", "80-90", "1-2-3", "50000-70000", "a-b"])
def test_what_is_no_range_is_refused_with_what_is_legal(text):
    with pytest.raises(ValueError, match="such as 50000-50100"):
        parse_ports(text)
    with pytest.raises(SettingsError, match=r"ice_port_range: .*such as 50000-50100"):
        load_settings({"ice_port_range": text})
