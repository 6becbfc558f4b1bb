"""What the assistant does by itself: it greets, speaks up once, and gives up waiting."""

from __future__ import annotations

import pytest

from pipelines.assistant.events import SessionOver
from pipelines.assistant.manners import LOOK_SECONDS, Manners
from pipelines.assistant.session import FirstSettings
from pipelines.errors import PipelineError
from pipelines.routing.definition import SHIPPED, load
from pipelines.voice.events import (
    ResponseAudioStarted,
    ResponseGenerated,
    ResponseInterrupted,
    ResponseStarted,
    SpeechDropped,
    SpeechStarted,
    UserTurn,
)
from pipelines.voice.history import Item
from pipelines.voice.settings import ConversationSettings
from pipelines.voice.turn import TurnMode, TurnSettings
from server.engines.manners import MannersSet, manners_of, persona_of
from tests.fakes.engines import FakeModel, FakeRecognizer
from tests.fakes.memory_transport import call


def first(**manners: object) -> FirstSettings:
    return FirstSettings(manners=Manners(**manners))


async def test_it_greets_first_and_word_for_word():
    model = FakeModel()
    async with call(first(greeting="Hello, I am 1 assistant."), llm=model) as line:
        await line.hush(3.0, until=ResponseGenerated)
        assert line.named(ResponseGenerated)[0].text == "Hello, I am 1 assistant."
        assert model.requests == [], "nobody was asked"
        await line.hush(2.0)
        assert line.loud_seconds > 0.5
        (item,) = line.session.conversation.history.items
        assert (item.role, item.text) == ("assistant", "Hello, I am 1 assistant.")


async def test_a_greeting_can_be_interrupted():
    async with call(first(greeting="One two three four five six seven eight nine ten.")) as line:
        await line.hush(3.0, until=ResponseAudioStarted)
        await line.hush(0.5)
        await line.say(2.0, until=ResponseInterrupted)
        assert line.named(ResponseInterrupted)[0].heard.startswith("One")


async def test_who_only_has_speech_written_down_is_not_greeted():
    settings = FirstSettings(ConversationSettings(listens_only=True), manners=Manners(greeting="Hello."))
    async with call(settings) as line:
        await line.hush(1.0)
        assert not line.named(ResponseStarted)


async def test_it_speaks_up_once_until_the_user_says_something():
    async with call(first(idle_prompt_seconds=2.0, idle_prompt="Still there?")) as line:
        await line.hush(6.0)
        assert [event.text for event in line.named(ResponseGenerated)] == ["Still there?"]
        line.forget()
        await line.hush(4.0)
        assert not line.named(ResponseStarted), "it has been said"
        line.session.conversation.add(Item("typed", "user", "Yes."))
        await line.hush(4.0, until=ResponseGenerated)
        assert [event.text for event in line.named(ResponseGenerated)] == ["Still there?"]


async def test_without_words_of_its_own_the_model_is_told_of_the_silence():
    model = FakeModel("Hm?")
    async with call(first(idle_prompt_seconds=2.0), llm=model) as line:
        await line.hush(4.0, until=ResponseGenerated)
        assert "has been silent for 2 seconds" in model.requests[0].messages[-1].content


async def test_it_does_not_speak_up_while_it_finds_out_what_was_said():
    stt, model = FakeRecognizer("what is the time"), FakeModel("Noon.")
    async with call(first(idle_prompt_seconds=2.0, idle_prompt="Still there?"), stt=stt, llm=model) as line:
        stt.gate.clear()
        await line.say(1.0)
        await line.hush(5.0)
        assert not line.named(ResponseStarted)
        stt.gate.set()
        await line.hush(1.0, until=ResponseGenerated)
        assert [event.text for event in line.named(ResponseGenerated)] == ["Noon."]


async def test_who_presses_a_button_to_speak_is_not_taken_for_silent():
    manners = Manners(idle_prompt_seconds=2.0, idle_prompt="Still there?", idle_end_minutes=0.05)
    settings = FirstSettings(ConversationSettings(turn=TurnSettings(TurnMode.MANUAL)), manners=manners)
    async with call(settings) as line:
        await line.say(5.0)
        assert not line.named(ResponseStarted, SessionOver)
        await line.hush(5.0, until=SessionOver)
        assert [event.text for event in line.named(ResponseGenerated)] == ["Still there?"]
        assert len(line.named(SessionOver)) == 1


async def test_it_gives_up_waiting_once_and_says_why():
    async with call(first(greeting="Hello.", idle_end_minutes=0.05)) as line:
        await line.hush(2.0)
        assert not line.named(SessionOver)
        await line.hush(3.0 + 2 * LOOK_SECONDS)
        assert line.named(SessionOver) == [SessionOver("nothing was said for 0.05 minutes")]


def test_settings_go_before_the_pipeline(tmp_path):
    text = (SHIPPED / "voice-assistant.yaml").read_text()
    section = "    assistant: {greeting: Hello., idle_prompt_seconds: 5, idle_prompt: 'Well?', instructions: Be Ada.}\n"
    (tmp_path / "mine.yaml").write_text(text.replace("backends:\n", section + "backends:\n"))
    pipeline = load(tmp_path / "mine.yaml").pipelines[0]
    assert manners_of(pipeline, MannersSet()) == Manners("Hello.", 5.0, "Well?")
    assert manners_of(pipeline, MannersSet(greeting="", idle_end_minutes=3.0)) == Manners("", 5.0, "Well?", 3.0)
    assert persona_of(pipeline, MannersSet()) == "Be Ada."
    assert persona_of(pipeline, MannersSet(instructions="Be Bob.")) == "Be Bob."
    usual = load(SHIPPED / "voice-assistant.yaml").pipelines[0]
    assert persona_of(usual, MannersSet()).startswith("You are visavis")
    with pytest.raises(PipelineError, match="needs idle_prompt_seconds"):
        manners_of(usual, MannersSet(idle_prompt="Well?"))


@pytest.mark.parametrize(
    ("pipeline", "section", "words"),
    [
        ("voice-assistant", "{idle_prompt: 'Well?'}", "needs idle_prompt_seconds above 0"),
        ("voice-assistant", "{greet: Hello.}", "greet"),
        ("read-aloud", "{greeting: Hello.}", "has no effect without stages of the types audio_to_text"),
    ],
)
def test_what_has_no_effect_is_refused(tmp_path, pipeline, section, words):
    lines = (SHIPPED / f"{pipeline}.yaml").read_text().splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("  - id:"))
    lines.insert(place + 1, f"    assistant: {section}")
    (tmp_path / "mine.yaml").write_text("\n".join(lines))
    with pytest.raises(PipelineError, match=words):
        load(tmp_path / "mine.yaml")


async def test_speech_that_the_client_clears_is_over():
    async with call(first(idle_end_minutes=0.05), stt=FakeRecognizer("hello there", "")) as line:
        await line.say(0.6)
        assert line.named(SpeechStarted)
        line.session.conversation.clear()
        await line.hush(8.0, until=SessionOver)
        (dropped,) = line.named(SpeechDropped)
        assert dropped.item_id == line.named(SpeechStarted)[0].item_id
        assert line.named(SessionOver)


async def test_noise_is_no_answer_to_an_idle_prompt():
    async with call(first(idle_prompt_seconds=2.0, idle_prompt="Still there?"), stt=FakeRecognizer()) as line:
        for _ in range(3):
            await line.hush(5.0)
            await line.say(0.6)
        await line.hush(5.0)
        assert {turn.text for turn in line.named(UserTurn)} == {""}
        assert [one.text for one in line.named(ResponseGenerated)] == ["Still there?"]
