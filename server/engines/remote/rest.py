"""One server's REST API: requests with a deadline for the first byte and between bytes, answers of a bounded size."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from pipelines.errors import PipelineError
from pipelines.http_bodies import read_body

CONNECT_SECONDS = 2.0
FIRST_SECONDS = 30.0
"""Until an answer begins, and between two pieces of it."""
LARGEST = 64 << 20
"""Bytes of an answer."""
_SHORT = 300


class RemoteError(PipelineError):
    """A server cannot be reached, or does not do what it is asked. The code says which stage it was asked for."""

    stage = "remote"


class Rest:
    """A server; connections are kept. ``server`` is what people call it, ``base_url`` ends before ``/audio/speech``."""

    def __init__(self, server: str, base_url: str, key: str | None) -> None:
        self.server = server
        self._url = base_url.rstrip("/")
        self._key = key
        self._session: aiohttp.ClientSession | None = None

    async def json(self, path: str, *, body: Any = None, form: aiohttp.FormData | None = None) -> dict[str, Any]:
        """Post and read a JSON object. Raises :class:`RemoteError`."""
        data = b"".join([piece async for piece in self.stream(path, body=body, form=form)])
        try:
            found = json.loads(data)
        except ValueError:
            raise RemoteError("remote_bad_answer", f"{self.server} answered {path} with no JSON") from None
        if not isinstance(found, dict):
            raise RemoteError("remote_bad_answer", f"{self.server} answered {path} with no JSON object")
        return found

    async def stream(
        self, path: str, *, body: Any = None, form: aiohttp.FormData | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Post and yield the bytes of the answer as they come. Raises :class:`RemoteError`."""
        seen = 0
        async with self._answer(path, body, form) as response:
            while piece := await self._piece(response, path):
                seen += len(piece)
                if seen > LARGEST:
                    raise RemoteError("remote_bad_answer", f"{self.server} sent more than {LARGEST >> 20} MiB")
                yield piece

    async def close(self) -> None:
        """End the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _answer(
        self, path: str, body: Any, form: aiohttp.FormData | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        session = self._opened()
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                response = await session.post(f"{self._url}{path}", json=body, data=form, allow_redirects=False)
        except TimeoutError:
            raise self._too_late(path) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error
        try:
            if response.status != 200:
                raise await self._refused(response)
            yield response
        finally:
            response.close()

    async def _piece(self, response: aiohttp.ClientResponse, path: str) -> bytes:
        try:
            async with asyncio.timeout(FIRST_SECONDS):
                return await response.content.readany()
        except TimeoutError:
            raise self._too_late(path) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(error) from error

    async def _refused(self, response: aiohttp.ClientResponse) -> RemoteError:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                told = json.loads(await read_body(response.content, 1 << 16))
            message = str(told["error"]["message"])[:_SHORT]
        except (TimeoutError, ValueError, KeyError, TypeError, aiohttp.ClientError):
            message = response.reason or "error"
        summary = f"{self.server} answered with HTTP {response.status}"
        return RemoteError("remote_http_error", f"{self.server}: {message} (HTTP {response.status})", summary)

    def _too_late(self, path: str) -> RemoteError:
        return RemoteError("remote_timeout", f"{self.server} did not go on with {path} within {FIRST_SECONDS:g} s")

    def _away(self, error: Exception) -> RemoteError:
        url = re.sub(r"//[^/@\s]*@", "//", self._url)  # without a password in the address
        return RemoteError("remote_unreachable", f"no answer from {self.server} at {url}: {type(error).__name__}")

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(headers=headers, timeout=timeout, trust_env=False)
        return self._session
