"""Places for requests: clients in turn, bounded, and given back however a request ends."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from pipelines.runtime.worker import client, session
from server.http.errors import HttpError
from server.http.rest.serving import Places


class Requests:
    """Requests that hold their place until they are told to end."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.served: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def ask(self, who: str, name: str) -> asyncio.Task[None]:
        context = copy_context()
        context.run(client.set, who)
        context.run(session.set, name)
        self.ends[name] = asyncio.Event()
        return asyncio.get_running_loop().create_task(self._hold(name), context=context)

    async def _hold(self, name: str) -> None:
        async with self.places.place():
            self.served.append(name)
            await self.ends[name].wait()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_clients_wait_in_turn() -> None:
    requests = Requests(Places(1, 20))
    tasks = [requests.ask("greedy", f"g{n}") for n in range(8)]
    tasks.append(requests.ask("modest", "m"))
    await settle()
    assert requests.served == ["g0"]
    for end in requests.ends.values():
        end.set()
    await asyncio.gather(*tasks)
    assert requests.served[:3] == ["g0", "g1", "m"]


async def test_one_client_leaves_room_for_others() -> None:
    requests = Requests(Places(1, 3, most=3))
    held = [requests.ask("greedy", f"g{n}") for n in range(3)]
    await settle()
    with pytest.raises(HttpError, match="too many"):
        await requests.ask("greedy", "g3")
    other = requests.ask("modest", "m")
    await settle()
    with pytest.raises(HttpError, match="too many"):
        await requests.ask("third", "t")
    for end in requests.ends.values():
        end.set()
    await asyncio.gather(*held, other)
    again = requests.ask("greedy", "again")
    requests.ends["again"].set()
    await again


async def test_whoever_leaves_passes_the_place_on() -> None:
    requests = Requests(Places(1, 5))
    first, second, third = (requests.ask("a", name) for name in ("1", "2", "3"))
    await settle()
    second.cancel()  # in line
    requests.ends["1"].set()
    await settle()
    assert requests.served == ["1", "3"]
    fourth, fifth = requests.ask("a", "4"), requests.ask("a", "5")
    await settle()
    third.cancel()
    await asyncio.sleep(0)  # the place has been given to the fourth, which does not know yet
    fourth.cancel()
    await settle()
    assert requests.served == ["1", "3", "5"]
    requests.ends["5"].set()
    await asyncio.gather(first, second, third, fourth, fifth, return_exceptions=True)
    requests.ends["1"].set()
    assert requests.places._of == {}
    assert requests.places._idle == 1
