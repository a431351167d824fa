"""A site's own manifests and config.xml: what it is open to, what is not understood, and the lab that is made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_config_xml import BLOG_XML

from harness import topology
from harness.cli import app
from harness.errors import UserError
from harness.lag.mechanisms import Mechanism
from harness.report import site as report
from harness.site import draw
from harness.site.exposure import Exposure, exposures, notes
from harness.site.model import Site
from harness.site.read import read
from harness.site.run import COURSES, Result

ROUTER = """<?xml version="1.0"?>
<opnsense>
  <interfaces>
    <lan><if>igb1</if><ipaddr>192.168.20.1</ipaddr><subnet>24</subnet></lan>
    <wan><if>igb0</if><ipaddr>dhcp</ipaddr></wan>
    <opt3><if>vlan0130</if><ipaddr>192.168.130.1</ipaddr><subnet>24</subnet></opt3>
  </interfaces>
  <vlans><vlan uuid="1"><if>igb1</if><tag>130</tag><vlanif>vlan0130</vlanif></vlan></vlans>
  <dhcpd><opt3><enable>1</enable><range><from>192.168.130.90</from><to>192.168.130.100</to></range></opt3></dhcpd>
</opnsense>
"""
METALLB = """
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: games, namespace: metallb-system}
spec: {addresses: [192.168.130.96/28]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: games, namespace: metallb-system}
spec: {ipAddressPools: [games], interfaces: [enp1s0]}
"""
GAME = """
apiVersion: v1
kind: Service
metadata:
  name: ark
  namespace: games
  labels: {app: ark}
  annotations: {metallb.io/loadBalancerIPs: 192.168.130.105}
spec:
  type: LoadBalancer
  selector: {app: ark}
  ports: [{port: 7770, targetPort: 7777, protocol: UDP}]
"""
POLICY = """
apiVersion: cilium.io/v2alpha1
kind: CiliumL2AnnouncementPolicy
metadata: {name: left-over}
spec: {loadBalancerIPs: true, interfaces: [enp1s0], nodeSelector: {matchLabels: {announce: l2}}}
"""
BGP = """
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: worker}
spec:
  nodeSelector: {matchLabels: {io.cilium/bgp: worker}}
  virtualRouters:
    - localASN: 64513
      serviceSelector: {matchExpressions: [{key: x, operator: NotIn, values: [y]}]}
      neighbors:
        - {peerAddress: 192.168.130.1/32, peerASN: 64512, holdTimeSeconds: 90,
           gracefulRestart: {enabled: true, restartTimeSeconds: 120}}
---
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: games}
spec: {blocks: [{cidr: 192.168.142.0/24}]}
"""


def site(folder: Path, *texts: str, router: str | None = ROUTER) -> Site:
    manifests = folder / "site"
    (manifests / "deep").mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (manifests / "deep" / f"{number}.yaml").write_text(text)
    config = folder / "config.xml"
    if router is not None:
        config.write_text(router)
    return read([manifests], config if router is not None else None)


def of(found: Site, mechanism: Mechanism) -> Exposure:
    return next(each for each in exposures(found) if each.mechanism is mechanism)


def test_two_announcers_left_on(tmp_path: Path) -> None:
    """The guide's own drift: Cilium's policy has no selector, and takes MetalLB's service, too."""
    found = of(site(tmp_path, METALLB, GAME, POLICY), Mechanism.TWO_ANNOUNCERS)
    assert found.open
    assert "games/ark" in found.why
    assert "2.yaml:3" in found.remedy


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("loadBalancerIPs: true", "loadBalancerIPs: false"), "no load balancer addresses"),
        (("loadBalancerIPs: true", "loadBalancerIPs: true, serviceSelector: {matchLabels: {app: web}}"), "not chosen"),
    ],
)
def test_one_announcer_is_not_two(tmp_path: Path, change: tuple[str, str], why: str) -> None:
    left = POLICY.replace(*change)
    assert left != POLICY, why
    found = site(tmp_path, METALLB, GAME, left)
    announced = of(found, Mechanism.TWO_ANNOUNCERS)
    # a selector keeps this service out, and it is said that two announce, as services may come
    assert announced.open == ("serviceSelector" in left)
    assert ("games/ark" in announced.why) is False


def test_bgp_closes_what_arp_opens(tmp_path: Path) -> None:
    found = site(tmp_path, BGP, GAME.replace("metallb.io/loadBalancerIPs: 192.168.130.105", "a: b"))
    closed = {each.mechanism for each in exposures(found) if not each.open}
    assert closed == {
        Mechanism.TWO_ANNOUNCERS,
        Mechanism.SPEAKER_STALL,
        Mechanism.ARP_UNANSWERED,
        Mechanism.GARP_LOST,
        Mechanism.SPLIT_BRAIN,
        Mechanism.LEASE_LOST,
        Mechanism.STALE_REPLY_PATH,
        Mechanism.DUPLICATE_ADDRESS,
    }
    # and it brings its own: hold and restart time of a node that falls silent
    assert any("180 to 210 s" in note for note in notes(found))


def test_a_pool_in_the_dhcp_range(tmp_path: Path) -> None:
    found = of(site(tmp_path, METALLB), Mechanism.DUPLICATE_ADDRESS)
    assert "config.xml:9" in found.why
    outside = of(site(tmp_path, METALLB, router=ROUTER.replace("130.100", "130.95")), Mechanism.DUPLICATE_ADDRESS)
    assert "DHCP" not in outside.why


def test_a_pool_elsewhere_is_never_asked_for_by_arp(tmp_path: Path) -> None:
    found = site(tmp_path, METALLB.replace("192.168.130.96/28", "192.168.142.0-192.168.142.9"))
    assert not of(found, Mechanism.ARP_UNANSWERED).open
    assert of(found, Mechanism.SPEAKER_STALL).open


