"""``visavis talk``: a headless client. Says a sound file to a running server, saves and prints what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from aiortc import RTCRtpReceiver
from rich.console import Console

from media.audio_in import AudioIn
from media.audio_out import AudioOut
from media.clock import MonotonicClock
from media.frames import Samples
from media.opus import RATE, OpusSettings
from server.cli.terminal import foreign, tell, waiting
from server.headless.call import Address, Call, relays_of
from server.headless.lasting import hold, phrase_start
from server.headless.sounds import check_place, read_sound, write_wav

CLEAR = OpusSettings(application="lowdelay", bitrate=128_000, fec=False, expected_loss_percent=0)
"""A file deserves better than a microphone on a lossy network."""
QUIET_SECONDS = 2.5
"""With nobody speaking and no answer under way for this long after the file, the conversation is over."""


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """What to say, to whom, and where the answer goes."""

    wav: Path
    out: Path | None
    url: str
    api_key: str | None = None
    wait: float = 10.0
    """Seconds without any event after which the server counts as silent."""
    as_json: bool = False
    pipeline: str | None = None
    """Id of the pipeline to talk to; ``None``: the live conversation that the server was started with."""
    relay: bool = False
    """Whether media goes through a TURN server of the server's, and no other way."""

    @property
    def address(self) -> Address:
        """Of the server."""
        return Address(self.url, self.api_key, self.pipeline)


@dataclass(slots=True)
class Turn:
    """One exchange as the client saw it."""

    user: str = ""
    assistant: str = ""
    interrupted: bool = False
    latency_ms: int | None = None
    """End of speech to first sound of the answer, as the server measured it."""
    parts_ms: dict[str, int] = field(default_factory=dict)


