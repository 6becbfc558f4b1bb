"""Show a video, a picture or a camera to the server, and print what it sees as it changes.

python examples/camera.py walk.mp4                 (on Linux /dev/video0 is a camera; ends with Ctrl-C)
python examples/camera.py walk.mp4 3               (ends after three changes)
"""

import asyncio
import json
import sys

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaPlayer
from talk import HEADERS, SERVER

VISION = {"detectors": ["faces", "hands"], "max_fps": 10}


async def main(source, changes=sys.maxsize):
    is_camera = source.startswith("/dev/")
    player = MediaPlayer(source, format="v4l2" if is_camera else None, loop=not is_camera)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTrack(player.video)
    sink = MediaBlackhole()  # the picture comes back with what was found drawn on it; it must be taken
    peer.on("track", sink.addTrack)
    events = asyncio.Queue()
    peer.createDataChannel("oai-events").on("message", lambda text: events.put_nowait(json.loads(text)))
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "type": "offer", "session": {"vision": VISION}}
    async with aiohttp.ClientSession(SERVER, headers=HEADERS) as http, http.post("/offer", json=offer) as response:
        answer = await response.json()
    if "error" in answer:
        sys.exit(answer["error"]["message"])
    await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    await sink.start()
    while changes:
        event = await events.get()
        if event["type"] == "vision.changed":
            print(event["scene"] or "nothing", flush=True)
            changes -= 1
        elif event["type"].startswith(("vision.gesture", "vision.attention")):
            print(event["type"], event.get("gesture") or event["attention"], flush=True)
    await sink.stop()
    await peer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
