"""A node's lease: renewed at a third of it, once after a long sleep, and told of once when the registry is away."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from server.cluster.credentials import Credentials
from server.cluster.membership import Membership
from server.cluster.roster import LEASE_SECONDS
from tests.fakes.clock import FakeClock
from tests.fakes.cluster import SECRET, FakeStore
from tests.patience import until


@dataclass
class Local:
    capacity: int = 4
    used: int = 0
    begun: int = 0
    level: int = 0
    delay_ms: float = 0.0
    workers: int = 1


@pytest.fixture
async def made():
    store, clock, local = FakeStore(), FakeClock(), Local()
    membership = Membership("a", "http://a", store, Credentials(SECRET, lambda: 0.0), clock, local)
    await membership.start()
    yield membership, store, clock, local
    store.away = False
    await membership.close()


async def test_the_lease_is_renewed_at_a_third_of_it_and_given_up_at_the_end(made):
    membership, store, clock, _ = made
    assert "a" in store.leases and membership.renewals == 1
    for n in (2, 3):
        assert await clock.sleeper() == pytest.approx(LEASE_SECONDS / 3)
        clock.advance(LEASE_SECONDS / 3)
        await until(lambda n=n: membership.renewals == n)
    await clock.sleeper()
    clock.advance(3600.0)  # the machine was suspended
    await until(lambda: membership.renewals == 4)
    assert await clock.sleeper() > 0.0
    assert membership.renewals == 4, "what was missed is not made up for"
    await membership.close()
    assert store.leases == {}


async def test_who_is_away_is_told_once_and_so_is_that_it_is_back(made, caplog):
    caplog.set_level("INFO")
    membership, store, _, local = made
    caplog.clear()
    store.away = True
    for _ in range(3):
        await membership.renew()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert membership.best(set()).name == "a" and membership.best({"a"}) is None
    local.used = 4
    assert membership.best(set()).name == "a", "it tells by itself that it is full"
    store.away = False
    for _ in range(3):
        await membership.renew()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert membership.best(set()) is None


async def test_what_no_node_has_signed_is_nobody(made, caplog):
    membership, store, _, _ = made
    stranger = Credentials(SECRET + "?", lambda: 0.0)
    other = Membership("evil", "http://evil", store, stranger, FakeClock(), Local())
    await other.renew()
    await membership.renew()
    assert "evil" in store.leases and membership.roster.peers == []
    old = Membership("b", "http://b", store, Credentials(SECRET, lambda: -100.0), FakeClock(), Local())
    caplog.set_level("INFO")
    for _ in range(2):
        await old.renew()
        await membership.renew()
    assert membership.roster.peers == [], "its clock is wrong, or somebody has put it back"
    for name in ("b", "evil"):
        store.expire(name)
    await membership.renew()
    said = [record.getMessage() for record in caplog.records if record.name == "server.cluster.membership"]
    assert len([text for text in said if "can be believed again" in text]) == 1
    assert membership._refused is None
