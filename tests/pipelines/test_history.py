"""What is remembered, and how it is shown to a language model."""

from pipelines.ports import Message
from pipelines.voice.history import LONGEST_HISTORY, History, Item


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


def test_an_answer_nobody_heard_is_forgotten():
    history = filled(("user", "hello"), ("assistant", "Hi."))
    history.truncate("item_1", "")
    assert [item.id for item in history.items] == ["item_0"]


def test_truncating_the_unknown_changes_nothing():
    history = filled(("user", "hello"))
    history.truncate("item_9", "x")
    assert history.items[0].text == "hello"


def test_the_newest_fit_the_budget_and_the_last_is_always_there():
    history = History(context_characters=20)
    for n in range(5):
        history.add(Item(f"u{n}", "user", f"question {n}"))
        history.add(Item(f"a{n}", "assistant", f"answer {n}"))
    history.add(Item("last", "user", "x" * 50))
    assert history.messages("") == (Message("user", "x" * 50),)


def test_messages_never_begin_with_an_answer():
    history = History(context_characters=18)
    history.add(Item("a", "user", "a long first question"))
    history.add(Item("b", "assistant", "an answer"))
    history.add(Item("c", "user", "and now"))
    assert history.messages("") == (Message("user", "and now"),)


def test_memory_is_bounded():
    history = filled(*[("user", str(n)) for n in range(LONGEST_HISTORY + 50)])
    assert len(history.items) == LONGEST_HISTORY
    assert history.items[-1].text == str(LONGEST_HISTORY + 49)
