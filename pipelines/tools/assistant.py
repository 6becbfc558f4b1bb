"""What the assistant can do itself, by tasks: read and describe what the camera shows, translate, tell a language."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pipelines.errors import listed
from pipelines.interfaces.llm import Image, Tool
from pipelines.interfaces.task import Tasks
from pipelines.tools.server_tool import ServerTool, ToolFailedError, ToolLimits, ToolResult

AssistantToolName = Literal["read_text", "describe_picture", "translate_text", "detect_language"]
ASSISTANT_TOOLS: tuple[AssistantToolName, ...] = get_args(AssistantToolName)
TASKS_OF: Mapping[AssistantToolName, tuple[str, ...]] = {
    "read_text": ("ocr",),
    "describe_picture": ("image-text-to-text", "image-to-text"),
    "translate_text": ("translation",),
    "detect_language": ("language-detection",),
}
"""Each tool → the tasks of which one does it, the preferred first."""
LONGEST_TEXT = 4_000
"""Characters that a model may give to a tool."""
_SECONDS = 30.0
"""That one call may take: large models on a processor are slow."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a session shows."""

    sources: Callable[[], Sequence[str]]
    """``camera`` and ``screen``, as far as they show anything now."""
    picture: Callable[[Any], Awaitable[Image | None]]
    """The newest picture of one of the sources, at its full size."""


@dataclass(frozen=True, slots=True)
class AssistantTools:
    """The tools of ``names`` whose task can be done here, now."""

    tasks: Tasks | None = None
    names: tuple[AssistantToolName, ...] = ASSISTANT_TOOLS

    def task_of(self, name: AssistantToolName) -> str | None:
        """The task that does it; ``None`` when it is switched off, or none can be done here."""
        if self.tasks is None or name not in self.names:
            return None
        return next((task for task in TASKS_OF[name] if not self.tasks.why_not(task)), None)

    def why_not(self, name: AssistantToolName) -> str:
        """Why it is not offered, for people; empty when it is."""
        if name not in self.names:
            return "switched off (assistant_tools)"
        if self.tasks is None:
            return "this server does no tasks"
        return "" if self.task_of(name) else self.tasks.why_not(TASKS_OF[name][-1])

    @property
    def reader(self) -> Callable[[bytes], Awaitable[str]] | None:
        """Reads the text in a JPEG or PNG; ``None`` where nothing can."""
        return self._read if self.task_of("read_text") else None

    def offered(self, shown: Shown) -> tuple[ServerTool, ...]:
        """The tools for one session. Those that look are there while there is something to look at."""
        sources = tuple(shown.sources())
        tools = list[ServerTool]()
        if sources and self.task_of("read_text"):
            tools.append(_server_tool(_read_text(sources), lambda given: self._read_shown(shown, given)))
        if sources and self.task_of("describe_picture"):
            tools.append(_server_tool(_describe_picture(sources), lambda given: self._describe(shown, given)))
        if self.task_of("translate_text"):
            tools.append(_server_tool(_TRANSLATE, self._translate))
        if self.task_of("detect_language"):
            tools.append(_server_tool(_DETECT, self._detect))
        return tuple(tools)

    async def _read(self, picture: bytes) -> str:
        return str(_field(await self._done("read_text", {"image": picture}), "text"))

    async def _read_shown(self, shown: Shown, given: Mapping[str, Any]) -> ToolResult:
        text = await self._read(await _picture(shown, given))
        return ToolResult(text or "There is no text to be seen.")

    async def _describe(self, shown: Shown, given: Mapping[str, Any]) -> ToolResult:
        picture = await _picture(shown, given)
        question = _text(given, "question", "Describe this picture.")
        if self.task_of("describe_picture") == "image-text-to-text":
            inputs: dict[str, Any] = {"images": [picture], "text": question}
        else:
            inputs = {"image": picture}
        return ToolResult(str(_field(await self._done("describe_picture", inputs), "generated_text")))

    async def _translate(self, given: Mapping[str, Any]) -> ToolResult:
        languages = {"tgt_lang": _text(given, "to")}
        if "from" in given:
            languages["src_lang"] = _text(given, "from")
        output = await self._done("translate_text", {"text": _text(given, "text")}, languages)
        return ToolResult(str(_field(output, "translation_text")))

    async def _detect(self, given: Mapping[str, Any]) -> ToolResult:
        output = await self._done("detect_language", {"text": _text(given, "text")})
        best = output[0] if isinstance(output, list | tuple) and output else output
        return ToolResult(str(_field(best, "language")))

    async def _done(
        self, name: AssistantToolName, inputs: Mapping[str, Any], parameters: Mapping[str, Any] | None = None
    ) -> Any:
        task = self.task_of(name)
        if task is None or self.tasks is None:
            raise ToolFailedError(f"{name} cannot be done: {self.why_not(name)}")
        return (await self.tasks.runner(task).run(inputs, parameters or {})).output


