"""Events of a session → the messages that a client of Pipecat's gets, in golden sequences."""

from __future__ import annotations

from typing import Any

from pipelines.errors import LLMError, STTError
from pipelines.interfaces.llm import ToolCall
from pipelines.vision.detect import CameraStopped
from pipelines.vision.events import SceneChanged
from pipelines.voice.events import (
    FunctionAdded,
    MessageRemoved,
    PartialTranscript,
    Problem,
    ResponseAudioStarted,
    ResponseAudioStopped,
    ResponseFailed,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    ResponseText,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    TranscriptFailed,
    TurnLatency,
    UserTurn,
)
from pipelines.voice.history import FunctionCall, FunctionResult
from server.dialects.rtvi.server_messages import MOST_CALLS, MOST_RESPONSES, RtviMessages
from tests.fakes.rtvi_shapes import check

NAMES = {"stt": "ears", "llm": "brain", "tts": "voice"}


def speaker(*, transcribes: bool = True) -> RtviMessages:
    return RtviMessages(lambda: transcribes, lambda: NAMES, lambda: "2026-01-01T00:00:00.000+00:00")


def told(messages: RtviMessages, *events: Any) -> list[dict[str, Any]]:
    made = [message for event in events for message in messages.translate(event)]
    for message in made:
        check(message)
    return made


def lines(messages: list[dict[str, Any]]) -> list[str]:
    """Each as ``kind`` or ``kind text``; a ``bot-output`` with its status and what has been spoken of it."""
    shown = []
    for message in messages:
        data = message.get("data", {})
        parts = [message["type"], data.get("text", data.get("error", ""))]
        if message["type"] == "bot-output":
            spoken = data.get("spoken_progress", {}).get("accumulated_text")
            parts += [f"#{data['segment_id']}", data["spoken_status"], *([] if spoken is None else [f"[{spoken}]"])]
        shown.append(" ".join(filter(None, parts)))
    return shown


def test_a_spoken_turn_and_its_response():
    messages = speaker()
    begun = told(
        messages,
        SpeechStarted("item", 1.0),
        PartialTranscript("item", "what is"),
        SpeechStopped("item", 2.0),
        UserTurn("item", "what is the time", True, 1.0),
        ResponseStarted("resp", "answer", True),
        ResponseText("resp", "It is noon."),
        ResponseText("resp", "Time to eat,"),
        ResponseAudioStarted("resp"),
    )
    assert [m["data"]["final"] for m in begun if m["type"] == "user-transcription"] == [False, True]
    assert lines(begun) == [
        "user-started-speaking",
        "user-transcription what is",
        "user-stopped-speaking",
        "user-transcription what is the time",
        "user-llm-text what is the time",
        "bot-llm-started",
        "bot-tts-started",
        "bot-llm-text It is noon.",
        "bot-transcription It is noon.",
        "bot-output It is noon. #1 new []",
        "bot-llm-text  Time to eat,",
        "bot-output Time to eat, #2 new []",
        "bot-started-speaking",
    ]
    assert messages.sounding == "resp"
    assert lines(messages.heard("It is")) == [
        "bot-tts-text It",
        "bot-tts-text is",
        "bot-output It is noon. #1 in-progress [It is]",
    ]
    assert lines(told(messages, ResponseGenerated("resp", "…"), ResponseAudioStopped("resp"))) == [
        "bot-transcription Time to eat,",
        "bot-llm-stopped",
        "bot-tts-text noon.",
        "bot-tts-text Time",
        "bot-tts-text to",
        "bot-tts-text eat,",
        "bot-output It is noon. #1 completed [It is noon.]",
        "bot-output Time to eat, #2 completed [Time to eat,]",
        "bot-tts-stopped",
        "bot-stopped-speaking",
    ]
    assert messages.sounding is None
    assert messages.heard("It is noon.") == []


