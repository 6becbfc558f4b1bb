"""Client events carried out on a real conversation with fake engines: answered once, and never its end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.frames import Samples
from pipelines.errors import LLMError
from pipelines.interfaces.llm import ChatRequest, Cut, Piece
from pipelines.routing.routes.llm import FallbackModel
from pipelines.vision.settings import VisionSettings
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.turn import TurnMode, TurnSettings
from server.dialects.openai.audio import EventAudio
from server.dialects.openai.client_events import LARGEST_EVENT, RealtimeClient
from server.dialects.openai.response_events import Sound
from server.dialects.openai.server_events import RealtimeEvents
from server.dialects.openai.settings import Served
from server.dialects.openai.shapes import session_event
from server.dialects.openai.wire import messages
from tests.fakes.engines import FakeModel
from tests.fakes.hostile_events import hostile_messages
from tests.pipelines.voice.test_conversation import Scene, scene, settle

MODELS = {"stt": "ears", "llm": "brain", "tts": "mouth", "language": None}
HELLO = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}


class FakeVideo:
    """No camera, and nothing to look at it with."""

    def __init__(self) -> None:
        self.settings = VisionSettings()
        self.unavailable = {"objects": "no model"}

    def configure(self, settings: VisionSettings) -> None:
        self.settings = settings


class FakeMicrophone:
    """Everything waits until :meth:`catch_up`."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], object]] = []

    def hear(self, samples: Samples, rate: int) -> None:
        self.waiting.append(lambda: None)

    def hear_parts(self, parts: Iterator[Samples], seconds: float, rate: int) -> None:
        self.waiting.append(lambda: None)

    def then(self, action: Callable[[], object]) -> None:
        if self.waiting:
            self.waiting.append(action)
        else:
            action()

    def catch_up(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()


class Client:
    """What a client sends and gets, without a network."""

    def __init__(self, stage: Scene, sound: Sound | None = None, microphone: FakeMicrophone | None = None) -> None:
        self.stage = stage
        self.sent: list[dict[str, Any]] = []
        sound = sound or Sound()
        self.dialect = RealtimeEvents(lambda: stage.conversation.settings.transcripts, sound)
        served = Served(lambda: stage.tts.voices, plays=sound.plays)
        audio = EventAudio(microphone)
        wires = (self.sent.append, self.updated, audio, self.untold)
        self.client = RealtimeClient(stage.conversation, FakeVideo(), served, *wires)

    def untold(self) -> tuple[str, ...]:
        self.translate()
        return self.dialect.untold

    def translate(self) -> None:
        for event in self.stage.events:
            self.sent += self.dialect.translate(event)
        self.stage.events.clear()

    def updated(self) -> None:
        self.sent.append(session_event("session.updated", "s", self.stage.conversation.settings, "square", MODELS))

    async def say(self, *events: dict[str, Any] | str | bytes) -> list[dict[str, Any]]:
        """Send events; what was answered to them by the client, and told by the conversation."""
        for event in events:
            self.client.receive(json.dumps(event) if isinstance(event, dict) else event)
        await settle()
        self.translate()
        sent, self.sent[:] = list(self.sent), []
        return sent


def codes(sent: list[dict[str, Any]]) -> list[str]:
    return [event["error"]["code"] for event in sent if event["type"] == "error"]


def types(sent: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in sent]


async def test_an_update_that_is_refused_changes_nothing_of_it():
    async with scene() as s:
        client, before = Client(s), s.conversation.settings
        audio = {"output": {"speed": 9}}
        sent = await client.say(
            {"type": "session.update", "event_id": "e1", "session": {"instructions": "Sing.", "audio": audio}}
        )
        assert types(sent) == ["error"]
        assert (sent[0]["error"]["param"], sent[0]["error"]["event_id"]) == ("session.audio.output.speed", "e1")
        assert s.conversation.settings == before


async def test_null_takes_a_setting_back_to_what_it_was_at_first():
    first = ConversationSettings(max_tokens=77, turn=TurnSettings(TurnMode.SEMANTIC_VAD))
    async with scene(settings=first) as s:
        client = Client(s)
        await client.say({"type": "session.update", "session": {"max_output_tokens": 5}})
        await client.say({"type": "session.update", "session": {"max_output_tokens": None}})
        assert s.conversation.settings.max_tokens == 77


@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_a_response_that_reaches_the_limit_that_it_was_given_is_incomplete(modality):
    class Limited(FakeModel):
        async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
            words = ["Once ", "there ", "was."]
            for word in words[: request.max_tokens]:
                yield word
            if request.max_tokens < len(words):
                yield Cut()

    ended = {}
    async with scene(llm=FallbackModel([Limited()], lambda name, error: None)) as s:
        client = Client(s)
        await client.say({"type": "conversation.item.create", "item": HELLO})
        for limit in (1, 3):
            asked = {"max_output_tokens": limit, "output_modalities": [modality]}
            sent = await client.say({"type": "response.create", "response": asked})
            for playout in s.out.playouts:
                playout.play(60)
            sent += await client.say()
            (ended[limit],) = [event["response"] for event in sent if event["type"] == "response.done"]
            (item,) = ended[limit]["output"]
            got = await client.say({"type": "conversation.item.retrieve", "item_id": item["id"]})
            assert got[0]["item"]["status"] == item["status"] == ended[limit]["status"]
    assert ended[1]["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
    assert [*ended[1]["output"][0]["content"][0].values()][-1] == "Once"
    assert (ended[3]["status"], ended[3]["status_details"]) == ("completed", None)


async def test_push_to_talk_as_clients_do_it():
    async with scene("what is the time", answers=("Noon.",)) as s:
        client = Client(s)
        detection = {"audio": {"input": {"turn_detection": None}}}
        (updated,) = await client.say({"type": "session.update", "session": detection})
        assert updated["session"]["audio"]["input"]["turn_detection"] is None
        assert types(await client.say({"type": "input_audio_buffer.clear"})) == ["input_audio_buffer.cleared"]
        assert codes(await client.say({"type": "input_audio_buffer.commit"})) == ["input_audio_buffer_commit_empty"]
        await s.say(1.0)
        sent = await client.say({"type": "input_audio_buffer.commit"}, {"type": "response.create"})
        told = types(sent)
        assert told[told.index("input_audio_buffer.committed") :][:8] == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
        ]


async def test_one_answer_in_text_with_metadata():
    async with scene(answers=("Yes.",)) as s:
        client = Client(s)
        wish = {"output_modalities": ["text"], "metadata": {"client_event_id": "e7"}, "instructions": "One word."}
        sent = await client.say(
            {"type": "conversation.item.create", "item": HELLO}, {"type": "response.create", "response": wish}
        )
        created, done = (event["response"] for event in sent if event["type"] in ("response.created", "response.done"))
        assert created["metadata"] == done["metadata"] == {"client_event_id": "e7"}
        assert done["output_modalities"] == ["text"]
        assert done["output"][0]["content"] == [{"type": "output_text", "text": "Yes."}]
        assert s.llm.requests[0].messages[0].content == "One word."


async def test_transcripts_are_not_told_when_they_are_not_wanted():
    async with scene("what is the time") as s:
        client = Client(s)
        await client.say({"type": "session.update", "session": {"audio": {"input": {"transcription": None}}}})
        await s.say(1.0)
        await s.hush(1.0)
        sent = types(await client.say())
        assert "response.created" in sent
        assert not [kind for kind in sent if "transcription" in kind or "partial" in kind]


async def test_items_can_be_looked_at_and_forgotten():
    async with scene("what is the time", answers=("Noon.",)) as s:
        client = Client(s)
        await client.say({"type": "conversation.item.create", "item": {**HELLO, "id": "typed"}})
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(9)
        sent = await client.say()
        ids = ["typed", *(event["item_id"] for event in sent if event["type"] == "input_audio_buffer.committed")]
        ids.append(next(event["item_id"] for event in sent if event["type"] == "response.output_audio_transcript.done"))
        looks = await client.say(*({"type": "conversation.item.retrieve", "item_id": item} for item in ids))
        assert [(look["item"]["role"], look["item"]["content"]) for look in looks] == [
            ("user", [{"type": "input_text", "text": "hello"}]),
            ("user", [{"type": "input_audio", "transcript": "what is the time"}]),
            ("assistant", [{"type": "output_audio", "transcript": "Noon."}]),
        ]
        gone = await client.say({"type": "conversation.item.delete", "item_id": ids[2]})
        assert gone[0]["item_id"] == ids[2]
        assert codes(await client.say({"type": "conversation.item.delete", "item_id": ids[2]})) == [
            "item_delete_invalid_item_id"
        ]
        added = await client.say({"type": "conversation.item.create", "item": HELLO})
        assert added[0]["previous_item_id"] == ids[1]
        front = await client.say({"type": "conversation.item.create", "previous_item_id": "root", "item": HELLO})
        assert front[0]["previous_item_id"] is None
        assert codes(
            await client.say(
                {"type": "conversation.item.create", "item": {**HELLO, "id": "typed"}},
                {"type": "conversation.item.create", "previous_item_id": "nowhere", "item": HELLO},
                {"type": "conversation.item.retrieve", "item_id": "nowhere"},
                {"type": "conversation.item.truncate", "item_id": ids[1], "content_index": 0, "audio_end_ms": 5},
            )
        ) == ["invalid_value", "invalid_value", "item_retrieve_invalid_item_id", "item_truncate_invalid_item_id"]


async def test_an_answer_can_be_cut_off_by_its_item_and_only_by_its_own_id():
    async with scene(answers=("one two three four five six.", "x")) as s:
        client = Client(s)
        sent = await client.say({"type": "response.create"})
        item = next(event["item"]["id"] for event in sent if event["type"] == "response.output_item.added")
        assert codes(await client.say({"type": "response.cancel", "response_id": "other"})) == [
            "response_cancel_not_active"
        ]
        s.out.playouts[0].play(0.6)
        sent = await client.say({"type": "conversation.item.truncate", "item_id": item, "audio_end_ms": 400})
        truncated = sent[-1]
        assert (truncated["type"], truncated["transcript"]) == ("conversation.item.truncated", "one two")
        assert not s.conversation.responses.active


APPEND = {"type": "input_audio_buffer.append", "audio": "AAAAAA=="}
CREATE = {"type": "response.create"}


def ended(sent: list[dict[str, Any]]) -> list[tuple[str, dict[str, str] | None]]:
    done = [event["response"] for event in sent if event["type"] == "response.done"]
    return [(response["status"], response.get("metadata")) for response in done]


async def test_events_behind_one_that_waits_for_sound_wait_too():
    async with scene() as s:
        microphone = FakeMicrophone()
        client = Client(s, Sound(plays=False, travels=True), microphone)
        item = {"type": "conversation.item.create", "event_id": "create", "item": {**HELLO, "id": "x"}}
        looks = [{"type": f"conversation.item.{what}", "item_id": "x"} for what in ("retrieve", "delete")]
        assert await client.say(APPEND, item, *looks) == []
        microphone.catch_up()
        told = types(await client.say())
        assert sorted(told) == [f"conversation.item.{kind}" for kind in ("added", "deleted", "done", "retrieved")]
        assert s.conversation.history.items == ()
        assert types(await client.say(APPEND, {"type": "session.update", "session": {}})) == ["session.updated"]


async def test_a_response_is_given_by_the_settings_that_were_sent_before_it():
    async with scene(answers=("Yes.",)) as s:
        microphone = FakeMicrophone()
        client = Client(s, Sound(plays=False, travels=True), microphone)
        change = {"type": "session.update", "session": {"instructions": "B"}}
        item = {"type": "conversation.item.create", "item": HELLO}
        await client.say(APPEND, item, CREATE, change, {"type": "output_audio_buffer.clear"})
        microphone.catch_up()
        await client.say()
        assert s.llm.requests[0].messages[0].content == "Be kind."
        assert s.conversation.settings.instructions == "B"


@pytest.mark.parametrize("waits", [False, True])
async def test_a_response_that_is_cancelled_before_it_could_begin_is_told(waits):
    """``waits``: sound that was sent before has not been heard yet, either."""
    async with scene("what is the time", settings=ConversationSettings(turn=TurnSettings(TurnMode.MANUAL))) as s:
        microphone = FakeMicrophone()
        client = Client(s, Sound(plays=False, travels=True), microphone)
        await s.say(1.0)
        s.stt.gate.clear()
        wish = {**CREATE, "response": {"metadata": {"client_event_id": "e7"}}}
        sent = await client.say(*[APPEND] * waits, {"type": "input_audio_buffer.commit"}, wish)
        assert ended(sent) == []
        sent = await client.say({"type": "response.cancel"})
        microphone.catch_up()
        sent += await client.say()
        s.stt.gate.set()
        await s.hush(1.0)
        sent += await client.say()
        created = next(event["response"] for event in sent if event["type"] == "response.created")
        assert created["metadata"] == {"client_event_id": "e7"}
        assert ended(sent) == [("cancelled", {"client_event_id": "e7"})]
        assert not codes(sent) and not s.llm.requests


async def announced(client: Client, sent: list[dict[str, Any]]) -> None:
    """Every item that was announced can be looked at, stands in front of another, and can be deleted."""
    items = [event["item"]["id"] for event in sent if event["type"] == "conversation.item.added"]
    assert items
    for item in items:
        behind = {"type": "conversation.item.create", "previous_item_id": item, "item": HELLO}
        told = await client.say({"type": "conversation.item.retrieve", "item_id": item}, behind)
        assert types(told) == [f"conversation.item.{kind}" for kind in ("retrieved", "added", "done")]
        assert told[1]["previous_item_id"] == item
        told = await client.say({"type": "conversation.item.delete", "item_id": item})
        assert types(told) == ["conversation.item.deleted"]


async def test_a_turn_without_words_is_an_item():
    async with scene("") as s:
        client = Client(s)
        await s.say(1.0)
        await s.hush(2.0)
        await announced(client, await client.say())


async def test_the_empty_turn_of_who_says_nothing_is_an_item():
    turn = TurnSettings(TurnMode.SERVER_VAD, silence_seconds=0.5, idle_seconds=2.0)
    async with scene("hello there", answers=("Hi.", "Hm?"), settings=ConversationSettings(turn=turn)) as s:
        client = Client(s)
        await s.say(1.0)
        await s.hush(1.0)
        s.out.playouts[0].play(60)
        await s.hush(3.0)
        sent = await client.say()
        s.out.playouts[-1].play(60)
        sent += await client.say()
        assert "input_audio_buffer.timeout_triggered" in types(sent)
        await announced(client, sent)


@pytest.mark.parametrize("modality", ["audio", "text"])
async def test_a_response_that_fails_before_its_first_word_is_an_item(modality):
    async with scene(answers=(LLMError("llm_failed", "no"),)) as s:
        client = Client(s)
        sent = await client.say({**CREATE, "response": {"output_modalities": [modality]}})
        assert ended(sent) == [("failed", None)]
        for playout in s.out.playouts:
            playout.play(60)
        await client.say()
        await announced(client, sent)


async def test_an_item_never_stands_behind_itself():
    async with scene(answers=("Hi there.",)) as s:
        client = Client(s)
        s.llm.gate.clear()
        items = [{"type": "conversation.item.create", "item": {**HELLO, "id": name}} for name in ("first", "second")]
        await client.say(*items, CREATE)
        await client.say({"type": "conversation.item.delete", "item_id": "second"})
        s.llm.gate.set()
        sent = await client.say()
        previous = [event["previous_item_id"] for event in sent if event["type"] == "conversation.item.added"]
        assert previous == ["first"]


async def two_responses(s: Scene, client: Client) -> list[str]:
    """The items of one that is being heard, and of one that waits behind it."""
    sent = await client.say(CREATE)
    s.out.playouts[0].play(0.5)
    sent += await client.say(CREATE)
    return [event["item"]["id"] for event in sent if event["type"] == "response.output_item.added"]


@pytest.mark.parametrize("how", ["delete", "truncate", "cancel"])
async def test_who_gives_up_a_response_that_waits_goes_on_hearing_the_one_before(how):
    async with scene(answers=("One two three four five six.", "Seven eight nine.")) as s:
        client = Client(s)
        heard, waits = await two_responses(s, client)
        event = {"type": f"conversation.item.{how}", "item_id": waits}
        if how == "truncate":
            event["audio_end_ms"] = 0
        if how == "cancel":
            event = {"type": "response.cancel", "response_id": s.conversation.responses.current.id}
        told = types(await client.say(event))
        assert "output_audio_buffer.cleared" not in told
        assert s.conversation.responses.gives(heard) and not s.conversation.responses.gives(waits)
        assert ("assistant", "One two three four five six.") in s.remembered


async def test_what_waits_is_heard_when_the_response_before_it_is_given_up():
    async with scene(answers=("One two three four five six.", "Seven eight nine.")) as s:
        client = Client(s)
        heard, waits = await two_responses(s, client)
        await client.say({"type": "conversation.item.truncate", "item_id": heard, "audio_end_ms": 200})
        s.out.playouts[1].play(0.5)
        assert s.conversation.responses.heard and s.conversation.responses.gives(waits)


async def test_an_answer_that_was_prepared_before_a_truncation_is_prepared_anew():
    answers = ("One two three four five six seven eight nine ten.", "Fine.", "Fine too.")
    async with scene("tell me a story", "stop now please", answers=answers) as s:
        client = Client(s)
        await s.say(1.0)
        await s.hush(2.0)
        item = s.conversation.history.items[1].id
        s.out.playouts[0].play(1.6)
        await s.say(1.2)
        await s.hush(0.12)
        assert len(s.llm.requests) == 2, "it is being prepared"
        await client.say({"type": "conversation.item.truncate", "item_id": item, "audio_end_ms": 500})
        await s.hush(2.0)
        assert s.remembered[1] == ("assistant", "One two")
        assert s.llm.requests[-1].messages[2].content == "One two —"


async def test_on_a_socket_a_response_that_is_done_is_not_cancelled():
    async with scene(answers=("One two three four five six.", "Seven eight nine.")) as s:
        client = Client(s, Sound(plays=False, travels=True))
        sent = await client.say({"type": "conversation.item.create", "item": HELLO}, CREATE)
        s.out.playouts[0].play(0.5)
        sent += [*client.dialect.sound_ended(), *await client.say()]
        assert ended(sent) == [("completed", None)]
        (response,) = [event["response"]["id"] for event in sent if event["type"] == "response.done"]
        for which in ({}, {"response_id": response}):
            assert codes(await client.say({"type": "response.cancel", **which})) == ["response_cancel_not_active"]
        assert s.remembered[-1] == ("assistant", "One two three four five six.")
        await client.say(CREATE)
        sent = await client.say({"type": "response.cancel"})
        assert ended(sent) == [("cancelled", None)], "of this one sound is still to come"
        assert ("assistant", "One two three four five six.") in s.remembered, "that one its client plays"


@pytest.mark.parametrize("between", [[], [{"type": "input_audio_buffer.commit"}]])
async def test_sound_behind_a_change_of_its_format_is_in_the_new_one(between):
    """Also where the change waits for an event before it, and sound does not."""
    heard: list[tuple[int, int]] = []

    class Microphone(FakeMicrophone):
        def hear(self, samples: Samples, rate: int) -> None:
            heard.append((len(samples), rate))
            super().hear(samples, rate)

    def sound(data: bytes) -> dict[str, Any]:
        return {"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}

    def change(kind: str) -> dict[str, Any]:
        audio = {"input": {"format": {"type": kind, **({"rate": 24000} if kind == "audio/pcm" else {})}}}
        return {"type": "session.update", "session": {"type": "realtime", "audio": audio}}

    async with scene() as s:
        microphone = Microphone()
        client = Client(s, Sound(plays=False, travels=True), microphone)
        late = (change("audio/pcmu"), sound(bytes(800)), change("audio/pcm"), sound(bytes(480)))
        await client.say(sound(bytes(4800)), *between, *late)
        microphone.catch_up()
        await client.say(sound(bytes(480)))
        assert heard == [(2400, 24000), (800, 8000), (240, 24000), (240, 24000)]


@pytest.mark.parametrize("size", [LARGEST_EVENT + 1, 2_000_000])
async def test_an_event_can_be_too_large(size):
    async with scene() as s:
        assert codes(await Client(s).say("x" * size)) == ["event_too_large"]


async def play(seed: int) -> None:
    async with scene(*["hello"] * 30, answers=("Yes.",) * 500) as s:
        client = Client(s)
        for message in hostile_messages(seed, 40):
            sent = await client.say(message)
            idle = b"output_audio_buffer.clear" in (message if isinstance(message, bytes) else message.encode())
            assert sent or idle, message  # an effect that is told, or a refusal
            assert codes(sent).count("internal_error") == 0
            for event in sent:
                assert all(len(text.encode()) <= 65_536 for text in messages(event, 65_536))
        await client.say({"type": "session.update", "session": {"output_modalities": ["text"]}})
        sent = await client.say({"type": "conversation.item.create", "item": HELLO}, {"type": "response.create"})
        assert next(event["response"]["status"] for event in sent if event["type"] == "response.done") == "completed"


@given(st.integers(0, 1 << 32))
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_client_sends_is_answered_and_the_conversation_goes_on(seed):
    asyncio.run(play(seed))
