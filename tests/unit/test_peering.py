"""One peering, rendered for every generation of Cilium's BGP API."""

from collections.abc import Callable
from typing import Any

import pytest

from harness import manifests
from harness.cilium import api
from harness.cilium.peering import (
    EVERY_SERVICE,
    Communities,
    Generation,
    Instance,
    Peer,
    Peering,
    generations,
    md5_secret,
    render,
)
from harness.cilium.semver import parse
from harness.cilium.versions import KNOWN
from harness.errors import MissingCapability, UserError

WORKERS = {"matchLabels": {"io.cilium/bgp": "worker"}}
GUIDE = Peering(
    name="guide",
    nodes=WORKERS,
    instances=(
        Instance(
            local_asn=64513,
            services=EVERY_SERVICE,
            peers=(
                Peer(
                    name="opnsense",
                    address="192.168.130.1",
                    asn=64512,
                    multihop_ttl=10,
                    connect_retry_time=120,
                    hold_time=90,
                    keepalive_time=30,
                    restart_time=120,
                ),
            ),
        ),
    ),
)


def one(peer: Peer | None = None, **instance: Any) -> Peering:
    return Peering(
        instances=(Instance(local_asn=64513, peers=(peer or Peer(address="10.0.0.1", asn=64512),), **instance),)
    )