def test_a_barge_in_tells_what_was_heard_and_nothing_after_it():
    messages = speaker()
    told(
        messages,
        ResponseStarted("resp", "answer", True),
        ResponseText("resp", "One two three,"),
        ResponseAudioStarted("resp"),
    )
    assert lines(told(messages, ResponseInterrupted("resp", "turn_detected", "One two", 0.5))) == [
        "bot-tts-text One",
        "bot-tts-text two",
        "bot-output One two three, #1 in-progress [One two]",
        "bot-interrupted",
        "bot-llm-stopped",
        "bot-tts-stopped",
        "bot-stopped-speaking",
    ]
    assert told(messages, ResponseText("resp", "four"), ResponseAudioStopped("resp")) == []


def test_one_response_may_be_thought_of_while_another_is_heard():
    messages = speaker()
    told(
        messages,
        ResponseStarted("one", "first", True),
        ResponseText("one", "Let me look."),
        ResponseAudioStarted("one"),
        ResponseGenerated("one", "Let me look."),
    )
    assert lines(told(messages, ResponseStarted("two", "second", True), ResponseText("two", "Here it is."))) == [
        "bot-llm-started",
        "bot-tts-started",
        "bot-llm-text Here it is.",
        "bot-transcription Here it is.",
        "bot-output Here it is. #2 new []",
    ]
    assert messages.sounding == "one"
    assert lines(messages.heard("Let me"))[-1] == "bot-output Let me look. #1 in-progress [Let me]"
    assert lines(told(messages, ResponseAudioStopped("one"), ResponseAudioStarted("two")))[-3:] == [
        "bot-tts-stopped",
        "bot-stopped-speaking",
        "bot-started-speaking",
    ]
    assert messages.sounding == "two"
    assert lines(messages.heard("Here"))[-1] == "bot-output Here it is. #2 in-progress [Here]"


def test_a_response_outside_of_the_conversation_is_told_when_it_is_there():
    messages = speaker()
    begun = ResponseStarted("resp", "item", False, {"for": "title"}, kept=False)
    assert told(messages, begun, ResponseText("resp", "On"), ResponseText("resp", "time.")) == []
    (made,) = told(messages, ResponseGenerated("resp", "On time."))
    assert made["data"]["type"] == "visavis.response"
    assert (made["data"]["text"], made["data"]["metadata"]) == ("On time.", {"for": "title"})


def test_functions_are_called_and_their_results_told():
    messages = speaker()
    calls = (
        FunctionCall("item1", ToolCall("call1", "weather", '{"city": "Paris"}')),
        FunctionCall("item2", ToolCall("call2", "clock", "none")),
    )
    made = told(messages, ResponseStarted("resp", "item", True), ResponseGenerated("resp", "", calls=calls))
    assert lines(made) == [
        "bot-llm-started",
        "bot-llm-stopped",
        "llm-function-call-started",
        "llm-function-call-in-progress",
        "llm-function-call-started",
        "llm-function-call-in-progress",
    ]
    assert made[3]["data"] == {"function_name": "weather", "tool_call_id": "call1", "arguments": {"city": "Paris"}}
    assert made[5]["data"]["arguments"] == {}, "what the model wrote is no object"
    (stopped,) = told(messages, FunctionAdded(FunctionResult("item3", "call1", "sunny")))
    assert stopped["data"] == {
        "function_name": "weather",
        "tool_call_id": "call1",
        "cancelled": False,
        "result": "sunny",
    }
    assert told(messages, FunctionAdded(FunctionResult("item4", "call1", "sunny"))) == []
    assert told(messages, FunctionAdded(calls[0])) == []


def test_what_is_followed_is_bounded():
    messages = speaker()
    for n in range(MOST_RESPONSES + 5):
        told(messages, ResponseStarted(f"resp{n}", "item", True))
    assert len(messages._responses) == MOST_RESPONSES
    calls = tuple(FunctionCall(f"i{n}", ToolCall(f"c{n}", "f", "{}")) for n in range(MOST_CALLS + 5))
    told(messages, ResponseGenerated(f"resp{MOST_RESPONSES}", "", calls=calls))
    assert len(messages._called) == MOST_CALLS


