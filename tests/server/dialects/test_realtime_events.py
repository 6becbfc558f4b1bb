"""Our events → OpenAI Realtime: golden orders of a turn, an interruption, a text reply and failures."""

from __future__ import annotations

import numpy as np

from pipelines.errors import LLMError
from pipelines.interfaces.vision import Detection, Expression
from pipelines.vision.events import (
    AttentionChanged,
    GestureEnded,
    GestureStarted,
    PersonAppeared,
    PersonLeft,
    SceneChanged,
)
from pipelines.voice.events import (
    PartialTranscript,
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
from server.dialects.openai.server_events import RealtimeEvents

TURN = (
    SpeechStarted("item_u", 0.7),
    SpeechStopped("item_u", 2.5),
    UserTurn("item_u", "hello there", True, 1.8),
    ResponseStarted("resp_1", "item_a", True),
    ResponseText("resp_1", "Hello."),
    ResponseAudioStarted("resp_1"),
    ResponseText("resp_1", "How are you?"),
)


def spoken(*events: object) -> list[dict]:
    dialect = RealtimeEvents()
    return [message for event in events for message in dialect.translate(event)]


def types(messages: list[dict]) -> list[str]:
    return [message["type"] for message in messages]


def test_a_spoken_turn_comes_in_the_order_of_the_service():
    messages = spoken(*TURN, ResponseGenerated("resp_1", "Hello. How are you?"), ResponseAudioStopped("resp_1"))
    assert types(messages) == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.completed",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "output_audio_buffer.started",
        "response.output_audio_transcript.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "output_audio_buffer.stopped",
    ]
    assert messages[0]["audio_start_ms"] == 700
    assert messages[3]["item"]["content"] == [{"type": "input_audio", "transcript": None}]
    assert messages[5]["usage"] == {"type": "duration", "seconds": 1.8}
    assert messages[10]["delta"] + messages[12]["delta"] == messages[14]["transcript"] == "Hello. How are you?"
    done = messages[18]["response"]
    assert done["status"] == "completed"
    assert done["output"][0]["content"] == [{"type": "output_audio", "transcript": "Hello. How are you?"}]


def test_every_event_has_an_id_of_its_own_and_items_are_chained():
    messages = spoken(*TURN, ResponseGenerated("resp_1", "x"))
    ids = [message["event_id"] for message in messages]
    assert len(set(ids)) == len(ids)
    added = [message for message in messages if message["type"] == "conversation.item.added"]
    assert [message["previous_item_id"] for message in added] == [None, "item_u"]


def test_interruption_while_speaking():
    messages = spoken(*TURN, ResponseInterrupted("resp_1", "turn_detected", "Hello. How", 0.9))
    assert types(messages)[13:] == [
        "output_audio_buffer.cleared",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
        "conversation.item.truncated",
    ]
    done, truncated = messages[-2], messages[-1]
    assert done["response"]["status"] == "cancelled"
    assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
    assert done["response"]["output"][0]["status"] == "incomplete"
    assert truncated["audio_end_ms"] == 900
    assert truncated["transcript"] == "Hello. How"


def test_interruption_after_generation_only_clears_and_truncates():
    messages = spoken(
        *TURN, ResponseGenerated("resp_1", "x"), ResponseInterrupted("resp_1", "client_cancelled", "Hello.", 0.5)
    )
    assert types(messages)[-2:] == ["output_audio_buffer.cleared", "conversation.item.truncated"]
    assert types(messages).count("response.done") == 1


def test_interruption_before_the_first_word():
    messages = spoken(
        ResponseStarted("resp_1", "item_a", True), ResponseInterrupted("resp_1", "turn_detected", "", 0.0)
    )
    assert types(messages) == ["response.created", "response.done"]


def test_late_events_of_an_interrupted_reply_are_dropped():
    late = [ResponseText("resp_1", "more"), ResponseGenerated("resp_1", "x"), ResponseAudioStopped("resp_1")]
    interrupted = ResponseInterrupted("resp_1", "turn_detected", "Hello.", 0.5)
    assert spoken(*TURN, interrupted, *late)[-1]["type"] == "conversation.item.truncated"


def test_a_reply_without_a_voice_is_text():
    messages = spoken(ResponseStarted("r", "i", False), ResponseText("r", "Hi."), ResponseGenerated("r", "Hi."))
    assert types(messages)[3:7] == [
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
    ]
    assert messages[-1]["response"]["output_modalities"] == ["text"]


