"""Every metric that the dashboard shows is one that the server has, with the labels that it is grouped by."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from pipelines.routing.run import Attempt, StageRecord
from server.http.app import METRICS
from server.http.tracking.start import CATCHER, SCALER
from server.observability.history.series import SERIES
from tests.server.http.pipelines.test_routes import PCM, RAW, posted

ROOT = Path(__file__).parents[4]
DASHBOARD = ROOT / "docs" / "grafana" / "visavis.json"
ALERTS = ROOT / "deploy" / "monitor" / "alerts.yaml"
NAME = re.compile(r"\b(?:pipeline_(?:stage|forward|total)|visavis|process)_[a-z_]+")
FIXED = {
    "pipeline_stage_duration_ms": {"stage", "backend"},
    "pipeline_stage_confidence": {"stage"},
    "pipeline_forward_count": {"from", "to"},
    "pipeline_total_latency_ms": {"pipeline"},
}


def shown() -> list[str]:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alerts() -> list[str]:
    (group,) = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule["expr"] for rule in group["rules"]]


async def test_every_metric_of_the_dashboard_and_of_the_alerts_exists(house):
    http = await house()
    response, body = await posted(http, "voice", PCM, **RAW)
    assert response.status == 200, body
    metrics = house.app()[METRICS]
    record = StageRecord("think", "text_generation", started=0.0, ended=0.2)
    record.attempts = [
        Attempt("cpu", "cpu", "small", "", "unsure", confidence=0.3, seconds=0.1),
        Attempt("far", "remote", "large", "", "served", confidence=0.9, seconds=0.1),
    ]
    metrics.observe_run(house.pipeline("voice"), [record], 0.3)
    house.app()[SCALER].changes["vision", "grown"] += 1
    house.app()[CATCHER].kinds["ValueError"] += 1
    async with http.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    samples = [line for line in lines if not line.startswith("#")]
    labels: dict[str, set[str]] = {}
    for line in lines:  # what nothing has been measured of yet, but would be
        if line.startswith("# TYPE "):
            name = line.split()[2]
            labels[name] = set(SERIES[name].labels) if name in SERIES else set()
    for sample in samples:
        name, _, rest = sample.partition("{")
        labels.setdefault(name.split(" ")[0], set()).update(re.findall(r'(\w+)="', rest))
    expressions = [*shown(), *alerts()]
    named = {name for expression in expressions for name in NAME.findall(expression)}
    assert named - labels.keys() == set()
    for name, wanted in FIXED.items():
        assert any(one.startswith(name) for one in named), f"{name} is not shown"
        found = labels.get(f"{name}_count", labels.get(name, set()))
        assert found == wanted, name
    for expression in expressions:
        for group, name in re.findall(r"sum by \(([\w, ]+)\) \((?:rate|increase)\((\w+)", expression):
            assert {one.strip() for one in group.split(",")} <= labels[name], expression
    assert 'visavis_pipeline_runs_total{outcome="completed"} 1.0' in samples


async def test_the_alert_of_unexpected_errors_sees_the_first(house):
    """Prometheus sees no increase in a series that begins with its first one."""
    http = await house()
    async with http.get("/metrics") as answer:
        assert "visavis_unexpected_errors_total 0.0" in (await answer.text()).splitlines()
    assert "increase(visavis_unexpected_errors_total[1h]) > 0" in alerts()


@pytest.mark.parametrize("name", sorted(FIXED))
def test_the_page_tells_of_it(name):
    assert name in (DASHBOARD.parents[1] / "reference" / "pipelines-http.md").read_text("utf-8")
