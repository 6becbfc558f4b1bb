"""GPUs whose drivers tell what this process makes of them: their files, written here as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.observability.history.drm import LOOK_EVERY, DrmClients, parse
from server.observability.history.gpu import GpuLoad, Gpus

I915 = """pos:\t0
flags:\t02100002
drm-driver:\ti915
drm-client-id:\t{client}
drm-pdev:\t0000:00:02.0
drm-total-system0:\t9000 KiB
drm-resident-system0:\t{memory} KiB
drm-engine-render:\t{render} ns
drm-engine-copy:\t5 ns
drm-engine-compute:\t0 ns
drm-engine-capacity-video:\t2
"""
XE = """drm-driver:\txe
drm-client-id:\t3
drm-pdev:\t0000:03:00.0
drm-total-vram0:\t0
drm-resident-vram0:\t2 MiB
drm-cycles-ccs:\t{busy}
drm-total-cycles-ccs:\t{of}
"""


class System:
    """A folder of the system's files with some open ones."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("dev/dri", "proc/self/fd", "proc/self/fdinfo"):
            (root / folder).mkdir(parents=True)
        self.open(1, "/dev/null", "pos:\t0\n")

    def open(self, number: int, path: str, text: str) -> None:
        link = self.root / "proc/self/fd" / str(number)
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        (self.root / "proc/self/fdinfo" / str(number)).write_text(text)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_what_a_driver_tells_is_read():
    client = parse(I915.format(client=7, memory=3, render=1_500_000_000))
    assert client is not None
    assert (client.device, client.number, client.memory) == ("i915 0000:00:02.0", "7", 3072)
    assert client.busy == {"render": 1.5, "copy": 5e-9, "compute": 0.0}
    other = parse(XE.format(busy=20, of=50))
    assert other is not None
    assert (other.busy, other.of, other.memory) == ({"ccs": 20.0}, {"ccs": 50.0}, 2 << 20)
    assert parse("pos:\t0\nflags:\t02\n") is None
    odd = parse("drm-driver: x\ndrm-client-id: 1\ndrm-memory-vram: many\ndrm-engine-gfx: 1 s\n:::\n")
    assert odd is not None and (odd.memory, odd.busy) == (None, {})


def test_the_share_of_the_busiest_part_and_the_memory_of_all_users(system):
    clients = DrmClients(system.root)
    for number, client in ((5, 7), (6, 7), (8, 9)):  # two files of one client, and another one
        system.open(number, "/dev/dri/renderD128", I915.format(client=client, memory=10, render=10**9))
    assert clients.read(100.0) == {"i915 0000:00:02.0": (None, 2 * 10 << 10)}
    for number, client, render in ((5, 7, 12 * 10**8), (6, 7, 12 * 10**8), (8, 9, 13 * 10**8)):
        system.open(number, "/dev/dri/renderD128", I915.format(client=client, memory=10, render=render))
    ((busy, _),) = clients.read(101.0).values()
    assert busy == pytest.approx(0.5)


def test_cycles_are_a_share_of_cycles(system):
    clients = DrmClients(system.root)
    system.open(5, "/dev/dri/renderD129", XE.format(busy=1000, of=10_000))
    clients.read(1.0)
    system.open(5, "/dev/dri/renderD129", XE.format(busy=1600, of=12_000))
    assert clients.read(9.0)["xe 0000:03:00.0"] == (pytest.approx(0.3), 2 << 20)


def test_a_gpu_that_comes_and_goes_is_noticed(system):
    clients = DrmClients(system.root)
    assert clients.read(0.0) == {}
    system.open(5, "/dev/dri/renderD128", I915.format(client=7, memory=1, render=0))
    found = [clients.read(float(n)) for n in range(1, LOOK_EVERY + 1)]
    assert found[0] == {} and "i915 0000:00:02.0" in found[-1]
    (system.root / "proc/self/fdinfo/5").unlink()
    assert clients.read(99.0) == {}


def test_it_is_listed_beside_those_of_nvidia(system):
    system.open(5, "/dev/dri/renderD128", I915.format(client=7, memory=1, render=0))
    gpus = Gpus(found=lambda name: None, clients=DrmClients(system.root), now=lambda: 1.0)
    assert gpus.read() == (GpuLoad("i915 0000:00:02.0", None, 1024),)


def test_a_machine_without_any_is_not_looked_at(tmp_path):
    assert DrmClients(tmp_path).read(1.0) == {}
