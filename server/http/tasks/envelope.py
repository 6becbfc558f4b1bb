"""``/v1/tasks``: what there is, and ``POST /v1/tasks/{task}`` as the Hugging Face API has it.

A body is ``{"inputs", "parameters", "model", "stream", "options"}``, or the bytes of a file for a task that takes one.
``inputs`` is an item, or a list of items where an item is a text; the result then is a list, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from aiohttp import web
from pydantic import Field

from pipelines.interfaces.task import Done, TaskSpec
from pipelines.runtime.worker import Worker
from server.http.bodies import json_body
from server.http.errors import HttpError
from server.http.json_input import JsonInputError, read_json
from server.http.multipart import MultipartError, read_form
from server.http.rest.requests import Body, validated
from server.http.rest.serving import event_stream
from server.http.tasks.door import Answer, TaskDoor, heed_deadline, model_headers, told

Spec = TaskSpec[Any, Any, Any]
IN_A_LIST = ("text-classification", "translation", "summarization", "text2text-generation")
"""Tasks whose result is in a list also for a single text: so the Hugging Face API answers, and its client reads."""


class TaskRequestOptions(Body):
    """What is asked of the server and not of the model."""

    use_cache: bool = True
    """Whether a result that is kept will do."""
    errors: Literal["request", "item"] | None = None
    """Of several items: whether one that fails fails the request (``request``: default for texts), or has its error in
    its place among the results (``item``: default for files)."""


class TaskBody(Body):
    """The body."""

    inputs: Any
    """What the task works on, as ``GET /v1/tasks/{task}`` tells: an object, or its first field alone."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    model: str = Field("auto", min_length=1, max_length=300)
    stream: bool = False
    options: TaskRequestOptions = TaskRequestOptions()


class Envelope:
    """The handlers."""

    def __init__(self, door: TaskDoor, reader: Worker) -> None:
        self._door = door
        self._reader = reader

    async def list(self, request: web.Request) -> web.Response:
        """All tasks."""
        rows = [await self._row(task) for task in self._door.tasks.tasks]
        return await self._door.answered({"object": "list", "data": rows})

    async def get(self, request: web.Request) -> web.Response:
        """One of them, with the schemas of its data."""
        task = request.match_info["task"]
        with told({}):
            spec = self._door.tasks.spec(task)
        row = await self._row(task)
        row["inputs"], row["parameters"] = spec.inputs.model_json_schema(), spec.parameters.model_json_schema()
        if (asked := request.query.get("model")) is not None:
            with told({}):
                row["model"] = {"id": asked, **await self._door.tasks.tell(task, asked)}
        return await self._door.answered(row)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """One item, or several."""
        heed_deadline(request)
        with told({}):
            spec = self._door.tasks.spec(request.match_info["task"])
        if request.content_type != "application/json" and (_takes_file(spec) or _is_file(request.content_type)):
            return await self._file(request, spec)
        body = _read(spec, await json_body(request))
        runner = await self._door.runner(spec.name, body.model)
        runner = runner if body.options.use_cache else runner.afresh()
        first = _first(spec)
        names = {first: "inputs"} if not isinstance(body.inputs, Mapping) else {}
        several = isinstance(body.inputs, list) and _is_text(spec)
        items = [_item(spec, one) for one in (body.inputs if several else [body.inputs])]
        errors = body.options.errors or ("item" if _takes_file(spec) else "request")
        if several and errors == "item" and not body.stream:
            return await self._each(runner, items, body.parameters)
        if not body.stream:
            answer = await self._door.run(runner, items, body.parameters, names, numbered=several)
            outputs = [done.output for done in answer.done]
            whole = outputs if several or spec.name in IN_A_LIST else outputs[0]
            return await self._answered(whole, answer.headers)
        if several:
            raise HttpError(400, "unsupported_value", "stream: takes one item, not a list", "stream")
        return await self._streamed(request, runner, items[0], body)

    # ------------------------------------------------------------------------------------------------ inside

    async def _row(self, task: str) -> dict[str, Any]:
        tasks = self._door.tasks
        await tasks.look(task)
        spec, why = tasks.spec(task), tasks.why_not(task)
        models = [] if why else [*tasks.models(task)]
        return {
            "id": task,
            "object": "task",
            "about": spec.about,
            "available": not why,
            "why_not": why or None,
            "models": models,
            "streams": spec.stream is not None,
        }

    async def _file(self, request: web.Request, spec: Spec) -> web.Response:
        """The body is the file that the task takes, as the Hugging Face client sends it without parameters."""
        if not _takes_file(spec):
            message = f"{spec.name} takes JSON, with Content-Type application/json, not {request.content_type[:80]}"
            raise HttpError(415, "unsupported_media_type", message, "Content-Type")
        first = _first(spec)
        runner = await self._door.runner(spec.name, request.query.get("model", "auto"))
        if not (data := await request.read()):
            raise HttpError(400, "invalid_value", "inputs: the body is empty; it has to be the file", "inputs")
        if request.content_type == "multipart/form-data":
            return await self._form(runner, request.headers["Content-Type"], data)
        answer = await self._door.run(runner, [{first: data}], {}, {first: "inputs"})
        return await self._answered(answer.done[0].output, answer.headers)

    async def _each(
        self, runner: Any, items: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]
    ) -> web.Response:
        """The result of each item, or ``{"error"}`` in its place."""
        begun = time.monotonic()
        results = await self._door.run_each(runner, items, parameters, {_first(runner.spec): "inputs"})
        told = [one.body if isinstance(one, HttpError) else one.output for one in results]
        done = [one for one in results if not isinstance(one, HttpError)]
        if not done:
            return await self._answered(told, {"X-Failed-Items": str(len(told))})
        headers = Answer(done, time.monotonic() - begun).headers
        return await self._answered(told, {**headers, "X-Failed-Items": str(len(told) - len(done))})

    async def _answered(self, output: Any, headers: Mapping[str, str]) -> web.Response:
        """The result: a file as such, all else as JSON, with the files in it in base64."""
        if isinstance(output, bytes):
            kind = _KINDS.get(output[:4], "application/octet-stream")
            return web.Response(body=output, content_type=kind, headers=headers)
        return await self._door.answered(output, headers)

    async def _form(self, runner: Any, content_type: str, data: bytes) -> web.Response:
        """Several files in one form, with ``parameters`` as JSON beside them."""
        files, parameters = await self._reader.run(_fields, content_type, data)
        first = _first(runner.spec)
        return await self._each(runner, [{first: one} for one in files], parameters)

    async def _streamed(
        self, request: web.Request, runner: Any, item: Mapping[str, Any], body: TaskBody
    ) -> web.StreamResponse:
        """Events, each a piece of the result; that of the last piece also holds the whole, as in
        text-generation-inference."""
        begun = time.monotonic()
        names = {_first(runner.spec): "inputs"}
        async with self._door.stream(runner, item, body.parameters, names) as pieces, event_stream(request) as events:
            held: dict[str, Any] | None = None
            count = 0
            async for piece in pieces:
                if held is not None and not isinstance(piece, Done):
                    await events.send(held)
                if not isinstance(piece, Done):
                    count += 1
                    held = _piece(piece, count)
                    continue
                last = (held or {}) | _whole(piece)
                last["compute_time"] = round(time.monotonic() - begun, 3)
                last |= {name.lower().replace("-", "_"): one for name, one in model_headers(piece.model, "").items()}
                await events.send(last)
        return events.response


