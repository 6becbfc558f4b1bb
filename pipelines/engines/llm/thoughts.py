"""What a model thinks to itself, told from what it says, in whatever pieces its text comes. Pure.

Models mark their thoughts in many ways, and servers pass the marks on when they were not told the model's kind:

- ``<think>…</think>`` (DeepSeek, Qwen, and most others), also spelled ``<thinking>``, ``<thought>``, ``<reasoning>``,
  in any case, with attributes, in brackets (``[THINK]``, Mistral) or other signs (``◁think▷``, Kimi);
- ``</think>`` alone: the template of the model has put the opening tag into the prompt;
- special tokens in pairs: ``<|START_THINKING|>`` (Command A), ``<|begin_of_thought|>``, ``<unused94>`` (MedGemma);
- channels, of which only one is for the user (https://cookbook.openai.com/articles/openai-harmony):
  ``<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>``; where a server
  drops the special tokens, ``analysis…assistantfinal…`` is left of it.

``regex`` tells whether a text may be the beginning of a mark (a partial match), which :mod:`re` cannot.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import regex

_NAMES = (
    r"(?:think(?:ing|s)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|inner[_-]?(?:thoughts?|monologue)"
    r"|ant[_-]?thinking|antml:(?:thinking|reasoning)|seed:think)"
)
_ROOM = r"[^<>\[\]\n]{0,80}"
"""What may stand beside the name in a mark: attributes."""
_MARK = regex.compile(
    rf"""
      (?P<open> <\s?{_NAMES}(?:\s{_ROOM})?> | \[\s?{_NAMES}\s?\] | ◁\s?{_NAMES}\s?▷
        | <details\s[^<>]{{0,80}}reasoning[^<>]{{0,80}}> | <unused94>(?:thought\n)?
        | <\|(?:start|begin)_?(?:of_?)?{_NAMES}\|> | <\|{_NAMES}\|> )
    | (?P<close> <\s?/\s?{_NAMES}\s?> | \[\s?/\s?{_NAMES}\s?\] | ◁\s?/\s?{_NAMES}\s?▷ | </details>
        | <\|end_?(?:of_?)?{_NAMES}\|> | <\|/{_NAMES}\|> | <unused95> | <channel\|> )
    | (?P<channel> <\|channel\|?>\s*(?P<name>\w+)[^<\n]{{0,80}}(?:<\|constrain\|>\w{{0,20}})?(?:<\|message\|>|\n) )
    | (?P<message> <\|message\|> )
    | (?P<between> <\|start\|> | <\|end\|> )
    | (?P<end> <\|(?:im_end|eot_id|eom_id|end_of_text|endoftext|return|call|end_response|end_of_turn_token)\|>
        | <end_of_turn> )
    | (?P<other> <\|(?!(?:channel|message|start|end)\|)[A-Za-z_]{{1,40}}\|> )
    """,
    regex.VERBOSE | regex.IGNORECASE,
)
_FIRST = regex.compile(r"(?P<open>analysis(?=\s?[\"'“]?\p{Lu})|(?i:here(?:’|'|\si)s\smy\sthought\sprocess:))")
"""Marks that count at the beginning only."""
_THEN = regex.compile(r"(?P<close>assistant\s?final|(?i:here(?:’|'|\si)s\smy\sresponse:))")
"""And what ends them."""
_STARTS = regex.compile("[<[◁]")
"""What marks begin with."""
_LONGEST_MARK = 200
_LONGEST_THOUGHT = 1 << 16
"""Characters that are kept of what may turn out not to have been a thought."""
_PONDERS = regex.compile(
    r"""^\W*(?:(?:ok(?:ay)?|alright|all\sright|hmm+|so|well|first|now|right|wait|let(?:'|’)?s\ssee)\b[\s,.…]*)*
    (?:let\sme|let(?:'|’)s|i\s(?:need|should|have|must)\b|we\s(?:need|should|have|must|are)\b
    |the\s(?:user|question|task)|user\s(?:asks|wants|says)|thinking\b|my\s(?:task|goal))
    | \bthe\suser(?:'|’)?s?\b | ^\W*hmm""",
    regex.VERBOSE | regex.IGNORECASE,
)
"""How models begin to think aloud: about the user, and about what they should say."""
_ABOUT_THE_USER = regex.compile(
    r"""\W*(?:(?:ok(?:ay)?|alright|all\sright|hmm+|so|well|now|first)\W+)*
    (?:the\suser(?:'|’)?s?\s(?:is|was|has|asks?|asked|wants?|says|said|just|seems|greets|greeted|needs?|mentions?|input|message)\b
    |we\s(?:need|have|should|must)\s(?:to\s)?(?:answer|respond|reply)\b)""",
    regex.VERBOSE | regex.IGNORECASE,
)
"""What nobody says to a user, but models to themselves: looked for in every answer, as long as its first words fit."""


class Begins(Enum):
    """What the text of a model begins with where no mark tells."""

    ANSWER = "answer"
    THOUGHT = "thought"
    """Its opening mark is in the prompt."""
    UNKNOWN = "unknown"
    """It is kept until :meth:`ThoughtFilter.decide`."""


class ThoughtFilter:
    """Leaves thoughts and special tokens out, fed with any pieces."""

    def __init__(self, begins: Begins = Begins.ANSWER) -> None:
        self._text = ""
        self._kept = ""
        """What may be said if it turns out to be no thought."""
        self._deciding = begins
        self._thinking = self._over = self._channels = False
        self._first = True
        """Nothing has come but white space."""
        self._opening = begins is Begins.ANSWER
        """All that has come may be the beginning of :data:`_ABOUT_THE_USER`."""
        self._leaked = False
        """The thought has begun with a mark of :data:`_FIRST`."""
        self.thought = False
        """Whether there was a thought."""
        self.unannounced = False
        """Whether the answer began with a thought that only its end gave away."""

    @property
    def undecided(self) -> int:
        """Characters that are kept because it is not known whether they are a thought."""
        return len(self._kept.strip()) if self._opening or self._deciding is Begins.UNKNOWN else 0

    def push(self, text: str) -> str:
        """Return what may be read; what may become a mark is kept until it is clear whether it is one."""
        self._text += text
        shown = ""
        while not self._over and (mark := self._next()) is not None:
            before, self._text = self._text[: mark.start()], self._text[mark.end() :]
            shown = self._pass(mark, shown + self._out(before))
        at = self._possible()
        ready, self._text = self._text[:at], self._text[at:]
        return shown + self._out(ready)

    def decide(self) -> str:
        """No more time to wait for a mark: go by how the text reads. Returns what turned out to be the answer."""
        if self._opening:
            return self._released()
        if self._deciding is not Begins.UNKNOWN or not self._kept.strip():
            return ""
        self._deciding = Begins.THOUGHT if _PONDERS.search(self._kept) else Begins.ANSWER
        return self._released() if self._deciding is Begins.ANSWER else ""

    def flush(self, *, cut: bool = False) -> str:
        """The answer has ended: return what was kept.

        ``cut``: in the middle. What reads like a thought is one then, though its end did not come.
        """
        rest, self._text = self._text, ""
        shown = "" if self._thinking else self._out(rest)
        if cut:
            shown = self.decide() + shown
        if cut and self._deciding is Begins.THOUGHT:
            self.thought = self.unannounced = True
            self._kept = ""
        self._deciding = Begins.ANSWER
        return self._released() + shown

    # ------------------------------------------------------------------------------------------------ inside

    def _next(self) -> regex.Match[str] | None:
        """The first mark in what has not been passed on, once it is complete."""
        first = None
        if self._first and not self._thinking:
            first = _FIRST.match(self._text, len(self._text) - len(self._text.lstrip()))
            self._leaked = self._leaked or first is not None
        elif self._leaked and self._thinking:
            first = _THEN.search(self._text)
        found = _MARK.search(self._text)
        mark = min((one for one in (found, first) if one is not None), key=lambda one: one.start(), default=None)
        return mark if mark is None or mark.start() <= self._possible() else None

    def _possible(self) -> int:
        """Where at the end of what has not been passed on a mark may begin that is not complete."""
        text = self._text
        low = max(0, len(text) - _LONGEST_MARK)
        at = next((m.start() for m in _STARTS.finditer(text, low) if _is_partial(_MARK, text, m.start())), len(text))
        if self._first and not self._thinking:
            begin = len(text) - len(text.lstrip())
            return begin if begin == len(text) or _is_partial(_FIRST, text, begin) else at
        if self._leaked and self._thinking:
            return next((n for n in range(low, at) if _is_partial(_THEN, text, n)), at)
        return at

    def _pass(self, mark: regex.Match[str], shown: str) -> str:
        """Go on behind a mark; what may be said of ``shown``, the text that was to be passed on with this piece."""
        kind = mark.lastgroup if mark.lastgroup != "name" else "channel"
        self._first = False
        match kind:
            case "open":
                shown += self._answer_so_far()
                self._think()
            case "close":
                return self._close(mark, shown)
            case "channel":
                shown += self._answer_so_far()
                self._channels = True
                self._thinking = mark["name"].lower() not in ("final", "response", "answer")
                self.thought = self.thought or self._thinking
            case "message":
                self._thinking = False
            case "between":
                if self._channels or mark[0].lower() == "<|start|>":
                    self._thinking = self._channels = True
                else:
                    self._over = not self._thinking
            case "end":
                self._over = not self._thinking or self._channels
        return shown

    def _close(self, mark: regex.Match[str], shown: str) -> str:
        if mark[0].lower() == "</details>" and not self._thinking:
            return shown
        if not self._thinking and not self.thought:
            self.unannounced = self.thought = True
            shown, self._kept = "", ""
        self._thinking = self._leaked = False
        self._deciding = Begins.ANSWER
        return shown

    def _think(self) -> None:
        self._thinking = self.thought = True

    def _answer_so_far(self) -> str:
        """What was kept stands before a thought that is announced, so it is none itself."""
        self._deciding = Begins.ANSWER
        return self._released()

    def _out(self, text: str) -> str:
        """``text``, unless it is a thought or may be one."""
        if text.strip():
            self._first = False
        if self._thinking or self._over or not text:
            return ""
        if self._opening:
            return self._open(text)
        if self._deciding is Begins.ANSWER:
            return text
        self._kept = (self._kept + text)[-_LONGEST_THOUGHT:]
        return ""

    def _open(self, text: str) -> str:
        """The first words of a model that is not known to think aloud."""
        self._kept += text
        match = _ABOUT_THE_USER.match(self._kept, partial=True)
        if match is not None and match.partial:
            return ""
        self._opening = False
        if match is not None:
            self._deciding = Begins.THOUGHT
            return ""
        return self._released()

    def _released(self) -> str:
        self._opening = False
        kept, self._kept = self._kept, ""
        return kept


def _is_partial(pattern: regex.Pattern[str], text: str, at: int) -> bool:
    """Whether what begins ``at`` and goes to the end of ``text`` may become a mark."""
    match = pattern.match(text, at, partial=True)
    return match is not None and match.partial and match.end() == len(text)


def opens_thought(prompt: str) -> bool:
    """Whether ``prompt`` ends within a thought, as some templates let it: the answer begins as one then."""
    last: Literal["open", "close"] | None = None
    for mark in _MARK.finditer(prompt[-_LONGEST_MARK:]):
        last = "open" if mark["open"] else "close" if mark["close"] else last
    return last == "open"
