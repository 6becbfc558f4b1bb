"""Tasks as models: ``tasks/NAME``. One element of each input is one item; results are files as they are, or JSON
as over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.interfaces.task import Done, TaskSpec
from server.grpc.oip.model import Ask, OipModel, Outputs, Pieces
from server.grpc.oip.tensors import BYTES, Tensor
from server.grpc.shell import bad, heed_latency
from server.http.json_input import JsonInputError, read_json
from server.http.tasks.door import TaskDoor

PREFIX = "tasks/"
_OUTPUT = Tensor("output", BYTES, (-1,))


class TaskAsModel:
    """One task; its versions are the models that can do it."""

    platform = "visavis_task"
    outputs = (_OUTPUT,)

    def __init__(self, door: TaskDoor, spec: TaskSpec[Any, Any, Any]) -> None:
        self.name = PREFIX + spec.name
        self.decoupled = spec.stream is not None
        self._door = door
        self._spec = spec
        schema = spec.inputs.model_json_schema()
        needed = schema.get("required", ())
        self._fields: Mapping[str, Any] = schema.get("properties", {})
        self.inputs: Sequence[Tensor] = tuple(
            Tensor(field, BYTES, (-1,), optional=field not in needed) for field in self._fields
        )

    @property
    def versions(self) -> Sequence[str]:
        """See :class:`~server.grpc.oip.model.OipModel`."""
        return self._door.tasks.models(self._spec.name)

    def why_not(self) -> str:
        """See :class:`~server.grpc.oip.model.OipModel`."""
        return self._door.tasks.why_not(self._spec.name)

    async def infer(self, ask: Ask) -> Outputs:
        """The results of all items, in their order."""
        heed_latency(ask.call)
        runner = await self._door.runner(self._spec.name, ask.version or "auto")
        items = self._items(ask)
        answer = await self._door.run(runner, items, _parameters(ask), {}, numbered=len(items) > 1)
        return {"output": [await self._told(done.output) for done in answer.done]}

    async def pieces(self, ask: Ask) -> Pieces:
        """Pieces of one item's result, and then the whole."""
        heed_latency(ask.call)
        runner = await self._door.runner(self._spec.name, ask.version or "auto")
        items = self._items(ask)
        if len(items) != 1:
            raise bad("inputs", f"a stream takes one item at a time, not {len(items)}", "unsupported_value")
        async with self._door.stream(runner, items[0], _parameters(ask), {}) as pieces:
            async for piece in pieces:
                done = isinstance(piece, Done)
                yield {"output": [await self._told(piece.output if done else piece)]}, done

    def _items(self, ask: Ask) -> list[dict[str, Any]]:
        sizes = {len(value) for value in ask.inputs.values()}
        if len(sizes) != 1 or 0 in sizes:
            raise bad("inputs", "all must have the same number of elements, one for each item, and at least one")
        columns = {name: [self._value(name, one) for one in value] for name, value in ask.inputs.items()}
        return [{name: column[n] for name, column in columns.items()} for n in range(sizes.pop())]

    def _value(self, name: str, data: bytes) -> Any:
        """A file as it is, a text, or JSON for everything else."""
        kinds = [self._fields[name], *self._fields[name].get("anyOf", ())]
        if any(kind.get("contentEncoding") for kind in kinds):
            return data
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise bad(name, "is no UTF-8 text") from error
        if any(kind.get("type") == "string" for kind in kinds):
            return text
        return _read(name, text)

    async def _told(self, value: Any) -> bytes:
        """A file as it is; everything else as JSON, in which files stand in base64, as over HTTP."""
        return value if isinstance(value, bytes) else await self._door.written(value)


class TaskModels:
    """The family."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def find(self, name: str) -> OipModel | None:
        """See :class:`~server.grpc.oip.model.Models`."""
        task = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or task not in self._door.tasks.tasks:
            return None
        await self._door.tasks.look(task)
        return TaskAsModel(self._door, self._door.tasks.spec(task))

    async def all(self) -> Sequence[OipModel]:
        """See :class:`~server.grpc.oip.model.Models`."""
        found = [await self.find(PREFIX + task) for task in self._door.tasks.tasks]
        return [model for model in found if model is not None]


def _parameters(ask: Ask) -> dict[str, Any]:
    """What is a list or an object comes as JSON."""
    return {
        name: _read(f"parameters.{name}", value) if isinstance(value, str) and value[:1] in ("[", "{") else value
        for name, value in ask.parameters.items()
    }


def _read(name: str, text: str) -> Any:
    try:
        return read_json(text)
    except JsonInputError as error:
        raise bad(name, f"is no JSON: {error}", "invalid_json") from error
