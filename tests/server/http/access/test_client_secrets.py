"""Client secrets: what is kept of them, how they end, and that their number has an end."""

from __future__ import annotations

import pytest

from server.dialects.openai.fields import SessionPatch
from server.http.access import client_secrets
from server.http.access.client_secrets import ClientSecrets, TooManySecretsError
from tests.fakes.clock import FakeClock

PATCH = SessionPatch(instructions="Speak like a sailor.")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000.0)


@pytest.fixture
def held(clock: FakeClock) -> ClientSecrets:
    return ClientSecrets(clock.now)


def state(held: ClientSecrets, value: str) -> str | None:
    found = held.find(value)
    return None if found is None else found[1]


def test_a_value_is_found_until_it_expires_and_is_known_as_expired_for_a_while(held, clock):
    value, secret = held.make(PATCH, 10)
    assert value.startswith("ek_")
    assert (secret.created_at, secret.expires_at) == (1_000_000, 1_000_010)
    clock.advance(9.9)
    assert held.find(value) == (secret, "active")
    clock.advance(0.1)
    assert state(held, value) == "expired"
    assert secret.session == SessionPatch()
    clock.advance(client_secrets.REMEMBERED_SECONDS)
    assert state(held, value) is None
    assert list(held) == []


def test_a_revoked_one_is_known_as_revoked(held):
    value, secret = held.make(PATCH, 600)
    assert held.revoke(secret.id)
    assert state(held, value) == "revoked"
    assert [one for _, one in held] == ["revoked"]
    assert not held.revoke("nobody")


def test_only_the_whole_value_opens(held):
    value, secret = held.make(PATCH, 600)
    other, _ = held.make(PATCH, 600)
    assert state(held, value) == "active"
    forged = f"ek_{secret.id}_" + other.rpartition("_")[2]
    for wrong in (
        "ek_",
        "",
        value[:-1],
        value + "x",
        forged,
        f"ek_{secret.id}",
        value.removeprefix("ek_"),
        "ek_\udcff_x",
    ):
        assert state(held, wrong) is None, wrong


def test_no_value_is_kept(held):
    value, secret = held.make(PATCH, 600)
    random = value.partition("_")[2].partition("_")[2]
    assert len(random) >= 43
    assert random not in repr(held.__dict__)
    assert random.encode() not in secret.digest


def test_their_number_is_bounded_and_those_that_ended_make_room(held, clock, monkeypatch):
    monkeypatch.setattr(client_secrets, "MOST_SECRETS", 3)
    monkeypatch.setattr(client_secrets, "MOST_ENDED", 4)
    made = [held.make(PATCH, 10) for _ in range(3)]
    with pytest.raises(TooManySecretsError, match="3 client secrets are in use"):
        held.make(PATCH, 10)
    held.revoke(made[0][1].id)
    held.make(PATCH, 10)
    clock.advance(10)
    for _ in range(3):
        held.make(PATCH, 10)
    assert len(list(held)) == 3 + 4
    clock.advance(10)
    assert [one for _, one in held] == ["expired"] * 4
    assert state(held, made[0][0]) is None


def test_calls_of_a_secret_are_bounded(held, monkeypatch):
    monkeypatch.setattr(client_secrets, "MOST_CALLS", 2)
    _, secret = held.make(PATCH, 10)
    for call in ("a", "b", "c"):
        secret.made(call)
    assert list(secret.calls) == ["b", "c"]
