"""Whose turn it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from pipelines.runtime.batching import FairQueue


@dataclass(eq=False)
class Ask:
    session: str
    number: int
    group: str = ""
    client: str = ""


def drain(queue: FairQueue[Ask]) -> list[Ask]:
    taken = []
    while (job := queue.take()) is not None:
        taken.append(job)
    return taken


def test_one_request_is_second_after_twenty_of_another():
    queue: FairQueue[Ask] = FairQueue()
    for n in range(20):
        queue.add(Ask("a", n))
    queue.add(Ask("b", 0))
    order = [(job.session, job.number) for job in drain(queue)]
    assert order[:3] == [("a", 0), ("b", 0), ("a", 1)]
    assert [number for name, number in order if name == "a"] == list(range(20))


def test_a_client_with_many_sessions_gets_no_more_turns_than_one_with_one():
    queue: FairQueue[Ask] = FairQueue()
    for n in range(20):
        queue.add(Ask(f"greedy-{n}", n, client="greedy"))
    for n in range(2):
        queue.add(Ask("modest-0", n, client="modest"))
    order = [(job.client, job.number) for job in drain(queue)]
    assert order[:5] == [("greedy", 0), ("modest", 0), ("greedy", 1), ("modest", 1), ("greedy", 2)]
    assert [number for name, number in order if name == "greedy"] == list(range(20))


def test_a_batch_passes_over_other_groups_and_leaves_them_their_turn():
    queue: FairQueue[Ask] = FairQueue()
    first, other, same = Ask("a", 0, "short"), Ask("b", 0, "long"), Ask("c", 0, "short")
    for job in (first, other, same):
        queue.add(job)
    assert queue.take() is first
    assert queue.take(like=first) is same
    assert queue.take(like=first) is None
    assert queue.take() is other


def test_within_a_session_nothing_overtakes():
    queue: FairQueue[Ask] = FairQueue()
    long, short = Ask("a", 0, "long"), Ask("a", 1, "short")
    queue.add(long)
    queue.add(short)
    assert queue.take(like=short) is None


def test_whoever_leaves_frees_the_place():
    queue: FairQueue[Ask] = FairQueue()
    job = Ask("a", 0)
    queue.add(job)
    assert queue.remove(job)
    assert not queue.remove(job)
    assert len(queue) == 0
    assert queue.take() is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xy")), max_size=40))
def test_everybody_is_served_once_in_order_and_nobody_more_than_one_turn_ahead(asked):
    queue: FairQueue[Ask] = FairQueue()
    jobs = [Ask(name, n, group) for n, (name, group) in enumerate(asked)]
    for job in jobs:
        queue.add(job)
    assert len(queue) == len(jobs)
    waiting, served = Counter(job.session for job in jobs), Counter()
    last = dict.fromkeys("abcd", -1)
    for job in drain(queue):
        assert job.number > last[job.session]
        last[job.session] = job.number
        served[job.session] += 1
        waiting[job.session] -= 1
        assert all(served[job.session] - served[name] <= 1 for name in waiting if waiting[name])
    assert not any(waiting.values())
