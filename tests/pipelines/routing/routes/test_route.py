"""Who is asked next: the breaker on a clock of the test's own, and what every stage's failover has in common."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from pipelines.errors import EngineBusyError, LLMError, PipelineError
from pipelines.routing.routes.attempts import Attempt
from pipelines.routing.routes.breaker import Breaker, RestPolicy
from pipelines.routing.routes.route import LONGEST_PROBE_REST, PROBE_SECONDS, Route
from tests.fakes.clock import FakeClock
from tests.fakes.failures import Failures

TIMEOUT = LLMError("llm_timeout", "no answer in 15 s")


class Named:
    """An engine of no stage."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Work:
    """Engines ``a``, ``b`` … and what they do."""

    def __init__(self, *names: str, kind: type[Route[Named]] = Route) -> None:
        self.clock = FakeClock()
        self.failures = Failures()
        self.route = kind([Named(name) for name in names], self.failures, self.clock)

    def asked(self, **errors: PipelineError | None) -> str:
        """Names in the order in which they are asked until one does not fail with what is given for it."""
        names = ""
        with suppress(PipelineError):
            for attempt in self.route.attempts():
                names += attempt.engine.name
                with attempt:
                    if (error := errors.get(attempt.engine.name)) is not None:
                        raise error
                    break
        return names

    def begun(self) -> Attempt[Named]:
        return next(self.route.attempts())


# ------------------------------------------------------------------------------------------------- the breaker


def test_an_engine_rests_longer_after_each_failure_and_is_forgiven():
    breaker, now = Breaker(RestPolicy(longest_rest=60.0)), 100.0
    for rest in (5, 10, 20, 40, 60, 60):
        assert breaker.admits(now)
        breaker.failed(now)
        assert not breaker.admits(now + rest - 0.1)
        now += rest
    breaker.worked()
    assert (breaker.admits(now), breaker.failures) == (True, 0)
    breaker.failed(now)
    assert breaker.admits(now + 5)


def test_one_at_a_time_finds_out_whether_it_works_again():
    breaker = Breaker(RestPolicy())
    breaker.failed(0.0)
    breaker.trial(6.0)
    assert not breaker.admits(7.0)
    breaker.released()
    assert breaker.admits(7.0)
    breaker.trial(7.0)
    assert breaker.admits(67.0), "a trial of which nothing is heard ends"
    breaker.failed(8.0)
    assert (breaker.admits(17.9), breaker.admits(18.0)) == (False, True)


def test_only_what_has_failed_is_due():
    breaker = Breaker(RestPolicy())
    assert not breaker.due(0.0, 100.0)
    breaker.failed(0.0)
    assert (breaker.due(3.0, 1.0), breaker.due(4.0, 1.0)) == (False, True)


# ------------------------------------------------------------------------------------------------- attempts


def test_the_next_one_is_asked_and_the_failed_one_rests():
    work = Work("a", "b")
    assert work.asked(a=TIMEOUT) == "ab"
    assert work.asked() == "b"
    assert work.failures == [("a", "llm_timeout")]
    assert work.route.forwarded == {("a", "b"): 2}
    work.clock.advance(5.1)
    assert work.asked() == "a"
    assert work.failures.mended == ["a"]


def test_one_that_was_only_busy_does_not_rest():
    work = Work("a", "b")
    busy = EngineBusyError("engine_busy", "64 jobs waiting")
    assert [work.asked(a=busy), work.asked(a=busy)] == ["ab", "ab"]
    assert work.failures == [("a", "engine_busy")] * 2


def test_when_all_rest_they_are_tried_by_preference():
    work = Work("a", "b", "c")
    errors: dict[str, Any] = dict.fromkeys("abc", TIMEOUT)
    assert work.asked(**errors) == "abc"
    assert work.asked(a=TIMEOUT, b=TIMEOUT) == "abc"
    assert (work.route.current, work.route.serving) == ("c", "c")
    preferred = work.route.attempts(work.route.engines[1])
    assert [attempt.engine.name for attempt in preferred] == ["c", "b", "a"]


def test_no_engine_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        Work()


def test_the_last_error_is_raised():
    work = Work("a")
    with pytest.raises(LLMError, match="15 s"), work.begun():
        raise TIMEOUT


