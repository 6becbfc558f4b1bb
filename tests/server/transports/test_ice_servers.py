"""TURN credentials made from a shared secret, and who is given them."""

from __future__ import annotations

import base64
import hashlib
import hmac

import aiohttp
import pytest

from server.settings import SettingsError, load_settings
from server.transports.webrtc import ice, ice_servers
from server.transports.webrtc.ice_servers import GivenServer, IceServer, for_session

SHARED = {"urls": "turn:turn.example.org:3478?transport=udp", "secret": "north"}


def signed(user: str, secret: str = "north") -> str:
    return base64.b64encode(hmac.new(secret.encode(), user.encode(), hashlib.sha1).digest()).decode()


def test_credentials_are_those_that_coturn_expects():
    server = IceServer(urls="turn:turn.example.org", secret="north", ttl=60)  # type: ignore[arg-type]
    (given,) = for_session([server], "alice", 1_433_895_918.9)
    # printf 1433895978:alice | openssl dgst -sha1 -hmac north -binary | base64
    assert given == GivenServer("turn:turn.example.org", "1433895978:alice", "LyIF9L5Oo8YLkV2YEKaBMBNxF8A=")


def test_every_session_has_its_own_and_others_are_given_as_they_are():
    servers = load_settings(
        {
            "ice_servers": [
                {"urls": "stun:stun.example.org"},
                {"urls": "turns:turn.example.org", "username": "u", "credential": "c"},
                SHARED,
            ]
        }
    ).ice_servers
    one, other = for_session(servers, "one", 0.0), for_session(servers, "other", 0.0)
    assert one[0].json() == {"urls": ["stun:stun.example.org"]}
    assert one[1].json() == {"urls": ["turns:turn.example.org"], "username": "u", "credential": "c"}
    assert one[:2] == other[:2]
    assert one[2].username == "86400:one"
    assert one[2].credential == signed("86400:one") != other[2].credential


def test_links_are_as_whip_has_them():
    assert GivenServer("stun:stun.example.org").link() == '<stun:stun.example.org>; rel="ice-server"'
    given = GivenServer("turn:turn.example.org?transport=udp", 'a"b', "c\\d")
    assert given.link() == (
        '<turn:turn.example.org?transport=udp>; rel="ice-server"; username="a\\"b"; credential="c\\\\d"; '
        'credential-type="password"'
    )


def test_our_own_side_is_given_them_too(monkeypatch):
    monkeypatch.setattr(ice.time, "time", lambda: 1000.0)
    settings = load_settings({"ice_servers": [{**SHARED, "ttl": 500}]})
    (server,) = ice.configuration(settings.ice_servers).iceServers
    assert (server.urls, server.username) == (SHARED["urls"], "1500:visavis")
    assert server.credential == signed("1500:visavis")


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ({"urls": "stun:a", "secret": "s"}, "a STUN server asks for no credentials"),
        ({"urls": "turn:a", "secret": "s", "username": "u"}, "either secret, or username and credential"),
        ({"urls": "turn:a", "secret": ""}, "secret is empty"),
        ({"urls": "turn:a", "ttl": 600}, "ttl is for how long credentials made from a secret hold: it needs secret"),
        ({"urls": "turn:a", "secret": "s", "ttl": 59}, "ttl"),
        ({"urls": 'turn:a>; rel="x"', "secret": "s"}, "without spaces, quotes and angle brackets"),
    ],
)
def test_what_does_not_fit_is_refused(server, said):
    with pytest.raises(SettingsError, match=said):
        load_settings({"ice_servers": [server]})


async def test_clients_ask_for_them_with_a_key(serve, monkeypatch):
    monkeypatch.setattr("server.http.signaling.ice_servers.time.time", lambda: 1000.0)
    url, _ = await serve(api_key="secret-key", ice_servers=[{**SHARED, "ttl": 500}])
    path, own = f"{url}/v1/realtime/ice_servers", {"Authorization": "Bearer secret-key"}
    async with aiohttp.ClientSession() as http:
        assert (await http.get(path)).status == 401
        made = await http.post(f"{url}/v1/realtime/client_secrets", headers=own)
        secret = await made.json()
        for headers, name in ((own, "client"), ({"Authorization": f"Bearer {secret['value']}"}, secret["id"])):
            response = await http.get(path, headers=headers)
            (server,) = (await response.json())["ice_servers"]
            assert server["username"] == f"1500:{name}"
            assert server["credential"] == signed(server["username"])
            assert response.headers["Cache-Control"] == "no-store"
            assert "north" not in await response.text()
    assert ice_servers.DEFAULT_TTL == 86_400
