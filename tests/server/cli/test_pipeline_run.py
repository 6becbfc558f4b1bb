"""``visavis pipelines run``, here and by a server."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from media.clock import MonotonicClock
from pipelines.errors import LLMError, PipelineError
from pipelines.routing.library import Library
from server.cli.commands import run
from server.cli.pipeline_run import Wanted, run_on, run_there, type_of
from server.engines.pipelines import pipeline_house
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.server.http.rest.clients import bursts, seconds_of, sound_file

FILE = """
pipelines:
  - {id: write, stages: [{id: listen, type: audio_to_text}]}
  - {id: talk, stages: [{id: think, type: text_generation}]}
  - {id: read, stages: [{id: speak, type: text_to_audio}]}
"""


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


@pytest.fixture
def engines(tmp_path):
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "own.yaml").write_text(FILE)
    made = fake_engines(
        stt=FakeRecognizer(*["Hello there."] * 4), llm=FakeModel("Good day.", LLMError("llm_x", "gone"))
    )
    made.library = Library(shipped=folder)
    return made


@pytest.fixture
async def house(engines):
    made = pipeline_house(engines, MonotonicClock(), lambda *_: None)
    yield made
    made.close()
    await engines.close()


async def test_a_file_in_and_a_file_out(house, console, tmp_path):
    (tmp_path / "in.wav").write_bytes(sound_file(bursts(1.0)))
    (tmp_path / "in.txt").write_text("Hello")
    assert await run_on(house, Wanted("write", str(tmp_path / "in.wav"), str(tmp_path / "out.txt")), console) == 0
    assert (tmp_path / "out.txt").read_text() == "Hello there.\n"
    shown = console.file.getvalue()
    assert "listen" in shown
    assert "write: completed after" in shown
    assert await run_on(house, Wanted("read", str(tmp_path / "in.txt"), str(tmp_path / "out.flac")), console) == 0
    assert seconds_of((tmp_path / "out.flac").read_bytes()) > 0.05
    assert await run_on(house, Wanted("talk", str(tmp_path / "in.txt"), str(tmp_path / "out.json")), console) == 0
    told = json.loads((tmp_path / "out.json").read_text())
    assert (told["outputs"]["think"]["text"].strip(), told["outcome"]) == ("Good day.", "completed")
    with pytest.raises(PipelineError, match="gone"):
        await run_on(house, Wanted("talk", str(tmp_path / "in.txt"), str(tmp_path / "never.json")), console)
    assert not (tmp_path / "never.json").exists()


async def test_pipes(house, console, monkeypatch):
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bursts(1.0).astype("<i2").tobytes())))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=out, flush=lambda: None, write=lambda text: None))
    wanted = Wanted("write", "-", "-", {"Content-Type": "audio/pcm", "Accept": "text/plain"})
    assert await run_on(house, wanted, console) == 0
    assert out.getvalue() == b"Hello there.\n"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("wrte", "a.wav", "-"), "did you mean write"),
        (Wanted("write", "nowhere.wav", "-"), "No such file"),
        (Wanted("write", "a.pdf", "-"), "Content-Type"),
        (Wanted("write", "a.wav", "b.png"), "gives text"),
        (Wanted("write", "a.wav", "-", {"X-Max-Latency-Ms": "soon"}), "X-Max-Latency-Ms"),
        (Wanted("write", "a.wav", "-", {"X-Target-Backend": "moon"}), "there is no backend"),
        (Wanted("write", "a.wav", "-", {}, {"rate": "1"}), "from 8000"),
    ],
)
async def test_what_is_wrong_is_told(house, console, wanted, words):
    with pytest.raises(PipelineError, match=words):
        await run_on(house, wanted, console)


async def test_a_running_server_does_it(serve, engines, console, tmp_path):
    url, _ = await serve(engines, cache=tmp_path)
    (tmp_path / "in.wav").write_bytes(sound_file(bursts(1.0)))
    wanted = Wanted("write", str(tmp_path / "in.wav"), str(tmp_path / "out.txt"))
    assert await run_there(wanted, url, None, console) == 0
    assert (tmp_path / "out.txt").read_text() == "Hello there.\n"
    assert "write: completed after" in console.file.getvalue()
    with pytest.raises(PipelineError, match="there is no pipeline"):
        await run_there(Wanted("wrong", str(tmp_path / "in.wav"), str(tmp_path / "x.txt")), url, None, console)
    with pytest.raises(PipelineError, match=r"127\.0\.0\.1:1"):
        await run_there(wanted, "http://127.0.0.1:1", None, console)


def test_a_server_that_is_not_there_is_an_exit_status(capsys, tmp_path):
    (tmp_path / "in.wav").write_bytes(sound_file(bursts(0.2)))
    arguments = ["--input", str(tmp_path / "in.wav"), "--output", str(tmp_path / "o"), "--url", "http://127.0.0.1:1"]
    assert run(["pipelines", "run", "write", *arguments]) == 2
    assert "127.0.0.1:1" in capsys.readouterr().err


@pytest.mark.parametrize("there", [[], ["--url", "http://127.0.0.1:1"]])
def test_an_input_that_is_not_there_is_told_before_anything_is_loaded(capsys, tmp_path, monkeypatch, there):
    async def never(*_: object) -> None:
        raise AssertionError("engines are loaded")

    monkeypatch.setattr("server.cli.pipeline_run.build_engines", never)
    for name, words in ((tmp_path / "nowhere.wav", "there is no such file"), (tmp_path, "is a folder")):
        assert run(["pipelines", "run", "write", "--input", str(name), *there]) == 2
        assert words in " ".join(capsys.readouterr().err.split())


def test_names_tell_types():
    assert (type_of("a.PCM"), type_of("a.mp3"), type_of("-"), type_of("a")) == ("audio/pcm", "audio/mpeg", None, None)
