"""FFmpeg publishes by WHIP: it is heard and seen, answered to who watches, and gone when it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from server.http.signaling.offer import REGISTRY
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.vision import FakeVision
from tests.fakes.whip import Watcher
from tests.loopback.test_session import energy
from tests.loopback.test_video import is_drawn_upon
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]


@contextmanager
def publishing(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """FFmpeg at work; killed in the end, should it not have ended itself."""
    command = [sys.executable, "-m", "tests.fakes.ffmpeg_whip", url, str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif("whip" not in av.formats_available, reason="PyAV's FFmpeg has no WHIP muxer here (FFmpeg 8 has)")
async def test_ffmpeg_publishes(serve, tmp_path):
    model = FakeModel(*["Hello to you too."] * 100)
    url, app = await serve(fake_engines(stt=FakeRecognizer(*["hello"] * 100), llm=model, vision=FakeVision()))
    with publishing(f"{url}/whip", tmp_path) as ffmpeg:
        async with asyncio.timeout(PATIENCE):
            while not app[REGISTRY].all:
                assert ffmpeg.poll() is None, ffmpeg.stderr.read()
                await asyncio.sleep(0.02)  # a process of its own tells nobody
        session = app[REGISTRY].all[0]
        async with Watcher(url) as watcher:
            await watcher.until(lambda: any(map(is_drawn_upon, watcher.seen)), what="the video")
            await watcher.until(lambda: energy(watcher.heard[-24_000:]) > 500, what="the voice")
        assert model.requests
        _, errors = await asyncio.to_thread(ffmpeg.communicate, "", PATIENCE)
        assert ffmpeg.returncode == 0, errors
    assert session.ended_because == "it was ended over HTTP"
