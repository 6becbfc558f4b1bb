"""Say a sound file to the assistant over WebRTC; print what was said on both sides, and save the answer.

python examples/talk.py question.wav answer.wav        (the question: mono, 16 bits, any rate)
"""

import asyncio
import json
import os
import sys
import time
import wave
from fractions import Fraction

import aiohttp
import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.contrib.media import MediaBlackhole, MediaRecorder

SERVER = os.environ.get("VISAVIS_URL", "http://127.0.0.1:8080")
HEADERS = {"Authorization": f"Bearer {os.environ['VISAVIS_API_KEY']}"} if "VISAVIS_API_KEY" in os.environ else {}


class Microphone(MediaStreamTrack):
    """A sound file at the pace of speech, and silence after it: a pause ends the turn."""

    kind = "audio"

    def __init__(self, path):
        super().__init__()
        with wave.open(str(path)) as file:
            self.rate, self.sound = file.getframerate(), file.readframes(file.getnframes())
        self.sent, self.begun = 0, time.monotonic()

    async def recv(self):
        size = self.rate // 50  # 20 ms
        await asyncio.sleep(max(0.0, self.begun + self.sent / self.rate - time.monotonic()))
        frame = av.AudioFrame(format="s16", layout="mono", samples=size)
        frame.planes[0].update(self.sound[2 * self.sent : 2 * (self.sent + size)].ljust(2 * size, b"\0"))
        frame.pts, frame.sample_rate, frame.time_base = self.sent, self.rate, Fraction(1, self.rate)
        self.sent += size
        return frame


async def converse(question, listen, session=None):
    """One question and its answer; ``listen`` takes the voice, ``session`` holds settings. Returns the session's id."""
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    events = asyncio.Queue()
    peer.addTrack(Microphone(question))
    peer.on("track", listen.addTrack)
    channel = peer.createDataChannel("oai-events")
    channel.on("message", lambda text: events.put_nowait(json.loads(text)))
    await peer.setLocalDescription(await peer.createOffer())
    offer = {"sdp": peer.localDescription.sdp, "type": "offer"}
    async with aiohttp.ClientSession(SERVER, headers=HEADERS) as http, http.post("/offer", json=offer) as response:
        answer = await response.json()
    if "error" in answer:
        sys.exit(answer["error"]["message"])
    await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    await listen.start()
    async with asyncio.timeout(60):
        while (event := await events.get())["type"] != "output_audio_buffer.stopped":
            if event["type"] == "session.created" and session:
                channel.send(json.dumps({"type": "session.update", "session": {"type": "realtime", **session}}))
            elif event["type"] == "conversation.item.input_audio_transcription.completed":
                print("you:", event["transcript"])
            elif event["type"] == "response.output_audio_transcript.done":
                print("assistant:", event["transcript"])
            elif event["type"] == "turn.latency":
                print(f"answered after {event['voice_to_voice_ms']} ms")
            elif event["type"] == "error":
                sys.exit(event["error"]["message"])
    await listen.stop()
    await peer.close()
    return answer["session_id"]


if __name__ == "__main__":
    listen = MediaRecorder(sys.argv[2]) if len(sys.argv) > 2 else MediaBlackhole()
    asyncio.run(converse(sys.argv[1], listen))
