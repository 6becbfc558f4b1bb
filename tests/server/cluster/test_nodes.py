"""Nodes in one process that share a store: who gets a session, and which requests find it from any node."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import aiohttp
import pytest

from server.cluster.door import PASSED_ON
from server.workers.ids import node_in
from tests.fakes.cluster import Nodes, Running, nodes
from tests.fakes.peer import Peer
from tests.loopback.test_workers import Resuming
from tests.patience import until
from tests.server.transports.test_offers_and_ice import AUDIO

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
PUBLISHED = AUDIO.replace("sendrecv", "sendonly")


async def offered(node: Running, **more: Any) -> tuple[int, dict[str, Any]]:
    async with node.http.post("/offer", json={"sdp": AUDIO, "type": "offer", **more}) as told:
        return told.status, await told.json()


async def test_offers_at_one_node_are_spread_by_free_places_and_then_all_is_full(loopback):
    async with nodes({"a": 2, "b": 4, "c": 4}) as made:
        told = await asyncio.gather(*(offered(made["a"]) for _ in range(10)))
        owners = Counter(node_in(answer["session_id"]) for status, answer in told if status == 200)
        assert owners == {"a": 2, "b": 4, "c": 4}
        async with made["b"].http.post("/offer", json={"sdp": AUDIO, "type": "offer"}) as refused:
            error = (await refused.json())["error"]
            assert (refused.status, error["code"], error["places"]) == (503, "server_full", 10)
            assert "Retry-After" in refused.headers


async def test_few_sessions_go_where_the_largest_share_is_free_and_over_a_websocket_too(loopback):
    async with nodes({"a": 2, "b": 4}) as made:
        owners = [node_in((await offered(made["a"]))[1]["session_id"]) for _ in range(3)]
        assert Counter(owners) == {"a": 1, "b": 2}
        await asyncio.gather(*(offered(made["b"]) for _ in range(2)))
        await made.renew()
        full, other = (made["a"], made["b"]) if not made["a"].sessions.free else (made["b"], made["a"])
        async with full.http.ws_connect("/v1/realtime?model=any") as socket:
            assert (await socket.receive_json())["type"] == "session.created"
            assert (len(other.sessions), other.sessions.free) == (other.node.membership.report().capacity, 0)
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await full.http.ws_connect("/v1/realtime?model=any")
            assert refused.value.status == 503


async def test_what_is_asked_of_the_wrong_node_reaches_the_right_one(loopback):
    async with nodes({"a": 1, "b": 8}) as made:
        a, b = made["a"], made["b"]
        await offered(a)  # now a is full
        await made.renew()
        for ask in (_realtime, _whip, _pipecat):
            before = a.node.door.passed["answered"]
            await ask(a, b)
            await until(lambda before=before: a.node.door.passed["answered"] >= before + 3)


async def _realtime(a: Running, b: Running) -> None:
    async with a.http.post("/v1/realtime/calls", data=AUDIO, headers=SDP) as told:
        assert told.status == 201
        call = told.headers["Location"]
    assert node_in(call) == "b" and len(b.sessions) == 1
    async with a.http.ws_connect(f"/v1/realtime?call_id={call.rpartition('/')[2]}") as sideband:
        assert (await sideband.receive_json())["type"] == "session.created"
    async with a.http.post(f"{call}/hangup") as told:
        assert told.status == 200
    await until(lambda: len(b.sessions) == 0)
    async with a.http.post(f"{call}/hangup") as told:
        assert (told.status, (await told.json())["error"]["code"]) == (404, "call_not_found")


async def _whip(a: Running, b: Running) -> None:
    async with a.http.post("/whip", data=PUBLISHED, headers=SDP) as told:
        assert told.status == 201
        place, tag = told.headers["Location"], told.headers["ETag"]
    assert node_in(place) == "b" and len(b.sessions) == 1
    headers = {"Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag}
    async with a.http.patch(place, data=FRAGMENT, headers=headers) as told:
        assert told.status == 204
    async with a.http.delete(place) as told:
        assert told.status == 200
    await until(lambda: len(b.sessions) == 0)


async def _pipecat(a: Running, b: Running) -> None:
    async with a.http.post("/start", json={}) as told:
        start = (await told.json())["sessionId"]
    assert node_in(start) == "b"
    url = f"/sessions/{start}/api/offer"
    async with a.http.post(url, json={"sdp": AUDIO, "type": "offer"}) as told:
        pc_id = (await told.json())["pc_id"]
    assert node_in(pc_id) == "b"
    async with a.http.patch(url, json={"pc_id": pc_id, "candidates": []}) as told:
        assert (await told.json())["status"] == "success"


async def test_between_nodes_and_strangers(loopback):
    async with nodes({"a": 1, "b": 3}, whip_redirect=True, api_key="the-key-of-all-nodes") as made:
        await nobody_else_can_pretend_to_be_a_node(made)
        await offered(made["a"])
        await made.renew()
        await a_whip_client_is_sent_to_the_node_and_stays_there(made)
        await what_was_passed_on_is_not_passed_on_again(made)


async def a_whip_client_is_sent_to_the_node_and_stays_there(made: Nodes) -> None:
    async with made["a"].http.post("/whip?x=1", data=PUBLISHED, headers=SDP, allow_redirects=False) as told:
        assert told.status == 307
        where = told.headers["Location"]
    assert where.startswith(f"{made['b'].url}/whip?x=1&placed=")
    async with made["b"].http.post(where, data=PUBLISHED, headers=SDP) as told:
        assert (told.status, node_in(told.headers["Location"])) == (201, "b"), await told.text()
    async with made["b"].http.post(where, data=PUBLISHED, headers=SDP, allow_redirects=False) as told:
        assert told.status == 201, "what has been used proves nothing, but here is room"


async def nobody_else_can_pretend_to_be_a_node(made: Nodes) -> None:
    seen = []
    for forged in ("a", "a 1:2:3", "a " + made["a"].node.door._credentials.signature(_other())):
        async with made["b"].http.get("/v1/nodes", headers={PASSED_ON: forged}) as told:
            seen.append((told.status, (await told.json())["error"]["code"]))
    assert seen == [(403, "node_not_trusted")] * 3


def _other() -> Any:
    from server.cluster.credentials import Signed

    return Signed("c", ["a", "GET", "/v1/nodes", "", "", "", ""])


async def what_was_passed_on_is_not_passed_on_again(made: Nodes) -> None:
    a, b = made["a"], made["b"]
    while (await offered(b))[0] == 200:
        pass
    # Both believe that the other has room, and neither has; no renewal of a lease tells them better.
    for one in (a, b):
        one.node.membership._task.cancel()  # type: ignore[union-attr]
        for peer in one.node.membership.roster.peers:
            object.__setattr__(peer.report, "used", 0)
            peer.coming.clear()
    status, answer = await offered(a)
    assert (status, answer["error"]["code"]) == (503, "server_full")
    assert (a.node.door.passed["refused"], b.node.door.passed["refused"]) == (1, 0)


async def test_a_node_that_is_drained_gets_none_and_its_clients_go_on_elsewhere(loopback):
    async with nodes({"a": 4, "b": 4}) as made:
        a, b = made["a"], made["b"]
        async with Resuming(a.url) as peer:
            owner = made[node_in(peer.answer["session_id"]) or ""]
            other = b if owner is a else a
            assert "1 things" in await peer.ask("Blue")
            async with other.http.post("/v1/node/drain") as told:
                assert told.status == 202
            await other.node.begin_to_drain()
            assert not peer.named("session.moved")
            async with other.http.get("/readyz") as told:
                assert told.status == 503
            await made.renew()
            for at in (a, b):
                status, answer = await offered(at)
                assert status == 200 and node_in(answer["session_id"]) == owner.name
            async with other.http.get("/v1/nodes") as told:
                shown = {one["name"]: one for one in (await told.json())["data"]}
            assert (shown[other.name]["state"], shown[owner.name]["state"]) == ("draining", "ready")


async def test_a_conversation_moves_with_its_history_from_a_node_that_is_drained(loopback):
    async with nodes({"a": 4, "b": 4}) as made:
        peer = await _on("b", made)
        async with peer:
            assert "1 things" in await peer.ask("Blue")
            watching = asyncio.create_task(_watched(made["a"], peer))
            made["b"].node.begin_to_drain()
            await peer.event("session.moved")
            assert await watching == "leaving"
            again = Resuming(made["b"].url)  # a load balancer knows nothing of it
            again.previous = peer.answer["session_id"]
            async with again:
                assert again.answer["resumed"] is True
                assert node_in(again.answer["session_id"]) == "a"
                assert "3 things, the first of them Blue" in await again.ask("What did I say?")
                await until(lambda: len(made["b"].sessions) == 0)
                await made["b"].node.drained.wait()
                assert await _watched(made["a"], peer) == "gone", "the session is over"


async def test_a_conversation_outlives_its_node(loopback):
    async with nodes({"a": 4, "b": 4}) as made:
        peer = await _on("b", made)
        async with peer:
            assert "1 things" in await peer.ask("Blue")
            await _told_of(made, peer)
            await made["b"].crash()
            again = Resuming(made["a"].url)
            again.previous = peer.answer["session_id"]
            async with again:  # the lease has not even ended
                assert again.answer["resumed"] is True
                assert node_in(again.answer["session_id"]) == "a"
                assert "3 things, the first of them Blue" in await again.ask("What did I say?")
            made.store.expire("b")
            await made["a"].node.membership.renew()
            [gone] = made["a"].node.membership.roster.peers
            assert gone.state == "gone"
            twice = Resuming(made["a"].url)
            twice.previous = peer.answer["session_id"]
            async with twice:
                assert twice.answer["resumed"] is False, "it goes on once"
                assert await _watched(made["a"], peer) == "gone", "its node is"


async def test_a_conversation_that_is_hung_up_is_forgotten_everywhere(loopback):
    async with nodes({"a": 4, "b": 4}) as made:
        peer = await _on("b", made)
        async with peer:
            assert "1 things" in await peer.ask("Blue")
            await _told_of(made, peer)
            session = peer.answer["session_id"]
            async with made["a"].http.post(f"/v1/realtime/calls/{session}/hangup") as hung_up:
                assert hung_up.status == 200
            await until(lambda: len(made["b"].sessions) == 0)
            again = Resuming(made["a"].url)
            again.previous = session
            async with again:
                assert again.answer["resumed"] is False
            name = made["a"].node._shared.credentials.name("memory", session)
            await until(lambda: name not in made.store.values)


async def _watched(node: Running, peer: Peer) -> str:
    async with node.http.get(f"/v1/sessions/{peer.answer['session_id']}/watch") as told:
        state: str = (await told.json())["state"]
        return state


async def _on(name: str, made: Nodes) -> Resuming:
    """A client that will be on this node, and asks another."""
    others = [one for one in made.running if one != name]
    for other in others:
        made[other].node.membership.roster.told([], 0.0)
    await offered(made[others[0]])
    await made.renew()
    return Resuming(made[others[0]].url)


async def _told_of(made: Nodes, peer: Peer) -> None:
    """Wait until the store knows of what the client has said."""
    session, credentials = peer.answer["session_id"], made["a"].node._shared.credentials
    name = credentials.name("memory", session)

    def knows() -> bool:
        sealed = made.store.values.get(name)
        return sealed is not None and b"things" in credentials.unseal(name, sealed)

    await until(knows)


async def test_a_node_that_stands_still_holds_nobody_up_for_long(loopback, monkeypatch):
    monkeypatch.setattr("server.cluster.door.BEGIN_SECONDS", 0.1)
    async with nodes({"a": 1, "b": 4}) as made:
        a, b = made["a"], made["b"]
        await offered(a)
        await made.renew()
        stands = asyncio.Event()

        async def still(request: Any) -> Any:
            await stands.wait()

        monkeypatch.setattr(b.node, "served", lambda request, handler: still(request))
        status, answer = await offered(a)
        assert (status, answer["error"]["code"], a.node.door.passed["unreachable"]) == (503, "server_full", 1)
        assert (await offered(a))[0] == 503, "it is not asked again at once"
        assert a.node.door.passed["unreachable"] == 1
        stands.set()


async def test_client_secrets_and_starts_are_good_on_every_node(loopback, monkeypatch):
    monkeypatch.setattr("server.cluster.sharing.CHECK_SECONDS", 0.0)
    async with nodes({"a": 4, "b": 4}, api_key="the-key-of-all-nodes") as made:
        await a_secret_that_is_revoked_at_one_node_is_revoked_at_all(made)
        a, b = made["a"], made["b"]
        async with a.http.post("/v1/realtime/client_secrets", json={"session": {"instructions": "Be brief."}}) as told:
            made_here = await told.json()
        assert node_in(made_here["value"]) == "a"
        by_secret = {"Authorization": f"Bearer {made_here['value']}"}
        async with a.http.post("/start", json={}, headers=by_secret) as told:
            start = (await told.json())["sessionId"]
        owner = made[node_in(start) or ""]
        other = b if owner is a else a
        await owner.node._shared.writer.flush(5.0)
        await owner.crash()
        async with aiohttp.ClientSession(other.url, headers=by_secret) as http:
            body = {"sdp": AUDIO, "type": "offer"}
            async with http.post(f"/sessions/{start}/api/offer", json=body) as told:
                assert told.status == 200, await told.text()
                assert node_in((await told.json())["pc_id"]) == other.name
            async with http.get("/v1/nodes") as told:
                assert told.status == 403, "it opens calls alone"


async def a_secret_that_is_revoked_at_one_node_is_revoked_at_all(made: Nodes) -> None:
    a, b = made["a"], made["b"]
    async with a.http.post("/v1/realtime/client_secrets", json={}) as told:
        secret = await told.json()
    headers = {"Authorization": f"Bearer {secret['value']}"}
    async with b.http.get("/v1/realtime/ice_servers", headers=headers) as told:
        assert told.status == 200
    async with b.http.delete(f"/v1/realtime/client_secrets/{secret['id']}") as told:
        assert told.status == 200
    for node in (a, b):
        await node.node._shared.writer.flush(5.0)
        async with node.http.get("/v1/realtime/ice_servers", headers=headers) as told:
            assert (told.status, (await told.json())["error"]["code"]) == (401, "client_secret_revoked")


async def test_with_a_registry_that_fails(loopback):
    async with nodes({"a": 2, "b": 8}) as made:
        await a_store_that_hangs_holds_up_no_call(made)
        await a_node_cannot_overwrite_another_of_its_name(made)
        await without_the_registry_a_node_serves_by_itself_and_comes_back(made)


async def without_the_registry_a_node_serves_by_itself_and_comes_back(made: Nodes) -> None:
    a, store = made["a"], made.store
    async with Resuming(a.url) as peer:
        store.away = True
        await made.renew()
        assert a.node.status()["registry"] == "away"
        assert "1 things" in await peer.ask("Blue"), "calls go on"
        async with a.http.get("/metrics") as told:
            assert "visavis_cluster_registry_up 0.0" in await told.text()
        while (await offered(a))[0] == 200:
            pass
        assert len(a.sessions) == 2, "it sends nobody to others that it knows nothing of"
        async with a.http.delete(f"/v1/realtime/calls/{peer.answer['session_id']}0") as told:
            assert told.status == 404, "others are still asked for what is theirs"
        store.away, store.leases, store.values = False, {}, {}
        await made.renew()
        status, answer = await offered(a)
        assert (status, node_in(answer["session_id"])) == (200, "b")


async def a_store_that_hangs_holds_up_no_call(made: Nodes) -> None:
    a = made["a"]
    made.store.open.clear()
    async with Resuming(a.url) as peer:
        assert "1 things" in await peer.ask("Blue")
        assert "3 things" in await peer.ask("Red")
    made.store.open.set()


async def a_node_cannot_overwrite_another_of_its_name(made: Nodes) -> None:
    store, a = made.store, made["a"]
    lease = ("another token", store.leases["a"][1])
    store.leases["a"] = lease  # it had expired, and somebody has taken the name
    await a.node.membership.renew()
    assert (a.node.membership.registry, store.leases["a"]) == ("name taken", lease)
    store.expire("a")
    await a.node.membership.renew()
    assert a.node.membership.registry == "connected"
