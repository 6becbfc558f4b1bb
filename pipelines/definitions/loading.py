"""Files in YAML → data, with the line of everything in them: what is wrong is told with file, line, field and legal
values.

The tree of nodes that PyYAML composes knows its lines; pydantic knows the place of a mistake in the data. Here the two
are brought together. A file is bounded in size, in depth and in what its aliases unfold to.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipelines.errors import DefinitionError
from pipelines.routing.stage_types import Problem, explain
from pipelines.text import mended

LARGEST = 256 << 10
"""Bytes of a file."""
DEEPEST = 40
"""Lists and mappings in each other."""
MOST_NODES = 20_000
"""Words, lists and mappings, each as often as aliases name it."""
MOST_PROBLEMS = 5
"""Told at once."""
_MERGE = "tag:yaml.org,2002:merge"
_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

M = TypeVar("M", bound=BaseModel)


class Document:
    """One file: its data, and where everything in it stands."""

    def __init__(self, path: Path, data: Any, root: Node | None, problems: Sequence[tuple[int, str]] = ()) -> None:
        self.path = path
        self.data = data
        self._root = root
        self._problems = tuple(problems)
        """Line and message of what is wrong in the YAML itself, though it can be read."""

    def validated(self, kind: type[M]) -> M:
        """The data as ``kind``. Raises :class:`DefinitionError` naming up to :data:`MOST_PROBLEMS` mistakes."""
        if self.data is None:
            legal = ", ".join(sorted(kind.model_fields))
            raise DefinitionError("definition_invalid", f"{self.path}: is empty; legal values are the fields {legal}")
        try:
            found = kind.model_validate(self.data)
        except ValidationError as error:
            raise self.error(explain(error)) from error
        if self._problems:
            raise self.error([])
        return found

    def error(self, problems: Sequence[Problem]) -> DefinitionError:
        """What is said of ``problems``, and of those that the YAML itself has."""
        told = [(self.line(one.where), str(one)) for one in problems]
        words = [f"line {line}: {message}" for line, message in sorted({*self._problems, *told})[:MOST_PROBLEMS]]
        return DefinitionError("definition_invalid", _plain_text(f"{self.path}: {'; '.join(words)}"))

    def line(self, where: Sequence[str | int]) -> int:
        """Where the last part of ``where`` that is in the file stands; parts that are not are passed over."""
        node, line = self._root, 1
        for part in where:
            found = next(_children(node, part), None)
            if found is not None:
                node, line = found
        return line


def read(path: Path) -> Document:
    """Read a file. Raises :class:`DefinitionError` when it cannot be read or is no YAML of bounded size."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DefinitionError("definition_unreadable", f"{path}: is no file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise DefinitionError("definition_unreadable", f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # a zero byte in its name
        raise DefinitionError("definition_unreadable", f"{str(path)!r}: {error}") from error
    if len(data) > LARGEST:
        raise DefinitionError("definition_too_large", f"{path}: is larger than {LARGEST >> 10} KiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError("definition_not_yaml", f"{path}: is no text in UTF-8") from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """A file's text; ``path`` is what messages call it. Raises :class:`DefinitionError`."""
    try:
        root = yaml.compose(text, Loader=_Loader)
        _check_bounds(root)
        plain = _Plain()
        return Document(path, None if root is None else plain.of(root), root, plain.problems)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DefinitionError("definition_not_yaml", f"{path}: line {line}: {error.reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark is not None else ""
        problem = getattr(error, "problem", None) or getattr(error, "context", None) or error
        message = _plain_text(f"{path}:{where} {problem}")
        raise DefinitionError("definition_not_yaml", message) from error
    except (ValueError, OverflowError) as error:
        raise DefinitionError("definition_not_yaml", f"{path}: an escape in it is beyond Unicode") from error
    except _TooLargeError as error:
        raise DefinitionError("definition_too_large", f"{path}: line {error.line}: {error}") from None


_TOO_DEEP = f"lists and mappings are more than {DEEPEST} deep"


_TOO_MANY = f"holds more than {MOST_NODES} words, each as often as aliases name it"


class _TooLargeError(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes no more than is taken: scanning what is deep or long takes PyYAML very long."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        self._depth += 1
        self._nodes += 1
        if self._depth > DEEPEST or self._nodes > MOST_NODES:
            message = _TOO_DEEP if self._depth > DEEPEST else _TOO_MANY
            raise _TooLargeError(self.peek_event().start_mark.line + 1, message)  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _check_bounds(root: Node | None) -> None:
    """Refuse what refers to itself, and what unfolds to more than it looks like ("billion laughs")."""
    known: dict[int, tuple[int, int]] = {}
    above: set[int] = set()

    def unfolded(node: Node) -> tuple[int, int]:
        """How many nodes, and how deep."""
        key = id(node)
        line = node.start_mark.line + 1
        if key in above:
            raise _TooLargeError(line, "refers to itself")
        if key not in known:
            above.add(key)
            inner = [unfolded(one) for one in _inside(node)]
            above.remove(key)
            known[key] = 1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)
        size, depth = known[key]
        if size > MOST_NODES or depth > DEEPEST:
            raise _TooLargeError(line, _TOO_MANY if size > MOST_NODES else _TOO_DEEP)
        return known[key]

    if root is not None:
        unfolded(root)


def _inside(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def _children(node: Node | None, part: str | int) -> Iterator[tuple[Node, int]]:
    """What stands in ``node`` under ``part``, and the line where it begins."""
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        yield node.value[part], node.value[part].start_mark.line + 1
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == str(part) and key.tag != _MERGE:
                yield value, key.start_mark.line + 1
        for key, value in node.value:
            if key.tag == _MERGE:
                for merged in value.value if isinstance(value, SequenceNode) else [value]:
                    yield from _children(merged, part)


class _Plain:
    """Nodes → data. What is wrong is noted, and something sound stands in its place."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, str]] = []
        self._constructor = SafeConstructor()

    def of(self, node: Node) -> Any:
        """The node as Python's own types."""
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if node.tag not in _COLLECTIONS:
            self._note(node, f"the tag {node.tag[:80]} is not taken")
        if isinstance(node, SequenceNode):
            return [self.of(inner) for inner in node.value]
        assert isinstance(node, MappingNode)
        return self._mapping(node)

    def _mapping(self, node: MappingNode) -> dict[Any, Any]:
        own: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for other in value.value if isinstance(value, SequenceNode) else [value]:
                    if isinstance(other, MappingNode):
                        merged = {**self._mapping(other), **merged}
                    else:
                        self._note(key, "<< takes a mapping, or a list of mappings")
                continue
            if not isinstance(key, ScalarNode):
                self._note(key, "a key must be a word")
                continue
            name = self._scalar(key)
            if name in own:
                self._note(key, f"the key {key.value[:80]!r} is there already")
            own[name] = self.of(value)
        return {**merged, **own}

    def _scalar(self, node: ScalarNode) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            self._note(
                node, f"{node.value[:80]!r} is no {kind}" if kind in _KINDS else f"the tag {kind[:80]} is not taken"
            )
            return node.value
        if isinstance(value, str):
            return mended(value)
        return value if value is None or isinstance(value, bool | int | float) else node.value

    def _note(self, node: Node, message: str) -> None:
        self.problems.append((node.start_mark.line + 1, message))


_KINDS = ("bool", "int", "float", "null", "timestamp", "binary")


def _plain_text(message: str) -> str:
    """One line that can be printed."""
    words = " ".join(mended(message).split())
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in words)
