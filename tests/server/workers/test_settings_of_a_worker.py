"""What of the machine each of several workers is given."""

from __future__ import annotations

import pytest

from server.cli.serve_workers import _of_a_worker
from server.settings import SettingsError, load_settings


def test_memory_is_divided_among_workers() -> None:
    given = load_settings({"workers": 4, "memory_mb": 6000, "phrase_cache_mb": 42, "vision_threads": 3})
    one = _of_a_worker(given, 1, 4, {"grpc_port": 5})
    assert (one.memory_mb, one.phrase_cache_mb) == (1500, 10)
    assert (one.workers, one.vision_threads, one.grpc_port) == (1, 3, 5)
    usual = _of_a_worker(load_settings({"workers": 2}), 1, 2, {})
    assert (usual.memory_mb, usual.phrase_cache_mb) == (None, 16)


def test_no_worker_gets_less_than_a_setting_may_be() -> None:
    small = _of_a_worker(load_settings({"workers": 8, "phrase_cache_mb": 4, "memory_mb": 512}), 1, 8, {})
    assert (small.phrase_cache_mb, small.memory_mb) == (1, 64)
    assert _of_a_worker(load_settings({"workers": 8, "phrase_cache_mb": 0}), 1, 8, {}).phrase_cache_mb == 0
    with pytest.raises(SettingsError, match=r"memory_mb: must be at least 512 for 8 workers \(64 for each\), not 511"):
        _of_a_worker(load_settings({"workers": 8, "memory_mb": 511}), 1, 8, {})
