"""A whole conversation over a transport in memory: without WebRTC, without a codec, without a wire format."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import numpy as np
import pytest

from media.channel import ChannelClosedError, Policy
from media.frames import AudioChunk
from pipelines.assistant.events import EnginesChanged, Event, SettingsChanged
from pipelines.errors import VisionError
from pipelines.vision.detect import CameraStarted
from pipelines.vision.events import SceneChanged
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import (
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    ResponseWords,
    SpeechStarted,
    SpeechStopped,
    TurnLatency,
    UserTurn,
)
from pipelines.voice.history import Item
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.memory_transport import MemoryTransport, call, settle
from tests.fakes.vision import FakeVision


def kinds(line: MemoryTransport) -> list[type]:
    """Without those that come as often as it pleases the recogniser and the voice."""
    return [type(event) for event in line.told if not isinstance(event, PartialTranscript | ResponseWords)]


async def answered(line: MemoryTransport) -> None:
    """The user asks something and hears the answer to its end."""
    line.forget()
    await line.say(1.0)
    await line.hush(6.0, until=ResponseAudioStopped)
    assert line.named(ResponseAudioStopped)


async def test_a_spoken_turn_is_answered_by_voice():
    async with call(stt=FakeRecognizer("what is the weather"), llm=FakeModel("It is fine.")) as line:
        await answered(line)
        assert kinds(line) == [
            SpeechStarted,
            SpeechStopped,
            UserTurn,
            ResponseStarted,
            ResponseText,
            ResponseGenerated,
            ResponseAudioStarted,
            TurnLatency,
            ResponseAudioStopped,
        ]
        assert line.named(PartialTranscript)[-1].text == "what is the weather"
        assert line.named(ResponseText)[0].text == "It is fine."
        assert line.loud_seconds == pytest.approx(0.75, abs=0.05)


async def test_barge_in_silences_the_response_and_the_new_question_is_answered():
    llm = FakeModel("one two three four five six seven eight nine ten eleven twelve.", "Okay.")
    async with call(stt=FakeRecognizer("count please", "stop it now"), llm=llm) as line:
        await line.say(1.0)
        await line.hush(3.0, until=ResponseAudioStarted)
        await line.hush(0.5)
        assert line.loud_seconds > 0.4
        await line.say(2.0, until=ResponseInterrupted)
        (cut,) = line.named(ResponseInterrupted)
        assert cut.reason == "turn_detected"
        assert 1 <= len(cut.heard.split()) < 12
        line.forget()
        await line.say(0.4)
        assert line.loud_seconds < 0.03  # silenced at once, but for the fade
        await line.hush(6.0, until=ResponseAudioStopped)
        assert line.named(ResponseText)[0].text == "Okay."
        assert [(item.role, item.text) for item in line.session.conversation.history.items] == [
            ("user", "count please"),
            ("assistant", cut.heard),
            ("user", "stop it now"),
            ("assistant", "Okay."),
        ]


async def test_what_is_typed_is_answered_too():
    async with call(llm=FakeModel("Hello.")) as line:
        line.session.conversation.add(Item("typed", "user", "hi"))
        line.session.conversation.respond()
        await line.hush(3.0, until=ResponseAudioStopped)
        assert kinds(line)[:3] == [UserTurn, ResponseStarted, ResponseText]
        assert line.session.conversation.history.items[-1].text == "Hello."


async def test_frames_come_back_drawn_upon_and_the_scene_reaches_the_model():
    llm = FakeModel("I see you.")
    async with call(vision=FakeVision(), llm=llm, stt=FakeRecognizer("who is there")) as line:
        frame = line.show(0.0)
        assert await line.returned() is frame  # nothing has been found yet
        shown = 0
        while not line.named(SceneChanged):
            shown += 1
            line.clock.advance(0.1)
            line.show(shown / 10)
            while line.session.vision.camera.looked[0] <= shown - 1:  # noqa: ASYNC110 - nothing tells when
                await asyncio.sleep(0.001)  # the detector is on a thread
            line.told += line.events.take()
        frame = line.show((shown + 1) / 10)
        await settle()
        back = await line.returned()
        assert back is not None and back is not frame and back.time == frame.time
        assert np.ptp(back.pixels) > 20  # type: ignore[attr-defined]
        assert [type(event) for event in line.told[:1]] == [CameraStarted]
        image = await line.session.vision.image("camera")
        assert image is not None and image.data.startswith(b"\xff\xd8")
        await answered(line)
        assert llm.requests[-1].scene.startswith("one person")


async def test_vision_that_cannot_work_is_told_and_the_voice_goes_on():
    vision = FakeVision()
    vision.broken = VisionError("vision_unusable", "no library")
    async with call(vision=vision, stt=FakeRecognizer("hello")) as line:
        line.show(0.0)
        await answered(line)
        while not line.named(Problem):
            await asyncio.sleep(0.001)
            line.told += line.events.take()
        assert line.named(Problem)[0].error.message == "no library"


async def test_a_subscriber_that_never_reads_loses_events_and_holds_nothing_up():
    async with call(stt=FakeRecognizer("hello there", "and again")) as line:
        idle = line.session.events.subscribe(3)
        late = line.session.events.subscribe(3, Policy.DROP_NEWEST)
        await answered(line)
        await answered(line)
        assert len(idle) == len(late) == 3
        assert idle.dropped > 10
        assert line.session.events.dropped == idle.dropped + late.dropped
        assert line.events.dropped == 0  # others lose nothing
        assert [type(event) for event in late.take()] == [SpeechStarted, PartialTranscript, PartialTranscript]
        assert isinstance(idle.take()[-1], ResponseAudioStopped)
        line.session.events.unsubscribe(idle)
        assert line.session.events.dropped > 10  # counters never go back


async def test_a_subscriber_that_raises_is_told_once_and_dropped(caplog):
    heard: list[Event] = []
    calls = 0

    def break_down(event: Event) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("a defect")

    async with call(stt=FakeRecognizer("hello there", "and again")) as line:
        line.session.events.attach("the recorder", break_down)  # while it runs
        line.session.events.attach("the diary", heard.append)
        await answered(line)
        (problem,) = line.named(Problem)
        assert problem.error.message == "the recorder failed; the conversation goes on without it"
        assert "a defect" in caplog.text
        await answered(line)
        assert not line.named(Problem)
        assert calls == 1
        assert [event for event in heard if isinstance(event, UserTurn)][-1].text == "and again"


async def test_who_is_attached_gets_everything_up_to_the_end():
    line = MemoryTransport()
    heard: list[Event] = []
    line.session.events.attach("the diary", heard.append)  # before it runs
    line.session.settings_changed()
    task = asyncio.create_task(line.session.run(line.microphone))
    await settle()
    line.session.engines_changed()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == [SettingsChanged(), EnginesChanged()]
    with pytest.raises(ChannelClosedError):
        await line.session.events.subscribe().get()
    await line.engines.close()


async def test_a_defect_in_the_conversation_ends_the_session_and_is_raised(monkeypatch):
    async def broken(self, audio) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Conversation, "run", broken)
    line = MemoryTransport()
    with pytest.raises(ZeroDivisionError):
        await line.session.run(line.microphone)
    assert line.events.closed
    await line.engines.close()


async def test_audio_of_another_rate_is_refused_and_not_misheard():
    line = MemoryTransport()
    line.microphone.put(AudioChunk(np.zeros(480, np.int16), 24_000, 0.0))
    with pytest.raises(BaseExceptionGroup) as refused:
        await line.session.run(line.microphone)
    assert "24000 Hz, not at 16000" in str(refused.value.exceptions[0])
    await line.engines.close()


def test_a_session_needs_no_transport_and_no_library_of_media():
    foreign = "{'aiortc', 'aioice', 'av', 'aiohttp', 'server'}"
    code = f"import sys, pipelines.assistant.session; print(sorted({foreign} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
