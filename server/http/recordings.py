"""``/v1/sessions/{id}/recording``: what has been recorded of a session, its files, and the end of it all."""

from __future__ import annotations

from aiohttp import hdrs, web

from server.http.errors import HttpError
from server.http.ranges import send_file
from server.recordings.store import RecordedFile, Recordings

RECORDING = "/v1/sessions/{session}/recording"
FILE = RECORDING + "/{name}"


class RecordingRoutes:
    """The handlers; ``recordings`` is ``None`` where nothing is recorded."""

    def __init__(self, recordings: Recordings | None) -> None:
        self._recordings = recordings

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(RECORDING, self.describe)
        app.router.add_delete(RECORDING, self.delete)
        app.router.add_get(FILE, self.send)

    async def describe(self, request: web.Request) -> web.Response:
        """What there is."""
        recordings, session_id, files = await self._found(request)
        live = recordings.live(session_id)
        state = "recording" if live is not None and live.on else "done"
        seconds = live.seconds if live is not None else await recordings.reader.run(recordings.seconds, files)
        told = [
            {
                "name": file.name,
                "bytes": file.size,
                "type": file.content_type,
                "url": f"/v1/sessions/{session_id}/recording/{file.name}",
            }
            for file in files
        ]
        body = {"session_id": session_id, "state": state, "seconds": round(seconds, 3), "files": told}
        return web.json_response(body, headers={hdrs.CACHE_CONTROL: "no-store"})

    async def send(self, request: web.Request) -> web.StreamResponse:
        """One of the files, or a range of it."""
        recordings, _, files = await self._found(request)
        name = request.match_info["name"]
        file = next((file for file in files if file.name == name), None)
        if file is None:
            legal = ", ".join(file.name for file in files)
            raise HttpError(404, "no_recording", f"there is no file {name[:80]!a}; there are {legal}", "name")
        headers = {
            str(hdrs.CONTENT_TYPE): file.content_type,
            str(hdrs.CACHE_CONTROL): "no-store",
            str(hdrs.CONTENT_DISPOSITION): f'attachment; filename="{file.name}"',
        }
        try:
            return await send_file(request, file.path, headers, recordings.reader.run)
        except FileNotFoundError:
            raise HttpError(404, "no_recording", f"{file.name} has been deleted", "name") from None

    async def delete(self, request: web.Request) -> web.Response:
        """End the recording, if it goes on, and delete its files."""
        recordings, session_id, _ = await self._found(request)
        if (live := recordings.live(session_id)) is not None:
            await live.stop()
        await recordings.reader.run(recordings.delete, session_id)
        return web.json_response({"session_id": session_id, "deleted": True})

    async def _found(self, request: web.Request) -> tuple[Recordings, str, list[RecordedFile]]:
        recordings, session_id = self._recordings, request.match_info["session"]
        files = [] if recordings is None else await recordings.reader.run(recordings.files, session_id)
        if recordings is None or not files:
            what = "this server keeps no recordings" if recordings is None else "nothing has been recorded"
            raise HttpError(404, "no_recording", f"{what} of a session {session_id[:80]!a}", "session")
        return recordings, session_id, files
