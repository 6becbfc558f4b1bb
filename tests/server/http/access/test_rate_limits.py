"""How often somebody may ask: a burst, then evenly; and how many are counted."""

from __future__ import annotations

import aiohttp
import pytest

from server.http.access import rate_limits
from server.http.access.rate_limits import RateLimit
from tests.fakes.clock import FakeClock


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def test_a_burst_then_evenly():
    clock = FakeClock(5.0)
    limit = RateLimit(60, 3, clock)
    assert [limit.wait("a") for _ in range(5)] == [0, 0, 0, 1, 1]
    clock.advance(1.0)
    assert [limit.wait("a") for _ in range(2)] == [0, 1]
    clock.advance(100.0)
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 1]


def test_the_wait_is_told_in_whole_seconds():
    limit = RateLimit(2, 1, FakeClock())
    assert [limit.wait("a") for _ in range(2)] == [0, 30]


def test_who_is_refused_need_not_wait_longer_for_asking():
    clock = FakeClock()
    limit = RateLimit(60, 1, clock)
    assert [limit.wait("a") for _ in range(50)] == [0, *[1] * 49]
    clock.advance(1.0)
    assert limit.wait("a") == 0


def test_everybody_is_counted_alone_and_only_so_many(monkeypatch):
    monkeypatch.setattr(rate_limits, "MOST_KNOWN", 3)
    limit = RateLimit(1, 1, FakeClock())
    assert [limit.wait(who) for who in "abc"] == [0, 0, 0]
    assert limit.wait("a") > 0
    assert limit.wait("d") == 0
    assert len(limit) == 3
    assert limit.wait("a") == 0  # let in longest ago, and forgotten


async def refused(http, url: str, **headers: str) -> tuple[int, str, str | None]:
    response = await http.get(f"{url}/v1/engines", headers=headers)
    body = await response.json()
    return response.status, body.get("error", {}).get("code", ""), response.headers.get("Retry-After")


async def test_an_address_that_asks_too_often_is_told_when_to_come_again(serve, http):
    url, _ = await serve(rate_limit_per_address=1, rate_limit_burst=2)
    assert [(await refused(http, url))[0] for _ in range(2)] == [200, 200]
    status, code, after = await refused(http, url)
    assert (status, code) == (429, "rate_limit_exceeded")
    assert 50 <= int(after or 0) <= 60
    for path in ("/", "/healthz", "/readyz"):
        assert (await http.get(url + path)).status == 200, path


async def test_guessing_keys_is_counted_too(serve, http):
    url, _ = await serve(api_key="secret-key", rate_limit_per_address=1, rate_limit_burst=2)
    codes = [(await refused(http, url, Authorization=f"Bearer guess-{n}"))[1] for n in range(3)]
    assert codes == ["invalid_api_key", "invalid_api_key", "rate_limit_exceeded"]
    assert (await refused(http, url, Authorization="Bearer secret-key"))[0] == 429


async def test_addresses_behind_a_trusted_proxy_are_told_apart(serve, http):
    settings = {"rate_limit_per_address": 1, "rate_limit_burst": 1}
    url, _ = await serve(trusted_proxies="127.0.0.1", **settings)
    told = [{"X-Forwarded-For": address} for address in ("9.9.9.1", "9.9.9.2", "9.9.9.1", "2001:db8::1", "2001:db8::2")]
    assert [(await refused(http, url, **headers))[0] for headers in told] == [200, 200, 429, 200, 429]
    assert [(await refused(http, url))[0] for _ in range(2)] == [200, 200]  # the proxy's own, such as its probes
    url, _ = await serve(**settings)
    assert [(await refused(http, url, **headers))[0] for headers in told[:2]] == [200, 429]


async def test_every_key_is_counted_alone(serve, http):
    url, _ = await serve(api_key="secret-key", rate_limit_per_key=1, rate_limit_burst=3)
    own = {"Authorization": "Bearer secret-key"}
    made = await http.post(f"{url}/v1/realtime/client_secrets", json={}, headers=own)
    client = {"Authorization": f"Bearer {(await made.json())['value']}"}
    servers = f"{url}/v1/realtime/ice_servers"
    assert [(await http.get(servers, headers=own)).status for _ in range(3)] == [200, 200, 429]
    assert [(await http.get(servers, headers=client)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_there_is_no_limit_on_loopback_unless_asked_for(serve, http):
    url, _ = await serve()
    assert {(await http.get(f"{url}/v1/engines")).status for _ in range(200)} == {200}


def test_what_others_count_is_waited_for_and_what_they_have_not_heard_of_is_kept_for_them():
    clock, news = FakeClock(), list[int]()
    limit = RateLimit(60, 3, clock)
    limit.wait("a")
    assert limit.untold(9) == {}, "nobody counts with it"
    limit.share(lambda: news.append(1))
    assert [limit.wait(who) for who in "aabc"] == [0, 0, 0, 0] and len(news) == 4
    assert limit.wait("a") == 1 and len(news) == 4, "what is refused is not counted"
    assert limit.untold(2) == {"a": 2.0, "b": 1.0} and len(news) == 5, "there is more"
    assert limit.untold(2) == {"c": 1.0} and limit.untold(2) == {}
    limit.learn("b", 3.0)
    assert limit.wait("b") == 1 and limit.wait("c") == 0
    limit.learn("c", 2.0)  # without the one that they have not heard of
    assert limit.wait("c") == 1
    clock.advance(1.0)
    assert limit.wait("b") == 0
    limit.learn("a", 0.0)
    assert limit.wait("a") == 0 and limit.wait("a") == 1, "what is known here is not forgotten"
    limit.learn("a", 1e9)
    assert limit.wait("a") == rate_limits.LONGEST_DEBT + 2, "with the one that they have not heard of"


def test_not_more_is_kept_for_others_than_is_counted(monkeypatch):
    monkeypatch.setattr(rate_limits, "MOST_KNOWN", 3)
    limit = RateLimit(60, 3, FakeClock())
    limit.share(lambda: None)
    for who in "abcdeab":
        limit.wait(who)
    assert limit.untold(9) == {"a": 2.0, "b": 2.0, "c": 1.0}
