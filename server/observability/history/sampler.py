"""One look at everything: readings of the system, the ledger of engines and what sessions told become a sample.

Pure: the readings are passed in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.runtime.thread_names import NAME_BYTES, owner
from pipelines.runtime.usage import Usage
from server.observability.history.gpu import GpuLoad
from server.observability.history.notes import Noted
from server.observability.history.resources import LOOP, OTHER, Used
from server.observability.history.series import Sample


@dataclass(slots=True)
class Look:
    """What there is to know of the last ``seconds``."""

    seconds: float
    used: Used
    usage: Usage
    noted: Noted
    late: float = 0.0
    """Seconds, of the event loop."""
    sessions: Collection[str] = ()
    """Those that live."""
    gpus: Sequence[GpuLoad] = ()
    pools: Mapping[str, int] = field(default_factory=dict)
    """Size of each."""
    cpu_seconds: float | None = None
    """Over which processor times of threads, children and sessions were measured, if that is another time; ``None``:
    they were not read."""


def sample_of(look: Look) -> Sample:
    """All values of one look."""
    sample = Sample()
    _system(look, sample)
    _engines(look, sample)
    _conversations(look, sample)
    return sample


def _system(look: Look, sample: Sample) -> None:
    used, seconds = look.used, look.seconds
    sample.put("process_cpu_seconds_total", None if used.cpu is None else used.cpu / seconds)
    sample.put("process_resident_memory_bytes", used.memory)
    sample.put("visavis_machine_cpu_share", used.machine)
    sample.put("visavis_machine_memory_available_bytes", used.available)
    sample.put("visavis_event_loop_delay_seconds", look.late)
    sample.put("visavis_sessions", len(look.sessions))
    for gpu in look.gpus:
        sample.put("visavis_gpu_busy_share", gpu.busy, gpu=gpu.name)
        sample.put("visavis_gpu_memory_bytes", gpu.memory, gpu=gpu.name)
    for pool, size in look.pools.items():
        sample.put("visavis_pool_size", size, pool=pool)


def _engines(look: Look, sample: Sample) -> None:
    usage, seconds = look.usage, look.seconds
    for engine, memory in look.used.children_memory.items():
        sample.put("visavis_engine_resident_bytes", memory, engine=engine)
    if look.cpu_seconds is not None:
        costs: dict[str, float] = defaultdict(float)
        for thread, cpu in look.used.threads.items():
            costs[owner(thread)] += cpu
        for engine, cpu in look.used.children.items():
            costs[engine] += cpu
        for engine, cpu in costs.items():
            sample.put("visavis_engine_cpu_seconds_total", cpu / look.cpu_seconds, engine=engine)
    for engine, spent in _by_first(usage.engine_seconds).items():
        sample.put("visavis_engine_seconds_total", spent / seconds, engine=engine)
    for engine, errors in _by_first(usage.errors).items():
        sample.put("visavis_engine_errors_total", errors / seconds, engine=engine)
    for engine, answers in usage.answers.items():
        sample.put("visavis_engine_answer_seconds", answers.mean, engine=engine)
    for worker, busy in _by_first(usage.busy).items():
        sample.put("visavis_worker_busy_seconds_total", busy / seconds, worker_name=worker)
    for worker, waits in usage.waits.items():
        sample.put("visavis_worker_wait_seconds", waits.mean, worker_name=worker)


def _conversations(look: Look, sample: Sample) -> None:
    noted, seconds = look.noted, look.seconds
    sample.put("pipeline_total_latency_ms", noted.latency.mean)
    for stage, spent in noted.stages.items():
        sample.put("pipeline_stage_duration_ms", spent.mean, stage=stage)
    for outcome in ("completed", "interrupted", "failed"):
        sample.put("visavis_turns_total", noted.outcomes[outcome] / seconds, outcome=outcome)
    used = _by_second(look.usage.engine_seconds)
    for session in look.sessions:
        sample.put("visavis_session_engine_seconds_total", used.get(session, 0.0) / seconds, session=session)
        sample.put("visavis_session_errors_total", noted.failures[session] / seconds, session=session)
        if session in noted.sessions:
            sample.put("visavis_session_latency_ms", noted.sessions[session].mean, session=session)
    if look.cpu_seconds is not None:
        shares = shared(look.used, look.usage, look.sessions)
        for session, cpu in shares.items():
            sample.put("visavis_session_cpu_seconds_total", cpu / look.cpu_seconds, session=session)


def shared(used: Used, usage: Usage, sessions: Collection[str]) -> dict[str, float]:
    """Processor seconds of each session: of an engine's by the busy seconds that its workers had for the session (of a
    child process by engine-seconds), and of the event loop's an equal part. What engines did for others is nobody's."""
    shares = dict.fromkeys(sessions, 0.0)
    if not shares:
        return shares
    for session in shares:
        shares[session] = (used.threads.get(LOOP, 0.0) + used.threads.get(OTHER, 0.0)) / len(shares)
    busy: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (worker, session), seconds in usage.busy.items():
        busy[worker.encode()[:NAME_BYTES].decode(errors="replace")][session] += seconds
    asked: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for child in used.children:
        for (engine, session), seconds in usage.engine_seconds.items():
            if engine == child or engine.startswith(f"{child} "):
                asked[child][session] += seconds
    for costs, weights in ((used.threads, busy), (used.children, asked)):
        for engine, cpu in costs.items():
            parts = weights.get(engine, {})
            total = sum(parts.values())
            for session in shares.keys() & parts.keys() if total else ():
                shares[session] += cpu * parts[session] / total
    return shares


def _by_first(counts: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return _summed((engine, value) for (engine, _), value in counts.items())


def _by_second(counts: Mapping[tuple[str, str], float]) -> dict[str, float]:
    return _summed((session, value) for (_, session), value in counts.items())


def _summed(pairs: Iterable[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for name, value in pairs:
        found[name] += value
    return found
