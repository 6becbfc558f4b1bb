"""The page through a real TURN server and nothing else, and what it says of one that refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.waiting import CONNECTED, in_browsers, until
from tests.fakes.coturn import SECRET, coturn, missing

pytestmark = [*in_browsers, pytest.mark.skipif(bool(missing()), reason=missing())]

PAIR = """async () => {
    let call;
    while (!(call = window.calls.find(({ connectionState }) => connectionState === "connected"))) {
        await new Promise((next) => setTimeout(next, 20)); // the channel may be open a moment sooner
    }
    const found = await call.getStats();
    const { selectedCandidatePairId } = [...found.values()].find(({ type }) => type === "transport");
    return found.get(found.get(selectedCandidatePairId).localCandidateId).candidateType;
}"""
KEEP = """
    window.calls = [];
    const Original = RTCPeerConnection;
    window.RTCPeerConnection = class extends Original {
        constructor(...given) { super(...given); window.calls.push(this); }
    };
"""


@pytest.mark.parametrize("way", ["udp", pytest.param("tcp", marks=pytest.mark.long)])
async def test_a_call_of_the_page_goes_through_the_relay_alone(serve, browser_page, tmp_path: Path, way: str):
    async with coturn(tmp_path) as turn:
        url, _ = await serve(ice_servers=[{"urls": [turn.url(way)], "secret": SECRET, "used_by": "clients"}])
        page = await browser_page(f"{url}/?relay", init=KEEP)
        await page.get_by_role("button", name="Start").click()
        await until(page, CONNECTED)
        assert await page.evaluate(PAIR) == "relay"


@pytest.mark.long  # it gives up after 10 s
async def test_the_page_says_that_the_relay_refuses_it(serve, browser_page, tmp_path: Path):
    async with coturn(tmp_path) as turn:
        url, _ = await serve(ice_servers=[{"urls": [turn.url("udp")], "secret": "another", "used_by": "clients"}])
        page = await browser_page(f"{url}/?relay", real_limits=True)
        await page.get_by_role("button", name="Start").click()
        await until(page, "state => state.problem === 'ice_failed'")
        ways = await page.locator("#ways-list").text_content()
        assert f"{turn.url('udp')}: 401" in ways, ways


@pytest.mark.long  # it gives up after 10 s
async def test_the_page_says_that_no_relay_answers(serve, browser_page):
    silent = "turn:127.0.0.1:9?transport=udp"
    url, _ = await serve(ice_servers=[{"urls": [silent], "secret": SECRET, "used_by": "clients"}])
    page = await browser_page(f"{url}/?relay", real_limits=True)
    await page.get_by_role("button", name="Start").click()
    await until(page, "state => state.problem === 'ice_failed'")
    ways = await page.locator("#ways-list").text_content()
    assert f"local: none {silent}" in ways, ways
