"""How good the ears, the brain and the voice are that serve, in one word each, and what would better them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from pipelines.engines.registry import Stage, standby, stub
from pipelines.models.catalogue import Model
from server.engines.choices import Choice

Quality = Literal["basic", "good", "best"]
STAGES: tuple[Stage, ...] = ("stt", "llm", "tts")
_LEAST_MB: Mapping[str, tuple[int, int]] = {"stt": (0, 400), "llm": (500, 2_000), "tts": (0, 100)}
"""Stage → from how many megabytes on a model of the catalogue is good, and from how many it is among the best."""
_JOINED = " + "
"""Between the names of engines that serve together."""
_HELP: Mapping[str, str] = {
    "llm": "a cleverer brain: run Ollama on this machine, or give --llm-url with the address of a model server",
    "stt": "better ears: visavis models pull {model}",
    "tts": "a better voice: visavis models pull {model}",
}
_ASKED = ("stt", "tts", "llm")
"""The order in which something is advised: what is misheard cannot be answered."""


def quality_of(row: Choice, models: Iterable[Model]) -> Quality:
    """The word for who serves a stage. A model that the catalogue does not know was chosen by somebody: ``best``."""
    stage: Stage = next(stage for stage in STAGES if stage == row.stage)
    names = [name for name in row.engine.split(_JOINED) if name not in ("none", standby(stage).name, stub(stage).name)]
    if not names:
        return "basic"
    known = {model.id: model.download or 0 for model in models}
    sizes = [size for name in names if (size := _size_of(name, known)) is not None]
    if len(sizes) < len(names):
        return "best"
    good, best = _LEAST_MB[stage]
    return "best" if max(sizes) >= best else "good" if max(sizes) >= good else "basic"


def _size_of(name: str, known: Mapping[str, int]) -> int | None:
    """Of the model that an engine is named after: ``whisper-base``, ``llama.cpp smollm2-135m-instruct-gguf``; a voice
    goes by its own name, ``en_US-joe-medium`` of ``piper-en_US-joe-medium``. ``None``: none of the catalogue's."""
    last = name.partition(", ")[0].rpartition(" ")[2]  # what stands before it is told behind a comma
    found = next((model for model in (name, last, f"piper-{last}") if model in known), None)
    return None if found is None else known[found]


def advice(words: Mapping[str, Quality], rows: Sequence[Choice], models: Sequence[Model]) -> str | None:
    """One line on how the worst of them would be better; ``None`` where nothing is basic."""
    for stage in _ASKED:
        if words.get(stage) != "basic":
            continue
        row = next(row for row in rows if row.stage == stage)
        coming = [fetch.model for fetch in row.fetching if fetch.state in ("waiting", "fetching")]
        if coming:
            return f"{coming[0]} is on its way, and serves once it is here"
        task = {"stt": "speech-to-text", "tts": "text-to-speech"}.get(stage, "")
        model = next((model.id for model in models if model.task == task), "")
        return _HELP[stage].format(model=model)
    return None
