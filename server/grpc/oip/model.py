"""What a model of the Open Inference Protocol is, whatever stands behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from server.grpc.oip.tensors import Tensor, Value
from server.grpc.shell import Call, bad

T = TypeVar("T")
Outputs = Mapping[str, Value]
Pieces = AsyncGenerator[tuple[Outputs, bool], None]
"""Parts of a result, each with whether it is the last."""


class Kept:
    """What a model keeps from one request of a stream to the next, with all that it holds meanwhile. One thing."""

    def __init__(self) -> None:
        self._holds = AsyncExitStack()
        self._name: object = None
        self._thing: Any = None

    async def have(self, name: object, begin: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """The thing of that name, begun now if another one was kept, which ends."""
        if self._name != name:
            await self.drop()
            self._thing, self._name = await self._holds.enter_async_context(begin()), name
        thing: T = self._thing
        return thing

    async def drop(self) -> None:
        """End what is kept. Idempotent."""
        self._name = self._thing = None
        await self._holds.aclose()


@dataclass(slots=True)
class Ask:
    """One request to a model."""

    inputs: Mapping[str, Value]
    parameters: dict[str, Any]
    version: str
    """Which of the models that can do it; empty: the preferred one."""
    call: Call
    kept: Kept
    """Ends with the call, or with the stream that the request came in."""

    def text(self, name: str) -> str:
        """The first element of an input. Raises :class:`~server.http.errors.HttpError`."""
        return self.texts(name)[0]

    def texts(self, name: str) -> list[str]:
        """An input, none of whose elements may be anything but UTF-8, and of which there must be some."""
        if not self.inputs[name]:
            raise bad(name, "is empty")
        try:
            return [one.decode() for one in self.inputs[name]]
        except UnicodeDecodeError as error:
            raise bad(name, "is no UTF-8 text") from error

    def only(self, *legal: str) -> None:
        """Raises :class:`~server.http.errors.HttpError` for a parameter that means nothing here."""
        for name in self.parameters:
            if name not in legal:
                known = ", ".join(legal) or "none"
                raise bad(f"parameters.{name[:60]}", f"there is no such parameter; legal values are {known}")

    def whole(self, name: str, usual: int, least: int, most: int) -> int:
        """A parameter that is a whole number."""
        value = self.parameters.get(name, usual)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise bad(f"parameters.{name}", f"must be a whole number from {least} to {most}")
        return value

    def word(self, name: str) -> str:
        """A parameter that is a text; empty if it is not there."""
        value = self.parameters.get(name, "")
        if not isinstance(value, str):
            raise bad(f"parameters.{name}", "must be a text")
        return value


class OipModel(Protocol):
    """A model."""

    @property
    def name(self) -> str:
        """How clients call it."""
        ...

    @property
    def platform(self) -> str:
        """What stands behind it, for people."""
        ...

    @property
    def versions(self) -> Sequence[str]:
        """The models that can do it, the preferred first."""
        ...

    @property
    def inputs(self) -> Sequence[Tensor]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> Sequence[Tensor]:
        """What it gives."""
        ...

    @property
    def decoupled(self) -> bool:
        """Whether a stream may get its result in pieces."""
        ...

    def why_not(self) -> str:
        """Why it cannot be used now; empty when it can."""
        ...

    async def infer(self, ask: Ask) -> Outputs:
        """The whole result. Raises :class:`~pipelines.errors.PipelineError`, and
        :class:`~server.http.errors.HttpError`."""
        ...

    def pieces(self, ask: Ask) -> Pieces:
        """The result in pieces; the whole of one that is not :attr:`decoupled`."""
        ...


class Models(Protocol):
    """A family of models."""

    async def find(self, name: str) -> OipModel | None:
        """The one of that name, if it is of this family."""
        ...

    async def all(self) -> Sequence[OipModel]:
        """All of them."""
        ...


class WholeModel:
    """A model whose result comes in one piece, that can always be used, and has one version."""

    decoupled = False

    @property
    def versions(self) -> Sequence[str]:
        """See :class:`OipModel`."""
        return ("1",)

    def why_not(self) -> str:
        """See :class:`OipModel`."""
        return ""

    async def infer(self, ask: Ask) -> Outputs:
        """See :class:`OipModel`."""
        raise NotImplementedError

    async def pieces(self, ask: Ask) -> Pieces:
        """The whole."""
        yield await self.infer(ask), True
