"""The example in the documentation works as it stands, but for the address."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer

ROOT = Path(__file__).parents[4]


async def test_the_python_example_runs(serve, tmp_path):
    page = (ROOT / "docs" / "reference" / "rest.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    engines = fake_engines(llm=FakeModel("I can listen.", "I can speak."), stt=FakeRecognizer("Hello! How are you?"))
    url, _ = await serve(engines, cache=tmp_path)
    assert code.count("http://127.0.0.1:8080") == 1
    script = tmp_path / "example.py"
    script.write_text(code.replace("http://127.0.0.1:8080", url), "utf-8")
    command = [sys.executable, str(script)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer, streamed, segment = done.stdout.splitlines()
    assert (answer.strip(), streamed.strip()) == ("I can listen.", "I can speak.")
    assert segment.endswith("s: Hello! How are you?")
    assert (tmp_path / "hello.mp3").stat().st_size > 1000
