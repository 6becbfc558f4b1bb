"""Have a conversation recorded, fetch its files, and delete them from the server.

visavis serve --recordings recordings/
python examples/recording.py question.wav conversation/
"""

import asyncio
import sys
from pathlib import Path

import aiohttp
from aiortc.contrib.media import MediaBlackhole
from talk import HEADERS, SERVER, converse


async def main(question, folder):
    session = await converse(question, MediaBlackhole(), {"recording": {"enabled": True}})
    folder = Path(folder)
    folder.mkdir(exist_ok=True)
    async with aiohttp.ClientSession(SERVER, headers=HEADERS, raise_for_status=True) as http:
        place = f"/v1/sessions/{session}/recording"
        while True:  # the server closes the files a moment after the call
            async with http.get(place) as response:
                told = await response.json()
            if told["state"] != "recording":
                break
            await asyncio.sleep(0.1)
        for file in told["files"]:
            async with http.get(file["url"]) as response:
                data = await response.read()
            (folder / file["url"].rpartition("/")[2]).write_bytes(data)
            print(file["type"], len(data), "bytes")
        async with http.delete(place):
            print("deleted from the server")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
