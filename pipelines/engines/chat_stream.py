"""What a streamed chat completion is made of: server-sent events, and text with thoughts in it. Pure."""

from __future__ import annotations

from collections.abc import Iterator


class EventStream:
    """Server-sent events → their data, fed with any pieces. Pure."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._data: list[bytes] = []

    @property
    def pending(self) -> int:
        """Bytes of an event that is not complete."""
        return len(self._line) + sum(map(len, self._data))

    def push(self, data: bytes) -> Iterator[bytes]:
        """Yield the data of each event that ``data`` completes."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line += line
            complete, self._line = bytes(self._line).removesuffix(b"\r"), bytearray()
            if complete:
                name, _, value = complete.partition(b":")
                if name == b"data":
                    self._data.append(value.removeprefix(b" "))
            elif self._data:
                event, self._data = b"\n".join(self._data), []
                yield event
        self._line += rest


class ThoughtFilter:
    """Leaves out ``<think>…</think>``, fed with any pieces. Pure."""

    _OPEN, _CLOSE = "<think>", "</think>"

    def __init__(self) -> None:
        self._text = ""
        self._thinking = False

    def push(self, text: str) -> str:
        """Return what may be read; the beginning of a tag is kept until it is clear whether it is one."""
        self._text += text
        shown = ""
        while True:
            tag = self._CLOSE if self._thinking else self._OPEN
            before, found, after = self._text.partition(tag)
            if not found:
                break
            shown += "" if self._thinking else before
            self._text, self._thinking = after, not self._thinking
        kept = next(n for n in range(min(len(tag) - 1, len(self._text)), -1, -1) if self._text.endswith(tag[:n]))
        ready, self._text = self._text[: len(self._text) - kept], self._text[len(self._text) - kept :]
        return shown if self._thinking else shown + ready

    def flush(self) -> str:
        """The answer has ended: return what was kept."""
        rest, self._text = "" if self._thinking else self._text, ""
        return rest
