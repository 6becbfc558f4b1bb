"""Which model server is asked, by which name, and what is told while it is away; servers are real and on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pipelines.errors import DefinitionError, LLMError
from pipelines.interfaces.llm import ChatRequest, LanguageModel, Message
from pipelines.routing.definition import load
from pipelines.routing.routes.llm import FallbackModel
from pipelines.routing.routes.route import PROBE_SECONDS
from server.engines.choices import Choice
from server.engines.model_servers import LOOK_SECONDS
from server.engines.parts import Parts
from server.engines.stages import llm
from server.settings import load_settings
from tests.fakes.clock import FakeClock
from tests.fakes.openai_server import DONE, delta, saying, serving
from tests.patience import PATIENCE

HELLO = ChatRequest((Message("user", "hello"),))


class Server:
    """Lists ``models`` (or answers with a status), and says ``Yes.`` to whoever asks for a model it knows."""

    def __init__(self, models: list[str] | int, knows: str = "", refuses: str = "") -> None:
        self.models, self.knows, self.refuses = models, knows, refuses
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/models"):
            if isinstance(self.models, int):
                return web.json_response({"error": "no"}, status=self.models)
            return web.json_response({"data": [{"id": name} for name in self.models]})
        body = await request.json()
        self.asked.append(body["model"])
        if self.knows and body["model"] != self.knows:
            return web.json_response({"error": {"message": f"model '{body['model']}' not found"}}, status=404)
        if self.refuses and self.refuses in body:
            return web.json_response({"error": {"message": f"unsupported: {self.refuses}"}}, status=400)
        return await saying(delta(content="Yes."), DONE)(request)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def parts(cache: Path, **flags: Any) -> Parts:
    settings = load_settings({"cache": cache, **flags})
    made = Parts(settings, load(settings.pipeline), lambda line: None)
    made.clock = FakeClock()
    return made


def row(made: Parts) -> Choice:
    return next(choice for choice in made.choices.status() if choice.stage == "llm")


async def answer(model: LanguageModel) -> str:
    return "".join([str(piece) async for piece in model.stream(HELLO)])


class Upkeep:
    """What goes on while the server runs, on a clock that the test turns."""

    def __init__(self, made: Parts) -> None:
        self.made = made
        self.changes = 0
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self.changes += 1
        self._changed.set()

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time pass in steps of ``seconds`` until ``condition()``."""
        clock = self.made.clock
        assert isinstance(clock, FakeClock)
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await clock.sleeper()
                clock.advance(seconds)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)
                self._changed.clear()


@asynccontextmanager
async def kept_up(made: Parts) -> AsyncIterator[Upkeep]:
    upkeep = Upkeep(made)
    forget = made.choices.on_change(upkeep.changed)
    tasks = [asyncio.create_task(work()) for work in made.upkeep]
    try:
        yield upkeep
    finally:
        forget()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ------------------------------------------------------------------------------------------------ by name


def named_by_a_pipeline(tmp_path: Path, *servers: str, lists: str = "") -> Path:
    """A definition whose language model is ``llama3.2`` of one of these servers; ``lists``: what they have."""
    ids = [f"server-{n}" for n in range(len(servers))]
    declared = "".join(
        f"  - {{id: {name}, kind: openai, base_url: '{url}', models: [{lists}]}}\n"
        for name, url in zip(ids, servers, strict=True)
    )
    file = tmp_path / "named.yaml"
    path = f"forwarding_policy: {{escalation_path: [{', '.join([*ids, 'cpu'])}]}}"
    stages = f"{{id: a, type: audio_to_text}}, {{id: b, type: text_generation, model: llama3.2, {path}}}"
    text = f"pipelines:\n- {{id: named, stages: [{stages}, {{id: c, type: text_to_audio}}]}}\n"
    file.write_text(text + f"backends:\n{declared}")
    return file


async def test_a_model_of_the_pipeline_is_asked_of_the_server_that_has_it(tmp_path: Path) -> None:
    other, having = Server(["other"]), Server(["x", "llama3.2:latest"], knows="llama3.2")
    async with serving(other.handle) as first, serving(having.handle) as second:
        made = parts(tmp_path, pipeline=named_by_a_pipeline(tmp_path, first, second))
        model = await llm(made)
        assert await answer(model) == "Yes."
        assert (having.asked, other.asked, row(made).engine) == (["llama3.2"], [], "server-1 llama3.2")
        await model.close()


