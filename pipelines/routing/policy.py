"""Which backend is asked for a stage, in which order, and why. Pure: no clock, no model, no network.

Everything that decides is passed in: what the stage says (:class:`Need`), what the request asks for
(:class:`~pipelines.routing.run.Wishes`), and how each backend is at this moment (:class:`Condition`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.definitions.mapping import Hardware
from pipelines.routing.definition import ForwardingPolicy, Preferred, Stage
from pipelines.routing.run import EfficiencyMode, Outcome, Wishes

FASTEST: tuple[Hardware, ...] = ("cuda", "igpu", "npu", "cpu", "remote")
"""What ``Performance`` asks first. How fast another computer is nobody knows here."""
USUAL_WATTS: Mapping[Hardware, float] = {"npu": 5.0, "igpu": 15.0, "cpu": 30.0, "cuda": 150.0, "remote": 300.0}
"""What each kind of hardware draws while it works, where a file does not say it: only their order matters."""
COOLING = 5.0
"""Degrees Celsius below the limit at which a backend that was too hot is cool again."""
FIRST_BACKOFF, LONGEST_BACKOFF = 0.1, 2.0
"""Seconds before the first repetition; twice as long before each further one, up to the latter."""
_GPU = ("cuda", "igpu")


NOTHING_SAID = ForwardingPolicy()


@dataclass(frozen=True, slots=True)
class Need:
    """What a stage asks for."""

    hardware: Preferred = "auto"
    models: tuple[str, ...] = ()
    """Names of the model that it has to be; empty: any."""
    policy: ForwardingPolicy = NOTHING_SAID
    latency_critical: bool = False
    """What the pipeline says; the request may say otherwise."""

    @classmethod
    def of(cls, stage: Stage, *, models: tuple[str, ...] = (), latency_critical: bool = False) -> Need:
        """As ``stage`` says, whose model is called ``models`` here."""
        return cls(stage.preferred_hardware, models, stage.forwarding_policy, latency_critical)

    def prefers(self, hardware: Hardware) -> bool:
        """Whether it is the stage's preferred hardware."""
        return self.hardware == hardware or (self.hardware == "gpu" and hardware in _GPU)

    def place(self, condition: Condition) -> int | None:
        """Where the escalation path names the backend, by its id or its hardware, counted from 0."""
        path, names = self.policy.escalation_path, {condition.backend, *condition.aliases}
        if condition.hardware != "remote":
            names |= {condition.hardware, *(("gpu",) if condition.hardware in _GPU else ())}
        return next((place for place, name in enumerate(path) if name in names), None)


@dataclass(frozen=True, slots=True)
class Condition:
    """One backend with one model, as it is now."""

    backend: str
    hardware: Hardware = "cpu"
    model: str = ""
    aliases: tuple[str, ...] = ()
    """Other names of the backend: those that files map to it."""
    also: tuple[str, ...] = ()
    """What else the model is asked for by: its engine, its voices."""
    priority: int = 0
    energy: float | None = None
    """Watts; ``None``: what is usual for its hardware."""
    size: float = 0.0
    """Of the model, in bytes; 0: not known."""
    load: float = 0.0
    """0–1; from 1 on it takes no more work."""
    resting: bool = False
    """Whether it has failed and rests (its breaker is open)."""
    temperature: float | None = None
    """Degrees Celsius; ``None``: nobody tells."""
    was_hot: bool = False
    """Whether it was too hot when it was last looked at."""
    latency_ms: float | None = None
    """From the question to its first usable result, as of late; ``None``: not known."""
    standby: bool = False
    """Whether it only stands by for better ones: it is asked last, whatever is preferred."""
    named: bool = False
    """Whether it is asked for by name, as by the settings: it is asked first."""
    unable: str = ""
    """Why it cannot do this at all; empty when it can."""

    def is_called(self, name: str) -> bool:
        """Whether ``name`` means this backend."""
        return name in (self.backend, self.hardware, *self.aliases)


