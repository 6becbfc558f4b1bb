"""Measures the load twice a second while the application runs, and has running sessions give up what its level says."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from media.clock import Clock
from pipelines.assistant.session import AssistantSession
from pipelines.runtime.relief import PARTS
from server.load.level import GAP_SECONDS
from server.load.plan import PICTURED_SECONDS, relief_for
from server.load.probe import Probe
from server.load.readings import MEASURES
from server.load.state import Load

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
SETTLING_SECONDS = 10.0
"""After the server is ready: models are still being warmed up, and what was put off during the start is done."""


class LoadWatch:
    """``ready`` is set once the server is; ``None``: it is from the start. ``sessions`` are those that live."""

    def __init__(
        self,
        load: Load,
        probe: Probe,
        sessions: Callable[[], Iterable[AssistantSession]],
        clock: Clock,
        ready: asyncio.Event | None = None,
    ) -> None:
        self._load = load
        self._probe = probe
        self._sessions = sessions
        self._clock = clock
        self._ready = ready
        self._last: float | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        if self._ready is not None:
            await self._ready.wait()
        await self._clock.sleep(SETTLING_SECONDS)
        self._probe.forget()
        while True:
            await self._clock.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:  # a defect here must cost nobody's call
                log.exception("the load could not be measured; it is not followed any more")
                self._load.reset()
                self._relieve(self._clock.now())
                return

    def tick(self) -> None:
        """Measure, and act on it."""
        now = self._clock.now()
        if self._last is not None and not 0 <= now - self._last <= GAP_SECONDS:
            self._probe.forget()
        self._last = now
        before = self._load.level
        self._load.update(self._probe.read(now))
        if self._load.level != before:
            self._tell(before)
        self._relieve(now)

    def _relieve(self, now: float) -> None:
        """Also between two changes of the level: sessions begin, and are spoken with about pictures."""
        level, reason = self._load.sheds, self._load.cause_of_shedding
        cause = reason.cause if reason is not None else None
        for session in self._sessions():
            pictured = now - session.vision.asked_at <= PICTURED_SECONDS
            session.relieve(relief_for(level, session.priority, pictured=pictured), cause)

    def _tell(self, before: int) -> None:
        load = self._load
        if load.level > before:
            log.warning("load: level %d → %d: %s", before, load.level, load.reason)
        else:
            log.info("load: level %d → %d", before, load.level)


class LoadMetrics(Collector):
    """What Prometheus sees of it, and what has been given up in all sessions that there were."""

    def __init__(self, load: Load, sessions: Callable[[], Iterable[AssistantSession]]) -> None:
        self._load = load
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        """Read off at the scrape."""
        load = self._load
        yield GaugeMetricFamily("visavis_load_level", "0: nothing is given up; 4: nobody new is let in", load.level)
        values = GaugeMetricFamily("visavis_load_measure", "What the level follows", labels=["measure"])
        pressures = GaugeMetricFamily("visavis_load_pressure", "The same as a share of its limit", labels=["measure"])
        for one in load.readings:
            values.add_metric([one.measure], one.value)
            pressures.add_metric([one.measure], one.pressure)
        reasons = GaugeMetricFamily("visavis_load_reason", "1: the level was taken for this", labels=["measure"])
        for measure in MEASURES:
            reasons.add_metric([measure], float(load.reason is not None and load.reason.measure == measure))
        shed = CounterMetricFamily("visavis_shed", "What was not done for the load", labels=["what"])
        counts = sum((Counter(session.left_out) for session in self._sessions()), Counter(load.given_up))
        for part in PARTS:
            shed.add_metric([part], counts[part])
        shed.add_metric(["session"], load.refused["session"])
        shed.add_metric(["task"], load.refused["task"])
        yield from (values, pressures, reasons, shed)
