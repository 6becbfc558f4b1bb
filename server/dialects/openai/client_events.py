"""What a client may say on the data channel: OpenAI Realtime client events, the part served today.

An event that is not understood is answered by one ``error`` event and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from pipelines.vision.settings import DetectorName, VisionSettings
from pipelines.voice.conversation import Conversation
from pipelines.voice.events import FIRST
from pipelines.voice.history import Item
from pipelines.voice.responses import new_id
from server.dialects.openai.models import (
    LONGEST_EVENT_ID,
    ClientEvent,
    InputClear,
    InputCommit,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    OutputClear,
    Picture,
    ResponseCancel,
    ResponseCreate,
    SessionUpdate,
    events,
)
from server.dialects.openai.settings import RefusedError, Served, merge, merge_response, refusal
from server.dialects.openai.shapes import Json, error_event, item_object, server_event
from server.dialects.openai.vision import VisionPatch, merge_vision
from server.http.json_input import JsonInputError, read_json_object

LARGEST_EVENT = 256 * 1024
"""Bytes; so large a message our session description allows (``a=max-message-size``)."""


class Video(Protocol):
    """How the session is seen."""

    @property
    def settings(self) -> VisionSettings:
        """As it is."""
        ...

    @property
    def unavailable(self) -> Mapping[DetectorName, str]:
        """Why detectors cannot be used."""
        ...

    def configure(self, settings: VisionSettings) -> None:
        """Change it, at once."""
        ...


class RealtimeClient:
    """Carries out one client's events on its conversation; answers go to ``send``, and ``updated`` is called when
    settings have changed."""

    def __init__(
        self,
        conversation: Conversation,
        video: Video,
        served: Served,
        send: Callable[[Json], None],
        updated: Callable[[], None],
    ) -> None:
        self.event_id: str | None = None
        """Of the event that is being carried out."""
        self._conversation = conversation
        self._defaults = conversation.settings
        self._video = video
        self._served = served
        self._send = send
        self._updated = updated
        self._handlers: dict[type[ClientEvent], Callable[[Any], None]] = {
            SessionUpdate: self._update,
            ItemCreate: self._add,
            ItemRetrieve: self._item,
            ItemDelete: self._delete,
            ItemTruncate: self._truncate,
            ResponseCreate: self._respond,
            ResponseCancel: self._cancel,
            OutputClear: self._hush,
            InputCommit: self._commit,
            InputClear: self._clear,
        }

    def receive(self, message: str | bytes) -> None:
        """One message of the data channel."""
        self.event_id = None
        if len(message) > LARGEST_EVENT:  # of a text these are characters, which is near enough
            self._refuse("event_too_large", f"an event may have {LARGEST_EVENT} bytes")
            return
        try:
            data = read_json_object(message, "an event")
            event_id = data.get("event_id")
            self.event_id = event_id if isinstance(event_id, str) and len(event_id) <= LONGEST_EVENT_ID else None
            event = events.validate_python(data)
        except JsonInputError as error:
            self._refuse(error.code, str(error))
        except ValidationError as error:
            wrong = refusal(error, data)
            self._refuse(wrong.code, str(wrong), wrong.param)
        else:
            try:
                self._carry_out(event)
            except RefusedError as error:
                self._refuse(error.code, str(error), error.param)

    def _refuse(self, code: str, message: str, param: str | None = None) -> None:
        self._send(error_event(code, message, param=param, event_id=self.event_id))

    def _carry_out(self, event: ClientEvent) -> None:
        self._handlers[type(event)](event)

    def _item(self, event: ItemRetrieve) -> None:
        item = self._find(event.item_id, "item_retrieve_invalid_item_id")
        self._send(server_event("conversation.item.retrieved", item=item_object(item)))

    def _delete(self, event: ItemDelete) -> None:
        self._conversation.remove(self._find(event.item_id, "item_delete_invalid_item_id").id)

    def _truncate(self, event: ItemTruncate) -> None:
        current = self._conversation.responses.current
        if current is None or current.item_id != event.item_id:
            message = "item_id: only the answer that is being given can be cut off"
            raise RefusedError("item_id", message, "item_truncate_invalid_item_id")
        self._hush(event)

    def _cancel(self, event: ResponseCancel) -> None:
        current = self._conversation.responses.current
        if current is None or event.response_id not in (None, current.id):
            message = "there is no such response to cancel"
            raise RefusedError("response_id", message, "response_cancel_not_active")
        self._hush(event)

    def _hush(self, event: OutputClear | ResponseCancel | ItemTruncate) -> None:
        self._conversation.responses.interrupt("client_cancelled")

    def _commit(self, event: InputCommit) -> None:
        if not self._conversation.commit():
            self._refuse("input_audio_buffer_commit_empty", "nobody has spoken: there is no audio to commit")

    def _clear(self, event: InputClear) -> None:
        self._conversation.clear()
        self._send(server_event("input_audio_buffer.cleared"))

    def _find(self, item_id: str, code: str) -> Item:
        item = self._conversation.history.find(item_id)
        if item is None:
            raise RefusedError("item_id", f"item_id: there is no item {item_id!r}", code)
        return item

    def _respond(self, event: ResponseCreate) -> None:
        if event.response is None:
            self._conversation.respond()
            return
        settings = merge_response(self._conversation.settings, self._defaults, event.response, self._served)
        self._conversation.respond(settings, event.response.metadata)

    def _add(self, event: ItemCreate) -> None:
        """A picture for a model that takes none is told, and only the words are kept."""
        item, after = event.item, event.previous_item_id
        history = self._conversation.history
        if item.id is not None and (history.find(item.id) or item.id == FIRST):
            raise RefusedError("item.id", f"item.id: there is an item {item.id!r} already")
        if after not in (None, FIRST) and history.find(after or "") is None:
            message = f'previous_item_id: there is no item {after!r}; "{FIRST}" is the place before the first'
            raise RefusedError("previous_item_id", message)
        parts = item.content
        text = "\n".join(part.words for part in parts if not isinstance(part, Picture))
        images = tuple(part.image_url for part in parts if isinstance(part, Picture))
        if images and not self._conversation.sees:
            message = (
                f"{self._conversation.thinker} takes no pictures (chat_images: true says that a model server's does); "
                f"{'the words are kept' if text else 'nothing was added'}"
            )
            self._refuse("images_not_taken", message, "item.content")
            images = ()
        if text or images:
            self._conversation.add(Item(item.id or new_id("item"), item.role, text, images=images), after)

    def _update(self, event: SessionUpdate) -> None:
        settings = merge(self._conversation.settings, self._defaults, event.session, self._served)
        self._conversation.configure(settings)
        if event.session.vision is not None:
            self._update_vision(event.session.vision, event.event_id)
        self._updated()

    def _update_vision(self, patch: VisionPatch, event_id: str | None) -> None:
        """What cannot be had is told; the rest is done."""
        if patch.codec is not None:
            message = "the codec is agreed on when the session begins: give it with the offer"
            param = "session.vision.codec"
            self._send(error_event("invalid_value", message, param=param, event_id=event_id))
        missing = [name for name in patch.detectors if name in self._video.unavailable]
        if missing:
            message = "; ".join(f"{name} cannot be used: {self._video.unavailable[name]}" for name in missing)
            param = "session.vision.detectors"
            self._send(error_event("detector_unavailable", message, param=param, event_id=event_id))
        settings = merge_vision(self._video.settings, patch)
        if settings.background.kind != "keep" and "segmentation" in self._video.unavailable:
            message = f"a background needs segmentation: {self._video.unavailable['segmentation']}"
            param = "session.vision.background.kind"
            self._send(error_event("detector_unavailable", message, param=param, event_id=event_id))
            settings = replace(settings, background=replace(settings.background, kind="keep"))
        self._video.configure(settings)
