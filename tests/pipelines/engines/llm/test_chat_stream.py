"""The body of an answer as servers write it, whatever the pieces it comes in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.llm.openai.stream import Event, EventStream

STREAM = (
    "\ufeff: a comment\r\n\r\n"
    "data: one\n\n"
    "event: ping\nid: 7\nretry\ndata:two\r\n\r\n"
    ":\n\n: keep-alive\n\n"
    "data: three\ndata:  and a half\n\n"
    "data\n\n"
    "data: Grüße 😀\r\r\n\n\n"
    "error: broken\n\n"
    '{"bare": 1}\n'
    "data: no blank line behind it"
)
EVENTS = [
    Event("message", b"one"),
    Event("ping", b"two"),
    Event("message", b"three\n and a half"),
    Event("message", b""),
    Event("message", "Grüße 😀".encode()),
    Event("error", b"broken"),
    Event("message", b'{"bare": 1}'),
    Event("message", b"no blank line behind it"),
]


def events(*pieces: bytes) -> list[Event]:
    stream = EventStream()
    return [event for piece in pieces for event in stream.push(piece)] + [*stream.flush()]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_do_not_depend_on_where_the_bytes_are_cut(end: str) -> None:
    body = STREAM.replace("\r\n", "\n").replace("\r", "\n").replace("\n", end).encode()
    assert events(body) == EVENTS
    for cut in range(len(body)):
        assert events(body[:cut], body[cut:]) == EVENTS
    assert events(*(body[n : n + 1] for n in range(len(body)))) == EVENTS


def test_line_ends_may_be_mixed() -> None:
    assert events(STREAM.encode()) == EVENTS


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"choices": []}', [b'{"choices": []}']),
        (b'\n {"a":\n {"b": 1}\n}\n', [b' {"a":\n {"b": 1}\n}\n']),
        (b'{"a": 1}\n{"b": 2}\n', [b'{"a": 1}', b'{"b": 2}']),
        (b'{"a": 1', [b'{"a": 1']),
        (b"<html>oops</html>", []),
        (b"", []),
    ],
)
@given(data_=st.data())
def test_a_body_that_is_no_stream_of_events(body: bytes, data: list[bytes], data_: st.DataObject) -> None:
    cut = data_.draw(st.integers(0, len(body)))
    assert [event.data.strip() for event in events(body[:cut], body[cut:])] == [one.strip() for one in data]


@given(st.lists(st.binary(max_size=12), max_size=8))
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    assert events(*pieces) == events(b"".join(pieces))


def test_what_is_not_complete_is_counted() -> None:
    stream = EventStream()
    assert [*stream.push(b"data: 12345\ndata: 67")] == []
    assert stream.pending == len(b"12345") + len(b"data: 67")
