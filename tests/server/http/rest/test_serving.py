"""How many are served at a time, and how transcripts are written."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from pipelines.interfaces.tts import WordTiming
from pipelines.voice.recordings.segments import Segment, joined, language_of
from server.http.errors import HttpError, errors
from server.http.rest.serving import Places, event_stream
from server.http.rest.transcript_formats import LONGEST_CUE, cues, srt, verbose_json


async def test_who_finds_no_place_is_told_to_come_again():
    places, order = Places(1, 1), []
    leave = asyncio.Event()

    async def work(name: str) -> None:
        async with places.place():
            order.append(name)
            await leave.wait()

    first, second = asyncio.create_task(work("first")), asyncio.create_task(work("second"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == ["first"]
    with pytest.raises(HttpError) as caught:
        await work("third")
    assert (caught.value.response.status, caught.value.response.headers["Retry-After"]) == (503, "5")
    second.cancel()  # it gives its place in the line back
    await asyncio.gather(second, return_exceptions=True)
    fourth = asyncio.create_task(work("fourth"))
    leave.set()
    await asyncio.gather(first, fourth)
    assert order == ["first", "fourth"]


@pytest.mark.parametrize("is_there", [False, True])
async def test_a_reader_that_is_cut_off_is_no_fault_of_the_server(caplog, is_there):
    async def handler(request: web.Request) -> web.StreamResponse:
        async with event_stream(request) as stream:
            await stream.send({"type": "first"})
            raise ConnectionError("Connection lost")  # as a writer tells of it
        return stream.response

    request = make_mocked_request("GET", "/")
    if not is_there:
        request.protocol.transport = None
    if is_there:  # then it is another connection that was lost
        await errors(request, handler)
    else:
        with pytest.raises(ConnectionError):
            await errors(request, handler)
    assert [record.levelname for record in caplog.records] == ["ERROR"] * is_there


def timed(text: str, each: float) -> Segment:
    words = tuple(WordTiming(word, n * each, (n + 1) * each) for n, word in enumerate(text.split()))
    return Segment(0.0, len(words) * each, text, words=words)


def test_subtitles_are_short_in_words_and_in_time():
    long = timed(" ".join(["word"] * 60), 0.2)
    found = list(cues([long]))
    assert all(len(cue.text) <= LONGEST_CUE for cue in found)
    assert " ".join(cue.text for cue in found) == long.text
    slow = list(cues([timed("one two three four five", 3.0)]))
    assert [cue.text for cue in slow] == ["one two", "three four", "five"]
    assert [(cue.start, cue.end) for cue in slow] == [(0, 6), (6, 12), (12, 15)]


def test_times_of_subtitles():
    text = srt([Segment(3599.9996, 3661.5, "One."), Segment(36_000.0, 36_001.25, "Two.")])
    assert text == ("1\n01:00:00,000 --> 01:01:01,500\nOne.\n\n2\n10:00:00,000 --> 10:00:01,250\nTwo.\n")
    assert srt([]) == ""


def test_segments_of_several_languages():
    segments = [
        Segment(0, 1, "Hello.", 0.5, "en"),
        Segment(2, 6, "你好。", None, "zh"),
        Segment(6, 9, "再见。", None, "zh"),
    ]
    assert joined(segments) == "Hello.你好。再见。"
    assert language_of(segments) == "zh" and language_of([Segment(0, 1, "?")]) is None
    found = verbose_json(segments, 9.2, "transcribe", None, ("segment",))
    assert found["language"] == "zh" and found["usage"] == {"type": "duration", "seconds": 10}
    assert [row["avg_logprob"] for row in found["segments"]] == [-0.6931, 0.0, 0.0]
