"""The detectors of all sessions: those whose models are here, those that come later, and better models for some."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

from pipelines.engines.mediapipe.tasks import MediaPipeVision, VisionOptions
from pipelines.errors import ModelError, PipelineError, VisionError
from pipelines.interfaces.vision import VisionDetector
from pipelines.models.catalogue import Catalogue
from pipelines.vision.detectors import DETECTORS, DetectorName
from pipelines.vision.tracking import TrackedVision
from server.engines.parts import Parts

log = logging.getLogger(__name__)

STAGE = "vision"
_NOT_HERE = "its model is not here: visavis models pull "


async def vision(parts: Parts) -> VisionDetector | None:
    """The detectors of all sessions; ``None`` when the camera is not looked at."""
    reason, ok = "", True
    if parts.pipeline.stage("video_analysis") is None:
        reason = "the pipeline has no video_analysis stage"
    elif parts.bench or not parts.settings.vision:
        reason = "profile bench" if parts.bench else "switched off (vision: false)"
    elif missing := await asyncio.to_thread(MediaPipeVision.probe):
        reason, ok = f"{missing}; without it no faces, hands or poses are seen", False
    if reason:
        parts.choices.note(STAGE, "none", reason, ok=ok)
        return None
    return await asyncio.to_thread(_load, parts)


def first_fetched(catalogue: Catalogue, name: DetectorName) -> str:
    """The model that is fetched first for a detector: from a package, which has those of others as well."""
    ids = DETECTORS[name].models
    return next((model_id for model_id in ids if catalogue.get(model_id).in_package), ids[0])


def _load(parts: Parts) -> VisionDetector | None:
    """The detectors whose models are here; the others are fetched later, or it is told why they are not there."""
    models: dict[DetectorName, Path] = {}
    missing: dict[DetectorName, str] = {}
    better: dict[DetectorName, str] = {}
    needing = [row for row in DETECTORS.values() if row.models]
    for row in needing:
        model_id, found = _find(parts, row.name)
        if isinstance(found, Path):
            models[row.name] = found
        else:
            missing[row.name] = found
        if model_id != row.models[0] and not row.alike:
            better[row.name] = row.models[0]
    may_fetch = parts.settings.download
    if not may_fetch:
        parts.missing += dict.fromkeys(first_fetched(parts.store.catalogue, name) for name in missing)
    fetched = [name for name in missing if may_fetch and (DETECTORS[name].basic or parts.may_download)]
    missing |= dict.fromkeys(fetched, "its model is being fetched")
    if not models and not fetched and len(needing) == len(DETECTORS):
        parts.choices.note(STAGE, "none", _reason((), missing, {}), ok=False)
        return None
    if parts.settings.vision_device == "gpu" and not models:  # whether there is one shows with a model
        models["faces"] = parts.ensure(first_fetched(parts.store.catalogue, "faces")).path
    engine = MediaPipeVision(models, VisionOptions(device=parts.settings.vision_device), missing)
    if engine.device_reason:
        message = f"vision_device: gpu cannot be used: {engine.device_reason}; legal here is cpu"
        raise VisionError("device_unavailable", message)
    lacks = any(row.basic and row.name in missing and row.name not in fetched for row in needing)
    reason = _reason(engine.detectors, engine.unavailable, better)
    parts.choices.note(STAGE, engine.name, reason, device=engine.device, ok=not lacks)
    if fetched or (better and parts.may_download):
        parts.later.append(partial(_complete, parts, engine, fetched, better))
    return TrackedVision(engine)


def _find(parts: Parts, name: DetectorName) -> tuple[str, Path | str]:
    """The model that is here and its file; or the one to fetch first, and why it is not there."""
    wanted = first_fetched(parts.store.catalogue, name)
    reason = f"{_NOT_HERE}{wanted}"
    for model_id in DETECTORS[name].models:
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

    Raises the last :class:`PipelineError` when one or more of the missing could not be had; without a better one all
    goes on.
    """

    def tell() -> None:
        ok = not any(DETECTORS[name].basic for name in engine.unavailable)
        reason = _reason(engine.detectors, engine.unavailable, better)
        parts.choices.replace(STAGE, engine.name, reason, device=engine.device, ok=ok)

    problem: PipelineError | None = None
    for name in names:
        try:
            files = await parts.fetch(first_fetched(parts.store.catalogue, name))
        except PipelineError as error:
            problem = error
            engine.lack(name, error.message)
        else:
            engine.add(name, files.path)
        tell()
    for name, model_id in list(better.items()) if parts.may_download else ():
        try:
            files = await parts.fetch(model_id)
        except PipelineError as error:
            log.info("%s serves as it is, for %s", _spoken((name,)), error.message)
        else:
            engine.add(name, files.path)
            del better[name]
            tell()
    if problem is not None:
        raise problem


def _reason(
    found: Collection[DetectorName], missing: Mapping[DetectorName, str], better: Mapping[DetectorName, str]
) -> str:
    """``finds faces, hands; no objects, pose: not here: visavis models pull …; better faces with: …``."""
    parts = [f"finds {_spoken(found)}"] if found else []
    reasons: dict[str, list[str]] = {}
    absent = [name for name, reason in missing.items() if reason.startswith(_NOT_HERE)]
    pull = f"{_NOT_HERE}{' '.join(dict.fromkeys(missing[name].removeprefix(_NOT_HERE) for name in absent))}"
    for name, reason in missing.items():
        reasons.setdefault(pull if name in absent else reason, []).append(name)
    parts += [f"no {_spoken(names)}: {reason}" for reason, names in reasons.items()]
    rough = {name: model_id for name, model_id in better.items() if name in found}
    if rough:
        parts.append(f"better {_spoken(rough)} with: visavis models pull {' '.join(rough.values())}")
    return "; ".join(parts)


def _spoken(names: Collection[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in names)