def _server_tool(tool: Tool, call: Callable[[Mapping[str, Any]], Awaitable[ToolResult]]) -> ServerTool:
    async def checked(given: dict[str, Any]) -> ToolResult:
        known = tool.parameters["properties"]
        if unknown := [name for name in given if name not in known]:
            raise ToolFailedError(f"there is no argument {unknown[0]!r}; the arguments are {listed(sorted(known))}")
        return await call(given)

    return ServerTool(tool, checked, "the assistant's own", ToolLimits(_SECONDS))


async def _picture(shown: Shown, given: Mapping[str, Any]) -> bytes:
    sources = tuple(shown.sources())
    source = given.get("source", sources[0] if sources else "camera")
    if source not in sources:
        raise ToolFailedError(f"source: {source!r} shows nothing; what does is {listed(sources) or 'nothing'}")
    picture = await shown.picture(source)
    if picture is None:
        raise ToolFailedError(f"the {source} shows nothing at present")
    return picture.data


def _text(given: Mapping[str, Any], name: str, default: str | None = None) -> str:
    value = given.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise ToolFailedError(f"{name}: must be text that is not empty")
    if len(value) > LONGEST_TEXT:
        raise ToolFailedError(f"{name}: has {len(value)} characters; {LONGEST_TEXT} at most are taken")
    return value


def _field(output: Any, name: str) -> Any:
    """A field of a task's output, which is an object or a list of one."""
    one = output[0] if isinstance(output, list | tuple) and output else output
    return one.get(name, "") if isinstance(one, Mapping) else getattr(one, name, "")


def _source(sources: Sequence[str]) -> dict[str, Any]:
    return {"type": "string", "enum": list(sources), "description": "Where it is shown."}


def _read_text(sources: Sequence[str]) -> Tool:
    properties = {"source": _source(sources)}
    return Tool(
        "read_text",
        "Reads the text that the user holds to the camera or shows on the screen right now: a sign, a label, a letter. "
        "Use it whenever the user asks what something says.",
        {"type": "object", "properties": properties},
    )


def _describe_picture(sources: Sequence[str]) -> Tool:
    question = {"type": "string", "description": "What is to be found out about the picture."}
    return Tool(
        "describe_picture",
        "Describes what the camera or the shared screen shows right now, or answers a question about it.",
        {"type": "object", "properties": {"source": _source(sources), "question": question}},
    )


_LANGUAGE = {"type": "string", "description": "Code of the language, such as de."}
_TRANSLATE = Tool(
    "translate_text",
    "Translates a text into another language.",
    {
        "type": "object",
        "properties": {"text": {"type": "string"}, "to": _LANGUAGE, "from": _LANGUAGE},
        "required": ["text", "to"],
    },
)
_DETECT = Tool(
    "detect_language",
    "Tells the code of the language that a text is written in.",
    {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
)
