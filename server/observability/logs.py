"""The process's log: a few lines of each kind and then a count, and nothing in them that a terminal would obey.

What anybody on the network can provoke (bad requests, broken packets, pictures that cannot be decoded) comes by the
thousand, from our loggers and from those of libraries. A *kind* is a logger, a level and a template.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import threading
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from media.clock import Clock
from server.observability.output import written_aside
from server.observability.reports.redaction import came_from, causes, code_of

PERIOD_SECONDS = 60.0
"""For which a kind is counted."""
_ALLOWED = ((logging.ERROR, 5), (logging.WARNING, 10), (logging.INFO, 60), (logging.NOTSET, 1 << 62))
"""Lines of a kind in that time, from each level up: errors bring tracebacks; who asks for ``debug`` wants it all."""
_MOST_KINDS = 256
_VARYING = re.compile(r"0x[0-9a-f]+|\d+|'[^']*'|\"[^\"]*\"")
_TEMPLATE_CHARACTERS = 80

_QUIET = dict.fromkeys(("aioice", "httpcore2", "httpx2", "matplotlib", "mcp"), logging.WARNING)
"""Loggers that tell of every ordinary step, those of tools' connections with what a model has called."""
_WITH_VALUES = (ValueError, LookupError, AssertionError)
"""Exceptions whose messages hold the value that was at fault, which may be words that were said."""

Kind = tuple[str, int, str]


@dataclass(slots=True)
class _Count:
    since: float
    told: int = 0
    held_back: int = 0


class RateLimit(logging.Filter):
    """Lets the first few records of a kind through; the next one after the period says how many there were between.

    Used from any thread.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[Kind, _Count] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to tell it; one that is told knows how many of its kind were not (``record.held_back``)."""
        now = self._clock.now()
        with self._lock:
            kind = self._kind(record)
            count = self._counts.setdefault(kind, _Count(now))
            if now - count.since >= PERIOD_SECONDS:
                record.held_back = count.held_back
                count.since, count.told, count.held_back = now, 0, 0
            if count.told >= _allowed(record.levelno):
                count.held_back += 1
                return False
            count.told += 1
            return True

    def overdue(self, *, now: float | None = None) -> list[tuple[Kind, int]]:
        """How many were held back of each kind whose period is over; they count as told from here on."""
        now = self._clock.now() if now is None else now
        with self._lock:
            over = [kind for kind, count in self._counts.items() if now - count.since >= PERIOD_SECONDS]
            counts = [(kind, self._counts.pop(kind).held_back) for kind in over]
        return [(kind, held_back) for kind, held_back in counts if held_back]

    def _kind(self, record: logging.LogRecord) -> Kind:
        """Some libraries put values into the template; what varies in it does not count. Nor do kinds without end."""
        template = _VARYING.sub("#", str(record.msg)[: 4 * _TEMPLATE_CHARACTERS])[:_TEMPLATE_CHARACTERS]
        kind = (record.name, record.levelno, template)
        if kind in self._counts or len(self._counts) < _MOST_KINDS:
            return kind
        return ("", record.levelno, "of many kinds")


def _allowed(level: int) -> int:
    return next(lines for least, lines in _ALLOWED if level >= least)


class SafeFormatter(logging.Formatter):
    """The message and its traceback, with control characters of foreign text written as escapes.

    A value cannot begin a line of its own; lines of templates and tracebacks are indented, so that none looks like a
    record.
    """

    def __init__(self, who: str = "") -> None:
        """``who`` stands before each record, where several processes write to one terminal."""
        super().__init__()
        self._who = f"{who}: " if who else ""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        text = self._who + printable(_message(record))
        if held_back := getattr(record, "held_back", 0):
            text += f"   (and {held_back} more like this before)"
        if record.exc_info:
            text += "\n" + printable(_traceback(record.exc_info[1], withheld=getattr(record, "withheld", False)))
        return text.replace("\n", "\n  ")


