"""Which engine serves each stage and why, and what has become of that choice since."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pipelines.errors import PipelineError
from pipelines.models.fetches import Fetch, Fetches
from pipelines.runtime.worker import post

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which engine serves a stage, and why."""

    stage: str
    engine: str
    device: str
    reason: str
    ok: bool = True
    """Whether it is what was asked for, or the best of what is here."""
    wanted: str = ""
    """In whose place it stands, if it is a stand-in; empty otherwise."""
    fetching: tuple[Fetch, ...] = ()
    """Models for the stage that are being brought, or could not be."""


class Ladder(Protocol):
    """Engines of which another takes over when one fails."""

    @property
    def name(self) -> str:
        """Of the preferred one."""
        ...

    @property
    def serving(self) -> str:
        """The name of the engine that does the work at present."""
        ...


class Choices:
    """The choice for each stage, and what has become of it since."""

    def __init__(self, fetches: Fetches | None = None, stage_of: Callable[[str], str] = lambda model: "") -> None:
        self._fetches = fetches or Fetches()
        self._stage_of = stage_of
        self._rows: list[Choice] = []
        self._ladders: dict[str, Ladder] = {}
        self._failures: dict[str, str] = {}
        self._listeners: list[Callable[[], object]] = []
        self._told: list[Choice] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def note(
        self, stage: str, engine: str, reason: str, *, device: str = "cpu", ok: bool = True, wanted: str = ""
    ) -> None:
        """``engine`` serves ``stage`` (``none`` if nothing does), in the place of ``wanted`` if that is given."""
        device = device if engine != "none" else "-"
        self._rows.append(Choice(stage, engine, device, reason, ok and not wanted, wanted))

    def replace(self, stage: str, engine: str, reason: str, *, device: str = "cpu", ok: bool = True) -> None:
        """A better engine serves ``stage`` from now on."""
        self._rows = [Choice(stage, engine, device, reason, ok) if row.stage == stage else row for row in self._rows]
        self._failures.pop(stage, None)
        for fetch in self._fetching(stage):
            if fetch.state == "arrived":
                self._fetches.forget(fetch.model)
        self._tell()

    def watch(self, stage: str, ladder: Ladder) -> None:
        """From now on the status tells who of ``ladder`` serves the stage at the moment."""
        self._ladders[stage] = ladder

    def failure_of(self, stage: str) -> Callable[[str, PipelineError | None], None]:
        """What to call when an engine of the stage fails, and why; or with ``None`` when it works again."""

        def changed(engine: str, error: PipelineError | None) -> None:
            if error is None:
                log.warning("%s (%s) works again", engine, stage)
            else:
                log.warning("%s (%s) failed: %s", engine, stage, error)
                self._failures[stage] = f"{engine} failed: {error.summary}"
            asyncio.get_running_loop().call_soon(self._tell)  # once whoever calls has drawn the consequences

        return changed

    def learned(self, stage: str, words: str) -> None:
        """Something has become known of the stage's engine that belongs to the reason for choosing it."""
        self._rows = [
            replace(row, reason=f"{row.reason}; {words}") if row.stage == stage else row for row in self._rows
        ]
        self._tell()

    def explain(self, stage: str, engine: str, reason: str, *, of: str) -> None:
        """What is to be said of the stage's engine, where its name begins with ``of``; failures of it stay."""
        before = self._rows
        self._rows = [
            replace(row, engine=engine, reason=reason) if row.stage == stage and row.engine.startswith(of) else row
            for row in before
        ]
        if self._rows != before:
            self._tell()

    def on_change(self, tell: Callable[[], object]) -> Callable[[], None]:
        """Call ``tell`` on the event loop, which is running, whenever the status is another; returns what ends that."""
        self._loop = asyncio.get_running_loop()
        self._listeners.append(tell)
        self._told = self.status()
        return lambda: self._listeners.remove(tell)

    def tell_soon(self) -> None:
        """Something has changed that the status shows. From any thread."""
        if self._loop is not None:
            post(self._loop, self._tell)

    def _tell(self) -> None:
        now = self.status()
        if now != self._told:
            self._told = now
            for tell in self._listeners:
                tell()

    def status(self) -> list[Choice]:
        """One row for each stage, in order; a stage whose first engine rests names the one that stands in."""
        return [self._now(row) for row in self._rows]

    def _now(self, row: Choice) -> Choice:
        fetching = self._fetching(row.stage)
        ladder, failure = self._ladders.get(row.stage), self._failures.get(row.stage)
        if ladder is None or failure is None or ladder.serving == ladder.name:
            return replace(row, fetching=fetching)
        reason = f"{failure}; stands in for {ladder.name}"
        return Choice(row.stage, ladder.serving, "cpu", reason, ok=False, wanted=ladder.name, fetching=fetching)

    def _fetching(self, stage: str) -> tuple[Fetch, ...]:
        return tuple(fetch for fetch in self._fetches.all() if self._stage_of(fetch.model) == stage)
