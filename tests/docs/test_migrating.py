"""Programs that were written for something else run unchanged or with the difference that the pages of ``docs/migrate``
print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli.preflight import check
from server.engines.parts import Parts
from server.engines.tools import tools
from server.settings import load_settings
from server.stores import conversation
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.programs import fences, loud_question, patched, printed
from tools.doc_tables import DOCS

pytest.importorskip("websockets", reason="the openai package needs websockets for its Realtime client")

Run = Callable[..., Any]


def page(name: str) -> str:
    return (DOCS / "migrate" / f"{name}.md").read_text("utf-8")


@pytest.fixture
def run(serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``out = await run(program, diff)``: what it prints with the difference, asking a server of ours."""
    monkeypatch.chdir(tmp_path)

    async def start(program: str, diff: str) -> str:
        loud_question(tmp_path / "question.wav")
        url, _ = await serve(fake_engines(stt=FakeRecognizer("what can you do"), llm=FakeModel("I can speak.")))
        after = patched(program, diff)
        assert after.count("127.0.0.1:8080") >= 1
        (tmp_path / "program.py").write_text(after.replace("127.0.0.1:8080", url.removeprefix("http://")), "utf-8")
        return await printed(tmp_path / "program.py")

    return start


async def test_a_program_for_openai_realtime_runs_unchanged(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (program,) = fences(page("from-openai-realtime"), "python")
    url, _ = await serve(fake_engines(llm=FakeModel("I can speak.")), cache=tmp_path)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "not-needed")
    (tmp_path / "program.py").write_text(program, "utf-8")
    assert await printed(tmp_path / "program.py") == "I can speak.\n"


async def test_the_same_with_the_address_in_the_program(run: Run):
    text = page("from-openai-realtime")
    (program,), (diff,) = fences(text, "python"), fences(text, "diff")
    program = program.replace("    async with AsyncOpenAI()", "    client = AsyncOpenAI()\n    async with client")
    diff = diff.replace("-client", "-    client").replace("+client", "+    client")
    assert await run(program, diff) == "I can speak.\n"


async def test_a_client_of_hugging_faces_speech_to_speech(run: Run):
    text = page("from-hf-speech-to-speech")
    (program,), (diff,) = fences(text, "python"), fences(text, "diff")
    assert await run(program, diff) == "heard: what can you do\nsaid: I can speak.\n"


async def test_a_client_of_speaches(run: Run, tmp_path: Path):
    text = page("from-speaches-rest")
    (program,), (diff,) = fences(text, "python"), fences(text, "diff")
    assert await run(program, diff) == "heard: what can you do\n"
    assert len((tmp_path / "hello.mp3").read_bytes()) > 1000


async def test_a_client_of_pipecat_in_python(run: Run):
    text = page("from-pipecat")
    program, _ = fences(text, "python")
    _, diff = fences(text, "diff")
    assert await run(program, diff) == "I can speak.\n"


async def test_a_bot_of_pipecat_as_a_definition(tmp_path: Path):
    text = page("from-pipecat")
    _, function = fences(text, "python")
    (written,) = fences(text, "yaml")
    (tmp_path / "orders.py").write_text(function, "utf-8")
    (tmp_path / "orders.yaml").write_text(written, "utf-8")
    settings = load_settings({"cache": tmp_path, "pipeline": tmp_path / "orders.yaml", "port": 0})
    check(settings)  # as a start does, with nothing there that could serve the model
    definition = conversation(settings)
    pipeline = definition.pipelines[0]
    assert pipeline.stage("text_generation").model == "llama3.2:3b"
    assert pipeline.assistant.greeting == "Hello, this is the desk for orders."
    box = await tools(Parts(settings, definition, lambda line: None))
    assert box is not None
    try:
        (tool,) = box()
        assert (await tool.run('{"number": 7}')).text == '{"state":"on its way"}'
    finally:
        await box.close()


RUN = {
    "from-openai-realtime": ["diff", "python"],
    "from-hf-speech-to-speech": ["diff", "python"],
    "from-pipecat": ["diff", "diff", "js", "python", "python", "yaml"],  # js: tests/pipecat/test_pipecat_docs.py
    "from-fastrtc": ["diff", "html"],  # tests/interop/test_pages_of_others.py
    "from-speaches-rest": ["diff", "python"],
    "from-transformers-pipelines": ["python"],  # tests/server/http/tasks/test_task_docs.py
}
"""The blocks of each page that a test runs; commands are checked with those of all pages."""


def test_every_program_of_every_page_is_run():
    kinds = ("diff", "html", "js", "python", "yaml")
    found = {
        path.stem: [kind for kind in kinds for _ in fences(path.read_text("utf-8"), kind)]
        for path in (DOCS / "migrate").glob("*.md")
    }
    assert found == RUN


def test_a_difference_that_does_not_fit_is_none():
    assert patched("a\nb\nc\n", "-b\n+B\n+b2\n-c\n") == "a\nB\nb2\n"
    with pytest.raises(AssertionError):
        patched("a\nb\n", "-c\n+d\n")
