"""What the documentation says of settings, engines and detectors is what they are, and the tables hold together."""

from __future__ import annotations

from pkgutil import resolve_name

import pytest

from pipelines.engines.registry import ENGINES, TASKS, stage_of
from pipelines.models.catalogue import load
from pipelines.vision.detectors import DETECTORS
from server.settings import Settings
from tools.doc_tables import DOCS, filled


def test_every_setting_is_documented():
    text = (DOCS / "reference" / "settings.md").read_text("utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(Settings.model_fields), "each once"


@pytest.mark.parametrize("file", ["how-to/write-an-engine.md", "reference/pipelines.md", "reference/vision.md"])
def test_the_tables_are_those_of_the_code(file):
    text = (DOCS / file).read_text("utf-8")
    assert "<!-- table" in text
    assert filled(text) == text, "python -m tools.doc_tables"


def test_what_the_tables_name_is_there():
    for spec in ENGINES:
        assert not spec.build or callable(resolve_name(spec.build))
        assert ":" not in spec.reads or callable(resolve_name(spec.reads))
    for row in DETECTORS.values():
        assert callable(resolve_name(row.open))
        assert set(row.brings) <= set(DETECTORS)


def test_every_model_of_a_stage_has_an_engine_and_every_detector_its_models():
    models = {model.id: model for model in load().models}
    for model in models.values():
        stage = stage_of(model.task)
        if stage in TASKS:
            assert [spec for spec in ENGINES if spec.stage == stage and model.requires in spec.packages[:1]], model.id
    for row in DETECTORS.values():
        assert row.models[0] in models
        assert row.task in {models[model_id].task for model_id in row.models}
