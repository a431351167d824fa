"""MetalLB without a lab: versions, election, what it should announce, its schemas, and its gratuitous ARP."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from harness import manifests
from harness.arp.frame import ArpFrame, metallb_gratuitous
from harness.cilium.expected import Expected, Session
from harness.errors import UserError
from harness.metallb import api, crds, election, versions
from harness.metallb.expected import EXCLUDED, Objects, by_bgp, owners
from harness.metallb.members import members
from harness.topology import load

TOPOLOGIES = Path(__file__).parents[2] / "topologies"
ADDRESS = "192.168.130.200"
WORKERS = ("worker1", "worker2", "worker3")


# -- versions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "exact"), [("auto", "0.16.1"), ("0.15", "0.15.2"), ("v0.16.1", "0.16.1"), ("0.15.3", "0.15.3")]
)
def test_a_version_is_found(wanted: str, exact: str) -> None:
    assert str(versions.resolve(wanted)) == exact


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("0.9.9", "MetalLB 0.9.9 is not a version that lblab knows (tried: 0.15.2, 0.16.1; other releases of"),
        ("newest", '"newest" is not a MetalLB version (as "0.16.1", "0.15" or "auto")'),
    ],
)
def test_a_version_that_is_none_is_one_sentence(wanted: str, sentence: str) -> None:
    with pytest.raises(UserError) as error:
        versions.resolve(wanted)
    assert str(error.value).startswith(sentence)


def test_it_runs_where_the_manifests_or_the_topology_ask_for_it() -> None:
    small, l2 = load(TOPOLOGIES / "small.yaml"), load(TOPOLOGIES / "metallb-l2.yaml")
    pool = manifests.load(TOPOLOGIES / "metallb/l2.yaml")
    assert versions.choose(small, [], None) is None
    assert versions.choose(small, [], "0.15.2") is None
    assert str(versions.choose(small, pool, "0.15.2")) == "0.15.2"
    assert str(versions.choose(l2, [], None)) == "0.16.1"
    with pytest.raises(UserError):
        versions.choose(small, [], "0.1.0")


def test_speakers_run_where_the_topology_says() -> None:
    assert load(TOPOLOGIES / "metallb-l2.yaml").speakers() == WORKERS
    assert load(TOPOLOGIES / "small.yaml").speakers() == ("worker1", "worker2")


# -- election --------------------------------------------------------------------------------------------------------


def test_the_least_hash_leads() -> None:
    ranked = election.ranking(ADDRESS, WORKERS)
    digests = [hashlib.sha256(f"{node}#{ADDRESS}".encode()).hexdigest() for node in ranked]
    assert digests == sorted(digests)
    assert set(ranked) == set(WORKERS)
    assert election.leader(ADDRESS, reversed(WORKERS)) == ranked[0]
    assert election.leader(ADDRESS, ranked[1:]) == ranked[1]
    assert election.leader(ADDRESS, ()) is None


def test_a_known_election() -> None:
    """By `printf NODE#ADDRESS | sha256sum`: 0512…, 859f…, b814… for .200; 535d…, e8ab…, 1350… for .201."""
    assert election.ranking(ADDRESS, WORKERS) == ("worker1", "worker2", "worker3")
    assert election.ranking("192.168.130.201", WORKERS) == ("worker3", "worker1", "worker2")


def test_ipv6_is_hashed_as_go_writes_it() -> None:
    assert election.ranking("fd00:0130:0::00a0", WORKERS) == election.ranking("fd00:130::a0", WORKERS)


def test_members_by_a_speakers_log() -> None:
    def told(event: str, name: str) -> str:
        return f'{{"msg":"node event - forcing sync","node event":"{event}","node name":"{name}"}}'

    starting = '{"msg":"MetalLB speaker starting version 0.16.1 (no build information)"}'
    log = [starting, told("NodeJoin", "a"), told("NodeJoin", "b"), '{"msg":"other"}', told("NodeJoin", "c")]
    assert members("\n".join(log)) == {"a", "b", "c"}
    assert members("\n".join([*log, told("NodeLeave", "b"), told("NodeUpdate", "c")])) == {"a", "c"}
    assert members("\n".join([*log, starting, told("NodeJoin", "a")])) == {"a"}
    assert members("") == frozenset()


# -- what should be announced ----------------------------------------------------------------------------------------


def node(name: str, *, labels: dict[str, str] | None = None, cut_off: bool = False) -> dict[str, Any]:
    conditions = [{"type": "NetworkUnavailable", "status": "True" if cut_off else "False"}]
    return {"metadata": {"name": name, "labels": labels or {}}, "status": {"conditions": conditions}}


def service(*addresses: str, policy: str = "Cluster", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"type": "LoadBalancer", "externalTrafficPolicy": policy, **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": address} for address in addresses]}},
    }


def named(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def objects(**changes: Any) -> Objects:
    return Objects(
        **{
            "nodes": {name: node(name) for name in WORKERS},
            "speakers": frozenset(WORKERS),
            "services": [service(ADDRESS)],
            "backends": {"default/web": {"worker3"}},
            "pools": [named("servers", {"vlan": "servers"}, addresses=["192.168.130.200-192.168.130.239"])],
            "l2_advertisements": [named("all")],
            **changes,
        }
    )


def who(**changes: Any) -> str | None:
    found = owners(objects(**changes))
    return found[ADDRESS].node if ADDRESS in found else "not announced"


def test_the_first_in_line_owns_the_address() -> None:
    owner = owners(objects())[ADDRESS]
    assert (owner.announcer, owner.node, owner.candidates) == ("MetalLB", "worker1", ("worker2", "worker3"))
    assert owner.why == "first of 3 by sha256(node#address)"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"speakers": frozenset({"worker2", "worker3"})}, "worker2"),
        ({"nodes": {**{n: node(n) for n in WORKERS}, "worker1": node("worker1", labels={EXCLUDED: ""})}}, "worker2"),
        ({"nodes": {**{n: node(n) for n in WORKERS}, "worker1": node("worker1", cut_off=True)}}, "worker2"),
        ({"services": [service(ADDRESS, policy="Local")]}, "worker3"),
        ({"backends": {}}, None),
        ({"services": [service(ADDRESS, loadBalancerClass="io.cilium/bgp-control-plane")]}, "not announced"),
        ({"load_balancer_class": "mine"}, "not announced"),
        ({"load_balancer_class": "mine", "services": [service(ADDRESS, loadBalancerClass="mine")]}, "worker1"),
        ({"services": [service("192.168.130.240")]}, "not announced"),
        ({"pools": [named("servers", addresses=["192.168.130.192/27"])]}, "worker1"),
        ({"pools": [named("six", addresses=["fd00:130::/64"])]}, "not announced"),
        ({"l2_advertisements": []}, "not announced"),
        ({"l2_advertisements": [named("other", ipAddressPools=["other"])]}, "not announced"),
        ({"l2_advertisements": [named("named", ipAddressPools=["servers"])]}, "worker1"),
        (
            {"l2_advertisements": [named("by-label", ipAddressPoolSelectors=[{"matchLabels": {"vlan": "servers"}}])]},
            "worker1",
        ),
        ({"l2_advertisements": [named("some", serviceSelectors=[{"matchLabels": {"app": "else"}}])]}, "not announced"),
        (
            {
                "nodes": {n: node(n, labels={"kubernetes.io/hostname": n}) for n in WORKERS},
                "l2_advertisements": [
                    named("two", nodeSelectors=[{"matchLabels": {"kubernetes.io/hostname": n}}]) for n in WORKERS[1:]
                ],
            },
            "worker2",
        ),
    ],
)
def test_who_owns_it(changes: dict[str, Any], expected: str | None) -> None:
    assert who(**changes) == expected


def test_the_first_address_decides_for_all_of_a_service() -> None:
    pools = [named("both", addresses=["192.168.130.201/32", "fd00:130::/64"])]
    found = owners(objects(pools=pools, services=[service("192.168.130.201", "fd00:130::1")]))
    assert {address: owner.node for address, owner in found.items()} == {
        "192.168.130.201": "worker3",
        "fd00:130::1": "worker3",
    }


def test_bgp_of_the_speakers() -> None:
    peer = named("opnsense", peerAddress="192.168.130.1", nodeSelectors=[{"matchLabels": {"bgp": "yes"}}])
    nodes = {name: node(name, labels={"bgp": "yes"} if name != "worker3" else {}) for name in WORKERS}
    made = objects(nodes=nodes, bgp_peers=[peer], bgp_advertisements=[named("all", aggregationLength=24)])
    sessions = {Session("worker1", "192.168.130.1"), Session("worker2", "192.168.130.1")}
    prefix = ("192.168.130.1", "192.168.130.0/24")
    assert by_bgp(made) == Expected(frozenset(sessions), {prefix: frozenset({"worker1", "worker2"})})
    made.bgp_advertisements = [named("other", peers=["another"])]
    assert by_bgp(made).announcers == {}
    made.bgp_advertisements = [named("all")]
    made.services = [service(ADDRESS, policy="Local")]  # its backend is on a node without a session
    assert by_bgp(made).announcers == {}


# -- what it serves --------------------------------------------------------------------------------------------------

CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "bgppeers.metallb.io", "annotations": {"x": "y"}},
    "spec": {
        "group": "metallb.io",
        "names": {"kind": "BGPPeer", "plural": "bgppeers"},
        "conversion": {"strategy": "Webhook"},
        "versions": [
            {"name": "v1beta1", "served": True, "storage": False, "schema": {"openAPIV3Schema": {}}},
            {
                "name": "v1beta2",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "properties": {
                            "spec": {
                                "properties": {
                                    "peerAddress": {"type": "string"},
                                    "nodeSelectors": {
                                        "items": {
                                            "properties": {"matchLabels": {"additionalProperties": {"type": "string"}}}
                                        }
                                    },
                                }
                            }
                        }
                    }
                },
            },
        ],
    },
}


def test_without_webhooks_only_the_stored_version_is_for_users() -> None:
    made = crds.served(CRD)
    assert "conversion" not in made["spec"]
    assert made["metadata"] == {"name": "bgppeers.metallb.io"}
    assert list(crds.schemas([made])) == [("metallb.io/v1beta2", "BGPPeer")]
    assert "conversion" in CRD["spec"], "the CRD itself is left alone"


PEER = """\
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: opnsense}
spec:
  peerAddress: 192.168.130.1
  nodeSelectors:
    - matchLabels: {any: thing}
