"""One client's requests, carried out by the engines: transcribe, synthesize and handle. Knows no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

import numpy as np

from media.frames import Samples
from media.resample import Resampler
from pipelines.errors import LLMError, PipelineError, guarded, listed
from pipelines.interfaces.llm import ChatRequest, Cut, Message, ToolCall
from pipelines.interfaces.stt import languages_of
from pipelines.interfaces.vad import VAD_RATE
from pipelines.runtime.worker import Worker, spoken_language
from pipelines.voice.clauses import ClauseSplitter
from pipelines.voice.recordings.segments import Segment, glue, joined, language_of, recognised
from pipelines.voice.recordings.spoken_parts import SpokenPart, SpokenParts
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from pipelines.voice.spoken_text.languages import Tongue
from pipelines.voice.tts import sound_of
from server.wyoming.info import (
    LONGEST_TEXT,
    Ping,
    Sound,
    Synthesize,
    SynthesizeStart,
    Text,
    Transcribe,
    VoiceWish,
    info,
    read_data,
)
from server.wyoming.wire import Event, WyomingError

LONGEST_SECONDS = 600.0
"""Of one utterance."""
_AT_A_TIME = 500
"""Characters that are cut into clauses at a time: all of a long text would hold everybody's sound up."""
AT_ONCE = 2
"""Requests of a kind that are served at a time."""


class Shared:
    """What all clients share: the engines, a thread for sound, and the places."""

    def __init__(self, voice: VoiceEngines, settings: Callable[[], ConversationSettings], sound: Worker) -> None:
        self.voice = voice
        self.settings = settings
        self.sound = sound
        self.hearing, self.speaking, self.thinking = (asyncio.Semaphore(AT_ONCE) for _ in range(3))


class _Recording:
    """One utterance on its way to its transcript."""

    def __init__(self, shared: Shared) -> None:
        self._parts = SpokenParts(shared.voice.vad)
        self._resampler = Resampler(VAD_RATE)
        self.segments: list[Segment] = []

    @property
    def seconds(self) -> float:
        """How long it is so far."""
        return self._parts.seconds

    def push(self, sound: Sound, payload: bytes) -> list[SpokenPart]:
        """The parts that have ended. Blocking."""
        samples: Samples = np.frombuffer(payload, "<i2").astype(np.int16)
        if sound.channels > 1:
            samples = samples.reshape(-1, sound.channels).mean(axis=1).astype(np.int16)
        resampled = self._resampler.push(samples, sound.rate) if len(samples) else samples
        return list(self._parts.push(resampled))

    def finish(self) -> list[SpokenPart]:
        """The part that was running. Blocking."""
        return [*self._parts.push(self._resampler.flush()), *self._parts.flush()]


class _Speaking:
    """One text on its way to its sound; ``text_size`` counts its characters."""

    def __init__(self, tongue: Tongue, *, streamed: bool) -> None:
        self.tongue = tongue
        self.streamed = streamed
        self.clauses = ClauseSplitter()
        self.text_size = 0
        self.resampler: Resampler | None = None


