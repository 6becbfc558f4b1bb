"""What the headless clients (``talk``, ``bench``) say to a server before the media flows."""

from __future__ import annotations

import aiohttp
from aiortc import RTCSessionDescription

from pipelines.text import base_url, header_value
from server.settings import SettingsError

CONNECT_SECONDS = 15.0


def check_address(url: str, api_key: str | None) -> None:
    """Raise :class:`SettingsError` for what no server can be reached by."""
    for name, check, value in (("--url", base_url, url), ("--api-key", header_value, api_key)):
        try:
            if value is not None:
                check(value)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None


async def exchange(offer: RTCSessionDescription, url: str, api_key: str | None) -> RTCSessionDescription:
    """The server's answer to an offer. Raises :class:`SettingsError` when there is none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CONNECT_SECONDS)) as http,
            http.post(f"{url.rstrip('/')}/offer", json={"sdp": offer.sdp, "type": offer.type}, headers=headers) as got,
        ):
            answer = await got.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SettingsError(f"no visavis at {url}: {error or 'no answer'}") from error
    except ValueError as error:
        raise SettingsError(f"no visavis at {url}: what answers there says {got.status} and no JSON") from error
    match answer:
        case {"sdp": str(sdp), "type": "answer"} if got.status == 200:
            return RTCSessionDescription(sdp, "answer")
        case {"error": {"message": str(message)}}:
            raise SettingsError(f"{url} refused: {message}")
    raise SettingsError(f"no visavis at {url}: what answers there says {got.status} and nothing of a call")
