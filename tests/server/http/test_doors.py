"""Who may connect: places, places for an address, descriptors."""

from __future__ import annotations

import ipaddress
import os

import aiohttp
import pytest

from server.admission import Doors, neighbourhood
from server.descriptors import Descriptors, own_descriptors
from server.http.proxies import Proxies
from tests.fakes.raw_http import address_of, ask, error_in, judge
from tests.server.transports.test_offers_and_ice import AUDIO


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


MANY = Descriptors(1000)


def doors(places: int = 10, per_address: int = 3, *trusted: str, descriptors: Descriptors = MANY) -> Doors:
    return Doors(places, per_address, Proxies(ipaddress.ip_network(text) for text in trusted), descriptors)


def test_an_address_has_its_places():
    entrance = doors()
    assert [entrance.enter("1.1.1.1", 9) for _ in range(3)] == [None] * 3
    refusal = entrance.enter("1.1.1.1", 9)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (429, "too_many_connections")
    assert entrance.enter("1.1.1.2", 9) is None
    entrance.leave("1.1.1.1")
    assert entrance.enter("1.1.1.1", 9) is None


def test_all_places():
    entrance = doors(places=2)
    assert [entrance.enter(f"1.1.1.{n}", 9) for n in range(2)] == [None] * 2
    refusal = entrance.enter("1.1.1.9", 9)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (503, "server_busy")
    entrance.leave("1.1.1.0")
    assert entrance.enter("1.1.1.9", 9) is None
    assert len(entrance) == 2


def test_who_leaves_is_forgotten():
    entrance = doors()
    for n in range(5):
        entrance.enter(f"1.1.1.{n}", 9)
        entrance.leave(f"1.1.1.{n}")
    assert len(entrance) == 0
    assert not entrance._inside


def test_a_trusted_proxy_may_have_all_places():
    entrance = doors(10, 1, "10.0.0.0/8")
    assert [entrance.enter("10.0.0.1", 9) for _ in range(10)] == [None] * 10
    assert entrance.enter("10.0.0.1", 9) is not None


def test_descriptors_are_kept_for_those_inside():
    entrance = doors(descriptors=Descriptors(100))
    assert entrance.enter("1.1.1.1", 67) is None
    refusal = entrance.enter("1.1.1.2", 68)
    assert refusal is not None
    assert refusal.status == 503


def test_descriptors_in_use_are_seen():
    lowest_free = os.dup(2)
    os.close(lowest_free)
    assert Descriptors(lowest_free + 20).all_taken
    assert not Descriptors(lowest_free + 2000).all_taken
    assert not own_descriptors().all_taken


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("?", "?"),
    ],
)
def test_who_is_counted_together(address, counted_as):
    assert neighbourhood(address) == counted_as


async def test_a_call_needs_descriptors_too(serve, http, monkeypatch):
    monkeypatch.setattr("server.sessions.own_descriptors", lambda: Descriptors(32))
    url, _ = await serve()
    response = await http.post(f"{url}/offer", json={"type": "offer", "sdp": AUDIO})
    assert response.status == 503
    assert "file descriptors" in (await response.json())["error"]["message"]
    assert (await http.get(f"{url}/readyz")).status == 503


async def test_a_process_short_of_descriptors_says_so(serve, monkeypatch, caplog):
    monkeypatch.setattr("server.http.web_server.own_descriptors", lambda: Descriptors(32))
    url, _ = await serve()
    answer = await ask(*address_of(url), b"")
    assert judge(answer)[0] == "503"
    assert error_in(answer)["code"] == "server_busy"
    assert b"\r\nRetry-After: " in answer
    assert "refused a connection from 127.0.0.1: the server has no more file descriptors" in caplog.text
