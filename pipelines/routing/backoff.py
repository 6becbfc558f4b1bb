"""Which of several engines to try: one that has just failed rests for a while, so that not every turn waits for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from media.clock import Clock, MonotonicClock
from pipelines.errors import EngineBusyError, PipelineError

REST_SECONDS = 5.0
"""How long an engine rests after its first failure; twice as long after each further one …"""
LONGEST_REST = 60.0
"""… up to this."""

OnFailure = Callable[[str, PipelineError | None], None]
"""Is told the name of the engine that failed, and why; or ``None`` when one that had failed works again."""


class Ladder:
    """Engines by name in order of preference, those that failed of late last. Pure but for the clock.

    An engine that is busy has not failed: it is tried again at once.
    """

    def __init__(
        self,
        names: Sequence[str],
        on_failure: OnFailure,
        clock: Clock | None = None,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        if not names:
            raise ValueError("at least one engine")
        self.forwarded: Counter[tuple[str, str]] = Counter()
        """How often a request was handed on, by the names of who failed or rests and who was next."""
        self._names = tuple(names)
        self._on_failure = on_failure
        self._clock = clock or MonotonicClock()
        self._first_rest = rest_seconds
        self._failures = [0] * len(names)
        self._ready_at = [float("-inf")] * len(names)

    def with_first(self, name: str) -> Ladder:
        """The same with a better engine before the others, none of which rests any more."""
        return self.with_another(name, 0)

    def with_another(self, name: str, place: int) -> Ladder:
        """The same with one more engine at ``place``. None rests any more."""
        names = [*self._names[:place], name, *self._names[place:]]
        better = Ladder(names, self._on_failure, self._clock, self._first_rest)
        better.forwarded = self.forwarded
        return better

    @property
    def current(self) -> str:
        """The name of the one that would be tried next."""
        now = self._clock.now()
        return self._names[min(range(len(self._names)), key=lambda place: (self._ready_at[place] > now, place))]

    @property
    def serving(self) -> str:
        """The name of the one that does the work at present: the first that has not failed since it last worked."""
        sound = (name for name, failures in zip(self._names, self._failures, strict=True) if not failures)
        return next(sound, self.current)

    def order(self, first: int = 0) -> list[int]:
        """All places as they should be tried; ``first`` is preferred. Those that rest come last."""
        now = self._clock.now()
        order = sorted(range(len(self._names)), key=lambda place: (self._ready_at[place] > now, place != first, place))
        if order[0] != first:
            self.forwarded[self._names[first], self._names[order[0]]] += 1
        return order

    def stumbled(self, place: int, error: PipelineError) -> None:
        """Tell of a failure after which the same engine is asked again."""
        self._on_failure(self._names[place], error)

    def failed(self, place: int, error: PipelineError, successor: int | None) -> None:
        """Tell of the failure and let the engine rest; ``successor`` gets the request, if there is one."""
        self._on_failure(self._names[place], error)
        if successor is not None:
            self.forwarded[self._names[place], self._names[successor]] += 1
        if not isinstance(error, EngineBusyError):
            self._rest(place, LONGEST_REST)

    def worked(self, place: int) -> None:
        """Forget the failures of an engine that has done its work."""
        had_failed = self._failures[place] > 0
        self._failures[place] = 0
        self._ready_at[place] = float("-inf")
        if had_failed:
            self._on_failure(self._names[place], None)

    def due(self, within: float) -> list[int]:
        """Places of engines that have failed and will have rested enough ``within`` seconds."""
        soon = self._clock.now() + within
        return [n for n, ready in enumerate(self._ready_at) if self._failures[n] and ready <= soon]

    def hold(self, place: int) -> None:
        """Let an engine rest while it is found out whether it works again."""
        self._ready_at[place] = self._clock.now() + LONGEST_REST

    def fails_still(self, place: int, longest_rest: float) -> None:
        """It does not work yet: let it rest again, in silence."""
        self._rest(place, longest_rest)

    def _rest(self, place: int, longest: float) -> None:
        rest = min(longest, self._first_rest * 2.0 ** min(self._failures[place], 16))
        self._failures[place] += 1
        self._ready_at[place] = self._clock.now() + rest


def successors(order: Sequence[int]) -> list[tuple[int, int | None]]:
    """Each place with the one that is tried after it."""
    return list(zip(order, (*order[1:], None), strict=True))