def test_nobody_is_asked_after_what_cannot_be_taken_back():
    work = Work("a", "b")
    attempt = work.begun()
    with pytest.raises(LLMError), attempt:
        attempt.commit()
        raise TIMEOUT
    assert not work.route.forwarded
    assert work.asked() == "b", "it rests all the same"


def test_what_the_caller_did_wrong_is_not_the_engines_failure():
    class Strict(Route[Named]):
        callers_fault = frozenset(("llm_timeout",))

    work = Work("a", "b", kind=Strict)
    assert work.asked(a=TIMEOUT) == "a"
    assert (work.failures, work.asked()) == ([], "a")


def test_the_same_engine_is_asked_again_as_often_as_is_allowed():
    class Stubborn(Route[Named]):
        usual = RestPolicy(retries=2)
        hopeless = frozenset(("engine_stuck",))

    work = Work("a", "b", kind=Stubborn)
    assert work.asked(a=TIMEOUT) == "aaab"
    assert work.failures == [("a", "llm_timeout")] * 3
    assert work.route.forwarded == {("a", "b"): 1}
    work.clock.advance(5.1)
    assert work.asked(a=PipelineError("engine_stuck", "it hangs")) == "ab"


def test_while_one_finds_out_others_pass_the_engine_over():
    work = Work("a", "b")
    work.asked(a=TIMEOUT)
    work.clock.advance(6)
    trial = work.begun()
    assert (trial.engine.name, work.asked(), work.route.current) == ("a", "b", "b")
    trial.released()
    assert work.begun().engine.name == "a", "it was given up without a result"


def test_an_ended_attempt_does_not_end_anothers_trial():
    work = Work("a", "b")
    early = work.begun()
    work.asked(a=TIMEOUT)
    work.clock.advance(6)
    trial = work.begun()
    early.released()
    assert work.route.current == "b"
    trial.worked()
    work.asked(a=TIMEOUT)
    work.clock.advance(6)
    assert work.begun().engine.name == "a"
    trial.released()
    assert work.route.current == "b"


def test_many_who_fail_at_a_time_are_one_failure():
    work = Work("a", "b")
    attempts = [work.begun() for _ in range(8)]
    assert all(attempt.failed(TIMEOUT) for attempt in attempts)
    work.clock.advance(5.1)
    assert work.route.current == "a"


def test_a_better_engine_that_has_come_is_asked_first_and_what_is_known_of_the_others_stays():
    work = Work("a", "b")
    work.asked(a=TIMEOUT)
    work.route.prefer(Named("c"), before="b")
    assert (work.route.name, work.route.current, work.route.serving) == ("a", "c", "c")
    work.route.prefer(Named("d"))
    assert (work.route.name, work.route.current) == ("d", "d")
    assert work.asked(d=TIMEOUT, c=TIMEOUT) == "dcb"


def test_an_attempt_knows_whether_there_are_better_engines():
    work = Work("a", "b")
    work.route.start_without(TIMEOUT)
    assert work.begun().stands_in
    work.clock.advance(6)
    assert not work.begun().stands_in


# ------------------------------------------------------------------------------------------------- probing


async def test_an_engine_that_failed_is_probed_until_it_works():
    class Away(Named):
        probes = 0
        back = False

        async def probe(self) -> None:
            self.probes += 1
            if not self.back:
                raise TIMEOUT

    clock, failures, engine = FakeClock(), Failures(), Away("a")
    failover = Route[Named]([engine, Named("b")], failures, clock)
    probing = asyncio.create_task(failover.keep_probing())
    try:
        for _ in range(10):
            await clock.sleeper()
            clock.advance(PROBE_SECONDS)
        await clock.sleeper()
        assert engine.probes == 0, "it has not failed"
        failover.start_without(TIMEOUT)
        for _ in range(60):
            clock.advance(PROBE_SECONDS)
            await clock.sleeper()
        assert 60 / LONGEST_PROBE_REST <= engine.probes <= 8
        assert failover.current == "b"
        engine.back = True
        for _ in range(int(LONGEST_PROBE_REST)):
            clock.advance(PROBE_SECONDS)
            await clock.sleeper()
        assert failover.current == "a"
    finally:
        probing.cancel()
    assert (failures, failures.mended) == ([("a", "llm_timeout")], ["a"])


async def test_all_are_closed():
    work = Work("a", "b")
    await work.route.close()
    assert [engine.closed for engine in work.route.engines] == [1, 1]
