"""Three nodes as processes and a real Redis: who gets whom, what a hop costs, what is lost with a node or with Redis.

    .venv/bin/python -m tests.benchmarks.nodes [--places 4,8,8] [--workers N] [--only spread,killed]

One line for each question, with figures; ends with 1 if one of them is answered as it should not be. Needs
``redis-server`` and the extra ``cluster``. Media stays on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from yarl import URL

from server.cluster.roster import LEASE_SECONDS
from server.workers.ids import node_in
from tests.benchmarks.node_processes import NAMES, Caller, Fleet, NodeProcess, again, fleet
from tests.server.transports.test_offers_and_ice import AUDIO

SDP = {"Content-Type": "application/sdp"}
PUBLISHED = AUDIO.replace("sendrecv", "sendonly")
FRAGMENT = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
console = Console(highlight=False, markup=False, soft_wrap=True)
Told = dict[str, Any]


async def _offered(node: NodeProcess) -> tuple[int, Told, float, str]:
    begun = time.monotonic()
    async with node.http.post("/offer", json={"sdp": AUDIO, "type": "offer"}) as told:
        body = await told.json()
        return told.status, body, 1000 * (time.monotonic() - begun), told.headers.get("Retry-After", "")


async def _hung_up(node: NodeProcess, session: str) -> float:
    begun = time.monotonic()
    async with node.http.delete(f"/v1/realtime/calls/{session.replace('sess_', 'rtc_')}") as told:
        assert told.status == 200, await told.text()
    return 1000 * (time.monotonic() - begun)


async def _settled(made: Fleet) -> None:
    """No sessions anywhere, and everybody knows."""
    deadline = time.monotonic() + 60.0
    while await _sessions(made):
        assert time.monotonic() < deadline, "sessions are left"
        await asyncio.sleep(0.1)


async def _sessions(made: Fleet) -> int:
    told = [await node.ask("/v1/nodes") for node in made.nodes]
    return sum(one["sessions"] for nodes in told for one in nodes["data"])


async def spread(made: Fleet) -> Told:
    """As many offers at one node as there are places; then one more; then all are ended through the wrong node."""
    first = made.nodes[0]
    places = {one["name"]: one["max_sessions"] for one in (await first.ask("/v1/nodes"))["data"]}
    told = [await _offered(first) for _ in range(sum(places.values()))]
    refused = [body["error"]["code"] for status, body, _, _ in told if status != 200]
    told = [one for one in told if one[0] == 200]
    owners = Counter(node_in(body["session_id"]) for _, body, _, _ in told)
    status, body, _, retry = await _offered(made.nodes[1])
    took: dict[bool, list[float]] = {True: [], False: []}
    for _, answer, milliseconds, _ in told:
        took[node_in(answer["session_id"]) == first.name].append(milliseconds)
    ends = []
    for _, answer, _, _ in told:
        owner = node_in(answer["session_id"])
        ends.append(await _hung_up(next(node for node in made.nodes if node.name != owner), answer["session_id"]))
    await _settled(made)
    return {
        "ok": owners == places and (status, body["error"]["code"]) == (503, "server_full") and bool(retry),
        "sessions": dict(sorted(owners.items())),
        **({"refused before": refused} if refused else {}),
        "one more": f"{status} {body['error']['code']}, Retry-After {retry}",
        "offer ms, here": round(statistics.median(took[True]), 1),
        "offer ms, passed on": round(statistics.median(took[False]), 1),
        "ended through the wrong node, ms": round(statistics.median(ends), 1),
    }


async def wrong_node(made: Fleet) -> Told:
    """PATCH and DELETE of WHIP, and a sideband, through nodes that do not have the session."""
    status = []
    for owner in made.nodes:
        async with owner.http.post("/whip", data=PUBLISHED, headers=SDP) as told:
            place = told.headers["Location"]
        for node in made.nodes:
            headers = {"Content-Type": "application/trickle-ice-sdpfrag"}
            async with node.http.patch(place, data=FRAGMENT, headers=headers) as told:
                status.append(told.status)
            call = place.rpartition("/")[2].replace("sess_", "rtc_")
            async with node.http.ws_connect(f"/v1/realtime?call_id={call}") as socket:
                status.append((await socket.receive_json())["type"])
        other = next(node for node in made.nodes if node.name != node_in(place))
        async with other.http.delete(place) as told:
            status.append(told.status)
        async with other.http.delete(place) as told:
            status.append(told.status)
    await _settled(made)
    counts = Counter(map(str, status))
    n = len(made.nodes)
    wanted = {"204": n * n, "session.created": n * n, "200": n, "404": n}
    return {"ok": counts == wanted, "answers": dict(counts)}


async def drained(made: Fleet) -> Told:
    """A node is told to end by SIGTERM: its client goes on elsewhere, and it takes nobody."""
    here, leaving = made.nodes[0], made.nodes[-1]
    caller = await _on(made, leaving)
    await caller.tell("colour", "Blue")
    begun = time.monotonic()
    leaving.signal(signal.SIGTERM)
    await caller.event("session.moved")
    moved = time.monotonic() - begun
    offers = [await _offered(here) for _ in range(4)]
    owners = Counter(node_in(body.get("session_id", "")) for _, body, _, _ in offers)
    after, took = await again(here.url, caller)
    recalled = await after.recall("colour")
    await caller.close()
    status = await leaving.ended()
    ended = time.monotonic() - begun
    await after.close()
    for _, body, _, _ in offers:
        await _hung_up(here, body["session_id"])
    return {
        "ok": recalled == "Blue" and leaving.name not in owners and status == 0 and node_in(after.id) != leaving.name,
        "told to move after s": round(moved, 2),
        "goes on after s": round(took, 2),
        "history": recalled == "Blue",
        "offers meanwhile": dict(owners),
        "ended after s": round(ended, 2),
    }


async def killed(made: Fleet) -> Told:
    """SIGKILL of a node: gone from the registry within two leases; its client goes on with its history."""
    here, victim = made.nodes[0], made.nodes[1]
    caller = await _on(made, victim)
    await caller.tell("colour", "Blue")
    await asyncio.sleep(0.5)  # that it is told to the store is no part of the question
    begun = time.monotonic()
    watching = asyncio.create_task(here.ask(f"/v1/sessions/{caller.id}/watch"))
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    victim.signal(signal.SIGKILL)
    told = await watching
    noticed = time.monotonic() - begun
    after, took = await again(here.url, caller)
    recalled = await after.recall("colour")
    offers = [(await _offered(here))[0] for _ in range(3)]
    await made.until_known({victim.name: "gone"}, here)
    gone = time.monotonic() - begun
    await caller.close()
    await after.close()
    return {
        "ok": recalled == "Blue"
        and gone <= 2 * LEASE_SECONDS
        and told.get("state", "gone") == "gone"
        and set(offers) == {200},
        "a watching client knows after s": round(noticed, 3),
        "goes on after s, then": round(took, 2),
        "history": recalled == "Blue",
        "gone from the registry after s": round(gone, 2),
        "offers meanwhile": offers,
    }


async def stopped(made: Fleet) -> Told:
    """SIGSTOP of a node: whoever waits for it is answered, its client goes on with its history, and then it does."""
    here, victim = made.nodes[0], made.nodes[1]
    caller = await _on(made, victim)
    await caller.tell("colour", "Blue")
    await asyncio.sleep(0.5)  # as with one that is killed
    call = caller.id.replace("sess_", "rtc_")

    async def hung_up() -> tuple[int, str, float]:
        async with here.http.delete(f"/v1/realtime/calls/{call}") as told:
            return told.status, told.headers.get("Retry-After", ""), time.monotonic()

    begun = time.monotonic()
    victim.signal(signal.SIGSTOP)
    hanging_up = asyncio.create_task(hung_up())
    offers = [await _offered(here) for _ in range(2)]
    told = await here.ask(f"/v1/sessions/{caller.id}/watch?wait=55")
    noticed = time.monotonic() - begun
    after, took = await again(here.url, caller)
    recalled = await after.recall("colour")
    for code, body, *_ in offers:
        if code == 200:
            await _hung_up(here, body["session_id"])
    status, retry, at = await hanging_up
    victim.signal(signal.SIGCONT)
    back = await made.until_known({node.name: "ready" for node in made.nodes}, here)
    await caller.close()
    await after.close()
    return {
        "ok": told["state"] == "gone" and recalled == "Blue" and (status, bool(retry)) == (503, True),
        "a watching client knows after s": round(noticed, 2),
        "goes on after s, then": round(took, 2),
        "history": recalled == "Blue",
        "hung up there": f"{status}, Retry-After {retry}, after {at - begun:.1f} s",
        "offers meanwhile, ms": [(code, round(ms)) for code, _, ms, _ in offers],
        "takes its place again after s": round(back, 2),
    }


async def without_redis(made: Fleet) -> Told:
    """Redis is killed and started again, empty, in the middle of a call; and stands still for a while."""
    here = made.nodes[0]
    caller = await _on(made, here)
    await caller.tell("colour", "Blue")
    steady = [await _turn(caller, n) for n in range(20)]
    await made.redis.kill()
    begun, during, away = time.monotonic(), [], False
    while time.monotonic() - begun < 6.0:
        during.append(await _turn(caller, len(during)))
        away = away or (await here.ask("/v1/status"))["node"]["registry"] == "away"
    alone = await _offered(here)
    await _hung_up(here, alone[1]["session_id"])
    await made.redis.start()
    begun = time.monotonic()
    others = {node.name: "ready" for node in made.nodes}
    while (await here.ask("/v1/status"))["node"]["registry"] != "connected":
        assert time.monotonic() - begun < 30.0, "the registry is not found again"
        await asyncio.sleep(0.05)
    back = time.monotonic() - begun
    while not await _kept(made):
        assert time.monotonic() - begun < 30.0, "the conversation is not kept again"
        await asyncio.sleep(0.1)
    kept = time.monotonic() - begun
    made.redis.hold(still=True)
    slow = []
    begun = time.monotonic()
    while time.monotonic() - begun < 4.0:
        slow.append(await _turn(caller, len(slow)))
        if len(slow) == 10:
            _, body, took, _ = await _offered(here)
            slow.append(took)
            await _hung_up(here, body["session_id"])
    made.redis.hold(still=False)
    await made.until_known(others, here)
    recalled = await caller.recall("colour")
    await caller.close()
    return {
        "ok": away and alone[0] == 200 and node_in(alone[1]["session_id"]) == here.name and recalled == "Blue",
        "events there and back, median ms": round(statistics.median(steady), 1),
        "the worst while Redis was dead": round(max(during), 1),
        "while it stood still": round(max(slow), 1),
        "registry found again after s": round(back, 2),
        "conversation kept again after s": round(kept, 2),
    }


async def _turn(caller: Caller, n: int) -> float:
    begun = time.monotonic()
    await caller.recall("colour")
    await asyncio.sleep(0.05 if n else 0.0)
    return 1000 * (time.monotonic() - begun - (0.05 if n else 0.0))


async def _kept(made: Fleet) -> bool:
    """Whether some conversation is in Redis."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.redis.port)
    writer.write(b"KEYS *memory:*\r\n")
    count = int((await reader.readline())[1:])
    writer.close()
    return count > 0


