"""Checks that a model does its work: one for each kind in the catalogue, on real weights where they can be had."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.engines.mediapipe.tasks import MediaPipeVision
from pipelines.errors import ModelError, PipelineError
from pipelines.models import checks
from pipelines.models.catalogue import load
from pipelines.models.checks import CHECKS, check
from pipelines.models.store import ModelFiles
from tests.real_models import real_model

CATALOGUE = load()


def test_every_kind_of_model_has_a_check() -> None:
    kinds = {(model.task, model.requires or "") for model in CATALOGUE.models}
    assert kinds <= set(CHECKS)


@pytest.mark.long
@pytest.mark.parametrize(
    ("model_id", "finding"),
    [
        ("moonshine-tiny-en", "heard “Good morning"),
        ("whisper-base", "heard “Good morning"),
        ("smart-turn", "is finished with a chance of "),
        ("smollm2-135m-instruct-gguf", "answers “"),
        ("piper-en_US-joe-medium", "says “Good morning, how are you?” in "),
        ("pp-ocrv6-small", "reads “visavis 42”"),
        ("deepfilternet3", "makes noise of "),
        ("resemblyzer", "256 numbers a voice"),
        ("all-minilm-l6-v2", "384 numbers a sentence; alike "),
        ("all-minilm-l6-v2-int8", "384 numbers a sentence; alike "),
        ("mediapipe-face-detector", "looked at a grey picture and found nothing"),
        ("mediapipe-hand-landmarker", "looked at a grey picture and found nothing"),
        ("mediapipe-pose-landmarker", "looked at a grey picture and found nothing"),
        ("mediapipe-selfie-segmenter", "looked at a grey picture and found "),
    ],
)
def test_real_weights_do_their_work(model_id: str, finding: str) -> None:
    model = CATALOGUE.get(model_id)
    if model.requires == "mediapipe" and (reason := MediaPipeVision.probe()):
        pytest.skip(reason)
    assert finding in check(model, real_model(model_id))


@pytest.mark.parametrize("model_id", sorted({model.id for model in CATALOGUE.models if model.requires != "mediapipe"}))
def test_files_that_are_none_are_told(tmp_path, model_id: str) -> None:
    model = CATALOGUE.get(model_id)
    names = model.results or ("config.json", "model.bin", "model.safetensors", "tokenizer.json", "vocabulary.json")
    files = {name: tmp_path / name for name in names}
    for path in files.values():
        path.write_bytes(b"{}" * 40)
    path = files[names[0]] if model.results else tmp_path
    with pytest.raises(PipelineError):
        check(model, ModelFiles(model_id, path, files, "here", "0" * 12))


def test_a_model_that_runs_and_does_not_do_its_work_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model, files = CATALOGUE.get("all-minilm-l6-v2-int8"), real_model("all-minilm-l6-v2-int8")
    monkeypatch.setattr(checks, "_run", lambda session, **feed: np.ones((1, 4, 384), np.float32))
    with pytest.raises(ModelError, match="is as near to “The engine needs new oil") as caught:
        check(model, files)
    assert caught.value.code == "check_failed"


def test_a_kind_without_a_check_is_told() -> None:
    model = CATALOGUE.get("smart-turn").model_copy(update={"task": "reading-thoughts"})
    files = ModelFiles(model.id, None, {}, "here", "0" * 12)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="there is no check for reading-thoughts on onnxruntime"):
        check(model, files)