"""


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        (
            "peerAddress",
            "peerAdress",
            "m.yaml:5: unknown field spec.peerAdress of BGPPeer (metallb.io/v1beta2) in MetalLB 0.16.1 "
            '(did you mean "peerAddress"?)',
        ),
        (
            "matchLabels",
            "matchlabels",
            "m.yaml:7: unknown field spec.nodeSelectors[0].matchlabels of BGPPeer (metallb.io/v1beta2) in MetalLB "
            '0.16.1 (did you mean "matchLabels"?)',
        ),
        (
            "v1beta2",
            "v1beta1",
            "m.yaml:1: BGPPeer (metallb.io/v1beta1) is not served by MetalLB 0.16.1 in a lab (use metallb.io/v1beta2)",
        ),
        (
            "BGPPeer",
            "BGPPear",
            'm.yaml:2: BGPPear (metallb.io/v1beta2) is not served by MetalLB 0.16.1 in a lab (did you mean "BGPPeer"?)',
        ),
    ],
)
def test_what_it_does_not_serve_is_one_sentence_with_its_line(written: str, instead: str, message: str) -> None:
    schemas = crds.schemas([crds.served(CRD)])
    api.check(manifests.load_text(PEER, "m.yaml"), schemas, "0.16.1")
    with pytest.raises(UserError) as error:
        api.check(manifests.load_text(PEER.replace(written, instead), "m.yaml"), schemas, "0.16.1")
    assert str(error.value) == message


def test_a_manifest_gives_its_crds(tmp_path: Path) -> None:
    import json

    path = tmp_path / "metallb-native.yaml"
    frr = {**CRD, "spec": {**CRD["spec"], "group": "frrk8s.metallb.io"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "metallb-system"}}
    path.write_text("\n---\n".join(map(json.dumps, (namespace, CRD, frr))))
    assert [crd["metadata"]["name"] for crd in crds.of_manifest(path)] == ["bgppeers.metallb.io"]
    path.write_text(json.dumps(namespace))
    with pytest.raises(UserError, match=r"metallb-native\.yaml: has no CustomResourceDefinition of metallb\.io in it"):
        crds.of_manifest(path)


# -- gratuitous ARP --------------------------------------------------------------------------------------------------

#: As MetalLB sends it (facts/l2_and_lag.md 1.2): sender and target address alike, target hardware address all ones.
FRAME = bytes.fromhex("ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 c0a882c8 ffffffffffff c0a882c8")


def test_a_frame_is_read() -> None:
    frame = ArpFrame.parse(FRAME + bytes(18))  # padded to the least length of Ethernet
    assert frame == metallb_gratuitous("request", "02:00:00:00:00:01", ADDRESS)
    assert frame is not None
    assert frame.gratuitous
    reply = ArpFrame.parse(FRAME.replace(bytes.fromhex("06040001"), bytes.fromhex("06040002")))
    assert reply is not None
    assert reply.operation == "reply"
    asking = ArpFrame.parse(FRAME[:-4] + bytes.fromhex("c0a88201"))
    assert asking is not None
    assert not asking.gratuitous


@pytest.mark.parametrize(
    "frame", [b"", FRAME[:30], FRAME.replace(b"\x08\x06", b"\x08\x00"), FRAME[:20] + b"\0\3" + FRAME[22:]]
)
def test_another_frame_is_left_alone(frame: bytes) -> None:
    assert ArpFrame.parse(frame) is None
