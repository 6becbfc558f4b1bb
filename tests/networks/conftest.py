"""Hosts with networks of their own, and a server in one of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.conftest import serving
from tests.fakes.networks import Host, Networks, missing

KEY = "a-key-for-tests"
ServeIn = Callable[..., Awaitable[str]]


@pytest.fixture(scope="session")
def why_not() -> str:
    return missing()


@pytest.fixture
def networks(why_not: str) -> Iterator[Networks]:
    if why_not:
        pytest.skip(why_not)
    with Networks() as made:
        yield made


@pytest.fixture
async def serve_in(networks: Networks) -> AsyncIterator[ServeIn]:
    """``url = await serve_in(host, address, engines, **settings)``: the real application in a host, until the end."""
    async with AsyncExitStack() as stack:

        async def start(host: Host, address: str, engines: Any = None, **settings: Any) -> str:
            async def begin() -> tuple[AsyncExitStack, str]:
                own = AsyncExitStack()
                begun = await own.enter_async_context(serving(host=address, api_key=KEY))
                url, _ = await begun(engines, **settings)
                return own, url

            own, url = await host.do(begin())
            stack.push_async_callback(lambda: host.do(own.aclose()))
            return url

        yield start
