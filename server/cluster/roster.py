"""What a node knows of the others, and which of all gets the next session. Pure: the clock is passed in."""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Literal

from server.cluster.credentials import VALID_SECONDS, Credentials, ForgedError

LEASE_SECONDS = 5.0
"""For which a node is believed to live that has said so; it says so three times as often."""
TOLD_SECONDS = LEASE_SECONDS + VALID_SECONDS
"""For which a report may be read: as long as its lease, and the clocks of two nodes may differ by the rest."""
REMEMBERED_SECONDS = 60.0
"""For which a node is still asked for its sessions whose lease has ended: it may only have lost the registry."""
SPARED_SECONDS = LEASE_SECONDS
"""For which a node gets no session that could not be reached."""
FULL_LEVEL = 4
"""Of load: no more sessions are taken."""

State = Literal["ready", "draining", "gone"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a node tells of itself with its lease."""

    name: str
    address: str
    capacity: int
    """Sessions that there may be."""
    used: int
    level: int = 0
    """How loaded it is besides: 0 not at all, 4 takes no session."""
    delay_ms: float = 0.0
    """How late its event loop is."""
    draining: bool = False
    workers: int = 1
    number: int = 0
    """Of this report, so that two can be told apart."""
    begun: int = 0
    """Sessions since its start."""
    started: float = 0.0
    """When the node was started, in Unix seconds by its own clock."""
    told_at: float = 0.0
    """When it told this, as well."""

    @property
    def order(self) -> tuple[float, int]:
        """The larger, the newer: of one node."""
        return self.started, self.number

    def to_text(self, credentials: Credentials) -> str:
        """As it is kept in the registry: signed, as the nodes send keys to the address in it."""
        text = json.dumps(asdict(self), separators=(",", ":"))
        return f"{credentials.mac('lease', text)} {text}"


def read_report(text: str, credentials: Credentials) -> Report:
    """Raises :class:`ForgedError` for what no node of this cluster has written, or not now: whoever may write to the
    registry can put back what was there long ago, and the nodes send keys to the address in it."""
    mac, _, plain = text.partition(" ")
    if not hmac.compare_digest(credentials.mac("lease", plain).encode(), mac.encode("utf-8", "surrogateescape")):
        raise ForgedError("a lease that was signed by no node of this cluster")
    try:
        told = json.loads(plain)
        report = Report(**{name: told[name] for name in Report.__dataclass_fields__})
        late = credentials.since(report.told_at)
    except (ValueError, TypeError, KeyError) as error:
        raise ForgedError("the lease of a node of another version") from error
    if abs(late) > TOLD_SECONDS:
        raise ForgedError(f"node {report.name} told of itself {late:.0f} s ago by its clock; are the clocks right?")
    return report


@dataclass(slots=True)
class Peer:
    """A node, as it told last."""

    report: Report
    gone_since: float | None = None
    """When its lease was found to have ended."""
    spared_until: float = 0.0
    """It could not be reached a moment ago."""
    coming: list[int] = field(default_factory=list)
    """Sessions that it was sent and may not have told of: the number of its report then."""
    heard: float = 0.0
    """When the report was read first."""

    @property
    def used(self) -> int:
        """Sessions, those included that are on their way."""
        return self.report.used + len(self.coming)

    @property
    def state(self) -> State:
        """For people."""
        if self.gone_since is not None:
            return "gone"
        return "draining" if self.report.draining else "ready"

    def takes(self, now: float) -> bool:
        """Whether it is worth asking it for a session."""
        report = self.report
        is_here = self.gone_since is None and self.spared_until <= now
        return is_here and not report.draining and report.level < FULL_LEVEL and report.used < report.capacity

    def rank(self, own: bool) -> tuple[int, float, int, bool, str]:
        """The smaller, the sooner it gets the next session: the least loaded, of these the one with the largest share
        of its places free."""
        report = self.report
        return report.level, self.used / max(1, report.capacity), self.used, not own, report.name


class Roster:
    """All nodes but ``own``, which is this one's name."""

    def __init__(self, own: str) -> None:
        self.own = own
        self._peers: dict[str, Peer] = {}

    def told(self, reports: Iterable[Report], now: float) -> None:
        """All leases there are. One that is older than what is known of its node, or has been told for longer than a
        lease lasts, is none: somebody else has put it back."""
        here = {report.name: report for report in reports if report.name != self.own and self._is_news(report, now)}
        for name, report in here.items():
            peer = self._peers.setdefault(name, Peer(report, heard=now))
            if report.order != peer.report.order:
                peer.heard = now
            if report.number != peer.report.number or report.address != peer.report.address:
                # Those that have begun are in the report; of two newer reports one was made after the session began.
                begun = max(0, report.begun - peer.report.begun)
                peer.coming = [since for since in peer.coming[begun:] if 0 <= report.number - since < 2]
            if peer.gone_since is not None:  # it stood still, or was started anew
                peer.coming, peer.spared_until = [], 0.0
            peer.report, peer.gone_since = report, None
        for name, peer in list(self._peers.items()):
            if name not in here:
                peer.gone_since = now if peer.gone_since is None else peer.gone_since
                if now - peer.gone_since > REMEMBERED_SECONDS:
                    del self._peers[name]

    def _is_news(self, report: Report, now: float) -> bool:
        peer = self._peers.get(report.name)
        if peer is None or report.order > peer.report.order:
            return True
        return report.order == peer.report.order and now - peer.heard <= LEASE_SECONDS

    @property
    def peers(self) -> list[Peer]:
        """By name."""
        return [self._peers[name] for name in sorted(self._peers)]

    def find(self, name: str) -> Peer | None:
        """A node that is or was there; ``None`` for one that nobody knows, or this one."""
        return self._peers.get(name)

    def best(self, own: Report, now: float, tried: Collection[str] = ()) -> Report | None:
        """The node for the next session, of those that have not been ``tried``; ``None``: none has room."""
        choice = [Peer(own), *self._peers.values()]
        here = [peer for peer in choice if peer.report.name not in tried and peer.takes(now)]
        # What is on its way may be counted twice for a moment: before all is said to be full, they are asked.
        free = [peer for peer in here if peer.used < peer.report.capacity] or here
        best = min(free, key=lambda peer: peer.rank(peer.report.name == self.own), default=None)
        return best.report if best is not None else None

    def sent(self, name: str) -> None:
        """A session begins there."""
        if (peer := self._peers.get(name)) is not None:
            peer.coming.append(peer.report.number)

    def refused(self, name: str) -> None:
        """It did not."""
        if (peer := self._peers.get(name)) is not None and peer.coming:
            peer.coming.pop()

    def unreachable(self, name: str, now: float) -> None:
        """It could not be reached."""
        if (peer := self._peers.get(name)) is not None:
            peer.spared_until = now + SPARED_SECONDS
