"""The one barrier around what a library calls us back for: no exception of ours may reach the library.

aiortc emits its events (a track, a data channel, a message, a change of state) out of the task that reads the peer's
packets. An exception of a handler ends that task: the transport is closed without a word, while the peer believes
itself connected. So every handler is registered through here.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec

log = logging.getLogger(__name__)

P = ParamSpec("P")

MOST_TRACEBACKS = 5
"""Logged of one handler in one session: what a peer can provoke it can provoke a thousand times."""


class Barrier:
    """``name`` is the session's, for the log; ``tell`` is called with the name of a handler that failed."""

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        self.failures: Counter[str] = Counter()
        """How often each handler has failed."""
        self._name = name
        self._tell = tell

    def around(self, handler: Callable[P, object], what: str) -> Callable[P, None]:
        """``handler`` behind the barrier; ``what`` names it. It returns nothing and never raises."""

        @functools.wraps(handler)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                handler(*args, **kwargs)
            except Exception:
                self.failures[what] += 1
                if self.failures[what] <= MOST_TRACEBACKS:
                    log.exception("session %s: handling %s failed", self._name, what)
                self._say(what)

        return guarded

    def _say(self, what: str) -> None:
        try:
            self._tell(what)
        except Exception:
            # The last word of a barrier must not be an exception either.
            log.exception("session %s: the failure could not be told", self._name)
