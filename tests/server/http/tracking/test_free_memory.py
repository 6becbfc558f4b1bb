"""What engines may still take: what the machine has left, within ``memory_mb``."""

from __future__ import annotations

from types import SimpleNamespace

from pipelines.models.residency import Residency
from server.http.tracking.start import AVAILABLE, free_memory
from server.observability.history.series import key


def test_the_smaller_of_what_the_machine_has_and_what_the_setting_leaves():
    history = SimpleNamespace(latest={AVAILABLE: 1000.0 * (1 << 20)})
    assert free_memory(history, None, Residency()) == 1000 << 20
    history.latest[key("visavis_engine_resident_bytes", engine="llama.cpp")] = 300.0 * (1 << 20)
    assert free_memory(history, 400, Residency()) == 100 << 20
    assert free_memory(SimpleNamespace(latest={}), None, Residency()) is None
