"""The REST API on loopback, asked by the stock ``openai`` client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import openai
import pytest

from tests.conftest import fake_engines
from tests.server.http.rest.clients import client_of


@pytest.fixture
async def rest(serve, tmp_path) -> AsyncIterator[Callable[..., Any]]:
    """``client = await rest(stt=…, llm=…, tts=…)``: a client of a server whose engines do as told."""
    async with AsyncExitStack() as stack:

        async def start(**engines: Any) -> openai.AsyncOpenAI:
            url, _ = await serve(fake_engines(**engines), cache=tmp_path)
            return await stack.enter_async_context(client_of(url))

        yield start
