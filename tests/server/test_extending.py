"""The examples of ``docs/how-to/write-an-engine.md``, as they stand: each is a file and a row that everything knows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import aiohttp
import numpy as np
import pytest

import pipelines.engines.mediapipe as mediapipe_package
import pipelines.engines.stt as stt_package
from media.frames import Picture
from media.opus import RATE
from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.engines.registry import ENGINES, EngineSpec
from pipelines.models.store import ModelStore
from pipelines.routing.definition import load
from pipelines.vision.detectors import DETECTORS, DetectorSpec
from pipelines.vision.overlay import draw
from server.cli.doctor.diagnosis import diagnose
from server.cli.main import main
from server.dialects.openai.vision import VisionPatch
from server.engines.parts import Parts
from server.engines.stages import stt
from server.engines.vision import vision
from server.settings import load_settings
from tests.conftest import fake_engines
from tests.fakes.engines import FakeModel
from tests.fakes.peer import Peer, loud
from tests.server.cli.test_doctor import FACTS
from tools.doc_tables import DOCS

_FILE = re.compile(
    r"The file is `([\w/]+)\.py`:\n\n```python\n(.*?)```\n\nIts row, .*?:\n\n```python\n(.*?)```", re.DOTALL
)
EXAMPLES = {
    path.rpartition("/")[2]: (path, code, row)
    for path, code, row in _FILE.findall((DOCS / "how-to" / "write-an-engine.md").read_text("utf-8"))
}


def written(name: str, package: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put the example's file where it belongs, as far as Python can tell; returns its module."""
    path, code, _ = EXAMPLES[name]
    (tmp_path / f"{name}.py").write_text(code, "utf-8")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    module = path.replace("/", ".")
    assert module == f"{package.__name__}.{name}"
    return module


@pytest.fixture
def stopwatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The recogniser, with its row."""
    module = written("stopwatch", stt_package, tmp_path, monkeypatch)
    row = eval(EXAMPLES["stopwatch"][2], {"EngineSpec": EngineSpec})
    ENGINES.append(row)
    yield
    ENGINES.remove(row)
    sys.modules.pop(module, None)


@pytest.fixture
def brightest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The detector, with its row."""
    module = written("brightest", mediapipe_package, tmp_path, monkeypatch)
    monkeypatch.setitem(DETECTORS, "brightest", eval(EXAMPLES["brightest"][2], {"DetectorSpec": DetectorSpec}))
    yield
    sys.modules.pop(module, None)


def parts(cache: Path, **flags: object) -> Parts:
    settings = load_settings({"cache": cache, "download": False, **flags})
    made = Parts(settings, load(settings.pipeline), lambda line: None)
    made.store = ModelStore(settings.model_cache)
    return made


@pytest.mark.usefixtures("stopwatch")
async def test_the_recogniser_of_the_documentation_holds_a_conversation(tmp_path, serve):
    made = parts(tmp_path, stt_model="stopwatch")
    model = FakeModel("So you have.")
    engines = fake_engines(stt=await stt(made), llm=model)
    engines.choices = made.choices
    url, _ = await serve(engines)
    async with Peer(url) as peer:
        peer.say(np.concatenate([loud(0.8), np.zeros(RATE, np.int16)]), RATE)
        heard = await peer.event("conversation.item.input_audio_transcription.completed")
        told = re.fullmatch(r"I have spoken for (\d\.\d) seconds", heard["transcript"])
        assert told is not None
        assert float(told[1]) >= 0.5, "0.8 s were spoken"
        await peer.event("output_audio_buffer.stopped")
    assert model.requests[-1].messages[-1].content == heard["transcript"]
    async with aiohttp.ClientSession() as http:
        rows = (await (await http.get(f"{url}/v1/engines")).json())["data"]
    (row,) = [row for row in rows if row["stage"] == "stt"]
    assert (row["engine"], row["ok"], row["languages"]) == ("stopwatch", True, ["en"])
    assert row["reason"] == "chosen in the settings; tells how long you have spoken; pocketsphinx stands by"


@pytest.mark.usefixtures("stopwatch")
def test_help_settings_and_doctor_know_the_recogniser(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "auto, pocketsphinx, stopwatch, a model" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(Exception, match="did you mean stopwatch"):
        parts(tmp_path, stt_model="stopwach").check()
    with pytest.raises(Exception, match="stopwatch: it knows English alone"):
        parts(tmp_path, stt_model="stopwatch", language="de").check()
    settings = load_settings({"stt_model": "stopwatch"})
    told = {check.name: check.detail for check in diagnose(FACTS, settings) if check.area == "engines"}
    assert told["stt"] == "stopwatch on cpu: tells how long you have spoken"
    assert told["stt by name"] == "pocketsphinx, stopwatch"


@pytest.mark.usefixtures("brightest")
async def test_the_detector_of_the_documentation_looks_at_a_picture(tmp_path):
    if reason := MediaPipeVision.probe():
        pytest.skip(reason)
    made = parts(tmp_path)
    seen = await vision(made)
    assert seen is not None
    assert seen.detectors == ("brightest",)
    (row,) = made.choices.status()
    assert row.reason.startswith("finds brightest; no faces, ")
    tracker = seen.open(VisionPatch.model_validate({"detectors": ["brightest"]}).detectors)
    pixels = np.zeros((240, 320, 3), np.uint8)
    pixels[120, 240] = 255
    try:
        tracker.detect(Picture(pixels, 0.0))
        (found,) = tracker.detect(Picture(pixels, 0.1))  # things are told from their second picture on
    finally:
        tracker.close()
    assert (found.kind, found.label, found.score) == ("object", "brightest spot", 1.0)
    assert found.box == pytest.approx((0.7, 0.45, 0.1, 0.1), abs=0.01)
    drawn = pixels.copy()
    draw(drawn, [found])
    assert (drawn != pixels).any()


@pytest.mark.usefixtures("brightest")
def test_help_doctor_page_and_clients_know_the_detector(capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    assert "holistic, brightest" in capsys.readouterr().out
    (row,) = [check for check in diagnose(FACTS, load_settings({})) if check.name == "vision"]
    assert row.detail.endswith(" finds brightest")
    engines = fake_engines()
    engines.choices.note("vision", "mediapipe", "finds brightest")
    (status,) = engines.status()
    assert {"name": "brightest", "label": "Bright spot"} in status["detectors"]
    with pytest.raises(ValueError, match="did you mean brightest"):
        VisionPatch.model_validate({"detectors": ["brightst"]})


def test_the_rows_are_all_that_is_needed():
    """Without its row nothing knows an example: the file alone changes nothing."""
    assert set(EXAMPLES) == {"stopwatch", "brightest"}
    assert "stopwatch" not in {spec.name for spec in ENGINES}
    assert "brightest" not in DETECTORS
