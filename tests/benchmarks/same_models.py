"""visavis and Pipecat with the same Whisper, llama.cpp server and Piper voice, in turn, measured by one client.

    python -m tests.benchmarks.same_models --bench DIR --recordings DIR --pipecat-python VENV/bin/python [--rounds 2]

Each run starts a server afresh and says recorded utterances of people to it, a few in each session; the answer's first
sound is what counts. Candidates: ``default`` (visavis as it comes), ``visavis`` (with the models of Pipecat) and
``pipecat`` (``peers/pipecat_real.py``: Silero, Smart Turn, faster-whisper, an OpenAI client, Piper, all as they come).
All have the instructions of the pipeline that ships, and give answers of at most ``--tokens``: small models ramble.
DIR of ``--bench`` holds ``client.py``. The models are those of the catalogue, fetched if need be.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import ModuleType, SimpleNamespace
from typing import Any

import aiohttp
import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from media.frames import Samples
from pipelines.engines.llm.llama_process import Config
from pipelines.models.store import ModelStore
from pipelines.routing.definition import SHIPPED
from server.settings import load_settings
from tests.benchmarks.compare import interval
from tests.benchmarks.utterances import RATE, utterances

ROOT = Path(__file__).parents[2]
WHISPER, VOICE, MODEL = "whisper-base", "piper-en_US-joe-medium", "smollm2-135m-instruct-gguf"
STARTS_SECONDS = 120.0
PER_SESSION = 5
"""Utterances: the conversation that a language model is shown stays short."""
QUIET_SECONDS = 4.0
"""An answer is over then: a slow machine pauses between its sentences."""
KEY = "same-models-key"
Turn = dict[str, Any]


class Process:
    """A process that is ended by its pid, with all that it started."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.command = " ".join(command)
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=None, start_new_session=True,
        )  # fmt: skip
        self.pid = self._process.pid

    def told(self, line: str) -> str:
        """Its answer to a line."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().decode()

    def opened(self, port: int) -> None:
        """Wait until it listens. Raises ``RuntimeError`` when it ends before."""
        deadline = time.monotonic() + STARTS_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        self.end()
        raise RuntimeError(f"did not listen within {STARTS_SECONDS:.0f} s: {self.command}")

    def end(self) -> None:
        """Stop it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                continue
            break


def client_of(folder: Path) -> ModuleType:
    """``client.py``, as a module."""
    spec = importlib.util.spec_from_file_location("bench_client", folder / "client.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    return module


def pipeline_of(folder: Path, tokens: int) -> Path:
    """The pipeline that ships, with answers of at most so many tokens."""
    definition = yaml.safe_load((SHIPPED / "voice-assistant.yaml").read_text())
    for stage in definition["pipelines"][0]["stages"]:
        if "max_tokens" in stage.get("options", {}):
            stage["options"]["max_tokens"] = tokens
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(definition, sort_keys=False))
    return path


def commands(options: argparse.Namespace, llm: str, port: int) -> dict[str, list[str]]:
    """How each candidate is started."""
    store = ModelStore(load_settings({}).model_cache)
    ours = [
        sys.executable,
        "-m",
        "server",
        "serve",
        "--port",
        str(port),
        "--log-level",
        "error",
        "--pipeline",
        str(options.pipeline),
    ]
    same = ["--stt-model", WHISPER, "--llm-url", f"{llm}/v1", "--tts-model", VOICE, "--language", "en"]
    voice = next(path for name, path in store.ensure(VOICE).files.items() if name.endswith(".onnx"))
    found = {"default": ours, "visavis": [*ours, *same]}
    if options.pipecat_python:
        found["pipecat"] = [
            options.pipecat_python, str(ROOT / "tests/benchmarks/peers/pipecat_real.py"), "--port", str(port),
            "--whisper", str(store.ensure(WHISPER).path), "--llm", f"{llm}/v1", "--voice", str(voice),
            "--tokens", str(options.tokens),
        ]  # fmt: skip
    return {name: command for name, command in found.items() if name in (options.candidates or found)}


async def say_all(client: ModuleType, dialect: str, url: str, clips: Sequence[Any]) -> list[Turn]:
    """Say each clip, a few in each session, and wait for what is answered."""
    turns: list[Turn] = []
    arguments = SimpleNamespace(
        peer=dialect, url=url, video=0, datachannel=None, timeout=20.0, seed=1, settle=0.5, mode="voice", turns=0
    )
    async with aiohttp.ClientSession() as http:
        for first in range(0, len(clips), PER_SESSION):
            session = client.Session(arguments, http, first, None)
            await session.connect()
            await asyncio.sleep(1.0)
            try:
                for clip in clips[first : first + PER_SESSION]:
                    await session.quiet(QUIET_SECONDS)
                    await session.voice_turn(clip, None)
                await session.quiet(QUIET_SECONDS)
            finally:
                await session.close()
            turns += session.turns
    return turns


