"""Two worker processes behind a front: their history and their errors as one."""

from __future__ import annotations

import asyncio
import sys

import pytest

from server.http.openapi.tracking import ErrorList, HistoryAnswer
from tests.loopback.test_workers import workers

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform == "win32", reason="needs Unix sockets")]
QUERY = {
    "series": "process_resident_memory_bytes,visavis_sessions,visavis_machine_cpu_share",
    "from": "-600",
    "step": "5",
}


async def test_the_front_tells_of_each_worker_and_of_all(tmp_path):
    folders = {"history_folder": str(tmp_path / "history"), "error_reports": str(tmp_path / "errors")}
    async with workers(tmp_path, **folders) as (_, http, _), asyncio.timeout(60):
        found: dict[tuple[str, str], list[float]] = {}
        while {"1", "2", "front", "all"} - {worker for _, worker in found}:  # until each has sampled itself
            response = await http.get("/v1/history", params=QUERY)
            assert response.status == 200
            told = HistoryAnswer.model_validate(await response.json())
            found = {
                (row.name, row.labels["worker"]): [value for value in row.values if value is not None]
                for row in told.series
                if any(value is not None for value in row.values)
            }
            if ("process_resident_memory_bytes", "1") not in found:
                found = {}
        memory = {worker: max(values) for (name, worker), values in found.items() if "memory" in name}
        assert memory["all"] > max(memory["1"], memory["2"], memory["front"])
        assert {worker for name, worker in found if "machine" in name} == {"front"}, "it is told once"
        listed = await (await http.get("/v1/history")).json()
        assert {row["labels"]["worker"] for row in listed["data"]} == {"front", "1", "2"}
        refused = await http.get("/v1/history", params={"series": "cpu"})
        assert (refused.status, (await refused.json())["error"]["param"]) == (400, "series")
        errors = ErrorList.model_validate(await (await http.get("/v1/errors")).json())
        assert errors.enabled
