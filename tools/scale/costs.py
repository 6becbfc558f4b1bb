"""What one session and one turn cost, as it was measured, and how people are supposed to talk."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _cost(default: float, unit: str, what: str, source: str) -> Any:
    return field(default=default, metadata={"unit": unit, "what": what, "source": source})


@dataclass(frozen=True, slots=True)
class Costs:
    """Of the two-core test machines; cores are theirs. ``source`` is the command that measures it again."""

    media: float = _cost(
        0.039, "cores", "a session: packets, Opus, voice activity, turn-taking", "`compare.py --scenarios capacity`"
    )
    memory: float = _cost(4.0, "MiB", "a session", "`compare.py --scenarios capacity`")
    resident: float = _cost(1420.0, "MiB", "a process with all models that come by themselves", "`parts.py`")
    descriptors: float = _cost(2.0, "", "a session: open files", "`soak.py`")
    tasks: float = _cost(23.0, "", "a session: tasks of asyncio", "`soak.py`")
    ears: float = _cost(0.029, "cores", "recognition, by the length of what is heard (Moonshine)", "`ears.py`")
    partials: float = _cost(3.0, "times", "recognition with the texts shown meanwhile", "`whisper.py`: 7–8 for 5 s")
    together: float = _cost(0.22, "times", "one more final transcript of 2 s in a batch, of one alone", "`whisper.py`")
    mind: float = _cost(40.0, "tokens/s", "SmolLM2-135M on one thread of llama.cpp", "`llama.py`")
    voice: float = _cost(0.06, "cores", "speech, by the length of what is spoken (Piper)", "`same_models.py`")
    connect: float = _cost(
        0.21, "core-s", "an offer, the connection, a word and the end", "`many_calls.py --calls 100 --killed 0`"
    )
    start: float = _cost(7.0, "s", "a server on a machine that runs already", "`make run` the second time")
    camera: float = _cost(0.126, "cores", "a camera at 30 pictures a second, decoded and sent back", "`video.py delay`")
    look: float = _cost(0.016, "core-s", "one look for faces and hands", "`detectors.py`")


@dataclass(frozen=True, slots=True)
class People:
    """Assumptions, not measurements: change them to what yours do."""

    call: float = 300.0
    """Seconds of a call, on the mean."""
    turn: float = 10.0
    """Seconds from one turn of the user to the next."""
    heard: float = 5.0
    spoken: float = 6.0
    """Seconds of speech in a turn, of the user and of the assistant."""
    tokens: float = 60.0
    relayed: float = 0.15
    """Share of calls that go through TURN."""
    looks: float = 10.0
    """A second, of a session with a camera."""


@dataclass(frozen=True, slots=True)
class Machines:
    """What is to carry them."""

    cores: int = 32
    load: float = 0.6
    """Share of a machine's cores that is planned to be used."""
    loop: float = 0.8
    """Cores of media that one process fills: an event loop is one core, and needs some of it free."""
    kbit: float = 52.0
    """Of a voice, one way: 32 kbit/s of Opus and 50 times 50 bytes of headers."""
    reconnects: float = 50.0
    """A second that are let in after a node is lost."""
    cell: int = 10_000
    """Sessions that share a registry and a front."""


def rows() -> list[tuple[str, str, str]]:
    """What, figure and source of each cost."""
    costs = Costs()
    return [
        (one.metadata["what"], f"{getattr(costs, one.name):g} {one.metadata['unit']}".strip(), one.metadata["source"])
        for one in fields(costs)
    ]