class Transcript:
    """Server events → turns. Pure."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.errors: list[str] = []
        self.calls = 1
        """How many calls it took: another one goes on where one is lost."""
        self._busy: set[str] = set()
        self._lost_because = ""

    @property
    def idle(self) -> bool:
        """Whether nobody speaks and no answer is under way."""
        return not self._busy

    @property
    def answered(self) -> bool:
        """Whether what was said last has had an answer, and all of it."""
        return self.idle and bool(self.turns) and bool(self.turns[-1].assistant)

    def goes_on(self, why: str) -> None:
        """A call is over, and another is to go on: what was under way in the one is not in the other."""
        self.calls += 1
        self._busy.clear()
        self._lost_because = why

    def connected(self, *, resumed: bool) -> None:
        """A call has begun; ``resumed``: the server goes on in it with the conversation of the one before."""
        if why := self._lost_because:
            self._lost_because = ""
            new = "the server no longer knew the conversation: a new one began"
            self.errors.append(f"{why}: {'the conversation goes on in another call' if resumed else new}")

    @property
    def problem(self) -> str:
        """Why it was no conversation; empty when it was one."""
        if not any(turn.user for turn in self.turns):
            return "nothing was understood"
        return "" if any(turn.assistant for turn in self.turns) else "there was no answer"

    def take(self, event: dict[str, Any]) -> None:
        """The next event; of what is in one, other servers may send less."""
        match event.get("type"):
            case "input_audio_buffer.speech_started":
                self._busy.add(str(event.get("item_id")))
            case "conversation.item.input_audio_transcription.completed":
                self._busy.discard(str(event.get("item_id")))
                self.turns.append(Turn(user=str(event.get("transcript") or "")))
            case "conversation.item.input_audio_transcription.failed":
                self._busy.discard(str(event.get("item_id")))
                self.errors.append(_reason(event))
            case "response.created":
                self._busy.add("response")
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                self._last().assistant += str(event.get("delta") or "")
            case "response.done":
                self._done(event.get("response") or {})
            case "output_audio_buffer.started":
                self._busy.add("audio")
            case "output_audio_buffer.stopped" | "output_audio_buffer.cleared":
                self._busy.discard("audio")
            case "conversation.item.truncated":
                self._last().interrupted = True
                self._last().assistant = str(event.get("transcript", self._last().assistant))
            case "turn.latency":
                self._last().latency_ms = event.get("voice_to_voice_ms")
                self._last().parts_ms = event.get("parts") or {}
            case "error":
                self.errors.append(_reason(event))

    def _done(self, response: dict[str, Any]) -> None:
        self._busy.discard("response")
        if response.get("status") == "failed":
            self.errors.append(_reason(response.get("status_details") or {}))

    def _last(self) -> Turn:
        if not self.turns:
            self.turns.append(Turn())
        return self.turns[-1]


def _reason(failed: dict[str, Any]) -> str:
    """What ``error`` in it says."""
    error = failed.get("error") or {}
    return str(
        error.get("message") or error.get("code") or error.get("type") or "the server failed, and does not say why"
    )


async def talk(options: TalkOptions, console: Console) -> Transcript:
    """Hold the conversation and report it.

    Raises :class:`SettingsError` when there is no file, no server or no place for the answer.
    """
    options.address.check()
    check_place(options.out)
    speech = read_sound(options.wav)
    progress = f"saying {options.wav.name} ({len(speech) / RATE:.0f} s) and listening to the answer …"
    with waiting(Console(stderr=True, quiet=console.quiet), progress):
        transcript, heard = await exchange(speech, options)
    if options.out is not None:
        write_wav(options.out, heard)
    report(transcript, options, console)
    return transcript


async def exchange(speech: Samples, options: TalkOptions) -> tuple[Transcript, Samples]:
    """Say ``speech`` (48 kHz) on a connection of its own and listen until the conversation has come to rest.

    Where a call is lost, or its session has to move, another goes on with the conversation; the phrase that was being
    said is said again. Returns what happened and what was heard, 48 kHz from the first packet on. Raises
    :class:`SettingsError` when there is no server, or none any more.
    """
    address = options.address
    if options.relay:
        address = replace(address, relays=await relays_of(address))
    client = _Client(speech, address, options.wait)
    await hold(client.connect, client.talk, address, client.goes_on)
    return client.transcript, np.concatenate([np.zeros(0, np.int16), *client.heard])


class _Client:
    """Says the speech in one call, or in several."""

    def __init__(self, speech: Samples, address: Address, patience: float) -> None:
        self.transcript = Transcript()
        self.heard: list[Samples] = []
        self._speech = speech
        self._address = address
        self._patience = patience
        self._changed = asyncio.Event()
        self._microphone = AudioOut(MonotonicClock(), CLEAR)
        self._said = 0
        """Samples of the speech: the next call begins with the one that follows."""
        self._furthest = (0, 0)
        """How many samples have been said at most, and how many turns were answered, in the calls before."""

    def connect(self, session: str | None) -> Call:
        """A call that is to begin, or to go on."""
        self._microphone = AudioOut(MonotonicClock(), CLEAR)  # each call stops its own
        return Call(self._address, self._microphone, self._take, self._listen, resume=session)

    async def talk(self, call: Call) -> None:
        """Say what has not been said, and listen until nobody says anything."""
        self.transcript.connected(resumed=call.answered is not None and call.answered.resumed)
        playout, before = self._microphone.mixer.open(), self._said
        try:
            await playout.write(self._speech[before:], RATE)
            playout.finish()
            await playout.ended.wait()
            await self._until_quiet()
        finally:
            self._said = min(len(self._speech), before + round(playout.heard_seconds * RATE))

    def goes_on(self, call: Call) -> bool:
        """The call is over: what it has not heard, or not answered, is said again in the next.

        Whether it was of any use: more was said or answered in it than before.
        """
        said, answers = self._furthest
        answered = sum(bool(turn.assistant) for turn in self.transcript.turns)
        useful = self._said > said or answered > answers
        self._furthest = max(said, self._said), answered
        if self._said < len(self._speech) or not self.transcript.answered:
            self._said = phrase_start(self._speech, self._said - round(call.silent_seconds * RATE))
        self.transcript.goes_on(call.over_because)
        return useful

    def _take(self, message: str) -> None:
        self.transcript.take(json.loads(message))
        self._changed.set()

    def _listen(self, receiver: RTCRtpReceiver) -> list[Coroutine[Any, Any, None]]:
        reader = AudioIn(receiver, RATE, MonotonicClock())
        return [reader.run(), self._collect(reader)]

    async def _collect(self, reader: AudioIn) -> None:
        async for chunk in reader.chunks:
            self.heard.append(chunk.samples)

    async def _until_quiet(self) -> None:
        """Return when the conversation has come to rest, or nothing at all happens for as long as it may."""
        while True:
            self._changed.clear()
            try:
                async with asyncio.timeout(QUIET_SECONDS if self.transcript.idle else self._patience):
                    await self._changed.wait()
            except TimeoutError:
                return


def report(transcript: Transcript, options: TalkOptions, console: Console) -> None:
    """Print the turns, the errors and where the answer is."""
    if options.as_json:
        turns = [{name: getattr(turn, name) for name in Turn.__slots__} for turn in transcript.turns]
        told = {"turns": turns, "calls": transcript.calls, "errors": transcript.errors, "problem": transcript.problem}
        Console().print_json(data=told)
        return
    for turn in transcript.turns:
        tell(console, f"[bold]you[/bold]      {foreign(turn.user) or '(not understood)'}")
        if turn.assistant or turn.interrupted:
            cut = " [yellow](interrupted)[/yellow]" if turn.interrupted else ""
            tell(console, f"[bold]visavis[/bold]  {foreign(turn.assistant)}{cut}")
        if turn.latency_ms is not None:
            parts = ", ".join(f"{name} {value}" for name, value in turn.parts_ms.items())
            tell(
                console,
                f"         [dim]{turn.latency_ms} ms from end of speech to first sound ({foreign(parts)})[/dim]",
            )
    for error in transcript.errors:
        tell(console, f"[red]error[/red]    {foreign(error)}")
    if transcript.problem:
        tell(console, f"[red]{foreign(transcript.problem)}[/red]")
    if options.out is not None:
        tell(console, f"[dim]what came back is in {foreign(options.out)}[/dim]")
