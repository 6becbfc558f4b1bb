"""``POST /v1/images/generations`` of OpenAI: pictures of what is described, by the task ``text-to-image``."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, StringConstraints

from server.http.bodies import json_body
from server.http.rest.requests import Body, validated
from server.http.tasks.door import TaskDoor, heed_deadline

TASK = "text-to-image"
PREFIXES = ("dall-e-", "gpt-image-")
"""Names of hosted models that clients have built in begin so; they mean whichever is here."""
Size = Annotated[str, StringConstraints(pattern=r"^(auto|[1-9][0-9]{1,3}x[1-9][0-9]{1,3})$")]


class DrawingBody(Body):
    """The body. What only hosted models can is refused."""

    prompt: str = Field(min_length=1)
    model: str = Field("auto", min_length=1, max_length=300)
    n: int = Field(1, ge=1, le=10)
    size: Size = "auto"
    """``WIDTHxHEIGHT`` in pixels; ``auto``: as the model likes best."""
    response_format: Literal["b64_json"] = "b64_json"
    """Nothing is kept here that an address could lead to."""
    output_format: Literal["png"] = "png"
    quality: Literal["auto"] = "auto"
    background: Literal["auto"] = "auto"
    stream: Literal[False] = False
    user: str = ""


class Drawings:
    """The handler."""

    def __init__(self, door: TaskDoor) -> None:
        self._door = door

    async def post(self, request: web.Request) -> web.Response:
        """As many pictures as are wanted, each another."""
        heed_deadline(request)
        body = validated(DrawingBody, await json_body(request))
        runner = await self._door.runner(TASK, "auto" if await self._means_any(body.model) else body.model)
        parameters: dict[str, Any] = {}
        if body.size != "auto":
            parameters["width"], parameters["height"] = map(int, body.size.split("x"))
        names = {"inputs": "prompt", "parameters.width": "size", "parameters.height": "size"}
        answer = await self._door.run(runner, [{"inputs": body.prompt}] * body.n, parameters, names)
        data = [{"b64_json": done.output} for done in answer.done]
        whole = {"created": int(time.time()), "output_format": "png", "data": data}
        return await self._door.answered(whole, headers=answer.headers)

    async def _means_any(self, model: str) -> bool:
        if not model.startswith(PREFIXES):
            return False
        await self._door.tasks.look(TASK)
        return model not in self._door.tasks.models(TASK)