async def redirected(folder: Path) -> Told:
    """307: an aiohttp client follows to the node with room, once, and ends its session there."""
    async with fleet(folder, (1, 2), WHIP_REDIRECT="true") as made:
        here, other = made.nodes
        await _offered(here)
        await made.until_known({"a": "ready", "b": "ready"}, here)
        async with here.http.post("/whip", data=PUBLISHED, headers=SDP) as told:
            hops = [one.status for one in told.history]
            place = told.url.join(URL(told.headers["Location"]))
            stayed = told.status == 201 and str(told.url).startswith(other.url)
        async with aiohttp.ClientSession() as http, http.delete(place) as told:
            ended = told.status
    return {"ok": hops == [307] and stayed and ended == 200, "hops": hops, "stays at the other node": stayed}


async def _on(made: Fleet, node: NodeProcess) -> Caller:
    """A caller whose session is on this node, by whatever node it has asked."""
    for _ in range(20):
        caller = Caller(node.url)
        await caller.connect()
        if node_in(caller.id) == node.name:
            return caller
        await caller.close()
        await asyncio.sleep(0.5)
    raise SystemExit(f"node {node.name} gets no session")


STEPS: dict[str, Callable[[Fleet], Awaitable[Told]]] = {
    "spread": spread,
    "wrong_node": wrong_node,
    "without_redis": without_redis,
    "stopped": stopped,
    "drained": drained,
    "killed": killed,
}


