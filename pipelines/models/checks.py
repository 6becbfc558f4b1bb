"""Whether a model does what it is for: it is loaded, given something tiny, and what comes out is looked at.

A checksum says that a file is the published one; only this says that the libraries on this machine can run it.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from media.frames import Picture, Samples
from pipelines.engines.onnx_session import open_session
from pipelines.errors import ModelError, PipelineError
from pipelines.interfaces.llm import ChatRequest, Message
from pipelines.interfaces.vad import VAD_RATE
from pipelines.models.catalogue import Model
from pipelines.models.residency import Kept
from pipelines.models.store import ModelFiles
from pipelines.vision.detectors import DETECTORS, DetectorName

_SENTENCE = "Good morning, how are you?"
_WAV_HEADER = 44
"""Bytes."""
_FIRST, _ALIKE, _OTHER = "How is the weather today?", "Is it raining outside?", "The engine needs new oil."


def check(model: Model, files: ModelFiles) -> str:
    """What came out, in words. Blocking: seconds.

    Raises :class:`~pipelines.errors.PipelineError`; ``check_failed`` when the model loads and does not do its work.
    """
    checker = CHECKS.get((model.task, model.requires or ""))
    if checker is None:
        raise ModelError("check_failed", f"there is no check for {model.task} on {model.requires}")
    try:
        return checker(files)
    except (PipelineError, MemoryError):
        raise
    except Exception as error:  # whatever a library makes of a file that it cannot use
        raise ModelError("check_failed", f"{type(error).__name__}: {error}") from error


def _require(true: bool, problem: str) -> None:
    if not true:
        raise ModelError("check_failed", problem)


# ------------------------------------------------------------------------------------------------ listening, thinking


async def _spoken() -> Samples:
    """The sentence in the voice that is always there; 16 kHz."""
    from pipelines.engines.tts.espeak import EspeakVoice

    voice = EspeakVoice()
    try:
        pieces = [piece async for piece in voice.synthesize(_SENTENCE)]
    finally:
        await voice.close()
    sound = np.concatenate([piece.samples for piece in pieces])
    times = np.arange(0, len(sound), pieces[0].rate / VAD_RATE)
    return np.asarray(np.interp(times, np.arange(len(sound)), sound), np.int16)


def _moonshine(files: ModelFiles) -> str:
    from pipelines.engines.stt.moonshine_model import load_moonshine

    return _heard(load_moonshine(_folder(files)).transcribe(asyncio.run(_spoken())).text)


def _whisper(files: ModelFiles) -> str:
    from pipelines.engines.stt.whisper_model import load_whisper

    whisper = load_whisper(files.path, "cpu")
    spectrogram = whisper.spectrogram(asyncio.run(_spoken()), 500)
    (said,) = whisper.generate(whisper.encode(spectrogram[None]), "transcribe", ["en"], [[]], most=32)
    return _heard(said.text)


def _heard(text: str) -> str:
    _require(bool(text), f"nothing was heard where “{_SENTENCE}” was said")
    return f"heard “{text}” where espeak-ng said “{_SENTENCE}”"


def _smart_turn(files: ModelFiles) -> str:
    from pipelines.engines.turn.smart_turn import SmartTurn

    async def judged() -> float:
        detector = SmartTurn(files.path)
        try:
            return await detector.completeness(await _spoken())
        finally:
            await detector.close()

    chance = asyncio.run(judged())
    _require(0.0 <= chance <= 1.0, f"gives {chance} for a chance")
    return f"“{_SENTENCE}” is finished with a chance of {chance:.2f}"


def _transformers(files: ModelFiles) -> str:
    from pipelines.engines.llm.local import LocalChat
    from pipelines.engines.llm.transformers_chat import load_chat

    return asyncio.run(_answer(LocalChat(Kept(files.id, load_chat(files.path, "cpu")))))


def _gguf(files: ModelFiles) -> str:
    from pipelines.engines.llm.llama import LlamaChat
    from pipelines.engines.llm.llama_process import Config

    return asyncio.run(_answer(LlamaChat(files.id, Config(str(files.path), context=512, slots=1, cache_mib=0))))


async def _answer(engine: Any) -> str:
    request = ChatRequest((Message("user", "Say hello."),), max_tokens=16)
    try:
        async with aclosing(engine.stream(request)) as pieces:
            said = "".join([str(piece) async for piece in pieces]).strip()
    finally:
        await engine.close()
    _require(bool(said), "nothing was answered")
    return f"answers “{said}”"


# ------------------------------------------------------------------------------------------------ speaking


def _piper(files: ModelFiles) -> str:
    from pipelines.engines.tts.piper_voices import PiperVoices, load_piper

    network = next(path for name, path in files.files.items() if name.endswith(".onnx"))
    config = next(path for name, path in files.files.items() if name.endswith(".json"))

    async def spoken() -> tuple[Samples, int]:
        voices = PiperVoices({"voice": Kept(files.id, load_piper(network, config))})
        try:
            pieces = [piece async for piece in voices.synthesize(_SENTENCE)]
        finally:
            await voices.close()
        return np.concatenate([piece.samples for piece in pieces]), pieces[0].rate

    sound, rate = asyncio.run(spoken())
    seconds = len(sound) / rate
    _require(0.5 < seconds < 10 and int(np.abs(sound).max()) > 1000, f"{seconds:.1f} s of silence")
    return f"says “{_SENTENCE}” in {seconds:.1f} s"


# ------------------------------------------------------------------------------------------------ seeing and reading


def _detector(name: DetectorName) -> Callable[[ModelFiles], str]:
    def looked(files: ModelFiles) -> str:
        from pipelines.engines.mediapipe.tasks import MediaPipeVision

        tracker = MediaPipeVision({name: files.path}).open((name,))
        try:
            found = tracker.detect(Picture(np.full((240, 320, 3), 128, np.uint8), 0.0))
        finally:
            tracker.close()
        return f"looked at a grey picture and found {len(found) or 'nothing'}"

    return looked


def _ocr(files: ModelFiles) -> str:
    """Finds a written line, turns it the right way up and reads it; each by a network of its own."""
    import cv2

    line = np.full((48, 320, 3), 255, np.uint8)
    cv2.putText(line, "visavis 42", (12, 36), cv2.FONT_HERSHEY_SIMPLEX, 1.2, (0, 0, 0), 2, cv2.LINE_AA)
    page = cv2.copyMakeBorder(line, 56, 56, 0, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    detect, read, turn = (open_session(files.files[name]) for name in _by_kind(files.files, "det", "rec", "cls"))
    lit = _run(detect, x=_planes(page))[0, 0]
    _require(lit.shape == page.shape[:2], f"the text detector gives {lit.shape} for {page.shape[:2]}")
    _require(lit[56:104].max() > 0.5 > lit[:40].max(), "the text detector does not see a written line")
    _require(_run(turn, x=_planes(cv2.resize(line, (192, 48)))).shape == (1, 2), "the text turner gives another shape")
    letters = ["", *read.get_modelmeta().custom_metadata_map["character"].splitlines(), " "]
    best = _run(read, x=_planes(line))[0].argmax(-1)
    fresh = [int(letter) for before, letter in zip([-1, *best], best, strict=False) if letter != before]
    text = "".join(letters[letter] for letter in fresh).strip()
    _require("visavis" in text, f"reads “{text}” where “visavis 42” is written")
    return f"reads “{text}” where “visavis 42” is written"


def _clean(files: ModelFiles) -> str:
    """Takes noise out of a spoken sentence: less is left where nobody speaks."""
    rate = VAD_RATE
    speech = asyncio.run(_spoken()).astype(np.float32)
    noisy = np.concatenate([np.zeros(rate, np.float32), speech])
    noisy += np.random.default_rng(1).normal(size=len(noisy)).astype(np.float32) * 300
    (heard,) = _done("audio-to-audio", files, inputs=_wav(noisy, rate))
    quiet = np.frombuffer(base64.b64decode(heard["blob"])[_WAV_HEADER:], np.int16)
    cleaned = quiet[: len(quiet) * rate // len(noisy) // 2].astype(np.float32)  # half of the second before the speech
    before, after = (float(np.sqrt(np.mean(part**2))) for part in (noisy[: rate // 2], cleaned))
    _require(after < before / 2, f"noise of {before:.0f} is still {after:.0f} afterwards")
    return f"makes noise of {before:.0f} that of {after:.0f}"


def _voice_vector(files: ModelFiles) -> str:
    vector = np.asarray(_done("speaker-embedding", files, inputs=_wav(asyncio.run(_spoken()), VAD_RATE)))
    length = float(np.linalg.norm(vector))
    _require(abs(length - 1.0) < 0.01, f"the vector of a voice has the length {length:.2f} instead of 1")
    return f"{len(vector)} numbers a voice"


def _done(task: str, files: ModelFiles, **inputs: Any) -> Any:
    """What the task makes of one item with the model."""
    from pipelines.interfaces.task import Job
    from pipelines.tasks.registry import spec_of

    spec = spec_of(task)
    (done,) = spec.run(spec.load(_folder(files), "cpu", "float32"), [Job(spec.inputs(**inputs), spec.parameters())])
    if isinstance(done, PipelineError):
        raise done
    return done.output


def _wav(samples: NDArray[Any], rate: int) -> bytes:
    from pipelines.tasks.audio.sounds import wav_file

    return wav_file(samples.astype(np.int16), rate)


def _by_kind(names: Sequence[str] | Any, *kinds: str) -> list[str]:
    return [next(name for name in names if f"_{kind}" in name) for kind in kinds]


def _planes(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """As PaddleOCR's networks take a picture: shape ``(1, 3, height, width)``, values in -1…1."""
    return np.asarray((pixels.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None], np.float32)


