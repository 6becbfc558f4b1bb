"""Neural voices: Piper (https://github.com/OHF-Voice/piper1-gpl), VITS networks on onnxruntime with espeak's phonemes.

A voice is a pair of files, ``NAME.onnx`` and ``NAME.onnx.json``. The network is run here and not through piper's own
``synthesize``, so that a run can be ended from outside: closing the generator stops it at the network's next node.

A clause is spoken in steps, a sentence or a part of a long one each (see :func:`pipelines.engines.piper_text.steps`).
Between steps other sessions have their turn. On a core a second of speech of a medium voice takes some 60 ms, so a step
of the longest kind (eight seconds without a comma) makes the others wait for half a second.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from media.frames import Samples
from pipelines.crew import LOAD_SECONDS, allow
from pipelines.engines.piper_text import aligned, estimated, joined, phoneme_ids, sounding, steps, word_marks
from pipelines.engines.spoken import SPEEDS, audible, cleaned, pause_after, pieces_of, with_tail, word_timings
from pipelines.errors import ModelError, PipelineError, SpeakError, listed
from pipelines.models.residency import Resident
from pipelines.ports import Speech
from pipelines.worker import Worker

if TYPE_CHECKING:
    from piper.voice import PiperVoice

log = logging.getLogger(__name__)

_SPECIMEN = "The early morning sun shone on the harbour wall."
"""Spoken to nobody when a voice is first used: it warms the network up and tells how loud the voice is."""
_PEAK = 0.5
"""-6 dBFS, as the embedded voice: where the peaks of the specimen are brought to."""
_GAINS = (0.25, 8.0)
_LIMIT = 4.0
"""Seconds that a step may take, of which the longest takes half a second: a slower voice is of no use in a talk."""


class PiperVoices:
    """Piper voices as one :class:`~pipelines.ports.TextToSpeech`; pieces of mono int16 at the voice's own rate.

    ``voices`` are the loaded models by name, the default first; each is loaded when first used and shared by all
    sessions. ``speakers`` names those of voices that have several; they are spoken as ``voice#speaker``, and ``voice``
    alone is the voice's default speaker. ``threads`` is how many steps may be computed at a time.

    All clauses of a voice have the same gain, found from a specimen at first use. Word times are exact for voices with
    an alignment output and estimated from the number of phonemes for others.
    """

    name = "piper"

    def __init__(
        self,
        voices: Mapping[str, Resident[PiperVoice]],
        *,
        speakers: Mapping[str, Sequence[str]] | None = None,
        threads: int = 1,
    ) -> None:
        if not voices:
            raise ValueError("at least one voice")
        self._residents: dict[str, tuple[Resident[PiperVoice], str | None]] = {}
        for name, resident in voices.items():
            self._residents[name] = (resident, None)
            self._residents |= {f"{name}#{speaker}": (resident, speaker) for speaker in (speakers or {}).get(name, ())}
        self.voices = tuple(self._residents)
        self._gains: dict[str, float] = {}
        self._worker = Worker(self.name, threads=threads, limit=_LIMIT)

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak ``text``; nothing comes when it has no letter or digit. Closing the generator stops synthesis.

        Raises :class:`~pipelines.errors.SpeakError`: ``unknown_voice``, ``invalid_speed`` (legal is 0.25–4 times
        normal), ``voice_unavailable`` when the voice cannot be loaded, ``tts_failed``; and
        :class:`~pipelines.errors.EngineStuckError`.
        """
        name = self._legal(voice)
        low, high = SPEEDS
        if not low <= speed <= high:
            raise SpeakError("invalid_speed", f"speed: {speed:g} is not within {low:g}–{high:g}")
        stop = _Stop()
        offset = 0.0
        try:
            for part in steps(cleaned(text)):
                pieces = await self._worker.run(self._step, name, part, speed, offset, stop)
                for piece in pieces:
                    yield piece
                    offset += len(piece.samples) / piece.rate
        finally:
            stop.set()

    async def warm(self, voice: str | None = None) -> None:
        """Load ``voice`` (the default one if ``None``) and speak a specimen to nobody. Raises as synthesis does."""
        await self._worker.run(self._warm, self._legal(voice))

    async def close(self) -> None:
        """End the worker. Idempotent."""
        self._worker.close()

    def _legal(self, voice: str | None) -> str:
        name = self.voices[0] if voice is None else voice
        if name not in self._residents:
            raise SpeakError("unknown_voice", f"voice: '{name}' is not one of {listed(self.voices)}")
        return name

    def _warm(self, name: str) -> None:
        self._step(name, "", 1.0, 0.0, _Stop())

    def _step(self, name: str, part: str, speed: float, offset: float, stop: _Stop) -> list[Speech]:
        """One step, on the worker: the voice is in memory for as long as it takes."""
        resident, speaker = self._residents[name]
        try:
            allow(LOAD_SECONDS)
            with resident.lease() as voice:
                if name not in self._gains:
                    self._gains[name] = self._measured(name, voice, speaker, stop)
                allow(_LIMIT)
                return _spoken(voice, part, _Manner(speaker, speed, self._gains[name]), offset, stop) if part else []
        except ModelError as error:
            raise SpeakError("voice_unavailable", f"voice {name}: {error.message}") from error
        except PipelineError:
            raise
        except Exception as error:  # onnxruntime's and espeak's errors have no common base
            raise SpeakError("tts_failed", f"voice {name} could not speak: {error}") from error

    def _measured(self, name: str, voice: PiperVoice, speaker: str | None, stop: _Stop) -> float:
        """The gain that brings the voice to the common level."""
        sound = _synthesized(voice, _SPECIMEN, _Manner(speaker, 1.0, 1.0), stop)
        exact = "exact" if sound.starts is not None else "estimated from its phonemes"
        log.info("voice %s: %d Hz, word times are %s", name, voice.config.sample_rate, exact)
        loud = float(np.percentile(np.abs(sound.audio), 99.9)) if len(sound.audio) else 0.0
        return float(np.clip(_PEAK / loud, *_GAINS)) if loud > 0 else 1.0


