"""The way to Ray: deadlines, cancelling, what its errors mean, and a bridge that ends and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from pipelines.engines.remote.calls import Deployments
from pipelines.engines.remote.engines import Patience, Remote, RemoteModel
from pipelines.engines.remote.link import REST_SECONDS, FailedError, Link
from pipelines.engines.remote.messages import AHEAD, Call, Orders
from pipelines.engines.remote.wire import PROTOCOL, About, Failed, RemoteError
from pipelines.errors import EngineBusyError, LLMError
from pipelines.interfaces.llm import ChatRequest
from pipelines.routing.routes.llm import FallbackModel
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel
from tests.fakes.failures import Failures
from tests.fakes.ray_bridge import Bridges, Handles

ABOUT = About("llm", "brain", "cuda", "node", "3.11", "0.1.0")


class Way:
    """A link and what stands at its other end."""

    def __init__(self, answer, problem: Failed | None = None) -> None:
        self.handles = Handles(answer)
        self.clock = FakeClock()
        self.bridges = Bridges(Deployments("app", lambda _, name: self.handles), problem)
        self.link = Link("head:6379", "app", self.bridges.start, self.clock)

    async def __aenter__(self) -> Way:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.link.close()


async def counting(*_: object) -> AsyncIterator[int]:
    for number in range(1_000_000):
        yield number


async def words(*_: object) -> AsyncIterator[str]:
    async for number in counting():
        yield str(number)


async def test_a_session_is_told_to_who_chooses_the_replica():
    async with Way(lambda *_: "done") as way:
        assert await way.link.call(Call("llm", "describe", (), "sess_1"), 5) == "done"
        assert await way.link.call(Call("llm", "describe"), 5) == "done"
        with_session, without = way.handles.options_seen
        assert with_session == {"method_name": "describe", "stream": False, "session_id": "sess_1"}
        assert "session_id" not in without
        assert way.bridges.orders == [Orders("head:6379", "app")]
        assert len(way.bridges.started) == 1


async def test_who_is_slow_to_read_is_not_swamped():
    made = 0

    async def many(*_: object) -> AsyncIterator[int]:
        nonlocal made
        for number in range(1000):
            made += 1
            yield number

    async with Way(many) as way, aclosing(way.link.stream(Call("llm", "chat", streams=True), 5, 5)) as pieces:
        assert await anext(pieces) == 0
        for _ in range(200):
            await asyncio.sleep(0)
        assert made <= AHEAD + 1
        assert [await anext(pieces) for _ in range(99)] == list(range(1, 100))


async def test_closing_cancels_what_is_under_way_there():
    async with Way(counting) as way:
        async with aclosing(way.link.stream(Call("llm", "chat", streams=True), 5, 5)) as pieces:
            assert await anext(pieces) == 0
        for _ in range(200):
            await asyncio.sleep(0)
        assert way.handles.cancelled == 1
        way.handles.answer = lambda *_: "more"
        assert await way.link.call(Call("llm", "describe"), 5) == "more", "the link goes on"


@pytest.mark.parametrize("pieces", [0, 3])
async def test_who_does_not_go_on_in_time_is_given_up(pieces: int):
    async def stalls(*_: object) -> AsyncIterator[int]:
        for number in range(pieces):
            yield number
        await asyncio.sleep(60)

    got = []
    async with Way(stalls) as way:
        with pytest.raises(RemoteError) as caught:
            async for piece in way.link.stream(Call("llm", "chat", streams=True), 0.05, 0.06):
                got.append(piece)  # noqa: PERF401 (what came before the error counts)
        assert caught.value.code == "timeout"
        assert ("0.06" in caught.value.message) == bool(pieces)
        assert got == list(range(pieces))


async def test_a_bridge_that_ends_loses_only_what_is_under_way_and_comes_back():
    async with Way(counting) as way:
        stream = way.link.stream(Call("llm", "chat", streams=True), 5, 5)
        async with aclosing(stream) as pieces:
            await anext(pieces)
            way.bridges.started[0].end()
            with pytest.raises(RemoteError) as caught:
                async for _ in pieces:
                    pass
        assert caught.value.code == "unreachable"
        with pytest.raises(RemoteError):  # it rests: nobody waits for what has just failed
            await way.link.connect()
        assert len(way.bridges.started) == 1
        way.clock.advance(REST_SECONDS)
        await way.link.connect()
        assert way.link.connected
        assert len(way.bridges.started) == 2


async def test_work_does_not_wait_for_a_bridge_that_is_being_started():
    async with Way(lambda *arguments: words() if arguments else ABOUT) as way:
        remote = RemoteModel(Remote(way.link, "llm"))
        await remote.probe()
        way.bridges.started[0].end()
        while way.link.connected:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0)
        way.clock.advance(REST_SECONDS)
        with pytest.raises(LLMError) as caught:
            await anext(remote.stream(ChatRequest(())))
        assert caught.value.code == "llm_unreachable"
        await way.link.connect()
        assert len(way.bridges.started) == 2, "it was being started all the same"
        async with aclosing(remote.stream(ChatRequest(()))) as pieces:
            assert await anext(pieces) == "0"


async def test_why_there_is_no_way_is_told():
    problem = Failed("wrong_version", "the cluster has Ray 2.50")
    async with Way(counting, problem) as way:
        with pytest.raises(RemoteError) as caught:
            await way.link.connect()
        assert (caught.value.code, caught.value.message) == ("wrong_version", "the cluster has Ray 2.50")
        assert way.link.problem == "the cluster has Ray 2.50"


async def test_a_bridge_that_cannot_be_started_is_no_defect():
    async def start():
        raise OSError("no memory")

    link = Link("head:6379", "app", start)
    with pytest.raises(RemoteError, match="no memory"):
        await link.connect()
    await link.close()


async def test_a_replica_of_another_version_is_not_asked():
    async with Way(lambda *_: About("llm", "brain", "cpu", "n", "3.11", "9.0", PROTOCOL + 1)) as way:
        with pytest.raises(LLMError) as caught:
            await Remote(way.link, "llm").probe()
        assert caught.value.code == "llm_wrong_version"
        assert "9.0" in caught.value.message


async def test_a_queue_that_is_full_is_no_failure_and_the_local_engine_answers():
    pytest.importorskip("ray.serve")
    from ray.serve.exceptions import BackPressureError

    def full(*arguments: object) -> object:
        return BackPressureError(9, 8) if arguments else ABOUT

    async with Way(full) as way:
        way.handles.answer = lambda *arguments: _raising(BackPressureError(9, 8)) if arguments else ABOUT
        remote = RemoteModel(Remote(way.link, "llm"))
        await remote.probe()
        with pytest.raises(EngineBusyError) as caught:
            [piece async for piece in remote.stream(ChatRequest(()))]
        assert caught.value.code == "llm_busy"
        route = FallbackModel([remote, FakeModel("Local.", "Local.")], failures := Failures())
        for _ in range(2):
            assert "".join([str(piece) async for piece in route.stream(ChatRequest(()))]) == "Local. "
        assert len(failures) == 2, "it is asked again: a full queue is no reason to rest"


async def test_a_replica_that_dies_is_unreachable_and_rests():
    exceptions = pytest.importorskip("ray.exceptions")

    async with Way(lambda *arguments: _raising(exceptions.ActorDiedError()) if arguments else ABOUT) as way:
        remote = RemoteModel(Remote(way.link, "llm", Patience()))
        await remote.probe()
        route = FallbackModel([remote, FakeModel("Local.", "Local.")], failures := Failures())
        for _ in range(2):
            assert "".join([str(piece) async for piece in route.stream(ChatRequest(()))]) == "Local. "
        assert failures == [("ray brain", "llm_unreachable")]


async def test_a_failure_on_the_way_keeps_its_kind():
    async with Way(lambda *_: Failed("busy", "full", busy=True)) as way:
        with pytest.raises(FailedError) as caught:
            await way.link.call(Call("llm", "describe"), 5)
        assert caught.value.failed.busy


async def _raising(error: Exception) -> AsyncIterator[object]:
    raise error
    yield
