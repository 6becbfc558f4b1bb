"""Sound inside events, for clients that have no other way for it: base64 ↔ samples, in the formats of the protocol."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from media.frames import Samples
from server.dialects.openai.fields import PCM_RATE, AudioFormat, AudioInput, AudioOutput, FormatName
from server.dialects.openai.g711 import RATE as G711_RATE
from server.dialects.openai.g711 import Law, compress, expand
from server.dialects.openai.settings import RefusedError
from server.http.json_input import read_json_object

LARGEST_AUDIO_EVENT = 16 << 20
"""Bytes of an event with sound in it: 15 MiB of base64 and what is around."""
_SLICE = 64 * 1024
"""Characters of sound that are decoded at a time: 15 MiB would hold everybody's sound up for a tenth of a second."""
_KEY = re.compile(r'"audio"\s*:\s*"')
_LAWS: dict[FormatName, Law] = {"audio/pcmu": "pcmu", "audio/pcma": "pcma"}


class Microphone(Protocol):
    """Where the user's sound goes."""

    def hear(self, samples: Samples, rate: int) -> None:
        """The next sound, mono at ``rate`` hertz."""
        ...

    def hear_parts(self, parts: Iterator[Samples], seconds: float, rate: int) -> None:
        """The same in parts of about ``seconds`` in all, each of which is made when it is needed."""
        ...

    def then(self, action: Callable[[], object]) -> None:
        """Do this once all of it has been heard."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """In which sound travels."""

    input: FormatName = "audio/pcm"
    output: FormatName = "audio/pcm"


@dataclass(slots=True)
class SessionFormats:
    """The formats of a session whose sound travels in events, which all its clients see, and may change."""

    now: Formats = field(default_factory=Formats)


class EventAudio:
    """The sound of one client. ``microphone`` is ``None`` where it has none in events; with ``formats`` another client
    of the session has."""

    def __init__(self, microphone: Microphone | None = None, formats: SessionFormats | None = None) -> None:
        self._microphone = microphone
        self._formats = formats or SessionFormats()
        self._any_format = microphone is not None or formats is not None
        self._coming: list[FormatName] = []

    @property
    def formats(self) -> Formats:
        """In which the session's sound travels."""
        return self._formats.now

    @formats.setter
    def formats(self, formats: Formats) -> None:
        self._formats.now = formats

    @property
    def travels(self) -> bool:
        """Whether events carry sound."""
        return self._microphone is not None

    def expect(self, listens: AudioInput | None) -> Callable[[], None]:
        """Sound comes in the format of a change that waits, and is decoded when it comes: before the change is made.

        Returns what to call when it is.
        """
        if listens is None or listens.format is None:
            return lambda: None
        self._coming.append(listens.format.type)

        def made() -> None:
            del self._coming[0]

        return made

    def hear(self, audio: str, refuse: Callable[[RefusedError], object]) -> None:
        """What ``input_audio_buffer.append`` brings. Raises :class:`RefusedError`.

        Of what is long the beginning is heard before the end has been looked at; ``refuse`` is called if that is wrong.
        """
        if self._microphone is None:
            message = "type: here sound comes over the peer connection, and not in events"
            raise RefusedError("type", message, "unsupported_event")
        kind = self._coming[-1] if self._coming else self.formats.input
        rate = G711_RATE if kind in _LAWS else PCM_RATE
        if len(audio) <= _SLICE:
            self._microphone.hear(_decoded(audio, kind), rate)
        else:
            seconds = len(audio) * 3 / 4 / rate / (1 if kind in _LAWS else 2)
            self._microphone.hear_parts(_slices(audio, kind, refuse), seconds, rate)

    def then(self, action: Callable[[], object]) -> None:
        """Do this once all that has come so far has been heard: at once where sound has its own way."""
        if self._microphone is None:
            action()
        else:
            self._microphone.then(action)

    def formats_with(self, listens: AudioInput | None, speaks: AudioOutput | None, where: str) -> Formats:
        """The formats with those that are given at ``where``. Raises :class:`RefusedError`; sets nothing."""
        formats = self.formats
        if listens is not None and listens.format is not None:
            formats = replace(formats, input=self._legal(listens.format, f"{where}.audio.input.format"))
        if speaks is not None and speaks.format is not None:
            formats = replace(formats, output=self._legal(speaks.format, f"{where}.audio.output.format"))
        return formats

    def _legal(self, wanted: AudioFormat, where: str) -> FormatName:
        if wanted.type != "audio/pcm" and not self._any_format:
            message = f'{where}.type: sound travels as Opus on a peer connection; legal is "audio/pcm"'
            raise RefusedError(f"{where}.type", message)
        return wanted.type


