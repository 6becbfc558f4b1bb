"""Publish a sound file by WHIP, as OBS and FFmpeg do; read on a second connection what is understood and answered.

python examples/whip.py question.wav
"""

import asyncio
import sys

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from talk import HEADERS, SERVER, Microphone


async def main(question):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver(Microphone(question), direction="sendonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession(SERVER, headers=HEADERS) as http:
        offer = {"data": peer.localDescription.sdp, "headers": {"Content-Type": "application/sdp"}}
        async with http.post("/whip", **offer) as response:
            if response.status != 201:
                sys.exit((await response.json())["error"]["message"])
            location, answer = response.headers["Location"], await response.text()
        print("published as", location)
        session = location.rpartition("/")[2]
        async with asyncio.timeout(60), http.ws_connect("/v1/realtime", params={"call_id": session}) as events:
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
            async for message in events:
                event = message.json()
                if event["type"] == "conversation.item.input_audio_transcription.completed":
                    print("heard:", event["transcript"])
                elif event["type"] == "response.output_text.done":  # nobody watches, so nothing is spoken
                    print("answered:", event["text"])
                elif event["type"] == "response.done":
                    break
        async with http.delete(location):
            await peer.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
