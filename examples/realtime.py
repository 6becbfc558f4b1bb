"""Say a sound file to the assistant over a WebSocket with the openai package, and save the answer.

python examples/realtime.py question.wav answer.wav        (the question: mono, 16 bits, 24 kHz)
"""

import asyncio
import base64
import os
import sys
import wave

from openai import AsyncOpenAI

SERVER = os.environ.get("VISAVIS_URL", "http://127.0.0.1:8080")
RATE = 24_000


async def main(question, answer):
    client = AsyncOpenAI(base_url=f"{SERVER}/v1", api_key=os.environ.get("VISAVIS_API_KEY", "not-needed"))
    with wave.open(question) as file:
        assert file.getparams()[:3] == (1, 2, RATE), "mono, 16 bits, 24 kHz"
        sound = file.readframes(file.getnframes()) + bytes(2 * RATE * 2)  # and two seconds of silence
    async with client.realtime.connect(model="gpt-realtime") as connection:
        await connection.session.update(session={"type": "realtime", "instructions": "Answer in one sentence."})
        for start in range(0, len(sound), 9_600):  # 0.2 s at a time, as a microphone would bring it
            await connection.input_audio_buffer.append(audio=base64.b64encode(sound[start : start + 9_600]).decode())
        voice = b""
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.completed":
                print("you:", event.transcript)
            elif event.type == "response.output_audio.delta":
                voice += base64.b64decode(event.delta)
            elif event.type == "response.output_audio_transcript.done":
                print("assistant:", event.transcript)
            elif event.type == "error":
                sys.exit(event.error.message)
            elif event.type == "response.done":
                break
    with wave.open(answer, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(voice)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
