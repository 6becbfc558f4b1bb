"""``visavis eval record``: a session that was recorded becomes a scenario and the sounds of its user's turns.

Who says what and when is taken from the events and the sound of the recording; what is expected is what happened, so
read it and make it stricter: a recording of a failure expects the failure.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import yaml
from rich.console import Console

from media.frames import Samples
from media.opus import RATE
from media.resample import Resampler
from server.cli.terminal import foreign, tell
from server.evaluation.judging.observed import COMPLETED
from server.evaluation.judging.words import normalized
from server.evaluation.running import check
from server.headless.call import Address
from server.headless.sounds import write_wav
from server.settings import SettingsError

_SECONDS = 60.0
MARGIN_SECONDS = 0.25
"""Of sound before and after the speech."""
_TEXT = ("response.output_audio_transcript.delta", "response.output_text.delta")
_HEARD = {"wer_max": 0.35}
Event = dict[str, Any]


@dataclass(slots=True)
class RecordedTurn:
    """One turn of the user's, in seconds of the recording."""

    start: float
    end: float
    text: str = ""
    typed: bool = False
    into: float | None = None
    """Seconds after the first sound of the response that it interrupted."""
    answer: str = ""
    item_id: str = ""
    stopped: bool = False


async def record(options: argparse.Namespace, console: Console) -> int:
    """Do what the command line says."""
    if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", options.name) is None:
        raise SettingsError("--name: must be lower-case letters, digits and hyphens")
    if options.session.startswith("sess_"):
        address = Address(options.url, options.api_key)
        check(address)
        lines, sound = await _fetched(address, options.session)
    else:
        lines, sound = await asyncio.to_thread(_read, Path(options.session))
    turns = turns_of(lines)
    if not turns:
        raise SettingsError(f"{options.session}: nobody says anything in it")
    path = await asyncio.to_thread(save, turns, sound, options.out, options.name)
    tell(console, f"{len(turns)} turns are in {foreign(path)}; visavis eval run {foreign(path)} plays them")
    return 0


async def _fetched(address: Address, session: str) -> tuple[list[Event], bytes]:
    """The events and the WAV of the first part of a recording."""
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        async with aiohttp.ClientSession(address.root, timeout=timeout, headers=address.headers) as http:
            async with http.get(f"/v1/sessions/{session}/recording") as got:
                told = await got.json(content_type=None)
                if got.status != 200:
                    raise SettingsError(f"{session}: {told['error']['message']}")
            urls = {file["type"]: file["url"] for file in reversed(told["files"])}
            if not {"application/jsonl", "audio/wav"} <= set(urls):
                raise SettingsError(f"{session}: its recording has no sound")
            async with http.get(urls["application/jsonl"]) as got:
                lines = _events(await got.text())
            async with http.get(urls["audio/wav"]) as got:
                return lines, await got.read()
    except (aiohttp.ClientError, TimeoutError, ValueError, LookupError, TypeError) as error:
        raise SettingsError(f"{address.url}: {error or 'no answer'}") from error


def _read(path: Path) -> tuple[list[Event], bytes]:
    try:
        return _events(path.read_text("utf-8")), path.with_suffix(".wav").read_bytes()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} and the .wav beside it are no recording of a session: {error}") from error


def _events(text: str) -> list[Event]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def turns_of(events: Sequence[Event]) -> list[RecordedTurn]:
    """What the user did, in order. Pure."""
    reader = _Reader()
    for event in sorted(events, key=lambda one: float(one["at"])):
        reader.take(event)
    return [turn for turn in reader.turns if turn.text.strip()]


