"""From a topology to what its lab host is told: which namespaces, links and routes there are, which daemons run where.

Pure but for the files it writes into the lab's own folder. Options are explained where they are not the daemon's
defaults.
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.backends.netns.credentials import Credentials
from harness.backends.netns.host import LOG_FOLDER
from harness.backends.netns.plan_metallb import ETC, metallb
from harness.backends.netns.spec import FABRIC, HostSpec, Interface, Mount, Process, Ready, Route
from harness.binaries import Binaries
from harness.cilium import l2
from harness.routing import bmp, daemons, opnsense
from harness.timeline import journal
from harness.timeline import plan as timeline
from harness.topology import HOST_DEVICE, Link, Topology

#: The namespace of etcd, the API server, the controllers and Cilium's operator.
CONTROL_PLANE = "control-plane"
API_PORT = 6443
#: The processes that make the timeline.
RECORDER, OBSERVER = f"{FABRIC}/recorder", f"{FABRIC}/observer"
#: What stands in for a FreeBSD router's ARP, and for an announcer; their names as processes and as sub-commands.
ARP_FREEBSD, ANNOUNCER = "arp-freebsd", "announce"
#: Where it listens for BMP in a router's network; no port is assigned to BMP.
_BMP_PORT = 11019
#: A descriptor that no daemon uses for itself.
_API_FD = 9

#: etcd's heartbeat may be no longer than a fifth of it (etcd, server/embed/config.go).
_ETCD_ELECTION_MS = 100
#: This hook of the API server makes priority classes that the seed already has, and first looks after a second
#: (Kubernetes, pkg/registry/scheduling/rest/storage_scheduling.go).
_IN_SEED = "poststarthook/scheduling/bootstrap-system-priority-classes"

#: The controllers that a service's life needs; each costs start-up time, which a lab pays at every start.
_CONTROLLERS = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "endpointslice-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "pod-garbage-collector-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "disruption-controller",
)

_ROUTED = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    # replies may leave by another port than requests came in by
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
}
#: A router hashes addresses and ports over equal next hops, as FreeBSD's ROUTE_MPATH does with a flow's hash.
_ROUTER = {**_ROUTED, "net.ipv4.fib_multipath_hash_policy": "1", "net.ipv6.fib_multipath_hash_policy": "1"}


def frr_folder(folder: Path, router: str) -> Path:
    """Where a router's FRR files and vty sockets are."""
    return folder / "frr" / router


def node_folder(folder: Path, node: str) -> Path:
    """Where a node's agent keeps its pods' sockets and state."""
    return folder / "nodes" / node


def l2_responder_socket(folder: Path, node: str) -> Path:
    """Where what answers ARP in place of Cilium's BPF program is programmed."""
    return node_folder(folder, node) / "l2-responder.sock"


def arp_socket(folder: Path, router: str) -> Path:
    """Where the ARP daemon of a router answers."""
    return folder / "arp" / f"{router}.sock"


def announcer_socket(folder: Path, node: str) -> Path:
    """Where a node's announcer takes commands, while it runs."""
    return node_folder(folder, node) / "announce.sock"


def inner_kubeconfig(folder: Path) -> Path:
    """The kubeconfig of programs within the lab."""
    return folder / "pki" / "kubeconfig"


