"""Which worker gets what, and which conversations wait for another."""

from __future__ import annotations

import pytest

from pipelines.interfaces.llm import Image, Tool, ToolCall
from pipelines.vision.settings import Background, VisionSettings
from pipelines.voice.history import FunctionCall, FunctionResult, Item
from pipelines.voice.settings import ConversationSettings
from server.resumption import Remembered
from server.workers.board import KEPT_SECONDS, MOST_KEPT, Board, told
from server.workers.count import SPARE_MIB, WORKER_MIB, count_for
from server.workers.handover import LARGEST_STATE, HandoverError, from_text, to_text
from server.workers.ids import ids_of, worker_in
from server.workers.of_all.metrics import merged


@pytest.mark.parametrize("kind", ["sess", "start", "ek"])
def test_an_id_tells_its_worker(kind):
    name = ids_of(12)(kind)
    assert worker_in(f"/whip/{name}?x=1") == 12
    assert worker_in(name.replace("sess", "rtc")) == 12


@pytest.mark.parametrize(
    "text", ["", "/offer", "sess_4f1c00", "item_3w4f", "xsess_3w4f", "sess_w4f", "sess_3wx", "rtc_"]
)
def test_other_texts_name_no_worker(text):
    assert worker_in(text) is None


def board(*sessions: int, places: int = 10) -> Board:
    made = Board(places)
    for n, count in enumerate(sessions, 1):
        seat = made.add(n)
        told(seat, {"type": "ready"})
        told(seat, {"type": "load", "sessions": count, "begun": count, "delay_ms": 1.0})
    return made


def test_a_session_goes_where_there_are_the_fewest_and_all_else_to_the_oldest():
    made = board(2, 1, 3)
    assert made.least_loaded().number == 2
    assert made.house().number == 1
    for _ in range(2):
        made.find(2).ask()
    assert made.least_loaded().number == 1
    made.find(2).answered(begun=True)
    made.find(2).answered(begun=False)
    assert made.find(2).coming == 1
    for begun, coming in ((1, 1), (2, 0)):
        told(made.find(2), {"type": "load", "sessions": begun, "begun": begun, "delay_ms": 1.0})
        assert made.find(2).coming == coming, "the report that was under way does not count it"
    made.find(2).ask()
    made.find(2).answered(begun=True)
    for coming in (1, 0):  # it was no session after all
        told(made.find(2), {"type": "load", "sessions": 2, "begun": 2, "delay_ms": 1.0})
        assert made.find(2).coming == coming
    told(made.find(1), {"type": "load", "sessions": 2, "begun": 2, "delay_ms": 200.0})
    assert made.least_loaded().number == 2, "a worker whose event loop is late is spared"
    assert made.free == 10 - 2 - 2 - 3
    made.find(1).state = "leaving"
    assert made.house().number == 2


def test_nobody_is_let_in_where_nobody_serves():
    made = Board(4)
    made.add(1)
    assert made.least_loaded() is made.house() is made.find(1) is None
    assert made.free == 0


def test_the_conversations_of_a_worker_that_is_gone_wait_for_a_while():
    made = board(1, 0)
    told(made.find(1), {"type": "kept", "session": "sess_1wa", "state": "old"})
    told(made.find(1), {"type": "kept", "session": "sess_1wb", "state": "b"})
    told(made.find(1), {"type": "kept", "session": "sess_1wa", "state": "new"})
    told(made.find(1), {"type": "forgotten", "session": "sess_1wb"})
    assert made.conversation("sess_1wa", 0.0) is None, "its worker lives and has it"
    made.remove(1, 100.0)
    assert made.conversation("sess_1wb", 100.0) is None
    assert made.conversation("sess_1wa", 100.0 + KEPT_SECONDS - 1) == "new"
    assert made.moved("sess_1wa") is None
    assert made.conversation("sess_1wa", 100.0) is None
    for n in range(MOST_KEPT + 5):
        made.add(n + 3).kept[f"sess_{n}"] = "x"
        made.remove(n + 3, 100.0)
    assert made.conversation("sess_0", 100.0) is None and made.conversation(f"sess_{MOST_KEPT}", 100.0) == "x"
    assert made.conversation(f"sess_{MOST_KEPT}", 100.0 + KEPT_SECONDS) is None


def test_the_conversation_of_a_worker_that_leaves_may_move_at_once():
    made = board(1, 0)
    seat = made.find(1)
    told(seat, {"type": "kept", "session": "sess_1wa", "state": "s"})
    seat.state = "leaving"
    assert made.conversation("sess_1wa", 0.0) == "s"
    assert made.moved("sess_1wa") is seat


def test_what_is_remembered_survives_as_text():
    image = Image(b"\xff\xd8\x00\xff")
    items = (
        Item("a", "user", "Héllo", images=(image,), spoken=True),
        FunctionCall("f", ToolCall("c", "look", '{"x": 1}')),
        FunctionResult("r", "c", "out"),
        Item("b", "assistant", "Yes", interrupted=True, spoken=True),
    )
    tool = Tool("look", "Looks.", {"type": "object", "properties": {"x": {"type": "number"}}})
    conversation = ConversationSettings(instructions="Be kind.", tools=(tool,), tool_choice=tool, language="de")
    vision = VisionSettings(background=Background("image", image=b"\x89PNG\x00"))
    again = from_text(to_text(Remembered(conversation, vision, items)))
    assert (again.conversation, again.vision) == (conversation, vision)
    assert again.items[1:] == items[1:]
    assert again.items[0].text == "Héllo" and again.items[0].images[0].data == image.data


def test_of_a_conversation_that_is_too_long_the_newest_items_go_on():
    items = tuple(Item(str(n), "user", "x" * (LARGEST_STATE // 3)) for n in range(5))
    text = to_text(Remembered(ConversationSettings(), VisionSettings(), items))
    assert len(text) <= LARGEST_STATE
    assert [item.id for item in from_text(text).items] == ["3", "4"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"conversation": {}, "vision": {}, "items": [{"id": 1}]}'])
def test_what_is_no_conversation_is_refused(text):
    with pytest.raises(HandoverError):
        from_text(text)


def test_there_are_as_many_workers_as_processors_and_memory_allow():
    assert count_for(5, 2, 100).workers == 5
    assert count_for("auto", 4, None).workers == 4
    assert count_for("auto", 4, SPARE_MIB + 3 * WORKER_MIB).workers == 3
    assert count_for("auto", 4, 100).workers == 1
    assert "memory" in count_for("auto", 4, 100).reason


def test_metrics_tell_whose_they_are():
    text = '# HELP a_total Things\n# TYPE a_total counter\na_total{kind="x"} 3.0\n'
    page = merged({1: text, 2: text}, board(0, 0).seats).decode()
    assert 'a_total{kind="x",worker="1"} 3.0' in page and 'a_total{kind="x",worker="2"} 3.0' in page
    assert page.count("# TYPE a_total counter") == 1
    assert 'visavis_worker_ready{worker="2"} 1.0' in page
