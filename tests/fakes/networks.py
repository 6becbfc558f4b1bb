"""Hosts, routers and networks on one machine: Linux network namespaces, for root.

``with Networks() as networks:`` makes hosts, joins them by cables (veth) or wires with conditions
(:mod:`tests.fakes.wire`), translates addresses (iptables), and takes all of it away at the end. Code runs *in* a host
on a thread with an event loop of its own: sockets belong to the namespace of the thread that makes them.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal, TypeVar

from tests.fakes.wire import PERFECT, Conditions, Wire, open_tun

T = TypeVar("T")
Nat = Literal["port-restricted", "symmetric"]
"""Either lets in only what answers. ``port-restricted`` keeps the port of a socket to whomever it sends;
``symmetric`` takes another one, at random, for each address that is sent to."""

_CLONE_NEWNET = 0x40000000
_NUMBERS = itertools.count()


def missing() -> str:
    """Why there are no namespaces here; empty when there are."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if lacking := [name for name in ("ip", "iptables") if shutil.which(name) is None]:
        return f"{' and '.join(lacking)} not on this machine (Debian: iproute2, iptables)"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun on this machine"
    name = f"vv{os.getpid()}probe"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    try:
        # a container may have namespaces, and no right to translate addresses
        rules = ["ip", "netns", "exec", name, "iptables", "-t", "nat", "-L"]
        tried = subprocess.run(rules, capture_output=True, text=True, check=False)
        return f"no address translation here: {tried.stderr.strip()}" if tried.returncode else ""
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


class Host:
    """A machine: a network namespace."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        run("ip", "netns", "add", name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str) -> str:
        """What a command prints that runs there. Raises :class:`subprocess.CalledProcessError`."""
        return run(*self.command(*command))

    def command(self, *command: str) -> tuple[str, ...]:
        """A command that runs there."""
        return ("ip", "netns", "exec", self.name, *command)

    def route(self, *way: str) -> None:
        """Such as ``route("default", "via", "10.0.0.1")``."""
        self.run("ip", *(("-6",) if any(":" in word for word in way) else ()), "route", "replace", *way)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread opens inside is opened there."""
        libc = ctypes.CDLL(None, use_errno=True)
        own, there = os.open("/proc/thread-self/ns/net", os.O_RDONLY), os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            if libc.setns(there, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")
            try:
                yield
            finally:
                libc.setns(own, _CLONE_NEWNET)
        finally:
            os.close(own)
            os.close(there)

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there: all of a host on one loop, begun with the first."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._running()))

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            began = threading.Event()
            loop = self._loop = asyncio.new_event_loop()

            def serve() -> None:
                with self.entered():
                    asyncio.set_event_loop(loop)
                    loop.call_soon(began.set)
                    loop.run_forever()
                    loop.run_until_complete(_ended(asyncio.all_tasks(loop)))
                    loop.run_until_complete(loop.shutdown_default_executor())
                    loop.close()

            self._thread = threading.Thread(target=serve, name=self.name, daemon=True)
            self._thread.start()
            began.wait()
        return self._loop

    def close(self) -> None:
        """End its loop, and the host with it."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        run("ip", "netns", "del", self.name)


class Networks:
    """Everything that belongs together, until the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._prefix = f"vv{os.getpid()}x{next(_NUMBERS)}"

    def __enter__(self) -> Networks:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def host(self, name: str) -> Host:
        """A machine with nothing but its loopback."""
        host = Host(f"{self._prefix}{name}")
        self._stack.callback(host.close)
        return host

    def router(self, name: str) -> Host:
        """The same, and packets go through it."""
        host = self.host(name)
        host.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        return host

    def cable(self, one: Host, other: Host, addresses: dict[str, str], *, mtu: int = 1500, dev: str = "net") -> None:
        """Join two; ``addresses`` of the one (with prefix length) → of the other. The devices are called ``dev``."""
        one.run("ip", "link", "add", dev, "mtu", str(mtu), "type", "veth", "peer", "name", dev, "netns", other.name)
        for host, own in ((one, addresses.keys()), (other, addresses.values())):
            _up(host, dev, own, mtu)

    def wire(
        self,
        one: Host,
        other: Host,
        addresses: dict[str, str],
        conditions: Conditions = PERFECT,
        *,
        mtu: int = 1500,
        dev: str = "wire",
    ) -> Wire:
        """The same with a wire on which packets are lost and late."""
        ends = []
        for host, own in ((one, addresses.keys()), (other, addresses.values())):
            with host.entered():
                ends.append(open_tun(dev))
            _up(host, dev, own, mtu)
        made = Wire(ends[0], ends[1], conditions)
        self._stack.callback(made.close)
        return made


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """What is still on its way, such as the last word to a TURN server, is given up."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=2.0)
    await asyncio.sleep(0)  # transports that were closed tell their protocols


def _up(host: Host, dev: str, addresses: Any, mtu: int) -> None:
    for address in addresses:
        v6 = ("nodad",) if ":" in address else ()
        host.run("ip", "address", "add", address, "dev", dev, *v6)
    host.run("ip", "link", "set", dev, "mtu", str(mtu), "up")


def translate(router: Host, outside: str, kind: Nat = "port-restricted") -> None:
    """What leaves through the device ``outside`` has the router's address."""
    random = ("--random-fully",) if kind == "symmetric" else ()
    router.run("iptables", "-t", "nat", "-A", "POSTROUTING", "-o", outside, "-j", "MASQUERADE", *random)


def forward_ports(router: Host, outside: str, to: str, tcp: int, udp: tuple[int, int]) -> None:
    """What comes to the router from ``outside`` on these ports is for the machine ``to`` behind it."""
    rule = ("iptables", "-t", "nat", "-A", "PREROUTING", "-i", outside)
    router.run(*rule, "-p", "tcp", "--dport", str(tcp), "-j", "DNAT", "--to-destination", to)
    router.run(*rule, "-p", "udp", "--dport", f"{udp[0]}:{udp[1]}", "-j", "DNAT", "--to-destination", to)


def lets_nobody_in(router: Host, outside: str) -> None:
    """Only what answers comes in from ``outside``: a firewall, or a carrier's NAT."""
    router.run("iptables", "-A", "FORWARD", "-i", outside, "-m", "conntrack", "--ctstate", "NEW", "-j", "DROP")


def blocks_udp(router: Host) -> None:
    """A network that lets only TCP through."""
    router.run("iptables", "-A", "FORWARD", "-p", "udp", "-j", "DROP")


def run(*command: str) -> str:
    """What a command prints. Raises :class:`RuntimeError` with what it complains of."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
