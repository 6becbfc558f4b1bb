"""Loaded models: a module is one process with one model, a pool holds as many of them as may compute side by side.

Blocking: on a worker's thread. Requests of one call are spread over the modules without threads: each is written to
another process, and then the answers are read in the same order.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock

from pipelines.engines.litert import module_process
from pipelines.engines.litert.description import Description, describe
from pipelines.engines.litert.tensors import Values
from pipelines.errors import ModelError
from pipelines.interfaces.task import TaskError
from pipelines.runtime.child_process import CHILDREN
from pipelines.runtime.crew import Work
from pipelines.runtime.hardware import threads_for

_DEVICES = {"cpu": "cpu", "cuda": "gpu", "igpu": "gpu", "npu": "npu"}
"""Our devices → LiteRT's."""


@dataclass(frozen=True, slots=True)
class LiteRtOptions:
    """How ``.tflite`` models are run."""

    threads: int = 0
    """Of one computation; 0: by the processor's cores."""
    modules: int = 1
    """Copies of one model that may compute at the same time, each in a process of its own."""
    weight_cache: Path | None = None
    """Folder for XNNPACK's weights, ready for this processor: modules share them in memory; ``None``: not kept."""


@dataclass(frozen=True, slots=True)
class Request:
    """One computation."""

    signature: int
    inputs: Sequence[Values]
    """As the tensors store them, in the order of the signature."""


class Module:
    """One model in a process. Raises :class:`ModelError`: ``model_broken``, or ``does_not_fit`` where a GPU or NPU
    cannot run it."""

    def __init__(self, file: Path, device: str, options: LiteRtOptions) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = options.threads or threads_for("vision", cores)
        command = [sys.executable, "-I", module_process.__file__, str(file), _DEVICES[device], str(threads)]
        if options.weight_cache is None:
            self._process, ready = _started(command)
        else:
            cache = _cache_file(options.weight_cache, file)
            with FileLock(f"{cache}.lock"):  # one that writes it at a time
                self._process, ready = _started([*command, str(cache)])
        self._end = weakref.finalize(self, _end, self._process)
        if "error" in ready:
            self.close()
            code = "model_broken" if device == "cpu" else "does_not_fit"
            raise ModelError(code, f"{file.name} cannot be run by LiteRT on {device}: {ready['error']}")
        self.runner: str = ready["runner"]
        """``compiled model``, or ``interpreter`` for tensors of types that the former cannot hand over."""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def begin(self, request: Request) -> None:
        """Send a request. Raises :class:`TaskError` (``task_failed``) when the process has ended."""
        assert self._process.stdin is not None
        head = {"signature": request.signature, "inputs": [module_process.row_of(one) for one in request.inputs]}
        try:
            module_process.write(self._process.stdin, head, request.inputs)
        except OSError as error:
            raise self._ended() from error

    def finish(self) -> list[Values]:
        """Its outputs. Raises :class:`TaskError`: ``task_failed``."""
        assert self._process.stdout is not None
        answer = module_process.read(self._process.stdout, "outputs")
        if answer is None:
            raise self._ended()
        head, outputs = answer
        if "error" in head:
            raise TaskError("task_failed", f"LiteRT failed: {head['error']}")
        return outputs

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process. Idempotent."""
        self._end()

    def _ended(self) -> TaskError:
        self.close()
        return TaskError("task_failed", f"the process of LiteRT has ended with status {self._process.returncode}")


class Waves:
    """What the modules of all models have done, and how many of one model there may be now. Any thread."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._work = Work()

    def work(self) -> Work:
        """See :class:`~pipelines.runtime.crew.Work`."""
        return self._work

    def add(self, jobs: int, waited: float, seconds: float) -> None:
        """So many requests were computed side by side, after they had ``waited`` for those before them."""
        with self._lock:
            work = self._work
            self._work = Work(work.jobs + jobs, work.waited + jobs * waited, work.busy + jobs * seconds)


class LiteRtModel:
    """One model, with up to ``options.modules`` modules, of which the first is there from the start.

    ``waves``: what is counted with other models, and bounds them further.
    """

    def __init__(
        self, file: Path, device: str = "cpu", options: LiteRtOptions | None = None, waves: Waves | None = None
    ) -> None:
        self.description: Description = describe(file)
        self.options = options or LiteRtOptions()
        self._start = partial(Module, file, device, self.options)
        self._waves = waves or Waves(self.options.modules)
        self._lock = threading.Lock()
        self._modules = [self._start()]

    @property
    def modules(self) -> Sequence[Module]:
        """Those there are."""
        return tuple(self._modules)

    def run(self, requests: Sequence[Request]) -> list[list[Values] | TaskError]:
        """The outputs of each request, or why there are none. A module that has ended is replaced."""
        done: list[list[Values] | TaskError] = []
        with self._lock:
            arrived = time.monotonic()
            while len(done) < len(requests):
                began = time.monotonic()
                modules = self._ready(len(requests) - len(done))
                wave = requests[len(done) : len(done) + len(modules)]
                begun = [_told(partial(m.begin, r)) for m, r in zip(modules, wave, strict=True)]
                done += [
                    one if isinstance(one, TaskError) else _told(m.finish)
                    for m, one in zip(modules, begun, strict=True)
                ]
                self._waves.add(len(wave), began - arrived, time.monotonic() - began)
        return done

    def trim(self) -> None:
        """End modules of which there are more than may be. Blocking, until a computation has ended."""
        with self._lock:
            while len(self._modules) > max(1, self._waves.most):
                self._modules.pop().close()

    def close(self) -> None:
        """End the processes. Idempotent."""
        with self._lock:
            while self._modules:
                self._modules.pop().close()

    def _ready(self, wanted: int) -> list[Module]:
        self._modules = [module for module in self._modules if not module.has_ended]
        most = max(1, min(wanted, self.options.modules, self._waves.most))
        while len(self._modules) < most:
            self._modules.append(self._start())
        return self._modules[:most]


class LiteRtLoader:
    """Loads the models of the task ``tflite`` as the settings say."""

    def __init__(self, options: LiteRtOptions) -> None:
        self.options = options
        self.waves = Waves(options.modules)
        self._models: weakref.WeakSet[LiteRtModel] = weakref.WeakSet()

    def load(self, file: Path, device: str, dtype: str) -> LiteRtModel:
        """As :attr:`~pipelines.interfaces.task.TaskSpec.load`."""
        model = LiteRtModel(file, device, self.options, self.waves)
        self._models.add(model)
        return model

    def trim(self) -> None:
        """See :meth:`LiteRtModel.trim`, of all models."""
        for model in list(self._models):
            model.trim()


def _told(do: Callable[[], Any]) -> Any:
    """What ``do`` gives, or its error."""
    try:
        return do()
    except TaskError as error:
        return error


def _started(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], dict[str, str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    CHILDREN.add(process, "litert")
    assert process.stdout is not None
    answer = module_process.read(process.stdout, "")
    return process, answer[0] if answer is not None else {"error": f"its process ended with status {process.wait()}"}


def _end(process: subprocess.Popen[bytes]) -> None:
    CHILDREN.discard(process)
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


def _cache_file(folder: Path, file: Path) -> Path:
    """Another name for each content of ``file``."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        about = file.stat()
    except OSError as error:
        raise ModelError("model_broken", f"{file.name} cannot be read, or {folder} not be made: {error}") from error
    key = hashlib.sha256(f"{file.resolve()} {about.st_size} {about.st_mtime_ns}".encode()).hexdigest()[:24]
    return folder / f"{key}.xnnpack"
