"""Write down a sound file of any format, each part as soon as it is understood, or as subtitles.

python examples/transcribe.py meeting.mp3
python examples/transcribe.py meeting.mp3 srt > meeting.srt
"""

import os
import sys

from openai import OpenAI

SERVER = os.environ.get("VISAVIS_URL", "http://127.0.0.1:8080")


def main(path, kind=""):
    client = OpenAI(base_url=f"{SERVER}/v1", api_key=os.environ.get("VISAVIS_API_KEY", "not-needed"))
    with open(path, "rb") as file:
        if kind:  # text, srt, vtt
            print(client.audio.transcriptions.create(model="whisper-1", file=file, response_format=kind))
            return
        for event in client.audio.transcriptions.create(model="whisper-1", file=file, stream=True):
            if event.type == "transcript.text.delta":
                print(event.delta, end="", flush=True)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:3])
