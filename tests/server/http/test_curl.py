"""What docs/how-to/clients/curl.md shows is run by curl, on the real application with fake engines."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from server.http.openapi.table import REST, STATE
from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.engines import FakeRecognizer
from tests.patience import PATIENCE, until

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "how-to" / "clients" / "curl.md"
PRELUDE = """\
set -eu
curl() { command curl --silent --show-error --noproxy '*' --write-out '%{stderr}status %{http_code}\\n' "$@"; }
"""
"""Every curl of the page tells its status besides what it prints."""


def fences() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "VISAVIS_API_KEY": "anything"}
    command = ["bash", "-c", PRELUDE + script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


async def test_what_the_page_shows_works(serve, tmp_path):
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    shutil.copy(sorted((ROOT / "tests" / "offers").glob("*.sdp"))[0], tmp_path / "offer.sdp")
    url, app = await serve(fake_engines(stt=FakeRecognizer(*["Hello there."] * 8)), cache=tmp_path / "cache")
    asked = 0
    for fence in fences():
        script = fence.replace("http://127.0.0.1:8080", url)
        ended = await asyncio.to_thread(run, script, tmp_path)
        statuses = re.findall(r"^status (\d+)$", ended.stderr, re.MULTILINE)
        assert ended.returncode == 0, f"{fence}{ended.stderr}"
        assert len(statuses) == len(re.findall(r"\bcurl ", fence)), ended.stderr
        legal = {"200", "201", "501"} if "embeddings" in fence or "translations" in fence else {"200", "201"}
        assert set(statuses) <= legal, f"{fence}{ended.stdout}{ended.stderr}"
        asked += len(statuses)
    assert asked >= 18
    assert (tmp_path / "hello.wav").read_bytes().startswith(b"RIFF")
    assert (tmp_path / "answer.sdp").read_text().startswith("v=0")
    await until(lambda: not len(app[REGISTRY]))  # hung up, and on its way out


def test_the_page_shows_every_path_of_the_rest_api():
    text = DOCUMENT.read_text("utf-8")
    patterns = {row.path: re.sub(r"\\\{\w+\\\}", r"[^/\\s\"']+", re.escape(row.path)) for row in (*STATE, *REST)}
    patterns = {path: pattern for path, pattern in patterns.items() if "lora" not in path}  # off unless asked for
    assert [path for path, pattern in patterns.items() if not re.search(rf":8080{pattern}[\s\"']", text)] == []
