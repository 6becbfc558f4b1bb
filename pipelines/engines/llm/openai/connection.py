"""Connections to model servers, what they answer beside streams, and what they list."""

from __future__ import annotations

import asyncio
import json
import re

import aiohttp

from pipelines.engines.llm.openai.chunks import error_message, read_json, short
from pipelines.errors import LLMError
from pipelines.http_bodies import read_body
from pipelines.text import mended

LARGEST_BODY = 1 << 20
"""Bytes of a list of models or of an error; of a longer one the end is not read."""
_KEPT_SECONDS = 60.0
"""How long an idle connection is kept, so that the next turn need not open one."""
_NOT_CHAT = ("embed", "minilm", "rerank", "bge-")
"""Parts of the names of models that do not chat."""
_OF_THE_REQUEST = (400, 413, 422)
"""Statuses that tell of what was asked, not of the server: others are answered."""


async def discover(base_url: str, api_key: str | None = None, timeout: float = 0.5) -> list[str]:
    """Ids of the chat models of the server at ``base_url``, in its order (``timeout`` in seconds).

    Raises :class:`~pipelines.errors.LLMError` (codes as in :meth:`OpenAIChat.stream`, and ``llm_key_refused``).
    """
    url = f"{base_url.rstrip('/')}/models"
    try:
        async with (
            asyncio.timeout(timeout),
            open_session(api_key, timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                error = await http_error(response, base_url)
                raise LLMError("llm_key_refused", error.message) if response.status == 401 else error
            body = read_json(await read_body(response.content, LARGEST_BODY), base_url)
    except TimeoutError as error:
        raise LLMError("llm_timeout", f"{base_url} did not list its models within {timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise unreachable(base_url, error) from error
    models = body.get("data") or body.get("models")
    listed = models if isinstance(models, list) else []
    ids = [mended(str(model["id"])) for model in listed if isinstance(model, dict) and model.get("id")]
    return [name for name in ids if not any(part in name.lower() for part in _NOT_CHAT)]


def open_session(api_key: str | None, connect_seconds: float) -> aiohttp.ClientSession:
    """Connections of their own, whose use in time is the user's matter."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)  # other deadlines: around each wait
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS)
    return aiohttp.ClientSession(connector=connector, headers=headers, timeout=timeout, trust_env=False)


async def http_error(response: aiohttp.ClientResponse, name: str) -> LLMError:
    """What an answer with this status tells. A server that refuses a request may quote it: that is for who asked."""
    body = (await read_body(response.content, LARGEST_BODY)).decode("utf-8", "replace")
    try:
        message = error_message(json.loads(body))
    except (ValueError, RecursionError):
        message = "" if "<" in body else short(body)  # no web page
    told = f"{name}: {message or response.reason or 'error'} (HTTP {response.status})"
    summary = told if response.status == 404 else f"{name} answered with HTTP {response.status}"
    if response.status in _OF_THE_REQUEST:
        return LLMError("llm_refused", told, summary)
    return LLMError("llm_http_error", told, summary)


def unreachable(base_url: str, error: Exception) -> LLMError:
    """There is no connection, or it broke."""
    message = f"no answer from the language model at {base_url}: {error or 'connection lost'}"
    return LLMError("llm_unreachable", re.sub(r"//[^/@\s]*@", "//", message))  # without a password in the address