async def measure(places: tuple[int, ...], flags: tuple[str, ...], only: set[str]) -> dict[str, Told]:
    """What became of each question."""
    found: dict[str, Told] = {}
    with tempfile.TemporaryDirectory() as folder:
        if only & set(STEPS):
            async with fleet(Path(folder), places, flags) as made:
                for name, step in STEPS.items():
                    if name in only:
                        found[name] = await step(made)
                        tell(name, step.__doc__ or "", found[name])
        if "redirected" in only:
            found["redirected"] = await redirected(Path(folder))
            tell("redirected", redirected.__doc__ or "", found["redirected"])
    return found


def tell(name: str, question: str, told: Told) -> None:
    """A line for each figure."""
    console.print(f"{name}: {question.splitlines()[0]}")
    for what, value in told.items():
        console.print(f"    {what}: {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", default="4,8,8", help=f"of each node, at most {len(NAMES)} of them")
    parser.add_argument("--workers", type=int, default=1, help="of each node")
    parser.add_argument("--only", default=",".join([*STEPS, "redirected"]), help="questions, with commas")
    options = parser.parse_args()
    places = tuple(int(count) for count in options.places.split(","))
    flags = ("--workers", str(options.workers)) if options.workers > 1 else ()
    console.print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()}")
    found = asyncio.run(measure(places, flags, set(options.only.split(","))))
    console.print(f"load {os.getloadavg()}")
    wrong = [name for name, told in found.items() if not told["ok"]]
    console.print("all is as it should be" if not wrong else f"NOT as it should be: {', '.join(wrong)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
