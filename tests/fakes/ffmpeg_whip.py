"""FFmpeg as a WHIP client, in a process of its own: ``python -m tests.fakes.ffmpeg_whip URL FOLDER``, until it is told.

PyAV's wheels bring an FFmpeg with the muxer ``whip``, which the ``ffmpeg`` of most systems lacks. Its GnuTLS would make
a certificate on the curve P-224, which neither OpenSSL nor a browser takes; so it is given one.
"""

from __future__ import annotations

import datetime
import itertools
import select
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from media.opus import FRAME, RATE
from tests.fakes.peer import loud, picture_frame

PICTURES = 15
"""Per second."""


def certificate(folder: Path) -> dict[str, str]:
    """FFmpeg's options for a new certificate in this folder."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=2))
    made = builder.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    files = {
        "cert_file": made.public_bytes(serialization.Encoding.PEM),
        "key_file": key.private_bytes(serialization.Encoding.PEM, *form),
    }
    for option, content in files.items():
        (folder / option).write_bytes(content)
    return {option: str(folder / option) for option in files}


def publish(url: str, folder: Path) -> None:
    """A grey picture, and over and over a buzz that the fake voice activity takes for speech, and silence."""
    options = {"handshake_timeout": "60000", **certificate(folder)}
    with av.open(url, "w", format="whip", options=options) as out:
        coding = {"tune": "zerolatency", "preset": "ultrafast", "profile": "baseline", "bf": "0", "g": str(PICTURES)}
        video = out.add_stream("libx264", rate=PICTURES, options=coding)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        audio = out.add_stream("libopus", rate=RATE)
        audio.layout = "stereo"
        sound = itertools.cycle(np.concatenate([loud(0.8), np.zeros(2 * RATE, np.int16)]).reshape(-1, FRAME))
        begun, written = time.monotonic(), 0
        for number in itertools.count():
            picture = picture_frame(level=90)
            picture.pts, picture.time_base = number, Fraction(1, PICTURES)
            out.mux(video.encode(picture))
            while written * PICTURES < (number + 1) * RATE:
                frame = av.AudioFrame.from_ndarray(np.repeat(next(sound), 2)[None], format="s16", layout="stereo")
                frame.sample_rate, frame.pts = RATE, written
                out.mux(audio.encode(frame))
                written += FRAME
            if select.select([sys.stdin], [], [], max(0.0, begun + number / PICTURES - time.monotonic()))[0]:
                return


if __name__ == "__main__":
    publish(sys.argv[1], Path(sys.argv[2]))
