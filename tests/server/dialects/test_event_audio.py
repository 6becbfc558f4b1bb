"""Sound inside events: what is taken, what is refused, and that an answer ends behind the last of its sound."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipelines.errors import LLMError
from pipelines.interfaces.llm import ToolCall
from pipelines.voice.events import (
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
)
from pipelines.voice.history import FunctionCall
from server.dialects.openai.audio import (
    EventAudio,
    Formats,
    SessionFormats,
    format_json,
    parted,
    parted_event,
    rate_of,
    told_as,
)
from server.dialects.openai.fields import AudioInput, AudioOutput, FormatName
from server.dialects.openai.response_events import Sound
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.settings import RefusedError
from server.http.json_input import JsonInputError

DELTA = "response.output_audio.delta"
DONE = "response.done"


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[list[int], int]] = []

    def hear(self, samples: np.ndarray, rate: int) -> None:
        self.heard.append((samples.tolist(), rate))

    def hear_parts(self, parts: Iterator[np.ndarray], seconds: float, rate: int) -> None:
        samples = np.concatenate([np.zeros(0, np.int16), *parts])
        self.hear(samples, rate)
        assert seconds >= len(samples) / rate

    def then(self, action: Callable[[], object]) -> None:
        action()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_sound_is_little_endian_pcm_at_24_khz_or_g711_at_8():
    ear = Ear()
    audio = EventAudio(ear)
    audio.hear(base64_of(bytes([1, 0, 0, 128])), print)
    audio.hear("", print)
    audio.formats = Formats("audio/pcmu", "audio/pcma")
    audio.hear(base64_of(bytes([0x80, 0x00])), print)
    assert ear.heard == [([1, -32768], 24_000), ([], 24_000), ([32124, -32124], 8_000)]
    assert [rate_of(kind) for kind in ("audio/pcm", "audio/pcmu", "audio/pcma")] == [24_000, 8_000, 8_000]
    assert base64.b64decode(told_as("audio/pcma", np.array([32256, -32256], np.int16))) == bytes([0xAA, 0x2A])
    assert base64.b64decode(told_as("audio/pcm", np.array([1, -2], np.int16))) == bytes([1, 0, 254, 255])


@pytest.mark.parametrize("audio", ["AAA", "A A=", "AAAA\n", "ÄÄÄÄ", "AA-_", base64_of(b"123")])
def test_what_is_no_sound_is_refused(audio: str):
    ear = Ear()
    with pytest.raises(RefusedError, match="audio/pcm") as error:
        EventAudio(ear).hear(audio, print)
    assert error.value.param == "audio"
    assert not ear.heard


def test_long_sound_is_decoded_part_by_part_and_a_fault_told_where_it_is():
    ear, refused = Ear(), list[RefusedError]()
    samples = np.arange(100_000, dtype=np.int16)
    EventAudio(ear).hear(base64_of(samples.tobytes()), refused.append)
    assert ear.heard == [(samples.tolist(), 24_000)]
    assert not refused
    EventAudio(ear).hear(base64_of(samples.tobytes())[:-10] + "%", refused.append)
    assert [error.param for error in refused] == ["audio"]
    assert 0 < len(ear.heard[-1][0]) < len(samples)


@pytest.mark.parametrize(
    ("message", "rest"),
    [
        ('{"type": "x", "audio" : "LONG", "event_id": "e"}', '{"type": "x", "audio" : "", "event_id": "e"}'),
        ('{"audio":"LONG"}', '{"audio":""}'),
        ('{"audio":"LONG\\/"}', None),
        ('{"text":"LONG"}', None),
        ('{"audio":"LONG', None),
        ('{"audio":["LONG"]}', None),
    ],
)
def test_the_sound_of_a_long_message_is_not_read_as_json(message: str, rest: str | None):
    sound = "ABCD" * 20_000
    message = message.replace("LONG", sound)
    assert parted(message) == ((message, None) if rest is None else (rest, sound))
    assert parted(message.encode()) == (message.encode(), None)


def test_only_sound_for_the_input_buffer_is_taken_out_of_a_long_event():
    sound = "ABCD" * 20_000
    appended = {"type": "input_audio_buffer.append", "audio": sound}
    part = {"type": "input_audio", "audio": sound, "transcript": "hello"}
    item = {"type": "message", "role": "user", "content": [part]}
    for event in (appended, {"type": "conversation.item.create", "item": item}, {"type": "x", "audio": sound}):
        assert parted_event(json.dumps(event)) == event
    with pytest.raises(JsonInputError):
        parted_event(json.dumps(appended)[:-1])


def test_another_client_of_a_session_whose_sound_travels_in_events_may_choose_its_formats():
    shared = SessionFormats(Formats("audio/pcmu", "audio/pcmu"))
    one, other = EventAudio(Ear(), shared), EventAudio(None, shared)
    assert other.formats == Formats("audio/pcmu", "audio/pcmu") and not other.travels
    pcma = AudioOutput.model_validate({"format": {"type": "audio/pcma"}})
    other.formats = other.formats_with(None, pcma, "session")
    assert one.formats == Formats("audio/pcmu", "audio/pcma")


def test_on_a_peer_connection_no_sound_travels_in_events():
    audio = EventAudio()
    with pytest.raises(RefusedError, match="peer connection"):
        audio.hear("AAAA", print)
    pcm = AudioInput.model_validate({"format": {"type": "audio/pcm", "rate": 24_000}})
    assert audio.formats_with(pcm, None, "session") == Formats()
    pcmu = AudioOutput.model_validate({"format": {"type": "audio/pcmu"}})
    with pytest.raises(RefusedError, match="Opus") as error:
        audio.formats_with(None, pcmu, "session")
    assert error.value.param == "session.audio.output.format.type"
    assert format_json("audio/pcmu") == {"type": "audio/pcmu"}


class Told:
    """The wire, where the sound travels through the events."""

    def __init__(self, sound: Sound | None = None) -> None:
        self.events = RealtimeEvents(sound=sound or Sound(plays=False, travels=True))
        self.told: list[dict[str, Any]] = []

    def __call__(self, *events: Any) -> list[str]:
        """Types of what is told of these; a number is so many deltas, ``None`` the end of the sound."""
        told: list[dict[str, Any]] = []
        for event in events:
            if isinstance(event, int):
                told += [delta for _ in range(event) for delta in self.events.sound("AAAA")]
            else:
                told += self.events.sound_ended() if event is None else self.events.translate(event)
        self.told += told
        return [event["type"] for event in told]


STARTED, TEXT = ResponseStarted("resp", "item", spoken=True), ResponseText("resp", "Hello there.")
GENERATED, STOPPED = ResponseGenerated("resp", "Hello there."), ResponseAudioStopped("resp")


def test_an_answer_ends_with_its_sound_whichever_is_known_first():
    told = Told()
    assert told(STARTED, TEXT, ResponseAudioStarted("resp"), 1) == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        DELTA,
    ]
    assert told(GENERATED) == []
    assert told(1) == [DELTA]
    assert told(None)[-1] == DONE
    assert told(STOPPED, 1, None) == []

    told = Told()
    told(STARTED, TEXT, 2, None)
    assert told(GENERATED)[0] == "response.output_audio.done"
    assert told.told[-1]["type"] == DONE


def test_an_interrupted_answer_is_done_at_once_and_no_sound_of_it_follows():
    told = Told()
    told(STARTED, TEXT, 1, GENERATED)
    kinds = told(ResponseInterrupted("resp", "turn_detected", "Hello", 0.4))
    assert kinds[-1] == DONE
    assert "conversation.item.truncated" not in kinds, "that is the client's to say"
    assert "output_audio_buffer.cleared" not in kinds
    assert told.told[-1]["response"]["status_details"]["reason"] == "turn_detected"
    assert told(1, None, STOPPED) == []


def test_an_answer_that_fails_is_told_behind_what_was_said_of_it():
    told = Told()
    told(STARTED, TEXT, 1)
    assert told(ResponseFailed("resp", LLMError("llm_failed", "no"), "Hello there.")) == []
    assert told(None)[-1] == DONE
    assert told.told[-1]["response"]["status"] == "failed"

    told = Told()
    told(STARTED, ResponseFailed("resp", LLMError("llm_failed", "no"), ""))
    assert told(STOPPED)[-1] == DONE, "its sound was given up"


def test_calls_of_an_answer_that_is_cut_off_before_the_last_of_its_sound_are_told():
    """The history has them."""
    told = Told()
    call = FunctionCall("item_f", ToolCall("call_1", "light", "{}"))
    told(STARTED, TEXT, 1, replace(GENERATED, calls=(call,)))
    kinds = told(ResponseInterrupted("resp", "client_cancelled", "Hello", 0.4))
    assert "response.function_call_arguments.done" in kinds and kinds[-1] == DONE
    response = told.told[-1]["response"]
    assert response["status"] == "cancelled"
    assert [item["type"] for item in response["output"]] == ["message", "function_call"]
    assert told(None, STOPPED) == []


def test_an_answer_without_words_that_is_cut_off_is_not_opened_behind_its_end():
    told = Told()
    told(STARTED, ResponseGenerated("resp", ""))
    assert told(ResponseInterrupted("resp", "client_cancelled", "", 0.0), None, STOPPED) == [DONE]


def test_a_change_of_format_holds_from_the_next_answer_on():
    now: list[FormatName] = ["audio/pcma"]
    told = Told(Sound(plays=False, travels=True, format=lambda: now[0]))
    told(replace(STARTED, voice="joe"), TEXT, 1)
    now[0] = "audio/pcmu"
    told(ResponseStarted("next", "other", spoken=True, voice="joe"))
    assert told.events.sounds_as == "audio/pcma"
    told(GENERATED, None)
    assert told.told[-1]["response"]["audio"]["output"]["format"] == {"type": "audio/pcma"}
    assert told.events.sounds_as == "audio/pcmu"
    told(ResponseInterrupted("next", "client_cancelled", "", 0.0))
    assert told.events.sounds_as is None


def test_the_next_answer_sounds_when_the_one_before_has_been_told():
    told = Told()
    told(STARTED, TEXT, 1, GENERATED, ResponseStarted("next", "other", spoken=True), None)
    told(1)
    assert [event["response_id"] for event in told.told if event["type"] == DELTA] == ["resp", "next"]
    written = Told()
    written(ResponseStarted("resp", "item", spoken=False), 1)
    assert written(TEXT, GENERATED)[-1] == DONE, "what has no sound waits for none"


def test_who_looks_on_is_told_all_but_the_sound():
    told = Told(Sound(plays=False))
    told(STARTED, TEXT, ResponseAudioStarted("resp"), 1, GENERATED, STOPPED)
    kinds = [event["type"] for event in told.told]
    assert kinds[-1] == DONE
    assert DELTA not in kinds
    assert not [kind for kind in kinds if kind.startswith("output_audio_buffer")]
