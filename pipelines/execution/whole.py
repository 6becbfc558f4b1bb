"""The output of a stage in one piece, for runs that are not streamed."""

from __future__ import annotations

from contextlib import aclosing

import numpy as np

from pipelines.errors import PipelineError
from pipelines.execution.inbox import size_of
from pipelines.execution.pipe import MOST_HELD
from pipelines.routing.items import Flow, Item, Partial, Sound, Text


async def whole(flow: Flow) -> Flow:
    """The same when it is complete: neighbouring texts as one, sounds of one rate as one, and no partials."""
    kept: list[list[Item]] = []
    size = 0
    async with aclosing(flow):
        async for item in flow:
            if isinstance(item, Partial):
                continue
            size += size_of(item)
            if size > MOST_HELD:
                raise PipelineError(
                    "output_too_large",
                    f"more than {MOST_HELD >> 20} MiB would have to be kept until a stage has ended: "
                    "send less, or have it streamed (options: enable_streaming: true)",
                )
            if kept and _joins(kept[-1][0], item):
                kept[-1].append(item)
            else:
                kept.append([item])
    for items in kept:
        yield _joined(items)


def _joins(first: Item, item: Item) -> bool:
    if isinstance(first, Sound):
        return isinstance(item, Sound) and item.rate == first.rate
    return isinstance(first, Text) and isinstance(item, Text)


def _joined(items: list[Item]) -> Item:
    first, last = items[0], items[-1]
    if isinstance(first, Sound):
        samples = np.concatenate([item.samples for item in items if isinstance(item, Sound)])
        return Sound(samples, first.rate, first.start)
    if isinstance(first, Text) and isinstance(last, Text):
        text = "".join(item.text for item in items if isinstance(item, Text))
        return Text(text, True, first.start, last.end, first.language)
    return first
