"""Conversations between runs."""

from __future__ import annotations

from pipelines.execution.context import MOST_CHARACTERS, MOST_MESSAGES, Context, Contexts
from pipelines.interfaces.llm import Message


def said(text: str) -> Message:
    return Message("user", text)


def test_each_stage_remembers_the_newest() -> None:
    context = Context()
    for n in range(MOST_MESSAGES):
        context.add("think", said(f"q{n}"), said(f"a{n}"))
    kept = context.messages("think")
    assert len(kept) == MOST_MESSAGES
    assert kept[-1].content == f"a{MOST_MESSAGES - 1}"
    assert context.messages("other") == ()


def test_long_messages_are_forgotten_sooner_but_not_the_last() -> None:
    context = Context()
    for n in range(3):
        context.add("think", said("x" * MOST_CHARACTERS), said(f"a{n}"))
    assert [message.content[:2] for message in context.messages("think")] == ["xx", "a2"]


def test_conversations_are_forgotten_after_a_while_and_when_there_are_too_many() -> None:
    now = 0.0
    contexts = Contexts(lambda: now, ttl=10.0, most=2)
    one = contexts.get("one")
    now = 9.0
    assert contexts.get("one") is one
    now = 18.0
    assert contexts.get("one") is one, "it was used 9 s ago"
    now = 28.0
    assert contexts.get("one") is not one
    two = contexts.get("two")
    contexts.get("one")
    contexts.get("three")
    assert len(contexts) == 2
    assert contexts.get("two") is not two, "it was the least recently used"
    assert contexts.forget("two")
    assert not contexts.forget("two")
