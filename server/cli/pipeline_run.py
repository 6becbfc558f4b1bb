"""``visavis pipelines run``: one run on a file, by engines of this process or by a running server.

What is read and written is what ``POST /v1/pipelines/{id}`` reads and writes (docs/reference/pipelines-http.md).
"""

from __future__ import annotations

import mimetypes
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from media.clock import MonotonicClock
from pipelines.errors import PipelineError
from pipelines.routing.executor import RunEvent, StageEnded, StageOutput, StageStarted
from pipelines.runtime.worker import Worker
from pipelines.voice.history import new_id
from server.cli.terminal import cell, foreign, tell, tell_foreign
from server.engines.build import build_engines
from server.engines.pipelines import PipelineHouse, pipeline_house
from server.http.errors import HttpError
from server.http.pipelines.accept import EVENTS, JSON
from server.http.pipelines.answers import Answer, JsonAnswer, answer_of
from server.http.pipelines.inputs import Sent, Workers, input_of
from server.http.pipelines.ready import Ready, ready_for
from server.http.pipelines.store import KeptRun
from server.http.pipelines.wishes import asked
from server.settings import Settings

STANDARD = "-"
"""In the place of a file: standard input or output."""
_PIECE = 1 << 16
_TYPES = {".pcm": "audio/pcm", ".raw": "audio/pcm", ".wav": "audio/wav", ".ndjson": "application/x-ndjson"}
_TYPES |= {".jsonl": "application/x-ndjson", ".opus": "audio/ogg", ".ogg": "audio/ogg", ".flac": "audio/flac"}
_TYPES |= {".txt": "text/plain", ".aac": "audio/aac", ".mp3": "audio/mpeg", ".webm": "video/webm", ".mp4": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    pipeline: str
    input: str
    output: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """As for a request; ``Content-Type`` and ``Accept`` among them where they were given."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def content_type(self) -> str:
        """Of the input: as given, or as the file's name tells."""
        return self.headers.get("Content-Type") or type_of(self.input) or "application/octet-stream"

    @property
    def accept(self) -> str:
        """The same for the output."""
        return self.headers.get("Accept") or type_of(self.output) or "*/*"


def type_of(name: str) -> str | None:
    """The content type that a file's name tells."""
    suffix = Path(name).suffix.lower()
    return None if name == STANDARD else _TYPES.get(suffix) or mimetypes.types_map.get(suffix)


async def run_here(wanted: Wanted, settings: Settings, console: Console) -> int:
    """Build the engines, run, close. Raises :class:`PipelineError` for what fails."""
    _check_input(wanted.input)  # before engines are loaded, which takes a while
    engines = await build_engines(settings, lambda words: tell_foreign(console, words))
    try:
        house = pipeline_house(engines, MonotonicClock(), lambda *_: None)
        try:
            return await run_on(house, wanted, console)
        finally:
            house.close()
    finally:
        await engines.close()


async def run_on(house: PipelineHouse, wanted: Wanted, console: Console) -> int:
    """The run itself; what happens is shown in ``console``. Raises :class:`PipelineError`."""
    workers = Workers(Worker("files"), Worker("codecs"))
    disk = Worker("disk", threads=2)
    try:
        pipeline = house.get(wanted.pipeline)
        sent = Sent.named(wanted.content_type, wanted.query)
        sent.check()
        request = asked(wanted.headers, lambda: house.backends)
        async with aclosing(_read(wanted.input, disk)) as body:
            given = await input_of(sent, body, pipeline.takes, workers)
            try:
                ready = ready_for(pipeline, sent, given, request, wanted.accept)
                if ready.shape.content_type == EVENTS:
                    raise PipelineError("invalid_value", f"--accept: {EVENTS} is for servers (--url); say {JSON}")
                await _run(house, ready, wanted.output, console, disk, workers.codecs)
            finally:
                await given.close()
    except HttpError as error:
        raise PipelineError("invalid_value", error.message) from error
    finally:
        for worker in (workers.files, workers.codecs, disk):
            worker.close()
    return 0


async def _run(house: PipelineHouse, ready: Ready, output: str, console: Console, disk: Worker, codecs: Worker) -> None:
    kept = KeptRun(new_id("run"), ready.pipeline.id)
    run = house.start(ready.pipeline, ready.given.media, ready.asked.wishes, ready.given.context_id)
    kept.records = run.records
    answer: Answer = (
        JsonAnswer(kept, ready.sinks, codecs)
        if ready.shape.content_type == JSON
        else answer_of(ready.shape, ready.sinks, ready.rate, codecs)
    )
    out = Out(output, disk)
    try:
        with Bars(console) as bars:
            async with run, aclosing(run.events()) as events:
                async for event in events:
                    bars.show(event)
                    if isinstance(event, StageOutput) and (data := await answer.push(event.stage, event.item)):
                        await out.write(data)
            kept.finish("completed")
            await out.write(await answer.finish())
    except PipelineError as error:
        kept.error = error
        raise
    finally:
        kept.finish("failed")
        out.close()
        show_records(console, kept.json())


async def run_there(wanted: Wanted, url: str, key: str | None, console: Console) -> int:
    """The same by a running server. Raises :class:`PipelineError`."""
    _check_input(wanted.input)
    disk = Worker("disk", threads=2)
    headers = {**wanted.headers, "Content-Type": wanted.content_type, "Accept": wanted.accept}
    base = url.rstrip("/")
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    patience = aiohttp.ClientTimeout(total=None, sock_connect=10)
    out = Out(wanted.output, disk)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=patience) as http:
            address = f"{base}/v1/pipelines/{wanted.pipeline}"
            with Bars(console) as bars:
                bars.begin(wanted.pipeline)
                data = _read(wanted.input, disk)
                async with http.post(address, data=data, params=dict(wanted.query)) as response:
                    if response.status != 200:
                        raise await _refusal(response)
                    await out.write(b"")
                    async for piece in response.content.iter_any():
                        await out.write(piece)
                    run_id = response.headers.get("X-Run-Id", "")
                    late = response.headers.get("X-Partial")
                bars.end(wanted.pipeline)
            async with http.get(f"{base}/v1/pipelines/runs/{run_id}") as response:
                if response.status == 200:
                    show_records(console, await response.json())
            if late:
                tell(console, f"[yellow]not whole:[/yellow] {foreign(late)}")
    except (aiohttp.ClientError, OSError) as error:
        raise PipelineError("server_unreachable", f"{base}: {error}") from error
    finally:
        out.close()
        disk.close()
    return 0


