"""Plays a scenario to a server over a peer connection of its own, and keeps what it saw and heard."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import av
import numpy as np
from aiortc import RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from media.aiortc_internals.receive import take_audio
from media.aiortc_internals.shape import shape_outgoing
from media.clock import Clock
from media.frames import Samples
from media.opus import FRAME, FRAME_SECONDS, RATE, OpusDecoder, OpusEncoder
from media.resample import Resampler
from pipelines.engines.tts.espeak import EspeakVoice
from server.cli.talk import CLEAR, Transcript
from server.evaluation.observed import Observed, Sound, Spoken
from server.evaluation.scenario import Scenario, Turn
from server.headless.call import Address, Call
from server.headless.network import Network, NetworkOptions

AUDIBLE, SOUND_GAP = 200, 0.25
"""Amplitude (-44 dB) above which something is heard; seconds of silence between two sounds."""
VOICED = 0.06
"""Of the loudest 10 ms: what is louder belongs to the speech."""
QUIET_SECONDS, ANSWER_SECONDS, LONGEST_SECONDS = 0.7, 10.0, 60.0
"""Of silence before the next turn; within which an answer must begin, and end."""
_NO_ANSWER_SECONDS = 2.5
_POLL = 0.02


class Mouth(MediaStreamTrack):
    """A paced microphone: noise all the time, and what is said over it."""

    kind = "audio"

    def __init__(self, clock: Clock, noise_db: float) -> None:
        super().__init__()
        self._clock, self._encoder = clock, OpusEncoder(CLEAR)
        self._noise, self._level = np.random.default_rng(1), 32767 * 10 ** (noise_db / 20)
        self._start: float | None = None
        self._number = 0
        self._frames: deque[Samples] = deque()

    @property
    def silent(self) -> bool:
        """Whether all has been said."""
        return not self._frames

    def say(self, samples: Samples) -> Spoken:
        """Say it (48 kHz) from the next frame on; when its voice begins and ends."""
        blocks = samples[: len(samples) // 480 * 480].reshape(-1, 480).astype(float)
        loud = np.sqrt((blocks**2).mean(1))
        voiced = np.flatnonzero(loud > VOICED * loud.max())
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        begin = (self._start or self._clock.now()) + (self._number + len(self._frames)) * FRAME_SECONDS
        self._frames.extend(padded.reshape(-1, FRAME))
        return Spoken(begin + int(voiced[0]) / 100, begin + (int(voiced[-1]) + 1) / 100)

    async def recv(self) -> av.Packet[Any]:
        """The next packet, when it is due. Raises ``MediaStreamError`` after ``stop()``."""
        if self.readyState != "live":
            raise MediaStreamError
        if self._start is None:
            self._start = self._clock.now()
        await self._clock.sleep(self._start + self._number * FRAME_SECONDS - self._clock.now())
        frame = self._noise.normal(0, self._level, FRAME)
        if self._frames:
            frame = frame + self._frames.popleft()
        self._number += 1
        return self._encoder.encode(np.clip(frame, -32767, 32767).astype(np.int16), self._number - 1)


class Ear:
    """Tells apart the sounds that come back; a sample is heard when its packet arrives."""

    def __init__(self, clock: Clock, sounds: list[Sound]) -> None:
        self._clock, self._sounds, self._decoder = clock, sounds, OpusDecoder()

    def packet(self, ssrc: int, sequence: int, timestamp: int, payload: bytes) -> None:
        """A packet has arrived."""
        now = self._clock.now()
        try:
            samples = self._decoder.decode(payload) if payload else np.zeros(0, np.int16)
        except av.FFmpegError:
            return
        heard = np.flatnonzero(np.abs(samples.astype(np.int32)) > AUDIBLE)
        if len(heard) > 8:
            start, end = now + int(heard[0]) / RATE, now + (int(heard[-1]) + 1) / RATE
            if self._sounds and start - self._sounds[-1].end <= SOUND_GAP:
                self._sounds[-1].end = end
            else:
                self._sounds.append(Sound(start, end))


class Player:
    """Plays one scenario. Raises :class:`~server.settings.SettingsError` when there is no server."""

    def __init__(self, scenario: Scenario, address: Address, clock: Clock) -> None:
        self.observed = Observed()
        self._scenario, self._address, self._clock = scenario, address, clock
        self._mouth = Mouth(clock, scenario.user.noise_db)
        self._ear = Ear(clock, self.observed.sounds)
        self._transcript = Transcript()
        self._call: Call

    async def play(self) -> Observed:
        """From the offer to the end of the last turn."""
        voice = EspeakVoice()
        try:
            sounds = [await self._sound(voice, turn) for turn in self._scenario.turns]
        finally:
            await voice.close()
        async with Call(self._address, self._mouth, self._take, self._listen) as self._call:
            way = self._scenario.network
            options = NetworkOptions(way.loss_percent, way.jitter_ms)
            if not options.perfect:
                shape_outgoing(self._call.voice, Network(options, way.seed).delay, self._clock)
            if self._scenario.session:
                self._call.send({"type": "session.update", "session": {"type": "realtime", **self._scenario.session}})
                await self._until(lambda: self._has("session.updated", "error"), ANSWER_SECONDS)
            for number, turn in enumerate(self._scenario.turns):
                await self._turn(number, turn, sounds[number])
        return self.observed

    async def _sound(self, voice: EspeakVoice, turn: Turn) -> Samples:
        """What is said in a turn, 48 kHz; nothing for one that is typed."""
        user, parts = self._scenario.user, [np.zeros(0, np.int16)]
        if turn.cough:
            shape = np.exp(-np.linspace(0, 5, int(0.15 * RATE)))
            return (np.random.default_rng(2).normal(0, 9000, len(shape)) * shape).clip(-32767, 32767).astype(np.int16)
        for place, text in enumerate((turn.say or "").split("...")):
            if place:
                parts.append(np.zeros(turn.pause_ms * RATE // 1000, np.int16))
            resampler = Resampler(RATE)
            pieces = [
                resampler.push(p.samples, p.rate) async for p in voice.synthesize(text.strip(), user.voice, user.rate)
            ]
            spoken = np.concatenate([*pieces, resampler.flush()]) if pieces else parts[0]
            loud = np.flatnonzero(np.abs(spoken.astype(np.int32)) > AUDIBLE)
            parts.append(spoken[loud[0] : loud[-1] + 1] if len(loud) else spoken)
        gain = 10 ** (user.gain_db / 20)
        return (np.concatenate(parts) * gain).clip(-32767, 32767).astype(np.int16)

    async def _turn(self, number: int, turn: Turn, sound: Samples) -> None:
        sounds, spoken = self.observed.sounds, self.observed.spoken
        if turn.when is not None:
            after, before = turn.when / 1000, spoken[number - 1]
            since = before.last if before is not None else self._clock.now()
            begun = await self._until(lambda: any(s.start > since for s in sounds), ANSWER_SECONDS)
            if not begun:
                spoken.append(None)
                return
            start = next(s.start for s in sounds if s.start > since)
            await self._clock.sleep(start + after - self._clock.now())
        else:
            await self._until(self._quiet, LONGEST_SECONDS)
        if turn.type is not None:
            now = self._clock.now()
            spoken.append(Spoken(now, now))
            content = [{"type": "input_text", "text": turn.type}]
            item = {"type": "message", "role": "user", "content": content}
            self._call.send({"type": "conversation.item.create", "item": item})
            self._call.send({"type": "response.create"})
        else:
            spoken.append(self._mouth.say(sound))
            await self._until(lambda: self._mouth.silent, LONGEST_SECONDS)
        following = self._scenario.turns[number + 1 : number + 2]
        if following and following[0].when is not None:
            return
        if turn.is_answered:
            await self._until(lambda: self._answered(number), ANSWER_SECONDS)
        else:
            await self._clock.sleep(_NO_ANSWER_SECONDS)
        await self._until(self._quiet, LONGEST_SECONDS)

    def _answered(self, number: int) -> bool:
        said = self.observed.spoken[number]
        done = self.observed.during(number, "response.done")
        return said is not None and any(time > said.last for time, _ in done)

    def _quiet(self) -> bool:
        sounds = self.observed.sounds
        recent = sounds and self._clock.now() - sounds[-1].end < QUIET_SECONDS
        return not recent and self._transcript.idle and self._mouth.silent

    def _has(self, *kinds: str) -> bool:
        return any(event["type"] in kinds for _, event in self.observed.events)

    async def _until(self, condition: Callable[[], bool], seconds: float) -> bool:
        end = self._clock.now() + seconds
        while not condition() and self._clock.now() < end:
            await self._clock.sleep(_POLL)
        return condition()

    def _take(self, message: str) -> None:
        event = json.loads(message)
        if isinstance(event.get("type"), str):
            self.observed.events.append((self._clock.now(), event))
            self._transcript.take(event)

    def _listen(self, receiver: RTCRtpReceiver) -> list[Coroutine[Any, Any, None]]:
        ended = take_audio(receiver, self._ear.packet)
        return [_wait(ended)]


async def _wait(ended: asyncio.Event) -> None:
    await ended.wait()
