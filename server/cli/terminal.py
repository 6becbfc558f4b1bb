"""Speaking to people in a terminal. Foreign text (names of models, paths, errors, what was said) commands nothing.

Rich reads ``[red]`` in a text as a command, and fails at a ``[/b]`` that closes nothing; the terminal itself obeys
control characters. So whatever is not written in this repository goes through :func:`foreign`, and tables take it as
:func:`cell`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text

from pipelines.models.fetches import Fetch
from server.observability.logs import printable

LINE_SECONDS = 5.0
"""Between two lines about a download where there are no bars."""


def foreign(text: object) -> str:
    """``text`` for use between our own markup, on one line and without any effect of its own."""
    return escape(_one_line(text))


def cell(text: object) -> Text:
    """``text`` for a table."""
    return Text(_one_line(text))


def tell(console: Console, markup: str) -> None:
    """Print a line as it is: neither coloured by rich's own guesses nor broken where the terminal ends."""
    console.print(markup, highlight=False, soft_wrap=True)


def tell_foreign(console: Console, text: object) -> None:
    """Print a line that somebody else wrote."""
    console.print(cell(text), soft_wrap=True)


def tell_failure(console: Console, error: object) -> None:
    """Print what ends the command."""
    tell(console, f"[red]visavis:[/red] {foreign(error)}")


def megabytes(size: int) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB" if size < 10e6 else f"{size / 1e6:.0f} MB"


class Downloads:
    """How far models have come that are being brought: bars in a terminal while there are any, lines everywhere else.

    Called from any thread, within the context and after it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._open = False
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Downloads:
        self._open = self._console.is_terminal
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._open = False
            self._tasks.clear()
            self._stop()

    def __call__(self, fetch: Fetch) -> None:
        with self._lock:
            if fetch.state != "fetching":
                self._ended(fetch.model)
                return
            if self._open:
                self._draw(fetch)
                return
            if not self._is_due(fetch.model, time.monotonic()):
                return
        of = f" of {megabytes(fetch.total)}" if fetch.total else ""
        tell_foreign(self._console, f"{fetch.model}: {megabytes(fetch.done)}{of}")

    def _draw(self, fetch: Fetch) -> None:
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        if fetch.model not in self._tasks:
            self._tasks[fetch.model] = self._bars.add_task(_one_line(fetch.model))
        self._bars.update(self._tasks[fetch.model], completed=fetch.done, total=fetch.total or None)

    def _ended(self, model: str) -> None:
        self._told.pop(model, None)
        if (task := self._tasks.pop(model, None)) is not None and self._bars is not None:
            self._bars.remove_task(task)
        if not self._tasks:
            self._stop()

    def _stop(self) -> None:
        """A bar that is drawn again and again costs a server more than a line."""
        bars, self._bars = self._bars, None
        if bars is not None:
            bars.stop()

    def _is_due(self, model: str, now: float) -> bool:
        """Whether to tell a line: not of what is quickly done."""
        if now - self._told.setdefault(model, now) < LINE_SECONDS:
            return False
        self._told[model] = now
        return True


class Steps:
    """How far something long has come: a bar in a terminal while the context lasts, and lines everywhere else."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told = time.monotonic()

    def __enter__(self) -> Steps:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._bars = Bars(*columns, TimeRemainingColumn(), console=self._console, transient=True)
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if self._bars is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(_one_line(what))
            self._bars.update(self._tasks[what], completed=done, total=total)
        elif time.monotonic() - self._told >= LINE_SECONDS:
            self._told = time.monotonic()
            tell_foreign(self._console, f"{what}: {done} of {total}")


@contextmanager
def waiting(console: Console, what: str, *, only_in_terminal: bool = False) -> Iterator[None]:
    """Say what is waited for: a line that goes away in a terminal, and stays everywhere else."""
    if console.is_terminal:
        with console.status(foreign(what)):
            yield
    else:
        if not only_in_terminal:
            tell_foreign(console, what)
        yield


def _one_line(text: object) -> str:
    return printable(" ".join(str(text).splitlines()) or "")
