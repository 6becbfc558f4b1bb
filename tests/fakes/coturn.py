"""A real TURN server (coturn) of the test's own, on an address of this machine or of a host of the tests."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from server.http.tls.certificates import self_signed
from tests.fakes.networks import Host
from tests.patience import PATIENCE

SECRET = "north-of-the-river"
_POLL = 0.02


def missing() -> str:
    """Why there is none; empty when there is one."""
    return "" if shutil.which("turnserver") else "coturn is not on this machine (Debian: coturn)"


@dataclass(frozen=True, slots=True)
class Coturn:
    """A running one."""

    host: str
    port: int
    tls_port: int
    log: Path
    certificate: Path
    """With which its TLS is vouched for: ``SSL_CERT_FILE``."""

    def url(self, way: str) -> str:
        """By ``udp``, ``tcp`` or ``tls``."""
        place = f"[{self.host}]" if ":" in self.host else self.host
        return f"turns:{place}:{self.tls_port}" if way == "tls" else f"turn:{place}:{self.port}?transport={way}"

    def said(self) -> str:
        """What it has logged so far."""
        return self.log.read_text() if self.log.exists() else ""


@asynccontextmanager
async def coturn(
    folder: Path,
    *,
    secrets: Sequence[str] = (SECRET,),
    host: Host | None = None,
    address: str = "127.0.0.1",
    ports: tuple[int, int] | None = None,
) -> AsyncIterator[Coturn]:
    """Listens and relays at ``address``: on ``host``, at the ports given (plain, TLS), or here, at free ones."""
    port, tls_port = ports or (free_port(address), free_port(address))
    kept = self_signed(folder, [address])
    log = folder / "coturn.log"
    options = ["--no-cli", "--no-multicast-peers", "--no-dtls", "--no-software-attribute", "--simple-log"]
    options += ["--use-auth-secret", "--realm", "visavis.test", "--fingerprint", "-v"]
    options += [word for secret in secrets for word in ("--static-auth-secret", secret)]
    options += ["--listening-ip", address, "--relay-ip", address, "--relay-threads", "1"]
    options += ["--listening-port", str(port), "--tls-listening-port", str(tls_port)]
    options += ["--cert", str(kept.path), "--pkey", str(kept.path), "--log-file", str(log)]
    options += ["--pidfile", str(folder / "coturn.pid"), "--userdb", str(folder / "coturn.db")]
    if ":" in address:
        options += ["--allocation-default-address-family", "keep"]
    if host is None:
        options += ["--allow-loopback-peers"]
    command = ("turnserver", "-c", "/dev/null", *options)
    output = (folder / "coturn.out").open("wb")
    with output:
        process = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            command if host is None else host.command(*command), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            made = Coturn(address, port, tls_port, log, kept.public)
            for one in (port, tls_port):
                await (_listens(made, one, process) if host is None else host.do(_listens(made, one, process)))
            yield made
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


def free_port(address: str) -> int:
    """A port that nothing listens at."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


async def _listens(made: Coturn, port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, f"coturn has ended:\n{made.said()}"
        assert time.monotonic() < end, f"coturn does not listen:\n{made.said()}"
        try:
            _, writer = await asyncio.open_connection(made.host, port)
        except OSError:
            await asyncio.sleep(_POLL)  # nothing tells when it listens
            continue
        writer.close()
        return
