"""``/api/predict``, ``/api/ws/{id}`` and ``/api/videos/{id}.mp4``."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing

from aiohttp import WSMsgType, hdrs, web
from pydantic import Field

from media.frames import Pixels
from pipelines.errors import VisionError
from pipelines.foresight.filming import Scene
from pipelines.foresight.quality import DEFAULT, Quality
from pipelines.foresight.service import Foresight
from pipelines.interfaces.media_fields import FileBytes
from pipelines.vision.images import LARGEST_FILE, smaller, still
from server.http.access.granted import CLIENT
from server.http.bodies import json_body
from server.http.errors import HttpError, error_body
from server.http.foresight.film import Film
from server.http.foresight.kept import Prediction, Predictions
from server.http.foresight.messages import video_url
from server.http.json_input import JsonInputError, read_json_object
from server.http.ranges import BLOCK, send_file
from server.http.rest.requests import Body, validated

PREDICT, WATCH, VIDEO = "/api/predict", "/api/ws/{id}", "/api/videos/{id}.mp4"
LARGER_BODIES = {PREDICT: 2 * LARGEST_FILE * 4 // 3 + (1 << 16)}
"""Routes → bytes of their bodies: two pictures in base64."""
SUBPROTOCOLS = ("visavis.foresight", "realtime")
"""What a WebSocket may be asked to speak; browsers offer their key beside it."""
LARGEST_SIDE = 1024
"""Pixels of a picture's longer side: no video is larger, and models look at less."""
PING_SECONDS = 20.0
LARGEST_MESSAGE = 4096
"""Bytes of a client's message."""


class PredictBody(Body):
    """What is asked."""

    image: FileBytes
    """The picture that the video begins with: JPEG or PNG."""
    earlier: FileBytes | None = None
    """What was to be seen a moment before: with it, what moves goes on."""
    earlier_ms: float = Field(1000 / 15, ge=10, le=1000)
    """How long before."""
    prompt: str = Field("", max_length=2_000)
    quality: Quality = DEFAULT


def add_foresight(app: web.Application, foresight: Foresight) -> Predictions:
    """The routes. What they own ends with ``app``; ``foresight`` stays with the caller."""
    predictions = Predictions(foresight)
    routes = ForesightRoutes(predictions)
    app.router.add_post(PREDICT, routes.predict)
    app.router.add_get(WATCH, routes.watch, allow_head=False)
    app.router.add_get(VIDEO, routes.video)

    async def close(app: web.Application) -> None:
        await predictions.close()

    app.on_shutdown.append(close)
    return predictions


