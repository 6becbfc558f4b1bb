"""The first run: what is missing is fetched while the server serves, and each engine takes over when it has come."""

from __future__ import annotations

import asyncio
import io
import threading
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.engines.turn.smart_turn import LateTurnDetector
from pipelines.errors import ModelError
from pipelines.models.sources_http import Progress
from pipelines.models.store import ModelFiles, ModelStore
from pipelines.routing.definition import load
from server.cli.serve import EngineNews, tell_missing
from server.engines.build import build_engines
from server.engines.parts import AT_ONCE, Parts, Places
from server.engines.stages import stt, tts, turn
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.peer import Peer
from tests.real_models import real_model
from tests.server.engines.test_composition import CLOSED, VOICE, WHISPER, models, parts, row

__all__ = ["models"]


class Slow:
    """Stands where a store fetches: each model comes when the test says so."""

    def __init__(self, made: Parts, folder: Path) -> None:
        self._store = ModelStore(made.store.root, folder, catalogue=made.store.catalogue)
        self.may_come: dict[str, threading.Event] = {}
        self.begun: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        made.store.ensure = self.ensure  # type: ignore[method-assign]

    def expect(self, *ids: str) -> None:
        self.may_come = {model_id: threading.Event() for model_id in ids}

    def ensure(self, model_id: str, say, report) -> ModelFiles:
        report(Progress(model_id, "weights", 4, 10))
        self._loop.call_soon_threadsafe(self.begun.put_nowait, model_id)
        assert self.may_come[model_id].wait(30)
        found = self._store.here(model_id)
        if found is None:
            raise ModelError("model_unavailable", f"{model_id} could not be had (the network is closed)")
        return found


async def test_each_engine_takes_over_when_its_own_model_has_come(tmp_path, models, serve):
    made = parts(tmp_path)
    engines = fake_engines(stt=await stt(made), tts=await tts(made))
    engines.later, engines.choices = made.later, made.choices
    slow = Slow(made, models)
    slow.expect(WHISPER, VOICE)
    url, _ = await serve(engines)
    async with Peer(url) as peer:
        assert {await slow.begun.get(), await slow.begun.get()} == {WHISPER, VOICE}  # both at a time

        def told(stage: str) -> dict:
            rows = [row for event in peer.named("engine.status") for row in event["data"] if row["stage"] == stage]
            return rows[-1] if rows else {}

        await peer.until(lambda: told("tts").get("fetching"))
        assert told("tts")["fetching"] == [{"model": VOICE, "state": "fetching", "done": 4, "total": 10, "error": ""}]
        slow.may_come[VOICE].set()
        await peer.until(lambda: told("tts")["engine"] == "piper")
        assert told("tts")["fetching"] == []
        assert told("stt")["engine"] == "pocketsphinx"
        slow.may_come[WHISPER].set()
        await peer.until(lambda: told("stt")["engine"] == WHISPER)


async def test_a_few_models_are_fetched_at_a_time_the_smallest_first(tmp_path):
    made = parts(tmp_path)
    slow = Slow(made, tmp_path)
    ids = [f"model-{number}" for number in range(AT_ONCE + 2)]
    slow.expect(*ids)
    made._expected = lambda model_id: 10 - int(model_id[-1])  # type: ignore[method-assign]
    tasks = [asyncio.create_task(made.fetch(model_id)) for model_id in ids]
    begun = [await slow.begun.get() for _ in range(AT_ONCE)]
    assert sorted(begun) == ids[2:]
    states = [fetch.state for fetch in made.fetches.all()]
    assert states == ["waiting"] * 2 + ["fetching"] * AT_ONCE
    for event in slow.may_come.values():
        event.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_could_not_be_had_is_told_in_the_status_and_in_one_line(tmp_path):
    made = parts(tmp_path)
    said: list[str] = []
    engines = fake_engines(stt=await stt(made))
    engines.later, engines.choices, engines.say = made.later, made.choices, said.append
    slow = Slow(made, tmp_path)
    slow.expect(WHISPER)
    slow.may_come[WHISPER].set()
    try:
        await engines.improve()
        (fetch,) = row(made, "stt").fetching
        assert (fetch.state, fetch.error) == ("failed", f"{WHISPER} could not be had (the network is closed)")
        assert said == [f"{WHISPER} could not be had (the network is closed)"]
    finally:
        await engines.close()