def mac_of(topology: Topology, host: str, device: str) -> str:
    """The MAC of a host's interface: locally administered, and the same at every start, so that captures compare."""
    digest = hashlib.sha256(f"{topology.name}/{host}/{device}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def hosts_by_mac(topology: Topology) -> dict[str, str]:
    """Routers, nodes and clients by the MACs of their interfaces."""
    hosts = (*topology.routers, *topology.nodes, *topology.clients)
    return {mac_of(topology, host, link.device): host for host in hosts for link in topology.links(host)}


def api_addresses(topology: Topology) -> list[str]:
    """Addresses at which the API server is reached within the lab: its own, and that of the `kubernetes` Service."""
    first = [str(cidr[1]) for cidr in topology.cluster.service_cidrs]
    return [*map(str, topology.control_plane.address), *first]


def frr_config(topology: Topology, router: str) -> str:
    """A router's FRR configuration: the user's own file unchanged, or what os-frr would write.

    A router without either gets FRR's defaults: zebra and no routing protocol.
    """
    settings = topology.routers[router]
    if settings.frr_config is not None:
        return settings.frr_config.read_text()
    if settings.os_frr is None:
        return "frr defaults traditional\n"
    devices = {network: interface.device for network, interface in settings.interfaces.items()}
    return opnsense.render(settings.os_frr, devices, daemons.frr_version())


def make(name: str, topology: Topology, binaries: Binaries, folder: Path, access: Credentials) -> HostSpec:
    """Write down one lab.

    Args:
        name: The lab's name.
        topology: What the user wants.
        binaries: The programs to run.
        folder: The lab's own folder; files of FRR, etcd and the nodes are made in it.
        access: Certificate and tokens of its API server.
    """
    _unpack(binaries.seed, folder / "etcd")
    inside = access.kubeconfig(inner_kubeconfig(folder), f"https://{_join(api_addresses(topology)[0], API_PORT)}")
    needs = daemons.lab_needs(folder / "frr")
    _write(needs.files)
    announcers = () if binaries.metallb is None else metallb(topology, binaries.metallb, folder, inside, CONTROL_PLANE)
    interfaces = tuple(_interfaces(topology))
    return HostSpec(
        name=name,
        folder=str(folder),
        namespaces={
            **dict.fromkeys(topology.routers, _ROUTER),
            CONTROL_PLANE: _ROUTED,
            **dict.fromkeys(topology.nodes, _ROUTED),
            **dict.fromkeys(topology.clients, _ROUTED),
        },
        networks=tuple(topology.networks),
        interfaces=interfaces,
        routes=tuple(_routes(topology)),
        processes=(
            *_timeline(topology, folder, interfaces, inside, [process.name for process in announcers]),
            *_control_plane(topology, binaries, folder, access, inside),
            *_routers(topology, folder),
            *_arp(topology, binaries, folder),
            *_nodes(topology, binaries, folder, inside),
            *announcers,
        ),
        mounts=tuple(_mounts(needs.mounts, {"metallb": str(folder / ETC)} if announcers else {})),
        folders=tuple(map(str, needs.folders)),
    )


def _unpack(seed: Path, folder: Path) -> None:
    with tarfile.open(seed) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4, as Debian 12 has it; the seed is lblab's own
            tar.extractall(folder)


def _interfaces(topology: Topology) -> Iterator[Interface]:
    numbers = itertools.count()

    def port(namespace: str, link: Link) -> Interface:
        mac = mac_of(topology, namespace, link.device)
        addresses = tuple(map(str, link.addresses))
        return Interface(namespace, link.device, link.network, addresses, mac, f"{namespace[:10]}.{next(numbers)}")

    for name in (*topology.routers, *topology.nodes, *topology.clients):
        for link in topology.links(name):
            yield port(name, link)
    own = topology.control_plane
    yield port(
        CONTROL_PLANE,
        Link(own.network, HOST_DEVICE, tuple(topology.with_prefix(own.network, one) for one in own.address)),
    )


def _routes(topology: Topology) -> Iterator[Route]:
    for name in (*topology.nodes, *topology.clients):
        for gateway in topology.gateway_of(name):
            yield Route(name, "::/0" if gateway.version == 6 else "0.0.0.0/0", str(gateway))
    # pods reach one another over the nodes' own network, as with Cilium's autoDirectNodeRoutes
    for name in (CONTROL_PLANE, *topology.nodes):
        for other, node in topology.nodes.items():
            for cidr in topology.pod_cidrs(other):
                for address in node.address:
                    if other != name and cidr.version == address.version:
                        yield Route(name, str(cidr), str(address))


def _timeline(
    topology: Topology, folder: Path, interfaces: tuple[Interface, ...], kubeconfig: Path, more: Iterable[str]
) -> Iterator[Process]:
    switch = {port.switch_port: f"the switch port of {port.namespace}" for port in interfaces}
    switch |= {network: f"the switch of {network}" for network in topology.networks}
    own = {name: {port.device: "" for port in interfaces if port.namespace == name} for name in _host_names(topology)}
    names = {
        address.partition("/")[0]: port.namespace
        for port in reversed(interfaces)  # a router's first interface gives it its name like the others
        for address in (*port.addresses, port.mac)
    }
    logged = [
        f"{node}/{program}" for node in topology.nodes for program in ("cilium-agent", "node-agent", "kube-proxy")
    ]
    if topology.cilium.l2announcements.enabled:
        logged += [f"{node}/l2-responder" for node in topology.nodes]
    logged += [f"{router}/{daemon}" for router in topology.routers for daemon in ("zebra", "bgpd", "bfdd")]
    logged += [f"{router}/{ARP_FREEBSD}" for router in _freebsd(topology)]
    logged += [f"{node}/{ANNOUNCER}" for node in topology.nodes]
    logged += [f"{CONTROL_PLANE}/{program}" for program in ("cilium-operator", "kube-controller-manager")]
    logged += more
    bmp_port = _BMP_PORT if daemons.installed().bmp else None
    plan = timeline.RecorderPlan(
        journal=str(folder / journal.FILE),
        socket=str(folder / timeline.SOCKET_FILE),
        names=names,
        hosts={
            FABRIC: timeline.HostPlan(ports=switch),
            **{
                name: timeline.HostPlan(
                    routes=name in topology.routers, ports=ports, strangers=name not in _freebsd(topology)
                )
                for name, ports in own.items()
            },
        },
        routers={name: timeline.RouterPlan(str(frr_folder(folder, name)), bmp_port) for name in topology.routers},
        kubeconfig=str(kubeconfig),
        kube_host=CONTROL_PLANE,
        leases=bool(topology.cilium.l2announcements.enabled),
        logs=str(folder / LOG_FOLDER),
        log_files={f"{process.replace('/', '-')}.log": process for process in logged},
        macs={port.mac: port.namespace for port in interfaces},
    )
    plan.save(folder / timeline.FILE)
    program = (sys.executable, "-m", "harness.backends.netns.recorder", str(folder / timeline.FILE))
    yield Process(RECORDER, FABRIC, (*program, "recorder"), ready=Ready(unix=plan.socket), at_boot=False)
    yield Process(OBSERVER, FABRIC, (*program, "observer"), at_boot=False)


def _host_names(topology: Topology) -> tuple[str, ...]:
    return (*topology.routers, *topology.nodes, *topology.clients, CONTROL_PLANE)


def _mounts(needed: Iterable[daemons.Mount], in_etc: Mapping[str, str]) -> Iterator[Mount]:
    """What daemons need, with everything in /etc as one shadow, after the file system of memory that it is kept in.

    A file bound over /etc/group would be gone as soon as the machine's own is replaced, as `useradd` does.
    """
    etc = Path("/etc")
    over = {m.target.name: str(m.source) for m in needed if m.kind == "bind" and m.target.parent == etc}
    rest = [m for m in needed if m.kind != "bind" or m.target.parent != etc]
    yield from (Mount(m.kind, str(m.target), str(m.source) if m.source else None) for m in rest)
    yield Mount("shadow", str(etc), over={**over, **in_etc})


def _write(files: Mapping[Path, str]) -> None:
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _control_plane(
    topology: Topology, binaries: Binaries, folder: Path, access: Credentials, kubeconfig: Path
) -> Iterator[Process]:
    kube, api = str(binaries.kube), f"{CONTROL_PLANE}/kube-apiserver"
    etcd = "http://127.0.0.1:2379"
    yield Process(
        f"{CONTROL_PLANE}/etcd",
        CONTROL_PLANE,
        (
            kube,
            "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # a lab that loses power is a lab that has ended
            "--unsafe-no-fsync",
            # alone, it is elected after up to this time, by default 1 s; the API server's first attempts wait for it
            f"--heartbeat-interval={_ETCD_ELECTION_MS // 5}",
            f"--election-timeout={_ETCD_ELECTION_MS}",
            "--log-level=warn",
        ),
    )
    yield Process(
        api,
        CONTROL_PLANE,
        (
            kube,
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--secure-port={API_PORT}",
            f"--advertise-address={topology.control_plane.address[0]}",
            f"--tls-cert-file={access.certificate}",
            f"--tls-private-key-file={access.key}",
            f"--token-auth-file={access.tokens}",
            "--authorization-mode=AlwaysAllow",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={access.service_account_key}",
            f"--service-account-signing-key-file={access.service_account_key}",
            f"--service-cluster-ip-range={','.join(map(str, topology.cluster.service_cidrs))}",
            # pods are lblab's own servers: they have no use for a token
            "--disable-admission-plugins=ServiceAccount",
            "--endpoint-reconciler-type=none",
            "--enable-priority-and-fairness=false",
            "--profiling=false",
        ),
        after=(f"{CONTROL_PLANE}/etcd",),
        ready=Ready(api=f"{API_PORT}/readyz?exclude={_IN_SEED}", token=access.token),
    )
    yield Process(
        f"{CONTROL_PLANE}/kube-controller-manager",
        CONTROL_PLANE,
        (
            kube,
            "kube-controller-manager",
            f"--kubeconfig={kubeconfig}",
            f"--controllers={','.join(_CONTROLLERS)}",
            f"--node-monitor-grace-period={topology.cluster.node_monitor_grace_seconds}s",
            "--node-monitor-period=1s",
            "--leader-elect=false",
            "--secure-port=0",
            "--profiling=false",
        ),
        after=(api,),
    )
    yield Process(
        f"{CONTROL_PLANE}/kube-scheduler",
        CONTROL_PLANE,
        (kube, "kube-scheduler", f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--secure-port=0"),
        after=(api,),
    )
    yield Process(
        f"{CONTROL_PLANE}/cilium-operator",
        CONTROL_PLANE,
        (
            str(binaries.cilium_operator),
            f"--kubeconfig={kubeconfig}",
            "--namespace=kube-system",
            # LB-IPAM then gives addresses to services of the class io.cilium/l2-announcer, too
            *(("--enable-l2-announcements=true",) if topology.cilium.l2announcements.enabled else ()),
        ),
        after=(api,),
    )
    yield Process(
        f"{CONTROL_PLANE}/api-forward",
        CONTROL_PLANE,
        (str(binaries.lablet), "forward", f"--fd={_API_FD}", f"--to=127.0.0.1:{API_PORT}"),
        api_fd=_API_FD,
    )


def _routers(topology: Topology, folder: Path) -> Iterator[Process]:
    for router in topology.routers:
        run = frr_folder(folder, router)
        run.mkdir(parents=True)
        config = frr_config(topology, router)
        if daemons.installed().bmp:
            config = bmp.with_bmp(config, _BMP_PORT)
        frr = daemons.router_daemons(router, config, run)
        _write(frr.files)
        for daemon in frr.daemons:
            after = tuple(f"{router}/{other}" for other in daemon.after)
            yield Process(
                f"{router}/{daemon.name}",
                router,
                daemon.argv,
                after=after,
                ready=Ready(unix=str(daemon.ready)),
                vty_lines=tuple(frr.configure.get(daemon.name, ())),
            )


def _freebsd(topology: Topology) -> tuple[str, ...]:
    return tuple(name for name, router in topology.routers.items() if router.arp == "freebsd")


def _arp(topology: Topology, binaries: Binaries, folder: Path) -> Iterator[Process]:
    """FreeBSD's ARP of routers that have it; and on each node an announcer, which a scenario may start."""
    scale = f"--time-scale={topology.time_scale:g}"
    for router in _freebsd(topology):
        control = arp_socket(folder, router)
        control.parent.mkdir(exist_ok=True)
        argv = [str(binaries.lablet), ARP_FREEBSD, scale, f"--control={control}"]
        for network in topology.arp_networks(router):
            subnets = [str(subnet) for subnet in topology.networks[network].subnet if subnet.version == 4]
            if subnets:
                argv.append(f"--on={topology.routers[router].interfaces[network].device}={','.join(subnets)}")
            known = [str(address) for address in topology.addresses_in(network)]
            argv.append(f"--except={','.join(known)}")
        yield Process(f"{router}/{ARP_FREEBSD}", router, tuple(argv), ready=Ready(unix=str(control)))
    for node in topology.nodes:
        control = announcer_socket(folder, node)
        argv = [str(binaries.lablet), ANNOUNCER, scale, f"--iface={HOST_DEVICE}", f"--node={node}"]
        argv.append(f"--control={control}")
        yield Process(f"{node}/{ANNOUNCER}", node, tuple(argv), ready=Ready(unix=str(control)), at_boot=False)


def _nodes(topology: Topology, binaries: Binaries, folder: Path, kubeconfig: Path) -> Iterator[Process]:
    after = (f"{CONTROL_PLANE}/kube-apiserver",)
    for name, node in topology.nodes.items():
        run = node_folder(folder, name)
        run.mkdir(parents=True)
        yield Process(
            f"{name}/node-agent",
            name,
            (
                str(binaries.node_agent),
                f"--kubeconfig={kubeconfig}",
                f"--node={name}",
                f"--addresses={','.join(map(str, node.address))}",
                f"--pod-cidrs={','.join(map(str, topology.pod_cidrs(name)))}",
                f"--labels={','.join(f'{key}={value}' for key, value in node.labels.items())}",
                f"--lablet={binaries.lablet}",
                f"--run-dir={run}",
                f"--lease-duration={topology.cluster.node_lease_seconds}s",
                "--cilium-node",
            ),
            after=after,
        )
        yield Process(
            f"{name}/kube-proxy",
            name,
            (
                str(binaries.kube),
                "kube-proxy",
                f"--kubeconfig={kubeconfig}",
                f"--hostname-override={name}",
                "--proxy-mode=nftables",
                # these sysctls belong to the machine, not to a network namespace (design.md)
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0s",
                "--conntrack-tcp-timeout-close-wait=0s",
            ),
            after=after,
        )
        agent = [str(binaries.cilium_bgp), f"--kubeconfig={kubeconfig}", f"--node={name}"]
        agent += l2.agent_options(topology.cilium)
        responder = tuple(_l2_responder(name, topology, binaries, folder))
        if responder:
            agent.append(f"--l2-responder={l2_responder_socket(folder, name)}")
        yield from responder
        yield Process(
            f"{name}/cilium-agent",
            name,
            tuple(agent),
            after=(*after, *(process.name for process in responder)),
        )


def _l2_responder(node: str, topology: Topology, binaries: Binaries, folder: Path) -> Iterator[Process]:
    """What answers ARP; a process of its own, as Cilium's BPF program and its maps outlive the agent."""
    settings = topology.cilium.l2announcements
    if settings.enabled:
        socket = l2_responder_socket(folder, node)
        yield Process(
            f"{node}/l2-responder",
            node,
            (
                str(binaries.lablet),
                "l2-responder",
                f"--socket={socket}",
                f"--max-liveness={settings.lease_duration:g}s",
            ),
            ready=Ready(unix=str(socket)),
        )


def _join(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
