"""Engines of other machines at the ports of their stages: a call per utterance, answer, clause, item or film.

What an engine there can do is asked of it (:class:`~pipelines.engines.remote.wire.About`) before it is used, and again
when it comes back. None of them waits long: who cannot begin within its :class:`Patience` raises, and the stage's route
asks the next engine, as it does when a replica is full, is gone or ends in the midst of its answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from media.frames import Pixels
from pipelines.engines.remote.link import FailedError, Link
from pipelines.engines.remote.messages import Call
from pipelines.engines.remote.wire import PROTOCOL, About, Asker, Failed, Kinds, RemoteError, Told, expected
from pipelines.errors import LLMError, PipelineError, STTError, TTSError
from pipelines.foresight.events import Method
from pipelines.foresight.filming import Filmed, Guessed, Scene
from pipelines.foresight.quality import Grain, Plan
from pipelines.interfaces.llm import ChatRequest, Cut, Piece, Scaled, ToolCall
from pipelines.interfaces.task import Done, TaskError
from pipelines.interfaces.tts import Speech

NAMED = "ray"
"""What its engines are called before that of the model."""
PROBE_SECONDS = 15.0
"""For an answer to the question what it can do: nobody waits for it, and the first one finds the way."""
_PIECES = (str, ToolCall, Cut, Told)
"""Of an answer."""
_ERRORS: Mapping[str, type[PipelineError]] = {"stt": STTError, "llm": LLMError, "tts": TTSError}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in seconds, until somebody else does the work."""

    begin: float = 2.0
    """For the first piece of an answer; of a transcript for the whole, and a tenth of the utterance's length more."""
    pause: float = 2.0
    """Between two pieces."""
    work: float = 120.0
    """For the result of a task, or the first frame of a film."""


class Remote:
    """What the engines of all stages have in common. ``stage`` names the deployment."""

    def __init__(self, link: Link, stage: str, patience: Patience | None = None) -> None:
        self.stage = stage
        self.about: About | None = None
        self.link = link
        self.patience = patience or Patience()
        self._kind, self._prefix = _ERRORS.get(stage, TaskError), stage if stage in _ERRORS else "task"

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{NAMED} {self.about.engine}" if self.about is not None else f"{NAMED} {self.stage}"

    def can(self, ability: str, otherwise: Any = False) -> Any:
        """What the engine says of itself; ``otherwise`` until it is known."""
        return otherwise if self.about is None else self.about.abilities.get(ability, otherwise)

    async def probe(self, seconds: float = PROBE_SECONDS) -> None:
        """Find out whether it answers, and what it can do. Raises the stage's error."""
        with self.errors():
            about: About = expected(await self.link.call(Call(self.stage, "describe"), seconds), About)
            if about.protocol != PROTOCOL:
                told = f"it runs visavis {about.visavis} (protocol {about.protocol}), and here is protocol {PROTOCOL}"
                raise RemoteError("wrong_version", f"{told}: run the same version on both")
        self.about = about

    async def close(self) -> None:
        """The link is its owner's to close."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What goes wrong on the way becomes an error of the stage."""
        try:
            yield
        except FailedError as error:
            raise error.failed.error(self._kind, self._prefix, self.name) from error
        except RemoteError as error:
            raise Failed(error.code, error.message).error(self._kind, self._prefix, self.name) from error

    def work(self, method: str, arguments: tuple[Any, ...], asker: Asker, *, streams: bool = False) -> Call:
        """A call that somebody else makes do without when it cannot be made at once."""
        return Call(self.stage, method, arguments, asker.session, streams, patient=False)

    async def call(self, method: str, *arguments: Any, seconds: float, kinds: Kinds) -> Any:
        """The result of a call for the running task's session, one of these ``kinds``. Raises the stage's error."""
        asker = Asker.here()
        if self.about is None:
            await self.probe(seconds)
        with self.errors():
            found = await self.link.call(self.work(method, (*arguments, asker), asker), seconds)
            if isinstance(found, Failed):
                raise found.error(self._kind, self._prefix, self.name)
            return expected(found, kinds)

    async def stream(
        self, method: str, *arguments: Any, begin: float, pause: float, kinds: Kinds = object
    ) -> AsyncGenerator[Any, None]:
        """The pieces of a call for the running task's session, each one of these ``kinds``. Raises the stage's error;
        closing it cancels."""
        asker = Asker.here()
        if self.about is None:
            await self.probe(begin)
        call = self.work(method, (*arguments, asker), asker, streams=True)
        async with aclosing(self.link.stream(call, begin, pause)) as pieces:
            with self.errors():
                async for piece in pieces:
                    yield expected(piece, kinds)


