"""Tokens → text that may be read, piece by piece. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from pipelines.engines.llm.thoughts import Begins, ThoughtFilter
from pipelines.engines.llm.tools import ToolCallFilter
from pipelines.interfaces.llm import ToolCall
from pipelines.text import Mender

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_LONGEST_CHARACTER = 8
"""Tokens after which bytes that are still no character are given as they are (UTF-8 needs at most four)."""


class Detokenizer:
    """Token ids → text as soon as it is certain: no half characters, no waiting for the next word.

    ``decode`` is the tokenizer's. How a token is written may depend on the one before, so a few are decoded again.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._shown = 0
        """How many of the ids are known to the caller as text."""
        self._before = ""
        """Their text."""

    def push(self, token: int) -> str:
        """The text that ``token`` adds; empty in the middle of a character."""
        self._ids.append(token)
        text = self._decode(self._ids)
        if text.endswith(_UNKNOWN) and len(self._ids) - self._shown < _LONGEST_CHARACTER:
            return ""
        return self._take(text)

    def flush(self) -> str:
        """The answer has ended: what was kept."""
        return self._take(self._decode(self._ids)) if len(self._ids) > self._shown else ""

    def _take(self, text: str) -> str:
        new = text[len(self._before) :]
        self._ids = self._ids[self._shown :]
        self._shown = len(self._ids)
        self._before = self._decode(self._ids)
        return new


class AnswerText:
    """What of a model's words may be read: whole characters, no thoughts, no gap in front, and tool calls as such.

    ``tools`` are the names of the tools there are; without any, everything is text. ``begins`` is what the text begins
    with where no mark tells (see :class:`~pipelines.engines.llm.thoughts.ThoughtFilter`).
    """

    def __init__(self, tools: Collection[str] = (), begins: Begins = Begins.ANSWER) -> None:
        self._characters = Mender()
        self._thoughts = ThoughtFilter(begins)
        self._calls = ToolCallFilter(tools) if tools else None
        self.spoken = False
        """Whether there was anything to read, or a call."""

    def push(self, text: str) -> list[str | ToolCall]:
        """Pieces that are complete. Raises :class:`~pipelines.errors.LLMError` (``tool_call_invalid``)."""
        return self._pass_on(self._thoughts.push(self._characters.push(text)))

    def decide(self) -> list[str | ToolCall]:
        """No more time to find out whether the text is a thought. Raises as :meth:`push`."""
        return self._pass_on(self._thoughts.decide())

    def flush(self, *, cut: bool = False) -> list[str | ToolCall]:
        """The answer has ended: what was kept; ``cut``: because it was too long. Raises as :meth:`push`."""
        out = self._rest(cut)
        return out if self._calls is None else [*out, *self._calls.flush()]

    def break_off(self) -> list[str | ToolCall]:
        """The answer broke off: the words that were kept. A call that is not complete is left out."""
        out = self._rest(cut=True)
        return out if self._calls is None else [*out, *self._calls.break_off()]

    @property
    def undecided(self) -> int:
        """Characters that are kept because it is not known whether they are a thought."""
        return self._thoughts.undecided

    @property
    def thought(self) -> bool:
        """Whether there was a thought."""
        return self._thoughts.thought

    @property
    def unannounced(self) -> bool:
        """Whether the answer began with a thought that only its end gave away."""
        return self._thoughts.unannounced

    def _rest(self, cut: bool) -> list[str | ToolCall]:
        out = self._pass_on(self._thoughts.push(self._characters.flush(cut=cut)))
        return [*out, *self._pass_on(self._thoughts.flush(cut=cut))]

    def _pass_on(self, text: str) -> list[str | ToolCall]:
        text = text if self.spoken else text.lstrip()
        if not text:
            return []
        self.spoken = True
        return [text] if self._calls is None else self._calls.push(text)
