"""Neural voices: Piper (https://github.com/OHF-Voice/piper1-gpl), VITS networks on onnxruntime with espeak's phonemes.

A voice is a pair of files, ``NAME.onnx`` and ``NAME.onnx.json``. The network is run here and not through piper's own
``synthesize``, so that a run can be ended from outside: closing the generator stops it at the network's next node.

A clause is spoken in steps, a sentence or a part of a long one each (:mod:`pipelines.engines.tts.piper_clause`), and a
step in pieces (:mod:`pipelines.engines.tts.piper_network`). Between pieces other sessions have their turn.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipelines.engines.onnx_session import open_session
from pipelines.engines.registry import Built, Found, Site
from pipelines.engines.tts.piper_clause import Clause, Manner, Stop, Voice, specimen, steps
from pipelines.engines.tts.piper_network import Network, WholeNetwork, split
from pipelines.engines.tts.spoken import SPEEDS, cleaned
from pipelines.errors import ModelError, PipelineError, TTSError, listed
from pipelines.interfaces.tts import Speech
from pipelines.models.plans import Loadable
from pipelines.models.residency import Resident
from pipelines.runtime.crew import LOAD_SECONDS, allow
from pipelines.runtime.hardware import threads_for
from pipelines.runtime.scaling import Bounds, WorkerPool
from pipelines.runtime.worker import Worker

log = logging.getLogger(__name__)

_SPECIMEN = "The early morning sun shone on the harbour wall."
"""Spoken to nobody when a voice is first used: it warms the network up and tells how loud the voice is."""
_PEAK = 0.5
"""-6 dBFS, as the embedded voice: where the peaks of the specimen are brought to."""
_GAINS = (0.25, 8.0)
_LIMIT = 4.0
"""Seconds that a step may take, of which the longest takes half a second: a slower voice is of no use in a talk."""


class PiperVoices:
    """Piper voices as one text-to-speech engine; pieces of mono int16 at the voice's own rate.

    ``voices`` are the loaded models by name, the default first; each is loaded when first used and shared by all
    sessions. ``speakers`` names those of voices that have several; they are spoken as ``voice#speaker``, and ``voice``
    alone is the voice's default speaker. ``threads`` is how many steps may be computed at a time, ``most`` how many
    there may be later (default: no more).

    All clauses of a voice have the same gain, found from a specimen at first use. Word times are exact for voices whose
    network could be split or has an alignment output, and estimated from the number of phonemes for others.
    """

    name = "piper"

    def __init__(
        self,
        voices: Mapping[str, Resident[Voice]],
        *,
        speakers: Mapping[str, Sequence[str]] | None = None,
        threads: int = 1,
        most: int | None = None,
    ) -> None:
        if not voices:
            raise ValueError("at least one voice")
        self._residents: dict[str, tuple[Resident[Voice], str | None]] = {}
        for name, resident in voices.items():
            self._residents[name] = (resident, None)
            self._residents |= {f"{name}#{speaker}": (resident, speaker) for speaker in (speakers or {}).get(name, ())}
        self.voices = tuple(self._residents)
        self._gains: dict[str, float] = {}
        self._worker = Worker(self.name, threads=threads, limit=_LIMIT)
        self.pool = WorkerPool(self._worker, Bounds(1, max(1, most or threads)))
        """The steps that are computed at a time."""

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak ``text``; nothing comes when it has no letter or digit. Closing the generator stops synthesis.

        Raises :class:`~pipelines.errors.TTSError`: ``unknown_voice``, ``invalid_speed`` (legal is 0.25–4 times
        normal), ``voice_unavailable`` when the voice cannot be loaded, ``tts_failed``; and
        :class:`~pipelines.errors.EngineStuckError`.
        """
        name = self._legal(voice)
        low, high = SPEEDS
        if not low <= speed <= high:
            raise TTSError("invalid_speed", f"speed: {speed:g} is not within {low:g}–{high:g}")
        stop = Stop()
        offset = 0.0
        try:
            for part in steps(cleaned(text)):
                clause = Clause(part, Manner(self._residents[name][1], speed), offset)
                while not clause.ended:
                    for piece in await self._worker.run(self._step, name, clause, stop):
                        yield piece
                offset = clause.offset
        finally:
            stop.set()

    async def warm(self) -> None:
        """Load the default voice and speak a specimen to nobody. Raises as synthesis does."""
        await self._worker.run(self._warm, self.voices[0])

    async def close(self) -> None:
        """End the worker. Idempotent."""
        self._worker.close()

    def _legal(self, voice: str | None) -> str:
        name = self.voices[0] if voice is None else voice
        if name not in self._residents:
            raise TTSError("unknown_voice", f"voice: '{name}' is not one of {listed(self.voices)}")
        return name

    def _warm(self, name: str) -> None:
        with self._speaking(name) as voice:
            self._gain(name, voice, Stop())

    def _step(self, name: str, clause: Clause, stop: Stop) -> list[Speech]:
        """The next piece of ``clause``, on the worker: the voice is in memory for as long as it takes."""
        with self._speaking(name) as voice:
            gain = self._gain(name, voice, stop)
            allow(_LIMIT)
            return clause.step(voice, gain, stop)

    @contextmanager
    def _speaking(self, name: str) -> Iterator[Voice]:
        try:
            allow(LOAD_SECONDS)
            with self._residents[name][0].lease() as voice:
                yield voice
        except ModelError as error:
            raise TTSError("voice_unavailable", f"voice {name}: {error.message}") from error
        except PipelineError:
            raise
        except Exception as error:  # onnxruntime's and espeak's errors have no common base
            raise TTSError("tts_failed", f"voice {name} could not speak: {error}") from error

    def _gain(self, name: str, voice: Voice, stop: Stop) -> float:
        """What brings the voice to the common level."""
        if name not in self._gains:
            audio, exact = specimen(voice, _SPECIMEN, Manner(self._residents[name][1], 1.0), stop)
            how = "exact" if exact else "estimated from its phonemes"
            log.info("voice %s: %d Hz, word times are %s", name, voice.piper.config.sample_rate, how)
            loud = float(np.percentile(np.abs(audio), 99.9)) if len(audio) else 0.0
            self._gains[name] = float(np.clip(_PEAK / loud, *_GAINS)) if loud > 0 else 1.0
        return self._gains[name]