def test_what_is_not_understood_is_named(tmp_path: Path) -> None:
    release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: cilium}\n"
    found = site(tmp_path, METALLB, release, "replicas: 3\n")
    named = "\n".join(found.unknown)
    assert "1.yaml:2: HelmRelease/cilium" in named
    assert "2.yaml:1: not a Kubernetes object" in named
    assert "config.xml:5: wan has no fixed IPv4 address" in named
    text = report.render(found, exposures(found), notes(found))
    assert "not understood" in text
    assert "1 VLANs" in text


def test_an_object_that_is_not_as_its_kind_is_left_out(tmp_path: Path) -> None:
    odd = "apiVersion: cilium.io/v2\nkind: CiliumLoadBalancerIPPool\nmetadata: {name: x}\nspec: {blocks: [oops]}\n"
    peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: p}\nspec: {holdTime: 3m30s}\n"
    found = site(tmp_path, odd, peer)
    assert "0.yaml:2: CiliumLoadBalancerIPPool/x is not as its kind has it" in found.unknown[0]
    assert found.hold_seconds == 210


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (METALLB.replace("192.168.130.96/28", "192.168.130.300/28"), r"0\.yaml:5: .*no address"),
        ("a: [", "not valid YAML"),
    ],
)
def test_wrong_values_have_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        site(tmp_path, text)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read([tmp_path / "missing"], None)
    with pytest.raises(UserError, match="no manifest"):
        read([tmp_path], None)


def drawn(folder: Path, *texts: str, router: str = ROUTER) -> tuple[topology.Topology, draw.Drawn]:
    found = site(folder, *texts, router=router)
    made = draw.draw(found, draw.load([folder / "site"]))
    return topology.load(made.write(folder / "lab")), made


def test_the_lab_of_a_site_with_metallb(tmp_path: Path) -> None:
    lab, made = drawn(tmp_path, METALLB, GAME, POLICY)
    router = lab.routers["opnsense"]
    assert router.arp == "freebsd"
    assert [interface.device for interface in router.interfaces.values()] == ["vlan0130", "igb1"]
    assert lab.metallb is not None
    assert len(lab.nodes) == 3
    assert all(node.labels == {"announce": "l2"} for node in lab.nodes.values())
    kinds = [each["kind"] for each in made.objects]
    assert kinds == [
        "Namespace",
        "IPAddressPool",
        "L2Advertisement",
        "Service",
        "CiliumL2AnnouncementPolicy",
        "Deployment",
    ]
    assert "interfaces" not in made.objects[2]["spec"]
    assert any("interfaces are left out" in change for change in made.changes)
    ports = made.objects[-1]["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert ports == [{"containerPort": 7777, "protocol": "UDP"}]


def test_the_lab_of_the_guide(tmp_path: Path) -> None:
    """The router's own BGP neighbors are the nodes, and its settings its own."""
    lab, _ = drawn(tmp_path, BGP, GAME, router=BLOG_XML)
    addresses = {str(node.address[0]) for node in lab.nodes.values()}
    assert "192.168.130.151" in addresses
    frr = lab.routers["opnsense"].os_frr
    assert frr is not None
    assert frr.bgp.asnumber == 64512
    assert all(neighbor.updatesource in ("", "vlan0130") for neighbor in frr.bgp.neighbors)


def test_a_router_that_tells_of_no_node_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none for nodes"):
        drawn(tmp_path, METALLB, router=ROUTER.replace("192.168.130.1<", "10.0.0.1<"))


def test_a_site_without_udp_gets_a_port_for_probes(tmp_path: Path) -> None:
    _, made = drawn(tmp_path, METALLB, GAME.replace("protocol: UDP", "protocol: TCP"))
    service = next(each for each in made.objects if each["kind"] == "Service")
    assert [port["protocol"] for port in service["spec"]["ports"]] == ["TCP", "UDP"]
    assert any("no service has one for probes" in change for change in made.changes)


def test_what_a_lab_of_it_showed_is_told(tmp_path: Path) -> None:
    found = site(tmp_path, METALLB, GAME)
    results = [
        Result(Mechanism.SPEAKER_STALL, "games/ark", 0, 0, 2, ("node1", "node1"), Mechanism.SPEAKER_STALL),
        Result(Mechanism.LINK_FLAP, "games/ark", 6020.0, 602, 1, ("node1", "node2")),
        Result(Mechanism.LEASE_LOST, "games/ark", problem="no API server"),
    ]
    text = report.render(found, exposures(found), [], results)
    assert "speaker-stall: nothing lost, 2 moves of the router's entry (games/ark, with node1 before and after" in text
    assert "link-flap: longest gap 6.02 s, 602 packets lost" in text
    assert "node1 before, node2 after" in text
    assert "lease-lost: could not be run: no API server" in text
    assert report.facts(found, exposures(found), [], results)["lab"][1]["longest_gap_ms"] == 6020.0


def test_courses_are_of_mechanisms_that_a_site_can_be_open_to() -> None:
    assert Mechanism.TWO_ANNOUNCERS in COURSES
    assert COURSES[Mechanism.TWO_ANNOUNCERS].fault is None, "a site does this by itself"
    for mechanism, course in COURSES.items():
        if course.fault is not None:
            assert course.fault("node1", "192.168.130.105").name, mechanism


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "which manifests"),
        (["--manifests", "x", "--run"], "needs its router"),
        (["--manifests", "x"], "no such file"),
    ],
)
def test_the_command_refuses_with_one_sentence(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        app(["lag", *arguments], standalone_mode=False)