class ForesightRoutes:
    """The handlers."""

    def __init__(self, predictions: Predictions) -> None:
        self._predictions = predictions

    async def predict(self, request: web.Request) -> web.Response:
        """Begin a prediction; where it can be watched is the answer."""
        body = validated(PredictBody, await json_body(request))
        picture = await self._unpacked(body.image, "image")
        earlier = None if body.earlier is None else await self._unpacked(body.earlier, "earlier")
        if earlier is not None and earlier.shape != picture.shape:
            sizes = " and ".join(f"{one.shape[1]}x{one.shape[0]}" for one in (earlier, picture))
            raise HttpError(400, "invalid_value", f"earlier: must have the size of image, not {sizes}", "earlier")
        scene = Scene(picture, earlier, body.earlier_ms / 1000, body.prompt)
        prediction = self._predictions.begin(scene, body.quality, request.get(CLIENT, ""))
        told = {
            "session_id": prediction.id,
            "quality": body.quality,
            "ws_url": f"/api/ws/{prediction.id}",
            "video_url": video_url(prediction.id),
        }
        return web.json_response(told, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def watch(self, request: web.Request) -> web.WebSocketResponse:
        """All messages of a prediction from the first one on; ``{"type": "cancel"}`` of a client ends it."""
        prediction = self._found(request)
        offered = request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL)
        if offered is not None and not {name.strip() for name in offered.split(",")} & {*SUBPROTOCOLS}:
            message = f"{hdrs.SEC_WEBSOCKET_PROTOCOL}: legal values are {' and '.join(SUBPROTOCOLS)}"
            raise HttpError(400, "invalid_subprotocol", message, hdrs.SEC_WEBSOCKET_PROTOCOL)
        socket = web.WebSocketResponse(
            heartbeat=PING_SECONDS, protocols=SUBPROTOCOLS, compress=False, max_msg_size=LARGEST_MESSAGE
        )
        if not socket.can_prepare(request):
            error = HttpError(426, "upgrade_required", f"{WATCH} is a WebSocket (RFC 6455, version 13)", hdrs.UPGRADE)
            error.response.headers.update({hdrs.UPGRADE: "websocket", hdrs.CONNECTION: "Upgrade"})
            raise error
        await socket.prepare(request)
        with self._predictions.watching(prediction):
            listening = asyncio.create_task(self._listen(socket, prediction), name=f"{prediction.id}-listening")
            telling = asyncio.create_task(_tell(socket, prediction), name=f"{prediction.id}-telling")
            try:
                await asyncio.wait((listening, telling), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (listening, telling):
                    task.cancel()
                await asyncio.gather(listening, telling, return_exceptions=True)
        await socket.close()
        return socket

    async def video(self, request: web.Request) -> web.StreamResponse:
        """The video: while it is made, as it grows; after that the whole or a range of it."""
        prediction = self._found(request)
        film = prediction.film
        headers = {str(hdrs.CONTENT_TYPE): "video/mp4", str(hdrs.CACHE_CONTROL): "no-store"}
        with self._predictions.watching(prediction):
            if not film.over and request.method != hdrs.METH_HEAD:
                return await self._send_growing(request, film, headers)
            if not film.whole and film.over:
                raise HttpError(404, "video_not_found", "this prediction has no video, or it was not finished", "id")
            try:
                return await send_file(request, film.path, headers, self._predictions.reader.run)
            except FileNotFoundError:
                raise HttpError(404, "video_not_found", "the video has been deleted", "id") from None

    # ------------------------------------------------------------------------------------------------ inside

    async def _unpacked(self, data: bytes, field: str) -> Pixels:
        try:
            return await self._predictions.files.run(_reduced, data, field)
        except VisionError as error:
            message = f"{field}: {error.message.removeprefix(field + ' ')}"
            raise HttpError(400, error.code, message, field) from error

    def _found(self, request: web.Request) -> Prediction:
        session_id = request.match_info["id"]
        if (prediction := self._predictions.get(session_id)) is None:
            what = f"there is no prediction {session_id[:80]!a}; they are kept for ten minutes"
            raise HttpError(404, "prediction_not_found", what, "id")
        return prediction

    async def _listen(self, socket: web.WebSocketResponse, prediction: Prediction) -> None:
        """Until the client leaves."""
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                wish = read_json_object(message.data, "a message").get("type")
            except JsonInputError as error:
                problem = error_body(400, error.code, str(error))
            else:
                if wish == "cancel":
                    self._predictions.cancel(prediction)
                    continue
                what = f'type: legal values are "cancel", not {ascii(wish)[:40]}'
                problem = error_body(400, "invalid_value", what, "type")
            await socket.send_str(json.dumps({"type": "error", **problem}))

    async def _send_growing(self, request: web.Request, film: Film, headers: dict[str, str]) -> web.StreamResponse:
        while not film.size:
            grown = film.grown.next
            if film.over:
                raise HttpError(404, "video_not_found", "this prediction has no video", "id")
            await grown.wait()
        response, sent, read = web.StreamResponse(headers=headers), 0, self._predictions.reader.run
        await response.prepare(request)
        with await read(film.path.open, "rb") as file:
            while True:
                grown = film.grown.next
                while sent < film.size:
                    if not (block := await read(file.read, min(BLOCK, film.size - sent))):
                        raise ConnectionResetError("the video has been deleted")
                    await response.write(block)
                    sent += len(block)
                if film.over:
                    break
                await grown.wait()
        if not film.whole:
            if request.transport is not None:
                request.transport.close()  # without the last chunk, so that the client sees that it is not whole
            raise ConnectionResetError("the video was not finished")
        await response.write_eof()
        return response


async def _tell(socket: web.WebSocketResponse, prediction: Prediction) -> None:
    async with aclosing(prediction.messages()) as messages:
        async for text in messages:
            await socket.send_str(text)


def _reduced(data: bytes, field: str) -> Pixels:
    return smaller(still(data, field), LARGEST_SIDE)
