"""What travels between a stage and the engine of another machine, as plain values, and how it is framed.

Both ends run visavis: values are pickled, and :data:`PROTOCOL` tells whether they mean the same by them. Nothing that
only lives in one process travels: callbacks are taken out of a request, what they would have been told comes as
:class:`Told` between the pieces, and errors are values (:class:`Failed`).
"""

from __future__ import annotations

import asyncio
import pickle
import struct
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from media.frames import Samples
from pipelines.errors import EngineBusyError, PipelineError
from pipelines.interfaces.stt import PLAIN, Hearing, hearing
from pipelines.runtime.worker import client, session, spoken_language

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL = 1
"""Counts up when the values of this file change their meaning."""
LARGEST = 128 << 20
"""Bytes of a message: ten minutes of speech are 19 MB, a prediction's pictures a few more."""
_HEAD = struct.Struct("!I")


class RemoteError(PipelineError):
    """Nothing came back, or not what was to. ``code`` has no stage yet: ``unreachable``, ``timeout``, ``busy``,
    ``not_deployed``, ``not_installed``, ``wrong_version``, ``failed``."""

    stage = "remote"


@dataclass(frozen=True, slots=True)
class Failed:
    """An error as a value."""

    code: str
    message: str
    busy: bool = False
    """Whether the same may be asked again later: nothing is wrong with the engine."""
    own: bool = False
    """Whether an engine of ours says so, with a code of its stage; else the way to it failed."""

    @classmethod
    def of(cls, error: PipelineError) -> Failed:
        """What the engine of a replica raised."""
        return cls(error.code, error.message, isinstance(error, EngineBusyError), own=True)

    def error(self, kind: type[PipelineError], prefix: str, engine: str) -> PipelineError:
        """The error for a stage whose codes begin with ``prefix``."""
        code = self.code if self.own else f"{prefix}_{self.code}"
        told = self.message if self.own else f"{engine}: {self.message}"
        if self.busy:
            return EngineBusyError(f"{prefix}_busy", told)
        return kind(code, told)


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom work is done: context variables do not travel by themselves."""

    session: str = ""
    client: str = ""
    language: str | None = None
    hearing: Hearing = PLAIN

    @classmethod
    def here(cls) -> Asker:
        """Of the running task."""
        return cls(session.get(), client.get(), spoken_language.get(), hearing.get())

    @contextmanager
    def there(self) -> Iterator[None]:
        """Work in this block is done for them."""
        values: tuple[tuple[ContextVar[Any], Any], ...] = (
            (session, self.session),
            (client, self.client),
            (spoken_language, self.language),
            (hearing, self.hearing),
        )
        tokens = [(variable, variable.set(value)) for variable, value in values]
        try:
            yield
        finally:
            for variable, token in reversed(tokens):
                variable.reset(token)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One utterance, or as much of it as has been said."""

    samples: Samples
    """16 kHz."""
    asker: Asker = field(default_factory=Asker)


@dataclass(frozen=True, slots=True)
class Told:
    """What an engine tells beside its answer."""

    what: Literal["usage", "logprobs"]
    value: Any


@dataclass(frozen=True, slots=True)
class About:
    """What a replica has: asked once before it is used, and again when it has been away."""

    stage: str
    engine: str
    """Its name."""
    device: str
    node: str
    """The machine, as Ray calls it."""
    python: str
    visavis: str
    protocol: int = PROTOCOL
    abilities: Mapping[str, Any] = field(default_factory=dict)
    """What the engine says of itself: ``languages``, ``voices``, ``takes_images`` …"""


Kinds = type | tuple[type, ...]


def expected(value: Any, kinds: Kinds) -> Any:
    """The value, if it is one of these: a replica may run another version that counts as the same. Raises
    :class:`RemoteError`."""
    if not isinstance(value, kinds):
        raise RemoteError("failed", f"it has answered with {type(value).__name__}, which nobody has asked for")
    return value


def framed(message: object) -> bytes:
    """A message with its length in front."""
    data = pickle.dumps(message, protocol=5)
    return _HEAD.pack(len(data)) + data


async def next_message(reader: asyncio.StreamReader) -> Any:
    """The next message. Only for pipes whose other end is a process of ours.

    Raises :class:`EOFError` at the end, in the midst of a message too, and when one is too large or cannot be read.
    """
    try:
        (length,) = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if length > LARGEST:
            raise EOFError(f"a message of {length} bytes")
        data = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        raise EOFError("the other end is gone") from None
    try:
        return pickle.loads(data)
    except Exception as error:  # what it is made of decides what goes wrong
        raise EOFError(f"a message that cannot be read ({type(error).__name__})") from error
