"""Settings → the generator of predictions' videos, with its licence told."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.engines.remote.rows import FORESIGHT
from pipelines.errors import ModelError
from pipelines.foresight.generator.filmer import LtxFilmer
from pipelines.foresight.generator.narrator import Narrator
from pipelines.foresight.service import INBOX, Generator
from pipelines.models.plans import Loadable
from pipelines.runtime.worker import Worker
from pipelines.tasks.image.generation.diffusion import REMEDY, kind_of
from server.engines.parts import Parts

if TYPE_CHECKING:
    from pipelines.foresight.generator.ltx import LtxVideo
    from pipelines.tasks.image.looking import ChatLooker

_KINDS = ("LTXPipeline", "LTXImageToVideoPipeline", "LTXConditionPipeline")
_LICENCE = re.compile(r"^licen[sc]e(?:_name)?:[ \t]*(\S[^\n]*)$", re.MULTILINE)
_CARD_BYTES = 1 << 16


async def generator(parts: Parts) -> Generator | None:
    """The one that is asked for. Raises :class:`ModelError` (``model_not_here``, ``model_broken``)."""
    folder = parts.settings.foresight_generator
    if parts.ray is not None and FORESIGHT in parts.ray.stages:
        parts.say(f"foresight: videos are made up {parts.ray.reason(FORESIGHT)}; its licence is told where it runs")
        return Generator(parts.ray.filmer(), elsewhere=True)
    if folder is None or parts.bench:
        return None
    made = await parts.aside(_made, parts, folder)
    parts.say(f"foresight: {folder.name} makes videos up; its licence: {licence_of(folder)}")
    return made


def _made(parts: Parts, folder: Path) -> Generator:
    settings, wish = parts.settings, "foresight_generator"
    if find_spec("diffusers") is None:
        raise ModelError("model_not_here", f"{wish}: needs the package diffusers: {REMEDY}")
    if not folder.is_dir() or (kind := kind_of(folder)) not in _KINDS:
        what = f"a pipeline {kind!r}" if folder.is_dir() and kind else "no pipeline of diffusers"
        raise ModelError("model_not_here", f"{wish}: {folder} holds {what}; legal values are folders with LTX")
    device, _ = parts.device_for("torch")
    dtype = "float32" if device == "cpu" else "bfloat16"
    adapter, encoder, narrator = settings.foresight_adapter, None, None
    if adapter is not None:
        encoder, narrator = _around(parts, adapter, device, dtype)

    def load() -> LtxVideo:
        from pipelines.foresight.generator.ltx import load

        video = load(folder, device, dtype, adapter, encoder)
        video.steps = settings.foresight_steps or video.steps
        return video

    plan = Loadable(folder.name, load, precision=dtype, device=device, estimate=_size(folder))
    films, words = Worker("foresight-generator", inbox=INBOX), Worker("foresight-narrator", inbox=INBOX)
    filmer = LtxFilmer(parts.residency.add(plan), films, needs_states=narrator is not None)
    return Generator(
        filmer, None if narrator is None else Narrator(parts.residency.add(narrator), words), (films, words)
    )


def _around(parts: Parts, adapter: Path, device: str, dtype: str) -> tuple[Path, Loadable[ChatLooker] | None]:
    """The models that the adapter was trained with: beside its folder."""
    from pipelines.foresight.generator.adapter_file import read_card

    card = read_card(adapter)
    for name in filter(None, (card.encoder, card.describer)):
        if not (adapter.parent / name / "config.json").is_file():
            told = f"foresight_adapter: {adapter.name} was trained with {name}, which is not in {adapter.parent}"
            raise ModelError("model_not_here", told)
    if not card.describer:
        return adapter.parent / card.encoder, None
    folder = adapter.parent / card.describer

    def load() -> ChatLooker:
        from pipelines.tasks.image import looking

        looker = looking.load(folder, device, dtype)
        if not isinstance(looker, looking.ChatLooker):
            raise ModelError("model_broken", f"foresight_adapter: {folder.name} is no model that is asked in a chat")
        return looker

    plan = Loadable(card.describer, load, precision=dtype, device=device, estimate=_size(folder))
    return adapter.parent / card.encoder, plan


def _size(folder: Path) -> int:
    """Bytes of its weights and a fifth more; a pipeline has them in folders of its own."""
    return sum(path.stat().st_size for path in folder.rglob("*.safetensors")) * 6 // 5


def licence_of(folder: Path) -> str:
    """What the model's card says, for people."""
    try:
        card = (folder / "README.md").read_bytes()[:_CARD_BYTES].decode("utf-8", "replace")
    except OSError:
        card = ""
    found = _LICENCE.search(card)
    return found[1].strip() if found else "not told by its folder: read it where the model comes from"
