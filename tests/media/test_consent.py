"""Consent lasts as long as a peer answers, however late, and ends 30 s after its last answer."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import aioice.ice
import pytest
from aioice.stun import TransactionTimeout
from aiortc import RTCPeerConnection

from media.aiortc_internals import consent
from media.aiortc_internals.closing import close_peer
from media.aiortc_internals.guard import guard_peer
from server.transports.webrtc import ice


class Asked:
    """A connection whose checks take a while and are answered while ``answers`` is not used up; time is its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, took: float, answers: int) -> None:
        self.now = 100.0
        self.closed_at: float | None = None
        self.checks = 0
        self.remote_password = "secret"
        self._nominated = {1: SimpleNamespace(protocol=self, remote_addr=("192.0.2.1", 9))}
        self._query_consent_task: Any = "this one"
        self._took, self._answers = took, answers
        monkeypatch.setattr(consent, "asyncio", SimpleNamespace(sleep=self.pass_seconds, get_running_loop=lambda: self))
        monkeypatch.setattr(consent.random, "uniform", lambda low, high: 1.0)

    def time(self) -> float:
        return self.now

    async def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        if self.checks > 50:
            raise asyncio.CancelledError

    def build_request(self, pair: Any, nominate: bool) -> str:
        return "check"

    async def request(self, request: str, address: Any, *, integrity_key: bytes, retransmissions: int) -> None:
        assert (request, integrity_key) == ("check", b"secret")
        assert 0.5 * (2 ** (retransmissions + 1) - 1) >= 7, "seconds that an answer may take"
        self.checks += 1
        if self.checks > self._answers:
            self.now += 7.5
            raise TransactionTimeout
        self.now += self._took

    async def close(self) -> None:
        self.closed_at = self.now


async def test_a_peer_that_answers_late_still_consents(monkeypatch):
    asked = Asked(monkeypatch, took=3.0, answers=1000)
    with pytest.raises(asyncio.CancelledError):
        await consent.ask(asked)
    assert asked.closed_at is None


async def test_consent_ends_half_a_minute_after_the_last_answer(monkeypatch):
    asked = Asked(monkeypatch, took=0.1, answers=4)
    await consent.ask(asked)
    last = 100 + 4 * 5.1
    assert asked.closed_at is not None and 30 <= asked.closed_at - last <= 30 + 12.5
    assert asked._query_consent_task is None, "it closes the connection, which waits for this task otherwise"


async def test_a_connection_is_guarded_and_released(loopback):
    pc = RTCPeerConnection(ice.configuration(()))
    pc.createDataChannel("events")
    await pc.setLocalDescription(await pc.createOffer())
    guard_peer(pc)
    connection = pc.sctp.transport.transport._connection
    assert connection.query_consent.func is consent.ask
    await close_peer(pc)
    assert "query_consent" not in vars(connection)


def test_the_names_that_are_relied_on():
    source = inspect.getsource(aioice.ice.Connection)
    assert "create_task(self.query_consent())" in source
    for name in ("self._nominated", "self._query_consent_task", "def build_request(", "self.remote_password"):
        assert name in source
