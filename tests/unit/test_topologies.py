"""The topologies that come with lblab, their schema, and the check of peers."""

import json
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from harness import manifests, schema, topology
from harness.backends.netns.plan_routers import frr_config
from harness.errors import UserError
from harness.peers import check_peers, peers_of
from harness.topology import Topology

FOLDER = Path(__file__).parents[2] / "topologies"
FILES = sorted(FOLDER.glob("*.yaml"))
#: The pool of the guide; no network may hold it, or the route to it would not be learnt by BGP.
POOL = ip_network("192.168.142.0/24")


def test_there_are_topologies() -> None:
    assert {file.stem for file in FILES} >= {"blog", "blog-v2", "small", "two-routers", "dual-stack", "sixteen"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_topology_of_lblab_is_whole(file: Path) -> None:
    lab = topology.load(file)
    assert lab.name == file.stem
    assert file.read_text().splitlines()[0] == "# yaml-language-server: $schema=topology.schema.json"
    everything = [one for choice in lab.manifests for path in choice.first_served for one in manifests.load(path)]
    kinds = {one.kind for one in everything}
    assert {"Service", "Deployment"} <= kinds
    check_peers(lab, everything)
    if lab.metallb is not None:
        assert {"IPAddressPool", "L2Advertisement"} <= kinds
        assert lab.speakers()
    else:
        assert "CiliumLoadBalancerIPPool" in kinds
        announced = peers_of(everything) or "CiliumL2AnnouncementPolicy" in kinds
        assert announced or lab.name == "router-arp"  # whose addresses scenarios announce
    assert all(
        not POOL.overlaps(subnet) for net in lab.networks.values() for subnet in net.subnet if subnet.version == 4
    )
    configured = "".join(frr_config(lab, name) for name in lab.routers)
    for node in lab.nodes.values():
        for address in node.address if "io.cilium/bgp" in node.labels else ():
            assert f"neighbor {address} remote-as 6451" in configured


def test_the_blog_is_the_guides_site() -> None:
    lab = topology.load(FOLDER / "blog.yaml")
    assert {name: str(node.address[0]) for name, node in lab.nodes.items()} == {
        "k-node1": "192.168.130.151",
        "k-node2": "192.168.130.152",
        "k-node5": "192.168.130.155",
        "k-beef1": "192.168.130.156",
    }
    (policy,) = manifests.load(FOLDER / "blog/bgp.yaml")
    assert policy.object == {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "bgp-peering-policy-worker"},
        "spec": {
            "nodeSelector": {"matchLabels": {"io.cilium/bgp": "worker"}},
            "virtualRouters": [
                {
                    "localASN": 64513,
                    "serviceSelector": {
                        "matchExpressions": [
                            {"key": "io.cilium/bgp-announce", "operator": "NotIn", "values": ["fakevalue"]}
                        ]
                    },
                    "neighbors": [
                        {
                            "peerAddress": "192.168.130.1/32",
                            "peerASN": 64512,
                            "eBGPMultihopTTL": 10,
                            "connectRetryTimeSeconds": 120,
                            "holdTimeSeconds": 90,
                            "keepAliveTimeSeconds": 30,
                            "gracefulRestart": {"enabled": True, "restartTimeSeconds": 120},
                        }
                    ],
                }
            ],
        },
    }


def test_the_committed_schema_is_that_of_the_models() -> None:
    committed = (FOLDER / "topology.schema.json").read_text()
    assert committed == schema.render(), "run: python -m harness.schema > topologies/topology.schema.json"


def test_the_schema_describes_every_field_of_a_topology() -> None:
    content = json.loads(schema.render())
    assert content["$id"] == "urn:lblab:topology"
    own = ["Network", "Interface", "Router", "ControlPlane", "Node", "Client", "Cluster", "Metallb"]
    parts = [content, *(content["$defs"][name] for name in own)]
    for part in parts:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description"), f"{part['title']}.{name}"
    assert {"podCIDRs", "serviceCIDRs"} <= set(content["$defs"]["Cluster"]["properties"])


PEERS = """\
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: p}
spec:
  virtualRouters:
    - neighbors:
        - peerAddress: 192.168.130.1/32
        - peerAddress: fd00:130::1/128
---
apiVersion: cilium.io/v2
kind: CiliumBGPClusterConfig
metadata: {name: c}
spec:
  bgpInstances:
    - peers:
        - {name: a, autoDiscovery: {mode: DefaultGateway}}
        - name: b
          peerAddress: 192.168.130.1
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: m}
spec:
  peerAddress: fd00:130:0::1
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {peerAddress: 1.2.3.4}
"""


@pytest.fixture
def dual_stack() -> Topology:
    return topology.load(FOLDER / "dual-stack.yaml")


def test_peers_are_found_in_every_kind(dual_stack: Topology) -> None:
    objects = manifests.load_text(PEERS, "m.yaml")
    found = peers_of(objects)
    assert [peer.address for peer in found] == [
        ip_address(text) for text in ("192.168.130.1", "fd00:130::1", "192.168.130.1", "fd00:130::1")
    ]
    check_peers(dual_stack, objects)


ROUTERS = (
    "(router addresses: 192.168.130.1 (opnsense), fd00:130::1 (opnsense), 192.168.129.1 (opnsense), "
    "fd00:129::1 (opnsense))"
)


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("192.168.130.1/32", "10.0.0.1/32", "m.yaml:7: CiliumBGPPeeringPolicy/p: peer address 10.0.0.1/32"),
        ("fd00:130::1/128", "fd00:130::2/128", "m.yaml:8: CiliumBGPPeeringPolicy/p: peer address fd00:130::2/128"),
        ("192.168.130.1\n", "192.168.130.151\n", "m.yaml:18: CiliumBGPClusterConfig/c: peer address 192.168.130.151"),
        ("192.168.130.1\n", "192.168.130.1/32\n", "m.yaml:18: CiliumBGPClusterConfig/c: peer address 192.168.130.1/32"),
        ("fd00:130:0::1", "router", "m.yaml:24: BGPPeer/m: peer address router"),
    ],
)
def test_a_peer_that_is_no_router_is_told(dual_stack: Topology, written: str, instead: str, message: str) -> None:
    assert written in PEERS
    with pytest.raises(UserError) as error:
        check_peers(dual_stack, manifests.load_text(PEERS.replace(written, instead, 1), "m.yaml"))
    assert str(error.value) == f"{message} is no router's address in topology dual-stack {ROUTERS}"
