"""What sessions leave behind is freed after a few of them, and given back to the system once all have ended."""

from __future__ import annotations

import asyncio

import pytest

from pipelines.runtime.tidying import LEFT_BEHIND, TIDY_SECONDS, keep_tidy
from tests.fakes.clock import FakeClock


class Sessions:
    """So many of those that have begun are still here."""

    def __init__(self) -> None:
        self.begun = 0
        self.here = 0

    def __len__(self) -> int:
        return self.here


class Tidied:
    """What was done about them, as it happened."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sessions = Sessions()
        self.done: list[str] = []

    async def give_back(self) -> None:
        self.done.append("given back")

    async def look(self) -> list[str]:
        await self.clock.sleeper()
        self.clock.advance(TIDY_SECONDS)
        await self.clock.sleeper()
        done, self.done = self.done, []
        return done


@pytest.fixture
async def tidied():
    made = Tidied()
    task = asyncio.create_task(
        keep_tidy(made.sessions, made.clock, made.give_back, lambda: made.done.append("collected"))
    )
    yield made
    task.cancel()


async def test_memory_is_given_back_once_when_the_last_session_has_ended(tidied):
    assert await tidied.look() == [], "nobody has been here"
    tidied.sessions.begun, tidied.sessions.here = 2, 1
    assert await tidied.look() == [], "one is still here"
    tidied.sessions.here = 0
    assert await tidied.look() == ["collected", "given back"]
    assert await tidied.look() == [], "nobody has been here since"


async def test_what_some_have_left_is_freed_while_others_go_on(tidied):
    tidied.sessions.begun, tidied.sessions.here = LEFT_BEHIND + 2, 3
    assert await tidied.look() == [], "too few"
    tidied.sessions.here = 2
    assert await tidied.look() == ["collected"]
    tidied.sessions.begun += LEFT_BEHIND - 1
    assert await tidied.look() == [], "those have been seen to"
    tidied.sessions.begun += 1
    assert await tidied.look() == ["collected"]
