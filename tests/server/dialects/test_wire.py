"""Events as text that the peer can take, whatever is in them and however little it takes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.openai.shapes import error_event, server_event
from server.dialects.openai.wire import MARK, encode, messages

ACCENTED = "Zażółć gęślą jaźń, ça va très bien. 😀 "


def sizes(texts: list[str]) -> list[int]:
    return [len(text.encode()) for text in texts]


def response_done(text: str) -> dict:
    content = [{"type": "output_audio", "transcript": text}]
    item = {"id": "item_1", "type": "message", "role": "assistant", "status": "completed", "content": content}
    return server_event("response.done", response={"id": "resp_1", "status": "completed", "output": [item]})


def test_text_is_not_escaped():
    text = encode(server_event("x", text=ACCENTED))
    assert ACCENTED in text
    assert json.loads(text)["text"] == ACCENTED


def test_half_surrogate_pairs_are_put_together_or_replaced():
    text = encode(server_event("x", whole="\ud83d\ude00", lone="a\ud83db", late="\ude00"))
    read = json.loads(text.encode())
    assert (read["whole"], read["lone"], read["late"]) == ("😀", "a\ufffdb", "\ufffd")


def test_numbers_that_are_none_are_null():
    event = server_event("x", score=float("nan"), box=(float("inf"), 1.0), deep=[{"a": float("-inf")}])
    read = json.loads(encode(event), parse_constant=lambda name: pytest.fail(name))
    assert (read["score"], read["box"], read["deep"]) == (None, [None, 1.0], [{"a": None}])


@pytest.mark.parametrize("largest", [300, 1_000, 65_536])
@pytest.mark.parametrize("piece", [ACCENTED, "😀", 'a "quoted" \\ line\n', "\x01", "word "])
def test_deltas_are_split_without_loss(largest, piece):
    delta = piece * (200_000 // len(piece))
    event = server_event("response.output_text.delta", response_id="resp_1", delta=delta)
    texts = messages(event, largest)
    assert max(sizes(texts)) <= largest
    read = [json.loads(text) for text in texts]
    assert "".join(part["delta"] for part in read) == delta
    assert len({part["event_id"] for part in read}) == len(read)
    assert read[0]["event_id"] == event["event_id"]


def test_a_pair_is_never_torn_by_a_split():
    delta = "\ud83d\ude00" * 500
    texts = messages(server_event("x.delta", delta=delta), 301)
    assert "".join(json.loads(text)["delta"] for text in texts) == "😀" * 500


@pytest.mark.parametrize("largest", [1_000, 65_536, 256 * 1024])
def test_final_texts_are_shortened_with_a_mark(largest):
    (text,) = messages(response_done(ACCENTED * 35_000), largest)  # 1.3 MB and more
    assert largest // 2 < len(text.encode()) <= largest
    read = json.loads(text)
    assert read["shortened"] is True
    item = read["response"]["output"][0]
    assert (item["id"], item["role"], read["response"]["status"]) == ("item_1", "assistant", "completed")
    assert item["content"][0]["transcript"].endswith(MARK)
    assert ACCENTED in item["content"][0]["transcript"]


def test_what_has_no_long_texts_loses_its_largest_parts():
    vision = {"unavailable": {f"detector {n}": "no model" for n in range(100)}, "enabled": True}
    session = {"id": "sess_1", "type": "realtime", "audio": {"output": {"voice": "x"}}, "vision": vision}
    (text,) = messages(server_event("session.created", session=session), 1_000)
    read = json.loads(text)
    assert len(text.encode()) <= 1_000
    assert read["session"]["id"] == "sess_1"
    assert read["session"]["audio"] == {"output": {"voice": "x"}}
    rows = [{"stage": f"stage {n}", "engine": "e" * 30, "reason": "r" * 30} for n in range(50)]
    (text,) = messages(server_event("engine.status", data=rows), 1_000)
    assert json.loads(text)["data"] == rows[: len(json.loads(text)["data"])] != []


def test_what_cannot_be_made_small_enough_is_not_sent():
    assert messages(error_event("invalid_value", "no"), 20) == []
    assert messages(server_event("x.delta", delta="abc" * 100), 60) == []


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=["L", "N", "P", "Z", "C", "Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=10), anything, max_size=6), st.integers(1, 3_000))
def test_whatever_the_event_and_the_peer_nothing_is_raised_or_too_large(fields, largest):
    for text in messages({**server_event("x"), **fields}, largest):
        assert len(text.encode()) <= largest
        json.loads(text, parse_constant=lambda name: pytest.fail(name))