async def _refusal(response: aiohttp.ClientResponse) -> PipelineError:
    try:
        error = (await response.json())["error"]
        return PipelineError(str(error["code"]), str(error["message"]))
    except (aiohttp.ClientError, ValueError, KeyError, TypeError):
        return PipelineError("server_error", f"the server answered {response.status}")


# ---------------------------------------------------------------------------------------------------- files


def _check_input(name: str) -> None:
    """Raises :class:`PipelineError` for a file that cannot be read."""
    if name != STANDARD and not os.access(name, os.R_OK):
        why = "cannot be read" if Path(name).exists() else "there is no such file"
        raise PipelineError("file_unreadable", f"--input: {name}: {why}")
    if Path(name).is_dir():
        raise PipelineError("file_unreadable", f"--input: {name}: is a folder")


async def _read(name: str, disk: Worker) -> AsyncGenerator[bytes, None]:
    """The file piece by piece, as it comes where it is a pipe."""
    try:
        file = sys.stdin.buffer if name == STANDARD else await disk.run(Path(name).open, "rb")
    except OSError as error:
        raise PipelineError("file_unreadable", f"{name}: {error.strerror}") from error
    try:
        read: Any = getattr(file, "read1", file.read)
        while data := await disk.run(read, _PIECE):
            yield data
    finally:
        if name != STANDARD:
            file.close()


class Out:
    """Where the result goes; a file is made with the first bytes, so that a failure leaves an old one as it was."""

    def __init__(self, name: str, disk: Worker) -> None:
        self._name = name
        self._disk = disk
        self._file: IO[bytes] | None = None

    async def write(self, data: bytes) -> None:
        """The next bytes. Raises :class:`PipelineError`."""
        await self._disk.run(self._write, data)

    def _write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = sys.stdout.buffer if self._name == STANDARD else Path(self._name).open("wb")  # noqa: SIM115
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            name = "the output" if self._name == STANDARD else self._name
            raise PipelineError("file_not_writable", f"{name}: {error.strerror}") from error

    def close(self) -> None:
        """No more comes."""
        if self._file is not None and self._name != STANDARD:
            self._file.close()


# ---------------------------------------------------------------------------------------------------- the terminal


class Bars:
    """A line for each stage, while it works; only where somebody looks on."""

    def __init__(self, console: Console) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(20), TimeElapsedColumn())
        said = TextColumn("{task.fields[said]}")
        self._progress = Progress(*columns, said, console=console, disable=not console.is_terminal)
        self._lines: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: RunEvent) -> None:
        """What has just happened."""
        match event:
            case StageStarted(stage):
                self.begin(stage)
            case StageOutput(stage, item):
                text = getattr(item, "text", "")
                self._said[stage] = (self._said.get(stage, "") + text)[-60:]
                if stage in self._lines:
                    self._progress.update(self._lines[stage], said=foreign(self._said[stage]))
            case StageEnded(stage):
                self.end(stage)

    def begin(self, name: str) -> None:
        """Something is at work."""
        self._lines[name] = self._progress.add_task(foreign(name), total=None, said="")

    def end(self, name: str) -> None:
        """It has ended."""
        if name in self._lines:
            self._progress.update(self._lines[name], total=1, completed=1)


def show_records(console: Console, run: Mapping[str, Any]) -> None:
    """Who did what, and how long it took."""
    table = Table("stage", "backend", "model", "first ms", "ms", "sure", pad_edge=False)
    for record in run["records"]:
        shown = (record["stage"], record["backend"], record["model"])
        numbers = (record["first_output_ms"], record["duration_ms"], record["confidence"])
        table.add_row(*(cell(_shown(value)) for value in (*shown, *numbers)))
    console.print(table)
    tell(console, f"{foreign(run['pipeline'])}: {foreign(run['outcome'])} after {run['total_ms'] or 0:.0f} ms")


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
