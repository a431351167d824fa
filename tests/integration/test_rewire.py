"""Nodes that keep their addresses while the routers, clients and switches around them become another topology's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.backends.kind import plan
from harness.backends.netns import namespaces, network
from harness.backends.netns.namespaces import NETNS_FOLDER
from harness.routing.daemons import Frr
from harness.topology import load

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
#: Topologies whose nodes are the same, with one, two and three routers and two and three networks.
COURSE = ("small", "multihop", "restart", "two-routers", "small")
NODES = ("worker1", "worker2", "control-plane")
#: TCP's discard port: nobody listens, so a host that is reached refuses at once.
PORT = 9


def test_nodes_reach_one_another_and_their_routers_after_each_change(tmp_path: Path) -> None:
    inside = ["unshare", "-Urnmp", "--fork", "--kill-child", "--mount-proc", sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(inside, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == list(COURSE)


def main(folder: Path) -> None:
    """Go through the topologies, in namespaces of this process's own."""
    frr = Frr(Path("/usr/lib/frr"), (8, 4, 4), bmp=True)
    specs = []
    for place, name in enumerate(COURSE):
        (folder / str(place)).mkdir()
        specs.append(plan.make(name, load(TOPOLOGIES / f"{name}.yaml"), folder / str(place), Path("/lablet"), frr))
    namespaces.mount("tmpfs", Path("/run"), "tmpfs")
    network.make_namespaces(specs[0])
    network.make_links(specs[0])
    check(COURSE[0])
    for before, after, name in zip(specs, specs[1:], COURSE[1:], strict=False):
        for host in set(before.namespaces) - set(NODES):
            namespaces.unmount(NETNS_FOLDER / host)
            (NETNS_FOLDER / host).unlink()
        network.rewire(before, after, NODES)
        for host in set(after.namespaces) - set(NODES):
            namespaces.create_netns(host)
            network.plug(after, host)
        check(name)


def check(name: str) -> None:
    """Ask from a node for the other node and for the first router, which have to refuse."""
    for address in ("192.168.130.152", "192.168.130.1"):
        namespaces.in_netns("worker1", lambda address=address: refused(address))  # type: ignore[misc]
    print(name, flush=True)


def refused(address: str) -> None:
    import socket

    with socket.socket() as asking:
        asking.settimeout(2)
        code = asking.connect_ex((address, PORT))
    assert code == 111, f"{address}: {code}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
