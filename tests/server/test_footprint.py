"""What a default session loads: torch is gigabytes on the disk and hundreds of megabytes in memory, and not needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

COMPOSE = """
import asyncio, sys
from pathlib import Path
from pipelines.interfaces.llm import ChatRequest, Message
from server.engines.build import build_engines
from server.settings import load_settings

async def main():
    flags = {"cache": Path(sys.argv[1]), "download": False, "llm_url": "http://127.0.0.1:9/v1"}
    engines = await build_engines(load_settings(flags), print)
    asked = ChatRequest((Message("user", "hello"),))
    print("answer:", "".join([str(piece) async for piece in engines.voice.llm.stream(asked)]))
    await engines.close()
    print("loaded:", [name for name in ("torch", "transformers", "ctranslate2", "jax") if name in sys.modules])

asyncio.run(main())
"""

BLAS = """
import sys
assert "numpy" not in sys.modules
import server.cli.main
assert "numpy" not in sys.modules, "imported before the number of its threads is set"
"""


def run(code: str, *arguments: str) -> str:
    environment = {**os.environ, "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_default_session_answers_without_torch(tmp_path: Path) -> None:
    said = run(COMPOSE, str(tmp_path))
    assert "answer: Hello! How can I help you?" in said
    assert "loaded: []" in said


def test_numpy_is_not_imported_before_its_threads_are_counted() -> None:
    run(BLAS)