def _fields(content_type: str, data: bytes) -> tuple[list[bytes], Mapping[str, Any]]:
    """Files of a form in order, and its ``parameters``. Raises :class:`HttpError`."""
    try:
        fields = read_form(content_type, data)
        texts = {field.name: field.text for field in fields if field.filename is None}
    except MultipartError as error:
        raise HttpError(400, "invalid_body", f"inputs: {error}", "inputs") from error
    if unknown := [name for name in texts if name != "parameters"]:
        message = f"{unknown[0][:200]}: is no field of this form, legal values are files, and parameters"
        raise HttpError(400, "invalid_value", message, unknown[0][:200])
    try:
        parameters = read_json(texts.get("parameters", "{}"))
    except JsonInputError:
        parameters = None
    if not isinstance(parameters, dict):
        raise HttpError(400, "invalid_value", "parameters: must be an object in JSON", "parameters")
    return [field.data for field in fields if field.filename is not None], parameters


_KINDS = {b"\x89PNG": "image/png", b"\xff\xd8\xff\xe0": "image/jpeg", b"\xff\xd8\xff\xe1": "image/jpeg"}
"""How files begin that tasks give → what they are."""


def _read(spec: Spec, data: Any) -> TaskBody:
    """The body, where parameters and other inputs may also stand beside ``inputs``: so the Hugging Face client sends
    some."""
    if isinstance(data, Mapping):
        ours, beside = TaskBody.model_fields.keys(), spec.parameters.model_fields.keys()
        more = {name: data[name] for name in spec.inputs.model_fields if name in data and name not in (*ours, *beside)}
        if more and "inputs" in data and not isinstance(data["inputs"], Mapping):
            rest = {name: value for name, value in data.items() if name not in more}
            data = {**rest, "inputs": {_first(spec): data["inputs"], **more}}
        loose = {name: value for name, value in data.items() if name in beside and name not in ours}
        if loose and isinstance(data.get("parameters", {}) or {}, Mapping):
            rest = {name: value for name, value in data.items() if name not in loose}
            data = {**rest, "parameters": {**loose, **(data.get("parameters") or {})}}
    return validated(TaskBody, data)


def _item(spec: Spec, value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {_first(spec): value}


def _first(spec: Spec) -> str:
    """The field that ``inputs`` is when it is no object."""
    name: str = next(iter(spec.inputs.model_fields))
    return name


def _takes_file(spec: Spec) -> bool:
    kind = spec.inputs.model_fields[_first(spec)].annotation
    return any(one is bytes or getattr(one, "__origin__", None) is bytes for one in (kind, *get_args(kind)))


def _is_file(content_type: str) -> bool:
    return content_type.partition("/")[0] in ("image", "audio", "video")


def _is_text(spec: Spec) -> bool:
    """Whether a list of inputs is several items: where one item is a text, or a file."""
    return _first(spec) == "text" or _takes_file(spec)


def _piece(piece: Any, count: int) -> dict[str, Any]:
    if isinstance(piece, dict) and "token" in piece:
        return {"index": count, **piece, "generated_text": None, "details": None}
    return {"index": count, "piece": piece}


def _whole(done: Done) -> dict[str, Any]:
    output = done.output
    if not (isinstance(output, dict) and "generated_text" in output):
        return {"output": output}
    details = output.get("details")
    if details is not None:
        details = {key: details[key] for key in ("finish_reason", "generated_tokens", "seed")}
        details["input_length"] = done.tokens
    return {"generated_text": output["generated_text"], "details": details}
