"""Server-sent events and thoughts, whatever the pieces they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.chat_stream import EventStream, ThoughtFilter

STREAM = (
    b": a comment\r\n\r\n"
    b"data: one\n\n"
    b"event: message\nid: 7\nretry\ndata:two\r\n\r\n"
    b"data: three\ndata:  and a half\n\n"
    b"data\n\n"
    b"data: Gr\xc3\xbc\xc3\x9fe\n\n\n\n"
    b"data: incomplete\n"
)


def test_events_do_not_depend_on_where_the_bytes_are_cut() -> None:
    expected = [b"one", b"two", b"three\n and a half", b"", "Grüße".encode()]
    for cut in range(len(STREAM)):
        events = EventStream()
        assert [*events.push(STREAM[:cut]), *events.push(STREAM[cut:])] == expected
        assert events.pending == len(b"incomplete")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<think>hm</think>Yes.", "Yes."),
        ("Well <think>a<b</think>yes<think>", "Well yes"),
        ("a < b <thin ice>", "a < b <thin ice>"),
        ("half a tag <thi", "half a tag <thi"),
        ("<<think>x</think>>", "<>"),
        ("<think>never closed </thin", ""),
    ],
)
@given(data=st.data())
def test_thoughts_are_left_out_wherever_the_text_is_cut(text: str, shown: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    thoughts, got = ThoughtFilter(), ""
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        got += thoughts.push(text[begin:end])
    assert got + thoughts.flush() == shown