def _traceback(error: BaseException | None, *, withheld: bool) -> str:
    """Where an exception and what it came from were raised, and why where no word that was said can stand in that.

    ``withheld``: whoever logs it knows that what failed was given such words; then no message is told.
    """
    if error is None:
        return ""
    return _with_origins(error, {id(one) for one in (error, *causes(error))}, withheld=withheld)


def _with_origins(error: BaseException, left: set[int], *, withheld: bool) -> str:
    """``error`` after what it came from, and below it, further in, what it holds if it is a group: one part did not
    lead to another. Only those in ``left`` are told, each once."""
    left.discard(id(error))
    text = "".join(_described(error, withheld=withheld))
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(part) in left:
            text += "\n  One of its parts:\n" + indent(_with_origins(part, left, withheld=withheld), "    ")
    origin = came_from(error)
    if origin is None or id(origin) not in left:
        return text
    return _with_origins(origin, left, withheld=withheld) + "\n\nThat led to:\n\n" + text


def _described(error: BaseException, *, withheld: bool) -> Iterator[str]:
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):\n"
        yield from traceback.format_tb(error.__traceback__)
    yield type(error).__qualname__
    message = "" if withheld or isinstance(error, _WITH_VALUES) else str(error)
    code = code_of(error) if not message else None
    yield f": {message or code}" if message or code else ""


class _Value:
    """A value for a template, whose text keeps to its line."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __str__(self) -> str:
        return printable(str(self._value)).replace("\n", "\\n")

    def __repr__(self) -> str:
        return printable(repr(self._value)).replace("\n", "\\n")


def _message(record: logging.LogRecord) -> str:
    template, values = str(record.msg), record.args
    if not values:
        return template
    if isinstance(values, Mapping):
        return template % {name: _safe(value) for name, value in values.items()}
    return template % tuple(_safe(value) for value in values)


def _safe(value: Any) -> Any:
    return value if isinstance(value, int | float) else _Value(value)


def printable(text: str) -> str:
    """``text`` with everything that is no visible character, space or line end written as an escape: control
    characters, marks that turn the direction of writing, halves of surrogate pairs."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


@asynccontextmanager
async def process_log(level: str, console: Console, clock: Clock, who: str = "") -> AsyncIterator[None]:
    """Log to the console from here on, ``who`` before each line; on leaving, tell what was held back.

    What the console prints meanwhile, this or other, is written by a thread: see :mod:`server.observability.output`.
    """
    with written_aside(console):
        async with _logged(level, console, clock, who):
            yield


@asynccontextmanager
async def _logged(level: str, console: Console, clock: Clock, who: str) -> AsyncIterator[None]:
    limit = RateLimit(clock)
    handler = RichHandler(console=console, show_path=False)
    handler.setFormatter(SafeFormatter(who))
    handler.addFilter(limit)
    root = logging.getLogger()
    root.addHandler(handler)
    wanted = logging.getLevelNamesMapping()[level.upper()]
    levels = {root: wanted, **{logging.getLogger(name): max(least, wanted) for name, least in _QUIET.items()}}
    before = {logger: logger.level for logger in levels}
    _set(levels)
    telling = asyncio.create_task(_tell_counts(limit, handler, clock), name="log-counts")
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
        _tell(limit.overdue(now=math.inf), handler)
        root.removeHandler(handler)
        _set(before)


def _set(levels: Mapping[logging.Logger, int]) -> None:
    for logger, level in levels.items():
        logger.setLevel(level)


async def _tell_counts(limit: RateLimit, handler: logging.Handler, clock: Clock) -> None:
    while True:
        await clock.sleep(PERIOD_SECONDS / 4)
        _tell(limit.overdue(), handler)


def _tell(counts: list[tuple[Kind, int]], handler: logging.Handler) -> None:
    for (name, level, template), held_back in counts:
        text = "%d more like this of %s were not shown: %s"
        values = (held_back, name or "several loggers", template)
        with handler.lock or nullcontext():
            handler.emit(logging.LogRecord(name, level, __file__, 0, text, values, None))
