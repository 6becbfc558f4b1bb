"""What a run gives → the bytes of an answer, as it is made: for HTTP and for the command line.

Each kind of answer is a :class:`Answer`: items in, bytes out. Encoders run on a worker's thread.
"""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from media.files import CONTENT_TYPES, ENCODED_RATE, AudioFormat, Encoder
from media.frames import Picture, Samples
from media.recordings.video_encoder import VideoEncoder, VideoFormat
from pipelines.errors import PipelineError
from pipelines.routing.items import Data, Item, Sound, Text
from pipelines.runtime.worker import Worker
from server.http.pipelines.accept import JPEG, JSON, LINES, PCM, TEXT, Shape
from server.http.pipelines.store import KeptRun
from server.http.rest.json_text import is_short, written

MOST_HELD = 64 << 20
"""Bytes of results that are kept for an answer that is sent at the end."""
_FORMATS: dict[str, AudioFormat] = {kind: name for name, kind in CONTENT_TYPES.items()}


class Answer(Protocol):
    """The answer while it is made."""

    @property
    def content_type(self) -> str:
        """Known once there are bytes, or all is over."""
        ...

    async def push(self, stage: str, item: Item) -> bytes:
        """What a stage gave; returns what is ready of the answer."""
        ...

    async def finish(self) -> bytes:
        """The rest."""
        ...


def answer_of(shape: Shape, sinks: Sequence[str], rate: int | None, worker: Worker) -> Answer:
    """Of one medium, which the stages ``sinks`` give; of sound and pictures the first of them is heard and seen.

    ``rate``: hertz of PCM and WAV; ``None``: as the voice has it.
    """
    kind = shape.content_type
    if shape.medium == "audio":
        return SoundAnswer(_FORMATS[kind], sinks[0], rate, worker)
    if kind == TEXT:
        return TextAnswer(sinks)
    if kind == LINES:
        return LinesAnswer(sinks, worker)
    if shape.medium == "video":
        return VideoAnswer("webm" if kind == "video/webm" else "mp4", sinks[0], worker)
    return PictureAnswer(kind, sinks[0], worker)


class SoundAnswer:
    """A sound file."""

    def __init__(self, kind: AudioFormat, stage: str, rate: int | None, worker: Worker) -> None:
        self._kind = kind
        self._stage = stage
        self._rate = rate
        self._worker = worker
        self._encoder: Encoder | None = None

    @property
    def content_type(self) -> str:
        """Headerless sound tells its rate here."""
        kind = CONTENT_TYPES[self._kind]
        return f"{kind};rate={self._rate or ENCODED_RATE};channels=1" if kind == PCM else kind

    async def push(self, stage: str, item: Item) -> bytes:
        """The next of the sound."""
        if stage != self._stage or not isinstance(item, Sound):
            return b""
        if self._encoder is None:
            self._rate = self._rate or item.rate
            self._encoder = await self._worker.run(Encoder, self._kind, self._rate)
        return await self._worker.run(self._encoder.push, item.samples, item.rate)

    async def finish(self) -> bytes:
        """The end of the file; of one without a sound nothing but its head."""
        if self._encoder is None:
            self._encoder = await self._worker.run(Encoder, self._kind, self._rate or ENCODED_RATE)
        return await self._worker.run(self._encoder.finish)


class TextAnswer:
    """The text, as it comes."""

    content_type = f"{TEXT}; charset=utf-8"

    def __init__(self, stages: Collection[str]) -> None:
        self._stages = stages

    async def push(self, stage: str, item: Item) -> bytes:
        """The next words."""
        return item.text.encode("utf-8", "replace") if stage in self._stages and isinstance(item, Text) else b""

    async def finish(self) -> bytes:
        """The end of the line."""
        return b"\n"


class LinesAnswer:
    """Each result as a line of JSON; ``stage`` tells whose, where there are several."""

    content_type = LINES

    def __init__(self, stages: Collection[str], worker: Worker) -> None:
        self._stages = stages
        self._worker = worker

    async def push(self, stage: str, item: Item) -> bytes:
        """The next line."""
        if stage not in self._stages or not isinstance(item, Data):
            return b""
        line = dict(item.value) if len(self._stages) == 1 else {"stage": stage, **item.value}
        if is_short(line):
            return written(line, compact=True) + b"\n"
        return await self._worker.run(written, line, compact=True) + b"\n"

    async def finish(self) -> bytes:
        """Nothing."""
        return b""


