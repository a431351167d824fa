"""From a topology to what its lab host is told: which namespaces, links and routes there are, which daemons run where.

Pure but for the files it writes into the lab's own folder. Options are explained where they are not the daemon's
defaults.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from harness.backends.netns import plan_routers, plan_timeline
from harness.backends.netns.credentials import Credentials
from harness.backends.netns.plan_metallb import ETC, metallb
from harness.backends.netns.plan_routers import node_folder, write
from harness.backends.netns.spec import HostSpec, Mount, Process, Ready
from harness.backends.netns.wiring import API_PORT, CONTROL_PLANE, default_routes, interfaces, pod_routes, sysctls
from harness.binaries import Binaries
from harness.cilium import l2
from harness.routing import daemons
from harness.topology import Topology

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


def l2_responder_socket(folder: Path, node: str) -> Path:
    """Where what answers ARP in place of Cilium's BPF program is programmed."""
    return node_folder(folder, node) / "l2-responder.sock"


def inner_kubeconfig(folder: Path) -> Path:
    """The kubeconfig of programs within the lab."""
    return folder / "pki" / "kubeconfig"


def api_addresses(topology: Topology) -> list[str]:
    """Addresses at which the API server is reached within the lab: its own, and that of the `kubernetes` Service."""
    first = [str(cidr[1]) for cidr in topology.cluster.service_cidrs]
    return [*map(str, topology.control_plane.address), *first]


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
    write(needs.files)
    announcers = () if binaries.metallb is None else metallb(topology, binaries.metallb, folder, inside, CONTROL_PLANE)
    ports = tuple(interfaces(topology))
    logged = [*_logged(topology), *(process.name for process in announcers)]
    return HostSpec(
        name=name,
        folder=str(folder),
        namespaces=sysctls(topology),
        networks=tuple(topology.networks),
        interfaces=ports,
        routes=(*default_routes(topology), *pod_routes(topology)),
        processes=(
            *plan_timeline.processes(topology, folder, ports, inside, logged, bmp=daemons.installed().bmp),
            *_control_plane(topology, binaries, folder, access, inside),
            *plan_routers.routers(topology, folder),
            *plan_routers.arp(topology, binaries.lablet, folder),
            *_nodes(topology, binaries, folder, inside),
            *announcers,
        ),
        mounts=tuple(_mounts(needs.mounts, {"metallb": str(folder / ETC)} if announcers else {})),
        folders=tuple(map(str, needs.folders)),
    )


def _logged(topology: Topology) -> Iterator[str]:
    """The processes of nodes and of the control plane whose logs belong on the timeline."""
    for node in topology.nodes:
        yield from (f"{node}/{program}" for program in ("cilium-agent", "node-agent", "kube-proxy"))
        if topology.cilium.l2announcements.enabled:
            yield f"{node}/l2-responder"
    yield from (f"{CONTROL_PLANE}/{program}" for program in ("cilium-operator", "kube-controller-manager"))


def _unpack(seed: Path, folder: Path) -> None:
    with tarfile.open(seed) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
        else:  # Python before 3.11.4, as Debian 12 has it; the seed is lblab's own
            tar.extractall(folder)


def _mounts(needed: Iterable[daemons.Mount], in_etc: Mapping[str, str]) -> Iterator[Mount]:
    """What daemons need, with everything in /etc as one shadow, after the file system of memory that it is kept in.

    A file bound over /etc/group would be gone as soon as the machine's own is replaced, as `useradd` does.
    """
    etc = Path("/etc")
    over = {m.target.name: str(m.source) for m in needed if m.kind == "bind" and m.target.parent == etc}
    rest = [m for m in needed if m.kind != "bind" or m.target.parent != etc]
    yield from (Mount(m.kind, str(m.target), str(m.source) if m.source else None) for m in rest)
    yield Mount("shadow", str(etc), over={**over, **in_etc})


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