def by_kind(objects: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for each in objects:
        kinds.setdefault(each["kind"], []).append(each)
    return kinds


def test_the_guides_policy_comes_out_as_the_guide_wrote_it() -> None:
    (policy,) = render(GUIDE, parse("1.14.19"))
    assert policy == {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": "guide"},
        "spec": {
            "nodeSelector": WORKERS,
            "virtualRouters": [
                {
                    "localASN": 64513,
                    "exportPodCIDR": False,
                    "serviceSelector": EVERY_SERVICE,
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


@pytest.mark.parametrize(("version", "api_version"), [("1.17.0", "cilium.io/v2alpha1"), ("1.20.2", "cilium.io/v2")])
def test_the_guides_policy_as_three_objects(version: str, api_version: str) -> None:
    objects = render(GUIDE, parse(version))
    assert {each["apiVersion"] for each in objects} == {api_version}
    kinds = by_kind(objects)
    (config,) = kinds["CiliumBGPClusterConfig"]
    name = "guide-main-opnsense"
    peer = {"name": "opnsense", "peerAddress": "192.168.130.1", "peerASN": 64512, "peerConfigRef": {"name": name}}
    assert config["spec"] == {
        "nodeSelector": WORKERS,
        "bgpInstances": [{"name": "main", "localASN": 64513, "peers": [peer]}],
    }
    (peer_config,) = kinds["CiliumBGPPeerConfig"]
    assert peer_config["metadata"]["name"] == name
    selector = {"matchLabels": {"advertise": name}}
    assert peer_config["spec"] == {
        "ebgpMultihop": 10,
        "timers": {"connectRetryTimeSeconds": 120, "holdTimeSeconds": 90, "keepAliveTimeSeconds": 30},
        "gracefulRestart": {"enabled": True, "restartTimeSeconds": 120},
        "families": [
            {"afi": "ipv4", "safi": "unicast", "advertisements": selector},
            {"afi": "ipv6", "safi": "unicast", "advertisements": selector},
        ],
    }
    (advertisement,) = kinds["CiliumBGPAdvertisement"]
    assert advertisement["metadata"]["labels"] == selector["matchLabels"]
    assert advertisement["spec"] == {
        "advertisements": [
            {
                "advertisementType": "Service",
                "service": {"addresses": ["LoadBalancerIP"]},
                "selector": EVERY_SERVICE,
            }
        ]
    }


def test_each_version_has_its_generations() -> None:
    policy, v2alpha1, v2 = Generation.POLICY, Generation.V2ALPHA1, Generation.V2
    expected = {(1, 14): (policy,), (1, 15): (policy,), (1, 16): (v2alpha1, policy), (1, 17): (v2alpha1, policy)}
    expected |= {(1, 18): (v2, v2alpha1, policy), (1, 19): (v2, v2alpha1), (1, 20): (v2, v2alpha1)}
    assert {version.line: generations(version) for version in KNOWN} == expected


def test_every_version_serves_what_is_rendered_for_it() -> None:
    everything = Peer(
        address="fd00::1",
        asn=0,
        port=1179,
        multihop_ttl=255,
        connect_retry_time=1,
        hold_time=3,
        keepalive_time=1,
        restart_time=4095,
        auth_secret="bgp",
        families=("ipv6",),
        communities=Communities(standard=("64512:1",), well_known=("no-export",), large=("64512:1:2",)),
        local_preference=200,
    )
    peering = one(everything, services={}, addresses=("LoadBalancerIP", "ClusterIP"), pod_cidr=True)
    for version in KNOWN:
        for generation in generations(version):
            plain = render(GUIDE, version, generation)
            api.check(manifests.load_objects(plain), version)
            if version.line >= (1, 16):
                api.check(manifests.load_objects(render(peering, version, generation)), version)


def test_attributes_and_families_go_to_the_peer_they_are_of() -> None:
    peer = Peer(
        address="fd00::1",
        asn=64512,
        families=("ipv6",),
        communities=Communities(standard=("64512:1",)),
        local_preference=0,
        auth_secret="bgp",
        port=1179,
    )
    peering = one(peer, services={}, pod_cidr=True)
    (policy,) = render(peering, parse("1.18.0"), Generation.POLICY)
    (router,) = policy["spec"]["virtualRouters"]
    attributes = {"communities": {"standard": ["64512:1"]}, "localPreference": 0}
    assert router["exportPodCIDR"] is True
    assert router["serviceSelector"] == {}
    assert router["neighbors"] == [
        {
            "peerAddress": "fd00::1/128",
            "peerASN": 64512,
            "peerPort": 1179,
            "authSecretRef": "bgp",
            "families": [{"afi": "ipv6", "safi": "unicast"}],
            "advertisedPathAttributes": [{"selectorType": "CiliumLoadBalancerIPPool", **attributes}],
        }
    ]
    kinds = by_kind(render(peering, parse("1.18.0")))
    assert kinds["CiliumBGPPeerConfig"][0]["spec"] == {
        "authSecretRef": "bgp",
        "transport": {"peerPort": 1179},
        "families": [
            {"afi": "ipv6", "safi": "unicast", "advertisements": {"matchLabels": {"advertise": "lblab-main-router"}}}
        ],
    }
    assert kinds["CiliumBGPAdvertisement"][0]["spec"]["advertisements"] == [
        {
            "advertisementType": "Service",
            "service": {"addresses": ["LoadBalancerIP"]},
            "selector": {},
            "attributes": attributes,
        },
        {"advertisementType": "PodCIDR", "attributes": attributes},
    ]


def test_without_a_service_selector_nothing_is_announced() -> None:
    (policy,) = render(one(), parse("1.15.19"))
    assert "serviceSelector" not in policy["spec"]["virtualRouters"][0]
    assert "CiliumBGPAdvertisement" not in by_kind(render(one(), parse("1.20.2")))


def test_two_instances_keep_their_peers_apart() -> None:
    instances = tuple(
        Instance(name=name, local_asn=asn, services={}, peers=(Peer(address=address, asn=64512),))
        for name, asn, address in (("a", 64513, "10.0.0.1"), ("b", 64514, "10.0.0.2"))
    )
    kinds = by_kind(render(Peering(instances=instances), parse("1.20.2")))
    assert [each["metadata"]["name"] for each in kinds["CiliumBGPPeerConfig"]] == ["lblab-a-router", "lblab-b-router"]
    assert [each["localASN"] for each in kinds["CiliumBGPClusterConfig"][0]["spec"]["bgpInstances"]] == [64513, 64514]
    (policy,) = render(Peering(instances=instances), parse("1.18.0"), Generation.POLICY)
    assert [each["localASN"] for each in policy["spec"]["virtualRouters"]] == [64513, 64514]


def test_a_local_port_is_where_each_version_wants_it() -> None:
    peering = one(local_port=1179)
    for version in ("1.18.0", "1.20.2"):
        (config,) = by_kind(render(peering, parse(version)))["CiliumBGPClusterConfig"]
        assert config["spec"]["bgpInstances"][0]["localPort"] == 1179
    kinds = by_kind(render(peering, parse("1.16.0"), nodes=["worker1", "worker2"]))
    assert "localPort" not in kinds["CiliumBGPClusterConfig"][0]["spec"]["bgpInstances"][0]
    assert [(each["metadata"]["name"], each["spec"]) for each in kinds["CiliumBGPNodeConfigOverride"]] == [
        (node, {"bgpInstances": [{"name": "main", "localPort": 1179}]}) for node in ("worker1", "worker2")
    ]
    with pytest.raises(UserError, match=r"a local port in Cilium 1\.16\.0 needs the nodes' names"):
        render(peering, parse("1.16.0"))
    with pytest.raises(MissingCapability) as error:
        render(peering, parse("1.15.19"))
    assert str(error.value) == (
        "a CiliumBGPPeeringPolicy has no local port "
        "(annotate the nodes with cilium.io/bgp-virtual-router.64513: local-port=1179)"
    )


@pytest.mark.parametrize(
    ("peering", "version", "generation", "missing"),
    [
        (one(Peer(address="10.0.0.1", asn=1, auth_secret="s")), "1.14.19", None, "neighbors[0].authSecretRef"),
        (one(Peer(address="10.0.0.1", asn=1, families=("ipv4",))), "1.14.19", None, "neighbors[0].families"),
        (one(Peer(address="10.0.0.1", asn=1, local_preference=1)), "1.14.19", None, "advertisedPathAttributes"),
        (one(services={}, addresses=("ClusterIP",)), "1.15.19", None, "serviceAdvertisements"),
        (
            one(Peer(address="10.0.0.1", asn=1, communities=Communities(well_known=("no-export",)))),
            "1.15.19",
            None,
            "communities.wellKnown",
        ),
    ],
)
def test_what_a_version_cannot_do_is_a_missing_capability(
    peering: Peering, version: str, generation: Generation | None, missing: str
) -> None:
    with pytest.raises(MissingCapability) as error:
        render(peering, parse(version), generation)
    assert missing in error.value.message
    assert error.value.message.endswith(f"not by {version}")


@pytest.mark.parametrize(
    ("version", "generation", "message"),
    [
        (
            "1.20.2",
            Generation.POLICY,
            "CiliumBGPPeeringPolicy (cilium.io/v2alpha1) is served by Cilium 1.12 to 1.18, not by 1.20.2 "
            "(use CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement, cilium.io/v2)",
        ),
        (
            "1.17.0",
            Generation.V2,
            "CiliumBGPPeerConfig (cilium.io/v2) is served by Cilium 1.18 and later, not by 1.17.0 "
            "(use cilium.io/v2alpha1)",
        ),
        (
            "1.15.19",
            Generation.V2ALPHA1,
            "CiliumBGPPeerConfig (cilium.io/v2alpha1) is served by Cilium 1.16 and later, not by 1.15.19 "
            "(use CiliumBGPPeeringPolicy, cilium.io/v2alpha1)",
        ),
    ],
)
def test_a_generation_that_is_not_served_is_told(version: str, generation: Generation, message: str) -> None:
    with pytest.raises(MissingCapability) as error:
        render(GUIDE, parse(version), generation)
    assert str(error.value) == message


def test_a_version_before_bgp_is_told() -> None:
    with pytest.raises(MissingCapability, match=r"Cilium 1\.11\.0 has no BGP API that lblab knows"):
        render(GUIDE, parse("1.11.0"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Peer(address="10.0.0.1", asn=1, hold_time=9),
            "peer router: keepalive time 30 s is longer than hold time 9 s",
        ),
        (lambda: Peer(address="10.0.0.1", asn=1, hold_time=2), "hold time 2 is not between 3 and 65535"),
        (lambda: Peer(address="10.0.0.1", asn=1, restart_time=4096), "restart time 4096 is not between 1 and 4095"),
        (lambda: Peer(address="10.0.0.1", asn=1, multihop_ttl=0), "multihop TTL 0 is not between 1 and 255"),
        (lambda: Peer(address="10.0.0.1", asn=-1), "peer ASN -1 is not between 0 and 4294967295"),
        (lambda: Peer(address="10.0.0.1/32", asn=1), 'peer router: "10.0.0.1/32" is not an IP address'),
        (
            lambda: Peer(address="10.0.0.1", asn=1, families=()),
            "peer router: without an address family nothing is announced",
        ),
        (lambda: Instance(local_asn=0, peers=()), "local ASN 0 is not between 1 and 4294967295"),
        (lambda: Instance(local_asn=1, peers=()), "instance main needs peers with different names, it has []"),
        (
            lambda: Peering(instances=one().instances * 2),
            "peering lblab needs instances with different names, it has ['main', 'main']",
        ),
    ],
)
def test_a_peering_that_cannot_be_is_told(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert str(error.value) == message


def test_the_password_is_where_cilium_looks_for_it() -> None:
    assert md5_secret("bgp", "secret") == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bgp", "namespace": "kube-system"},
        "stringData": {"password": "secret"},
    }