class Requests:
    """What one client asks, in order; answers go to ``send``."""

    def __init__(self, shared: Shared, send: Callable[[Event], Awaitable[None]]) -> None:
        self._shared = shared
        self._send = send
        self._recording: _Recording | None = None
        self._speaking: _Speaking | None = None
        self._language: str | None = None
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "describe": self._describe,
            "ping": self._ping,
            "transcribe": self._transcribe,
            "audio-start": self._sound_starts,
            "audio-chunk": self._sound,
            "audio-stop": self._sound_ends,
            "synthesize": self._synthesize,
            "synthesize-start": self._text_starts,
            "synthesize-chunk": self._text,
            "synthesize-stop": self._text_ends,
            "transcript": self._handle,
        }

    async def receive(self, event: Event) -> None:
        """Carry out one event; what is not known is let go.

        Raises :class:`WyomingError` or :class:`PipelineError` where it cannot be done: nothing more may be asked then.
        """
        if (handler := self._handlers.get(event.type)) is not None:
            await handler(event)

    async def _describe(self, event: Event) -> None:
        await self._send(Event("info", info(self._shared.voice)))

    async def _ping(self, event: Event) -> None:
        await self._send(Event("pong", {"text": read_data(Ping, event.data).text}))

    # ------------------------------------------------------------------------------------------------ speech to text

    async def _transcribe(self, event: Event) -> None:
        wish, engine = read_data(Transcribe, event.data), self._shared.voice.stt
        if wish.name not in (None, engine.name, "visavis"):
            raise WyomingError("invalid_value", f"name: there is no model of that name; legal is {engine.name}")
        known, language = languages_of(engine), (wish.language or "").lower().partition("-")[0] or None
        if language is not None and language not in known:
            raise WyomingError(
                "invalid_value", f"language: {engine.name} does not know it; legal values are {listed(known)}"
            )
        self._language = language

    async def _sound_starts(self, event: Event) -> None:
        read_data(Sound, event.data)
        self._recording = _Recording(self._shared)

    async def _sound(self, event: Event) -> None:
        sound, recording = read_data(Sound, event.data), self._recording
        if recording is None:
            return  # before any start: not asked for
        if len(event.payload) % (sound.width * sound.channels):
            raise WyomingError("invalid_value", f"payload: must be whole samples of {sound.channels} channels")
        if recording.seconds > LONGEST_SECONDS:
            raise WyomingError("too_long", f"an utterance may have {LONGEST_SECONDS:g} s")
        await self._recognise(recording, await self._shared.sound.run(recording.push, sound, event.payload))

    async def _sound_ends(self, event: Event) -> None:
        recording, self._recording = self._recording, None
        if recording is None:
            return
        await self._recognise(recording, await self._shared.sound.run(recording.finish))
        if not recording.segments:
            await self._send(Event("transcript-start"))
        language = language_of(recording.segments) or self._language
        told = {} if language is None else {"language": language}
        await self._send(Event("transcript", {"text": joined(recording.segments), **told}))
        await self._send(Event("transcript-stop"))

    async def _recognise(self, recording: _Recording, parts: list[SpokenPart]) -> None:
        for part in parts:
            spoken_language.set(self._language)
            async with self._shared.hearing:
                segment = await recognised(part, self._shared.voice.stt)
            if segment.text:
                if not recording.segments:
                    await self._send(Event("transcript-start"))
                text = f"{glue(segment)}{segment.text}" if recording.segments else segment.text
                recording.segments.append(segment)
                await self._send(Event("transcript-chunk", {"text": text}))

    # ------------------------------------------------------------------------------------------------ text to speech

    async def _synthesize(self, event: Event) -> None:
        if self._speaking is not None:  # clients repeat a streamed text as a whole, for servers that do not stream
            return
        wish = read_data(Synthesize, event.data)
        self._speaking = _Speaking(self._tongue(wish.voice), streamed=False)
        await self._say(wish.text)
        await self._text_ends(event)

    async def _text_starts(self, event: Event) -> None:
        self._speaking = _Speaking(self._tongue(read_data(SynthesizeStart, event.data).voice), streamed=True)

    async def _text(self, event: Event) -> None:
        if self._speaking is not None:
            await self._say(read_data(Text, event.data).text)

    async def _text_ends(self, event: Event) -> None:
        speaking = self._speaking
        if speaking is None:
            return
        await self._speak(speaking, speaking.clauses.flush())
        self._speaking = None
        if speaking.resampler is not None:
            await self._send_sound(speaking.resampler.flush(), speaking.resampler.rate)
        else:
            await self._send(Event("audio-start", {"rate": VAD_RATE, "width": 2, "channels": 1}))
        await self._send(Event("audio-stop"))
        if speaking.streamed:
            await self._send(Event("synthesize-stopped"))

    def _tongue(self, wish: VoiceWish | None) -> Tongue:
        voices, usual = self._shared.voice.tts.voices, self._shared.settings().voice.voice
        if wish is None or wish.name is None:
            language = None if wish is None or wish.language is None else wish.language.lower().partition("-")[0]
            return Tongue(language, usual, voices)
        if wish.name not in voices:
            raise WyomingError(
                "invalid_value", f"voice.name: there is no such voice; legal values are {listed(voices)}"
            )
        return Tongue(None, wish.name, voices)

    async def _say(self, text: str) -> None:
        speaking = self._speaking
        assert speaking is not None
        speaking.text_size += len(text)
        if speaking.text_size > LONGEST_TEXT:
            raise WyomingError("too_long", f"a text may have {LONGEST_TEXT} characters")
        for begin in range(0, len(text), _AT_A_TIME):
            await self._speak(speaking, speaking.clauses.push(text[begin : begin + _AT_A_TIME]))
            await asyncio.sleep(0)

    async def _speak(self, speaking: _Speaking, clauses: list[str]) -> None:
        for clause in clauses:
            async with self._shared.speaking, aclosing(self._spoken(clause, speaking)) as pieces:
                async for samples, rate in pieces:
                    await self._send_sound(samples, rate)

    async def _spoken(self, clause: str, speaking: _Speaking) -> AsyncGenerator[tuple[Samples, int], None]:
        """Samples at the rate of the first of them all."""
        speed = self._shared.settings().voice.speed
        async with aclosing(sound_of(clause, self._shared.voice.tts, speaking.tongue, speed)) as pieces:
            async for piece in pieces:
                if speaking.resampler is None:
                    speaking.resampler = Resampler(piece.rate)
                    await self._send(Event("audio-start", {"rate": piece.rate, "width": 2, "channels": 1}))
                yield speaking.resampler.push(piece.samples, piece.rate), speaking.resampler.rate

    async def _send_sound(self, samples: Samples, rate: int) -> None:
        for begin in range(0, len(samples), rate):  # a second at most
            payload = samples[begin : begin + rate].astype("<i2").tobytes()
            await self._send(Event("audio-chunk", {"rate": rate, "width": 2, "channels": 1}, payload))

    # ------------------------------------------------------------------------------------------------ language model

    async def _handle(self, event: Event) -> None:
        """What was said, answered by the language model: no home is controlled, and nothing is remembered."""
        text = read_data(Text, event.data).text.strip()
        if not text:
            await self._send(Event("not-handled", {"text": ""}))
            return
        settings, model = self._shared.settings(), self._shared.voice.llm
        rules = (Message("system", settings.instructions),) if settings.instructions else ()
        asked = ChatRequest((*rules, Message("user", text)), max_tokens=settings.max_tokens or 256)
        said: list[str] = []
        try:
            async with self._shared.thinking:
                source = guarded(lambda: model.stream(asked), LLMError, "llm_failed", model.name)
                async with aclosing(source) as pieces:
                    await self._send(Event("handled-start"))
                    async for piece in pieces:
                        if not isinstance(piece, Cut | ToolCall):
                            said.append(piece)
                            await self._send(Event("handled-chunk", {"text": piece}))
        except PipelineError as error:
            await self._send(Event("not-handled", {"text": error.message}))
            return
        await self._send(Event("handled", {"text": "".join(said).strip()}))
        await self._send(Event("handled-stop"))
