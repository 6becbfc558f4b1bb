"""``florence``: the fifteen things that Florence-2 does with a picture.

Boxes and outlines are data; scores are not made up, for the model gives none.

Xiao et al., "Florence-2: Advancing a unified representation for a variety of vision tasks", 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, ModelFolder, TaskSpec
from pipelines.tasks.image.pictures import Box, Fields, OnePicture, as_pil, box_around, each
from pipelines.tasks.image.transformers_models import config_of, from_folder, image_processor, opened, tokenizer

FlorenceWord = Literal[
    "CAPTION", "DETAILED_CAPTION", "MORE_DETAILED_CAPTION", "OD", "DENSE_REGION_CAPTION", "REGION_PROPOSAL", "OCR",
    "OCR_WITH_REGION", "CAPTION_TO_PHRASE_GROUNDING", "OPEN_VOCABULARY_DETECTION", "REFERRING_EXPRESSION_SEGMENTATION",
    "REGION_TO_SEGMENTATION", "REGION_TO_CATEGORY", "REGION_TO_DESCRIPTION", "REGION_TO_OCR",
]  # fmt: skip
WORDS: tuple[FlorenceWord, ...] = get_args(FlorenceWord)
_OF_TEXT = ("CAPTION_TO_PHRASE_GROUNDING", "OPEN_VOCABULARY_DETECTION", "REFERRING_EXPRESSION_SEGMENTATION")
_OF_REGION = ("REGION_TO_SEGMENTATION", "REGION_TO_CATEGORY", "REGION_TO_DESCRIPTION", "REGION_TO_OCR")
_STEPS = 1000
"""Places are told in thousandths of the picture's sides."""

Region = tuple[float, float, float, float]
"""xmin, ymin, xmax, ymax as fractions of the picture."""


class FlorenceParameters(Fields):
    """What is to be done."""

    task: FlorenceWord = "CAPTION"
    text: str | None = Field(None, min_length=1, max_length=1_000)
    """What is looked for, for the words that take it."""
    region: Region | None = None
    """Where, for the words that take it."""
    max_new_tokens: int = Field(512, ge=1, le=1024)
    num_beams: int = Field(3, ge=1, le=5)

    @model_validator(mode="after")
    def _goes_together(self) -> FlorenceParameters:
        for name, value, takers in (("text", self.text, _OF_TEXT), ("region", self.region, _OF_REGION)):
            if value is None and self.task in takers:
                raise ValueError(f"{name}: is missing: {self.task} needs it")
            if value is not None and self.task not in takers:
                raise ValueError(f"{name}: {self.task} takes none; those that do are {', '.join(takers)}")
        if self.region is not None:
            left, top, right, bottom = self.region
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError("region: xmin, ymin, xmax, ymax as fractions of the picture, 0–1, in this order")
        return self

    @property
    def prompt(self) -> str:
        """As the model knows it."""
        more = self.text or ""
        if self.region is not None:
            more = "".join(f"<loc_{min(_STEPS - 1, int(edge * _STEPS))}>" for edge in self.region)
        return f"<{self.task}>{more}"


