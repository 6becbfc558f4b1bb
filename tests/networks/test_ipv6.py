"""IPv6: alone, beside IPv4, on loopback, through TURN; and both families on one port."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.http.proxies import Proxies
from server.settings import SettingsError, load_settings
from server.transports.webrtc import ice
from server.transports.webrtc.ice_servers import IceServer, for_session
from tests.conftest import serving
from tests.fakes.coturn import SECRET, coturn
from tests.fakes.coturn import missing as no_coturn
from tests.fakes.networks import Networks
from tests.fakes.peer import Peer
from tests.networks.conftest import KEY, ServeIn

HEADERS = {"Authorization": f"Bearer {KEY}"}
UNIQUE, OTHER = "fd5e:1::1", "fd5e:1::2"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


def addresses(sdp: str) -> set[str]:
    """Of the candidates."""
    return set(re.findall(r"^a=candidate:\S+ \d \S+ \d+ (\S+) ", sdp, re.MULTILINE))


async def call(url: str, **options: Any) -> str:
    async with Peer(url, key=KEY, **options) as peer:
        await peer.event("session.created")
        return str(peer.answer["sdp"])


@needs_ipv6
@pytest.mark.parametrize("tls", [False, True])
async def test_one_port_serves_both_families_and_knows_who_comes(tmp_path: Path, tls: bool):
    async with serving(host="::", api_key=KEY, tls_self_signed=tls, cache=tmp_path) as start:
        url, _ = await start(max_connections_per_address=1)
        assert re.fullmatch(r"https?://\[::\]:\d+", url)
        port = url.rpartition(":")[2]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:
            for host in ("127.0.0.1", "[::1]"):
                async with http.get(f"{url.partition(':')[0]}://{host}:{port}/healthz") as response:
                    assert response.status == 200, host


def test_an_address_of_ipv4_in_clothes_of_ipv6_is_told_as_what_it_is():
    class Headers(dict[str, str]):
        def getall(self, name: str, default: Any) -> Any:
            return default

    asked = Proxies(()).asked(Headers(), "[2001:db8::1]:8080", "::ffff:192.0.2.1")  # type: ignore[arg-type]
    assert asked.client == "192.0.2.1"
    assert (asked.host.host, asked.host.port) == ("[2001:db8::1]", 8080)


def test_a_host_may_stand_in_brackets():
    settings = load_settings({"host": "[::1]"})
    assert settings.host == "::1"
    assert settings.on_loopback
    with pytest.raises(SettingsError, match="host fd00::1 can be reached by others"):
        load_settings({"host": "[fd00::1]"})


@needs_ipv6
async def test_a_port_that_is_taken_is_told_with_brackets():
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with serving(host="::1") as start:
            with pytest.raises(SettingsError, match=rf"cannot listen on \[::1\]:{port}: "):
                await start(port=port)


@needs_ipv6
async def test_a_server_on_loopback_of_ipv6_is_called_there():
    async with serving(host="::1") as start:
        url, _ = await start()
        ice.gather_from(["::1"])  # from here on the process is the client's, too
        assert addresses(await call(url)) == {"::1"}
        ice.gather_as_set(load_settings({"host": "::1"}))
        assert ice.aioice.ice.get_host_addresses(use_ipv4=False, use_ipv6=True)[0] == "::1"


async def test_a_call_where_there_is_nothing_but_ipv6(networks: Networks, serve_in: ServeIn):
    server, client = networks.host("s"), networks.host("c")
    networks.cable(server, client, {f"{UNIQUE}/64": f"{OTHER}/64"})
    url = await serve_in(server, UNIQUE)
    assert url.startswith(f"http://[{UNIQUE}]:")
    offered = addresses(await client.do(call(url)))
    assert offered == {UNIQUE}, "and none that is link-local: it would have to name an interface of the peer's"


async def test_a_call_where_there_are_both_offers_both(networks: Networks, serve_in: ServeIn):
    server, client = networks.host("s"), networks.host("c")
    networks.cable(server, client, {f"{UNIQUE}/64": f"{OTHER}/64", "10.9.1.1/24": "10.9.1.2/24"})
    url = await serve_in(server, "::", external_address="203.0.113.7")
    port = url.rpartition(":")[2]
    for host in ("10.9.1.1", f"[{UNIQUE}]"):
        answer = await client.do(call(f"http://{host}:{port}"))
        assert addresses(answer) == {UNIQUE, "203.0.113.7"}, "the translation is of IPv4 alone"


@pytest.mark.skipif(bool(no_coturn()), reason=no_coturn())
async def test_a_relay_of_ipv6(networks: Networks, serve_in: ServeIn, tmp_path: Path):
    server, client = networks.host("s"), networks.host("c")
    networks.cable(server, client, {f"{UNIQUE}/64": f"{OTHER}/64"})
    async with coturn(tmp_path, host=server, address=UNIQUE, ports=(3478, 5349)) as turn:
        relay = {"urls": [turn.url("udp")], "secret": SECRET}
        url = await serve_in(server, UNIQUE, ice_servers=[relay])
        (given,) = for_session([IceServer(**relay)], "client", time.time())
        assert given.urls == f"turn:[{UNIQUE}]:3478?transport=udp"
        assert "typ relay" in await client.do(call(url, relays=[given]))
