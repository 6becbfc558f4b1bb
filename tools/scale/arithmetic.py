"""The plain arithmetic: means times means. :mod:`tools.scale.simulation` tells where it is wrong."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tools.scale.costs import Costs, Machines, People


@dataclass(frozen=True, slots=True)
class Plan:
    """What so many sessions take, on the mean."""

    sessions: int
    turns: float
    """A second."""
    media: float
    ears: float
    mind: float
    voice: float
    """Cores of each stage, were all of it done on processors."""
    processes: int
    nodes: int
    """Machines for the media alone, at the load that is planned for."""
    memory_gib: float
    """Of sessions and processes."""
    mbit: float
    packets: float
    """A second, one way, without pictures."""
    relay_mbit: float
    """In and out of TURN servers, both ways."""
    offers: float
    """A second."""
    offer_cores: float
    camera_cores: float
    """More, if everybody had a camera that is looked at and sent back."""
    storm: float
    """Seconds until all sessions of a lost node are back."""


def per_node(costs: Costs, machines: Machines) -> int:
    """Sessions that a node of media carries."""
    return int(machines.cores * machines.load / costs.media)


def plan(sessions: int, costs: Costs, people: People, machines: Machines) -> Plan:
    """For so many sessions at a time."""
    turns, offers = sessions / people.turn, sessions / people.call
    media = sessions * costs.media
    processes = math.ceil(media / machines.loop)
    kbit = sessions * machines.kbit
    node = per_node(costs, machines)
    return Plan(
        sessions=sessions,
        turns=turns,
        media=media,
        ears=turns * people.heard * costs.ears * costs.partials,
        mind=turns * people.tokens / costs.mind,
        voice=turns * people.spoken * costs.voice,
        processes=processes,
        nodes=math.ceil(sessions / node),
        memory_gib=(sessions * costs.memory + processes * costs.resident) / 1024,
        mbit=kbit / 1000,
        packets=sessions * 50,
        relay_mbit=2 * people.relayed * kbit / 1000 * 2,
        offers=offers,
        offer_cores=offers * costs.connect,
        camera_cores=sessions * (costs.camera + people.looks * costs.look),
        storm=min(sessions, node) / machines.reconnects,
    )
