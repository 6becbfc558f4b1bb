"""The example of ``docs/how-to/clients/openai-agents-python.md`` runs as it stands, but for the address."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

from pipelines.interfaces.llm import ToolCall
from tests.conftest import fake_engines
from tests.interop.models import CallingModel

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "clients" / "openai-agents-python.md"
ADDRESS = "ws://127.0.0.1:8080"
PARIS = ToolCall("call_1", "weather", '{"city": "Paris"}')
CLOCK = ToolCall("call_2", "local_time", '{"city": "Paris"}')


async def test_the_example_calls_both_tools_and_is_answered_aloud(serve, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert code.count(ADDRESS) == 1
    model = CallingModel((PARIS,), (CLOCK,), ("It is sunny ", "in Paris, at noon."))
    url, _ = await serve(fake_engines(llm=model))
    script = tmp_path / "example.py"
    script.write_text(code.replace(ADDRESS, url.replace("http", "ws", 1)), "utf-8")
    command = [sys.executable, str(script)]
    done = await asyncio.to_thread(subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=90.0)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == [
        "weather: It is sunny in Paris.",
        "local_time: It is noon in Paris.",
        "It is sunny in Paris, at noon.",
        "1.8 s of sound",
    ]
    told = {message.content for message in model.requests[2].messages if message.role == "tool"}
    assert told == {"It is noon in Paris.", "It is sunny in Paris."}
