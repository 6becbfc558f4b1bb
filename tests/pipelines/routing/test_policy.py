"""Who is asked, in which order, and why: the policy as a table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.routing.definition import ForwardingPolicy
from pipelines.routing.policy import Condition, Need, hedge_after, is_hot, is_sure, order, retry_after
from pipelines.routing.run import Wishes

CPU = Condition("cpu", "cpu", "base", size=100)
CUDA = Condition("cuda", "cuda", "large", size=900)
IGPU = Condition("igpu", "igpu", "small", size=50)
NPU = Condition("npu", "npu", "tiny", size=20)
OLLAMA = Condition("ollama", "remote", "llama3")
ALL = (CPU, CUDA, IGPU, NPU, OLLAMA)
STANDBY = Condition("cpu", "cpu", "starter", standby=True)
PATH = {"escalation_path": ("ollama", "npu", "cpu")}
THERMAL = {"enable_thermal_check": True, "max_temperature": 80.0}
LATENCY = {"enable_latency_check": True, "max_latency_ms": 300.0}


def need(hardware: Any = "auto", *models: str, **policy: Any) -> Need:
    return Need(hardware, models, ForwardingPolicy(**policy))


def asked(what: Need, conditions: tuple[Condition, ...], **wishes: Any) -> str:
    """Models in the order in which they are asked."""
    found = order(what, Wishes(**wishes), conditions)
    return " ".join(conditions[choice.index].model for choice in found.choices)


CASES: list[tuple[str, Need, tuple[Condition, ...], dict[str, Any], str]] = [
    ("declared order", need(), (NPU, CPU, CUDA), {}, "tiny base large"),
    ("another computer is not asked unless it is named", need(), ALL, {}, "base large small tiny"),
    ("cpu preferred", need("cpu"), (NPU, CUDA, CPU), {}, "base tiny large"),
    ("npu preferred", need("npu"), ALL, {}, "tiny base large small"),
    ("cuda preferred", need("cuda"), ALL, {}, "large base small tiny"),
    ("gpu is cuda or igpu", need("gpu"), (CPU, IGPU, CUDA), {}, "small large base"),
    ("gpu is igpu alone where that is all", need("gpu"), (CPU, NPU, IGPU), {}, "small base tiny"),
    ("remote preferred needs no path", need("remote"), (CPU, OLLAMA), {}, "llama3 base"),
    ("what is preferred and not there", need("cuda"), (NPU, CPU), {}, "tiny base"),
    ("path", need(**PATH), ALL, {}, "llama3 tiny base large small"),
    ("path behind preferred hardware", need("cuda", **PATH), ALL, {}, "large llama3 tiny base small"),
    ("path by kinds", need(escalation_path=("gpu", "cpu")), (CPU, NPU, IGPU), {}, "small base tiny"),
    (
        "path orders within the preferred",
        need("gpu", escalation_path=("igpu", "cuda")),
        ALL,
        {},
        "small large base tiny",
    ),
    (
        "a mapped name on the path",
        need(escalation_path=("mine",)),
        (CPU, replace(NPU, aliases=("mine",))),
        {},
        "tiny base",
    ),
    (
        "a server by its own name",
        need(escalation_path=("away",)),
        (CPU, replace(OLLAMA, aliases=("away",))),
        {},
        "llama3 base",
    ),
    ("remote is no place of the path", need(escalation_path=("cpu",)), (OLLAMA, CPU), {}, "base"),
    ("priority", need(), (CPU, replace(CUDA, priority=1)), {}, "large base"),
    ("path before priority", need(escalation_path=("cpu",)), (replace(CUDA, priority=9), CPU), {}, "base large"),
    ("preferred before priority", need("cpu"), (replace(CUDA, priority=9), CPU), {}, "base large"),
    ("negative priority", need(), (replace(CPU, priority=-1), NPU), {}, "tiny base"),
    (
        "load among backends of one model",
        need(),
        (replace(CPU, load=0.8), replace(NPU, model="base", load=0.1), CUDA),
        {},
        "base base large",
    ),
    ("load does not make a worse model better", need(), (replace(CPU, load=0.8), NPU), {}, "base tiny"),
    ("who stands by is last", need(), (STANDBY, CPU), {}, "base starter"),
    (
        "who stands by is last though it is small",
        need(),
        (STANDBY, CPU),
        {"efficiency_mode": "Efficiency"},
        "base starter",
    ),
    ("who stands by is last though its hardware is preferred", need("cpu"), (STANDBY, NPU), {}, "tiny starter"),
    ("what the settings name is first", need("cpu"), (CPU, replace(OLLAMA, named=True)), {}, "llama3 base"),
    ("Performance", need("cpu"), ALL, {"efficiency_mode": "Performance"}, "large small tiny base"),
    (
        "Performance with a server",
        need(**PATH),
        ALL,
        {"efficiency_mode": "Performance"},
        "large small tiny base llama3",
    ),
    (
        "Performance takes the larger of two",
        need(),
        (CPU, replace(CPU, model="big", size=800)),
        {"efficiency_mode": "Performance"},
        "big base",
    ),
    ("Balanced", need("npu"), ALL, {"efficiency_mode": "Balanced"}, "tiny base large small"),
    ("Efficiency", need("cuda"), ALL, {"efficiency_mode": "Efficiency"}, "tiny small base large"),
    (
        "Efficiency takes the smaller of two",
        need(),
        (CPU, replace(CPU, model="little", size=8)),
        {"efficiency_mode": "Efficiency"},
        "little base",
    ),
    (
        "Efficiency by what files say",
        need(),
        (replace(CPU, energy=4.0), NPU),
        {"efficiency_mode": "Efficiency"},
        "base tiny",
    ),
    ("Efficiency: servers last", need(**PATH), ALL, {"efficiency_mode": "Efficiency"}, "tiny small base large llama3"),
    (
        "UltraEfficiency",
        need("cuda", **PATH),
        ALL,
        {"efficiency_mode": "UltraEfficiency"},
        "tiny small base large llama3",
    ),
    ("forced", need("cpu", **PATH), ALL, {"target_backend": "npu"}, "tiny"),
    (
        "forced, whatever is preferred by mode",
        need(),
        ALL,
        {"target_backend": "cpu", "efficiency_mode": "Performance"},
        "base",
    ),
    ("forced server that no path names", need(), ALL, {"target_backend": "ollama"}, "llama3"),
    ("forced by a mapped name", need(), (CPU, replace(NPU, aliases=("mine",))), {"target_backend": "mine"}, "tiny"),
    ("forced and several models", need(), (CPU, STANDBY, NPU), {"target_backend": "cpu"}, "base starter"),
    ("forced and resting", need(), (CPU, replace(NPU, resting=True)), {"target_backend": "npu"}, "tiny"),
    ("forced and hot", need(**THERMAL), (CPU, replace(NPU, temperature=99.0)), {"target_backend": "npu"}, "tiny"),
    ("forced and unable", need(), (CPU, replace(NPU, unable="no")), {"target_backend": "npu"}, ""),
    ("forced and nowhere", need(), (CPU, NPU), {"target_backend": "tpu"}, ""),
    ("model", need("cpu", "tiny"), ALL, {}, "tiny"),
    ("model by another name of it", need("auto", "voice"), (CPU, replace(NPU, also=("voice",))), {}, "tiny"),
    ("model by what it is mapped to", need("auto", "theirs", "base"), ALL, {}, "base"),
    ("model of nobody", need("auto", "huge"), ALL, {}, ""),
    ("unable", need("npu"), (replace(NPU, unable="no"), CPU), {}, "base"),
    ("resting goes last", need(), (replace(CPU, resting=True), NPU, STANDBY), {}, "tiny starter base"),
    ("all rest", need(), (replace(CPU, resting=True), replace(NPU, resting=True)), {}, "base tiny"),
    ("hot goes behind", need(**THERMAL), (replace(CPU, temperature=80.5), NPU), {}, "tiny base"),
    ("not too hot", need(**THERMAL), (replace(CPU, temperature=80.0), NPU), {}, "base tiny"),
    ("not cool enough yet", need(**THERMAL), (replace(CPU, temperature=76.0, was_hot=True), NPU), {}, "tiny base"),
    ("cool again", need(**THERMAL), (replace(CPU, temperature=75.0, was_hot=True), NPU), {}, "base tiny"),
    ("heat that nobody checks", need(), (replace(CPU, temperature=99.0), NPU), {}, "base tiny"),
    ("heat that nobody tells", need(**THERMAL), (CPU, NPU), {}, "base tiny"),
    ("busy goes behind", need("cpu"), (replace(CPU, load=1.0), NPU), {}, "tiny base"),
    (
        "busy, hot, resting",
        need(**THERMAL),
        (replace(CPU, resting=True), replace(CUDA, temperature=90.0), replace(IGPU, load=1.0), NPU),
        {},
        "tiny small large base",
    ),
    ("slow of late", need("cpu", **LATENCY), (replace(CPU, latency_ms=900.0), NPU), {}, "tiny base"),
    ("quick enough of late", need("cpu", **LATENCY), (replace(CPU, latency_ms=300.0), NPU), {}, "base tiny"),
    ("latency that nobody checks", need("cpu"), (replace(CPU, latency_ms=900.0), NPU), {}, "base tiny"),
    (
        "slow, but it is what is asked for",
        need(**LATENCY),
        (replace(CPU, latency_ms=900.0, named=True), NPU),
        {},
        "base tiny",
    ),
    ("nobody", need(), (), {}, ""),
]


@pytest.mark.parametrize(
    ("what", "conditions", "wishes", "expected"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_order(what: Need, conditions: tuple[Condition, ...], wishes: dict[str, Any], expected: str) -> None:
    assert asked(what, conditions, **wishes) == expected


REASONS: list[tuple[Need, tuple[Condition, ...], dict[str, Any], str]] = [
    (need("npu"), (NPU,), {}, "preferred hardware npu"),
    (need(**PATH), (NPU,), {}, "number 2 of the escalation path"),
    (need(), (NPU,), {}, "the best that is here"),
    (need(), (STANDBY,), {}, "stands by for the others"),
    (need(), (replace(NPU, named=True),), {}, "asked for by name"),
    (need(), (NPU,), {"target_backend": "npu"}, "X-Target-Backend names it"),
    (need(), (NPU,), {"efficiency_mode": "Performance"}, "the fastest hardware that is free"),
    (need(), (NPU,), {"efficiency_mode": "UltraEfficiency"}, "draws the least power"),
    (
        need(**LATENCY),
        (replace(NPU, latency_ms=512.0),),
        {},
        "512 ms to its latest results, more than max_latency_ms 300",
    ),
    (need(), (replace(NPU, resting=True),), {}, "it has failed and rests; asked only if nobody else can"),
    (
        need(),
        (replace(NPU, resting=True),),
        {"target_backend": "npu"},
        "it has failed and rests; asked all the same: X-Target-Backend names it",
    ),
    (
        need(**THERMAL),
        (replace(NPU, temperature=90.0),),
        {},
        "90 °C is too hot (max_temperature 80); asked only if nobody else can",
    ),
]


@pytest.mark.parametrize(("what", "conditions", "wishes", "reason"), REASONS, ids=[case[-1] for case in REASONS])
def test_reasons(what: Need, conditions: tuple[Condition, ...], wishes: dict[str, Any], reason: str) -> None:
    assert order(what, Wishes(**wishes), conditions).choices[0].reason == reason


PASSED: list[tuple[Need, Condition, dict[str, Any], tuple[str, str, bool]]] = [
    (need(), replace(NPU, unable="no NPU here"), {}, ("unable", "no NPU here", False)),
    (need("npu"), replace(NPU, unable="no NPU here"), {}, ("unable", "no NPU here", True)),
    (need(**PATH), replace(NPU, unable="no NPU here"), {}, ("unable", "no NPU here", True)),
    (need(), NPU, {"target_backend": "cpu"}, ("unable", "X-Target-Backend forces cpu", False)),
    (need("auto", "large"), NPU, {}, ("unable", "it has tiny, not large", False)),
    (need(), OLLAMA, {}, ("unable", "it is another computer, and the escalation path does not name it", False)),
    (need(), replace(NPU, resting=True), {}, ("resting", "it has failed and rests", True)),
    (need(), replace(NPU, load=1.5), {}, ("busy", "it has as much to do as it takes", True)),
    (need(**THERMAL), replace(NPU, temperature=85.2), {}, ("hot", "85 °C is too hot (max_temperature 80)", True)),
]


@pytest.mark.parametrize(("what", "condition", "wishes", "expected"), PASSED, ids=[case[-1][1] for case in PASSED])
def test_who_is_passed_over_and_why(what: Need, condition: Condition, wishes: dict[str, Any], expected: Any) -> None:
    (passed,) = order(what, Wishes(**wishes), (condition,)).passed
    assert (passed.outcome, passed.reason, passed.expected) == expected


def test_who_would_be_first_at_its_best_is_known():
    assert order(need("cpu"), Wishes(), (NPU, replace(CPU, resting=True))).first == 1
    assert order(need("cpu"), Wishes(), (NPU, replace(CPU, unable="no"))).first == 0
    assert order(need(), Wishes(), ()).first is None


CRITICAL = Need("auto", (), ForwardingPolicy(), latency_critical=True)


@pytest.mark.parametrize(
    ("what", "wishes", "seconds"),
    [
        (need(), {}, None),
        (need(**LATENCY), {}, 0.3),
        (need(**LATENCY), {"max_latency_ms": 400}, 0.2),
        (need(**LATENCY), {"max_latency_ms": 4000}, 0.3),
        (need(), {"max_latency_ms": 400}, None),
        (need(), {"max_latency_ms": 400, "latency_critical": True}, 0.2),
        (CRITICAL, {"max_latency_ms": 400}, 0.2),
        (CRITICAL, {"max_latency_ms": 400, "latency_critical": False}, None),
        (CRITICAL, {}, None),
        (need(**LATENCY), {"priority": "low"}, None),
        (need(**LATENCY), {"priority": "critical"}, 0.3),
        (need(**LATENCY), {"efficiency_mode": "UltraEfficiency"}, None),
        (need(**LATENCY), {"efficiency_mode": "Efficiency"}, 0.3),
    ],
    ids=str,
)
def test_when_the_next_one_is_started_beside_the_first(what: Need, wishes: Any, seconds: float | None) -> None:
    assert hedge_after(what, Wishes(**wishes)) == seconds


@pytest.mark.parametrize(
    ("checked", "mode", "confidence", "sure"),
    [
        (False, "Balanced", 0.1, True),
        (True, "Balanced", 0.79, False),
        (True, "Balanced", 0.8, True),
        (True, "Balanced", None, True),
        (True, "UltraEfficiency", 0.1, True),
        (True, "Performance", 0.1, False),
    ],
)
def test_what_is_sure_enough(checked: bool, mode: Any, confidence: float | None, sure: bool) -> None:
    policy = ForwardingPolicy(enable_confidence_check=checked, min_confidence=0.8)
    assert is_sure(policy, Wishes(efficiency_mode=mode), confidence) is sure


def test_repetitions_wait_longer_each_time_and_end():
    policy = ForwardingPolicy(max_retries=7)
    waits = [retry_after(policy, n, 1.0) for n in range(8)]
    assert waits[:6] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 2.0])
    assert waits[6:] == [2.0, None]
    assert retry_after(policy, 0, 0.0) == pytest.approx(0.05)
    assert retry_after(ForwardingPolicy(), 0, 1.0) is None


def test_what_is_hot_stays_so_until_it_has_cooled():
    policy, hot, seen = ForwardingPolicy(**THERMAL), False, []
    for degrees in (79, 81, 79, 76, 75, 79, 80.1):
        hot = is_hot(policy, degrees, hot)
        seen.append(hot)
    assert seen == [False, True, True, True, False, False, True]
