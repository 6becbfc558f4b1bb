"""The configuration of one Live session: applied to its conversation, changed, and told back."""

from __future__ import annotations

from dataclasses import replace

from media.clock import local_time
from pipelines.assistant.session import AssistantSession
from pipelines.interfaces.llm import takes_tools
from pipelines.voice.history import Item, new_id
from server.dialects.live.models import Delegation, LiveSession
from server.dialects.openai.fields import SessionPatch
from server.dialects.openai.settings import RefusedError, Served, merge
from server.dialects.openai.shapes import Json, choice_object, tool_object

LONGEST_SECONDS = 24 * 3600
"""After which a session ends: its clients are told when (``expires_at``)."""


class LiveSettings:
    """``wishes`` are what the session begins with; what of them Realtime has, too, is in effect already.

    Raises :class:`~server.dialects.openai.settings.RefusedError`.
    """

    def __init__(self, session: AssistantSession, served: Served, wishes: LiveSession) -> None:
        self.session = session
        self.served = served
        self.expires_at = round(local_time().timestamp()) + LONGEST_SECONDS
        """Unix seconds."""
        self._wishes = wishes
        self._defaults = session.conversation.settings
        self._backend = ""
        """Instructions of the delegation."""
        self._delegation = wishes.delegation.type if wishes.delegation is not None else None
        if wishes.delegation is not None:
            self._check(wishes.delegation, begins=True)
            self._apply(wishes.delegation)
        if not self.delegates:  # functions of a client secret's session, say: nobody could be told to call them
            session.conversation.configure(replace(session.conversation.settings, tools=(), tool_choice="auto"))
        for given in wishes.input or ():
            role = "system" if given.role == "developer" else given.role
            session.conversation.history.add(Item(given.id or new_id("item"), role, given.content[0].text))

    @property
    def delegates(self) -> bool:
        """Whether what the assistant does is told as the Responses API tells it."""
        return self._delegation == "responses"

    @property
    def misses_tools(self) -> bool:
        """Whether there are functions that the model does not know how to call."""
        conversation = self.session.conversation
        return bool(conversation.settings.tools) and not takes_tools(conversation.llm)

    def update(self, delegation: Delegation) -> None:
        """Change the delegation; its type stays. Raises :class:`~server.dialects.openai.settings.RefusedError`."""
        self._check(delegation)
        self._apply(delegation)

    def _check(self, given: Delegation, *, begins: bool = False) -> None:
        if given.type != (self._delegation or "client"):
            message = f'session.delegation.type: the type cannot be changed; legal is "{self._delegation or "client"}"'
            raise RefusedError("session.delegation.type", message)
        if begins and self.delegates and (given.responses is None or given.responses.model is None):
            param = "session.delegation.responses" + (".model" if given.responses is not None else "")
            raise RefusedError(param, f"{param}: a session that delegates to Responses needs it", "missing_parameter")

    def _apply(self, given: Delegation) -> None:
        wish = given.responses
        if wish is None:
            return
        names = wish.model_fields_set & {"tools", "tool_choice", "max_output_tokens"}
        patch = SessionPatch.model_construct(names, **dict(wish))
        conversation = self.session.conversation
        try:
            settings = merge(conversation.settings, self._defaults, patch, self.served)
        except RefusedError as error:
            param = error.param.replace("session.", "session.delegation.responses.", 1)
            raise RefusedError(param, f"{param}: {error}", error.code) from error
        if "instructions" in wish.model_fields_set:
            self._backend = wish.instructions or ""
        both = (self._defaults.instructions, self._backend)
        conversation.configure(replace(settings, instructions="\n\n".join(part for part in both if part)))

    # ------------------------------------------------------------------------------------------------ as JSON

    def resource(self) -> Json:
        """The session as ``session.started``, ``.updated`` and ``.closed`` tell it."""
        voice = self.session.engines.voice
        shown: Json = {
            "id": self.session.id,
            "status": "active",
            "expires_at": self.expires_at,
            "model": voice.llm.name,
            "instructions": self._defaults.instructions,
            "audio": {"output": {"voice": self.session.conversation.settings.voice.voice or voice.tts.voices[0]}},
            "store": False,
        }
        if self._delegation is not None:
            shown["delegation"] = {"type": self._delegation}
        if self.delegates:
            shown["delegation"]["responses"] = self._responses(voice.llm.name)
        if self._wishes.safety_identifier is not None:
            shown["safety_identifier"] = self._wishes.safety_identifier
        return shown

    def _responses(self, model: str) -> Json:
        settings = self.session.conversation.settings
        shown: Json = {
            "model": model,
            "instructions": self._backend,
            "tools": [tool_object(tool) for tool in settings.tools],
            "tool_choice": choice_object(settings.tool_choice),
        }
        return shown if settings.max_tokens is None else {**shown, "max_output_tokens": settings.max_tokens}
