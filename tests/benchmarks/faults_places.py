"""Disks that are full or read-only, and networks that carry nothing. All of it needs root."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

from tests.benchmarks.faults import STUBS, Fault, Scene

PORTS = "46100-46199"
DISK_MB = 72
"""Eight more than what recordings leave to others."""


def command(*words: str) -> None:
    """Run a program of the system. Raises ``CalledProcessError``."""
    subprocess.run(words, check=True, capture_output=True, timeout=20)


class Disk(Fault):
    """Recordings and the cache lie on a disk of their own, and every session is recorded."""

    session: ClassVar[Mapping[str, Any]] = {"recording": {"enabled": True, "video": False}}
    most_lost = 0

    def missing(self) -> str:
        return "" if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("mount") else "needs root and mount"

    @property
    def disk(self) -> Path:
        """Where it is mounted."""
        return self.folder / "disk"

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[tuple[str, ...]]:
        self.disk.mkdir()
        command("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "visavis-chaos", str(self.disk))
        try:
            yield ("--recordings", str(self.disk / "recordings"))
        finally:
            command("umount", "-l", str(self.disk))


class DiskFull(Disk):
    """Somebody else fills it."""

    name = "disk-full"
    words = "recordings on a disk that is full for 15 s"

    async def strike(self, scene: Scene) -> None:
        filler = self.disk / "filler"
        with filler.open("wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                pass
        await asyncio.sleep(15)
        filler.unlink()


class DiskReadOnly(Disk):
    """The system mounts it read-only after an error."""

    name = "disk-read-only"
    words = "recordings on a disk that the system makes read-only after an error, for 15 s"

    def missing(self) -> str:
        there = shutil.which("mkfs.ext4") and Path("/dev/loop-control").exists()
        return super().missing() or ("" if there else "needs mkfs.ext4 and loop devices")

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[tuple[str, ...]]:
        self.disk.mkdir()
        self._mount("first")
        try:
            yield ("--recordings", str(self.disk / "recordings"))
        finally:
            command("umount", "-l", str(self.disk))

    async def strike(self, scene: Scene) -> None:
        command("mount", "-o", "remount,abort", str(self.disk))  # ext4: as after an error, open files included
        await asyncio.sleep(15)
        command("umount", "-l", str(self.disk))
        self._mount("second")

    def _mount(self, name: str) -> None:
        image = self.folder / name
        with image.open("wb") as file:
            file.truncate((DISK_MB + 40) << 20)
        command("mkfs.ext4", "-q", str(image))
        command("mount", "-o", "loop,errors=remount-ro", str(image), str(self.disk))


class NoNetwork(Fault):
    """Nothing gets through to or from the ports of media."""

    seconds = 0.0
    flags = (*STUBS, "--ice-port-range", PORTS)

    def missing(self) -> str:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        return "" if root and shutil.which("iptables") else "needs root and iptables"

    async def strike(self, scene: Scene) -> None:
        rules = [("-p", "udp", way, PORTS.replace("-", ":"), "-j", "DROP") for way in ("--dport", "--sport")]
        for rule in rules:
            await asyncio.to_thread(command, "iptables", "-I", "INPUT", *rule)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            for rule in rules:
                await asyncio.to_thread(command, "iptables", "-D", "INPUT", *rule)


class NoNetwork2(NoNetwork):
    """A handover between two cells."""

    name, words, seconds = "network-2", "no packet of media for 2 s", 2.0


class NoNetwork10(NoNetwork):
    """Longer than a silent peer is waited for: the call ends, the conversation goes on in a new one."""

    name, words, seconds = "network-10", "no packet of media for 10 s", 10.0
    calls_survive = False
    most_lost = 2
    recovers_within = 35.0
    """These callers notice it only when their consent has ended, after 30 s without an answer (RFC 7675)."""


class NoNetwork40(NoNetwork):
    """Longer than ICE consent lasts."""

    name, words, seconds = "network-40", "no packet of media for 40 s", 40.0
    calls_survive = False
    most_lost = 4
    recovers_within = 45.0


FAULTS = (DiskFull, DiskReadOnly, NoNetwork2, NoNetwork10, NoNetwork40)
