"""Which conversations a model still remembers: caches of what it has read, found again by how the prompt begins. Pure.

A turn's prompt begins like the prompt and answer of the turn before, so only what is new need be read. A conversation
that was cut (an interrupted answer, say) shares less and loses the rest. llama.cpp keeps its slots in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, Protocol, TypeVar

from pipelines.engines.llm.template import common_prefix

C = TypeVar("C")

WORTH_COPYING = 16
"""Tokens: a shorter common beginning is read again rather than copied."""


class Caches(Protocol[C]):
    """What can be done with a cache of read tokens."""

    def new(self) -> C:
        """An empty one."""
        ...

    def crop(self, cache: C, length: int) -> bool:
        """Forget all but the first ``length`` tokens; ``False`` when this kind cannot."""
        ...

    def copy(self, cache: C, length: int) -> C | None:
        """A new cache of the first ``length`` tokens; ``None`` when this kind cannot."""
        ...


@dataclass(eq=False, slots=True)
class Slot(Generic[C]):
    """One remembered conversation."""

    cache: C
    owner: str
    weights: str = ""
    """The adapters that its tokens were read with: what others have read is of no use to it."""
    tokens: list[int] = field(default_factory=list)
    """What the cache holds."""
    busy: bool = True
    used: int = 0


class Slots(Generic[C]):
    """At most ``most`` slots holding at most ``tokens`` tokens; those longest unused are forgotten first.

    Busy slots are never forgotten, so both bounds may be exceeded by as many answers as are being given.
    """

    def __init__(self, caches: Caches[C], *, most: int = 8, tokens: int = 16_384) -> None:
        self._caches = caches
        self._most = most
        self._tokens = tokens
        self._slots: list[Slot[C]] = []
        self._clock = count(1)

    def take(self, prompt: Sequence[int], owner: str = "", weights: str = "") -> Slot[C]:
        """A busy slot that holds a beginning of ``prompt``, as long as possible but never all of it.

        ``owner`` is the conversation: its own slot is used in place, another's is copied, so that conversations with
        the same instructions do not take each other's slot. ``weights`` names the adapters that read it.
        """
        usable = len(prompt) - 1  # the last token is always read: what comes after it is asked
        best, shared = None, 0
        for slot in sorted((slot for slot in self._slots if slot.weights == weights), key=lambda slot: slot.busy):
            same = min(common_prefix(slot.tokens, prompt), usable)
            if same > shared:
                best, shared = slot, same
        if best is not None and not best.busy and self._goes_on(best, shared, owner):
            if shared == len(best.tokens) or self._caches.crop(best.cache, shared):
                del best.tokens[shared:]
                best.busy, best.owner, best.used = True, owner, next(self._clock)
                return best
            self.drop(best)
            best = None
        copy = self._caches.copy(best.cache, shared) if best is not None and shared >= WORTH_COPYING else None
        slot = Slot(self._caches.new() if copy is None else copy, owner, weights, used=next(self._clock))
        if copy is not None:
            slot.tokens = list(prompt[:shared])
        self._slots.append(slot)
        self._forget()
        return slot

    def give_back(self, slot: Slot[C]) -> None:
        """The answer is over; the slot is kept for the next turn."""
        slot.busy, slot.used = False, next(self._clock)
        self._forget()

    def drop(self, slot: Slot[C]) -> None:
        """Forget a slot. Idempotent."""
        if slot in self._slots:
            self._slots.remove(slot)

    def drop_read_with(self, weights: str) -> None:
        """Forget what was read with adapters that are gone."""
        self._slots = [slot for slot in self._slots if slot.busy or slot.weights != weights]

    def drop_idle(self) -> None:
        """Forget all that is not busy, to free memory."""
        self._slots = [slot for slot in self._slots if slot.busy]

    def __len__(self) -> int:
        return len(self._slots)

    def _goes_on(self, slot: Slot[C], shared: int, owner: str) -> bool:
        if owner and slot.owner:
            return slot.owner == owner
        return 2 * shared >= len(slot.tokens)

    def _forget(self) -> None:
        idle = sorted((slot for slot in self._slots if not slot.busy), key=lambda slot: slot.used)
        held = sum(len(slot.tokens) for slot in self._slots)
        for slot in idle:
            if len(self._slots) <= self._most and held <= self._tokens:
                return
            self._slots.remove(slot)
            held -= len(slot.tokens)
