"""Models that are being brought, and how far each has come: what the terminal, ``/v1/engines`` and the page tell."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

from pipelines.errors import PipelineError
from pipelines.models.sources_http import Progress

TOLD_SECONDS = 1.0
"""Least time between two reports of one model that only tell of more bytes."""

State = Literal["waiting", "fetching", "arrived", "failed"]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A model that is being brought, or could not be."""

    model: str
    state: State
    """``waiting``: for others, or for the first byte; ``arrived``: it is being put to work."""
    done: int = 0
    """Bytes."""
    total: int = 0
    """Bytes; what the catalogue says until its sources have told; 0 if unknown."""
    error: str = ""
    """Why it failed."""


@dataclass(slots=True)
class _Files:
    fetch: Fetch
    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    """File → bytes that are here and that there will be."""
    told: float = 0.0


class Fetches:
    """All of them. Called from any thread; ``on_change`` is called on the thread where something has changed."""

    def __init__(
        self,
        expected: Callable[[str], int] = lambda model: 0,
        on_change: Callable[[Fetch], object] = lambda fetch: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected = expected
        self._on_change = on_change
        self._now = now
        self._lock = threading.Lock()
        self._known: dict[str, _Files] = {}

    def all(self) -> list[Fetch]:
        """In the order in which they began."""
        with self._lock:
            return [known.fetch for known in self._known.values()]

    @contextmanager
    def bringing(self, model: str) -> Iterator[Callable[[Progress], None]]:
        """While ``model`` is brought; what it yields takes the reports of the store."""
        self._set(model, _Files(Fetch(model, "waiting", total=self._expected(model))))
        try:
            yield self._progress
        except PipelineError as error:
            self.fail(model, error.message)
            raise
        except BaseException:
            self.forget(model)
            raise
        self._change(model, state="arrived")

    def fail(self, model: str, error: str) -> None:
        """It cannot be had, or not be used."""
        self._change(model, state="failed", error=error)

    def forget(self, model: str) -> None:
        """It has been put to work, or nobody waits for it any more."""
        with self._lock:
            known = self._known.pop(model, None)
        if known is not None:
            self._on_change(replace(known.fetch, state="arrived"))

    def _set(self, model: str, known: _Files) -> None:
        with self._lock:
            self._known[model] = known
        self._on_change(known.fetch)

    def _change(self, model: str, *, state: State, error: str = "") -> None:
        with self._lock:
            known = self._known.get(model)
            if known is None:
                return
            known.fetch = fetch = replace(known.fetch, state=state, error=error)
        self._on_change(fetch)

    def _progress(self, progress: Progress) -> None:
        with self._lock:
            known = self._known.get(progress.model)
            if known is None:
                return
            known.files[progress.file] = progress.done, progress.total or progress.done
            done = sum(done for done, _ in known.files.values())
            total = max(self._expected(progress.model), sum(total for _, total in known.files.values()))
            began = known.fetch.state != "fetching"
            known.fetch = fetch = replace(known.fetch, state="fetching", done=min(done, total), total=total)
            now = self._now()
            if not began and now - known.told < TOLD_SECONDS:
                return
            known.told = now
        self._on_change(fetch)
