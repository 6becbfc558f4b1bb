"""Who watches, and who judges from the sound whether a turn is over: the small models that every session uses."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pipelines.engines.mediapipe_tasks import MediaPipeVision
from pipelines.engines.smart_turn import SmartTurn
from pipelines.errors import ModelError, PipelineError
from pipelines.ports import DetectionKind, VisionDetector
from server.composition.parts import Parts

STAGE = "watch"
VISION_MODELS: dict[DetectionKind, str] = {
    "face": "mediapipe-face-detector",
    "hand": "mediapipe-hand-landmarker",
    "pose": "mediapipe-pose-landmarker",
}
_PLURAL: dict[DetectionKind, str] = {"face": "faces", "hand": "hands", "pose": "poses"}


def turn_detector(parts: Parts) -> SmartTurn | None:
    """Smart Turn, if its model can be had. Blocking."""
    try:
        engine = SmartTurn(parts.store.ensure("smart-turn", parts.say).path, threads=min(2, parts.cores))
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
    """The detectors whose models can be had; the others are told as missing, and why."""
    models: dict[DetectionKind, Path] = {}
    failure: ModelError | None = None
    for kind, model_id in VISION_MODELS.items():
        try:
            files = parts.store.find(model_id) if failure is not None else parts.store.ensure(model_id, parts.say)
        except ModelError as error:
            failure, files = error, None
        if files is not None:
            models[kind] = files.path
    if models:
        engine = MediaPipeVision(models)
        parts.choices.note(STAGE, engine.name, f"finds {', '.join(_PLURAL[kind] for kind in models)}")
    if failure is not None:
        missing = ", ".join(_PLURAL[kind] for kind in VISION_MODELS if kind not in models)
        parts.choices.note(STAGE, "none", f"no {missing}: {failure.message}", ok=False)
    return engine if models else None
