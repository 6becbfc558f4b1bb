"""Client events with exactly one thing wrong, by the thousand: one ``error`` each, which names it, and nothing else.

What :mod:`tests.fakes.hostile_events` makes may be right or wrong in many ways; these are right events of every kind
into which one field that cannot be right has been put, so it is known what the answer must be.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fakes.hostile_events import GOOD, TEXTS
from tests.pipelines.voice.test_conversation import scene
from tests.server.dialects.test_realtime_client import HELLO, Client

EVENTS = 60
"""In each round."""
TOOL = {"type": "function", "name": "f", "description": "Does it.", "parameters": {}, "strict": True}
RIGHT: tuple[dict[str, Any], ...] = (
    *GOOD,
    {"type": "session.update", "session": {"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}}},
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"},
    },
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "done"}},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "tools": [TOOL],
            "tool_choice": "none",
            "output_modalities": ["text"],
            "input": [
                HELLO,
                {"type": "item_reference", "id": "x"},
                {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            ],
        },
    },
)
"""Events whose fields are all known; free-form ones are empty, so that nothing can be put into them."""
NOTHING_TAKES = [[[0]]]
"""No field is a list of lists."""
NO_FIELD = "no_such_field"
JUNK = st.one_of(
    st.sampled_from(TEXTS),
    st.binary(max_size=200),
    st.text(max_size=200),
    st.recursive(st.none() | st.integers() | st.text(max_size=20), st.lists, max_leaves=20).map(json.dumps),
)
"""None of these is an event that is carried out."""


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields of an event."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


def holder(event: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        event = event[key]
    return event


@st.composite
def broken_events(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A right event into which one thing was put that is wrong, and the path of that."""
    event = copy.deepcopy(draw(st.sampled_from(RIGHT)))
    path = draw(st.sampled_from([*places(event)]))
    how = draw(st.sampled_from(("value", "value", "value", "name", "type")))
    if how == "type":
        path = ("type",)
        event["type"] = draw(st.sampled_from(("", "response.audio.create", "session", "x" * 300, "é")))
    elif how == "name":
        inside = holder(event, path)
        path = (*path[:-1], NO_FIELD)
        if isinstance(inside, dict):
            inside[NO_FIELD] = 0
        else:
            inside.append(NOTHING_TAKES)
    else:
        holder(event, path)[path[-1]] = NOTHING_TAKES
    return event, ".".join(map(str, path))


async def play(rounds: list[tuple[dict[str, Any], str]], junk: list[str | bytes], seen: Counter[str]) -> None:
    async with scene() as s:
        client = Client(s)
        for number, (event, path) in enumerate(rounds):
            named = {"event_id": f"event_{number}", **event}
            before = s.conversation.settings, len(s.conversation.history.items)
            sent = await client.say(named)
            assert [told["type"] for told in sent] == ["error"], (named, sent)
            error = sent[0]["error"]
            assert error.get("event_id") == (named["event_id"] if path != "event_id" else None), (named, error)
            assert error["type"] == "invalid_request_error", (named, error)
            assert error["code"] != "internal_error", (named, error)
            assert before == (s.conversation.settings, len(s.conversation.history.items)), named
            seen[error["code"]] += 1
        for text in junk:
            sent = await client.say(text)
            assert [told["type"] for told in sent] == ["error"], (text, sent)
            seen[sent[0]["error"]["code"]] += 1
        await client.say({"type": "session.update", "session": {"output_modalities": ["text"]}})
        sent = await client.say({"type": "conversation.item.create", "item": HELLO}, {"type": "response.create"})
        assert [told["response"]["status"] for told in sent if told["type"] == "response.done"] == ["completed"]


@pytest.mark.parametrize("rounds_of_them", [20, pytest.param(90, marks=pytest.mark.long)])
def test_every_wrong_event_is_answered_by_one_error_and_changes_nothing(rounds_of_them: int) -> None:
    seen: Counter[str] = Counter()

    @seed(20)
    @settings(
        max_examples=rounds_of_them,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        st.lists(broken_events(), min_size=EVENTS, max_size=EVENTS),
        st.lists(JUNK, min_size=4, max_size=4),
    )
    def run(rounds: list[tuple[dict[str, Any], str]], junk: list[str | bytes]) -> None:
        asyncio.run(play(rounds, junk, seen))

    run()
    assert sum(seen.values()) >= rounds_of_them * EVENTS, seen
    assert seen.keys() >= {"invalid_value", "unknown_parameter", "unknown_event", "invalid_json"}, seen


@pytest.mark.parametrize("event", RIGHT, ids=lambda event: event["type"])
@pytest.mark.parametrize("value", [None, "", 0, -1, 0.5, True, [], {}, "x" * 300], ids=lambda value: repr(value)[:9])
def test_whatever_one_field_holds_it_is_taken_or_refused(event: dict[str, Any], value: Any) -> None:
    """Any exception fails this: the client's object lets its own defects through."""

    async def say() -> None:
        async with scene() as s:
            client = Client(s)
            for path in places(event):
                changed = copy.deepcopy(event)
                holder(changed, path)[path[-1]] = value
                errors = [told["error"] for told in await client.say(changed) if told["type"] == "error"]
                assert len(errors) <= 1, (changed, errors)

    asyncio.run(say())


@pytest.mark.parametrize("event", RIGHT, ids=lambda event: event["type"])
def test_every_field_of_every_event_is_known(event: dict[str, Any]) -> None:
    """Each event that the fuzzer begins with is right, but for what depends on the moment."""
    depends = {"invalid_value", "unknown_event", "item_retrieve_invalid_item_id", "item_delete_invalid_item_id"}
    depends |= {
        "item_truncate_invalid_item_id",
        "response_cancel_not_active",
        "tool_choice_unsupported",
        "input_audio_buffer_commit_empty",
        "unsupported_event",
    }

    async def say() -> None:
        async with scene() as s:
            for told in await Client(s).say(event):
                assert told["type"] != "error" or told["error"]["code"] in depends, told

    asyncio.run(say())
