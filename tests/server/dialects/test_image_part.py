"""Pictures in messages of the client."""

from __future__ import annotations

import base64
import json
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from pipelines.interfaces.llm import takes_images
from pipelines.vision.settings import VisionSettings
from pipelines.voice.conversation import Conversation
from pipelines.voice.responses import Surroundings
from pipelines.voice.settings import ConversationSettings, VoiceEngines
from server.dialects.openai.client_events import RealtimeClient
from server.dialects.openai.items import LONGEST_SIDE, read_image
from server.dialects.openai.server_events import RealtimeEvents
from tests.fakes.clock import FakeClock
from tests.fakes.engines import FakeModel, FakeRecognizer, FakeVoice, LoudnessVad


def uri(kind: str = "jpg", width: int = 40, height: int = 30) -> str:
    data = cv2.imencode(f".{kind}", np.full((height, width, 3), 90, np.uint8))[1].tobytes()
    return f"data:image/{'jpeg' if kind == 'jpg' else kind};base64,{base64.b64encode(data).decode()}"


class Video:
    settings = VisionSettings()
    unavailable: ClassVar[dict[str, str]] = {}

    def configure(self, settings: VisionSettings) -> None:
        pass


class Client:
    """A client on a conversation whose model takes pictures or not."""

    def __init__(self, sees: bool) -> None:
        self.sent: list[dict[str, Any]] = []
        model = FakeModel()
        model.takes_images = sees  # type: ignore[attr-defined]
        events = RealtimeEvents()
        engines = VoiceEngines(LoudnessVad(), FakeRecognizer(), model, FakeVoice())
        emit = lambda event: self.sent.extend(events.translate(event))  # noqa: E731
        self.conversation = Conversation(Surroundings(engines, None, emit, FakeClock()), ConversationSettings())
        self._client = RealtimeClient(self.conversation, Video(), (), self.sent.append, dict)  # type: ignore[arg-type]

    def show(self, *parts: dict[str, Any]) -> None:
        item = {"type": "message", "role": "user", "content": list(parts)}
        self._client.receive(json.dumps({"type": "conversation.item.create", "event_id": "e1", "item": item}))

    @property
    def errors(self) -> list[dict[str, Any]]:
        return [event["error"] for event in self.sent if event["type"] == "error"]


TEXT = {"type": "input_text", "text": "What is this?"}


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_size_and_kind_are_read_from_the_header(kind: str) -> None:
    image = read_image(uri(kind, LONGEST_SIDE, 3))
    assert image.kind == ("image/jpeg" if kind == "jpg" else "image/png")
    with pytest.raises(ValueError, match=f"1 to {LONGEST_SIDE} pixels a side, not 3x{LONGEST_SIDE + 1}"):
        read_image(uri(kind, 3, LONGEST_SIDE + 1))


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "https://example.org/cat.jpg",
        "data:image/jpeg;base64,",
        "data:image/jpeg;base64,***",
        "data:image/gif;base64,R0lGODdh",
        "data:text/plain;base64,aGVsbG8=",
        uri()[:60],
        "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8" + b"\xff\xe0\x00\x00" * 40).decode(),
        "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8" + b"\xff" * 400).decode(),
        "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(),
    ],
)
def test_what_is_no_picture_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match=r"data URI of a JPEG or PNG|cut off or broken"):
        read_image(broken)


def test_a_picture_becomes_part_of_the_message() -> None:
    client = Client(sees=True)
    client.show(TEXT, {"type": "input_image", "image_url": uri(), "detail": "auto"})
    (item,) = client.conversation.history.items
    assert (item.text, len(item.images)) == ("What is this?", 1)
    added = next(event for event in client.sent if event["type"] == "conversation.item.added")
    assert [part["type"] for part in added["item"]["content"]] == ["input_text", "input_image"]
    assert client.errors == []


def test_a_picture_needs_no_words() -> None:
    client = Client(sees=True)
    client.show({"type": "input_image", "image_url": uri("png")})
    assert client.conversation.history.messages("")[0].images[0].kind == "image/png"


def test_a_model_that_takes_none_gets_the_words_and_the_client_the_reason() -> None:
    client = Client(sees=False)
    assert not takes_images(FakeModel())
    client.show(TEXT, {"type": "input_image", "image_url": uri()})
    client.show({"type": "input_image", "image_url": uri()})
    assert [item.text for item in client.conversation.history.items] == ["What is this?"]
    first, second = client.errors
    assert (first["code"], first["param"], first["event_id"]) == ("images_not_taken", "item.content", "e1")
    assert first["message"].startswith("fake-llm takes no pictures")
    assert "nothing was added" in second["message"]


def test_errors_name_the_field() -> None:
    client = Client(sees=True)
    client.show(TEXT, {"type": "input_image", "image_url": "https://example.org/cat.jpg"})
    client.show({"type": "input_video", "url": "x"})
    first, second = client.errors
    assert "image_url" in first["param"]
    assert "addresses are not fetched" in first["message"]
    assert "input_text" in second["message"]
    assert "input_image" in second["message"]
    assert client.conversation.history.items == ()