def run(name: str, options: argparse.Namespace, llm: str, client: ModuleType, clips: Sequence[Any]) -> Turn:
    """One candidate through all utterances."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Process(commands(options, llm, port)[name], VISAVIS_LLM_API_KEY=KEY, LLM_KEY=KEY)
    try:
        server.opened(port)
        time.sleep(8.0)  # engines that are loaded after the port is open
        dialect = "pipecat" if name == "pipecat" else "ours"
        before = client.proc_usage(server.pid)
        turns = asyncio.run(say_all(client, dialect, f"http://127.0.0.1:{port}", clips))
        after = client.proc_usage(server.pid)
    finally:
        server.end()
    return {"candidate": name, "turns": turns, "rss_mib": round(after[1]), "cpu_s": round(after[0] - before[0], 1)}


def clip_of(client: ModuleType, sound: Samples, folder: Path) -> Any:
    """An utterance as the client says it."""
    path = folder / "utterance.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound.tobytes())
    return client.Clip(str(path))


def report(rows: list[Turn], console: Console) -> None:
    """Medians of everyone, and how ours compare."""
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    values = {
        name: [[t["v2v_ms"] for t in row["turns"] if "v2v_ms" in t] for row in rows if row["candidate"] == name]
        for name in names
    }
    table = Table("", "n", "missed", "early", "median ms", "p95 ms", "RSS MiB", "CPU s", "÷ pipecat [95 %]")
    for name in names:
        mine = [row for row in rows if row["candidate"] == name]
        flat = [value for part in values[name] for value in part]
        turns = [turn for row in mine for turn in row["turns"]]
        ratio = ""
        if name != "pipecat" and values.get("pipecat"):
            low, high = interval(values[name], values["pipecat"])
            ratio = f"{median(flat) / median(v for part in values['pipecat'] for v in part):.2f} ({low:.2f}–{high:.2f})"
        table.add_row(
            name, str(len(flat)), str(sum(turn.get("missed", 0) for turn in turns)), str(sum(v < 0 for v in flat)),
            f"{median(flat):.0f}", f"{np.percentile(flat, 95):.0f}", str(max(row["rss_mib"] for row in mine)),
            str(round(sum(row["cpu_s"] for row in mine), 1)), ratio,
        )  # fmt: skip
    console.print(table)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, required=True, help="folder with client.py")
    parser.add_argument("--recordings", type=Path, required=True, help="folder of WAV and FLAC files of people")
    parser.add_argument("--pipecat-python", metavar="PYTHON", help="Python that has Pipecat")
    parser.add_argument("--candidates", nargs="+", choices=["default", "visavis", "pipecat"], help="default: all")
    parser.add_argument("--utterances", type=int, default=30, help="at most so many")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=40, help="of an answer, at most")
    parser.add_argument("--out", type=Path, help="file to which every raw line is appended")
    options = parser.parse_args()
    console, client = Console(width=None if sys.stdout.isatty() else 140), client_of(options.bench)
    kept = tempfile.TemporaryDirectory()
    options.pipeline = pipeline_of(Path(kept.name), options.tokens)
    clips = [clip_of(client, sound, Path(kept.name)) for sound in utterances(options.recordings, options.utterances)]
    console.print(f"{len(clips)} utterances, {sum(clip.voiced_s for clip in clips):.0f} s of speech")
    gguf = next(iter(ModelStore(load_settings({}).model_cache).ensure(MODEL).files.values()))
    llama = Process([sys.executable, "-m", "pipelines.engines.llm.llama_process"])
    rows = []
    try:
        llm = json.loads(llama.told(Config(str(gguf), KEY, threads=2, threads_batch=2).to_json()))["url"]
        for number in range(options.rounds):
            for name in commands(options, llm, 0):
                row = run(name, options, llm, client, clips)
                rows.append(row)
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(row | {"round": number}) + "\n")
                found = [turn["v2v_ms"] for turn in row["turns"] if turn.get("v2v_ms") is not None]
                shown = f"{median(found):.0f} ms" if found else "–"
                console.print(f"round {number} {name}: median {shown}, n {len(found)}", highlight=False)
    finally:
        llama.end()
        kept.cleanup()
    report(rows, console)


if __name__ == "__main__":
    main()
