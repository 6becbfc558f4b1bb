"""What a server that has too much to do answers, and to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from server.http.access.load import LOAD
from server.http.openapi.shapes import Error
from server.http.signaling.offer import REGISTRY
from server.load.readings import Reading
from server.load.state import Load
from server.settings import SettingsError, load_settings
from tests.fakes.clock import FakeClock
from tests.server.transports.test_offers_and_ice import AUDIO

KEY = {"Authorization": "Bearer a-key-for-this-test"}
OFFER = {"sdp": AUDIO, "type": "offer"}


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


def press(load: Load, level: int) -> None:
    """Let the load rise to a level, as it would within some seconds."""
    load._clock = clock = FakeClock(load._clock.now())
    while load.level < level:
        clock.advance(0.5)
        load.update([Reading("event_loop", 50.0, 40.0, "ms")])


async def inside(http: aiohttp.ClientSession, url: str, **options: Any) -> str:
    """Somebody is there already: a server that is empty takes the first one."""
    answer = await (await http.post(f"{url}/offer", json=OFFER, **options)).json()
    session: str = answer["session_id"]
    return session


async def refused(response: aiohttp.ClientResponse) -> dict[str, Any]:
    body = await response.json()
    Error.model_validate(body)
    error: dict[str, Any] = body["error"]
    assert (response.status, error["code"]) == (503, "server_busy"), body
    assert 2 <= int(response.headers["Retry-After"]) <= 60
    return error


async def test_at_the_highest_level_new_sessions_are_refused_and_running_ones_may_come_back(serve, http):
    url, app = await serve()
    running = await inside(http, url)
    press(app[LOAD], 4)
    error = await refused(await http.post(f"{url}/offer", json=OFFER))
    assert error["message"] == "the server has too much to do: event_loop is 50 ms, the limit 40 ms"
    assert 2 <= error["retry_after"] <= 60
    for path, options in (
        ("/whip", {"data": AUDIO, "headers": {"Content-Type": "application/sdp"}}),
        ("/v1/realtime/calls", {"data": AUDIO, "headers": {"Content-Type": "application/sdp"}}),
        ("/start", {"json": {}}),
    ):
        await refused(await http.post(f"{url}{path}", **options))
    again = await http.post(f"{url}/offer", json={**OFFER, "resume": running})
    assert (again.status, (await again.json())["resumed"]) == (200, True)
    ready = await http.get(f"{url}/readyz")
    assert (ready.status, (await ready.json())["status"]) == (503, "busy")
    told = await (await http.get(f"{url}/v1/status")).json()
    assert told["load"]["level"] == 4 and told["limits"]["free_sessions"] == 0
    assert told["load"]["reason"] == {"measure": "event_loop", "value": 50.0, "limit": 40.0, "unit": "ms"}
    assert told["load"]["retry_after"] >= 2
    metrics = await (await http.get(f"{url}/metrics")).text()
    assert "visavis_load_level 4.0" in metrics
    assert 'visavis_shed_total{what="session"} 4.0' in metrics


async def test_a_server_without_sessions_takes_the_first_one_whatever_slows_it_down(serve, http):
    url, app = await serve()
    press(app[LOAD], 4)
    assert (await http.get(f"{url}/readyz")).status == 200
    assert (await http.post(f"{url}/offer", json=OFFER)).status == 200
    await refused(await http.post(f"{url}/offer", json=OFFER))


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ({"headers": {"X-Priority": "Critical"}}, 200),
        ({"headers": {"X-Priority": "low"}}, 503),
        ({"json": {**OFFER, "session": {"priority": "high"}}}, 200),
        ({"json": {**OFFER, "session": {"priority": "normal"}}, "headers": {"X-Priority": "critical"}}, 503),
        ({"headers": {"X-Priority": "urgent"}}, 400),
        ({"json": {**OFFER, "session": {"priority": "urgent"}}}, 400),
    ],
)
async def test_sessions_of_higher_priority_are_let_in_until_later(serve, http, how, status):
    url, app = await serve()
    await inside(http, url)
    press(app[LOAD], 4)
    response = await http.post(f"{url}/offer", **{"json": OFFER, **how})
    body = await response.json()
    assert response.status == status, body
    if status == 400:
        assert "low, normal, high" in body["error"]["message"].replace("'", "").replace(" or ", ", ")
    if status == 200:
        assert app[REGISTRY].find(body["session_id"]).session.priority in ("critical", "high")


async def test_single_requests_of_low_priority_are_refused_first(serve, http):
    url, app = await serve()
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}

    async def status(path: str, priority: str | None) -> int:
        headers = {"X-Priority": priority} if priority is not None else {}
        response = await http.post(f"{url}{path}", json=body, headers=headers)
        return int(response.status)

    press(app[LOAD], 2)
    await refused(await http.post(f"{url}/v1/chat/completions", json=body, headers={"X-Priority": "low"}))
    assert await status("/v1/pipelines/read-aloud", "low") == 503
    assert await status("/v1/chat/completions", None) == 200
    press(app[LOAD], 4)
    assert await status("/v1/chat/completions", None) == 503
    assert await status("/v1/pipelines/read-aloud", None) == 503
    assert await status("/v1/chat/completions", "high") == 200
    assert (await http.get(f"{url}/v1/models")).status == 200, "that asks for no work"
    assert app[LOAD].refused == {"task": 4}


async def test_a_client_secret_is_no_way_past_others(serve, http):
    url, app = await serve(api_key="a-key-for-this-test")

    async def secret(**session: str) -> dict[str, str]:
        made = await http.post(f"{url}/v1/realtime/client_secrets", json={"session": session}, headers=KEY)
        told = await made.json()
        assert told["session"]["priority"] == session.get("priority", "normal")
        return {"Authorization": f"Bearer {told['value']}"}

    usual, urgent = await secret(), await secret(priority="high")
    await inside(http, url, headers=KEY)
    response = await http.post(f"{url}/offer", json=OFFER, headers={**usual, "X-Priority": "critical"})
    error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, "session.priority")
    assert error["message"].endswith("legal values are low, normal, not critical")
    press(app[LOAD], 4)
    await refused(await http.post(f"{url}/offer", json=OFFER, headers=usual))
    assert (await http.post(f"{url}/offer", json=OFFER, headers=urgent)).status == 200
    await refused(await http.post(f"{url}/offer", json=OFFER, headers={**urgent, "X-Priority": "low"}))


async def test_some_places_can_be_kept_for_sessions_of_high_priority(serve, http):
    url, _ = await serve(max_sessions=2, reserved_sessions=1)
    told = await (await http.get(f"{url}/v1/status")).json()
    assert told["limits"]["free_sessions"] == 1
    assert (await http.post(f"{url}/offer", json=OFFER)).status == 200
    response = await http.post(f"{url}/offer", json=OFFER)
    error = (await response.json())["error"]
    assert (response.status, error["code"]) == (503, "server_full")
    assert "but 1 that are kept" in error["message"]
    assert (await http.post(f"{url}/offer", json=OFFER, headers={"X-Priority": "high"})).status == 200
    response = await http.post(f"{url}/offer", json=OFFER, headers={"X-Priority": "critical"})
    assert (response.status, (await response.json())["error"]["message"]) == (503, "all 2 places are taken")


@pytest.mark.parametrize("shedding", ["auto", "off"])
async def test_the_load_is_watched_unless_that_is_switched_off(serve, shedding):
    await serve(shedding=shedding)
    names = {task.get_name() for task in asyncio.all_tasks()}
    assert ("load" in names) == (shedding == "auto")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"shedding": "off", "shed_late_ms": 20}, "shed_late_ms: needs shedding, which is off"),
        ({"shedding": "auto", "shed_cpu_percent": 0}, "shed_cpu_percent"),
        ({"shedding": "sometimes"}, "shedding"),
        ({"max_sessions": 4, "reserved_sessions": 4}, "reserved_sessions: legal values are 0 to 3"),
    ],
)
def test_settings_that_cannot_be_say_why(given, words):
    with pytest.raises(SettingsError, match=words):
        load_settings(given)
