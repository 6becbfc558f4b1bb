"""Who listens: the recognisers that are here, those that come later, and PocketSphinx, which always is.

Left to itself, the catalogue's first recogniser hears English, and its first one of many languages hears again what
that doubts, and every other language.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from pipelines.engines.stt.pocketsphinx_recognizer import PocketSphinxRecognizer
from pipelines.engines.stt.whisper_settings import ENGLISH_ONLY
from pipelines.engines.stt.window_recognizer import WindowRecognizer
from pipelines.engines.stubs import BenchRecognizer
from pipelines.errors import PipelineError
from pipelines.interfaces.stt import SpeechToText
from pipelines.models.store import ModelFiles
from pipelines.routing.failover_stt import FallbackRecognizer
from pipelines.routing.second_opinion import SecondOpinion
from server.engines.parts import BENCH_REASON, Parts, why
from server.engines.recognisers import STAGE, build
from server.engines.wishes import POCKETSPHINX, Wish


async def listen(parts: Parts) -> SpeechToText:
    """The recogniser of all sessions. Raises :class:`PipelineError` when nothing can listen, or not as asked."""
    if parts.bench:
        parts.choices.note(STAGE, BenchRecognizer.name, BENCH_REASON)
        return BenchRecognizer()
    wish = parts.wishes.listening()
    ears = _Ears(parts, wish)
    missing, broken = "", ""
    if wish.word == "auto" and parts.embedded_only and not wish.required:
        missing = "profile embedded"
    elif wish.word != POCKETSPHINX:
        await ears.take_what_is_here()
        missing, broken = parts.lacking(wish, "recogniser") if not ears.engines else ("", "")
    embedded = PocketSphinxRecognizer(processes=parts.settings.stt_processes)
    if ears.engines:
        engine, device, reason = ears.told()
        parts.choices.note(STAGE, engine.name, reason, device=device)
    else:
        await embedded.warm()
        reason = why(wish, "embedded English recogniser; needs no download")
        parts.choices.note(STAGE, embedded.name, "; ".join(filter(None, (reason, missing))), wanted=broken)
    ladder = FallbackRecognizer([*ears.rungs, embedded], parts.choices.failure_of(STAGE), parts.clock)
    parts.choices.watch(STAGE, ladder)
    if wish.word == "auto" and ears.engines and not parts.settings.download:
        parts.missing += ears.missing
    if wish.word == "auto" and parts.may_download:
        parts.later += [partial(ears.fetch, model_id, ladder) for model_id in ears.missing]
    return ladder


class _Ears:
    """The real recognisers of a server: those that are here, and what they are together."""

    def __init__(self, parts: Parts, wish: Wish) -> None:
        self._parts = parts
        self._wish = wish
        self._best = _best(wish.models)
        self.engines: dict[str, WindowRecognizer] = {}
        self._reasons: dict[str, tuple[str, str]] = {}  # device and why, by the engine's name
        self._loading = asyncio.Lock()

    @property
    def missing(self) -> tuple[str, ...]:
        """Of the best that there are, those that are not here; none where a model of the user's own serves."""
        if self.engines and not any(model_id in self._best for model_id in self.engines):
            return ()
        return tuple(model_id for model_id in self._best if model_id not in self.engines)

    @property
    def rungs(self) -> list[SpeechToText]:
        """Who listens, and who does when that fails."""
        best = [self.engines[name] for name in self._best if name in self.engines]
        if len(best) == 2:
            return [SecondOpinion(*best), best[1]]
        return [next(iter((*best, *self.engines.values())))] if self.engines else []

    def told(self) -> tuple[SpeechToText, str, str]:
        """Who listens, on which device and why."""
        engine = self.rungs[0]
        first = engine.first.name if isinstance(engine, SecondOpinion) else engine.name
        device, reason = self._reasons[first]
        if isinstance(engine, SecondOpinion):
            reason += f"; {engine.second.name} hears what it doubts, and other languages"
        broken = [f"{name} cannot be used: {why}" for name, why in self._parts.unusable.items() if name in self._best]
        return engine, device, "; ".join((reason, f"{POCKETSPHINX} stands by", *broken))

    async def take_what_is_here(self) -> None:
        """Load the best that are here, or else any that will do. Raises :class:`PipelineError` when one is required."""
        parts, wish = self._parts, self._wish
        if wish.word != "auto" or wish.required:
            name, folder, origin = await asyncio.to_thread(lambda: parts.folder_of(wish) or parts.obtain(wish))
            await self._load(name, folder, origin)
            return
        for model_id in dict.fromkeys((*self._best, *wish.models)):
            if self.engines and model_id not in self._best:
                break
            files = await asyncio.to_thread(parts.present, model_id)
            if files is not None:
                await self._load(model_id, files.path, f"from {files.origin}")

    async def fetch(self, model_id: str, ladder: FallbackRecognizer) -> None:
        """Fetch a model and let it listen from then on; if nothing real does and it cannot be had, the next that can.

        Raises :class:`PipelineError` when none can be had.
        """

        async def use(files: ModelFiles) -> None:
            async with self._loading:
                if files.id in self.engines:
                    return
                await self._load(files.id, files.path, f"from {files.origin}", may_raise=True)
                engine, device, reason = self.told()
                ladder.prefer(engine)
                self._parts.choices.replace(STAGE, engine.name, reason, device=device)

        alone = self.engines or model_id != self._best[0]
        others = [] if alone else [other for other in self._wish.models if other != model_id]
        await self._parts.first([model_id, *others], use)

    async def _load(self, name: str, folder: Path, origin: str, *, may_raise: bool = False) -> None:
        parts = self._parts
        try:
            self.engines[name], device, reason = await build(parts, name, folder)
        except PipelineError as error:
            if may_raise:
                raise
            parts.refuse(self._wish, name, error)
        else:
            self._reasons[name] = (device, f"{origin}; {reason}")


def _best(models: tuple[str, ...]) -> tuple[str, ...]:
    """Of models in order of preference the first, and the first of many languages if that one knows English alone."""
    broad = next((model_id for model_id in models if not model_id.endswith(ENGLISH_ONLY)), None)
    return tuple(dict.fromkeys((*models[:1], *([broad] if broad else []))))