async def test_a_model_of_the_pipeline_that_no_server_has_yet_is_waited_for(tmp_path: Path) -> None:
    server = Server(["other"], knows="llama3.2")
    async with serving(server.handle) as url:
        made = parts(tmp_path, pipeline=named_by_a_pipeline(tmp_path, url))
        model = await llm(made)
        assert row(made).engine == "starter"
        assert f"server-0 at {url} has no llama3.2: it lists other" in row(made).reason
        assert row(made).wanted == "llama3.2"
        server.models = ["other", "llama3.2"]
        async with kept_up(made) as upkeep:
            await upkeep.until(lambda: row(made).engine == "server-0 llama3.2", LOOK_SECONDS)
        assert await answer(model) == "Yes."
        await model.close()


def test_a_model_that_no_server_of_the_path_can_have_is_refused(tmp_path: Path) -> None:
    elsewhere = named_by_a_pipeline(tmp_path, "http://127.0.0.1:9/v1", lists="phi3")
    with pytest.raises(DefinitionError, match=r"stage b, model: there is no model 'llama3\.2'"):
        parts(tmp_path, pipeline=elsewhere).wishes.llm()
    elsewhere.write_text(named_by_a_pipeline(tmp_path).read_text().partition("backends")[0])
    with pytest.raises(DefinitionError, match=r"stage b, model: there is no model 'llama3\.2'"):
        parts(tmp_path, pipeline=elsewhere).wishes.llm()


@pytest.mark.parametrize(
    ("models", "reason"),
    [
        (["llama3.2:latest", "other"], "found at http"),
        (["llama3.2"], "found at http"),
        (["other"], "asked for at http://127.0.0.1:PORT/v1, which lists other"),
        ([], "which lists no model"),
        (404, "does not list its models"),
        (403, "does not list its models"),
        (500, "does not list its models"),
    ],
)
async def test_a_named_model_is_asked_by_its_name_whatever_the_server_lists(
    tmp_path: Path, models: list[str] | int, reason: str
) -> None:
    server = Server(models, knows="llama3.2")
    async with serving(server.handle) as url:
        made = parts(tmp_path, llm_url=url, llm_model="llama3.2")
        model = await llm(made)
        assert await answer(model) == "Yes."
        await model.close()
    assert server.asked == ["llama3.2"]
    assert (row(made).engine, row(made).ok) == ("openai llama3.2", True)
    assert reason.replace("http://127.0.0.1:PORT/v1", url) in row(made).reason


async def test_without_a_name_the_first_that_is_listed_or_the_only_one_there_is(tmp_path: Path) -> None:
    for models, name in ((["nomic-embed-text", "qwen3:0.6b", "other"], "qwen3:0.6b"), (404, "default")):
        server = Server(models)
        async with serving(server.handle) as url:
            model = await llm(parts(tmp_path, llm_url=url))
            assert await answer(model) == "Yes."
            await model.close()
        assert server.asked == [name]


async def test_a_name_that_the_server_does_not_know_is_told_and_not_replaced(tmp_path: Path) -> None:
    server = Server(["other"], knows="other")
    async with serving(server.handle) as url:
        made = parts(tmp_path, llm_url=url, llm_model="nosuch")
        model = await llm(made)
        assert await answer(model) != "Yes."
        await model.close()
    assert server.asked == ["nosuch"]
    assert (row(made).engine, row(made).ok) == ("starter", False)
    assert "model 'nosuch' not found" in row(made).reason
    assert "stands in for openai nosuch" in row(made).reason


@pytest.mark.parametrize(
    ("key", "said"),
    [({}, "the server wants a key"), ({"llm_api_key": "wrong"}, "the server wants another key")],
)
async def test_a_wrong_key_is_refused_at_the_start(tmp_path: Path, key: dict[str, str], said: str) -> None:
    async with serving(Server(401).handle) as url:
        with pytest.raises(LLMError, match=f"llm_api_key: {said}: .*401.*; legal is one that it knows"):
            await llm(parts(tmp_path, llm_url=url, llm_model="llama3.2", **key))