# ------------------------------------------------------------------------------------------------ embeddings


def _minilm(files: ModelFiles) -> str:
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(str(files.path), local_files_only=True).eval()

    def embed(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(torch.from_numpy(ids)).last_hidden_state, np.float32)

    return _alike(files.path / "tokenizer.json", embed)


def _minilm_onnx(files: ModelFiles) -> str:
    session = open_session(files.files["model.onnx"])

    def embed(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return _run(session, input_ids=ids, attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))

    return _alike(files.files["tokenizer.json"], embed)


def _alike(tokenizer: Path, embed: Callable[[NDArray[np.int64]], NDArray[np.float32]]) -> str:
    """Sentences that mean the like must be nearer to each other than to another."""
    from tokenizers import Tokenizer

    tokens = Tokenizer.from_file(str(tokenizer))
    tokens.no_padding()
    vectors = []
    for sentence in (_FIRST, _ALIKE, _OTHER):
        vector = embed(np.array([tokens.encode(sentence).ids], np.int64))[0].mean(0)
        vectors.append(vector / np.linalg.norm(vector))
    near, far = float(vectors[0] @ vectors[1]), float(vectors[0] @ vectors[2])
    _require(near > far + 0.1, f"“{_FIRST}” is as near to “{_OTHER}” ({far:.2f}) as to “{_ALIKE}” ({near:.2f})")
    return f"{len(vectors[0])} numbers a sentence; alike {near:.2f}, unlike {far:.2f}"


