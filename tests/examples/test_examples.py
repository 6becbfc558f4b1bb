"""The programs of ``examples/`` as they stand there, on the real application with engines that do as told.

Each runs as its file does from a shell, but in this process: to import aiortc afresh for each would take long.
"""

from __future__ import annotations

import re
import runpy
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import pytest

from media.clock import MonotonicClock
from pipelines.engines.registry import ENGINES
from pipelines.models.store import ModelStore
from pipelines.routing.definition import load
from pipelines.routing.library import Library
from server.cli.main import main
from server.engines.parts import Parts
from server.engines.stages import llm
from server.engines.tools import tools
from server.evaluation.playing.player import Player
from server.evaluation.results import result_of
from server.evaluation.scenario import load as scenarios
from server.headless.call import Address
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.programs import loud_question, printed
from tests.fakes.vision import FakeVision
from tests.real_models import real_model

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``out = await run(url, "talk.py", "question.wav")``."""
    monkeypatch.syspath_prepend(str(EXAMPLES))

    async def start(url: str, name: str, *arguments: object) -> str:
        monkeypatch.setenv("VISAVIS_URL", url)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        sys.modules.pop("talk", None)  # it reads the address when it is imported
        return await printed(EXAMPLES / name)

    return start


@pytest.fixture
def question(tmp_path: Path) -> Path:
    """A sound file in which the fake ears hear something."""
    return loud_question(tmp_path / "question.wav")


def answering(heard: str = "what can you do", answer: str = "Talk.", **more: Any) -> Any:
    return fake_engines(stt=FakeRecognizer(heard), llm=FakeModel(answer), **more)


def loudness(path: Path) -> float:
    with wave.open(str(path)) as file:
        return float(np.abs(np.frombuffer(file.readframes(10**7), "<i2").astype(int)).max())


def test_each_is_short_and_told_of():
    told = set(re.findall(r"\]\(([\w./#-]+)\)", (EXAMPLES / "README.md").read_text("utf-8")))
    files = {path for path in EXAMPLES.rglob("*") if path.is_file() and path.suffix in (".py", ".yaml", ".html")}
    assert {path.relative_to(EXAMPLES).as_posix() for path in files} <= told
    assert not [link for link in told if not (EXAMPLES / link.partition("#")[0]).exists()]
    assert not [path.name for path in files if len(path.read_text("utf-8").splitlines()) >= 100]


async def test_talk(serve: Any, run: Any, question: Path, tmp_path: Path):
    url, _ = await serve(answering())
    out = await run(url, "talk.py", question, tmp_path / "answer.wav")
    assert out.startswith("you: what can you do\nassistant: Talk.\nanswered after ")
    assert loudness(tmp_path / "answer.wav") > 2000


async def test_realtime(serve: Any, run: Any, question: Path, tmp_path: Path):
    pytest.importorskip("websockets", reason="the openai package needs websockets for its Realtime client")
    url, _ = await serve(answering())
    out = await run(url, "realtime.py", question, tmp_path / "answer.wav")
    assert out == "you: what can you do\nassistant: Talk.\n"
    assert loudness(tmp_path / "answer.wav") > 2000


async def test_whip(serve: Any, run: Any, question: Path):
    url, _ = await serve(answering())
    published, *rest = (await run(url, "whip.py", question)).splitlines()
    assert published.startswith("published as /whip/sess_")
    assert rest == ["heard: what can you do", "answered: Talk."]


async def test_transcribe(serve: Any, run: Any, question: Path):
    url, _ = await serve(fake_engines(stt=FakeRecognizer("please take a note", "and another")))
    assert await run(url, "transcribe.py", question) == "please take a note\n"
    assert "-->" in await run(url, "transcribe.py", question, "srt")


async def test_search(loopback: None, run: Any, serve: Any):
    real_model("all-minilm-l6-v2-int8")
    settings = load_settings({"download": False, "vision": False, "profile": "embedded"})
    engines = replace(fake_engines(), store=ModelStore(settings.model_cache))
    url, _ = await serve(engines)
    out = await run(url, "search.py", "How do I keep people from listening in?")
    assert out.splitlines()[-1] == "best: Voice and pictures travel encrypted, over DTLS."


async def test_camera(serve: Any, run: Any, tmp_path: Path):
    video = tmp_path / "walk.mp4"
    with av.open(str(video), "w") as file:
        stream = file.add_stream("mpeg4", rate=15)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for n in range(15):
            frame = av.VideoFrame.from_ndarray(np.full((120, 160, 3), n * 10, np.uint8))
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    url, _ = await serve(answering(vision=FakeVision()))
    assert await run(url, "camera.py", video, 1) == "one person\n"


async def test_recording(serve: Any, run: Any, question: Path, tmp_path: Path):
    url, _ = await serve(answering(), recordings=tmp_path / "here")
    out = await run(url, "recording.py", question, tmp_path / "fetched")
    assert out.splitlines()[-1] == "deleted from the server"
    sound, events = sorted((tmp_path / "fetched").iterdir(), key=lambda path: path.suffix, reverse=True)
    assert loudness(sound) > 2000
    assert "Talk." in events.read_text("utf-8")
    assert not list((tmp_path / "here").rglob("*.wav"))


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The row of the example's engine, in the table as ``own_engine.py`` puts it there."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    row = runpy.run_path(str(EXAMPLES / "own_engine.py"))["ROW"]
    ENGINES.append(row)
    yield row
    ENGINES.remove(row)
    sys.modules.pop("own_engine", None)


async def test_own_engine(row: Any, serve: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    parts = Parts(load_settings({"cache": tmp_path, "chat_model": row.name, "download": False}), *definition())
    parts.store = ModelStore(tmp_path)
    url, _ = await serve(fake_engines(llm=await llm(parts)))
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Good morning."}]}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/chat/completions", json=body) as response:
        assert (await response.json())["choices"][0]["message"]["content"].strip() == "You said: Good morning."
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "parrot" in capsys.readouterr().out


def definition() -> tuple[Any, Any]:
    return load(load_settings({}).pipeline), lambda line: None


async def test_own_tool(tmp_path: Path):
    settings = load_settings({"cache": tmp_path, "tools": EXAMPLES / "own_tool.yaml"})
    box = await tools(Parts(settings, *definition()))
    assert box is not None
    calculate, stock = box()
    try:
        assert (await calculate.run('{"a": 2, "operation": "times", "b": 3.5}')).text == "2 times 3.5 is 7."
        assert (await stock.run('{"fruit": "apples"}')).text == "There are 12 apples."
        assert (await calculate.run('{"a": 2, "operation": "root", "b": 3}')).failed
    finally:
        await box.close()


async def test_own_pipeline(serve: Any, question: Path, capsys: pytest.CaptureFixture[str]):
    folder = EXAMPLES / "pipelines"
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["pipelines", "check", str(folder / "phrasebook.yaml")])
    assert "sound: " in capsys.readouterr().out
    engines = answering("utilise the ingress", "Use the door.")
    engines.library = Library(folder)
    sound = question.read_bytes()  # noqa: ASYNC240
    url, _ = await serve(engines)
    async with aiohttp.ClientSession() as http:
        headers = {"Content-Type": "audio/wav", "Accept": "audio/wav"}
        given = {"data": sound, "headers": headers}
        async with http.post(f"{url}/v1/pipelines/phrasebook", **given) as response:
            assert response.status == 200, await response.text()
            assert len(await response.read()) > 10_000
    assert engines.voice.tts.said == ["Use the door."]


async def test_scenario(serve: Any):
    [loaded] = scenarios([EXAMPLES / "scenarios"])
    scenario = loaded.scenario.model_copy(
        update={"turns": loaded.scenario.turns[:1]}
    )  # each takes a second to be quiet
    model = FakeModel("At nine.")
    url, _ = await serve(fake_engines(llm=model))
    observed = await Player(scenario, Address(url), MonotonicClock()).play()
    assert result_of(scenario, observed, 1).passed
    assert "closes at six" in model.requests[0].messages[0].content
