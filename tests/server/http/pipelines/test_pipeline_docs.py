"""What docs/reference/pipelines-http.md shows is run by curl, with a definition as its user wrote it."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipelines.routing.library import Library
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice
from tests.patience import PATIENCE
from tests.server.http.pipelines.conftest import PlannedEngines
from tests.server.http.rest.clients import bursts, seconds_of, sound_file

DOCUMENT = Path(__file__).parents[4] / "docs" / "reference" / "pipelines-http.md"
PRELUDE = """\
set -eu
curl() { command curl --silent --show-error --noproxy '*' --write-out '%{stderr}status %{http_code}\\n' "$@"; }
"""
USERS = """
pipelines:
  - id: ultra-low-latency-voice
    name: Voice assistant, lowest latency
    stages:
      - {id: mic-to-text, type: audio_to_text, preferred_hardware: npu, model: whisper-tiny}
      - {id: process-query, type: text_generation, preferred_hardware: igpu, model: "llama3:7b"}
      - {id: text-to-voice, type: text_to_audio, preferred_hardware: npu, model: piper-tts-fast}
    options: {latency_critical: true}
"""
ASKED = (
    "curl -X POST http://127.0.0.1:8080/v1/pipelines/ultra-low-latency-voice -H 'Content-Type: audio/pcm' "
    "-H 'X-Priority: critical' -H 'X-Latency-Critical: true' -H 'X-Max-Latency-Ms: 500' "
    "--data-binary @microphone.pcm --output response.pcm"
)


class Ears(FakeRecognizer):
    """Tell the times of words, too."""

    def can_hear(self, asked: object) -> bool:
        return True


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"]}
    command = ["bash", "-c", PRELUDE + script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE)


async def test_what_the_page_shows_works(serve, tmp_path):
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("needs curl and bash")
    text = DOCUMENT.read_text("utf-8")
    assert ASKED in text
    fences = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    definitions = tmp_path / "definitions"
    definitions.mkdir()
    (definitions / "user.yaml").write_text(USERS)
    speech = bursts(1.0)
    (tmp_path / "microphone.pcm").write_bytes(speech.astype("<i2").tobytes())
    (tmp_path / "question.wav").write_bytes(sound_file(speech))
    engines = fake_engines()
    engines.library = await asyncio.to_thread(Library, definitions)
    engines.routes = PlannedEngines(  # type: ignore[assignment]
        stt=Ears(*["Hello there."] * 9), llm=FakeModel(*["Good day."] * 9), tts=FakeVoice()
    )
    url, _ = await serve(engines, cache=tmp_path / "cache")
    asked = 0
    for fence in fences:
        script = fence.replace("http://127.0.0.1:8080", url).replace("X-Max-Latency-Ms: 500", "X-Max-Latency-Ms: 60000")
        ended = await asyncio.to_thread(run, script, tmp_path)
        statuses = re.findall(r"^status (\d+)$", ended.stderr, re.MULTILINE)
        assert ended.returncode == 0, f"{fence}{ended.stderr}"
        assert set(statuses) == {"200"}, f"{fence}{ended.stdout[:900]}{ended.stderr}"
        asked += len(statuses)
    assert asked == len(re.findall(r"\bcurl ", "".join(fences)))
    answer = np.frombuffer((tmp_path / "response.pcm").read_bytes(), "<i2")
    assert np.abs(answer).max() > 100
    assert seconds_of((tmp_path / "morning.mp3").read_bytes()) > 0.05