def test_a_reply_that_ended_at_its_limit_of_tokens_is_incomplete():
    for spoken_ in (True, False):
        messages = spoken(
            ResponseStarted("r", "i", spoken_),
            ResponseText("r", "Once upon"),
            ResponseGenerated("r", "Once upon", cut=True),
        )
        response = messages[-1]["response"]
        assert response["status"] == "incomplete"
        assert response["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert response["output"][0]["status"] == "incomplete"


def test_a_failed_reply_says_why():
    messages = spoken(
        ResponseStarted("r", "i", True), ResponseFailed("r", LLMError("llm_timeout", "no answer in 15 s"), "")
    )
    response = messages[-1]["response"]
    assert response["status"] == "failed"
    assert response["status_details"]["error"]["code"] == "llm_timeout"


def test_partials_are_whole_and_deltas_are_what_two_agree_on():
    messages = spoken(
        *(PartialTranscript("u", text) for text in ("what", "what is", "what is the whether", "what is the weather in"))
    )
    partials = [m["transcript"] for m in messages if m["type"] == "visavis.partial_transcript"]
    deltas = [m["delta"] for m in messages if m["type"].endswith("transcription.delta")]
    assert partials[-1] == "what is the weather in"
    assert deltas == ["what", " is", " the"]


DELTA = "conversation.item.input_audio_transcription.delta"


def deltas(messages: list[dict[str, object]], item_id: str) -> str:
    return "".join(str(m["delta"]) for m in messages if m["type"] == DELTA and m["item_id"] == item_id)


def test_deltas_go_on_behind_the_end_of_their_turn():
    """A recogniser that is behind tells partial transcripts of a turn that is over, while the next one is said."""
    partial = PartialTranscript
    events = [partial("one", "what is"), partial("one", "what is the"), SpeechStopped("one", 1.0)]
    events += [partial("two", "and in"), partial("one", "what is the time"), partial("one", "what is the time in")]
    messages = spoken(*events, partial("two", "and in London"))
    assert deltas(messages, "one") == "what is the time"
    assert deltas(messages, "two") == "and in"


def test_what_is_cleared_leaves_nothing_to_the_next_turn():
    speaker = RealtimeEvents()
    dropped = [
        SpeechStarted("one", 0.0),
        PartialTranscript("one", "never mind"),
        PartialTranscript("one", "never mind"),
    ]
    messages = [message for event in dropped for message in speaker.translate(event)]
    messages += speaker.translate(SpeechDropped("one", 0.9))
    assert {"item_id": "one", "audio_end_ms": 900}.items() <= messages[-1].items()
    assert types(messages)[-1] == "input_audio_buffer.speech_stopped"
    for text in ("what is", "what is the"):
        messages += speaker.translate(PartialTranscript("two", text))
    assert deltas(messages, "two") == "what is"


def test_what_voices_that_came_to_nothing_leave_behind_is_bounded():
    speaker = RealtimeEvents()
    for n in range(200):
        speaker.translate(PartialTranscript(f"item_{n}", "mhm"))
    assert len(speaker._partials) <= 16


def test_failed_transcription_names_the_item():
    (message,) = spoken(TranscriptFailed("u", LLMError("stt_crashed", "gone")))
    assert message["item_id"] == "u"
    assert message["error"]["message"] == "gone"


def test_vision_and_latency_are_events_of_ours():
    hand = Detection("hand", 0, (0.1, 0.2, 0.3, 0.4), 0.91234, "right", np.zeros((21, 2), np.float32))
    scene, latency = spoken(
        SceneChanged("one person, right hand raised", (hand,), 1.0),
        TurnLatency("r", 0.8, {"endpoint": 0.6, "rest": 0.2}, unjudged=True),
    )
    assert scene["type"] == "vision.changed"
    assert scene["objects"] == [
        {"kind": "hand", "id": 0, "box": [0.1, 0.2, 0.3, 0.4], "score": 0.912, "label": "right"}
    ]
    assert scene["time_ms"] == 1000
    assert latency["voice_to_voice_ms"] == 800
    assert latency["unjudged"] is True
    assert latency["parts"] == {"endpoint": 600, "rest": 200}


def test_what_happens_before_the_camera_is_told():
    messages = spoken(
        PersonAppeared(3, 0.25),
        GestureStarted("right", "thumbs up", 4.0),
        GestureEnded("", "thumbs up", 5.5),
        AttentionChanged("away", 6.0),
        PersonLeft(3, 9.0),
    )
    assert [{name: value for name, value in message.items() if name != "event_id"} for message in messages] == [
        {"type": "vision.person.appeared", "id": 3, "time_ms": 250},
        {"type": "vision.gesture.started", "hand": "right", "gesture": "thumbs up", "time_ms": 4000},
        {"type": "vision.gesture.ended", "gesture": "thumbs up", "time_ms": 5500},
        {"type": "vision.attention.changed", "attention": "away", "time_ms": 6000},
        {"type": "vision.person.left", "id": 3, "time_ms": 9000},
    ]


def test_what_a_face_and_a_hand_express_is_told():
    face = Detection("face", 1, (0.0, 0.0, 1.0, 1.0), 0.5, expression=Expression(0.123, 0.8, 0.0, -12.345, 3.0))
    hand = Detection("hand", 0, (0.0, 0.0, 1.0, 1.0), 0.9, "left", gesture="open palm")
    (message,) = spoken(SceneChanged("one person", (face, hand), 0.0))
    shown, held = message["objects"]
    assert shown["expression"] == {"mouth_open": 0.12, "smile": 0.8, "eyes_closed": 0.0, "yaw": -12.35, "pitch": 3.0}
    assert held["gesture"] == "open palm"
