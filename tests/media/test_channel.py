"""The bounded channel: order, policies, closing."""

import asyncio

import pytest

from media.channel import Channel, ChannelClosedError, Policy


async def test_keeps_order():
    channel: Channel[int] = Channel(3)
    for n in (1, 2, 3):
        channel.put(n)
    assert [await channel.get() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("policy", "kept"), [(Policy.DROP_OLDEST, [3, 4]), (Policy.DROP_NEWEST, [1, 2])], ids=["oldest", "newest"]
)
async def test_full_channel_follows_its_policy_and_counts(policy, kept):
    channel: Channel[int] = Channel(2, policy)
    for n in (1, 2, 3, 4):
        channel.put(n)
    assert await channel.get_all() == kept
    assert channel.dropped == 2


async def test_close_lets_the_rest_be_read():
    channel: Channel[int] = Channel(2)
    channel.put(1)
    channel.close()
    channel.put(2)
    assert [item async for item in channel] == [1]
    with pytest.raises(ChannelClosedError):
        await channel.get()


async def test_close_wakes_a_waiting_reader():
    channel: Channel[int] = Channel(1)
    reader = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.close()
    with pytest.raises(ChannelClosedError):
        await reader


def test_capacity_must_be_positive():
    with pytest.raises(ValueError, match="capacity"):
        Channel(0)
