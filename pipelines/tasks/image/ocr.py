"""``ocr``: the text in a picture, by lines with their places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.tasks.image.pictures import Box, Fields, OnePicture, box_around, each, unpacked
from pipelines.tasks.image.printed_text.reader import Line, TextReader


class OcrParameters(Fields):
    """What of it is told."""

    min_score: float = Field(0.5, ge=0.0, le=1.0)
    """Lines that the model is less sure of are left out."""


class OcrLine(Fields):
    """One line of text, or a part of one that stands apart."""

    text: str
    score: float
    """How sure the model is of its characters, 0–1."""
    box: Box
    polygon: tuple[tuple[float, float], ...]
    """Four corners in pixels: where the line begins above, ends above, ends below, begins below."""
    row: int
    """Parts with the same number stand beside each other."""


class OcrOutput(Fields):
    """What is to be read."""

    text: str
    """All of it in reading order, rows in lines of their own."""
    lines: tuple[OcrLine, ...]
    width: int
    height: int
    """Pixels of the picture that boxes and polygons count in."""


_PROVIDERS = {"cpu": ("CPUExecutionProvider",), "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider")}


def load(folder: Path, device: str, dtype: str) -> TextReader:
    """The networks in ``folder``. Raises :class:`ModelError` (``model_broken``)."""
    try:
        return TextReader(folder, providers=_PROVIDERS.get(device, _PROVIDERS["cpu"]))
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's have no common base
        raise ModelError("model_broken", f"{folder.name} cannot be loaded: {type(error).__name__}") from error


def run(model: TextReader, jobs: Sequence[Job[OnePicture, OcrParameters]]) -> list[Done | PipelineError]:
    """What each picture says."""

    def read(job: Job[OnePicture, OcrParameters]) -> Done:
        pixels = unpacked(job.inputs.image)
        height, width = pixels.shape[:2]
        rows = model.read(pixels, job.parameters.min_score)
        lines = tuple(_line(line, n, width, height) for n, row in enumerate(rows) for line in row)
        text = "\n".join(" ".join(line.text for line in row) for row in rows)
        return Done(OcrOutput(text=text, lines=lines, width=width, height=height).model_dump())

    return each(jobs, read, "ocr")


def _line(line: Line, row: int, width: int, height: int) -> OcrLine:
    corners = [(round(float(x), 1), round(float(y), 1)) for x, y in line.region.corners]
    box = box_around(corners, width, height)
    return OcrLine(text=line.text, score=round(line.score, 4), box=box, polygon=tuple(corners), row=row)


SPEC: TaskSpec[TextReader, OnePicture, OcrParameters] = TaskSpec(
    "ocr",
    "Reads the text in a picture: lines with their places, in reading order",
    OnePicture,
    OcrParameters,
    OcrOutput,
    load,
    run,
    packages=("onnxruntime",),
    library="onnxruntime",
    batch=1,
)