def test_a_response_that_is_cut_off_before_it_sounds_has_not_begun_to_speak():
    messages = speaker()
    told(messages, ResponseStarted("resp", "answer", True))
    assert lines(told(messages, ResponseInterrupted("resp", "client_cancelled", "", 0.0))) == [
        "bot-interrupted",
        "bot-llm-stopped",
    ]


def test_a_typed_turn_answered_in_text_has_no_voice():
    messages = speaker()
    made = told(
        messages,
        UserTurn("item", "hello", False),
        ResponseStarted("resp", "answer", False),
        ResponseText("resp", "Hi."),
        ResponseGenerated("resp", "Hi."),
    )
    assert lines(made) == [
        "user-llm-text hello",
        "bot-llm-started",
        "bot-llm-text Hi.",
        "bot-transcription Hi.",
        "bot-output Hi. #1 new",
        "bot-llm-stopped",
    ]
    assert made[4]["data"]["will_be_spoken"] is False


def test_all_that_was_said_since_the_last_response_is_what_the_model_is_asked():
    messages = speaker()
    told(messages, UserTurn("one", "so", True), UserTurn("two", "hello", False))
    assert told(messages, ResponseStarted("resp", "answer", True))[0]["data"] == {"text": "so hello"}
    assert lines(told(messages, ResponseStarted("next", "answer", True))) == ["bot-llm-started"]


def test_failures_are_told_and_none_is_fatal():
    messages = speaker()
    made = told(
        messages,
        TranscriptFailed("item", STTError("stt_failed", "deaf")),
        Problem(STTError("part_failed", "vision failed")),
        ResponseStarted("resp", "answer", True),
        ResponseFailed("resp", LLMError("llm_failed", "no idea"), ""),
    )
    assert lines(made) == ["error deaf", "error vision failed", "bot-llm-started", "error no idea", "bot-llm-stopped"]
    assert not any(m["data"]["fatal"] for m in made if m["type"] == "error")


def test_no_words_of_the_user_where_none_are_wanted():
    messages = speaker(transcribes=False)
    made = told(
        messages,
        PartialTranscript("item", "sec"),
        UserTurn("item", "secret", True),
        ResponseStarted("resp", "answer", True),
    )
    assert lines(made) == ["bot-llm-started"]


def test_what_was_not_understood_is_no_transcript():
    assert told(speaker(), UserTurn("item", "", True), SpeechStopped("item", 1.0, detected=False)) == []


def test_latency_is_told_as_metrics_in_seconds():
    parts = {"endpoint": 0.2, "transcript": 0.05, "first_token": 0.1, "first_clause": 0.02, "first_audio": 0.08}
    (made,) = told(speaker(), TurnLatency("resp", 0.45, parts))
    assert made["data"] == {
        "ttfb": [
            {"processor": "ears", "value": 0.05},
            {"processor": "brain", "value": 0.1},
            {"processor": "voice", "value": 0.08},
        ],
        "processing": [
            {"processor": "endpoint", "value": 0.2},
            {"processor": "first_clause", "value": 0.02},
            {"processor": "voice_to_voice", "value": 0.45},
        ],
    }


def test_what_the_camera_shows_rides_as_a_server_message():
    scene, camera = told(speaker(), SceneChanged("a person", (), 1.5), CameraStopped(2.0))
    assert scene["data"]["type"] == "vision.changed" and scene["data"]["scene"] == "a person"
    assert camera["data"]["type"] == "vision.camera"


def test_what_has_no_message_is_left_out():
    assert told(speaker(), MessageRemoved("item")) == []
    dropped = told(speaker(), SpeechStarted("item", 0.0), SpeechDropped("item", 1.0))
    assert [one["type"] for one in dropped] == ["user-started-speaking", "user-stopped-speaking"]
