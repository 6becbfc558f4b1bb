"""``language-detection``: in which language a text is written, by py3langid (https://github.com/adbar/py3langid)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from pipelines.errors import PipelineError
from pipelines.interfaces.task import Done, Job, TaskSpec
from pipelines.routing.stage_types import Strict

_READ = 10_000
"""Characters that are looked at; more of a text tells no more."""


class LanguageInputs(Strict):
    """What is looked at."""

    text: Annotated[str, Field(min_length=1, max_length=400_000)]


class LanguageParameters(Strict):
    """How."""

    top_k: int = Field(3, ge=1, le=200)
    """So many of the likeliest languages."""


class Language(Strict):
    """One language."""

    language: str
    """ISO 639-1."""
    confidence: float
    """From 0 to 1; of a short text it means little."""


def load(folder: Path, device: str, dtype: str) -> Any:
    """The package brings its model."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def run(model: Any, jobs: Sequence[Job[LanguageInputs, LanguageParameters]]) -> Sequence[Done | PipelineError]:
    """For each text the languages, the likeliest first."""
    results: list[Done | PipelineError] = []
    for job in jobs:
        ranked = model.rank(job.inputs.text[:_READ])[: job.parameters.top_k]
        rows = [{"language": str(code), "confidence": round(float(chance), 4)} for code, chance in ranked]
        results.append(Done(rows))
    return results


def languages(model: Any) -> list[str]:
    """Codes of all that it knows."""
    return sorted(str(one) for one in model.nb_classes)


SPEC = TaskSpec(
    name="language-detection",
    about="In which language a text is written",
    inputs=LanguageInputs,
    parameters=LanguageParameters,
    output=list[Language],
    load=load,
    run=run,
    packages=("py3langid",),
    library="",
    needs_model=False,
    cached=lambda job: True,
)