# ------------------------------------------------------------------------------------------------ later


async def test_a_named_server_that_is_away_at_the_start_is_asked_as_soon_as_it_is_there(tmp_path: Path) -> None:
    port = free_port()
    made = parts(tmp_path, llm_url=f"http://127.0.0.1:{port}/v1", llm_model="llama3.2")
    model = await llm(made)
    server = Server(404, knows="llama3.2")
    try:
        assert (row(made).engine, row(made).ok) == ("starter", False)
        assert "stands in for openai llama3.2" in row(made).reason
        assert await answer(model) != "Yes.", "somebody answers meanwhile"
        async with kept_up(made) as upkeep:
            async with serving(server.handle, port):
                await upkeep.until(lambda: row(made).ok, PROBE_SECONDS)
                assert row(made).engine == "openai llama3.2"
                assert await answer(model) == "Yes."
                assert upkeep.changes == 1
            assert await answer(model) != "Yes.", "it has gone again"
            assert (row(made).engine, row(made).ok) == ("starter", False)
            async with serving(server.handle, port):
                await upkeep.until(lambda: row(made).ok, PROBE_SECONDS)
                assert await answer(model) == "Yes."
    finally:
        await model.close()
    assert set(server.asked) == {"llama3.2"}


async def test_no_turn_finds_out_whether_a_failed_server_is_back(tmp_path: Path) -> None:
    """While it is asked in the background, however long, turns go to the next model."""
    hung, released = asyncio.Event(), asyncio.Event()
    asked = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "tiny"}]})
        asked += 1
        if asked == 1:
            return web.json_response({"error": "out of memory"}, status=503)
        hung.set()
        await released.wait()
        return await saying(delta(content="Yes."), DONE)(request)

    async with serving(handler) as url:
        made = parts(tmp_path, llm_url=url)
        model = await llm(made)
        assert await answer(model) != "Yes."
        async with kept_up(made) as upkeep:
            await upkeep.until(hung.is_set, PROBE_SECONDS)
            assert isinstance(made.clock, FakeClock)
            made.clock.advance(30)
            assert await answer(model) != "Yes."
            assert asked == 2
            released.set()
            await upkeep.until(lambda: row(made).ok, PROBE_SECONDS)
            assert await answer(model) == "Yes."
        await model.close()


@pytest.mark.parametrize("named", [True, False])
async def test_a_server_that_is_started_later_is_found(tmp_path: Path, named: bool) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    pipeline = tmp_path / "pipeline.yaml"
    shipped = load_settings({}).pipeline.read_text("utf-8")
    pipeline.write_text(shipped.replace("http://127.0.0.1:11434/v1", url), "utf-8")
    made = parts(tmp_path, **({"llm_url": url} if named else {"pipeline": pipeline}))
    model = await llm(made)
    assert isinstance(model, FallbackModel)
    assert (row(made).engine, row(made).ok) == ("starter", not named)
    assert f"no {'openai' if named else 'ollama'} at {url}" in row(made).reason
    server = Server([])
    async with kept_up(made) as upkeep, serving(server.handle, port):
        assert isinstance(made.clock, FakeClock)
        await made.clock.sleeper()
        made.clock.advance(LOOK_SECONDS)
        await made.clock.sleeper()
        assert row(made).engine == "starter", "it has no model yet"
        server.models = ["qwen3:0.6b"]
        await upkeep.until(lambda: row(made).engine != "starter", LOOK_SECONDS)
        assert (row(made).engine, row(made).ok) == (f"{'openai' if named else 'ollama'} qwen3:0.6b", True)
        assert model.name == row(made).engine
        assert upkeep.changes == 1
        assert await answer(model) == "Yes."
    await model.close()


async def test_what_a_server_refuses_belongs_to_the_reason(tmp_path: Path) -> None:
    server = Server(["tiny"], refuses="max_tokens")
    async with serving(server.handle) as url:
        made = parts(tmp_path, llm_url=url)
        model = await llm(made)
        async with kept_up(made) as upkeep:
            assert await answer(model) == "Yes."
            assert upkeep.changes == 1
        await model.close()
    assert "the limit is called max_completion_tokens, for it refused (HTTP 400)" in row(made).reason