def load_piper(model: Path, config: Path, threads: int = 1, device: Literal["cpu", "cuda"] = "cpu") -> PiperVoice:
    """Load a voice with ``threads`` threads for one run, which do not spin while they wait.

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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        facts = PiperConfig.from_dict(json.loads(config.read_text("utf-8")))
        session = onnxruntime.InferenceSession(str(model), options, providers=providers)
    except Exception as error:
        raise ModelError(
            "voice_broken", f"{model.name} with {config.name} is no usable Piper voice: {error}"
        ) from error
    if device == "cuda" and "CUDAExecutionProvider" not in session.get_providers():
        raise ModelError("device_unavailable", "onnxruntime could not start CUDA (its CUDA or cuDNN libraries)")
    return PiperVoice(session=session, config=facts)


def speakers_of(config: Path) -> tuple[str, ...]:
    """The speakers that a voice's ``.onnx.json`` names; empty for a voice with one.

    Raises :class:`~pipelines.errors.ModelError` (``voice_broken``).
    """
    try:
        facts = json.loads(config.read_text("utf-8"))
        return tuple(facts.get("speaker_id_map") or ()) if facts.get("num_speakers", 1) > 1 else ()
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ModelError("voice_broken", f"{config.name} does not describe a Piper voice: {error}") from error


class _Stop:
    """Ends the runs of one utterance, from any thread."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._options: Any = None

    def options(self) -> Any:
        """What a run must be given. On the worker, for importing onnxruntime takes long."""
        if self._options is None:
            import onnxruntime

            self._options = onnxruntime.RunOptions()
        if self._set.is_set():
            self._options.terminate = True
        return self._options

    def set(self) -> None:
        """The run in hand fails at its next node, and so do all that follow."""
        self._set.set()
        if self._options is not None:
            self._options.terminate = True


@dataclass(frozen=True, slots=True)
class _Manner:
    speaker: str | None
    speed: float
    gain: float


@dataclass(frozen=True, slots=True)
class _Sound:
    audio: NDArray[np.float32]
    phonemes: list[str] = field(default_factory=list)
    starts: NDArray[np.float64] | None = None
    """Where each phoneme begins and the last one ends, in samples."""


def _spoken(voice: PiperVoice, part: str, manner: _Manner, offset: float, stop: _Stop) -> list[Speech]:
    """``part`` as pieces with their words, ``offset`` seconds into the clause."""
    sound = _synthesized(voice, part, manner, stop)
    if not len(sound.audio):
        return []
    rate = voice.config.sample_rate
    raw = np.nan_to_num(sound.audio) * (manner.gain * 32767.0)
    samples: Samples = np.clip(raw, -32767, 32767).astype(np.int16)
    starts = estimated(sound.phonemes, *audible(samples)) if sound.starts is None else sound.starts
    samples = with_tail(samples, rate, pause_after(part))
    seconds = len(samples) / rate
    marks = word_marks(part, sound.phonemes, starts, rate, lambda word: sounding(joined(voice.phonemize(word))))
    marks = [(begin, min(time, seconds)) for begin, time in marks]
    return list(pieces_of(samples, rate, offset, word_timings(part, marks, seconds)))


def _synthesized(voice: PiperVoice, text: str, manner: _Manner, stop: _Stop) -> _Sound:
    """One run of the network. Nothing when espeak makes no sound of ``text``."""
    config = voice.config
    phonemes = joined(voice.phonemize(text.replace("[[", "[ [")))  # [[…]] would be read as phonemes
    if not phonemes:
        return _Sound(np.zeros(0, np.float32))
    owners: list[int] | None = None
    if config.phoneme_type == "pinyin":  # has ids of its own making
        ids = voice.phonemes_to_ids(phonemes)
    else:
        ids, owners = phoneme_ids(phonemes, config.phoneme_id_map)
    feed = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array([config.noise_scale, config.length_scale / manner.speed, config.noise_w_scale], np.float32),
    }
    if config.num_speakers > 1:
        number = config.default_speaker_id if manner.speaker is None else config.speaker_id_map[manner.speaker]
        feed["sid"] = np.array([number], np.int64)
    audio, *alignment = voice.session.run(None, feed, stop.options())
    starts = None
    if alignment and owners is not None and np.size(alignment[0]) == len(ids):
        samples = (np.ravel(alignment[0]) * config.hop_length).astype(np.int64)
        starts = aligned(owners, samples, len(phonemes))
    return _Sound(np.ravel(audio).astype(np.float32, copy=False), phonemes, starts)
