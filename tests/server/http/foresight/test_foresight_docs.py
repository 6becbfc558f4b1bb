"""What docs/how-to/foresight.md shows is run, on the real application with fake engines."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.vision.images import packed
from server.settings import Settings
from tests.conftest import fake_engines
from tests.fakes.moving import moving
from tests.patience import PATIENCE

PAGE = (Path(__file__).parents[4] / "docs/how-to/foresight.md").read_text("utf-8")


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, n in (("before.png", 0), ("now.png", 1)):
        (tmp_path / name).write_bytes(packed(moving(n)))
    return tmp_path


async def ran(folder: Path, *command: str) -> str:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    how = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "timeout": PATIENCE}
    ended = await asyncio.to_thread(lambda: subprocess.run(command, **how))
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


async def test_curl_fetches_a_video(serve, pictures):
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    url, _ = await serve(fake_engines())
    script = next(one for one in fences("sh") if "api/predict" in one).replace("http://127.0.0.1:8080", url)
    await ran(pictures, "bash", "-c", f"set -eu\n{script.replace('curl ', 'curl --noproxy localhost,127.0.0.1 -s ')}")
    assert (pictures / "next.mp4").read_bytes()[4:8] == b"ftyp"


async def test_python_listens(serve, pictures):
    url, _ = await serve(fake_engines())
    (pictures / "look.py").write_text(fences("python")[0])
    told = await ran(pictures, sys.executable, "look.py", url, "before.png", "now.png")
    assert "moves left" in told
    assert "[15/15]" in told


def test_settings_are_such():
    for fence in fences("yaml"):
        assert set(yaml.safe_load(fence)) <= set(Settings.model_fields)