# ------------------------------------------------------------------------------------------------ helpers


def _folder(files: ModelFiles) -> Path:
    return next(iter(files.files.values())).parent


def _run(session: Any, **feed: NDArray[Any]) -> NDArray[np.float32]:
    """The first output. Raises :class:`ModelError` when the network has other inputs."""
    names = {entry.name for entry in session.get_inputs()}
    _require(names == set(feed), f"its inputs are {', '.join(sorted(names))} instead of {', '.join(sorted(feed))}")
    return np.asarray(session.run(None, feed)[0], np.float32)


CHECKS: dict[tuple[str, str], Callable[[ModelFiles], str]] = {
    ("speech-to-text", "onnxruntime"): _moonshine,
    ("speech-to-text", "faster-whisper"): _whisper,
    ("turn-detection", "onnxruntime"): _smart_turn,
    ("chat", "transformers"): _transformers,
    ("chat", "xllamacpp"): _gguf,
    ("text-to-speech", "piper-tts"): _piper,
    ("ocr", "onnxruntime"): _ocr,
    ("audio-to-audio", "onnxruntime"): _clean,
    ("object-detection", "onnxruntime"): _detector("objects"),
    ("speaker-embedding", "torch"): _voice_vector,
    ("embedding", "transformers"): _minilm,
    ("embedding", "onnxruntime"): _minilm_onnx,
    **{(row.task, "mediapipe"): _detector(row.name) for row in DETECTORS.values() if row.models},
}
"""Task and library → the check."""
