"""Pictures to OpenAI-compatible servers: sent as data URIs, left out where they are refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from pipelines.engines.llm.messages import UNSEEN
from pipelines.engines.llm.openai.client import ChatOptions, OpenAIChat
from pipelines.engines.llm.openai.options import known_to_see
from pipelines.interfaces.llm import ChatRequest, Image, Message, Tool
from tests.fakes.openai_server import DONE, answer, delta, failure, serving, started

JPEG = Image(b"\xff\xd8 not really")
SHOWN = ChatRequest((Message("user", "What is this?", images=(JPEG,)),), scene="one person")
TOOL = Tool("look", "Looks.")


class Server:
    """Answers with ``Yes.``, or refuses pictures or tools; keeps what it was asked."""

    def __init__(self, *refused: str, words: str = "this model does not support {}", status: int = 400) -> None:
        self.refused, self.words, self.status = refused, words, status
        self.asked: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        images = any(isinstance(message["content"], list) for message in body["messages"])
        for name, there in (("image input", images), ("tools", "tools" in body)):
            if there and name in self.refused:
                return web.json_response({"error": {"message": self.words.format(name)}}, status=self.status)
        response = await started(request)
        await response.write(delta(content="Yes.") + DONE)
        return response

    @property
    def contents(self) -> list[Any]:
        return [body["messages"][-1]["content"] for body in self.asked]


def parts() -> list[dict[str, Any]]:
    uri = "data:image/jpeg;base64," + base64.b64encode(JPEG.data).decode()
    text = {"type": "text", "text": "What is this?\n[Camera: one person]"}
    return [text, {"type": "image_url", "image_url": {"url": uri}}]


async def ask(server: Server, images: bool | None, *requests: ChatRequest, name: str = "tiny") -> OpenAIChat:
    async with serving(server.handle) as url:
        model = OpenAIChat(url, name, options=ChatOptions(images=images))
        try:
            for request in requests:
                assert await answer(model, request) == "Yes."
        finally:
            await model.close()
    return model


async def test_a_picture_is_sent_as_a_data_uri() -> None:
    server = Server()
    assert (await ask(server, True, SHOWN)).takes_images
    assert server.contents == [parts()]


async def test_a_model_that_takes_none_gets_the_words() -> None:
    server = Server()
    assert not (await ask(server, None, SHOWN)).takes_images
    assert server.contents == [f"What is this?\n[Camera: one person]\n{UNSEEN}"]


async def test_a_name_that_promises_too_much_is_believed_once() -> None:
    server = Server("image input")
    model = await ask(server, None, SHOWN, SHOWN, name="llava:7b")
    assert not model.takes_images
    assert [isinstance(content, list) for content in server.contents] == [True, False, False]


async def test_what_was_set_is_not_second_guessed() -> None:
    server = Server("image input")
    async with serving(server.handle) as url:
        model = OpenAIChat(url, "tiny", options=ChatOptions(images=True))
        assert "does not support image input" in (await failure(model, SHOWN)).message
        await model.close()
    assert len(server.asked) == 1


async def test_refused_tools_are_left_out_and_pictures_stay() -> None:
    server = Server("tools")
    model = await ask(server, None, replace(SHOWN, tools=(TOOL,)), name="llava:7b")
    assert model.takes_images
    assert not model.takes_tools
    assert server.contents == [parts(), parts()]


async def test_other_refusals_are_failures() -> None:
    server = Server("image input", status=401)
    async with serving(server.handle) as url:
        model = OpenAIChat(url, "llava:7b")
        with pytest.raises(Exception, match="401"):
            await answer(model, SHOWN)
        await model.close()
        assert model.takes_images
    async with serving(Server().handle) as url:
        nothing = OpenAIChat(url.replace("/v1", "/v2"), "llava:7b")
        assert (await failure(nothing)).code == "llm_http_error"
        await nothing.close()


@pytest.mark.parametrize(
    "name",
    """gpt-4o-mini gpt-5.1 gemma3:4b gemma-3-12b-it llava:13b qwen2.5vl:7b Qwen/Qwen2.5-VL-7B-Instruct qwen3-vl:8b
    llama3.2-vision:11b minicpm-v:8b moondream:1.8b pixtral-12b mistral-small3.2 SmolVLM-500M-Instruct o4-mini
    claude-sonnet-5 gemini-2.5-flash llama4:scout InternVL3-8B granite3.2-vision phi-4-multimodal-instruct""".split(),
)
def test_names_of_models_that_see(name: str) -> None:
    assert known_to_see(name)


@pytest.mark.parametrize(
    "name",
    """llama3.2:3b qwen3:8b Qwen/Qwen2.5-7B-Instruct mistral:7b phi4-mini gemma2:9b gemma3:1b gemma3:270m deepseek-r1:8b
    gpt-3.5-turbo gpt-oss:20b smollm2:360m tinyllama olmo2:7b claude-instant-1 granite3.3:8b""".split(),
)
def test_names_of_models_that_do_not(name: str) -> None:
    assert not known_to_see(name)
