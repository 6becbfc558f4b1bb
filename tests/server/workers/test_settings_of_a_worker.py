"""What of the machine each of several workers is given."""

from __future__ import annotations

from server.cli.serve_workers import _of_a_worker
from server.settings import load_settings


def test_memory_is_divided_among_workers() -> None:
    given = load_settings({"workers": 4, "memory_mb": 6000, "phrase_cache_mb": 42, "vision_threads": 3})
    one = _of_a_worker(given, 1, 4, {"grpc_port": 5})
    assert (one.memory_mb, one.phrase_cache_mb) == (1500, 10)
    assert (one.workers, one.vision_threads, one.grpc_port) == (1, 3, 5)
    usual = _of_a_worker(load_settings({"workers": 2}), 1, 2, {})
    assert (usual.memory_mb, usual.phrase_cache_mb) == (None, 16)
