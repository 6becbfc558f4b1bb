"""The settings of a session in the words of the protocol: what is taken acts, all else is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.interfaces.llm import Tool
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.tts import VoiceSettings
from pipelines.voice.turn import Eagerness, TurnMode
from server.dialects.openai.models import SERVED, events
from server.dialects.openai.settings import RefusedError, Served, merge, merge_response, refusal
from server.dialects.openai.shapes import session_event

DEFAULTS = ConversationSettings(instructions="Be kind.", voice=VoiceSettings("square"), max_tokens=200)
MODELS = {"stt": "ears", "llm": "brain", "tts": "mouth", "language": "en"}


def here(**changes: Any) -> Served:
    return Served(
        **{"voices": lambda: ("square", "other"), "languages": lambda: ("en", "pt"), "sounds": True, **changes}
    )


def updated(session: dict[str, Any], settings: ConversationSettings = DEFAULTS, served: Served | None = None):
    event = events.validate_python({"type": "session.update", "session": session})
    return merge(settings, DEFAULTS, event.session, served or here())


def turned(detection: object, settings: ConversationSettings = DEFAULTS) -> ConversationSettings:
    return updated({"audio": {"input": {"turn_detection": detection}}}, settings)


def told(settings: ConversationSettings) -> dict[str, Any]:
    return session_event("session.updated", "sess_1", settings, "square", MODELS)["session"]


def refused(data: dict[str, Any], served: Served | None = None) -> RefusedError:
    try:
        event = events.validate_python(data)
    except ValidationError as error:
        return refusal(error, data)
    with pytest.raises(RefusedError) as caught:
        if event.type == "response.create":
            merge_response(DEFAULTS, DEFAULTS, event.response, served or here())
        else:
            merge(DEFAULTS, DEFAULTS, event.session, served or here())
    return caught.value


# ---------------------------------------------------------------------------------------------------- turn detection


def test_null_is_push_to_talk_and_told_as_null():
    settings = turned(None)
    assert settings.turn.mode is TurnMode.MANUAL
    assert told(settings)["audio"]["input"]["turn_detection"] is None


def test_silence_of_a_fixed_length():
    settings = turned({"type": "server_vad"})
    shown = told(settings)["audio"]["input"]["turn_detection"]
    assert shown == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "create_response": True,
        "interrupt_response": True,
    }
    settings = turned({"threshold": 0.8, "prefix_padding_ms": 100, "silence_duration_ms": 900}, settings)
    assert settings.turn.mode is TurnMode.SERVER_VAD
    assert (settings.turn.prefix_padding_seconds, settings.turn.silence_seconds) == (0.1, 0.9)
    assert settings.segmenter.start_threshold == 0.8
    assert settings.segmenter.stop_threshold == pytest.approx(0.65)
    assert turned({"type": "server_vad", "silence_duration_ms": None}, settings).turn.silence_seconds == 0.5


@pytest.mark.parametrize(("eagerness", "longest"), [("low", 2.56), ("medium", 1.28), ("high", 0.64), ("auto", 1.28)])
def test_eagerness_acts_and_is_told(eagerness, longest):
    settings = turned({"type": "semantic_vad", "eagerness": eagerness})
    assert settings.turn.eagerness is Eagerness(eagerness)
    assert settings.turn.max_delay_seconds == longest
    assert told(settings)["audio"]["input"]["turn_detection"]["eagerness"] == eagerness


def test_another_type_begins_with_its_own_defaults_but_for_who_answers():
    settings = turned({"type": "server_vad", "threshold": 0.9, "create_response": False, "silence_duration_ms": 2_000})
    settings = turned({"type": "semantic_vad"}, settings)
    assert settings.segmenter == DEFAULTS.segmenter
    assert settings.turn.silence_seconds == DEFAULTS.turn.silence_seconds
    assert settings.turn.create_response is False
    assert turned({"create_response": None}, settings).turn.create_response is False
    assert turned({"create_response": True}, settings).turn.create_response is True


def test_what_is_left_out_stays():
    """A shallow merge has switched voice activity off in other servers."""
    settings = turned({"type": "server_vad", "silence_duration_ms": 700})
    for session in ({}, {"audio": {}}, {"audio": {"input": {}}}, {"audio": {"output": {"speed": 2.0}}}):
        assert updated(session, settings).turn == settings.turn
    assert turned({"threshold": 0.6}, settings).turn == settings.turn
    manual = turned(None, settings)
    assert updated({"instructions": "x"}, manual).turn.mode is TurnMode.MANUAL
    assert turned({"silence_duration_ms": 300}, manual).turn.mode is TurnMode.SERVER_VAD


# ---------------------------------------------------------------------------------------------------- everything else


@pytest.mark.parametrize(
    ("session", "effect"),
    [
        ({"instructions": "Sing."}, {"instructions": "Sing."}),
        ({"instructions": ""}, {"instructions": ""}),
        ({"instructions": None}, {"instructions": "Be kind."}),
        ({"output_modalities": ["text"]}, {"spoken": False}),
        ({"output_modalities": ["audio"]}, {"spoken": True}),
        ({"max_output_tokens": 1}, {"max_tokens": 1}),
        ({"max_output_tokens": 4096}, {"max_tokens": 4096}),
        ({"max_output_tokens": "inf"}, {"max_tokens": None}),
        ({"max_output_tokens": None}, {"max_tokens": 200}),
        ({"audio": {"input": {"transcription": None}}}, {"transcripts": False}),
        ({"audio": {"input": {"transcription": {"model": "gpt-4o-mini-transcribe"}}}}, {"transcripts": True}),
        ({"audio": {"input": {"transcription": {"language": "en"}}}}, {"transcripts": True}),
        ({"audio": {"output": {"voice": "other"}}}, {"voice": VoiceSettings("other")}),
        ({"audio": {"output": {"voice": {"id": "other"}}}}, {"voice": VoiceSettings("other")}),
        ({"audio": {"output": {"speed": 1.5}}}, {"voice": VoiceSettings("square", 1.5)}),
    ],
)
def test_what_is_taken_acts(session, effect):
    settings = updated(session)
    assert {name: getattr(settings, name) for name in effect} == effect


def test_a_model_is_asked_for_by_its_adapter_and_any_other_name_means_the_usual_one():
    pirates = here(adapter=lambda name: "pirate" if name in ("pirate", "brain:pirate") else "")
    for name in ("pirate", "brain:pirate"):
        settings = updated({"model": name}, served=pirates)
        assert settings.adapters == (("pirate", 1.0),)
        assert told(settings)["model"] == "brain:pirate"
        for usual in (None, "brain", "gpt-realtime"):
            again = updated({"model": usual}, settings, pirates)
            assert (again.adapters, told(again)["model"]) == ((), "brain")
    assert updated({"instructions": "Sing."}, settings, pirates).adapters == (("pirate", 1.0),)


def test_null_means_as_at_first_for_a_conversation_that_goes_on_in_another_session():
    chosen = updated({"instructions": "Sing.", "audio": {"output": {"speed": 1.5}}})
    nulls = {"instructions": None, "audio": {"output": {"speed": None}}}
    event = events.validate_python({"type": "session.update", "session": nulls})
    again = merge(chosen, chosen, event.session, here(usual=DEFAULTS))
    assert (again.instructions, again.voice) == (DEFAULTS.instructions, DEFAULTS.voice)


def test_it_is_told_back():
    session = {
        "instructions": "Sing.",
        "output_modalities": ["text"],
        "max_output_tokens": "inf",
        "audio": {"input": {"transcription": None}, "output": {"voice": "other", "speed": 0.5}},
    }
    shown = told(updated(session))
    assert {name: shown[name] for name in ("instructions", "output_modalities", "max_output_tokens")} == {
        name: session[name] for name in ("instructions", "output_modalities", "max_output_tokens")
    }
    assert shown["audio"]["input"]["transcription"] is None
    assert (shown["audio"]["output"]["voice"], shown["audio"]["output"]["speed"]) == ("other", 0.5)
    assert told(DEFAULTS)["audio"]["input"]["transcription"] == {"model": "ears", "language": "en"}


STOCK = {
    "agents": {
        "type": "realtime",
        "model": "gpt-realtime-2.1",
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "output_modalities": ["audio"],
        "tracing": "auto",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "auto", "interrupt_response": True},
                "noise_reduction": None,
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1},
        },
    },
    "agents, second": {"type": "realtime", "tracing": None},
    "wishes": {
        "include": ["item.input_audio_transcription.logprobs"],
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.5},
        "reasoning": {"effort": "low"},
        "audio": {
            "input": {
                "noise_reduction": {"type": "near_field"},
                "transcription": {"model": "whisper-1", "prompt": "names: Ada", "keywords": ["Ada"]},
            }
        },
    },
    "server": {
        "type": "realtime",
        "model": "gpt-realtime",
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "include": None,
        "prompt": None,
        "truncation": "auto",
        "parallel_tool_calls": True,
        "audio": {
            "input": {
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 200,
                    "idle_timeout_ms": None,
                    "create_response": True,
                    "interrupt_response": True,
                }
            },
            "output": {"voice": "alloy"},
        },
    },
}


@pytest.mark.parametrize("client", STOCK)
def test_what_stock_clients_send_by_themselves_is_taken(client):
    settings = updated(STOCK[client])
    assert settings.voice.voice == "square"


def test_a_session_that_only_writes_down_has_a_priority_too():
    assert updated({"type": "transcription", "priority": "high"}).listens_only


@pytest.mark.parametrize("voice", ["alloy", "marin", "af_heart", "nobody"])
def test_voices_that_are_not_here_are_the_default_one_which_is_told(voice):
    session = {"audio": {"output": {"voice": voice}}}
    other = updated({"audio": {"output": {"voice": "other"}}})
    assert updated(session, other).voice.voice == "square"
    assert told(updated(session, other))["audio"]["output"]["voice"] == "square"
    assert updated(session, served=here(voices=lambda: ("square", voice))).voice.voice == voice


@pytest.mark.parametrize(
    ("session", "param", "legal"),
    [
        ({"type": "translation"}, "type", "'realtime' or 'transcription'"),
        ({"type": "transcription", "instructions": "Be kind."}, "instructions", "audio.input"),
        ({"type": "transcription", "audio": {"output": {"speed": 2}}}, "audio.output", "audio.input"),
        (
            {
                "type": "transcription",
                "audio": {"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}},
            },
            "audio.input.turn_detection.idle_timeout_ms",
            "timeout",
        ),
        ({"colour": "red"}, "colour", "instructions"),
        ({"temperature": 0.8}, "temperature", "max_output_tokens"),
        ({"modalities": ["audio"]}, "modalities", "output_modalities"),
        ({"instructions": 7}, "instructions", "string"),
        ({"instructions": "x" * 32_001}, "instructions", "32000"),
        ({"output_modalities": ["audio", "text"]}, "output_modalities", '["text"]'),
        ({"output_modalities": []}, "output_modalities", '["audio"]'),
        ({"output_modalities": "audio"}, "output_modalities", '["audio"]'),
        *(
            ({"max_output_tokens": value}, "max_output_tokens", '1 to 4096 and "inf"')
            for value in (-5, 0, 4097, "many", True, 1.5, [], 10**30)
        ),
        ({"tools": [{"type": "function", "name": "a b"}]}, "tools.0.name", "pattern"),
        ({"tools": [{"type": "function", "name": "f", "parameters": "none"}]}, "tools.0.parameters", "object"),
        ({"tools": [{"type": "function", "name": "f"}] * 2}, "tools", "a name of its own"),
        ({"tools": [{"type": "mcp", "server_url": "http://there/"}]}, "tools.0", "function"),
        ({"tool_choice": "required"}, "tool_choice", "no tools"),
        ({"tool_choice": "always"}, "tool_choice", "auto"),
        ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name", "the tools are: none"),
        ({"prompt": {"id": "p"}}, "prompt", "null"),
        ({"tracing": 5}, "tracing", "auto"),
        ({"audio": []}, "audio", "object"),
        ({"audio": {"input": {"format": {"type": "audio/mp3"}}}}, "audio.input.format.type", "audio/pcm"),
        ({"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 5}}}}, "audio.input.format.rate", "8000"),
        ({"audio": {"input": {"format": {"type": "audio/pcm", "rate": 8000}}}}, "audio.input.format.rate", "24000"),
        (
            {"audio": {"input": {"transcription": {"language": "de"}}}},
            "audio.input.transcription.language",
            "null and en, pt",
        ),
        ({"audio": {"output": {"voice": 5}}}, "audio.output.voice", "string"),
        ({"audio": {"output": {"speed": 9}}}, "audio.output.speed", "4"),
        ({"audio": {"output": {"speed": 0}}}, "audio.output.speed", "0.25"),
        ({"audio": {"output": {"format": {"type": "mp3"}}}}, "audio.output.format.type", "audio/pcm"),
        ({"vision": {"colour": 1}}, "vision", "detectors"),
        ({"vision": None, "x": 1}, "x", "vision"),
    ],
)
def test_everything_else_is_refused_with_what_is_legal(session, param, legal):
    error = refused({"type": "session.update", "session": session})
    assert error.param == f"session.{param}"
    assert legal in str(error)
    assert len(str(error)) < 1_200


def test_a_call_of_a_tool_of_the_server_can_be_required():
    lamp, same = Tool("lamp", "of the server"), {"type": "function", "name": "lamp"}
    served = here(tools=lambda: (lamp,))
    assert updated({"tool_choice": "required"}, served=served).tool_choice == "required"
    named = updated({"tool_choice": same}, served=served)
    assert named.tool_choice == lamp
    assert updated({"instructions": "x"}, named, served).tool_choice == lamp
    assert updated({"instructions": "x"}, named, here()).tool_choice == "auto"  # it is gone
    assert updated({"tools": [same], "tool_choice": same}, served=served).tool_choice == Tool("lamp", "")
    with pytest.raises(RefusedError, match="the tools are: lamp"):
        updated({"tool_choice": {"type": "function", "name": "oven"}}, served=served)


@pytest.mark.parametrize(
    ("detection", "field", "legal"),
    [
        ({"type": "none"}, "type", "server_vad"),
        ({"type": "server_vad", "eagerness": "low"}, "eagerness", "silence_duration_ms"),
        ({"type": "semantic_vad", "eagerness": "eager"}, "eagerness", "auto"),
        ({"type": "server_vad", "idle_timeout_ms": 10}, "idle_timeout_ms", "1000"),
        ({"type": "semantic_vad", "idle_timeout_ms": 5000}, "idle_timeout_ms", "server_vad"),
        ({"type": "server_vad", "threshold": 1.1}, "threshold", "1"),
        ({"type": "server_vad", "threshold": "0.5"}, "threshold", "number"),
        ({"type": "server_vad", "prefix_padding_ms": -1}, "prefix_padding_ms", "0"),
        ({"type": "server_vad", "prefix_padding_ms": 9_000}, "prefix_padding_ms", "5000"),
        ({"type": "server_vad", "silence_duration_ms": 50}, "silence_duration_ms", "100"),
        ({"type": "server_vad", "silence_duration_ms": 1e9}, "silence_duration_ms", "integer"),
        ({"type": "server_vad", "create_response": "yes"}, "create_response", "boolean"),
        ({"type": "server_vad", "sensitivity": 1}, "sensitivity", "threshold"),
    ],
)
def test_turn_detection_is_refused_by_field(detection, field, legal):
    error = refused({"type": "session.update", "session": {"audio": {"input": {"turn_detection": detection}}}})
    assert error.param == f"session.audio.input.turn_detection.{field}"
    assert legal in str(error)


def test_a_voice_cannot_be_had_without_a_way_to_hear_it():
    error = refused({"type": "session.update", "session": {"output_modalities": ["audio"]}}, here(sounds=False))
    assert error.param == "session.output_modalities"
    assert '["text"]' in str(error)


@pytest.mark.parametrize(("wish", "spoken"), [("pt", "pt"), ("pt-BR", "pt"), ("EN", "en"), (None, None)])
def test_a_session_speaks_the_language_that_it_chooses(wish, spoken):
    settings = updated({"audio": {"input": {"transcription": {"language": wish}}}})
    assert settings.language == spoken
    kept = updated({"audio": {"input": {"transcription": {"model": "x"}}}}, settings)
    assert kept.language == spoken
    assert updated({"audio": {"input": {"transcription": {"language": None}}}}, settings).language is None


# ---------------------------------------------------------------------------------------------------- one answer


def answered(response: dict[str, Any]) -> ConversationSettings:
    event = events.validate_python({"type": "response.create", "response": response})
    return merge_response(DEFAULTS, DEFAULTS, event.response, here())


def test_one_answer_has_settings_of_its_own():
    settings = answered(
        {
            "instructions": "Sing.",
            "output_modalities": ["text"],
            "max_output_tokens": "inf",
            "audio": {"output": {"voice": "other"}},
            "conversation": "auto",
            "metadata": {"mine": "1"},
            "tool_choice": "none",
        }
    )
    assert (settings.instructions, settings.spoken, settings.max_tokens) == ("Sing.", False, None)
    assert settings.voice.voice == "other"
    nulls = {
        "instructions": None,
        "output_modalities": None,
        "max_output_tokens": None,
        "audio": None,
        "metadata": None,
    }
    assert answered(nulls) == answered({}) == DEFAULTS


@pytest.mark.parametrize(
    ("response", "param", "legal"),
    [
        ({"conversation": "both"}, "conversation", "none"),
        ({"input": [{"type": "message", "role": "user"}]}, "input.0.content", "required"),
        ({"input": [{"type": "reference", "id": "x"}]}, "input.0.type", "item_reference"),
        ({"metadata": {"a": 1}}, "metadata.a", "string"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a", "512"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "16"),
        ({"max_output_tokens": 0}, "max_output_tokens", "4096"),
        ({"voice": "other"}, "voice", "audio"),
    ],
)
def test_an_answer_is_refused_by_field(response, param, legal):
    error = refused({"type": "response.create", "response": response})
    assert error.param == f"response.{param}"
    assert legal in str(error)


@pytest.mark.parametrize("kind", [None, 5, "nothing", [], {}, "session.created"])
def test_unknown_events_are_told_which_there_are(kind):
    error = refused({} if kind is None else {"type": kind})
    assert (error.code, error.param) == ("unknown_event", "type")
    assert all(name in str(error) for name in SERVED)


@pytest.mark.parametrize(
    ("item", "param", "legal"),
    [
        ({"type": "function_call_output", "output": ""}, "item.call_id", "required"),
        ({"type": "function_call", "call_id": "1", "name": "f", "arguments": "[]"}, "item.arguments", "JSON object"),
        ({"type": "message", "role": "king", "content": []}, "item.role", "assistant"),
        ({"type": "message", "role": "user", "content": []}, "item.content", "1"),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_audio"}]},
            "item.content.0.transcript",
            "required",
        ),
        ({"type": "message", "role": "user", "content": [{}]}, "item.content.0.type", "type"),
        ({"type": "message", "role": "user", "content": ["hi"]}, "item.content.0", "object"),
        (
            {"type": "message", "role": "user", "content": [{"type": "output_text", "text": "x"}]},
            "item.content",
            "input_image",
        ),
        (
            {"type": "message", "role": "assistant", "content": [{"type": "input_text", "text": "x"}]},
            "item.content",
            "output_text",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": {"url": ""}}]},
            "item.content.0.image_url",
            "data URI",
        ),
        (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": ""}]},
            "item.content.0.text",
            "1 character",
        ),
    ],
)
def test_an_item_is_refused_by_field(item, param, legal):
    error = refused({"type": "conversation.item.create", "item": item})
    assert error.param == param
    assert legal in str(error)
