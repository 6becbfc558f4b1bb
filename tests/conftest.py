"""Fixtures shared by all tests."""

from __future__ import annotations

import asyncio
import functools
import inspect
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aioice.ice
import aiortc.rtcicetransport
import hypothesis
import pytest

from pipelines.routing.definition import SHIPPED, load
from pipelines.runtime.worker import Worker
from pipelines.tools.assistant import AssistantTools
from pipelines.voice.settings import VoiceEngines
from server.dialects.openai.client_events import RealtimeClient
from server.dialects.openai.dialect import RealtimeDialect
from server.dialects.openai.server_events import RealtimeEvents
from server.engines.build import Engines
from server.engines.choices import Choices
from server.http.app import create_app
from server.http.web_server import WebServer
from server.settings import load_settings
from server.transports.webrtc import ice
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, LoudnessVad
from tests.fakes.service_events import violations

os.environ.setdefault("VISAVIS_SHEDDING", "off")  # what a server does must not depend on how loaded the machine is

hypothesis.settings.register_profile(  # how long an example takes says something of the machine alone
    "visavis", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("visavis")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Tests run on the event loop of the product: uvloop, where it exists. It differs from asyncio's in its errors."""
    try:
        import uvloop
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}


HANGS_AFTER = 400.0
"""Seconds after which a test on the event loop has failed; less than the time after which the whole run is ended."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test that hangs fails alone and tells what waits for what.

    pytest-timeout cannot do that here: uvloop swallows what its signal raises, so it ends the whole run.
    """
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)


def _bounded(test: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(test)
    async def run(*args: Any, **kwargs: Any) -> None:
        stacks = io.StringIO()

        def tell() -> None:
            for task in asyncio.all_tasks():
                task.print_stack(file=stacks)

        telling = asyncio.get_running_loop().call_later(HANGS_AFTER, tell)
        try:
            async with asyncio.timeout(HANGS_AFTER + 1.0) as bound:
                await test(*args, **kwargs)
        except TimeoutError:
            if not bound.expired():
                raise
            pytest.fail(f"hangs after {HANGS_AFTER:g} s:\n{stacks.getvalue()}", pytrace=False)
        finally:
            telling.cancel()

    return run


@pytest.fixture(autouse=True)
def gathers_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which local addresses, ports and relays are offered is set for the process: no test leaves its own behind."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", aioice.ice.get_host_addresses)
    monkeypatch.setattr(aioice.ice, "relayed_candidate", aioice.ice.relayed_candidate)
    monkeypatch.setattr(aiortc.rtcicetransport, "parse_stun_turn_uri", aiortc.rtcicetransport.parse_stun_turn_uri)
    monkeypatch.setattr(aioice.ice, "asyncio", asyncio)


@pytest.fixture(autouse=True)
def events_keep_to_the_protocol(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, None]]:
    """Whatever the OpenAI dialect says in a test, stock clients know it or it is documented."""
    wrong: dict[str, None] = {}

    def checked(event: dict[str, Any]) -> dict[str, Any]:
        wrong.update(dict.fromkeys(violations(event)))
        return event

    def watch(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            told = method(*args, **kwargs)
            for event in told if isinstance(told, list) else [told]:
                checked(event)
            return told

        monkeypatch.setattr(kind, name, functools.wraps(method)(watched))

    watch(RealtimeEvents, "translate")
    for name in ("greeting", "refusal", "failure", "farewell"):
        watch(RealtimeDialect, name)
    for kind in (RealtimeClient, RealtimeDialect):
        begin = kind.__init__

        def began(self: Any, *args: Any, _begin: Any = begin, **kwargs: Any) -> None:
            given = inspect.signature(_begin).bind(self, *args, **kwargs)
            send = given.arguments["send"]
            given.arguments["send"] = lambda event: send(checked(event))
            _begin(*given.args, **given.kwargs)

        monkeypatch.setattr(kind, "__init__", began)
    yield wrong
    assert not wrong, "events that no client expects:\n" + "\n".join(wrong)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model of transformers of each kind; building them imports torch."""
    from tests.fakes.tiny_models import all_of

    return all_of(tmp_path_factory.mktemp("models"))


@pytest.fixture
def loopback(gathers_as_before: None) -> None:
    """All media of this process stays on 127.0.0.1."""
    ice.gather_from(["127.0.0.1"])


def fake_engines(
    *,
    stt: Any = None,
    llm: Any = None,
    tts: Any = None,
    vad: Any = None,
    vision: Any = None,
    tools: Any = tuple,
    assistant: AssistantTools | None = None,
) -> Engines:
    """Engines that do as told; give real ones for the stages under test."""
    voice = VoiceEngines(
        vad or LoudnessVad(),
        stt or FakeRecognizer(),
        llm or FakeModel(),
        tts or FakeVoice(),
        tools=tools,
        assistant=assistant or AssistantTools(),
    )
    pipeline = load(SHIPPED / "voice-assistant.yaml").pipelines[0]
    return Engines(voice, vision, Worker("vision"), Worker("drawing"), pipeline, Choices())


@asynccontextmanager
async def serving(**defaults: Any) -> AsyncIterator[Callable[..., Any]]:
    """``url, app = await start(engines, **settings)``: the real application on a free port, until the end."""
    async with AsyncExitStack() as stack:

        async def start(engines: Engines | None = None, **settings: Any) -> tuple[str, Any]:
            engines = engines or fake_engines()
            loaded = load_settings({"shutdown_timeout": 2.0, "port": 0, **defaults, **settings})
            app = create_app(loaded, engines)
            server = WebServer(app, loaded)
            stack.push_async_callback(engines.close)
            stack.push_async_callback(server.close)
            await server.start()
            return server.url, app

        yield start


@pytest.fixture
async def serve(loopback: None) -> AsyncIterator[Callable[..., Any]]:
    """See :func:`serving`. Media stays on 127.0.0.1 unless ``ice_address=()`` is given."""
    async with serving(ice_address=("127.0.0.1",)) as start:
        yield start
