"""What Prometheus is told of the cluster by each of its nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from server.cluster.door import Door
from server.cluster.membership import Membership
from server.cluster.writer import Writer


def families(membership: Membership, door: Door) -> Iterable[Metric]:
    """Of a node."""
    up = float(membership.connected)
    yield GaugeMetricFamily("visavis_cluster_registry_up", "Whether the registry of nodes answers", up)
    states = Counter(peer.state for peer in membership.roster.peers)
    states["draining" if membership.draining else "ready"] += 1
    nodes = GaugeMetricFamily("visavis_cluster_nodes", "Nodes that this one knows, itself included", labels=["state"])
    for state in ("ready", "draining", "gone"):
        nodes.add_metric([state], states[state])
    yield nodes
    passed = CounterMetricFamily(
        "visavis_cluster_passed_on", "Requests that were for other nodes, by their end", labels=["result"]
    )
    for result in ("answered", "refused", "unreachable", "redirected"):
        passed.add_metric([result], door.passed[result])
    yield passed


def written(writer: Writer) -> Iterable[Metric]:
    """Of a process with sessions."""
    waiting = float(writer.waiting)
    yield GaugeMetricFamily("visavis_cluster_writes_waiting", "What waits to be kept for other nodes", waiting)
    words = "What was not kept for other nodes, as too much waited"
    yield CounterMetricFamily("visavis_cluster_writes_dropped", words, writer.dropped)
