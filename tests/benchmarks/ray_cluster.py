"""A real Ray cluster of two nodes on this machine: loopback only, no dashboard, nothing told to anybody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.engines.remote.calls import app_name, deployed
from pipelines.engines.remote.rows import Place, Row
from pipelines.engines.remote.serving import application
from tests.fakes.ray_engines import BUILD

ROOT = Path(__file__).parents[2]
APPLICATION = "bench"
STORE_BYTES = 80 << 20
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Without it Ray takes no loopback address for a node."""


class TwoNodes:
    """A head and another node, and this process as a driver that deploys."""

    def __init__(self, cluster: Any, far: Any) -> None:
        self.address: str = cluster.address
        self.head_node_id: str = cluster.head_node.node_id[:8]
        self.begun: set[int] = set()
        """Processes that may outlive the node that began them."""
        self._cluster = cluster
        self._far = far

    async def deploy(self, build: str = BUILD, **row: Any) -> None:
        """One engine; returns when it serves."""
        from ray import serve

        told = Row.model_validate({"cpus": 0.1, "health_seconds": 1, "drain_seconds": 0, **row})
        name = app_name(APPLICATION, told.stage)
        await asyncio.to_thread(
            serve.run, application(told, Place(download=False), build), name=name, route_prefix=None
        )

    async def running(self, stage: str) -> int:
        """How many replicas of it work."""
        rows = await asyncio.to_thread(deployed, APPLICATION)
        return rows[stage].running if stage in rows else 0

    async def until(self, stage: str, replicas: int, seconds: float = 60.0) -> bool:
        """Wait until so many replicas work; whether they do in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while await self.running(stage) != replicas:  # noqa: ASYNC110 (nobody tells)
                    await asyncio.sleep(0.2)
                return True
        return False

    async def lose_node(self) -> None:
        """The other node is gone at once, with all that ran on it."""
        self.begun |= _descendants(os.getpid())
        await asyncio.to_thread(self._cluster.remove_node, self._far, False)

    def lose_head(self) -> None:
        """What holds the cluster together is gone."""
        self._cluster.head_node.kill_gcs_server()


@contextlib.contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Start it, and end all of its processes."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT), LOOPBACK: "0"}
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    common = {"num_cpus": 8, "num_gpus": 0, "object_store_memory": STORE_BYTES, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(initialize_head=True, head_node_args={**common, "include_dashboard": False})
    nodes: TwoNodes | None = None
    try:
        far = cluster.add_node(**common)
        ray.init(address=cluster.address, namespace="bench", log_to_driver=False, logging_level=logging.ERROR)
        serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        nodes = TwoNodes(cluster, far)
        yield nodes
    finally:
        begun = _descendants(os.getpid()) | (nodes.begun if nodes is not None else set())
        with contextlib.suppress(Exception):
            ray.shutdown()
        cluster.shutdown()
        for pid in begun:
            if b"ray" in _words(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _words(pid: int) -> bytes:
    """How a process was called; empty of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _descendants(pid: int) -> set[int]:
    """The processes that ``pid`` has begun, and they."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.add(child)
            waiting.append(child)
    return found
