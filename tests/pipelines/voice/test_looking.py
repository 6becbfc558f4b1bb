"""A model that looks: when it is offered the tool, what it is shown, and what it is told when there is nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import cv2
import numpy as np
import pytest

from pipelines.interfaces.llm import ChatRequest, Cut, Image, Message, Piece, Tool, ToolCall
from pipelines.routing.routes.llm import FallbackModel
from pipelines.vision.images import snapshot
from pipelines.voice.history import KEPT_IMAGES, History, Item
from pipelines.voice.visual_context import LookingModel, Sight, Source, look_tool
from tests.fakes.engines import FakeModel

CAMERA, SCREEN = Image(b"camera"), Image(b"screen")
QUESTION = ChatRequest((Message("system", "Be kind."), Message("user", "What colour is my shirt?")), scene="one person")


class Seer:
    """Takes pictures; answers with the next of ``answers``, a list of pieces each."""

    name = "seer"
    takes_images = True

    def __init__(self, *answers: list[Piece], tools: bool = True, images: bool = True) -> None:
        self.answers = list(answers)
        self.takes_tools, self.takes_images = tools, images
        self.requests: list[ChatRequest] = []

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Piece, None]:
        self.requests.append(request)
        for piece in self.answers.pop(0):
            yield piece

    async def close(self) -> None:
        pass


def sight(*sources: Source, always: bool = False, shows: bool = True) -> Sight:
    async def picture(source: Source) -> Image | None:
        return {"camera": CAMERA, "screen": SCREEN}[source] if shows else None

    return Sight(sources=lambda: sources, always=lambda: always, picture=picture)


def look(arguments: str = '{"source": "camera"}', id: str = "c1") -> ToolCall:
    return ToolCall(id, "look", arguments)


async def ask(model: Seer, sight: Sight, request: ChatRequest = QUESTION) -> list[Piece]:
    return [piece async for piece in LookingModel(model, sight).stream(request)]


async def test_the_model_looks_and_answers() -> None:
    model = Seer(["Let me look. ", look()], ["It is blue."])
    assert await ask(model, sight("camera")) == ["Let me look. ", "It is blue."]
    first, second = model.requests
    assert first.tools == (look_tool(("camera",)),)
    call, result, shown = second.messages[-3:]
    assert call == Message("assistant", "Let me look. ", (look(),))
    assert result == Message("tool", "the picture follows", tool_call_id="c1")
    assert (shown.role, shown.images) == ("user", (CAMERA,))
    assert second.scene == "one person"


async def test_camera_and_screen_can_be_looked_at_in_one_breath() -> None:
    model = Seer([look(), look('{"source": "screen"}', "c2")], ["Both."])
    await ask(model, sight("camera", "screen"))
    assert model.requests[1].messages[-1].images == (CAMERA, SCREEN)
    assert [message.role for message in model.requests[1].messages[-4:]] == ["assistant", "tool", "tool", "user"]


@pytest.mark.parametrize("arguments", ['{"source": "moon"}', "[]", "not JSON"])
async def test_a_wrong_source_is_answered_with_the_legal_ones(arguments: str) -> None:
    model = Seer([look(arguments)], ["Sorry."])
    assert await ask(model, sight("camera")) == ["Sorry."]
    assert model.requests[1].messages[-1].content == "source must be camera, screen"


async def test_a_camera_that_shows_nothing_is_told() -> None:
    model = Seer([look("")], ["I see nothing."])
    await ask(model, sight("camera", shows=False))
    assert model.requests[1].messages[-1] == Message("tool", "the camera shows nothing at present", tool_call_id="c1")


async def test_that_an_answer_was_cut_is_told_of_the_round_that_ends_it() -> None:
    assert await ask(Seer([look(), Cut()], ["It is"]), sight("camera")) == ["It is"]
    assert await ask(Seer([look()], ["It is", Cut()]), sight("camera")) == ["It is", Cut()]


async def test_looking_comes_to_an_end() -> None:
    model = Seer([look()], [look()], ["Enough.", look()])
    assert await ask(model, sight("camera")) == ["Enough."]
    assert model.requests[2].tools == ()


async def test_without_eyes_or_pictures_nothing_is_offered() -> None:
    blind, alone = Seer(["Hm."], images=False), Seer(["Hm."])
    await ask(blind, sight("camera", always=True))
    await ask(alone, sight())
    assert blind.requests == alone.requests == [QUESTION]


async def test_other_tools_are_not_ours() -> None:
    other = ToolCall("c9", "light", "{}")
    request = ChatRequest(QUESTION.messages, tools=(Tool("light", "Switches a lamp."),))
    model = Seer([other])
    assert await ask(model, sight("camera"), request) == [other]
    assert [tool.name for tool in model.requests[0].tools] == ["light", "look"]


async def test_always_means_with_the_question() -> None:
    model = Seer(["Blue."])
    await ask(model, sight("camera", always=True))
    assert model.requests[0].messages[-1] == Message("user", "What colour is my shirt?", images=(CAMERA,))


async def test_what_the_user_shows_goes_first() -> None:
    shown = Message("user", "And this?", images=(SCREEN,))
    model = Seer(["Red."])
    await ask(model, sight("camera", always=True), ChatRequest((shown,)))
    assert model.requests[0].messages == (shown,)


@pytest.mark.parametrize(("words", "images"), [("What do you see?", (CAMERA,)), ("Tell me a joke.", ())])
async def test_a_model_without_tools_looks_when_it_is_asked_to(words: str, images: tuple[Image, ...]) -> None:
    model = Seer(["Hm."], tools=False)
    await ask(model, sight("camera"), ChatRequest((Message("user", words),)))
    assert model.requests[0].tools == ()
    assert model.requests[0].messages[-1].images == images


def test_a_ladder_sees_as_well_as_the_model_that_is_asked_next() -> None:
    seer = Seer()
    assert FallbackModel([seer, FakeModel()], lambda name, error: None).takes_images
    assert not FallbackModel([FakeModel(), seer], lambda name, error: None).takes_images


def test_pictures_of_old_messages_are_forgotten() -> None:
    history = History()
    for n in range(KEPT_IMAGES + 2):
        history.add(Item(f"u{n}", "user", f"Picture {n}", images=(Image(bytes([n])),)))
        history.add(Item(f"a{n}", "assistant", "Nice."))
    shown = [message for message in history.messages("") if message.images]
    assert [message.images[0].data[0] for message in shown] == list(range(2, KEPT_IMAGES + 2))


def test_neighbouring_messages_keep_their_pictures() -> None:
    history = History()
    history.add(Item("u1", "user", "", images=(CAMERA,)))
    history.add(Item("u2", "user", "What is it?"))
    assert history.messages("") == (Message("user", "What is it?", images=(CAMERA,)),)


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (1, 1), (4000, 10)])
def test_a_snapshot_is_a_jpeg_of_at_most_768_pixels(size: tuple[int, int]) -> None:
    image = snapshot(np.full((*size, 3), (200, 40, 10), np.uint8))
    pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert max(pixels.shape) <= 768
    assert np.abs(pixels[0, 0].astype(int) - (200, 40, 10)).max() < 8
