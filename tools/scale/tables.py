"""The tables of ``docs/explain/scale.md``, each made of the costs and, for some, of a simulation.

The page marks where they stand: ``<!-- scale NAME -->`` … ``<!-- end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.scale.arithmetic import Plan, per_node, plan
from tools.scale.costs import Costs, Machines, People, rows
from tools.scale.simulation import Growth, batched, demand, places, queue, relayed, scaling, storm

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "scale.md"
SIZES = (1_000, 100_000)
SERVERS, LOADS = (1, 2, 8, 32, 64), (0.5, 0.6, 0.7, 0.8, 0.9)
SEED = 20
Table = list[tuple[str, ...]]


def costs() -> Table:
    """What was measured."""
    return [("cost of", "measured", "again with"), *rows()]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def arithmetic() -> Table:
    """The plan for each size."""
    plans = [plan(size, Costs(), People(), Machines()) for size in SIZES]
    lines: list[tuple[str, Callable[[Plan], str]]] = [
        ("turns a second", lambda one: _number(one.turns)),
        ("cores: media", lambda one: _number(one.media)),
        ("cores: recognition, with partial texts", lambda one: _number(one.ears)),
        ("cores: SmolLM2-135M (or a GPU)", lambda one: _number(one.mind)),
        ("cores: speech", lambda one: _number(one.voice)),
        ("processes for the media", lambda one: _number(one.processes)),
        ("nodes of 32 cores for the media, at 60 % load", lambda one: _number(one.nodes)),
        ("memory, GiB, each process with models of its own", lambda one: _number(one.memory_gib)),
        ("voices on the wire, Mbit/s each way", lambda one: _number(one.mbit)),
        ("packets a second each way", lambda one: _number(one.packets)),
        ("through TURN, Mbit/s in and out", lambda one: _number(one.relay_mbit)),
        ("offers a second, and cores for them", lambda one: f"{_number(one.offers)}, {_number(one.offer_cores)}"),
        ("cores more, if everybody has a camera", lambda one: _number(one.camera_cores)),
        ("seconds until a lost node's sessions are back", lambda one: _number(one.storm)),
    ]
    return [("sessions", *(f"{size:,}" for size in SIZES)), *((name, *map(tell, plans)) for name, tell in lines)]


def demands(seconds: float = 120.0) -> Table:
    """Arithmetic and simulation, stage by stage."""
    told: Table = [("sessions", "stage", "cores by arithmetic", "simulated", "all but 1 % of the time")]
    people, each = People(), Costs()
    for size in SIZES:
        whole = plan(size, each, people, Machines())
        stages = {
            "recognition": (whole.ears, people.heard * each.ears * each.partials),
            "language model": (whole.mind, people.tokens / each.mind),
            "speech": (whole.voice, people.spoken * each.voice),
        }
        for n, (name, (cores, service)) in enumerate(stages.items()):
            mean, most = demand(whole.turns, service, seconds, SEED + n)
            told.append((f"{size:,}", name, f"{cores:,.0f}", f"{mean:,.0f}", f"{most:,.0f}"))
    return told


def waits(turns: int = 100_000) -> Table:
    """Queueing by load and number of servers."""
    head = ("servers", *(f"{load:.0%} load".replace("%", " %") for load in LOADS))
    lines = []
    for servers in SERVERS:
        found = [queue(servers, load, turns, SEED) for load in LOADS]
        lines.append((str(servers), *(f"{one.mean:.2f} / {one.p95:.1f}" for one in found)))
    return [head, *lines]


def batches(turns: int = 60_000) -> Table:
    """One recogniser, with and without batches, at the same arrivals."""
    each = Costs().together
    one_rate = 1.0
    told: Table = [("arrivals, as a share of what one at a time does", "one at a time", "batches of up to 8")]
    for load in (0.5, 0.8, 0.95, 1.5, 2.5):
        alone = batched(1, 1.0, each, load * one_rate, turns, SEED) if load < 1 else None
        full = 8 / (1 + 7 * each)
        together = batched(8, 1.0, each, load / full, turns, SEED)
        shown = f"{alone[0]:.1f} / {alone[1]:.1f}" if alone is not None else "grows for ever"
        told.append((f"{load:g}", shown, f"{together[0]:.1f} / {together[1]:.1f}"))
    return told


def peaks(hours: float = 24.0) -> Table:
    """Places that Poisson calls want."""
    told: Table = [("sessions on the mean", "hours", "most at a time", "more than the mean")]
    for size, share in ((20, 1.0), (492, 1.0), (1_000, 1.0), (10_000, 0.25), (100_000, 0.05)):
        long = max(1.0, hours * share)
        most, _ = places(size, People().call, long, SEED)
        told.append((f"{size:,}", f"{long:g}", f"{most:,}", f"{most / size - 1:.1%}".replace("%", " %")))
    return told


def storms() -> Table:
    """A lost node."""
    lost, rate = per_node(Costs(), Machines()), Machines().reconnects
    told: Table = [("jitter, s", "half are back after, s", "99 % after, s", "refusals for each")]
    for jitter in (0, 2, 5, 10, 20):
        half, most, refused = storm(lost, rate, jitter, SEED)
        told.append((str(jitter), f"{half:.0f}", f"{most:.0f}", f"{refused:.2f}"))
    return told


def growths() -> Table:
    """Calls that double while machines are still starting."""
    node, delays = per_node(Costs(), Machines()), (7, 60, 180, 300)
    told: Table = [("doubled within, s", "planned load", *(f"a node takes {delay} s" for delay in delays))]
    for seconds in (300, 60):
        for planned in (0.6, 0.8, 0.9):
            shares = [scaling(Growth(node, planned, delay, seconds), SEED) for delay in delays]
            told.append((str(seconds), f"{planned:.0%}".replace("%", " %"), *(f"{100 * x:.1f} %" for x in shares)))
    return told


def relays() -> Table:
    """TURN servers."""
    told: Table = [("sessions", "TURN servers", "the busiest, over the mean")]
    for size, servers in ((1_000, 1), (1_000, 4), (100_000, 4), (100_000, 16)):
        told.append((f"{size:,}", str(servers), f"{relayed(size, People().relayed, servers, 24, SEED):.2f}"))
    return told


EXACT: dict[str, Callable[[], Table]] = {"costs": costs, "arithmetic": arithmetic}
"""Made of the costs alone."""
SIMULATED: dict[str, Callable[[], Table]] = {
    "demands": demands, "waits": waits, "batches": batches, "peaks": peaks, "storms": storms, "growths": growths,
    "relays": relays,
}  # fmt: skip


def markdown(table: Sequence[Sequence[str]]) -> str:
    """A table of Markdown; its first row is the head."""
    head, *body = table
    lines = [head, tuple("---" for _ in head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def read(text: str, name: str) -> Table:
    """The table of this name as it stands on the page."""
    found = re.search(rf"<!-- scale {name} -->\n(.*?)\n<!-- end -->", text, re.DOTALL)
    if found is None:
        raise ValueError(f"the page has no table {name}")
    lines = [tuple(cell.strip() for cell in line.strip("| ").split(" | ")) for line in found[1].strip().splitlines()]
    return [lines[0], *lines[2:]]


def written(text: str) -> str:
    """The page with all tables made anew."""
    for name, make in (EXACT | SIMULATED).items():
        new = f"<!-- scale {name} -->\n{markdown(make())}\n<!-- end -->"
        text = re.sub(rf"<!-- scale {name} -->\n.*?<!-- end -->", lambda _, new=new: new, text, flags=re.DOTALL)
    return text
