"""A language model that carries out its calls of the server's own tools, and passes those of the client's on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from pipelines.interfaces.llm import (
    ChatRequest,
    Cut,
    LanguageModel,
    Message,
    ModelAround,
    Piece,
    ToolCall,
    takes_images,
    takes_tools,
)
from pipelines.tools.server_tool import ServerTool, ToolResult

MOST_ROUNDS = 4
"""Rounds of calls within one answer; then the model must make do with what it knows."""
MOST_CALLS = 8
"""Calls in one round that are carried out."""


async def _at_once() -> None:
    """Nothing has to be waited for."""


def _untold(*_: object) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class CallWatch:
    """Who is asked before tools are run, and told what is. All on the event loop."""

    allowed: Callable[[], Awaitable[None]] = _at_once
    """Returns once tools may be run: not before an answer that was prepared is given. Asked before each round."""
    on_call: Callable[[str, str, str], object] = _untold
    """Is told the name of the tool, the id of the call and its arguments, before it is run."""
    on_result: Callable[[str, str, bool], object] = _untold
    """Is told the id of the call, its result as the model reads it, and whether it has failed."""


class CallingModel(ModelAround):
    """``model`` with the server's ``tools``, which are asked for anew with each answer: those of MCP servers change.

    A tool of the client's hides one of the server's of the same name. An answer that calls tools of both kinds ends
    once those of the server have been run, for the model cannot go on without the results of the client's.
    """

    def __init__(
        self, model: LanguageModel, tools: Callable[[], Sequence[ServerTool]], watch: CallWatch | None = None
    ) -> None:
        super().__init__(model)
        self._tools = tools
        self._watch = watch or CallWatch()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        """Yield pieces of the answer and calls of the client's tools. Closing it ends calls that are being run.

        Raises what the model raises.
        """
        own = self._offered(request)
        rounds = MOST_ROUNDS if own else 0
        spoken = ""  # of the rounds before, at its end
        run: dict[tuple[str, str], asyncio.Task[ToolResult]] = {}
        while True:
            offered = (
                replace(request, tools=(*request.tools, *(tool.tool for tool in own.values()))) if rounds else request
            )
            said, calls, others, cut = "", list[ToolCall](), False, list[Cut]()
            async with aclosing(self._model.stream(offered)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, ToolCall) and piece.name in own:
                        calls += [piece] if rounds else []  # nobody else knows what is not offered any more
                    elif isinstance(piece, Cut):
                        cut.append(piece)
                    elif isinstance(piece, str):
                        yield _apart(spoken, said, piece)
                        said += piece
                    else:
                        others = True
                        yield piece
            spoken = said or spoken
            results = await self._carried_out(own, calls, run)
            if not calls or others:
                for end in cut:  # of the last round: the others are followed by another
                    yield end
                return
            rounds -= 1
            request = _continued(request, said, calls, results, sees=takes_images(self._model))

    def _offered(self, request: ChatRequest) -> dict[str, ServerTool]:
        if not takes_tools(self._model):
            return {}
        theirs = {tool.name for tool in request.tools}
        return {tool.name: tool for tool in self._tools() if tool.name not in theirs}

    async def _carried_out(
        self,
        own: dict[str, ServerTool],
        calls: Sequence[ToolCall],
        run: dict[tuple[str, str], asyncio.Task[ToolResult]],
    ) -> list[ToolResult]:
        """The results of ``calls``, in their order; they are run side by side.

        ``run`` are those of this answer by name and arguments: the same call again has the same result, and does not
        add the milk to the list twice. Small models like to repeat themselves. What has failed may be tried again.
        """
        if not calls:
            return []
        await self._watch.allowed()
        async with asyncio.TaskGroup() as group:
            for n, call in enumerate(calls):
                if (call.name, call.arguments) not in run:
                    work = self._result(own[call.name], call, late=n >= MOST_CALLS)
                    run[call.name, call.arguments] = group.create_task(work)
                    continue
                self._watch.on_call(call.name, call.id, call.arguments)
        results = [run[call.name, call.arguments].result() for call in calls]
        for call, result in zip(calls, results, strict=True):
            self._watch.on_result(call.id, result.text, result.failed)
            if result.failed:
                run.pop((call.name, call.arguments), None)
        return results

    async def _result(self, tool: ServerTool, call: ToolCall, *, late: bool) -> ToolResult:
        self._watch.on_call(call.name, call.id, call.arguments)
        if late:
            return ToolResult(f"not run: {MOST_CALLS} calls at a time are", failed=True)
        return await tool.run(call.arguments)


def _apart(spoken: str, said: str, piece: str) -> str:
    """``piece`` with a space in front where words of another round are before it."""
    touches = not said and spoken and not spoken[-1].isspace() and piece[:1].strip()
    return f" {piece}" if touches else piece


def _continued(
    request: ChatRequest, said: str, calls: Sequence[ToolCall], results: Sequence[ToolResult], *, sees: bool
) -> ChatRequest:
    """The request with the calls and what they brought; pictures in a message of their own, for servers take them from
    users only. A call that had to be made has been made."""
    messages = [*request.messages, Message("assistant", said, tuple(calls))]
    for call, result in zip(calls, results, strict=True):
        text = f"Error: {result.text}" if result.failed else result.text
        messages.append(Message("tool", text, tool_call_id=call.id))
    if sees and (images := tuple(image for result in results for image in result.images)):
        messages.append(Message("user", "These pictures came with the results.", images=images))
    return replace(request, messages=tuple(messages), tool_choice="auto")