class FlorenceObject(Fields):
    """One thing in the picture."""

    label: str
    box: Box | None
    """``None`` where the model tells outlines only."""
    polygons: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Outlines, in pixels."""
    score: None = None
    """The model tells none."""


class FlorenceOutput(Fields):
    """What the model tells."""

    task: FlorenceWord
    text: str
    """Where the answer is words; else empty."""
    objects: tuple[FlorenceObject, ...]
    raw: str
    """All that the model wrote."""


@dataclass(frozen=True, slots=True)
class Florence:
    """The model and its processor."""

    model: Any
    processor: Any


def load(folder: Path, device: str, dtype: str) -> Florence:
    """Raises :class:`ModelError` (``model_broken``, ``model_needs_remote_code``)."""
    from transformers import Florence2Processor

    if config_of(folder).get("model_type") != "florence2":
        raise ModelError("model_broken", f"{folder.name} is no Florence-2 as transformers itself has it")
    model = opened("Florence2ForConditionalGeneration", folder, device, dtype)
    given = from_folder(_ProcessorConfig, folder)
    parts = {"image_processor": image_processor(folder), "tokenizer": tokenizer(folder)}
    return Florence(model, Florence2Processor(**parts, **given))


class _ProcessorConfig:
    """What ``processor_config.json`` says of the processor itself."""

    @staticmethod
    def from_pretrained(folder: Path, **_: object) -> dict[str, Any]:
        import json

        names = ("num_additional_image_tokens", "post_processor_config")
        file = folder / "processor_config.json"
        told = json.loads(file.read_text("utf-8")) if file.is_file() else {}
        return {name: told[name] for name in names if name in told}


def run(model: Florence, jobs: Sequence[Job[OnePicture, FlorenceParameters]]) -> list[Done | PipelineError]:
    """What the model tells of each picture."""
    return each(jobs, lambda job: answered(model, job.inputs.image, job.parameters), "florence")


def answered(model: Florence, data: bytes, wishes: FlorenceParameters) -> Done:
    """What the model tells of one picture."""
    import torch

    image = as_pil(data)
    seen = model.processor(text=wishes.prompt, images=image, return_tensors="pt").to(model.model.device)
    seen["pixel_values"] = seen["pixel_values"].to(model.model.dtype)
    with torch.inference_mode():
        written = model.model.generate(
            **seen, max_new_tokens=wishes.max_new_tokens, num_beams=wishes.num_beams, do_sample=False
        )
    raw = model.processor.tokenizer.decode(written[0], skip_special_tokens=False)
    word = f"<{wishes.task}>"
    parsed = model.processor.post_process_generation(raw, task=word, image_size=image.size)[word]
    output = shaped(wishes.task, parsed, raw, image.size)
    return Done(output.model_dump(), tokens=int(seen["input_ids"].numel()), answer_tokens=int(written[0].numel()))


def shaped(task: FlorenceWord, parsed: str | Mapping[str, Any], raw: str, size: tuple[int, int]) -> FlorenceOutput:
    """What the processor of transformers made of ``raw``, in one shape for all words."""
    raw = raw.replace("<s>", "").replace("</s>", "").replace("<pad>", "").strip()
    if isinstance(parsed, str):
        text = parsed.replace("<s>", "").replace("</s>", "").replace("<pad>", "").strip()
        return FlorenceOutput(task=task, text=text, objects=(), raw=raw)
    found: list[FlorenceObject] = []
    box_labels = parsed.get("bboxes_labels", parsed.get("labels", ()))
    for box, label in zip(parsed.get("bboxes", ()), box_labels, strict=False):
        found.append(FlorenceObject(label=label, box=box_around((box[:2], box[2:]), *size)))
    for quad, label in zip(parsed.get("quad_boxes", ()), parsed.get("labels", ()), strict=False):
        outline = _points(quad)
        found.append(FlorenceObject(label=_plain(label), box=box_around(outline, *size), polygons=(outline,)))
    for outlines, label in zip(
        parsed.get("polygons", ()), parsed.get("polygons_labels", parsed.get("labels", ())), strict=False
    ):
        polygons = tuple(_points(outline) for outline in outlines if len(outline) >= 6)
        corners = [corner for outline in polygons for corner in outline]
        box = box_around(corners, *size) if corners else None
        found.append(FlorenceObject(label=label, box=box, polygons=polygons))
    return FlorenceOutput(task=task, text="", objects=tuple(found), raw=raw)


def _points(flat: Sequence[float]) -> tuple[tuple[float, float], ...]:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in zip(flat[::2], flat[1::2], strict=False))


def _plain(label: str) -> str:
    return label.replace("</s>", "").replace("<s>", "").strip()


def fits(folder: ModelFolder) -> bool:
    """Whether a folder holds one."""
    return folder.config.get("model_type") == "florence2"


SPEC: TaskSpec[Florence, OnePicture, FlorenceParameters] = TaskSpec(
    "florence",
    "Captions, things, regions, phrases, outlines and text of a picture, by Florence-2",
    OnePicture,
    FlorenceParameters,
    FlorenceOutput,
    load,
    run,
    fits=fits,
    batch=1,
)
