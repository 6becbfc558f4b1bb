"""Sound inside events, for clients that have no other way for it: base64 ↔ samples, in the formats of the protocol."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from media.frames import Samples
from server.dialects.openai.fields import PCM_RATE, AudioFormat, AudioInput, AudioOutput, FormatName
from server.dialects.openai.g711 import RATE as G711_RATE
from server.dialects.openai.g711 import Law, compress, expand
from server.dialects.openai.settings import RefusedError

LARGEST_AUDIO_EVENT = 16 << 20
"""Bytes of an event with sound in it: 15 MiB of base64 and what is around."""
_LAWS: dict[FormatName, Law] = {"audio/pcmu": "pcmu", "audio/pcma": "pcma"}


class Microphone(Protocol):
    """Where the user's sound goes."""

    def hear(self, samples: Samples, rate: int) -> None:
        """The next sound, mono at ``rate`` hertz."""
        ...

    def then(self, action: Callable[[], object]) -> None:
        """Do this once all of it has been heard."""
        ...


@dataclass(frozen=True, slots=True)
class Formats:
    """In which sound travels."""

    input: FormatName = "audio/pcm"
    output: FormatName = "audio/pcm"


class EventAudio:
    """The sound of one client. ``microphone`` is ``None`` where sound does not travel in events."""

    def __init__(self, microphone: Microphone | None = None) -> None:
        self.formats = Formats()
        self._microphone = microphone

    @property
    def travels(self) -> bool:
        """Whether events carry sound."""
        return self._microphone is not None

    def hear(self, audio: str) -> None:
        """What ``input_audio_buffer.append`` brings. Raises :class:`RefusedError`."""
        if self._microphone is None:
            message = "type: here sound comes over the peer connection, and not in events"
            raise RefusedError("type", message, "unsupported_event")
        kind = self.formats.input
        try:
            data = base64.b64decode(audio, validate=True)
        except ValueError as error:
            message = f"audio: must be base64 of {described(kind)}, padded: {_problem(error)}"
            raise RefusedError("audio", message) from error
        if (law := _LAWS.get(kind)) is not None:
            self._microphone.hear(expand(data, law), G711_RATE)
        elif len(data) % 2:
            message = f"audio: {described(kind)} has two bytes a sample; these are {len(data)} bytes, an odd number"
            raise RefusedError("audio", message)
        else:
            self._microphone.hear(np.frombuffer(data, "<i2").astype(np.int16), PCM_RATE)

    def then(self, action: Callable[[], object]) -> None:
        """Do this once all that has come so far has been heard: at once where sound has its own way."""
        if self._microphone is None:
            action()
        else:
            self._microphone.then(action)

    @property
    def output_rate(self) -> int:
        """Hertz in which the client wants to hear us."""
        return G711_RATE if self.formats.output in _LAWS else PCM_RATE

    def told(self, samples: Samples, rate: int) -> str:
        """What is said, as an event carries it. A change of format holds from the next response on."""
        if rate == PCM_RATE:
            data = samples.astype("<i2").tobytes()
        else:
            data = compress(samples, _LAWS.get(self.formats.output, "pcmu"))
        return base64.b64encode(data).decode()

    def formats_with(self, listens: AudioInput | None, speaks: AudioOutput | None, where: str) -> Formats:
        """The formats with those that are given at ``where``. Raises :class:`RefusedError`; sets nothing."""
        formats = self.formats
        if listens is not None and listens.format is not None:
            formats = replace(formats, input=self._legal(listens.format, f"{where}.audio.input.format"))
        if speaks is not None and speaks.format is not None:
            formats = replace(formats, output=self._legal(speaks.format, f"{where}.audio.output.format"))
        return formats

    def _legal(self, wanted: AudioFormat, where: str) -> FormatName:
        if wanted.type != "audio/pcm" and not self.travels:
            message = f'{where}.type: sound travels as Opus on a peer connection; legal is "audio/pcm"'
            raise RefusedError(f"{where}.type", message)
        return wanted.type


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