@dataclass(frozen=True, slots=True)
class Choice:
    """A backend that is asked when its turn comes."""

    index: int
    """Among the conditions."""
    reason: str
    """Why it is its turn, for people."""
    sound: bool = True
    """Whether nothing is wrong with it; else it is asked only when others have failed."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A backend that is not asked, or only when all others have failed."""

    index: int
    outcome: Outcome
    reason: str
    expected: bool
    """Whether it would have been a choice of the stage's own: it is preferred, on the path or asked for."""


@dataclass(frozen=True, slots=True)
class Order:
    """Who is asked, one after another."""

    choices: tuple[Choice, ...]
    passed: tuple[Passed, ...]
    first: int | None
    """Who would be asked first if every backend were at its best."""


def order(need: Need, wishes: Wishes, conditions: Sequence[Condition]) -> Order:
    """Who of ``conditions``, which are in declared order, is asked for the stage, and who is passed over."""
    target = wishes.target_backend
    passed: list[Passed] = []
    able: list[int] = []
    for index, one in enumerate(conditions):
        problem = _problem(need, wishes, one)
        if problem:
            expected = one.is_called(target) or need.place(one) is not None or need.prefers(one.hardware)
            passed.append(Passed(index, "unable", problem, expected))
        else:
            able.append(index)
    first_of_model: dict[str, int] = {}
    for index in able:
        first_of_model.setdefault(conditions[index].model or str(index), index)

    def key(index: int, at_best: bool = False) -> tuple[object, ...]:
        one = conditions[index]
        state = 0 if at_best else _STATES[_state(need, one)[0]]
        alike = first_of_model[one.model or str(index)]
        load = round(one.load, 2)  # only among those with the same model: a better model is worth a wait
        return (state, one.standby, not one.named, *_preference(need, wishes, one), alike, load, index)

    ranked = sorted(able, key=key)
    choices: list[Choice] = []
    for index in ranked:
        state, why = _state(need, conditions[index])
        if state:
            passed.append(Passed(index, state, why, expected=True))
            why = f"{why}; asked only if nobody else can" if not target else f"{why}; asked all the same: {_FORCED}"
        reason = why or _reason(need, wishes, conditions[index], first=index == ranked[0])
        choices.append(Choice(index, reason, sound=state is None))
    first = min(able, key=lambda index: key(index, at_best=True), default=None)
    return Order(tuple(choices), tuple(passed), first)


def is_hot(policy: ForwardingPolicy, temperature: float | None, was_hot: bool) -> bool:
    """Whether a backend is too hot; one that was stays so until it has cooled :data:`COOLING` below the limit."""
    limit = policy.max_temperature
    if not policy.enable_thermal_check or limit is None or temperature is None:
        return False
    return temperature > (limit - COOLING if was_hot else limit)


def is_sure(policy: ForwardingPolicy, wishes: Wishes, confidence: float | None) -> bool:
    """Whether a result of this ``confidence`` does; where nobody tells how sure it is, it does.

    ``UltraEfficiency`` computes nothing twice for mere confidence.
    """
    if not policy.enable_confidence_check or confidence is None or wishes.efficiency_mode == "UltraEfficiency":
        return True
    return confidence >= policy.min_confidence


def hedge_after(need: Need, wishes: Wishes) -> float | None:
    """Seconds without a usable result after which the next backend is started beside the first; ``None``: never.

    It is ``max_latency_ms`` of the stage. A run that is latency-critical and has a limit of its own is given half of
    that where the stage says nothing. Work of low priority and ``UltraEfficiency`` compute nothing twice.
    """
    policy = need.policy
    if wishes.efficiency_mode == "UltraEfficiency" or wishes.priority == "low":
        return None
    limits = [policy.max_latency_ms] if policy.enable_latency_check and policy.max_latency_ms is not None else []
    critical = need.latency_critical if wishes.latency_critical is None else wishes.latency_critical
    if wishes.max_latency_ms is not None and (limits or critical):
        limits.append(wishes.max_latency_ms / 2)
    return min(limits) / 1000 if limits else None


