"""The lab's wiring: namespaces, bridges, links, addresses and routes, made with netlink from inside the lab host."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from harness.backends.netns.namespaces import NETNS_FOLDER, create_netns, in_netns
from harness.backends.netns.spec import FABRIC, HostSpec, Interface, Route

# <linux/if_addr.h>: an address that is usable at once, without duplicate address detection (RFC 4862)
IFA_F_NODAD = 0x02
# <linux/neighbour.h>: entries that were learned: reachable, stale, delayed, probed, failed, incomplete
_FORGETTABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x20 | 0x01
# <linux/sockios.h>, <linux/if.h>
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def make_namespaces(spec: HostSpec) -> None:
    """Make every namespace, with its loopback up and its sysctls set; takes about 2 ms each."""
    for name, sysctls in {FABRIC: {}, **spec.namespaces}.items():
        create_netns(name)
        in_netns(name, partial(_prepare, sysctls))


def _prepare(sysctls: dict[str, str]) -> None:
    # an ioctl, because pyroute2 takes 0.2 s to import and etcd can start meanwhile
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh", b"lo", 0)
        flags = struct.unpack("16sh", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP))
    for key, value in sysctls.items():
        # a key's own dots (a VLAN device) are written as slashes, as sysctl(8) has it
        Path("/proc/sys", *key.split(".")).write_text(value)


def make_links(spec: HostSpec) -> None:
    """Make a bridge for each network and a veth pair for each interface."""
    in_netns(FABRIC, lambda: _fabric(spec))
    for namespace in spec.namespaces:
        configure_host(spec, namespace)


def make_switches(spec: HostSpec) -> None:
    """Make a bridge for each network; interfaces are plugged into them later."""
    in_netns(FABRIC, lambda: _switches(spec))


def plug(spec: HostSpec, namespace: str) -> None:
    """Connect a host that has come later, or come again: its links, addresses and routes."""
    in_netns(namespace, partial(_prepare, spec.namespaces[namespace]))
    interfaces = [interface for interface in spec.interfaces if interface.namespace == namespace]
    in_netns(FABRIC, lambda: _unplug(interfaces))
    in_netns(FABRIC, lambda: _cables(interfaces))
    configure_host(spec, namespace)


def rewire(before: HostSpec, after: HostSpec, kept: Iterable[str]) -> None:
    """Make the wiring another one in which some hosts keep their interfaces and addresses: they lose no packet for it.

    All other hosts have gone, and come back as those of the new wiring.
    """
    in_netns(FABRIC, lambda: _switches_of(after, before))
    for host in kept:
        pairs = list(zip(_of(before, host), _of(after, host), strict=True))
        in_netns(FABRIC, partial(_replug, pairs))
        in_netns(host, partial(_renew, [new for _, new in pairs], [r for r in after.routes if r.namespace == host]))
    in_netns(FABRIC, lambda: _remove(set(before.networks) - set(after.networks)))


def _of(spec: HostSpec, host: str) -> list[Interface]:
    return [interface for interface in spec.interfaces if interface.namespace == host]


def _switches_of(after: HostSpec, before: HostSpec) -> None:
    _add_switches(name for name in after.networks if name not in before.networks)


def _replug(pairs: Iterable[tuple[Interface, Interface]]) -> None:
    """Give switch ports their new names, and put them into their new switches."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for old, new in pairs:
            index, bridge = (ip.link_lookup(ifname=name)[0] for name in (old.switch_port, new.network))
            # older kernels rename no link that is up; the host loses its carrier for less than a millisecond
            ip.link("set", index=index, state="down")
            ip.link("set", index=index, ifname=new.switch_port)
            ip.link("set", index=index, master=bridge, state="up")


def _renew(interfaces: Iterable[Interface], routes: list[Route]) -> None:
    """Give a host's interfaces their new MACs, forget whom it knew by their old ones, and set its routes."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for interface in interfaces:
            index = ip.link_lookup(ifname=interface.device)[0]
            ip.link("set", index=index, address=interface.mac)
            for known in ip.get_neighbours(ifindex=index):
                if known["state"] & _FORGETTABLE:
                    address = dict(known["attrs"])["NDA_DST"]
                    ip.neigh("del", dst=address, ifindex=index, family=known["family"])
        for route in routes:
            ip.route("replace", dst=route.destination, gateway=route.gateway)


def _remove(networks: Iterable[str]) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for network in networks:
            ip.link("del", index=ip.link_lookup(ifname=network)[0])


def configure_host(spec: HostSpec, namespace: str) -> None:
    """Give a host its addresses and routes."""
    interfaces = [i for i in spec.interfaces if i.namespace == namespace]
    routes = [r for r in spec.routes if r.namespace == namespace]
    in_netns(namespace, partial(_host, interfaces, routes))


def _fabric(spec: HostSpec) -> None:
    _switches(spec)
    _cables(spec.interfaces)


def _switches(spec: HostSpec) -> None:
    _add_switches(spec.networks)


def _add_switches(networks: Iterable[str]) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for network in networks:
            ip.link("add", ifname=network, kind="bridge", br_stp_state=0, br_forward_delay=0)
            ip.link("set", index=ip.link_lookup(ifname=network)[0], state="up")


def _unplug(interfaces: Iterable[Interface]) -> None:
    """Remove ports that are left of a host that has gone; the kernel does so itself, but takes its time."""
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for interface in interfaces:
            for index in ip.link_lookup(ifname=interface.switch_port):
                ip.link("del", index=index)


def _cables(interfaces: Iterable[Interface]) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for interface in interfaces:
            target = os.open(NETNS_FOLDER / interface.namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                ip.link(
                    "add",
                    ifname=interface.switch_port,
                    kind="veth",
                    peer={"ifname": interface.device, "address": interface.mac, "net_ns_fd": target},
                )
            finally:
                os.close(target)
            port, bridge = (ip.link_lookup(ifname=name)[0] for name in (interface.switch_port, interface.network))
            ip.link("set", index=port, master=bridge, state="up")


def _host(interfaces: list[Interface], routes: list[Route]) -> None:
    from pyroute2 import IPRoute

    with IPRoute() as ip:
        for interface in interfaces:
            index = ip.link_lookup(ifname=interface.device)[0]
            ip.link("set", index=index, state="up")
            for address in interface.addresses:
                host, _, length = address.partition("/")
                six = ":" in host
                extra = {"flags": IFA_F_NODAD} if six else {}
                ip.addr("add", index=index, address=host, prefixlen=int(length), **extra)
        for route in routes:
            ip.route("replace", dst=route.destination, gateway=route.gateway)