async def test_a_turn_detector_that_comes_later_is_asked_from_then_on():
    class Sure:
        name = "sure"

        async def completeness(self, samples):
            return 0.9

        async def close(self):
            closed.append(None)

    closed: list[None] = []
    late = LateTurnDetector()
    assert (late.name, await late.completeness(None)) == ("rules", None)
    late.take(Sure())
    assert (late.name, await late.completeness(None)) == ("sure", 0.9)
    await late.close()
    assert closed == [None]


async def test_the_server_does_not_wait_for_the_turn_detector(tmp_path):
    made = parts(tmp_path)
    detector = await turn(made)
    assert detector is not None and detector.name == "rules"
    assert len(made.later) == 1
    assert row(made, "turn").ok


@pytest.mark.parametrize("profile", ["auto", "embedded"])
async def test_no_download_fetches_nothing_at_all_and_says_what_is_missing(tmp_path, monkeypatch, profile):
    """Nothing is asked of any source of the catalogue, before or after the server is ready."""
    monkeypatch.setattr(ModelStore, "_fetch", lambda *args: pytest.fail("something was fetched"))
    monkeypatch.setattr("pipelines.runtime.child_process.Children.run", lambda *args: pytest.fail("pip was started"))
    settings = load_settings({"cache": tmp_path, "download": False, "profile": profile, **CLOSED})
    engines = await build_engines(settings)
    try:
        assert not engines.later
        assert engines.voice.turn is None
        assert (engines.voice.stt.name, engines.voice.tts.name) == ("pocketsphinx", "espeak-ng")
        console = Console(file=io.StringIO(), width=100)
        tell_missing(engines, console)
        said = console.file.getvalue()  # type: ignore[attr-defined]
        assert said.startswith("Nothing is fetched (download: false). This brings what is missing, ")
        assert ("smollm2-135m-instruct-gguf" in said) == (profile == "auto"), "what would be fetched"
        assert "smollm2-360m-instruct" not in said
        assert "  visavis models pull smart-turn " in said
        assert not list(tmp_path.rglob("*.whl"))
    finally:
        await engines.close()


async def test_the_terminal_says_who_takes_over(tmp_path):
    made = parts(tmp_path)
    made.choices.note("stt", "pocketsphinx", "embedded")
    made.choices.note("tts", "espeak-ng", "embedded")
    console = Console(file=io.StringIO(), width=100)
    made.choices.on_change(EngineNews(made.choices, console).tell)
    made.choices.replace("stt", WHISPER, "from the hub")
    made.choices.learned("stt", "on the CPU")
    assert console.file.getvalue() == f"stt: now {WHISPER}, from the hub\n"  # type: ignore[attr-defined]


async def test_whoever_gives_up_leaves_his_place_to_others():
    places, order = Places(1), []

    async def take(name: str, until: asyncio.Event) -> None:
        async with places.place(0):
            order.append(name)
            await until.wait()

    end = asyncio.Event()
    first, second, third = (asyncio.create_task(take(name, end)) for name in ("first", "second", "third"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    first.cancel()
    end.set()
    await asyncio.gather(first, third, return_exceptions=True)
    assert order == ["first", "third"]


@pytest.mark.long
async def test_the_real_moonshine_listens_as_the_store_gives_it():
    real_model("moonshine-tiny-en")
    settings = load_settings({"download": False, "stt_model": "moonshine-tiny-en", **CLOSED})
    engine = await stt(Parts(settings, load(settings.pipeline), lambda line: None))
    try:
        assert engine.name == "moonshine-tiny-en"
    finally:
        await engine.close()
