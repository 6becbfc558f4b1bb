"""The engines of the conversations as models: ``chat``, ``stt``, ``tts``, ``embed``, ``vision``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import numpy as np

from media.frames import Picture
from pipelines.interfaces.llm import ToolCall
from pipelines.interfaces.vision import Detection
from pipelines.routing.items import Text
from pipelines.vision.camera import DETECTION_SIDE
from pipelines.vision.detect import Looker
from pipelines.vision.images import smaller
from server.grpc.chat import text_request
from server.grpc.field_names import OIP_CHAT, OIP_SPEECH, OIP_TRANSCRIBE, renamed
from server.grpc.frames import Shown
from server.grpc.oip.model import Ask, OipModel, Outputs, Pieces, WholeModel
from server.grpc.oip.tensors import BYTES, Tensor
from server.grpc.runs import PipelineRuns, by_segments
from server.grpc.shell import Call, bad, heed_latency
from server.grpc.speech import RATES, USUAL
from server.grpc.vision import Watching
from server.http.pipelines.arriving import once, pcm
from server.http.rest.chat import Chat
from server.http.rest.chat_request import ChatBody
from server.http.rest.requests import validated
from server.http.rest.speech import SpeechBody, SpeechOut, spoken
from server.http.tasks.door import TaskDoor
from server.http.tasks.embeddings import TASK

_TEXT = Tensor("text", BYTES, (1,))
_STEP = 1 / 30
"""Seconds from one picture of a stream to the next."""


class ChatModel(WholeModel):
    """The language model: a text in, an answer out."""

    name = "chat"
    platform = "visavis_llm"
    inputs = (_TEXT,)
    outputs = (_TEXT, Tensor("finish_reason", BYTES, (1,)))
    decoupled = True

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    @property
    def versions(self) -> Sequence[str]:
        """See :class:`~server.grpc.oip.model.OipModel`."""
        return (self._chat.name,)

    async def infer(self, ask: Ask) -> Outputs:
        """The whole answer."""
        texts, finish = [], b""
        async with aclosing(self.pieces(ask)) as pieces:
            async for piece, _ in pieces:
                texts.append(piece["text"][0])
                finish = piece["finish_reason"][0]
        return {"text": [b"".join(texts)], "finish_reason": [finish]}

    async def pieces(self, ask: Ask) -> Pieces:
        """The answer as it is made; the last piece has no text and says how it ended."""
        ask.only("max_tokens", "temperature", "top_p", "seed", "stop")
        with renamed(OIP_CHAT):
            body = validated(ChatBody, text_request(ask.text("text"), ask.parameters, ask.version or self._chat.name))
            answer = await self._chat.prepared(body)
        async with self._chat.places.place(), aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                if not isinstance(piece, ToolCall):
                    yield {"text": [piece.encode("utf-8", "replace")], "finish_reason": [b""]}, False
        yield {"text": [b""], "finish_reason": [answer.finish.encode()]}, True


class SpeechToTextModel(WholeModel):
    """The recogniser, with the pipeline ``transcribe``: samples in, text out."""

    name = "stt"
    platform = "visavis_stt"
    inputs = (Tensor("audio", "INT16", (-1,)),)
    outputs = (_TEXT, Tensor("segments", BYTES, (-1,)), Tensor("start", "FP64", (-1,)), Tensor("end", "FP64", (-1,)))

    def __init__(self, runs: PipelineRuns) -> None:
        self._runs = runs

    async def infer(self, ask: Ask) -> Outputs:
        """The whole text, and what was said when."""
        ask.only("sample_rate", "language")
        rate = ask.whole("sample_rate", 16_000, *RATES)
        with renamed(OIP_TRANSCRIBE):
            pipeline = by_segments(self._runs.pipeline(USUAL), ask.word("language"))
        sound = pcm(once(ask.inputs["audio"].astype("<i2").tobytes()), rate, 1)
        outputs = self._runs.outputs(pipeline, {"audio": sound}, ask.call)
        async with aclosing(outputs):
            said = [item async for item in outputs if isinstance(item, Text)]
        return {
            "text": ["".join(item.text for item in said).encode()],
            "segments": [item.text.strip().encode() for item in said],
            "start": np.array([item.start or 0.0 for item in said]),
            "end": np.array([item.end or 0.0 for item in said]),
        }


class TextToSpeechModel(WholeModel):
    """The voice: a text in, samples out."""

    name = "tts"
    platform = "visavis_tts"
    inputs = (_TEXT,)
    outputs = (Tensor("audio", "INT16", (-1,)), Tensor("sample_rate", "INT32", (1,)))
    decoupled = True

    def __init__(self, speech: SpeechOut) -> None:
        self._speech = speech

    async def infer(self, ask: Ask) -> Outputs:
        """All of the speech."""
        async with aclosing(self.pieces(ask)) as pieces:
            made = [piece async for piece, _ in pieces]
        return {"audio": np.concatenate([piece["audio"] for piece in made]), "sample_rate": made[0]["sample_rate"]}

    async def pieces(self, ask: Ask) -> Pieces:
        """The speech as it is made; the last piece is empty."""
        ask.only("voice", "speed")
        with renamed(OIP_SPEECH):
            body = validated(SpeechBody, {"input": ask.text("text"), **ask.parameters})
            engine, voice = self._speech.speaker(body)
        rate = 0
        async with self._speech.places.place(), aclosing(spoken(body, engine, voice)) as pieces:
            async for piece in pieces:
                rate = piece.rate
                yield {"audio": piece.samples, "sample_rate": np.array([rate])}, False
        if not rate:
            raise bad("text", "nothing in it makes a sound")
        yield {"audio": np.zeros(0, np.int16), "sample_rate": np.array([rate])}, True


class EmbeddingModel(WholeModel):
    """Texts in, vectors out, by the task ``feature-extraction``."""

    name = "embed"
    platform = "visavis_task"
    inputs = (Tensor("text", BYTES, (-1,)),)
    outputs = (Tensor("embedding", "FP32", (-1, -1)),)

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    @property
    def versions(self) -> Sequence[str]:
        """Embedding models that are here."""
        return self._door.tasks.models(TASK)

    def why_not(self) -> str:
        """Without any."""
        return self._door.tasks.why_not(TASK)

    async def infer(self, ask: Ask) -> Outputs:
        """One vector for each text."""
        ask.only("dimensions")
        heed_latency(ask.call)
        runner = await self._door.runner(TASK, ask.version or "auto")
        items = [{"text": text} for text in ask.texts("text")]
        names = {"text": "text", "parameters.dimensions": "parameters.dimensions"}
        answer = await self._door.run(runner, items, ask.parameters, names, numbered=True)
        return {"embedding": np.array([done.output for done in answer.done], np.float32)}


@dataclass(slots=True)
class _Following:
    """Who looks at the pictures of a stream, and how many there were."""

    looker: Looker
    pictures: int = 0


class VisionModel(WholeModel):
    """The detectors: a picture in, what is in it out. The pictures of one stream are followed."""

    name = "vision"
    platform = "visavis_vision"
    inputs = (Tensor("image", "UINT8", (-1, -1, 3)),)
    outputs = (
        Tensor("boxes", "FP32", (-1, 4)),
        Tensor("scores", "FP32", (-1,)),
        Tensor("ids", "INT32", (-1,)),
        Tensor("kinds", BYTES, (-1,)),
        Tensor("labels", BYTES, (-1,)),
    )

    def __init__(self, watching: Watching) -> None:
        self._watching = watching

    def why_not(self) -> str:
        """Without any detector."""
        engines = self._watching.engines
        return "" if engines.trackers is not None else "; ".join(set(engines.unavailable_detectors.values()))

    async def infer(self, ask: Ask) -> Outputs:
        """Boxes as x, y, width and height in fractions of the picture."""
        ask.only("detectors")
        detectors = tuple(filter(None, (name.strip() for name in ask.word("detectors").split(","))))
        image = ask.inputs["image"]
        if min(image.shape) < 1:
            raise bad("image", "is empty")
        following = await ask.kept.have(detectors, lambda: self._following(detectors, ask.call))
        pixels = await self._watching.codecs.run(smaller, image, DETECTION_SIDE)
        found: tuple[Detection, ...] = ()
        for _ in range(1 if following.pictures else 2):  # what is followed is told from its second picture on
            number = following.pictures
            following.pictures += 1
            found = await self._watching.look(following.looker, Shown(number, Picture(pixels, number * _STEP)))
        return {
            "boxes": np.array([one.box for one in found], np.float32).reshape(-1, 4),
            "scores": np.array([one.score for one in found], np.float32),
            "ids": np.array([one.id for one in found], np.int32),
            "kinds": [one.kind.encode() for one in found],
            "labels": [one.label.encode() for one in found],
        }

    @asynccontextmanager
    async def _following(self, detectors: tuple[str, ...], call: Call) -> AsyncIterator[_Following]:
        async with self._watching.looker(detectors, call) as looker:
            yield _Following(looker)


class EngineModels:
    """The family."""

    def __init__(self, models: Sequence[OipModel]) -> None:
        self._models = {model.name: model for model in models}

    async def find(self, name: str) -> OipModel | None:
        """See :class:`~server.grpc.oip.model.Models`."""
        return self._models.get(name)

    async def all(self) -> Sequence[OipModel]:
        """See :class:`~server.grpc.oip.model.Models`."""
        return list(self._models.values())
