"""What a key opens: the server's own everything, a client secret calls alone, and nothing else anything."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import offered_session
from server.http.access.client_secrets import ClientSecrets
from server.http.access.granted import Granted, over
from server.http.access.keys import SUBPROTOCOL, Asking, Denied, Keys, asking, key_of
from server.http.errors import HttpError
from tests.fakes.clock import FakeClock

OWN = "the-server-key"
DETECTION = {"type": "semantic_vad", "eagerness": "high"}


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ([("Authorization", "Bearer k")], "k"),
        ([("Authorization", "bearer  k ")], "k"),
        ([("Authorization", "k")], None),
        ([("Authorization", "Basic k")], None),
        ([("Authorization", "Bearer k"), ("Authorization", "Bearer j")], None),
        ([("Upgrade", "websocket"), ("Protocol", "realtime, KEY.k")], "k"),
        (
            [("Upgrade", "WebSocket"), ("Protocol", "x"), ("Protocol", "KEY.k")],
            "k",
        ),
        ([("Upgrade", "websocket"), ("Protocol", "KEY.k, KEY.j")], None),
        ([("Upgrade", "websocket"), ("Protocol", "realtime")], None),
        ([("Protocol", "KEY.k")], None),
        ([("Authorization", "Bearer k"), ("Upgrade", "websocket"), ("Protocol", "KEY.j")], "k"),
        ([], None),
    ],
)  # fmt: skip
def test_where_a_key_may_stand(lines, key):
    names = {"Protocol": "Sec-WebSocket-Protocol"}
    sent = CIMultiDict((names.get(name, name), value.replace("KEY.", SUBPROTOCOL)) for name, value in lines)
    assert key_of(CIMultiDictProxy(sent)) == key


def judged(held: ClientSecrets, given: str | None, route: str = "/metrics", call: str | None = None, own=OWN):
    return Keys(own, held).judge(given, Asking(route, call))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)


@pytest.fixture
def held(clock: FakeClock) -> ClientSecrets:
    return ClientSecrets(clock.now)


def test_the_own_key_opens_everything(held):
    for route in ("/metrics", "/v1/realtime/calls/{id}", "/v1/realtime/client_secrets", ""):
        assert judged(held, OWN, route, "any") == Granted()


OPENED = [
    "/offer",
    "/v1/realtime",
    "/v1/realtime/calls",
    "/v1/realtime/ice_servers",
    "/whip",
    "/whip/{session}",
    "/start",
    "/sessions/{start}/api/offer",
    "/api/offer",
]
CLOSED = [
    "/whep",
    "",
    "/metrics",
    "/v1/engines",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/realtime/client_secrets",
    "/v1/realtime/client_secrets/{id}",
    "/api/models/{name}",
    "/{owner}/{name}/resolve/{revision}/{file}",
    "/v1/sessions/{id}",
    "/offers",
]


@pytest.mark.parametrize("route", OPENED)
def test_a_secret_opens_calls(held, route):
    value, secret = held.make(SessionPatch(), 60)
    assert judged(held, value, route) == Granted(secret)


@pytest.mark.parametrize("own", [OWN, None])
@pytest.mark.parametrize("route", CLOSED)
def test_a_secret_opens_nothing_else(held, route, own):
    value, _ = held.make(SessionPatch(), 60)
    denied = judged(held, value, route, own=own)
    assert isinstance(denied, Denied)
    assert (denied.status, denied.code) == (403, "client_secret_not_allowed")
    assert denied.challenge == 'Bearer error="insufficient_scope"'


def test_every_refusal_tells_what_is_the_matter(held, clock):
    gone, _ = held.make(SessionPatch(), 60)
    clock.advance(60)
    taken, secret = held.make(SessionPatch(), 60)
    held.revoke(secret.id)
    denied = [judged(held, given, "/offer") for given in (None, "wrong-key-here", "ek_unknown_x", gone, taken)]
    assert [one.status for one in denied] == [401] * 5
    assert [one.code for one in denied] == [
        "missing_api_key", "invalid_api_key", "invalid_api_key", "client_secret_expired", "client_secret_revoked",
    ]  # fmt: skip
    assert len({one.message for one in denied}) == 5
    assert "expired at 1970-01-12T13:47:40Z" in denied[3].message
    assert [one.challenge for one in denied] == ["Bearer"] + ['Bearer error="invalid_token"'] * 4


def test_without_an_own_key_secrets_still_mean_what_they_say(held, clock):
    value, secret = held.make(SessionPatch(), 60)
    assert judged(held, value, "/offer", own=None) == Granted(secret)
    for other in (None, "whatever", "ek_of_some_tutorial"):
        assert judged(held, other, "/metrics", own=None) == Granted()
    clock.advance(60)
    assert judged(held, value, "/offer", own=None).code == "client_secret_expired"


def test_a_secret_reaches_its_own_calls_also_when_it_has_expired(held, clock):
    value, secret = held.make(SessionPatch(), 60)
    other, _ = held.make(SessionPatch(), 60)
    granted = judged(held, value, "/v1/realtime/calls")
    granted.made("sess_mine")
    hang_up = "/v1/realtime/calls/{id}/hangup"
    assert judged(held, value, hang_up, "rtc_mine") == Granted(secret)
    with pytest.raises(HttpError):
        granted.check_reach("sess_yours")
    granted.check_reach("sess_mine")
    for given, call in ((value, "yours"), (other, "sess_mine")):
        denied = judged(held, given, hang_up, call)
        assert (denied.status, denied.code) == (403, "call_not_allowed")
    assert judged(held, value, "/v1/realtime", "yours").code == "call_not_allowed"
    clock.advance(60)
    assert judged(held, value, hang_up, "mine") == Granted(secret, has_expired=True)
    assert judged(held, value, hang_up, "yours").code == "client_secret_expired"
    held.revoke(secret.id)
    assert judged(held, value, hang_up, "mine").code == "client_secret_revoked"


def test_the_call_is_named_by_the_path_or_the_query():
    assert asking("/x/{id}", {"id": "a"}, {"call_id": "b"}).named == "a"
    assert asking("/v1/realtime", {}, {"call_id": "b"}).named == "b"
    assert asking("/v1/realtime", {}, {}).named is None


def test_a_secret_that_has_expired_begins_no_call_in_the_name_of_an_old_one(held, clock):
    value, secret = held.make(SessionPatch(), 60)
    judged(held, value, "/v1/realtime/calls").made("sess_mine")
    clock.advance(60)
    query = {"call_id": "rtc_mine"}
    for route in ("/v1/realtime/calls", "/offer", "/whip", "/v1/live/sessions", "/start"):
        assert Keys(OWN, held).judge(value, asking(route, {}, query)).code == "client_secret_expired"
    assert Keys(OWN, held).judge(value, asking("/v1/realtime", {}, query)) == Granted(secret, has_expired=True)


# ------------------------------------------------------------------------------------------------ the session


def test_the_client_may_override_the_session_of_its_secret(held):
    bound = offered_session(
        {
            "type": "realtime",
            "instructions": "Be brief.",
            "max_output_tokens": 50,
            "audio": {"input": {"turn_detection": DETECTION}, "output": {"speed": 1.5}},
            "vision": {"overlay": {"boxes": False}},
        }
    )  # fmt: skip
    own = offered_session({"instructions": "Sing.", "audio": {"output": {"voice": "alloy"}}, "max_output_tokens": None})
    _, secret = held.make(bound, 60)
    both = Granted(secret).begins(own)
    assert both == offered_session(
        {
            "type": "realtime",
            "instructions": "Sing.",
            "max_output_tokens": None,
            "audio": {
                "input": {"turn_detection": DETECTION},
                "output": {"speed": 1.5, "voice": "alloy"},
            },
            "vision": {"overlay": {"boxes": False}},
        }
    )
    assert both.model_fields_set == {"type", "instructions", "max_output_tokens", "audio", "vision"}
    assert Granted().begins(own) is own


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({"eagerness": "low"}, {"type": "semantic_vad", "eagerness": "low"}),
        ({"type": "server_vad", "silence_duration_ms": 300}, {"type": "server_vad", "silence_duration_ms": 300}),
        (None, None),
    ],
)
def test_another_type_replaces_the_whole_object(wish, expected):
    def detecting(detection: object) -> SessionPatch:
        return offered_session({"audio": {"input": {"turn_detection": detection}}})

    assert over(detecting({"type": "semantic_vad", "eagerness": "high"}), detecting(wish)) == detecting(expected)