class PictureAnswer:
    """The first picture."""

    def __init__(self, kind: str, stage: str, worker: Worker) -> None:
        self.content_type = kind
        self._stage = stage
        self._worker = worker
        self._is_done = False

    async def push(self, stage: str, item: Item) -> bytes:
        """The picture."""
        if self._is_done or stage != self._stage or not isinstance(item, Picture):
            return b""
        self._is_done = True
        return await self._worker.run(encoded, item, self.content_type)

    async def finish(self) -> bytes:
        """Raises :class:`PipelineError` where there was none."""
        if not self._is_done:
            raise PipelineError("nothing_given", f"stage {self._stage} gave no picture")
        return b""


class VideoAnswer:
    """Pictures as a video."""

    def __init__(self, kind: VideoFormat, stage: str, worker: Worker) -> None:
        self.content_type = f"video/{kind}"
        self._kind = kind
        self._stage = stage
        self._worker = worker
        self._encoder: VideoEncoder | None = None

    async def push(self, stage: str, item: Item) -> bytes:
        """The next picture."""
        if stage != self._stage or not isinstance(item, Picture):
            return b""
        if self._encoder is None:
            self._encoder = await self._worker.run(VideoEncoder, self._kind)
        return await self._worker.run(self._encoder.push, item)

    async def finish(self) -> bytes:
        """The end of the file. Raises :class:`PipelineError` where there was no picture."""
        if self._encoder is None:
            raise PipelineError("nothing_given", f"stage {self._stage} gave no picture")
        return await self._worker.run(self._encoder.finish)


class JsonAnswer:
    """What every stage gave, as one JSON object at the end; of sound and pictures only what the pipeline gives."""

    content_type = JSON

    def __init__(self, kept: KeptRun, sinks: Collection[str], worker: Worker) -> None:
        self._kept = kept
        self._sinks = sinks
        self._worker = worker
        self._items: dict[str, list[Item]] = defaultdict(list)
        self._held = 0

    async def push(self, stage: str, item: Item) -> bytes:
        """Nothing yet. Raises :class:`PipelineError` when what was given is too much for an answer at the end."""
        match item:
            case Sound() if stage in self._sinks:
                self._held += item.samples.nbytes
            case Picture() if stage in self._sinks:
                self._held += item.pixels.nbytes
            case Text():
                self._held += 200 + len(item.text)
            case Data():
                self._held += await self._size(item)
            case _:
                return b""
        if self._held > MOST_HELD:
            message = f"the results have more than {MOST_HELD >> 20} MiB: ask for them as text/event-stream"
            raise PipelineError("output_too_large", message)
        self._items[stage].append(item)
        return b""

    async def _size(self, item: Data) -> int:
        value = dict(item.value)
        return len(repr(value)) if is_short(value) else len(await self._worker.run(written, value))

    async def finish(self) -> bytes:
        """The object: the run, and stage id → what it gave."""
        outputs = {stage: await self._worker.run(_given, items) for stage, items in self._items.items()}
        return await self._worker.run(written, {**self._kept.json(), "outputs": outputs})


def _given(items: Sequence[Item]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    texts = [item for item in items if isinstance(item, Text)]
    sounds = [item for item in items if isinstance(item, Sound)]
    pictures = [item for item in items if isinstance(item, Picture)]
    data = [dict(item.value) for item in items if isinstance(item, Data)]
    if texts:
        made["text"] = "".join(item.text for item in texts)
        timed = [item for item in texts if item.start is not None]
        if timed:
            made["segments"] = [text_json(item) for item in timed]
    if sounds:
        rate = sounds[0].rate
        encoder = Encoder("wav", rate)
        made["audio"] = based(b"".join([*(encoder.push(one.samples, one.rate) for one in sounds), encoder.finish()]))
        made["rate"] = rate
    if pictures:
        made["images"] = [based(encoded(one, "image/png" if len(pictures) == 1 else JPEG)) for one in pictures]
    if data:
        made["data"] = data
    return made


def text_json(item: Text) -> dict[str, Any]:
    """For clients."""
    told = {"text": item.text, "final": item.final, "start": item.start, "end": item.end, "language": item.language}
    return {name: value for name, value in told.items() if value is not None}


def based(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode("ascii")


def pcm_bytes(samples: Samples) -> bytes:
    """Little endian."""
    return np.ascontiguousarray(samples, "<i2").tobytes()


def encoded(picture: Picture, kind: str) -> bytes:
    """Blocking: the picture as a file."""
    suffix = ".jpg" if kind == JPEG else ".png"
    done, data = cv2.imencode(suffix, cv2.cvtColor(np.ascontiguousarray(picture.pixels), cv2.COLOR_RGB2BGR))
    assert done, "OpenCV can encode any RGB picture"
    return data.tobytes()
