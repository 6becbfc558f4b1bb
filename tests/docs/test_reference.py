"""The reference holds everything that the code has and nothing else.

That the tables are as the code makes them is checked for every page (``test_pages``); here what they are made of is
held against another source: the running application, the registry of metrics, the source text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_args

import pytest

from pipelines.engines.registry import ENGINES
from pipelines.models.catalogue import load
from pipelines.vision.detectors import DETECTORS
from server.http.app import METRICS
from server.settings import Settings
from tests.fakes.service_events import table
from tools.doc_tables import DOCS, filled
from tools.reference import cli, events, limits, meters
from tools.reference.event_words import LIVE, LIVE_CLIENT, REALTIME, RTVI, RTVI_CLIENT

REFERENCE = DOCS / "reference"


def first_cells(page: str, *, heading: str = "") -> list[str]:
    """What the rows of a page's tables (of those below a heading) are called."""
    text = (REFERENCE / page).read_text("utf-8")
    if heading:
        text = text.partition(f"# {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def test_every_command_and_every_flag_is_there():
    elsewhere = filled("<!-- table cli_engines -->\n<!-- end -->")
    assert elsewhere in (DOCS / "how-to" / "ray.md").read_text("utf-8")
    text = (REFERENCE / "cli.md").read_text("utf-8") + elsewhere
    for name, parser in cli.parsers():
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        flags = {flag for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", parser.format_help()) if flag != "--help"}
        named = set(re.findall(r"^\| `(--[a-z-]+)`", section, re.MULTILINE))
        assert named <= flags, name
        assert not section or flags - named <= set(re.findall(r"--[a-z-]+", section)), name
    names = {name for name, _ in cli.parsers()}
    leaves = {name for name in names if not any(other.startswith(f"{name} ") for other in names)}
    assert set(re.findall(r"^## (.*)", text, re.MULTILINE)) == leaves
    assert set(re.findall(r"\| `(\w+)` \|$", text, re.MULTILINE)) <= set(Settings.model_fields)


async def test_every_route_is_there(serve: Any):
    _, app = await serve()
    served = {
        (method, re.sub(r":[^}]+", "", route.resource.canonical))
        for route in app.router.routes()
        if route.resource is not None and (method := route.method) not in ("HEAD", "OPTIONS", "*")
    }
    named = {tuple(cell.split(" ")) for cell in first_cells("http.md")}
    assert named == served


async def test_every_metric_is_there(serve: Any):
    _, app = await serve()
    registry = app[METRICS].registry
    served = {f"{one.name}_total" if one.type == "counter" else one.name for one in registry.collect()}
    told_elsewhere = {name for name in first_cells("metrics.md") if name.startswith("visavis_cluster_")}
    assert set(first_cells("metrics.md")) - told_elsewhere == {*served, "visavis_worker_ready"}  # which is the front's
    told = {meter.name: meter for meter in meters.found()}
    for family in registry.collect():
        for sample in family.samples:
            labels = set(sample.labels) - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert labels <= set(told[name].labels), name


def test_every_event_of_ours_is_there():
    assert events.sent("server/dialects/openai", REALTIME) == set(REALTIME)
    assert set(kinds_of_messages("server/dialects/openai", "server_event")) <= set(REALTIME)
    assert set(table("Vendor events")) <= set(REALTIME)
    assert set(first_cells("events.md", heading="What the server sends")) == set(REALTIME)


def test_every_event_of_the_service_that_is_named_in_the_source_is_there():
    realtime = pytest.importorskip("openai.types.realtime")
    models = get_args(get_args(realtime.RealtimeServerEvent)[0])
    known = {get_args(model.model_fields["type"].annotation)[0] for model in models}
    assert events.sent("server/dialects/openai", known, whole=True) <= set(REALTIME)
    assert {
        one
        for one in REALTIME
        if not re.match(r"(vision|visavis|turn|engine|recording)\.|session\.(moved|degraded)", one)
    } <= known


def kinds_of_messages(folder: str, maker: str) -> Iterable[str]:
    """What the source text gives to ``maker`` first, in full."""
    for file in (events.ROOT / folder).glob("*.py"):
        yield from re.findall(rf'\b{maker}\(\s*"([\w.-]+)"', file.read_text("utf-8"))


def test_every_message_of_rtvi_is_there():
    assert events.sent("server/dialects/rtvi", RTVI, whole=True) == set(RTVI)
    assert set(kinds_of_messages("server/dialects/rtvi", "message")) <= set(RTVI)
    assert events.handled_by_rtvi() == set(RTVI_CLIENT)


def test_every_event_of_live_is_there():
    assert events.sent("server/dialects/live", LIVE) | {"error"} == set(LIVE)
    assert set(kinds_of_messages("server/dialects/live", "server_event")) <= set(LIVE)
    assert events.handled_by_live() == set(LIVE_CLIENT)


def test_engines_detectors_and_models_are_there():
    text = (REFERENCE / "engines.md").read_text("utf-8").partition("## Detectors")[0]
    assert set(re.findall(r"^\| [a-z]+ \| ([\w.-]+) \|", text, re.M)) == {
        spec.name for spec in ENGINES if not spec.stub
    } | {"engine"}
    assert set(first_cells("engines.md")) == set(DETECTORS)
    assert set(first_cells("catalogue.md")) == {model.id for model in load().models}


def test_limits_are_read_as_people_write_them():
    assert [limits.shown(value) for value in (25 << 20, 1 << 18, 2048, 0.25, 14400.0)] == [
        "25 Mi",
        "256 Ki",
        "2,048",
        "0.25",
        "14,400",
    ]
    assert len(list(limits.found("server"))) > 50
