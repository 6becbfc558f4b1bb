"""The workers of a front with processes that are none, and a clock whose hands the test turns."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from server.dialects.openai.settings import offered_session
from server.http.access.client_secrets import ClientSecrets
from server.http.access.secret_copies import to_json
from server.settings import load_settings
from server.workers.health import DEAD_SECONDS, MEMORY_SECONDS, QUIET_SECONDS, STARTING_SECONDS, YOUNG_SECONDS
from server.workers.messages import LONGEST_LINE
from server.workers.process import LAST_WORDS, WorkerFailedError
from server.workers.rounds import EXPLAIN_SECONDS, Rounds
from server.workers.supervisor import RESTS, SETTLING_SECONDS, Crew, Supervisor
from server.workers.watches import News
from tests.fakes.clock import FakeClock
from tests.fakes.crew import FakeChild, FakeNursery
from tests.patience import until

ORIGINAL = 2


class Watched:
    """A supervisor of fake workers."""

    def __init__(self, folder: Path, count: int = ORIGINAL, **given: Any) -> None:
        self.clock = FakeClock(100.0)
        self.nursery = FakeNursery()
        settings = load_settings({"max_sessions": 8, "drain_seconds": 10.0, **given})
        self.supervisor = Supervisor(Crew(settings, count, 1, folder, self.nursery), self.clock)
        self.board = self.supervisor.board

    @property
    def children(self) -> list[FakeChild]:
        return self.nursery.children

    async def start(self) -> None:
        starting = asyncio.create_task(self.supervisor.start())
        await until(lambda: len(self.children) == 1)
        self.children[0].serve()
        if self.supervisor.crew.settings.wyoming_port is not None:
            await until(lambda: bool(self.children[0].told("open")))
            self.children[0].tell("opened", problem="")
        await starting
        await until(lambda: len(self.children) == self.supervisor.crew.count)
        for child in self.children[1:]:
            child.serve()
        await until(lambda: len(self.board.serving) == self.supervisor.crew.count)

    async def nobody_more_comes(self, children: int = ORIGINAL + 1) -> None:
        """So many have begun, and nobody rests before another one does."""
        for _ in range(5):
            await asyncio.sleep(0)
        assert (len(self.children), self.clock.waits) == (children, [])

    async def pass_time(self, seconds: float) -> None:
        await self.clock.sleeper()
        self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)


@asynccontextmanager
async def watched(folder: Path, **given: Any):
    made = Watched(folder, **given)
    await made.start()
    try:
        yield made
    finally:
        closing = asyncio.create_task(made.supervisor.close(1.0))
        await asyncio.sleep(0)
        for child in made.children:
            child.end(0)
        await closing
        assert made.nursery.closed


async def test_one_that_has_ended_is_replaced_when_those_who_come_back_have_done_so(tmp_path):
    async with watched(tmp_path) as crew:
        waiting = asyncio.create_task(crew.supervisor.watches.wait(2, 60.0))
        await asyncio.sleep(0)
        crew.children[1].end()
        assert await waiting == News("gone"), "who watches knows before anything else is done"
        assert [seat.number for seat in crew.board.seats] == [1]
        await crew.pass_time(SETTLING_SECONDS - 0.1)
        assert len(crew.children) == ORIGINAL
        await crew.pass_time(0.2)
        await until(lambda: len(crew.children) == ORIGINAL + 1)


async def test_the_only_one_is_replaced_at_once_and_then_later_and_later(tmp_path):
    async with watched(tmp_path, count=1) as crew:
        crew.children[0].end()
        await until(lambda: len(crew.children) == 2)
        for again, rest in enumerate([*RESTS[1:], RESTS[-1]], 3):
            crew.children[-1].end(1)
            assert await crew.clock.sleeper() == pytest.approx(rest), "a worker that keeps ending is no storm"
            await crew.pass_time(rest)
            await until(lambda again=again: len(crew.children) == again)


@pytest.mark.parametrize("problem", [OSError("Cannot allocate memory"), RuntimeError("can't start new thread")])
async def test_where_the_system_refuses_a_process_it_is_asked_again(tmp_path, problem):
    async with watched(tmp_path, count=1) as crew:
        crew.nursery.refused, crew.nursery.problem = 2, problem
        crew.children[0].end()
        for rest in RESTS[1:3]:
            assert await crew.clock.sleeper() == pytest.approx(rest)
            assert len(crew.children) == 1
            await crew.pass_time(rest)
        await until(lambda: len(crew.children) == ORIGINAL)
        crew.children[-1].serve()
        await until(lambda: len(crew.board.serving) == 1)


async def test_one_that_says_what_none_of_ours_would_is_not_believed_and_not_forgotten(tmp_path):
    async with watched(tmp_path, count=1) as crew:
        (child,) = crew.children
        for line in (b"{}", b"null", b'{"type": "load"}', b'{"type": "load", "sessions": "many"}', b"\xff"):
            child.stdout.feed_data(line + b"\n")
        child.serve()  # once more
        child.load(sessions=3, begun=3)
        await until(lambda: crew.board.find(1).sessions == 3)
        child.stdout.feed_data(b"x" * (2 * LONGEST_LINE + 1))
        await until(lambda: len(crew.children) == ORIGINAL)


async def test_one_that_hangs_is_left_alone_then_left_and_then_ended(tmp_path):
    async with watched(tmp_path) as crew:
        rounds = Rounds(crew.supervisor, crew.clock, lambda pid: None)
        crew.board.find(1).kept["sess_1wa"] = "what was said"
        waiting = asyncio.create_task(crew.supervisor.watches.wait(1, 60.0))
        await asyncio.sleep(0)
        crew.clock.advance(QUIET_SECONDS)
        crew.children[1].load()
        await until(lambda: crew.board.find(2).heard == crew.clock.now())
        await rounds.look(late=5.0)
        assert crew.board.find(1) is not None, "whoever was asleep itself cannot tell"

        crew.clock.advance(QUIET_SECONDS)
        crew.children[1].load()
        await until(lambda: crew.board.find(2).heard == crew.clock.now())
        await rounds.look()
        assert crew.board.find(1) is None and crew.board.find(2) is not None
        assert crew.board.is_quiet(1) and not crew.board.is_quiet(2) and not crew.board.is_quiet(None)
        assert (await waiting).state == "gone"
        assert crew.board.conversation("sess_1wa", crew.clock.now()) == "what was said"

        crew.children[0].load()
        await until(lambda: crew.board.find(1) is not None)  # it answers again

        crew.clock.advance(DEAD_SECONDS)
        crew.children[1].load()
        await until(lambda: crew.board.find(2).heard == crew.clock.now())
        ending = asyncio.create_task(rounds.look())
        await crew.pass_time(EXPLAIN_SECONDS)
        await ending
        assert crew.children[0].signals == [LAST_WORDS], "it is asked where its threads are"
        await until(lambda: [seat.number for seat in crew.board.seats] == [2])
        assert crew.board.conversation("sess_1wa", crew.clock.now()) == "what was said"


async def test_one_that_hangs_before_it_serves_holds_up_no_restart(tmp_path):
    async with watched(tmp_path) as crew:
        rounds = Rounds(crew.supervisor, crew.clock, lambda pid: None)
        replacing = asyncio.create_task(crew.supervisor.restart(2))
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        for told in ("starting", None):
            crew.clock.advance(STARTING_SECONDS)
            for child in crew.children[:2]:
                child.load()
            if told:
                crew.children[2].tell(told)
            heard = 3 if told else 2
            await until(lambda n=heard: sum(seat.heard == crew.clock.now() for seat in crew.board.seats) == n)
            looking = asyncio.create_task(rounds.look())
            if not told:
                await crew.pass_time(EXPLAIN_SECONDS)
            await looking
            assert told is None or len(crew.board.seats) == 3
        with pytest.raises(WorkerFailedError):
            await replacing
        await until(lambda: [seat.number for seat in crew.board.seats] == [1, 2])
        assert not crew.children[1].told("leave"), "who was to be replaced stays"
        assert len(crew.children) == ORIGINAL + 1, "and there is no third"


async def test_one_that_hangs_while_it_leaves_is_ended_and_not_replaced_once_more(tmp_path):
    async with watched(tmp_path) as crew:
        rounds = Rounds(crew.supervisor, crew.clock, lambda pid: None)
        crew.children[1].load(sessions=1, begun=1)
        await until(lambda: crew.board.find(2).sessions == 1)
        replacing = asyncio.create_task(crew.supervisor.restart(2))
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        crew.children[2].serve()
        await until(lambda: bool(crew.children[1].told("leave")))
        crew.clock.advance(DEAD_SECONDS)
        for child in (crew.children[0], crew.children[2]):
            child.load()
        await until(lambda: sum(seat.heard == crew.clock.now() for seat in crew.board.seats) == 2)
        ending = asyncio.create_task(rounds.look())
        await crew.pass_time(EXPLAIN_SECONDS)
        await ending
        assert await replacing is True
        await until(lambda: [seat.number for seat in crew.board.seats] == [1, 3])
        await crew.nobody_more_comes()


async def test_a_process_that_has_not_come_yet_does_not_hang(tmp_path):
    async with watched(tmp_path) as crew:
        rounds = Rounds(crew.supervisor, crew.clock, lambda pid: None)
        crew.nursery.open.clear()
        replacing = asyncio.create_task(crew.supervisor.restart(2))
        await until(lambda: len(crew.board.seats) == ORIGINAL + 1)
        crew.clock.advance(STARTING_SECONDS)
        for child in crew.children:
            child.load()
        await until(lambda: sum(seat.heard == crew.clock.now() for seat in crew.board.seats) == ORIGINAL)
        looking = asyncio.create_task(rounds.look())
        for _ in range(5):
            await asyncio.sleep(0)
        assert crew.board.seats[2].state == "starting", "what it is to be forked from may still load"
        await looking
        crew.nursery.open.set()
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        crew.children[2].serve()
        assert await replacing is True


@pytest.mark.parametrize("has_come", [False, True])
async def test_one_that_ends_while_the_next_one_loads_is_replaced_by_that_alone(tmp_path, has_come):
    async with watched(tmp_path, drain_seconds=600.0) as crew:
        crew.children[1].load(sessions=1, begun=1)
        await until(lambda: crew.board.find(2).sessions == 1)
        if not has_come:
            crew.nursery.open.clear()
        replacing = asyncio.create_task(crew.supervisor.restart(2))
        await until(lambda: len(crew.board.seats) == ORIGINAL + 1)
        crew.children[1].end()
        await until(lambda: [seat.number for seat in crew.board.seats] == [1, 3])
        await crew.nobody_more_comes(ORIGINAL + has_come)
        crew.nursery.open.set()
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        crew.children[2].serve()
        assert await replacing is True, "nobody is waited for that is gone"
        await crew.nobody_more_comes()
        assert [seat.number for seat in crew.board.serving] == [1, 3]


async def test_one_whose_successor_cannot_serve_is_replaced_by_another(tmp_path):
    async with watched(tmp_path) as crew:
        replacing = asyncio.create_task(crew.supervisor.restart(2))
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        crew.children[1].end()
        await until(lambda: [seat.number for seat in crew.board.seats] == [1, 3])
        crew.children[2].end(1)
        with pytest.raises(WorkerFailedError):
            await replacing
        assert await crew.clock.sleeper() == SETTLING_SECONDS
        await crew.pass_time(SETTLING_SECONDS)
        await until(lambda: [seat.number for seat in crew.board.seats] == [1, 4])
        await crew.nobody_more_comes(ORIGINAL + 2)


async def test_a_server_that_closes_lets_no_other_begin(tmp_path):
    async with watched(tmp_path) as crew:
        crew.children[1].end()
        await crew.clock.sleeper()
        closing = asyncio.create_task(crew.supervisor.close(1.0))
        await until(lambda: bool(crew.children[0].told("stop")))
        await crew.nobody_more_comes(ORIGINAL)
        crew.children[0].end(0)
        await closing
        assert not crew.board.seats


async def test_one_that_grows_beyond_its_memory_is_replaced_without_losing_anybody(tmp_path):
    async with watched(tmp_path, workers=2, worker_memory_mb=600) as crew:
        sizes = {1000: 700, 1001: 300}
        rounds = Rounds(crew.supervisor, crew.clock, lambda pid: sizes.get(pid, 100))
        await rounds.look()
        assert crew.board.shown()[0]["memory_mib"] == 700
        assert len(crew.children) == ORIGINAL, "a limit that is too low must not replace one after another"
        crew.clock.advance(YOUNG_SECONDS + MEMORY_SECONDS)
        for child in crew.children:
            child.load(sessions=1, begun=1)
        await until(lambda: all(seat.heard == crew.clock.now() for seat in crew.board.seats))
        await rounds.look()
        await until(lambda: len(crew.children) == ORIGINAL + 1)
        crew.children[2].serve()
        await until(lambda: crew.children[0].told("leave"))
        assert not crew.children[0].told("stop"), "its session has not moved yet"
        crew.children[0].load(sessions=0, begun=1)
        await until(lambda: crew.board.seats[0].sessions == 0)
        await crew.pass_time(1.0)
        await until(lambda: crew.children[0].told("stop"))
        crew.children[0].end(0)
        await until(lambda: [seat.number for seat in crew.board.seats] == [2, 3])
        await asyncio.sleep(0)


async def test_all_are_replaced_one_after_another_the_oldest_last(tmp_path):
    async with watched(tmp_path) as crew:
        replacing = asyncio.create_task(crew.supervisor.restart_all())
        for old, new in ((1, 2), (0, 3)):
            await until(lambda new=new: len(crew.children) == new + 1)
            assert not crew.children[old].told("leave"), "not before another serves"
            crew.children[new].serve()
            await until(lambda old=old: crew.children[old].told("stop"))
            crew.children[old].end(0)
        await replacing
        await until(lambda: [seat.number for seat in crew.board.seats] == [3, 4])


async def test_the_oldest_has_the_other_ports_and_the_next_takes_them_over(tmp_path):
    async with watched(tmp_path, wyoming_port=10300) as crew:
        assert crew.children[0].told("open") and not crew.children[1].told("open")
        crew.children[0].end()
        await until(lambda: crew.children[1].told("open"))
        crew.children[1].tell("opened", problem="")


async def test_whoever_comes_when_all_have_ended_has_the_other_ports(tmp_path):
    async with watched(tmp_path, count=1, wyoming_port=10300) as crew:
        crew.children[0].end()
        await until(lambda: len(crew.children) == 2)
        crew.children[1].serve()
        await until(lambda: bool(crew.children[1].told("open")))
        crew.children[1].tell("opened", problem="")


async def test_client_secrets_outlive_their_worker(tmp_path):
    async with watched(tmp_path) as crew:
        told: list[Any] = []
        made = ClientSecrets(lambda: 4e9, lambda kind: f"{kind}_1wab", told.append)
        value, secret = made.make(offered_session({"type": "realtime", "instructions": "Be brief."}), 7200)
        secret.made("sess_1wff")
        for _ in told:
            crew.children[0].tell("secret", secret=to_json(secret))
        await until(lambda: len(crew.children[1].told("secret")) == 2)
        crew.children[0].end()
        await until(lambda: len(crew.board.seats) == 1)
        known = crew.supervisor.secrets.known
        assert next(iter(known))[0].calls == {"1wff": None}
        await crew.pass_time(SETTLING_SECONDS)
        await until(lambda: len(crew.children) == 3)
        crew.children[2].serve()
        await until(lambda: crew.children[2].told("secret"))
        assert crew.children[2].told("secret")[0]["secret"]["id"] == value.split("_")[1]
        assert not crew.children[0].told("secret"), "it has made it itself"
