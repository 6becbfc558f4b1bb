"""Python functions as tools: the schema is that of their annotations, the description their docstring."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NotRequired, get_type_hints

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic_core import to_json
from typing_extensions import TypedDict  # pydantic takes none of typing's before Python 3.12

from pipelines.interfaces.llm import Tool
from pipelines.runtime.worker import Worker
from pipelines.tools.definition import NAME
from pipelines.tools.server_tool import ServerTool, ToolFailedError, ToolLimits, ToolResult

_PARAMETERS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_MOST_PROBLEMS = 3


def function_tool(
    place: str, worker: Worker, *, folder: Path = Path(), name: str = "", limits: ToolLimits | None = None
) -> ServerTool:
    """The function at ``place``, where a file's path counts from ``folder``.

    A function that is no coroutine runs on ``worker``, never on the event loop. Raises :class:`ValueError` saying what
    is wrong with it.
    """
    function = _find(place, folder)
    name = name or function.__name__
    if not re.fullmatch(NAME, name):
        raise ValueError(f"{name!r} is no name for a tool: give one of letters, digits, _ and -, 64 at most")
    described = inspect.getdoc(function) or ""
    if not described:
        raise ValueError(f"{name} has no docstring, and models would not know what it is for")
    adapter = _adapter(function, name)
    try:
        schema = adapter.json_schema()
    except PydanticInvalidForJsonSchema as error:
        raise ValueError(f"{name}: an annotation has no JSON schema: {error.message}") from None
    schema.pop("title", None)

    async def call(arguments: dict[str, Any]) -> ToolResult:
        try:
            checked = adapter.validate_python(arguments)
        except ValidationError as error:
            raise ToolFailedError(f"wrong arguments: {_told(error)}") from None
        if inspect.iscoroutinefunction(function):
            with _no_exit():
                return ToolResult(_as_text(await function(**checked)))
        return ToolResult(await worker.run(run, checked))

    def run(checked: dict[str, Any]) -> str:
        with _no_exit():
            return _as_text(function(**checked))

    return ServerTool(Tool(name, described, schema), call, f"function {place}", limits)


def _find(place: str, folder: Path) -> Callable[..., Any]:
    source, _, attribute = place.rpartition(":")
    try:
        found: Any = _module(folder / source) if source.endswith(".py") else import_module(source)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        # Foreign code runs here: whatever it raises, the operator has to know of which tool.
        raise ValueError(f"{place} cannot be loaded ({type(error).__name__}: {error})") from error
    if not inspect.isroutine(found):
        raise ValueError(f"{place} is no function")
    return found


def _module(path: Path) -> ModuleType:
    """The file as a module of a name of its own, loaded once."""
    path = path.expanduser().resolve()
    name = f"visavis_tools.{re.sub(r'[^a-zA-Z0-9_]', '_', str(path))}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None, "its name ends in .py"
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it runs: annotations are looked up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _adapter(function: Callable[..., Any], name: str) -> TypeAdapter[dict[str, Any]]:
    """What checks the arguments of ``function``. Raises :class:`ValueError`."""
    fields: dict[str, Any] = {}
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ValueError(f"{name}: an annotation cannot be read: {error}") from None
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _PARAMETERS:
            raise ValueError(f"{name}: {parameter} cannot be given by name; legal values are ordinary parameters")
        if parameter.name not in hints:
            raise ValueError(f"{name}: the parameter {parameter.name} has no annotation")
        hint = hints[parameter.name]
        fields[parameter.name] = hint if parameter.default is parameter.empty else NotRequired[hint]
    make: Any = TypedDict  # whose fields are known only now
    shape = make(name, fields)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        return TypeAdapter(shape)
    except PydanticUserError as error:
        raise ValueError(f"{name}: an annotation has no schema: {error.message}") from None


@contextmanager
def _no_exit() -> Iterator[None]:
    """``sys.exit()`` is for programs: in a tool it must not end the server."""
    try:
        yield
    except SystemExit as error:
        raise ToolFailedError(f"it gave up: {error}") from error


def _told(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False)[:_MOST_PROBLEMS]
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)


def _as_text(value: object) -> str:
    """What a function returned: text as it is, nothing as a word, all else as JSON."""
    if isinstance(value, str):
        return value
    return "done" if value is None else to_json(value, fallback=str).decode()
