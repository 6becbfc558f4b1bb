"""Tool calls in text and in pieces of a stream, wherever they are cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.llm.text import AnswerText, Detokenizer
from pipelines.engines.llm.tools import ToolCallFilter, ToolCallPieces, mend, parse_calls
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ToolCall

NAMES = ("light", "weather")


def shown(items: list[str | ToolCall]) -> list[Any]:
    """Calls as (name, arguments); neighbouring texts as one."""
    out: list[Any] = []
    for item in items:
        if isinstance(item, ToolCall):
            assert item.id
            out.append((item.name, json.loads(item.arguments)))
        elif out and isinstance(out[-1], str):
            out[-1] += item
        else:
            out.append(item)
    return out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No tools needed.", ["No tools needed."]),
        ('<tool_call>\n{"name": "light", "arguments": {"on": true}}\n</tool_call>', [("light", {"on": True})]),
        (
            'Let me see. <tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>\n'
            '<tool_call>{"name": "light", "arguments": {}}</tool_call>',
            ["Let me see. ", ("weather", {"city": "Paris"}), ("light", {})],
        ),
        ('<tool_call>{"name": "dance", "arguments": {}}</tool_call>', [("dance", {})]),
        ('<tool_call>{"name": "light", "arguments": {"on": 1}}', [("light", {"on": 1})]),
        (' {"name": "light", "parameters": {"on": false}}', [("light", {"on": False})]),
        ('[{"name": "light", "arguments": {}}, {"name": "weather"}]', [("light", {}), ("weather", {})]),
        ('{"name": "light", "arguments": {}}; {"name": "weather", "arguments": {}}', [("light", {}), ("weather", {})]),
        ('{"name": "Ann", "arguments": {}} is JSON', ['{"name": "Ann", "arguments": {}} is JSON']),
        ('{"name": "light", "arguments": {}', [("light", {})]),
        ("[laughs] Hello", ["[laughs] Hello"]),
        ('It is {"name": "light", "arguments": {}}', ['It is {"name": "light", "arguments": {}}']),
        ("a < b <tool", ["a < b <tool"]),
        ('{"name": "light", "arguments": {"text": "</tool_call>"}}', [("light", {"text": "</tool_call>"})]),
    ],
)
@given(data=st.data())
def test_calls_are_told_from_text_wherever_it_is_cut(text: str, expected: list[Any], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    calls, got = ToolCallFilter(NAMES), list[str | ToolCall]()
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += calls.push(text[begin:end])
    assert shown([*got, *calls.flush()]) == expected


def test_plain_text_is_not_held_back() -> None:
    calls = ToolCallFilter(NAMES)
    assert calls.push("It is ") == ["It is "]
    assert calls.push("fine <b") == ["fine <b"]
    assert calls.push("ut <") == ["ut "]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('```json\n{"name": "a", "arguments": {"x": 1}}\n```', {"x": 1}),
        ('{"name": "a", "arguments": {"x": 1,},}', {"x": 1}),
        ('{"name": "a", "arguments": {"x": True, "y": None, "z": "None"}}', {"x": True, "y": None, "z": "None"}),
        ('{"name": "a", "arguments": {"x": [1, {"y": 2', {"x": [1, {"y": 2}]}),
        ('{"name": "a", "arguments": "{\\"x\\": 1}"}', {"x": 1}),
        ('{"name": "a", "arguments": null}', {}),
        ('{"name": "a"}', {}),
        ('{"function": "a", "arguments": {"x": "two\nlines"}}', {"x": "two\nlines"}),
        ('{"type": "function", "function": {"name": "a", "arguments": {"x": 1}}}', {"x": 1}),
        ('{"name": "a", "arguments": {"x": 1}} and so on', {"x": 1}),
    ],
)
def test_what_can_be_mended_is(text: str, expected: dict[str, Any]) -> None:
    (call,) = parse_calls(text)
    assert (call.name, json.loads(call.arguments)) == ("a", expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "light on",
        "{}",
        "[1]",
        '{"name": 7, "arguments": {}}',
        '{"name": "", "arguments": {}}',
        '{"name": "a", "arguments": [1]}',
        '{"name": "a", "arguments": "on"}',
        '{"name": "a", "arguments": {"city": "Par',  # what was going to be said is not known
        "{'name': 'a'}",
        "{]",
    ],
)
def test_what_makes_no_sense_is_an_error(text: str) -> None:
    with pytest.raises(LLMError) as caught:
        parse_calls(text)
    assert caught.value.code == "tool_call_invalid"
    assert len(caught.value.message) < 250


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_sound_json_stays_as_it_is(value: Any) -> None:
    if isinstance(value, list | dict):
        assert json.loads(mend(json.dumps(value))) == value


def test_pieces_of_a_stream_are_put_together() -> None:
    pieces = ToolCallPieces()
    pieces.push([{"index": 0, "id": "one", "function": {"name": "light", "arguments": ""}}])
    pieces.push([{"index": 1, "id": "two", "function": {"name": "weather", "arguments": '{"ci'}}])
    pieces.push(
        [{"index": 0, "function": {"arguments": '{"on": '}}, {"index": 1, "function": {"arguments": 'ty": 1}'}}]
    )
    pieces.push([{"index": 0, "function": {"name": None, "arguments": "true}"}}])
    assert pieces.flush() == [
        ToolCall("one", "light", '{"on": true}'),
        ToolCall("two", "weather", '{"city": 1}'),
    ]
    assert pieces.flush() == []


def test_a_server_that_does_not_number_its_calls() -> None:
    pieces = ToolCallPieces()
    pieces.push([{"id": "a", "function": {"name": "light", "arguments": {"on": True}}}])
    pieces.push([{"id": "b", "function": {"name": "weather", "arguments": ""}}])
    pieces.push([{"function": {"arguments": "{}"}}])
    assert pieces.flush() == [ToolCall("a", "light", '{"on": true}'), ToolCall("b", "weather", "{}")]


@pytest.mark.parametrize("nonsense", [None, 7, "call", [None], [{}], [{"function": None}]])
def test_pieces_that_are_none(nonsense: Any) -> None:
    pieces = ToolCallPieces()
    pieces.push(nonsense)
    if isinstance(nonsense, list) and nonsense[0] is not None:
        with pytest.raises(LLMError):
            pieces.flush()
    else:
        assert pieces.flush() == []


# ---------------------------------------------------------------------------------------------------- tokens


def byte_by_byte(ids: Any) -> str:
    return bytes(ids).decode(errors="replace")


@given(st.text())
def test_no_half_characters_and_nothing_lost(text: str) -> None:
    words = Detokenizer(byte_by_byte)
    pieces = [words.push(byte) for byte in text.encode()]
    assert "".join(pieces) + words.flush() == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


def test_what_is_left_of_a_character_that_was_cut_is_not_read() -> None:
    for half in ("\ud83d", "\N{REPLACEMENT CHARACTER}", "\N{REPLACEMENT CHARACTER}" * 3):
        text = AnswerText()
        assert [*text.push("Hi "), *text.push(half), *text.flush(cut=True)] == ["Hi "]
        text = AnswerText()
        assert [*text.push("Hi "), *text.push(half), *text.break_off()] == ["Hi "]
        text = AnswerText()
        whole = "".join(map(str, [*text.push(f"Hi {half}"), *text.push("!"), *text.push(half), *text.flush()]))
        shown_half = half.replace("\ud83d", "\N{REPLACEMENT CHARACTER}")
        assert whole == f"Hi {shown_half}!{shown_half}"


def test_a_word_is_given_without_waiting_for_the_next() -> None:
    words = Detokenizer(lambda ids: "".join(f" w{token}" for token in ids))
    assert [words.push(token) for token in (1, 2, 3)] == [" w1", " w2", " w3"]


def test_bytes_that_are_no_characters_are_not_kept_for_ever() -> None:
    words = Detokenizer(byte_by_byte)
    assert "".join(words.push(0xE2) for _ in range(20))


def test_thoughts_and_calls_in_one_answer() -> None:
    text = AnswerText(NAMES)
    said = [*text.push("<think>Hm.</think>\n\n<tool_"), *text.push('call>{"name": "light"}</tool_call>'), *text.flush()]
    assert shown(said) == [("light", {})]
    text = AnswerText()
    assert [*text.push('\n<tool_call>{"name": "light"}'), *text.flush()] == ['<tool_call>{"name": "light"}']
