"""The examples of ``docs/how-to/clients/openai-python.md`` work as they stand, but for the address."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer

pytest.importorskip("websockets", reason="the openai package needs websockets for its Realtime client")

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "clients" / "openai-python.md"
EXAMPLES = re.findall(r"## ([^\n]+)\n(?:(?!\n## ).)*?```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
PRINTED = {
    "A question in text": "I can speak.\n",
    "Speech in, speech out": "heard: what can you do\nsaid: I can speak.\n",
    "Writing down, and no more": "noted: what can you do\n",
}


def test_every_example_is_run():
    assert [name for name, _ in EXAMPLES] == list(PRINTED)
    assert PAGE.read_text("utf-8").count("```python") == len(PRINTED)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
async def test_it_does_what_it_says(serve: Any, tmp_path: Path, name: str, code: str):
    engines = fake_engines(llm=FakeModel("I can speak."), stt=FakeRecognizer("what can you do"))
    url, _ = await serve(engines, cache=tmp_path)
    assert code.count("http://127.0.0.1:8080") == 1
    script = tmp_path / "example.py"
    script.write_text(code.replace("http://127.0.0.1:8080", url), "utf-8")
    command = [sys.executable, str(script)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(" \n", "\n") == PRINTED[name]
    if name == "Speech in, speech out":
        with wave.open(str(tmp_path / "answer.wav")) as answer:
            assert answer.getframerate() == 24_000
            assert 0.7 < answer.getnframes() / 24_000 < 0.8, "three words of the fake voice"
