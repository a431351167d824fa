"""Tries, inside namespaces that are thrown away, what labs ask of a kernel; run by `harness.doctor` under `unshare`.

Prints one JSON object: the name of each probe, and null when it worked or else why it did not.
"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

#: linux/tcp.h: the option, and struct tcp_md5sig: a sockaddr_storage, flags, prefix length, key length, ifindex, key.
_TCP_MD5SIG = 14
_MD5SIG_KEY = "128sBBHI80s"

_NAT = """
table inet probe {
  chain nat { type nat hook postrouting priority srcnat; masquerade; }
  chain filter { type filter hook forward priority filter; ct state established limit rate 10/second accept; }
}
"""


def _link(kind: str, **options: object) -> Callable[[IPRoute], None]:
    def probe(netlink: IPRoute) -> None:
        netlink.link("add", ifname=f"p{kind}"[:15], kind=kind, **options)

    return probe


def _vlan(netlink: IPRoute) -> None:
    below = netlink.link_lookup(ifname="lo")[0]
    netlink.link("add", ifname="pvlan", kind="vlan", link=below, vlan_id=130)


def _qdisc(kind: str, **options: object) -> Callable[[IPRoute], None]:
    def probe(netlink: IPRoute) -> None:
        index = netlink.link_lookup(ifname="lo")[0]
        netlink.tc("add", kind, index=index, handle="1:", **options)
        netlink.tc("del", index=index, handle="1:", root=True)

    return probe


def _ecmp(netlink: IPRoute) -> None:
    index = netlink.link_lookup(ifname="lo")[0]
    netlink.link("set", index=index, state="up")
    netlink.route("add", dst="192.0.2.0/24", multipath=[{"oif": index, "hops": 1}, {"oif": index, "hops": 1}])


def _sysctl(path: str, value: str) -> Callable[[IPRoute], None]:
    def probe(_: IPRoute) -> None:
        Path("/proc/sys", path).write_text(value)

    return probe


def _md5(_: IPRoute) -> None:
    peer = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton("192.0.2.1"))
    with socket.socket() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_MD5SIG, struct.pack(_MD5SIG_KEY, peer, 0, 0, 6, 0, b"secret"))


def _nft(_: IPRoute) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=_NAT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip().splitlines()[0] if done.stderr else f"exit code {done.returncode}")


def _tmpfs(_: IPRoute) -> None:
    done = subprocess.run(["mount", "-t", "tmpfs", "probe", "/mnt"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


PROBES: Mapping[str, Callable[[IPRoute], None]] = {
    "bridge": _link("bridge"),
    "veth": _link("veth", peer={"ifname": "ppeer"}),
    "tmpfs": _tmpfs,
    "ip_forward": _sysctl("net/ipv4/ip_forward", "1"),
    "ECMP": _ecmp,
    "ECMP by ports": _sysctl("net/ipv4/fib_multipath_hash_policy", "1"),
    "IPv6": _sysctl("net/ipv6/conf/all/forwarding", "1"),
    "nf_tables": _nft,
    "TCP MD5": _md5,
    "netem": _qdisc("netem", delay=1000),
    "tbf": _qdisc("tbf", rate=125000, burst=4096, latency="50ms"),
    "dummy": _link("dummy"),
    "vlan": _vlan,
    "vrf": _link("vrf", vrf_table=1042),
}


def main() -> None:
    """Try everything and print what came of it."""
    found: dict[str, str | None] = {}
    with IPRoute() as netlink:
        for name, probe in PROBES.items():
            try:
                probe(netlink)
            except NetlinkError as error:
                found[name] = str(error.args[-1])
            except OSError as error:
                found[name] = error.strerror or str(error)
            else:
                found[name] = None
    print(json.dumps(found))


if __name__ == "__main__":
    main()
