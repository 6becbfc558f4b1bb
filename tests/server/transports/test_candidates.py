"""An offer makes the server send only where the settings allow, to few places, and never to a name."""

from __future__ import annotations

import pytest

from server.settings import SettingsError, load_settings
from server.transports.webrtc.candidates import DEFAULT_RANGES, MOST_TRIED, range_of, usable

EVERYWHERE = ("public", "private", "link-local", "loopback")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", "public"),
        ("2a00:1450::1", "public"),
        ("10.0.0.1", "private"),
        ("172.16.5.4", "private"),
        ("192.168.1.9", "private"),
        ("100.64.0.1", "private"),
        ("192.0.2.1", "private"),
        ("fd00::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("127.0.0.1", "loopback"),
        ("127.8.8.8", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", None),
        ("0.1.2.3", None),
        ("::", None),
        ("224.0.0.251", None),
        ("239.255.255.250", None),
        ("ff02::fb", None),
        ("240.0.0.1", None),
        ("255.255.255.255", None),
        ("::ffff:127.0.0.1", None),
        ("64:ff9b::7f00:1", None),
        ("fe80::1%eth0", None),
        ("[::1]", None),
        ("localhost", None),
        ("4be42f15-9b0f-4f0f-8a3f-0b1f5d0a4c11.local", None),
        ("example.org", None),
        ("127.1", None),
        ("0x7f000001", None),
        ("2130706433", None),
        ("", None),
    ],
)
def test_where_an_address_lies(address, expected):
    assert range_of(address) == expected


def host(address: str = "192.168.1.9", port: object = 50_000, priority: object = 1, **changes: str) -> str:
    words = {"foundation": "1", "component": "1", "transport": "udp", "typ": "typ host", **changes}
    return f"{words['foundation']} {words['component']} {words['transport']} {priority} {address} {port} {words['typ']}"


@pytest.mark.parametrize(
    "value",
    [
        host(component="2"),
        host(transport="tcp", typ="typ host tcptype active"),
        host(typ="typ prflx"),
        host(typ="host"),
        host(port=0),
        host(port=65_536),
        host(port="٥٠"),
        host(priority=2**31),
        host(priority="-1"),
        host(foundation="x" * 33),
        host(address="x.local"),
        host(address="  x.local  "),
        host(address="224.0.0.251"),
        "1 1 udp",
        "",
    ],
)
def test_what_cannot_be_tried_is_left_out(value):
    assert usable([value], EVERYWHERE) == []


def test_odd_spacing_and_extensions_change_nothing():
    value = "  1  1   UDP 5 \t 192.168.1.9   50000   typ   srflx  raddr 10.0.0.1 rport 9 generation 0 ufrag x "
    assert usable([value], EVERYWHERE) == ["1 1 udp 5 192.168.1.9 50000 typ srflx"]


def test_only_the_ranges_that_are_allowed_are_tried():
    values = [host(address) for address in ("8.8.8.8", "10.0.0.1", "169.254.0.1", "127.0.0.1")]
    assert [text.split()[4] for text in usable(values, DEFAULT_RANGES)] == ["8.8.8.8", "10.0.0.1"]
    assert [text.split()[4] for text in usable(values, ["loopback"])] == ["127.0.0.1"]
    assert usable(values, []) == []


def test_few_are_tried_the_best_first_and_each_once():
    values = [host(port=port, priority=port) for port in range(1_000, 1_050)]
    ports = [text.split()[5] for text in usable(values + values[::-1], EVERYWHERE)]
    assert ports == [str(port) for port in range(1_049, 1_049 - MOST_TRIED, -1)]


def test_the_ranges_are_a_setting():
    assert load_settings({}).peer_ranges == ("public", "private", "loopback")
    everyone = {"host": "0.0.0.0", "api_key": "a-key-of-some-length"}
    assert load_settings(everyone).peer_ranges == ("public", "private")
    assert load_settings({**everyone, "ice_peer_ranges": "public, link-local"}).peer_ranges == ("public", "link-local")
    assert load_settings({"ice_peer_ranges": ""}).peer_ranges == ()
    with pytest.raises(SettingsError, match=r"ice_peer_ranges.*'public', 'private', 'link-local' or 'loopback'"):
        load_settings({"ice_peer_ranges": "everywhere"})
