"""Who watches, and who judges from the sound whether a turn is over: the small models that every session uses."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from pipelines.engines.mediapipe_tasks import MediaPipeVision, VisionOptions
from pipelines.engines.smart_turn import SmartTurn
from pipelines.errors import ModelError, PipelineError, VisionError
from pipelines.ports import VisionDetector
from pipelines.vision.settings import DetectorName
from pipelines.vision.tracked import TrackedVision
from server.composition.parts import Parts

STAGE = "watch"
VISION_MODELS: dict[DetectorName, tuple[str, ...]] = {
    "faces": ("mediapipe-face-detector",),
    "face_landmarks": ("mediapipe-face-landmarker",),
    "hands": ("mediapipe-hand-landmarker",),
    "gestures": ("mediapipe-gesture-recognizer",),
    "pose": ("mediapipe-pose-landmarker",),
    "segmentation": ("mediapipe-selfie-segmenter", "mediapipe-selfie-segmenter-published"),
    "objects": ("mediapipe-efficientdet-lite0",),
    "holistic": ("mediapipe-holistic-landmarker",),
}
"""Detector → models that serve it; the first is the one that is fetched."""
BASIC: tuple[DetectorName, ...] = ("faces", "hands", "pose")
"""Fetched before the server is ready; the others come afterwards."""


def turn_detector(parts: Parts) -> SmartTurn | None:
    """Smart Turn, if its model can be had. Blocking."""
    try:
        engine = SmartTurn(parts.ensure("smart-turn").path, threads=min(2, parts.cores))
    except PipelineError as error:
        reason = f"no turn detector: {error.message}; words and pauses decide when a turn is over"
        parts.choices.note("turn", "rules", reason, ok=False)
        return None
    parts.choices.note("turn", engine.name, "judges from the sound whether you have finished")
    return engine


async def watch(parts: Parts) -> VisionDetector | None:
    """The detectors of all sessions; ``None`` when the camera is not looked at."""
    if parts.pipeline.stage("video_analysis") is None:
        parts.choices.note(STAGE, "none", "the pipeline has no video_analysis stage")
        return None
    if parts.bench or not parts.settings.vision:
        parts.choices.note(STAGE, "none", "profile bench" if parts.bench else "switched off (vision: false)")
        return None
    missing = await asyncio.to_thread(MediaPipeVision.probe)
    if missing is not None:
        parts.choices.note(STAGE, "none", f"{missing}; without it no faces, hands or poses are seen", ok=False)
        return None
    return await asyncio.to_thread(_load, parts)


def _load(parts: Parts) -> VisionDetector | None:
    """The detectors whose models can be had now; why the others are not there is told, and they are fetched later."""
    models: dict[DetectorName, Path] = {}
    missing: dict[DetectorName, str] = {}
    for name, ids in VISION_MODELS.items():
        fetch = name in BASIC and not any(basic in missing for basic in BASIC)  # after one failure no further waiting
        found = _find(parts, ids, fetch)
        if isinstance(found, Path):
            models[name] = found
        else:
            missing[name] = found
    if not models:
        parts.choices.note(STAGE, "none", _told((), missing), ok=False)
        return None
    engine = MediaPipeVision(models, VisionOptions(device=parts.settings.vision_device), missing)
    if engine.device_reason:
        message = f"vision_device: gpu cannot be used: {engine.device_reason}; legal here is cpu"
        raise VisionError("device_unavailable", message)
    row = _reason(engine)
    parts.choices.note(STAGE, engine.name, row, device=engine.device, ok=not any(name in missing for name in BASIC))
    if missing and parts.may_download:
        parts.later.append(partial(_complete, parts, engine))
    return TrackedVision(engine)


def _find(parts: Parts, ids: tuple[str, ...], fetch: bool) -> Path | str:
    """The model file, or why there is none."""
    reason = f"its model is not here: visavis models pull {ids[0]}"
    for model_id in ids:
        try:
            if files := parts.store.here(model_id):
                return files.path
        except ModelError as error:
            reason = error.message
    if not fetch:
        return reason
    try:
        return parts.ensure(ids[0]).path
    except PipelineError as error:
        return error.message


async def _complete(parts: Parts, engine: MediaPipeVision) -> None:
    """Fetch the missing models, each that can be had; sessions may use at once what has come.

    Raises the last :class:`PipelineError` when one or more could not be had.
    """
    problem: PipelineError | None = None
    for name in tuple(engine.unavailable):
        try:
            files = await parts.fetch(VISION_MODELS[name][0])
            engine.add(name, files.path)
        except PipelineError as error:
            problem = error
        else:
            parts.choices.replace(STAGE, engine.name, _reason(engine), device=engine.device)
    if problem is not None:
        raise problem


def _reason(engine: MediaPipeVision) -> str:
    return _told(engine.detectors, engine.unavailable)


def _told(found: Collection[DetectorName], missing: Mapping[DetectorName, str]) -> str:
    """``finds faces, hands; no objects: its model is not here: visavis models pull …``."""
    parts = [f"finds {', '.join(_spoken(name) for name in found)}"] if found else []
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        reasons.setdefault(reason, []).append(_spoken(name))
    parts += [f"no {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "; ".join(parts)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
