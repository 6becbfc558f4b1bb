"""Programs that were written for something else run unchanged, as the pages of ``docs/migrate`` say."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tools.doc_tables import DOCS

pytest.importorskip("websockets", reason="the openai package needs websockets for its Realtime client")


async def test_a_program_for_openai_realtime_runs_unchanged(serve: Any, tmp_path: Path):
    page = (DOCS / "migrate" / "from-openai-realtime.md").read_text("utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    url, _ = await serve(fake_engines(llm=FakeModel("I can speak.")), cache=tmp_path)
    environment = {**os.environ, "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "not-needed"}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "I can speak."
