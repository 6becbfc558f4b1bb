"""What somebody without a key, or with a broken client, can make one node do to another: nothing."""

from __future__ import annotations

import asyncio
import logging
from urllib.parse import urlsplit

import aiohttp

from server.cluster.door import REPLACED
from server.workers.ids import node_in
from tests.fakes.cluster import Nodes, Running, nodes
from tests.fakes.hostile_requests import corpus, request
from tests.fakes.raw_http import address_of, ask, attack, judge
from tests.patience import PATIENCE, until
from tests.server.cluster.test_nodes import SDP, offered
from tests.server.transports.test_offers_and_ice import AUDIO


async def test_a_node_does_for_no_stranger_what_nodes_do_for_each_other(loopback):
    async with nodes({"a": 2, "b": 4}, api_key="the-key-of-all-nodes") as made:
        await made_up_news_end_nobodys_session(made)
        await the_body_of_a_call_goes_with_it_where_only_its_node_knows_the_secret(made)
        await connections_to_nodes_that_are_no_more_are_closed(made)
        await a_broken_request_says_nothing_about_the_node_that_it_was_for(made)


async def made_up_news_end_nobodys_session(made: Nodes) -> None:
    a, b = made["a"], made["b"]
    status, answer = await offered(b)
    assert (status, node_in(answer["session_id"])) == (200, "b")
    made.store.away = True
    await made.renew()
    forged = {"Authorization": "Bearer ek_b.0123456789abcdef"}
    async with aiohttp.ClientSession() as stranger:
        body = {"session": answer["session_id"]}
        async with stranger.post(f"{a.url}{REPLACED}", json=body, headers=forged) as told:
            assert told.status in (401, 403), await told.text()
    assert b.sessions.find(answer["session_id"]) is not None
    assert len(b.sessions) == 1


async def the_body_of_a_call_goes_with_it_where_only_its_node_knows_the_secret(made: Nodes) -> None:
    a, b = made["a"], made["b"]
    async with b.http.post("/v1/realtime/client_secrets", json={}) as told:
        secret = (await told.json())["value"]
    assert node_in(secret) == "b" and not a.node.membership.connected
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as http:
        async with http.post(f"{a.url}/v1/realtime/calls", data=AUDIO, headers=SDP) as told:
            assert (told.status, node_in(told.headers.get("Location", ""))) == (201, "b"), await told.text()
        async with http.post(f"{a.url}/offer", json={"sdp": AUDIO, "type": "offer"}) as told:
            assert (told.status, node_in((await told.json())["session_id"])) == (200, "b")


async def a_broken_request_says_nothing_about_the_node_that_it_was_for(made: Nodes) -> None:
    made.store.away = False
    await made.renew()
    a = made["a"]
    path = "/v1/realtime/calls/rtc_b.0123456789abcdef/hangup"
    head = f"POST {path} HTTP/1.1\r\nHost: {urlsplit(a.url).netloc}\r\nAuthorization: Bearer the-key-of-all-nodes\r\n"
    packed = f"{head}Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n".encode()
    assert b" 400 " in await _said(a, packed + b"this is not what gzip writes..")
    assert a.node.door.passed["unreachable"] == 0


async def connections_to_nodes_that_are_no_more_are_closed(made: Nodes) -> None:
    door, b = made["a"].node.door, made["b"]
    ways = door._ways
    assert ("b", b.url) in ways._ways
    before = ways.to("pod-7f4c9", "http://127.0.0.1:9").passing
    after = ways.to("pod-8a5d0", "http://127.0.0.1:9").passing
    assert set(ways._ways) == {("b", b.url), ("pod-8a5d0", "http://127.0.0.1:9")}
    assert not after._client.closed
    await until(lambda: before._client.closed)


async def _said(node: Running, raw: bytes) -> bytes:
    """The first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(node.url).port)
    try:
        writer.write(raw)
        return await asyncio.wait_for(reader.readline(), PATIENCE)
    finally:
        writer.close()


async def test_bytes_that_no_client_should_send_are_told_so_by_a_node_as_well(loopback, caplog):
    async with nodes({"a": 1}) as made:
        address = address_of(made["a"].url)
        counts, wrong = await attack(*address, (case for case in corpus() if case[0] not in ("header", "encoding")))
        assert not wrong
        assert sum(counts.values()) > 500
        for headers, body in (
            (((b"Authorization", b"Bearer ek_\xff_x"),), b"{}"),
            ((), b'{"sdp": "v=0", "type": "offer", "resume": "sess_\\ud800"}'),
            ((), '{"sdp": "v=0", "type": "offer", "resume": "sess_\U00010000"}'.encode()),
        ):
            status, right = judge(await ask(*address, request(b"POST", b"/offer", headers, body)))
            assert right and status in ("400", "401"), (body, status)
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
