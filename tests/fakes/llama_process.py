"""A stand-in for :mod:`pipelines.engines.llm.llama_process`: the same pipe and the same HTTP, and no model.

It says back the last line of the user word by word. On ``die`` it ends in the middle of that; on ``hang`` it stops
as a process does that computes for ever, its HTTP included. ``broken`` in the model's name lets it end at the start.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Answers every chat completion."""

    key = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Any list of models."""
        self._head("application/json")
        self._write(b'{"data": [{"id": "fake"}]}')
        self._write(b"")

    def do_POST(self) -> None:
        """A stream of chunks."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {self.key}":
            self.send_error(401)
            return
        self._head("text/event-stream")
        lines = body["messages"][-1]["content"].splitlines()
        said = [line for line in lines if not line.startswith("[")][-1]  # without what is told of camera and time
        for word in f"You said: {said}".split():
            self._chunk({"delta": {"content": f"{word} "}})
            if word == "die":
                os._exit(3)
            if word == "hang":
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(3600.0)
        self._chunk({"delta": {}, "finish_reason": "stop"})
        self._write(b"data: [DONE]\n\n")
        self._write(b"")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _head(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _chunk(self, choice: dict[str, object]) -> None:
        self._write(f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()


def main() -> None:
    """Serve until the input ends."""
    config = json.loads(sys.stdin.readline())
    if "broken" in config["model"]:
        sys.exit("no such model")
    Handler.key = config["key"]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": f"http://127.0.0.1:{server.server_port}", "device": "cpu"}), flush=True)  # noqa: T201
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