def _slices(audio: str, kind: FormatName, refuse: Callable[[RefusedError], object]) -> Iterator[Samples]:
    try:
        for start in range(0, len(audio), _SLICE):
            yield _decoded(audio[start : start + _SLICE], kind)
    except RefusedError as error:
        refuse(error)


def _decoded(audio: str, kind: FormatName) -> Samples:
    try:
        data = binascii.a2b_base64(audio, strict_mode=True)
    except ValueError as error:
        message = f"audio: must be base64 of {described(kind)}, padded: {_problem(error)}"
        raise RefusedError("audio", message) from error
    if (law := _LAWS.get(kind)) is not None:
        return expand(data, law)
    if len(data) % 2:
        message = f"audio: {described(kind)} has two bytes a sample; these are {len(data)} bytes, an odd number"
        raise RefusedError("audio", message)
    return np.frombuffer(data, "<i2").astype(np.int16, copy=False)


def parted(message: str | bytes) -> tuple[str | bytes, str | None]:
    """A long message without the sound in it, and the sound; ``None`` where it has none that can be told from afar.

    What reads JSON looks at every character several times. The sound is put back as it is, so nothing in it may need
    reading: a message with an escaped character is read as a whole.
    """
    if not isinstance(message, str) or len(message) <= _SLICE or "\\" in message:
        return message, None
    key = _KEY.search(message, 0, _SLICE)
    end = message.find('"', key.end()) if key is not None else -1
    if key is None or end < 0:
        return message, None
    return f"{message[: key.end()]}{message[end:]}", message[key.end() : end]


def parted_event(message: str | bytes) -> dict[str, Any]:
    """The event in ``message``, read without the sound that it brings. Raises :class:`JsonInputError`."""
    rest, sound = parted(message)
    data = read_json_object(rest, "an event")
    if sound is None:
        return data
    if data.get("type") != "input_audio_buffer.append" or data.get("audio") != "":
        return read_json_object(message, "an event")  # what was taken out stood elsewhere
    return {**data, "audio": sound}


def rate_of(kind: FormatName) -> int:
    """Hertz."""
    return G711_RATE if kind in _LAWS else PCM_RATE


def told_as(kind: FormatName, samples: Samples) -> str:
    """What is said, as an event carries it; ``samples`` have the format's rate."""
    law = _LAWS.get(kind)
    data = samples.astype("<i2").tobytes() if law is None else compress(samples, law)
    return base64.b64encode(data).decode()


def described(kind: FormatName) -> str:
    """A format in words."""
    return {
        "audio/pcm": "audio/pcm (24 kHz, mono, 16 bits, little-endian)",
        "audio/pcmu": "audio/pcmu (G.711 µ-law, 8 kHz)",
        "audio/pcma": "audio/pcma (G.711 A-law, 8 kHz)",
    }[kind]


def format_json(kind: FormatName) -> dict[str, str | int]:
    """A format as the session object tells it."""
    return {"type": kind, "rate": PCM_RATE} if kind == "audio/pcm" else {"type": kind}


def _problem(error: ValueError) -> str:
    return str(error) if isinstance(error, binascii.Error) else "it holds other characters"
