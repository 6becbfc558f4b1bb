"""Where temperatures come from, on a machine of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.runtime.temperature import KEPT_SECONDS, Sensors, hottest, zones
from tests.fakes.clock import FakeClock


def zone(root: Path, number: int, kind: str, temp: str | None) -> Path:
    folder = root / f"sys/class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "type").write_text(f"{kind}\n")
    if temp is not None:
        (folder / "temp").write_text(f"{temp}\n")
    return folder


def test_zones_are_read_and_those_that_say_nothing_sensible_left_out(tmp_path: Path) -> None:
    for number, (kind, temp) in enumerate(
        [("acpitz", "27800"), ("x86_pkg_temp", "61000"), ("x86_pkg_temp", "64500"), ("iwlwifi_1", "-274000"),
         ("broken", "hot"), ("asleep", None), ("hoax", "900000")]
    ):  # fmt: skip
        zone(tmp_path, number, kind, temp)
    assert zones(tmp_path / "sys/class/thermal") == {"acpitz": 27.8, "x86_pkg_temp": 64.5}
    assert zones(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("found", "degrees"),
    [
        ({"acpitz": 27.8, "x86_pkg_temp": 64.5}, 64.5),
        ({"acpitz": 27.8, "iwlwifi_1": 50.0}, 27.8),
        ({"cpu0-thermal": 50.0, "cpu1-thermal": 55.0, "gpu-thermal": 70.0}, 55.0),
        ({"iwlwifi_1": 50.0}, None),
        ({}, None),
    ],
)
def test_the_sensor_nearest_to_the_processor_counts(found: dict[str, float], degrees: float | None) -> None:
    assert hottest(found) == degrees


def test_a_reading_is_kept_for_a_while(tmp_path: Path) -> None:
    clock = FakeClock()
    sensors = Sensors(tmp_path, clock)
    assert sensors("cpu") is None
    folder = zone(tmp_path, 0, "k10temp", "50000")
    clock.advance(KEPT_SECONDS + 0.1)
    assert sensors("cpu") == sensors("npu") == 50.0
    (folder / "temp").write_text("70000")
    assert sensors("igpu") == 50.0
    clock.advance(KEPT_SECONDS + 0.1)
    assert sensors("cpu") == 70.0
    assert sensors("remote") is None
