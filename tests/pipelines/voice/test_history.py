"""What is remembered, and how it is shown to a language model."""

from itertools import pairwise

from pipelines.interfaces.llm import Message, ToolCall
from pipelines.voice import history as limits
from pipelines.voice.history import LONGEST_HISTORY, FunctionCall, FunctionResult, History, Item


def filled(*turns: tuple[str, str]) -> History:
    history = History()
    for n, (role, text) in enumerate(turns):
        history.add(Item(f"item_{n}", role, text))
    return history


def test_messages_begin_with_the_system_and_alternate():
    history = filled(("user", "hello"), ("user", "are you there"), ("assistant", "Yes."), ("user", "good"))
    assert history.messages("Be kind.") == (
        Message("system", "Be kind."),
        Message("user", "hello\nare you there"),
        Message("assistant", "Yes."),
        Message("user", "good"),
    )


def test_only_what_was_heard_is_remembered_and_marked():
    history = filled(("user", "tell me a story"), ("assistant", "Once upon a time there was a king."))
    history.truncate("item_1", "Once upon a")
    assert history.messages("")[-1] == Message("assistant", "Once upon a —")
    assert history.items[1].interrupted


def test_an_answer_nobody_heard_is_an_empty_item_that_no_model_is_shown():
    history = filled(("user", "hello"), ("assistant", "Hi."), ("user", "are you there"))
    history.truncate("item_1", "")
    assert [(item.id, item.text) for item in history.items][1] == ("item_1", "")
    assert history.messages("") == (Message("user", "hello\nare you there"),)


def test_noise_makes_nobody_forget_what_was_said():
    history = filled(*[("user", str(n)) for n in range(50)], *[("user", "")] * (LONGEST_HISTORY - 50))
    history.add(Item("more", "user", "more"))
    texts = [item.text for item in history.items]
    assert [text for text in texts if text] == [*map(str, range(50)), "more"]
    assert len(texts) == 50 + LONGEST_HISTORY // 2


def test_truncating_the_unknown_changes_nothing():
    history = filled(("user", "hello"))
    history.truncate("item_9", "x")
    assert history.items[0].text == "hello"


def test_the_newest_fit_the_budget_and_a_line_tells_of_the_others():
    history = History(context_tokens=60)
    for n in range(5):
        history.add(Item(f"u{n}", "user", f"question {n}"))
        history.add(Item(f"a{n}", "assistant", f"answer {n}"))
    history.add(Item("last", "user", "x" * 140))
    system, *others = history.messages("Be kind.")
    assert system.role == "system"
    assert system.content.startswith("Be kind.")
    assert "question 4" in system.content
    assert others == [Message("user", "x" * 140)]


def test_what_is_dropped_stays_the_same_for_many_turns():
    """Else a model that keeps what it has read would read all of it again in each turn."""
    history, beginnings = History(context_tokens=300), []
    for n in range(40):
        history.add(Item(f"u{n}", "user", f"question number {n}"))
        beginnings.append(history.messages("Be kind.")[:2])
        history.add(Item(f"a{n}", "assistant", f"answer number {n}"))
    changes = sum(one != two for one, two in pairwise(beginnings))
    assert 1 < changes < 8


def test_what_the_assistant_said_first_is_what_the_user_answers():
    history = filled(("assistant", "Tea or coffee?"), ("user", "tea"))
    assert history.messages("Be kind.") == (
        Message("system", "Be kind."),
        Message("assistant", "Tea or coffee?"),
        Message("user", "tea"),
    )


def test_a_call_of_earlier_times_in_front_of_the_first_message_is_told_with_its_result():
    history = History()
    call = ToolCall("c1", "profile", "{}")
    history.add(FunctionCall("i1", call))
    history.add(FunctionResult("i2", "c1", "name: Bob"))
    history.add(Item("i3", "user", "hello"))
    assert history.messages("") == (
        Message("assistant", "", (call,)),
        Message("tool", "name: Bob", tool_call_id="c1"),
        Message("user", "hello"),
    )


def test_memory_is_bounded_and_forgets_in_blocks():
    history = filled(*[("user", str(n)) for n in range(LONGEST_HISTORY)])
    assert len(history.items) == LONGEST_HISTORY
    history.add(Item("more", "user", "more"))
    assert len(history.items) == LONGEST_HISTORY // 2
    assert history.items[-1].text == "more"


def test_of_long_items_only_so_much_is_kept(monkeypatch):
    monkeypatch.setattr(limits, "MOST_CHARACTERS", 100)
    history = filled(*(("user", "x" * 20) for _ in range(6)))
    assert [item.id for item in history.items] == ["item_4", "item_5"]
    history.add(Item("longer", "user", "x" * 500))
    assert [item.id for item in history.items] == ["longer"]  # it is what the client wants answered
