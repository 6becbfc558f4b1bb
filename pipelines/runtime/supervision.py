"""What is optional cannot end a call: it is started again after a rest, told once, and logged with its traceback.

Vision, captions, observers, dialects: each of them may fail in ways nobody thought of. The voice goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, ParamSpec, TypeVar

from media.clock import Clock
from pipelines.errors import PipelineError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

FIRST_REST_SECONDS = 0.5
"""How long a part that has failed rests; twice as long each further time …"""
LONGEST_REST_SECONDS = 60.0
"""… up to this. One that has worked for so long starts afresh."""

_let_go: set[asyncio.Task[Any]] = set()
"""Tasks that did not end in time; held until they do, for a loop forgets those nobody holds."""


class Supervisor:
    """Runs the optional parts of one session. ``tell`` is given what the client should know."""

    def __init__(self, tell: Callable[[PipelineError], object], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._told: set[str] = set()

    async def keep(self, part: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part until it returns or is cancelled, and again each time it fails."""
        rest = FIRST_REST_SECONDS
        while True:
            began = self._clock.now()
            try:
                return await run()
            except Exception as error:  # noqa: BLE001 - the barrier: logged and told
                self.failed(part, error)
            if self._clock.now() - began >= LONGEST_REST_SECONDS:
                rest = FIRST_REST_SECONDS
            await self._clock.sleep(rest)
            rest = min(2 * rest, LONGEST_REST_SECONDS)

    def call(self, part: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """What ``function`` returns, or ``None`` when it fails."""
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the barrier: logged and told
            self.failed(part, error)
            return None

    def failed(self, part: str, error: BaseException, *, again: bool = True) -> None:
        """A part has failed, for good unless ``again``. The first time it is logged with its traceback, and told."""
        if part in self._told:
            log.debug("%s failed again: %r", part, error)
            return
        self._told.add(part)
        log.error("%s failed; the call goes on", part, exc_info=error)
        how = f", and {part} is tried again" if again else " without it"
        message = f"{part} failed; the conversation goes on{how}"
        self.call("telling of failures", self._tell, PipelineError("part_failed", message))


async def end(tasks: Collection[asyncio.Task[Any]], seconds: float) -> None:
    """Cancel tasks and wait until they have ended, but not longer than this: what hangs in a library is let go."""
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        log.warning("%s does not end within %g s and is let go", task.get_name(), seconds)
        _let_go.add(task)
        task.add_done_callback(_let_go.discard)
