"""What a client may say: OpenAI Realtime client events.

An event that is not understood is answered by one ``error`` event and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from pipelines.errors import EngineBusyError
from pipelines.interfaces.llm import ToolCall, takes_choice, takes_images, takes_tools
from pipelines.vision.settings import DetectorName, VisionSettings
from pipelines.voice.conversation import Conversation
from pipelines.voice.history import FIRST, FunctionCall, FunctionResult, HistoryItem, Item, new_id
from pipelines.voice.responses import Wish
from server.dialects.openai.audio import LARGEST_AUDIO_EVENT, EventAudio, parted_event
from server.dialects.openai.fields import LONGEST_EVENT_ID, Audio
from server.dialects.openai.items import (
    FunctionCallItem,
    FunctionCallOutput,
    InputSpeech,
    ItemReference,
    Message,
    OutputSpeech,
    Picture,
)
from server.dialects.openai.models import (
    ClientEvent,
    InputAppend,
    InputClear,
    InputCommit,
    ItemCreate,
    ItemDelete,
    ItemRetrieve,
    ItemTruncate,
    OutputClear,
    ResponseCancel,
    ResponseCreate,
    ResponseOptions,
    SessionUpdate,
    events,
)
from server.dialects.openai.settings import (
    RefusedError,
    Served,
    check_priority,
    check_recording,
    merge,
    merge_response,
    refusal,
)
from server.dialects.openai.shapes import Json, error_event, item_object, server_event
from server.dialects.openai.vision import VisionPatch, merge_vision
from server.http.json_input import JsonInputError, read_json_object

LARGEST_EVENT = 256 * 1024
"""Bytes; so large a message our session description allows (``a=max-message-size``)."""


_AFTER_SOUND = (InputCommit, InputClear, ItemCreate, ResponseCreate)
"""Events that keep their place behind the sound that came before them. What stops or sets something, or asks, acts at
once, unless such events wait: then it may be about them, and keeps its place behind them."""
_AT_ONCE = (InputAppend, OutputClear)
"""Events that never wait: sound has a queue of its own, and what is said can be silenced at any time."""


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
        audio: EventAudio | None = None,
        untold: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        """``untold`` gives the ids of responses of which the client does not know yet that they are done."""
        self.event_id: str | None = None
        """Of the event that is being carried out."""
        self._conversation = conversation
        self._defaults = conversation.settings
        self._video = video
        self._served = served
        self._send = send
        self._updated = updated
        self._audio = audio or EventAudio()
        self._untold = untold
        self._waiting = 0
        """Events that wait for sound before them."""
        self._largest = LARGEST_AUDIO_EVENT if self._audio.travels else LARGEST_EVENT
        self._handlers: dict[type[ClientEvent], Callable[[Any], None]] = {
            SessionUpdate: self._update,
            ItemCreate: self._add,
            ItemRetrieve: self._item,
            ItemDelete: self._delete,
            ItemTruncate: self._truncate,
            ResponseCreate: self._respond,
            ResponseCancel: self._cancel,
            OutputClear: self._hush,
            InputAppend: self._append,
            InputCommit: self._commit,
            InputClear: self._clear,
        }

    def receive(self, message: str | bytes) -> None:
        """One message of the client."""
        self.event_id = None
        if len(message) > self._largest:  # of a text these are characters, which is near enough
            self._refuse("event_too_large", f"an event may have {self._largest} bytes")
            return
        try:
            data = parted_event(message) if self._audio.travels else read_json_object(message, "an event")
            event_id = data.get("event_id")
            self.event_id = event_id if isinstance(event_id, str) and len(event_id) <= LONGEST_EVENT_ID else None
            event = events.validate_python(data)
        except JsonInputError as error:
            self._refuse(error.code, str(error))
        except ValidationError as error:
            wrong = refusal(error, data)
            self._refuse(wrong.code, str(wrong), wrong.param)
        else:
            if isinstance(event, _AFTER_SOUND) or (self._waiting and not isinstance(event, _AT_ONCE)):
                self._put_off(event)
            else:
                self._carry_out(event)

    def _refuse(self, code: str, message: str, param: str | None = None) -> None:
        self._send(error_event(code, message, param=param, event_id=self.event_id))

    def _put_off(self, event: ClientEvent) -> None:
        """Carry it out when the sound before it has been heard."""
        given = event.session.audio if isinstance(event, SessionUpdate) else None
        changed = self._audio.expect(given.input if given is not None else None)
        self._waiting += 1

        def later() -> None:
            self._waiting -= 1
            changed()
            self._carry_out(event)

        self._audio.then(later)

    def _carry_out(self, event: ClientEvent) -> None:
        self.event_id = event.event_id
        try:
            self._handlers[type(event)](event)
        except RefusedError as error:
            self._refuse(error.code, str(error), error.param)

    def _item(self, event: ItemRetrieve) -> None:
        item = self._find(event.item_id, "item_retrieve_invalid_item_id")
        self._send(server_event("conversation.item.retrieved", item=item_object(item)))

    def _delete(self, event: ItemDelete) -> None:
        self._conversation.remove(self._find(event.item_id, "item_delete_invalid_item_id").id)

    def _truncate(self, event: ItemTruncate) -> None:
        item = self._find(event.item_id, "item_truncate_invalid_item_id")
        heard = None if event.audio_end_ms is None else event.audio_end_ms / 1000
        if not self._conversation.responses.truncate(item.id, heard):
            message = "item_id: only what the assistant has spoken can be truncated"
            raise RefusedError("item_id", message, "item_truncate_invalid_item_id")

    def _cancel(self, event: ResponseCancel) -> None:
        # a client that plays what it was sent silences itself, and tells how much of it was heard
        responses = self._conversation.responses
        among = None if self._served.plays else (*self._untold(), *responses.unfinished)
        if not self._conversation.cancel(event.response_id, among):
            message = "there is no such response to cancel"
            raise RefusedError("response_id", message, "response_cancel_not_active")

    def _hush(self, event: OutputClear) -> None:
        self._conversation.responses.interrupt("client_cancelled")

    def _append(self, event: InputAppend) -> None:
        def refuse(error: RefusedError) -> None:
            self._send(error_event(error.code, str(error), param=error.param, event_id=event.event_id))

        self._audio.hear(event.audio, refuse)

    def _commit(self, event: InputCommit) -> None:
        if not self._conversation.commit():
            self._refuse("input_audio_buffer_commit_empty", "nobody has spoken: there is no audio to commit")

    def _clear(self, event: InputClear) -> None:
        self._conversation.clear()
        self._send(server_event("input_audio_buffer.cleared"))

    def _find(self, item_id: str, code: str) -> HistoryItem:
        item = self._conversation.history.find(item_id)
        if item is None:
            raise RefusedError("item_id", f"item_id: there is no item {item_id!r}", code)
        return item

    def _respond(self, event: ResponseCreate) -> None:
        conversation, options = self._conversation, event.response or ResponseOptions()
        if conversation.settings.listens_only:
            message = 'a transcription session answers nothing; session.type "realtime" makes it one that does'
            raise RefusedError("type", message, "response_not_allowed")
        output = options.audio.output if options.audio is not None else None
        if self._audio.formats_with(None, output, "response") != self._audio.formats:
            message = f"the session speaks {self._audio.formats.output}: change its format instead"
            raise RefusedError("response.audio.output.format", message)
        aside = options.conversation == "none"
        if conversation.answering and not aside:
            message = "a response is being generated; wait for response.done, or cancel it"
            raise RefusedError("response", message, "conversation_already_has_active_response")
        if conversation.responses.is_full:
            message = "too many responses wait to be heard already: wait for output_audio_buffer.stopped, or cancel"
            raise RefusedError("response", message, "too_many_responses")
        settings = None
        if event.response is not None:
            settings = merge_response(conversation.settings, self._defaults, options, self._served)
        items = None
        if options.input is not None:
            items = [self._item_of(item, f"response.input.{n}") for n, item in enumerate(options.input)]
        try:
            conversation.respond(Wish(settings, options.metadata or {}, items, aside))
        except EngineBusyError as error:
            raise RefusedError("response.conversation", error.message, error.code) from error

    def _item_of(
        self, given: Message | FunctionCallItem | FunctionCallOutput | ItemReference, path: str
    ) -> HistoryItem:
        """What stands at ``path``, as the conversation knows items."""
        match given:
            case ItemReference():
                item = self._conversation.history.find(given.id)
                if item is None:
                    raise RefusedError(f"{path}.id", f"{path}.id: there is no item {given.id!r}")
                return item
            case Message():
                return self._message(given, path)
            case FunctionCallItem():
                call = ToolCall(given.call_id, given.name, given.arguments)
                return FunctionCall(given.id or new_id("item"), call)
            case FunctionCallOutput():
                return FunctionResult(given.id or new_id("item"), given.call_id, given.output)

    def _message(self, given: Message, path: str) -> Item:
        """A picture for a model that takes none is told, and only the words are kept."""
        parts = given.content
        text = "\n".join(part.words for part in parts if not isinstance(part, Picture))
        images = tuple(part.image_url for part in parts if isinstance(part, Picture))
        llm = self._conversation.llm
        if images and not takes_images(llm):
            message = (
                f"{llm.name} takes no pictures (chat_images: true says that a model server's does); "
                f"{'the words are kept' if text else 'nothing was added'}"
            )
            self._refuse("images_not_taken", message, f"{path}.content")
            images = ()
        spoken = any(isinstance(part, InputSpeech | OutputSpeech) for part in parts)
        return Item(given.id or new_id("item"), given.role, text, images=images, spoken=spoken)

    def _add(self, event: ItemCreate) -> None:
        given, after = event.item, event.previous_item_id
        history = self._conversation.history
        if given.id is not None and (history.find(given.id) or given.id == FIRST):
            raise RefusedError("item.id", f"item.id: there is an item {given.id!r} already")
        if after not in (None, FIRST) and history.find(after or "") is None:
            message = f'previous_item_id: there is no item {after!r}; "{FIRST}" is the place before the first'
            raise RefusedError("previous_item_id", message)
        if isinstance(given, FunctionCallOutput) and not self._has_call(given.call_id):
            raise RefusedError("item.call_id", f"item.call_id: nothing was called as {given.call_id!r}")
        item = self._item_of(given, "item")
        if not isinstance(item, Item) or item.text or item.images:
            self._conversation.add(item, after)

    def _has_call(self, call_id: str) -> bool:
        items = self._conversation.history.items
        return any(isinstance(item, FunctionCall) and item.call.id == call_id for item in items)

    def _update(self, event: SessionUpdate) -> None:
        check_recording(event.session, self._served.recording)
        check_priority(event.session, self._served.priority)
        given = event.session.audio or Audio()
        formats = self._audio.formats_with(given.input, given.output, "session")
        settings = merge(self._conversation.settings, self._defaults, event.session, self._served)
        if settings.tool_choice not in ("auto", "none") and not takes_choice(self._conversation.llm):
            message = f"{self._conversation.llm.name} cannot be made to call a function; legal values are auto and none"
            raise RefusedError("session.tool_choice", message, "tool_choice_unsupported")
        self._audio.formats = formats
        self._conversation.configure(settings)
        if event.session.tools and not takes_tools(self._conversation.llm):
            message = f"{self._conversation.llm.name} calls no functions: it answers without them"
            self._refuse("tools_not_taken", message, "session.tools")
        if event.session.vision is not None:
            self._update_vision(event.session.vision, event.event_id)
        if event.session.recording is not None and self._served.recording is not None:
            enabled, video = self._served.recording.wanted
            wish = event.session.recording
            enabled, video = [
                old if new is None else new for new, old in ((wish.enabled, enabled), (wish.video, video))
            ]
            self._served.recording.want(enabled, video)
        self._updated()

    def _update_vision(self, patch: VisionPatch, event_id: str | None) -> None:
        """Report unavailable detectors as ``error`` events; apply the other settings."""
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
