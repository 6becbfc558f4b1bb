"""What became of the runs: the newest, for those who ask afterwards."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.errors import PipelineError
from pipelines.routing.run import StageRecord

MOST_RUNS = 256
"""Runs that can be asked about; the oldest is forgotten first."""
LATE = "latency_exceeded"
"""Code of the error of a run that misses its time."""
RunOutcome = Literal["running", "completed", "failed", "late", "cancelled"]
"""``late``: its time was over before it had something to show for it."""


@dataclass(slots=True)
class KeptRun:
    """One run."""

    id: str
    pipeline: str
    records: Mapping[str, StageRecord] = field(default_factory=dict)
    outcome: RunOutcome = "running"
    started_at: float = field(default_factory=time.time)
    """Unix seconds."""
    total: float | None = None
    """Seconds."""
    error: PipelineError | None = None

    began: float = field(default_factory=time.monotonic)

    def stop(self) -> None:
        """It has ended. Idempotent."""
        if self.total is None:
            self.total = time.monotonic() - self.began

    def finish(self, outcome: RunOutcome) -> None:
        """It has ended so, unless another end is known."""
        self.stop()
        if self.outcome == "running":
            self.outcome = outcome

    def fail(self, error: PipelineError) -> None:
        """It has ended with this."""
        self.outcome, self.error = ("late" if error.code == LATE else "failed"), error

    def json(self) -> dict[str, Any]:
        """For clients."""
        return {
            "id": self.id,
            "object": "pipeline.run",
            "pipeline": self.pipeline,
            "outcome": self.outcome,
            "late": self.outcome == "late",
            "started_at": round(self.started_at, 3),
            "total_ms": None if self.total is None else round(self.total * 1000, 1),
            "records": [record.json() for record in self.records.values()],
            "error": None if self.error is None else {"code": self.error.code, "message": self.error.message},
        }


class RunStore:
    """The newest :data:`MOST_RUNS`."""

    def __init__(self, most: int = MOST_RUNS) -> None:
        self._most = most
        self._runs: OrderedDict[str, KeptRun] = OrderedDict()
        self.ended: Counter[str] = Counter(dict.fromkeys(("completed", "failed", "late", "cancelled"), 0))
        """How often runs have ended so; a series that is there from the start can be alerted on."""

    def __len__(self) -> int:
        return len(self._runs)

    def add(self, run: KeptRun) -> None:
        """Keep it; the oldest is forgotten."""
        self._runs[run.id] = run
        while len(self._runs) > self._most:
            self._runs.popitem(last=False)

    def count(self, run: KeptRun) -> None:
        """It has ended."""
        self.ended[run.outcome] += 1

    def find(self, run_id: str) -> KeptRun | None:
        """The run of that id, if it is still known."""
        return self._runs.get(run_id)
