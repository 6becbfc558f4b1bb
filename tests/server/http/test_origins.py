"""Which names and pages are the server's own, and whose word on them is taken."""

from __future__ import annotations

import ipaddress

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from server.http.origins import Asked, Authority, OwnNames, parse_authority, parse_origin
from server.http.proxies import Proxies, read_address

PUBLIC = "https://assistant.example.org"
FRIEND = "https://app.example"


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", None),
        ("LocalHost.:8080", "localhost", 8080),
        ("127.0.0.1:80", "127.0.0.1", 80),
        ("[::1]:8080", "[::1]", 8080),
        ("my_box.lan", "my_box.lan", None),
    ],
)
def test_hosts_are_read(text, host, port):
    assert parse_authority(text) == Authority(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":80",
        "a:b",
        "a:80:80",
        "a:99999",
        "a:",
        "a b",
        "a/b",
        "u@a",
        "[::1",
        "::1",
        "a\x00",
        "é",
        "a\n",
        "\udcff",
        ".",
    ],
)
def test_what_is_no_host(text):
    assert parse_authority(text) is None


@pytest.mark.parametrize(
    "text",
    ["null", "", "x://127.0.0.1", "http://", "http:/a", "http://a/", "http://a/b", "http://a?", "//a", "file://a"],
)
def test_what_is_no_origin_of_a_page(text):
    assert parse_origin(text) is None


def test_default_ports_are_the_same_origin():
    assert parse_origin("https://A.example:443") == parse_origin("https://a.example")
    assert str(parse_origin("https://A.example:443")) == "https://a.example"
    assert parse_origin("http://a.example:443") != parse_origin("https://a.example:443")


@pytest.mark.parametrize(
    "host", ["localhost", "app.localhost:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "assistant.example.org"]
)
def test_without_a_key_these_names_pass(host):
    assert OwnNames((PUBLIC,), (), keyed=False).knows(parse_authority(host) or Authority(""))


@pytest.mark.parametrize(
    "host",
    ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "notlocalhost", "0.0.0.0", "10.0.0.1", "[::]", ""],
)
def test_without_a_key_others_do_not(host):
    assert not OwnNames((PUBLIC,), (FRIEND, "*"), keyed=False).knows(parse_authority(host) or Authority(""))
    assert OwnNames((), (), keyed=True).knows(parse_authority(host) or Authority(""))


@pytest.mark.parametrize(
    ("keyed", "origin", "host", "scheme", "welcome"),
    [
        (False, None, "localhost:8080", None, True),
        (False, "http://localhost:8080", "localhost:8080", None, True),
        (False, "http://127.0.0.1:8080", "localhost:8080", None, True),
        (False, "http://[::1]:8080", "[::1]:8080", None, True),
        (False, "http://localhost:3000", "localhost:8080", None, False),
        (False, "x://localhost:8080", "localhost:8080", None, False),
        (False, "http://evil.test:8080", "localhost:8080", None, False),
        (False, "http://evil.test:8080", "evil.test:8080", None, False),
        (False, "null", "localhost:8080", None, False),
        (False, PUBLIC, "localhost:8080", None, True),
        (False, PUBLIC + ":443", "assistant.example.org", None, True),
        (False, "http://assistant.example.org", "assistant.example.org", "https", False),
        (False, FRIEND, "localhost:8080", None, True),
        (False, FRIEND + ":444", "localhost:8080", None, False),
        (True, "http://10.0.0.7:8080", "10.0.0.7:8080", None, True),
        (True, "https://a.example", "a.example", None, True),
        (True, "https://a.example", "a.example", "https", True),
        (True, "http://a.example", "a.example", "https", False),
        (True, "https://evil.test", "a.example", None, False),
        (True, "https://a.example", "127.0.0.1:8080", None, False),
    ],
)
def test_pages(keyed, origin, host, scheme, welcome):
    authority = parse_authority(host)
    assert authority is not None
    names = OwnNames((PUBLIC,), (FRIEND,), keyed=keyed)
    assert names.welcomes(Asked(authority, origin, scheme)) is welcome


def test_other_sites_are_granted_their_own_origin_or_all():
    assert OwnNames((), (FRIEND,), keyed=False).grant(FRIEND) == FRIEND
    assert OwnNames((), (FRIEND,), keyed=False).grant("https://evil.test") is None
    assert (
        OwnNames((), ("capacitor://localhost",), keyed=False).grant("capacitor://localhost") == "capacitor://localhost"
    )
    assert OwnNames((), ("*",), keyed=False).grant("\udcff\n") == "*"
    assert OwnNames((), ("*",), keyed=False).grant(None) is None


def asked(peer: str, **headers: str) -> Asked:
    trusted = [ipaddress.ip_network(text) for text in ("127.0.0.1/32", "10.0.0.0/8", "fd00::/8")]
    sent = CIMultiDict((name.replace("_", "-"), value) for name, value in headers.items())
    return Proxies(trusted).asked(CIMultiDictProxy(sent), "server:8080", peer)


HERE = Authority("server", 8080)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("9.9.9.9", {"X_Forwarded_Host": "a.example", "X_Forwarded_For": "1.1.1.1"}, (HERE, None, "9.9.9.9")),
        ("127.0.0.1", {}, (HERE, None, "127.0.0.1")),
        ("127.0.0.1", {"X_Forwarded_Host": "a.example"}, (Authority("a.example"), None, "127.0.0.1")),
        ("10.1.1.1", {"X_Forwarded_Host": "spoofed, a.example"}, (Authority("a.example"), None, "10.1.1.1")),
        ("10.1.1.1", {"X_Forwarded_Proto": "https"}, (HERE, "https", "10.1.1.1")),
        ("10.1.1.1", {"X_Forwarded_Proto": "gopher", "X_Forwarded_Host": "\udcff"}, (HERE, None, "10.1.1.1")),
        ("10.1.1.1", {"X_Forwarded_For": "spoofed, 1.1.1.1, 10.2.2.2"}, (HERE, None, "1.1.1.1")),
        ("10.1.1.1", {"X_Forwarded_For": "nobody"}, (HERE, None, "10.1.1.1")),
        ("fd00::1", {"X_Forwarded_For": "[2001:db8::1]:99"}, (HERE, None, "2001:db8::1")),
        ("::ffff:127.0.0.1", {"X_Forwarded_For": "1.1.1.1:99"}, (HERE, None, "1.1.1.1")),
        (
            "127.0.0.1",
            {"Forwarded": 'for="[2001:db8::1]:4711";host=x, for=10.3.3.3;proto=https;host="a.example:444"'},
            (Authority("a.example", 444), "https", "2001:db8::1"),
        ),
        ("127.0.0.1", {"Forwarded": ';;=,"'}, (HERE, None, "127.0.0.1")),
        ("127.0.0.1", {"Forwarded": "host=x", "X_Forwarded_Proto": "https"}, (HERE, "https", "127.0.0.1")),
        ("", {"X_Forwarded_For": "1.1.1.1"}, (HERE, None, "")),
    ],
)
def test_only_trusted_proxies_are_believed(peer, headers, expected):
    told = asked(peer, **headers)
    assert (told.host, told.scheme, told.client) == expected


def test_addresses_are_read_in_any_clothes():
    texts = ("1.2.3.4", "1.2.3.4:5", "[::1]:5", "::1", "::ffff:1.2.3.4", "_hidden", "unknown", "")
    assert [str(read_address(text)) for text in texts] == [
        "1.2.3.4", "1.2.3.4", "::1", "::1", "1.2.3.4", "None", "None", "None",
    ]  # fmt: skip