class RemoteModel:
    """Implements :class:`~pipelines.interfaces.llm.LanguageModel`, and looks at pictures if the engine there does."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    @property
    def name(self) -> str:
        """How people call it."""
        return self.remote.name

    @property
    def takes_images(self) -> bool:
        """As the engine there, like all that follow."""
        return bool(self.remote.can("takes_images"))

    @property
    def takes_tools(self) -> bool:
        """Whether it can be offered tools."""
        return bool(self.remote.can("takes_tools", True))

    @property
    def takes_choice(self) -> bool:
        """Whether it can be made to call one."""
        return bool(self.remote.can("takes_choice"))

    @property
    def calls_unasked(self) -> bool:
        """Whether it calls one by itself."""
        return bool(self.remote.can("calls_unasked"))

    @property
    def takes_format(self) -> bool:
        """Whether its answers can be held to JSON."""
        return bool(self.remote.can("takes_format"))

    @property
    def takes_logprobs(self) -> bool:
        """Whether it tells how likely its tokens were."""
        return bool(self.remote.can("takes_logprobs"))

    @property
    def adapters(self) -> tuple[str, ...]:
        """Those that answers can be asked for with."""
        return tuple(self.remote.can("adapters", ()))

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield the answer. Raises :class:`~pipelines.errors.LLMError`; closing it ends the work there."""
        patience, adapters = self.remote.patience, self._adapters(request)
        plain = replace(request, on_usage=None, on_logprobs=None, on_lost=None, adapters=adapters)
        stream = self.remote.stream("chat", plain, begin=patience.begin, pause=patience.pause, kinds=_PIECES)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if not isinstance(piece, Told):
                    yield piece
                elif piece.what == "usage" and request.on_usage is not None:
                    request.on_usage(piece.value)
                elif piece.what == "logprobs" and request.on_logprobs is not None:
                    request.on_logprobs(piece.value)

    async def probe(self) -> None:
        """Find out whether it answers."""
        await self.remote.probe()

    async def close(self) -> None:
        """The link is its owner's to close."""

    def _adapters(self, request: ChatRequest) -> Scaled:
        return tuple((name, scale) for name, scale in request.adapters if name in self.adapters)


class RemoteVoice:
    """Implements :class:`~pipelines.interfaces.tts.TextToSpeech`."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    @property
    def name(self) -> str:
        """How people call it."""
        return self.remote.name

    @property
    def voices(self) -> tuple[str, ...]:
        """Those of the engine there, the default first; none until it is known."""
        return tuple(self.remote.can("voices", ()))

    async def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """Speak one clause. Raises :class:`~pipelines.errors.TTSError`; closing it ends the work there."""
        patience = self.remote.patience
        begin, pause = patience.begin, patience.pause
        stream = self.remote.stream("speak", text, voice, speed, begin=begin, pause=pause, kinds=Speech)
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece

    async def probe(self) -> None:
        """Find out whether it answers."""
        await self.remote.probe()

    async def close(self) -> None:
        """The link is its owner's to close."""


class RemoteTask:
    """Implements :class:`~pipelines.interfaces.task.TaskRunner`; the task is the remote's stage."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    async def run(self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None) -> Done:
        """The result of one item. Raises :class:`~pipelines.interfaces.task.TaskError`."""
        seconds = self.remote.patience.work
        done: Done = await self.remote.call("run", dict(inputs), parameters, seconds=seconds, kinds=Done)
        return done

    async def stream(
        self, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[Any, None]:
        """Pieces of the result. Raises as :meth:`run`; closing it ends the work there."""
        seconds = self.remote.patience.work
        async with aclosing(
            self.remote.stream("pieces", dict(inputs), parameters, begin=seconds, pause=seconds)
        ) as pieces:
            async for piece in pieces:
                yield piece


class RemoteFilmer:
    """Implements :class:`~pipelines.foresight.filming.Filmer`."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    @property
    def method(self) -> Method:
        """As the engine there."""
        method: Method = self.remote.can("method", "generated")
        return method

    @property
    def model(self) -> str:
        """Its name."""
        return self.remote.name

    @property
    def grain(self) -> Grain:
        """What sizes it can make."""
        grain: Grain = self.remote.can("grain", Grain())
        return grain

    async def film(self, scene: Scene, first: Pixels, plan: Plan) -> AsyncGenerator[Filmed | Guessed, None]:
        """The frames. Raises :class:`~pipelines.errors.PipelineError`; closing it ends the work there."""
        seconds, plain = self.remote.patience.work, replace(scene, states=None)
        made = self.remote.stream("film", plain, first, plan, begin=seconds, pause=seconds, kinds=(Filmed, Guessed))
        async with aclosing(made) as frames:
            async for frame in frames:
                yield frame