def retry_after(policy: ForwardingPolicy, retries: int, jitter: float) -> float | None:
    """Seconds until the same backend is asked again after so many repetitions; ``None``: the next one is.

    ``jitter`` is 0–1, drawn by the caller: many who failed at a time do not come back at a time.
    """
    if retries >= policy.max_retries:
        return None
    return pause_before(retries, jitter)


def pause_before(retries: int, jitter: float) -> float:
    """Seconds before a repetition after so many."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0 ** min(retries, 16)) * (0.5 + jitter / 2)


# ------------------------------------------------------------------------------------------------------ helpers

_FORCED = "X-Target-Backend names it"
_STATES: Mapping[Outcome | None, int] = {None: 0, "busy": 1, "hot": 2, "resting": 3}


def _problem(need: Need, wishes: Wishes, one: Condition) -> str:
    """Why the backend cannot be asked at all; empty when it can."""
    target = wishes.target_backend
    if target and not one.is_called(target):
        return f"X-Target-Backend forces {target}"
    if one.unable:
        return one.unable
    if need.models and not {one.model, *one.also} & {*need.models}:
        return f"it has {one.model or 'another model'}, not {need.models[0]}"
    allowed = target or one.named or need.hardware == "remote" or need.place(one) is not None
    if one.hardware == "remote" and not allowed:
        return "it is another computer, and the escalation path does not name it"
    return ""


def _state(need: Need, one: Condition) -> tuple[Outcome | None, str]:
    """Why the backend is asked later than is its turn."""
    if one.resting:
        return "resting", "it has failed and rests"
    if is_hot(need.policy, one.temperature, one.was_hot):
        return "hot", f"{one.temperature:.0f} °C is too hot (max_temperature {need.policy.max_temperature:g})"
    if one.load >= 1:
        return "busy", "it has as much to do as it takes"
    return None, ""


def _preference(need: Need, wishes: Wishes, one: Condition) -> tuple[float, ...]:
    """Smaller is better."""
    place = need.place(one)
    path = math.inf if place is None else place
    mode: EfficiencyMode = wishes.efficiency_mode
    if mode == "Performance":
        return (FASTEST.index(one.hardware), -one.size, path, -one.priority)
    if mode in ("Efficiency", "UltraEfficiency"):
        watts = USUAL_WATTS[one.hardware] if one.energy is None else one.energy
        return (watts, one.size, path, -one.priority)
    return (_is_late(need, one), not need.prefers(one.hardware), path, -one.priority)


def _is_late(need: Need, one: Condition) -> bool:
    limit = need.policy.max_latency_ms
    checked = need.policy.enable_latency_check and limit is not None and one.latency_ms is not None
    return checked and one.latency_ms > limit  # type: ignore[operator]  # checked


def _reason(need: Need, wishes: Wishes, one: Condition, *, first: bool) -> str:
    place, mode = need.place(one), wishes.efficiency_mode
    if wishes.target_backend:
        return _FORCED
    if one.standby:
        return "stands by for the others"
    if one.named:
        return "asked for by name"
    if mode == "Performance":
        return "the fastest hardware that is free" if first else "the next in speed"
    if mode in ("Efficiency", "UltraEfficiency"):
        return "draws the least power" if first else "the next in power"
    if _is_late(need, one):
        return f"{one.latency_ms:.0f} ms to its latest results, more than max_latency_ms {need.policy.max_latency_ms:g}"
    if need.prefers(one.hardware):
        return f"preferred hardware {need.hardware}"
    if place is not None:
        return f"number {place + 1} of the escalation path"
    return "the best that is here" if first else "the next that is here"
