"""Pins the names of aioice that following a peer needs, and shows whom it follows, without a network."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aioice import Candidate, Connection, stun
from aioice.ice import CandidatePair

from media.aiortc_internals.roaming import MOST_ADDRESSES, follow_peer

BEFORE, NOW = ("192.0.2.1", 4000), ("192.0.2.1", 4001)


def candidate(address: tuple[str, int]) -> Candidate:
    return Candidate("1", 1, "udp", 1, address[0], address[1], "host")


class Socket:
    """A local socket, and which addresses answer what is sent from it."""

    def __init__(self, *answering: tuple[str, int]) -> None:
        self.local_candidate = candidate(("192.0.2.9", 5000))
        self.answering = answering
        self.asked: list[tuple[str, int]] = []

    async def request(self, request: stun.Message, address: tuple[str, int], **_: Any) -> Any:
        self.asked.append(address)
        await asyncio.sleep(0)
        if address not in self.answering:
            raise stun.TransactionTimeout
        return request, address

    async def close(self) -> None:
        pass


def connected(socket: Socket) -> Connection:
    """To :data:`BEFORE`, as the one that answers."""
    connection = Connection(ice_controlling=False)
    connection.remote_username, connection.remote_password = "user", "p" * 22
    pair = CandidatePair(socket, candidate(BEFORE))  # type: ignore[arg-type]
    pair.state, pair.nominated = CandidatePair.State.SUCCEEDED, True
    connection._remote_candidates.append(pair.remote_candidate)
    connection._check_list.append(pair)
    connection._nominated[1] = pair
    connection._check_list_done = connection._early_checks_done = True
    transport = SimpleNamespace(transport=SimpleNamespace(_connection=connection))
    follow_peer(SimpleNamespace(getTransceivers=list, sctp=SimpleNamespace(transport=transport)))  # type: ignore[arg-type]
    return connection


def check(connection: Connection, address: tuple[str, int], socket: Socket, **more: Any) -> None:
    """A check that is authentic has come from there."""
    message = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    message.attributes.update({"PRIORITY": 1, **more})
    connection.check_incoming(message, address, socket)  # type: ignore[arg-type]


async def settled() -> None:
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


@pytest.mark.parametrize(
    ("answering", "then"), [((NOW,), NOW), ((BEFORE, NOW), BEFORE), ((BEFORE,), BEFORE), ((), BEFORE)]
)
async def test_a_peer_is_followed_where_only_its_new_address_answers(answering, then):
    socket = Socket(*answering)
    connection = connected(socket)
    check(connection, NOW, socket)
    await settled()
    assert connection._nominated[1].remote_addr == then


async def test_a_peer_that_comes_from_ever_more_addresses_is_not_followed_for_ever():
    socket = Socket(BEFORE)
    connection = connected(socket)
    for port in range(5000, 5000 + 2 * MOST_ADDRESSES):
        check(connection, ("192.0.2.1", port), socket)
    assert len(connection._remote_candidates) == MOST_ADDRESSES
    check(connection, BEFORE, socket)
    await settled()
    assert connection._nominated[1].remote_addr == BEFORE


async def test_its_old_address_is_not_asked_while_nothing_changes_and_only_once_at_a_time():
    socket = Socket(BEFORE, NOW)
    connection = connected(socket)
    for _ in range(3):
        check(connection, BEFORE, socket)
    await settled()
    assert socket.asked == []
    for _ in range(3):
        check(connection, NOW, socket)
    await settled()
    assert socket.asked.count(BEFORE) == 1


async def test_nothing_goes_on_after_the_end():
    socket = Socket()
    connection = connected(socket)
    check(connection, NOW, socket)
    await connection.close()
    await settled()
    assert not connection._nominated
