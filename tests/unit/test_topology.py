"""Topology files: what good ones give, and the one sentence for each bad one."""

import re
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from harness import topology
from harness.errors import UserError
from harness.topology import Topology

GOOD = """\
name: t
networks:
  servers: {subnet: 192.168.130.0/24}
  lan: {subnet: [192.168.20.0/24, "fd00:20::/64"]}
routers:
  r1:
    interfaces:
      servers: {address: 192.168.130.1, device: vlan0130}
      lan: {address: [192.168.20.1, "fd00:20::1"], device: igb1}
    osFrr:
      bgp:
        enabled: true
        asnumber: 64512
        neighbors:
          - {address: 192.168.130.151, remoteas: 64513, updatesource: servers}
  r2:
    interfaces:
      servers: {address: 192.168.130.2, device: eth0}
    frrConfig: frr.conf
controlPlane: {network: servers, address: 192.168.130.150}
nodes:
  worker1: {network: servers, address: 192.168.130.151, labels: {io.cilium/bgp: worker}}
  worker2: {network: servers, address: 192.168.130.152, gateway: 192.168.130.2}
clients:
  client: {network: lan, address: [192.168.20.50, "fd00:20::50"]}
cluster: {podCIDRs: [10.244.0.0/16, "fd00:244::/48"], serviceCIDRs: [10.96.0.0/16]}
manifests:
  - m.yaml
  - firstServed: [m.yaml, folder]
"""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("frr.conf").write_text("router bgp 1\n")
    Path("m.yaml").write_text("{apiVersion: v1, kind: Pod}")
    Path("folder").mkdir()


def load(text: str) -> Topology:
    Path("t.yaml").write_text(text)
    return topology.load("t.yaml")


def test_a_good_topology_answers_what_a_lab_asks() -> None:
    lab = load(GOOD)
    assert lab.network_of("client") == "lan"
    assert lab.routers_of("servers") == ("r1", "r2")
    assert lab.gateway_of("worker1") == (ip_address("192.168.130.1"),)
    assert lab.gateway_of("worker2") == (ip_address("192.168.130.2"),)
    assert lab.gateway_of("client") == (ip_address("192.168.20.1"), ip_address("fd00:20::1"))
    assert lab.pod_cidrs("worker1") == (ip_network("10.244.0.0/24"), ip_network("fd00:244::/64"))
    assert lab.pod_cidrs("worker2") == (ip_network("10.244.1.0/24"), ip_network("fd00:244:0:1::/64"))
    assert lab.with_prefix("lan", ip_address("fd00:20::50")) == ip_interface("fd00:20::50/64")
    assert [(link.network, link.device, *map(str, link.addresses)) for link in lab.links("r1")] == [
        ("servers", "vlan0130", "192.168.130.1/24"),
        ("lan", "igb1", "192.168.20.1/24", "fd00:20::1/64"),
    ]
    assert [link.device for link in lab.links("worker1")] == ["eth0"]
    assert lab.nodes["worker1"].labels == {"io.cilium/bgp": "worker"}
    assert lab.routers["r1"].os_frr is not None
    assert lab.routers["r1"].os_frr.bgp.asnumber == 64512
    assert set(map(str, lab.router_addresses())) == {
        "192.168.130.1",
        "192.168.20.1",
        "fd00:20::1",
        "192.168.130.2",
    }
    with pytest.raises(KeyError):
        lab.host("nobody")
    with pytest.raises(KeyError):
        lab.with_prefix("lan", ip_address("192.168.130.1"))


def test_paths_are_relative_to_the_file() -> None:
    Path("sub").mkdir()
    Path("sub/t.yaml").write_text(GOOD)
    for name in ("frr.conf", "m.yaml", "folder"):
        Path(name).rename(Path("sub") / name)
    lab = topology.load("sub/t.yaml")
    assert lab.routers["r2"].frr_config == Path("sub/frr.conf")
    assert [choice.first_served for choice in lab.manifests] == [
        (Path("sub/m.yaml"),),
        (Path("sub/m.yaml"), Path("sub/folder")),
    ]


def test_a_topology_survives_the_way_to_another_process() -> None:
    lab = load(GOOD)
    assert Topology.model_validate_json(lab.model_dump_json(by_alias=True)) == lab


def test_the_smallest_topology_has_kubernetes_usual_ranges() -> None:
    lab = load("name: t\nnetworks: {lan: {subnet: 10.0.0.0/24}}\ncontrolPlane: {network: lan, address: 10.0.0.2}\n")
    assert [str(cidr) for cidr in (*lab.cluster.pod_cidrs, *lab.cluster.service_cidrs)] == [
        "10.244.0.0/16",
        "10.96.0.0/16",
    ]


