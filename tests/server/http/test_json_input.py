"""JSON from outside: what is read, what is refused, and that nothing else can come of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http.json_input import DEEPEST, MOST_VALUES, JsonInputError, read_json, read_json_object


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2.5, true, null, "é"]}', {"a": [1, -2.5, True, None, "é"]}),
        (b'"\xf0\x9f\x98\x80"', "😀"),
        ('"\\ud83d\\ude00"', "😀"),
        ("[" * DEEPEST + "]" * DEEPEST, None),
        ('{"a": 1, "a": 2}', {"a": 2}),
    ],
)
def test_json_is_read(text, value):
    assert value is None or read_json(text) == value
    read_json(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "EOF"),
        ("{", "EOF"),
        ("[1,]", "comma"),
        ("NaN", "value"),
        ('{"a": -Infinity}', "number"),
        ('"\\ud83d"', "surrogate"),
        ('"\\ude00 lone"', "surrogate"),
        ('"\ud83d"', "surrogate"),
        (b'"\xff"', "unicode"),
        ("[" * 6_000, "deep"),
        ("[" * 990 + "]" * 990, "deep"),
        ("[" * 2 * DEEPEST + "]" * 2 * DEEPEST, "deep"),
        ("[" + "0," * MOST_VALUES + "0]", "values"),
        ("1" * 5_000, "number"),
        ('{"a": [-1e999]}', "too large"),
    ],
)
def test_what_is_no_json_is_refused_with_the_reason(text, named):
    with pytest.raises(JsonInputError, match=named):
        read_json(text)


def test_an_object_is_insisted_on():
    assert read_json_object("{}", "an event") == {}
    with pytest.raises(JsonInputError, match="an event must be a JSON object"):
        read_json_object("[]", "an event")


@given(st.one_of(st.text(), st.binary(), st.text('[]{}",:0123456789eE+-.\\u\ud83d ')))
def test_anything_is_read_or_refused(text):
    try:
        value = read_json(text)
    except JsonInputError:
        return
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # what is read can be sent on