def load_piper(model: Path, config: Path, threads: int = 1, device: Literal["cpu", "cuda"] = "cpu") -> Voice:
    """Load a voice with ``threads`` threads for one run, which do not spin while they wait. Blocking: two seconds.

    Raises :class:`~pipelines.errors.ModelError`: ``library_missing``, ``device_unavailable``, ``voice_broken``.
    """
    if find_spec("piper") is None:
        raise ModelError("library_missing", "Piper voices need the package piper-tts: pip install piper-tts")
    import onnxruntime
    from piper.config import PiperConfig
    from piper.voice import PiperVoice

    providers: list[Any] = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in (present := onnxruntime.get_available_providers()):
            raise ModelError("device_unavailable", f"onnxruntime has no CUDA here; it has {', '.join(present)}")
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's libraries from torch or from the nvidia packages
        providers.insert(0, ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}))
    try:
        facts = PiperConfig.from_dict(json.loads(config.read_text("utf-8")))
        network: Network = split(model, threads, providers) or WholeNetwork(open_session(model, threads, providers))
    except Exception as error:
        raise ModelError(
            "voice_broken", f"{model.name} with {config.name} is no usable Piper voice: {error}"
        ) from error
    if device == "cuda" and "CUDAExecutionProvider" not in network.providers:
        raise ModelError("device_unavailable", "onnxruntime could not start CUDA (its CUDA or cuDNN libraries)")
    return Voice(PiperVoice(session=None, config=facts), network)


async def build(site: Site, found: Found) -> Built[PiperVoices]:
    """All voices that are here, that in ``found`` first and loaded (see :data:`pipelines.engines.registry.Build`)."""
    return await site.aside(_built, site, found)


def _built(site: Site, found: Found) -> Built[PiperVoices]:
    wanted, reason = site.device_for("onnxruntime")
    # Piper's graph has shapes that an NPU does not take.
    device: Literal["cpu", "cuda"] = "cuda" if wanted == "cuda" else "cpu"
    others = map(Found.of, site.others("text-to-speech", found.name))
    voices = (found, *others)
    residents = {_voice_in(one): _resident(site, one, device) for one in voices}
    with next(iter(residents.values())).lease():  # now and not in the first conversation
        pass
    most = max(1, site.cores // threads_for("tts", site.cores)) if device == "cpu" else 1
    engine = PiperVoices(residents, threads=1, most=most)
    return Built(engine, device, f"{listed(tuple(residents))}; {reason}", pools=(engine.pool,), warm=engine.warm)


def _voice_in(found: Found) -> str:
    """The voice's own name, as ``en_US-lessac-medium``."""
    return next(name.removesuffix(".onnx") for name in found.files if name.endswith(".onnx"))


def _resident(site: Site, found: Found, device: Literal["cpu", "cuda"]) -> Resident[Voice]:
    network = next(path for name, path in found.files.items() if name.endswith(".onnx"))
    config = next(path for name, path in found.files.items() if name.endswith(".json"))
    return site.residency.add(
        Loadable(
            found.name,
            partial(load_piper, network, config, threads_for("tts", site.cores), device),
            precision="float32",
            device=device,
            estimate=site.estimate(found.name, "float32"),
        )
    )