BAD = [
    # what is written, what in its place, the error
    ("address: 192.168.130.151, labels", "adress: 192.168.130.151, labels", 
     't.yaml:22: unknown field "adress" in nodes.worker1 (did you mean "address"?)'),
    ("name: t\n", "name: t\nzzz: 1\n",
     't.yaml:2: unknown field "zzz" (known fields: name, description, networks, routers, controlPlane, nodes, clients, '
     "cluster, metallb, cilium, manifests, timeScale)"),
    ("asnumber", "asnumbr", 't.yaml:13: unknown field "asnumbr" in routers.r1.osFrr.bgp (did you mean "asnumber"?)'),
    ("remoteas: 64513", "remote_as: 64513",
     't.yaml:15: unknown field "remote_as" in routers.r1.osFrr.bgp.neighbors[0] (did you mean "remoteas"?)'),
    ("firstServed: [", "firstserved: [",
     't.yaml:29: unknown field "firstserved" in manifests[1] (did you mean "firstServed"?)'),
    ("firstServed: [m.yaml, folder]", "firstServed: []", "t.yaml:29: manifests[1].firstServed is empty"),
    ("name: t\n", "", 't.yaml:1: a topology needs the field "name"'),
    ("device: igb1", "dev: igb1",
     't.yaml:9: unknown field "dev" in routers.r1.interfaces.lan (did you mean "device"?)'),
    (", device: igb1", "", 't.yaml:9: routers.r1.interfaces.lan needs the field "device"'),
    ("device: igb1", "device: much-too-long-a-name",
     "t.yaml:9: routers.r1.interfaces.lan.device: should match pattern '^[^\\s/:]{1,15}$', "
     'not "much-too-long-a-name"'),
    ("device: igb1", "device: vlan0130",
     't.yaml:9: router r1: device "vlan0130" is already its interface in servers'),
    ("device: igb1", "device: lo", 't.yaml:9: router r1: device "lo" is already the loopback interface'),
    ("labels: {io.cilium/bgp: worker}", "labels: {io.cilium/bgp: true}",
     "t.yaml:22: nodes.worker1.labels.io.cilium/bgp: should be a valid string, not true (put it in quotes)"),
    ("asnumber: 64512", "asnumber: many",
     "t.yaml:13: routers.r1.osFrr.bgp.asnumber: should be a valid integer, unable to parse string as an integer, "
     'not "many"'),
    ("192.168.130.150}", "192.168.130.300}", 't.yaml:20: controlPlane.address: "192.168.130.300" is not an IP address'),
    ("192.168.130.0/24", "192.168.130.1/24",
     't.yaml:3: networks.servers.subnet: "192.168.130.1/24" is not a subnet (did you mean 192.168.130.0/24?)'),
    ("192.168.130.0/24", "servers", 
     't.yaml:3: networks.servers.subnet: "servers" is not a subnet (as in 192.168.130.0/24)'),
    ("subnet: 192.168.130.0/24", "subnet: []",
     "t.yaml:3: networks.servers.subnet is empty"),
    ("  worker2: {network: servers", "  worker2: {network: server",
     't.yaml:23: node worker2 is linked to "server", which is no network (did you mean "servers"?)'),
    ("{network: servers, address: 192.168.130.150}", "{network: dmz, address: 192.168.130.150}",
     't.yaml:20: the control plane is linked to "dmz", which is no network (networks here: servers, lan)'),
    ("      lan: {address: [192.168.20.1", "      wan: {address: [192.168.20.1",
     't.yaml:9: router r1 is linked to "wan", which is no network (did you mean "lan"?)'),
    ("192.168.20.0/24", "192.168.130.128/25",
     "t.yaml:4: network lan (192.168.130.128/25) overlaps network servers (192.168.130.0/24)"),
    ("192.168.20.50", "192.168.21.50",
     "t.yaml:25: 192.168.21.50 of client client is not in lan (192.168.20.0/24 and fd00:20::/64)"),
    ("address: 192.168.130.152", "address: 192.168.130.151",
     "t.yaml:23: 192.168.130.151 of node worker2 is used twice: node worker1 has it too"),
    ("address: 192.168.130.152", "address: 192.168.130.150",
     "t.yaml:23: 192.168.130.150 of node worker2 is used twice: the control plane has it too"),
    ("address: 192.168.130.152", "address: 192.168.130.255",
     "t.yaml:23: 192.168.130.255 of node worker2 is the broadcast address of 192.168.130.0/24"),
    ('"fd00:20::50"', '"fd00:20::"', "t.yaml:25: fd00:20:: of client client is the network address of fd00:20::/64"),
    ("gateway: 192.168.130.2", "gateway: 192.168.130.3",
     "t.yaml:23: gateway 192.168.130.3 of node worker2 is no router's address in servers "
     "(routers there: 192.168.130.1, 192.168.130.2)"),
    ("[10.244.0.0/16", "[192.168.0.0/16",
     "t.yaml:26: cluster.podCIDRs: 192.168.0.0/16 overlaps network servers (192.168.130.0/24)"),
    ("[10.96.0.0/16]", "[10.244.128.0/20]",
     "t.yaml:26: cluster.serviceCIDRs: 10.244.128.0/20 overlaps cluster.podCIDRs (10.244.0.0/16)"),
    ("[10.96.0.0/16]", "[10.96.0.0/16, 10.97.0.0/16]",
     "t.yaml:26: cluster.serviceCIDRs has two IPv4 ranges (Kubernetes takes one of each)"),
    ("[10.244.0.0/16", "[10.244.0.0/24", 
     "t.yaml:26: cluster.podCIDRs: 10.244.0.0/24 holds 1 /24, 2 nodes need one each"),
    ("[10.244.0.0/16", "[10.244.0.0/25", 
     "t.yaml:26: cluster.podCIDRs: 10.244.0.0/25 holds 0 /24, 2 nodes need one each"),
    ("- {address: 192.168.130.151", "- {address: 192.168.130.153",
     "t.yaml:15: router r1: bgp neighbor 192.168.130.153 is no address in this topology "
     "(nodes: 192.168.130.151, 192.168.130.152)"),
    ("- {address: 192.168.130.151", "- {address: 192.168.20.1",
     "t.yaml:15: router r1: bgp neighbor 192.168.20.1 is its own address "
     "(nodes: 192.168.130.151, 192.168.130.152)"),
    ("- {address: 192.168.130.151", "- {address: worker1",
     "t.yaml:15: routers.r1.osFrr.bgp.neighbors[0].address: 'worker1' does not appear to be an IPv4 or IPv6 address"),
    ("updatesource: servers", "updatesource: server",
     't.yaml:15: router r1: updatesource "server" is none of its interfaces (did you mean "servers"?)'),
    ("frrConfig: frr.conf", "frrConfig: frr.cnf",
     "t.yaml:19: router r2: there is no FRR configuration frr.cnf"),
    ("frrConfig: frr.conf", "frrConfig: frr.conf\n    osFrr: {}",
     "t.yaml:19: router r2 has both osFrr and frrConfig (keep one of them)"),
    ("asnumber: 64512", "routerid: one",
     "t.yaml:13: routers.r1.osFrr.bgp.routerid: 'one' does not appear to be an IPv4 or IPv6 address"),
    ("clients:\n  client: {network: lan, address: [192.168.20.50, \"fd00:20::50\"]}\n", "clients:\n",
     "t.yaml:24: clients: should be a mapping, not null"),
    ("  - m.yaml", "  - n.yaml", "t.yaml:28: there is no manifest n.yaml"),
    ("[m.yaml, folder]", "[m.yaml, nowhere]", "t.yaml:29: there is no manifest nowhere"),
    ("  - m.yaml", "  - 5",
     "t.yaml:28: manifests[0] should be a mapping of fields, not 5"),
    ("  worker1:", "  Worker_1:",
     "t.yaml:22: \"Worker_1\" is not a DNS label (lower-case letters, digits and '-', at most 63 characters, "
     "a letter or digit first and last)"),
    ("  client:", "  worker1:", 't.yaml:25: the name "worker1" is in use twice: in nodes and in clients'),
    ("  r2:\n", "  r3:\n    arp: freebsd\n    interfaces: {lan: {address: 192.168.20.3, device: eth0}}\n  r2:\n",
     "t.yaml:17: router r3 has FreeBSD's ARP, but no IPv4 address in a network with nodes (leave arp out)"),
    ("  r2:\n", "  r2:\n    arp: openbsd\n",
     't.yaml:17: routers.r2.arp: should be \'linux\' or \'freebsd\', not "openbsd"'),
    ("  worker2:", "  worker1:", 't.yaml:23: key "worker1" is given twice (first on line 22)'),
    ("name: t\n", "name: T 1\n",
     "t.yaml:1: \"T 1\" is not a DNS label (lower-case letters, digits and '-', at most 63 characters, "
     "a letter or digit first and last)"),
    ("name: t\n", "name: t\n---\nname: u\n", "t.yaml: a topology is one YAML document, this file has 2"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "instead", "message"), BAD)
def test_a_bad_topology_is_one_sentence_with_its_line(written: str, instead: str, message: str) -> None:
    assert written in GOOD
    with pytest.raises(UserError) as error:
        load(GOOD.replace(written, instead, 1))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.yaml: a topology is one YAML document, this file has 0"),
        ("- a\n", 't.yaml:1: a topology should be a mapping of fields, not ["a"]'),
        ("a: [\n", "t.yaml:2: not valid YAML"),
    ],
)
def test_what_is_no_topology_at_all(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load(text)