class _Reader:
    """Events of a recording → turns."""

    def __init__(self) -> None:
        self.turns: list[RecordedTurn] = []
        self._answers: dict[str, RecordedTurn] = {}
        self._sounding: float | None = None
        """Since when a response is heard."""

    def take(self, event: Event) -> None:
        """The next."""
        at, kind = float(event["at"]), str(event["type"])
        if kind.startswith("input_audio_buffer.") or kind == COMPLETED:
            self._spoken(event, at, kind)
        elif kind.startswith("output_audio_buffer."):
            self._sounds(at, kind)
        elif kind == "conversation.item.added" and (text := _typed(event["item"])):
            self.turns.append(RecordedTurn(at, at, text, typed=True))
        elif kind == "response.created" and self.turns:
            self._answers[event["response"]["id"]] = self.turns[-1]
        elif kind in _TEXT and event["response_id"] in self._answers:
            self._answers[event["response_id"]].answer += event["delta"]

    def _spoken(self, event: Event, at: float, kind: str) -> None:
        if kind.endswith("speech_started"):
            into = None if self._sounding is None else at - self._sounding
            self.turns.append(RecordedTurn(at, at, into=into, item_id=event["item_id"]))
            return
        for turn in self.turns:
            if turn.item_id and turn.item_id == event.get("item_id"):
                turn.text = event.get("transcript", turn.text)
                turn.end = at if kind.endswith("speech_stopped") else turn.end

    def _sounds(self, at: float, kind: str) -> None:
        self._sounding = at if kind.endswith("started") else None
        if kind.endswith("cleared") and self.turns and self.turns[-1].into is not None:
            self.turns[-1].stopped = True


def _typed(item: Event) -> str:
    """The text of a message that the user has typed; empty for other items."""
    if item.get("type") != "message" or item.get("role") != "user":
        return ""
    return " ".join(part["text"] for part in item.get("content", []) if part.get("type") == "input_text")


def save(turns: Sequence[RecordedTurn], sound: bytes, folder: Path, name: str) -> Path:
    """Write the scenario and its sounds. Blocking."""
    user = _user_side(sound)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"--out: {folder} cannot be made: {error.strerror or error}") from error
    told = []
    for number, turn in enumerate(turns, 1):
        if turn.typed:
            told.append({"type": turn.text, "expect": _expected(turn)})
            continue
        file = f"{name}-{number}.wav"
        write_wav(folder / file, cut(user, turn))
        (folder / file).with_suffix(".txt").write_text(f"{turn.text}\n", "utf-8")
        one: dict[str, Any] = {"audio": file}
        if turn.into is not None and number > 1:
            one["when"] = {"reply_started_ms": max(1, round(1000 * turn.into))}
        told.append({**one, "expect": _expected(turn)})
    scenario = {"version": 1, "name": name, "description": "Recorded from a session", "turns": told}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(scenario, sort_keys=False, allow_unicode=True, width=110), "utf-8")
    return path


def _expected(turn: RecordedTurn) -> list[Any]:
    expected: list[Any] = [] if turn.typed else [{"heard": dict(_HEARD)}, {"not": "early_reply"}]
    if turn.stopped:
        expected.append({"stopped": {"within_ms": 1500}})
    if turn.answer.strip():
        expected.append({"reply": {"words_min": max(1, len(normalized(turn.answer)) // 4)}})
    return expected


def _user_side(sound: bytes) -> Samples:
    """The left side of the recording, 48 kHz."""
    try:
        with wave.open(io.BytesIO(sound)) as file:
            rate, sides = file.getframerate(), file.getnchannels()
            data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, sides)
    except (wave.Error, EOFError, ValueError) as error:
        raise SettingsError(f"the sound of the recording is no WAV: {error}") from error
    return Resampler(RATE).push(np.ascontiguousarray(data[:, 0]).astype(np.int16), rate)


def cut(user: Samples, turn: RecordedTurn) -> Samples:
    """The sound of a turn: from its speech, of which the server tells a little late, to its end."""
    begin = max(0, int((turn.start - 3 * MARGIN_SECONDS) * RATE))
    sound = user[begin : int((turn.end + MARGIN_SECONDS) * RATE)]
    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > 300)
    edge = int(MARGIN_SECONDS * RATE)
    return sound[max(0, loud[0] - edge) : loud[-1] + edge] if len(loud) else sound
