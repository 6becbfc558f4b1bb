"""The engines that a Ray cluster runs, as this server asks them: which there are, how they fare, and since when.

They are looked for while the other engines load, and again every few seconds: a start waits for them a moment, and
without them the engines of this machine serve until Ray answers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from media.clock import Clock
from pipelines.engines.remote.engines import Patience, Remote, RemoteFilmer, RemoteModel, RemoteTask, RemoteVoice
from pipelines.engines.remote.link import Link
from pipelines.engines.remote.messages import STATUS, Deployed
from pipelines.engines.remote.recognizer import RemoteRecognizer
from pipelines.engines.remote.wire import RemoteError, expected
from pipelines.errors import PipelineError
from pipelines.routing.routes.task import TaskEngine
from server.settings import Settings

log = logging.getLogger(__name__)

BACKEND = "ray"
"""What it is called where a run is told of."""
START_SECONDS = 15.0
"""For which a start waits, at most: joining a cluster takes some five."""
LOOK_SECONDS = 10.0
"""How often is asked how the engines are."""

_NEVER = Deployed("", 0, 0)

Tell = Callable[[str, str], object]
"""Is told a stage, and what is to be said of its engine."""


class RayEngines:
    """Of one cluster and application; made once for a server, which closes it."""

    def __init__(self, link: Link, stages: Sequence[str] = (), patience: Patience | None = None) -> None:
        self.stages = tuple(stages)
        self.told = False
        """Whether somebody keeps looking, and tells what is found."""
        self._link = link
        self._patience = patience or Patience()
        self._remotes: dict[str, Remote] = {}
        self._looking: dict[str, asyncio.Task[PipelineError | None]] = {}
        self._deployed: dict[str, Deployed] = {}
        self._problem = ""

    @classmethod
    def of(cls, settings: Settings) -> RayEngines | None:
        """What the settings say; ``None`` where they name no cluster."""
        if settings.ray_address is None:
            return None
        patience = Patience(settings.remote_seconds, settings.remote_seconds)
        return cls(Link(settings.ray_address, settings.ray_application), settings.remote_stages, patience)

    def begin(self) -> None:
        """Look for the engines of the conversation, beside whatever else goes on."""
        for stage in self.stages:
            self._looking[stage] = asyncio.create_task(self._first_look(stage), name=f"ray-{stage}")

    async def known(self, stage: str) -> PipelineError | None:
        """Wait for the first answer of an engine, at most a moment; why there is none."""
        return await asyncio.shield(self._looking[stage])

    def recognizer(self) -> RemoteRecognizer:
        """Who listens there."""
        return RemoteRecognizer(self.remote("stt"))

    def model(self) -> RemoteModel:
        """Who thinks there."""
        return RemoteModel(self.remote("llm"))

    def voice(self) -> RemoteVoice:
        """Who speaks there."""
        return RemoteVoice(self.remote("tts"))

    def filmer(self) -> RemoteFilmer:
        """Who makes videos up there."""
        return RemoteFilmer(self.remote("foresight"))

    def task(self, task: str) -> TaskEngine:
        """Who does a task there."""
        remote = self.remote(task)
        return TaskEngine(remote.name, RemoteTask(remote))

    def remote(self, stage: str) -> Remote:
        """The engine of a stage, as it is known."""
        return self._remotes.setdefault(stage, Remote(self._link, stage, self._patience))

    def reason(self, stage: str) -> str:
        """What is to be said of an engine: where it is, how many there are of it, and how they are."""
        words = [f"on Ray at {self._link.address}"]
        about, one = self.remote(stage).about, self._deployed.get(stage)
        if about is not None:
            words.append(f"on {about.device}")
        if one is not None:
            of = f" of {one.replicas}" if one.replicas != one.running else ""
            words.append(f"{one.running}{of} replica{'s' if one.replicas != 1 else ''}")
            words += [f"{one.status.lower().replace('_', ' ')}"] if one.status != "RUNNING" else []
            words += [one.message.rstrip(".")] if one.message and one.status != "RUNNING" else []
        return ", ".join(words)

    def status(self) -> dict[str, Any]:
        """For clients."""
        return {
            "address": self._link.address,
            "application": self._link.application,
            "connected": self._link.connected,
            "problem": self._problem or self._link.problem or None,
            "engines": {
                stage: {
                    "engine": None if remote.about is None else remote.about.engine,
                    "device": None if remote.about is None else remote.about.device,
                    "status": None if (one := self._deployed.get(stage)) is None else one.status,
                    "replicas": None if one is None else one.replicas,
                    "running": None if one is None else one.running,
                }
                for stage, remote in self._remotes.items()
            },
        }

    async def look(self) -> None:
        """Ask how all of them are. Raises nothing: what cannot be told is a problem."""
        try:
            told = expected(await self._link.call(STATUS, LOOK_SECONDS), dict)
            before, self._deployed = self._deployed, {stage: expected(one, Deployed) for stage, one in told.items()}
            for stage, remote in list(self._remotes.items()):
                # one that is known is left alone: a question would keep replicas that could be taken away
                if remote.about is None or before.get(stage, _NEVER).since != self._deployed.get(stage, _NEVER).since:
                    await remote.probe()
        except RemoteError as error:
            self._problem, self._deployed = error.message, {}
        except PipelineError as error:
            self._problem = error.message
        else:
            self._problem = ""

    async def keep_looking(self, clock: Clock, tell: Tell) -> None:
        """Look every few seconds and ``tell`` what is to be said, until cancelled."""
        while True:
            await self.look()
            for stage in self.stages:
                tell(stage, self.reason(stage))
            await clock.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Leave the cluster. Idempotent."""
        for task in self._looking.values():
            task.cancel()
        await asyncio.gather(*self._looking.values(), return_exceptions=True)
        await self._link.close()

    async def _first_look(self, stage: str) -> PipelineError | None:
        try:
            await self.remote(stage).probe(START_SECONDS)
        except PipelineError as error:
            log.warning("ray: %s", error.message)
            return error
        return None
