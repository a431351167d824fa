"""From CiliumBGPPeeringPolicy to the API that followed it: the same sessions and routes, and what is said about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import manifests
from harness.cilium import api
from harness.cilium.expected import Objects, expected
from harness.cilium.migrate.document import Document, render
from harness.cilium.migrate.message import Weight
from harness.cilium.migrate.translate import Migration, migrate
from harness.cilium.peering import Communities, Generation, Instance, Peer, Peering
from harness.cilium.peering import render as render_peering
from harness.cilium.semver import parse
from harness.errors import UserError

ROOT = Path(__file__).parents[2]
WORKER = {"io.cilium/bgp": "worker"}
NODES = {"worker1": {**WORKER, "rack": "a"}, "worker2": {**WORKER, "rack": "b"}, "other": {}}
POLICIES = [*sorted(ROOT.glob("topologies/*/bgp-policy.yaml")), ROOT / "topologies/blog/bgp.yaml"]
TARGETS = ("1.16.0", "1.17.0", "1.18.0", "1.19.4", "1.20.2")
BOTH_APIS = ("1.16.0", "1.17.0", "1.18.0")


def policy(*neighbors: Mapping[str, Any], name: str = "p", nodes: Any = None, **router: Any) -> dict[str, Any]:
    """A policy with one virtual router."""
    given = {"localASN": 64513, "serviceSelector": {}, **router}
    given["neighbors"] = [{"peerAddress": "10.0.0.1/32", "peerASN": 64512, **one} for one in neighbors or [{}]]
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": name},
        "spec": {"virtualRouters": [given], **({} if nodes is None else {"nodeSelector": nodes})},
    }


def translated(*objects: Mapping[str, Any], to: str = "1.18.0") -> Migration:
    return migrate(manifests.load_objects(objects), parse(to))


def new(done: Migration) -> list[dict[str, Any]]:
    return [document.object for documents in done.documents.values() for document in documents]


def of_kind(objects: Iterable[Mapping[str, Any]], kind: str) -> list[Any]:
    return [one for one in objects if one["kind"] == kind]


def only(done: Migration, kind: str) -> dict[str, Any]:
    [found] = of_kind(new(done), kind)
    return dict(found["spec"])


def said(done: Migration, weight: Weight) -> list[str]:
    return [message.text for message in done.messages if message.weight is weight]


def service(name: str, ip: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": ip}]}},
    }


SERVICES = [
    service("web", "192.168.142.1", app="web"),
    service("game", "192.168.142.2", app="game"),
    service("six", "fd00:142::1", app="web"),
    service("chosen", "192.168.142.3", address="bgp"),  # topologies/lag selects by this
]


def decided(objects: Iterable[Mapping[str, Any]]) -> Any:
    """What Cilium makes of objects, by the oracle that the labs' routers are held against."""
    objects = list(objects)
    return expected(
        Objects(
            nodes=NODES,
            services=SERVICES,
            policies=of_kind(objects, "CiliumBGPPeeringPolicy"),
            cluster_configs=of_kind(objects, "CiliumBGPClusterConfig"),
            peer_configs=of_kind(objects, "CiliumBGPPeerConfig"),
            advertisements=of_kind(objects, "CiliumBGPAdvertisement"),
        )
    )


# -- the same routes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("file", POLICIES, ids=lambda file: file.parent.name)
def test_every_policy_of_the_topologies_decides_the_same_afterwards(file: Path, to: str) -> None:
    old = manifests.load(file)
    done = migrate(old, parse(to))
    before = decided(one.object for one in old)
    assert before.sessions, "nothing to compare"
    assert before.announcers, "nothing to compare"
    assert decided(new(done)) == before
    assert done.complete
    api.check(manifests.load_objects(new(done)), parse(to))


SELECTORS: list[Any] = [
    None,
    {},
    {"matchLabels": {"app": "web"}},
    {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
    {"matchLabels": {"io.kubernetes.service.name": "game"}},
]


@pytest.mark.parametrize("services", SELECTORS)
@pytest.mark.parametrize("families", [None, ["ipv4"], ["ipv6"], ["ipv6", "ipv4"]])
@pytest.mark.parametrize("nodes", [None, {}, {"matchLabels": {"rack": "a"}}])
def test_selectors_and_families_decide_the_same_afterwards(services: Any, families: Any, nodes: Any) -> None:
    neighbor: dict[str, Any] = {}
    if families:
        neighbor["families"] = [{"afi": family, "safi": "unicast"} for family in families]
    old = policy(neighbor, {"peerAddress": "fd00::2/128"}, nodes=nodes, serviceSelector=services)
    if services is None:
        del old["spec"]["virtualRouters"][0]["serviceSelector"]
    assert decided([old]).sessions
    assert decided(new(translated(old))) == decided([old])


def test_the_oracle_sees_what_a_forgotten_selector_of_advertisements_costs() -> None:
    objects = new(translated(policy()))
    for family in of_kind(objects, "CiliumBGPPeerConfig")[0]["spec"]["families"]:
        del family["advertisements"]
    assert decided(objects).sessions
    assert not decided(objects).announcers


@pytest.mark.parametrize("to", BOTH_APIS)
def test_a_rendered_policy_becomes_what_would_have_been_rendered(to: str) -> None:
    peers = (
        Peer(name="a", address="10.0.0.1", asn=64512, port=1790, hold_time=9, keepalive_time=3, connect_retry_time=5),
        Peer(name="b", address="10.0.0.2", asn=64511, multihop_ttl=10, auth_secret="md5", restart_time=20),
        Peer(name="c", address="fd00::3", asn=1, families=("ipv6",), communities=Communities(standard=("65000:1",))),
    )
    wanted = Peering(instances=(Instance(local_asn=64513, peers=peers, services={}, pod_cidr=True),))
    version = parse(to)
    mine = new(translated(*render_peering(wanted, version, Generation.POLICY), to=to))
    theirs = render_peering(wanted, version)
    assert [config for _, config, _ in _resolved(mine)] == [config for _, config, _ in _resolved(theirs)]
    for (peer, _, advertised), (other, _, also) in zip(_resolved(mine), _resolved(theirs), strict=True):
        assert (peer["peerAddress"], peer["peerASN"]) == (other["peerAddress"], other["peerASN"])
        assert advertised[0]["selector"] == also[0]["selector"]
        assert {one["advertisementType"] for one in advertised} == {one["advertisementType"] for one in also}
        assert advertised[0].get("attributes") == also[0].get("attributes")


def _resolved(objects: Iterable[Mapping[str, Any]]) -> list[tuple[Any, Any, list[Any]]]:
    """Each peer with its config, without names, and with what its families' selectors find."""
    objects = list(objects)
    configs = {one["metadata"]["name"]: one["spec"] for one in of_kind(objects, "CiliumBGPPeerConfig")}
    adverts = {
        one["metadata"]["labels"]["advertise"]: one["spec"]["advertisements"]
        for one in of_kind(objects, "CiliumBGPAdvertisement")
    }
    found = []
    for peer in of_kind(objects, "CiliumBGPClusterConfig")[0]["spec"]["bgpInstances"][0]["peers"]:
        config = dict(configs[peer["peerConfigRef"]["name"]])
        families = config.pop("families")
        label = families[0]["advertisements"]["matchLabels"]["advertise"]
        found.append((peer, {**config, "families": [one["afi"] for one in families]}, adverts[label]))
    return found


# -- field by field ----------------------------------------------------------------------------------------------------


def test_a_neighbor_is_taken_apart_into_its_config() -> None:
    done = translated(
        policy(
            {
                "peerPort": 1790,
                "eBGPMultihopTTL": 10,
                "authSecretRef": "md5",
                "connectRetryTimeSeconds": 5,
                "holdTimeSeconds": 9,
                "keepAliveTimeSeconds": 3,
                "gracefulRestart": {"enabled": True, "restartTimeSeconds": 20},
                "families": [{"afi": "ipv4", "safi": "unicast"}],
            }
        )
    )
    assert only(done, "CiliumBGPPeerConfig") == {
        "transport": {"peerPort": 1790},
        "timers": {"connectRetryTimeSeconds": 5, "holdTimeSeconds": 9, "keepAliveTimeSeconds": 3},
        "authSecretRef": "md5",
        "gracefulRestart": {"enabled": True, "restartTimeSeconds": 20},
        "ebgpMultihop": 10,
        "families": [{"afi": "ipv4", "safi": "unicast", "advertisements": {"matchLabels": {"advertise": "p"}}}],
    }
    assert only(done, "CiliumBGPClusterConfig")["bgpInstances"] == [
        {
            "name": "instance-64513",
            "localASN": 64513,
            "peers": [
                {
                    "name": "peer-10-0-0-1",
                    "peerASN": 64512,
                    "peerAddress": "10.0.0.1",
                    "peerConfigRef": {"name": "p"},
                }
            ],
        }
    ]


@pytest.mark.parametrize(("to", "api_version"), [("1.16.0", "cilium.io/v2alpha1"), ("1.18.0", "cilium.io/v2")])
def test_the_newest_api_of_the_target_is_written(to: str, api_version: str) -> None:
    assert {one["apiVersion"] for one in new(translated(policy(), to=to))} == {api_version}


def test_no_families_means_both_and_is_said() -> None:
    done = translated(policy())
    families = only(done, "CiliumBGPPeerConfig")["families"]
    assert [family["afi"] for family in families] == ["ipv4", "ipv6"]
    assert any("names no families" in text for text in said(done, Weight.NOTE))


def test_what_is_not_given_keeps_the_defaults_of_both_apis() -> None:
    assert set(only(translated(policy()), "CiliumBGPPeerConfig")) == {"families"}


def test_neighbors_that_are_alike_share_a_config_and_others_have_their_own() -> None:
    done = translated(
        policy({}, {"peerAddress": "10.0.0.2/32"}, {"peerAddress": "10.0.0.3/32", "holdTimeSeconds": 180})
    )
    peers = only(done, "CiliumBGPClusterConfig")["bgpInstances"][0]["peers"]
    names = [peer["peerConfigRef"]["name"] for peer in peers]
    assert names == ["p-peer-10-0-0-1", "p-peer-10-0-0-1", "p-peer-10-0-0-3"]
    assert {one["metadata"]["name"] for one in of_kind(new(done), "CiliumBGPPeerConfig")} == set(names)


def test_each_virtual_router_is_an_instance_with_advertisements_of_its_own() -> None:
    two = policy()
    two["spec"]["virtualRouters"].append(
        {**two["spec"]["virtualRouters"][0], "localASN": 64514, "serviceSelector": {"matchLabels": {"app": "web"}}}
    )
    done = translated(two, to="1.16.0")
    instances = only(done, "CiliumBGPClusterConfig")["bgpInstances"]
    assert [one["name"] for one in instances] == ["instance-64513", "instance-64514"]
    assert {one["metadata"]["name"] for one in of_kind(new(done), "CiliumBGPAdvertisement")} == {"p-64513", "p-64514"}
    assert any("#34146" in text for text in said(done, Weight.WARNING))
    assert not any("#34146" in text for text in said(translated(two, to="1.18.0"), Weight.WARNING))


def test_labels_of_the_policy_go_to_the_cluster_config_only() -> None:
    labelled = policy()
    labelled["metadata"]["labels"] = {"advertise": "everything"}
    objects = new(translated(labelled))
    assert of_kind(objects, "CiliumBGPClusterConfig")[0]["metadata"]["labels"] == {"advertise": "everything"}
    assert of_kind(objects, "CiliumBGPAdvertisement")[0]["metadata"]["labels"] == {"advertise": "p"}


# -- what is announced -------------------------------------------------------------------------------------------------


def entries(done: Migration) -> list[Any]:
    return list(only(done, "CiliumBGPAdvertisement")["advertisements"])


def test_pod_cidrs_pools_and_kinds_of_addresses() -> None:
    pools = {"matchLabels": {"pool": "blue"}}
    done = translated(
        policy(exportPodCIDR=True, podIPPoolSelector=pools, serviceAdvertisements=["ClusterIP", "LoadBalancerIP"])
    )
    assert entries(done) == [
        {"advertisementType": "Service", "service": {"addresses": ["ClusterIP", "LoadBalancerIP"]}, "selector": {}},
        {"advertisementType": "PodCIDR"},
        {"advertisementType": "CiliumPodIPPool", "selector": pools},
    ]


def test_a_router_that_announces_nothing_has_no_advertisement_and_says_so() -> None:
    silent = policy()
    del silent["spec"]["virtualRouters"][0]["serviceSelector"]
    done = translated(silent)
    assert not of_kind(new(done), "CiliumBGPAdvertisement")
    assert all("advertisements" not in one for one in only(done, "CiliumBGPPeerConfig")["families"])
    assert any("announces nothing" in text for text in said(done, Weight.NOTE))


def attributes(kind: str, **more: Any) -> dict[str, Any]:
    return {"advertisedPathAttributes": [{"selectorType": kind, **more}]}


def test_attributes_of_pooled_addresses_do_not_reach_other_addresses() -> None:
    given = attributes("CiliumLoadBalancerIPPool", communities={"standard": ["65000:1"]}, localPreference=200)
    done = translated(policy(given, serviceAdvertisements=["LoadBalancerIP", "ExternalIP"]))
    pooled, other = entries(done)
    assert pooled["service"] == {"addresses": ["LoadBalancerIP"]}
    assert pooled["attributes"] == {"communities": {"standard": ["65000:1"]}, "localPreference": 200}
    assert other["service"] == {"addresses": ["ExternalIP"]}
    assert "attributes" not in other


def test_attributes_of_one_neighbor_do_not_reach_another() -> None:
    given = attributes("CiliumLoadBalancerIPPool", localPreference=200)
    done = translated(policy(given, {"peerAddress": "10.0.0.2/32"}))
    by_name = {one["metadata"]["name"]: one["spec"] for one in of_kind(new(done), "CiliumBGPAdvertisement")}
    assert "attributes" in by_name["p-peer-10-0-0-1"]["advertisements"][0]
    assert "attributes" not in by_name["p-peer-10-0-0-2"]["advertisements"][0]


@pytest.mark.parametrize(("kind", "what"), [("CiliumLoadBalancerIPPool", "pools"), ("PodCIDR", "nodes")])
def test_attributes_for_some_pools_or_nodes_have_no_counterpart(kind: str, what: str) -> None:
    given = attributes(kind, selector={"matchLabels": {"a": "b"}}, localPreference=200)
    done = translated(policy(given, exportPodCIDR=True))
    assert not done.complete
    assert any(what in text for text in said(done, Weight.LOSS))
    assert all("attributes" not in entry for entry in entries(done)), "better none than for every route"


def test_attributes_for_some_pools_of_pods_are_an_entry_of_their_own() -> None:
    given = attributes("CiliumPodIPPool", selector={"matchLabels": {"tier": "1"}}, localPreference=200)
    old = policy(given, podIPPoolSelector={"matchLabels": {"pool": "blue"}})
    _, every, some = entries(translated(old))
    assert every == {"advertisementType": "CiliumPodIPPool", "selector": {"matchLabels": {"pool": "blue"}}}
    assert some["selector"] == {"matchLabels": {"pool": "blue", "tier": "1"}}
    assert some["attributes"] == {"localPreference": 200}
    assert any("#35721" in text for text in said(translated(old, to="1.17.0"), Weight.WARNING))
    assert not any("#35721" in text for text in said(translated(old, to="1.18.0"), Weight.WARNING))


def test_attributes_of_what_is_not_announced_never_had_an_effect() -> None:
    done = translated(policy(attributes("PodCIDR", localPreference=200)))
    assert done.complete
    assert any("never had an effect" in text for text in said(done, Weight.NOTE))


# -- nodes -------------------------------------------------------------------------------------------------------------


def node(**annotations: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker1", "annotations": annotations}}


def test_a_nodes_annotation_becomes_an_override() -> None:
    done = translated(policy(), node(**{"cilium.io/bgp-virtual-router.64513": "router-id=10.0.0.9,local-port=179"}))
    [override] = of_kind(new(done), "CiliumBGPNodeConfigOverride")
    assert override["metadata"]["name"] == "worker1"
    wanted = {"name": "instance-64513", "routerID": "10.0.0.9", "localPort": 179}
    assert override["spec"]["bgpInstances"] == [wanted]
    assert not any("kubectl get nodes" in str(message) for message in done.messages)


def test_without_nodes_their_annotations_are_asked_for() -> None:
    assert any("kubectl get nodes" in str(message) for message in translated(policy()).messages)


def test_an_annotation_for_another_number_has_no_effect() -> None:
    done = translated(policy(), node(**{"cilium.io/bgp-virtual-router.65000": "local-port=179"}))
    assert not of_kind(new(done), "CiliumBGPNodeConfigOverride")
    assert any("65000" in text for text in said(done, Weight.NOTE))


@pytest.mark.parametrize("value", ["router-id=nine", "local-port=x", "listen=179"])
def test_an_annotation_that_cilium_would_not_read_is_an_error(value: str) -> None:
    with pytest.raises(UserError, match=r"bgp-virtual-router\.64513"):
        translated(policy(), node(**{"cilium.io/bgp-virtual-router.64513": value}))


# -- what is said, and where -------------------------------------------------------------------------------------------

WRITTEN = """\
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: p}
spec:
  virtualRouters:
    - localASN: 64513
      serviceSelector: {}
      neighbors:
        - peerAddress: 10.0.0.1/32
          peerASN: 64512
          holdTime: 9
"""


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    return file


def test_an_unknown_field_is_named_with_its_line_and_was_never_in_effect(tmp_path: Path) -> None:
    file = written(tmp_path, WRITTEN)
    done = migrate(manifests.load(file), parse("1.18.0"))
    [warning] = [message for message in done.messages if "holdTime" in message.text]
    assert (warning.file, warning.line) == (str(file), 11)
    assert "never had an effect" in warning.text
    assert "holdTimeSeconds" in str(warning.hint)
    assert "timers" not in only(done, "CiliumBGPPeerConfig")


@pytest.mark.parametrize(
    ("old", "wrong", "line", "sentence"),
    [
        ("10.0.0.1/32", "10.0.0.1", 9, "is a CIDR"),
        ("10.0.0.1/32", "10.0.0.300/32", 9, "10.0.0.300"),
        ("peerASN: 64512", "peerASN: many", 10, "peerASN"),
        ("localASN: 64513", "localASN: 0", 6, "no AS number"),
        ("holdTime: 9", "holdTimeSeconds: 9", 9, "30, the default, is longer than holdTimeSeconds 9"),
        ("holdTime: 9", "holdTimeSeconds: 1", 11, "greater than or equal to 3"),
        ("{name: p}", "{}", 3, "no metadata.name"),
    ],
)
def test_what_cilium_would_not_take_is_an_error_with_its_line(
    tmp_path: Path, old: str, wrong: str, line: int, sentence: str
) -> None:
    file = written(tmp_path, WRITTEN.replace(old, wrong))
    with pytest.raises(UserError, match=sentence) as caught:
        migrate(manifests.load(file), parse("1.18.0"))
    assert (caught.value.file, caught.value.line) == (str(file), line)


def test_two_virtual_routers_with_one_number_were_never_taken() -> None:
    twice = policy()
    twice["spec"]["virtualRouters"] *= 2
    with pytest.raises(UserError, match="two virtual routers have localASN 64513"):
        translated(twice)


def test_a_version_without_the_newer_api_is_refused() -> None:
    with pytest.raises(UserError, match=r"1\.15\.19 has no API but"):
        translated(policy(), to="1.15.19")


def test_no_policy_is_an_error() -> None:
    with pytest.raises(UserError, match="there is no CiliumBGPPeeringPolicy"):
        translated(node())


def test_policies_for_the_same_nodes_are_warned_of() -> None:
    done = translated(policy(name="one"), policy(name="two"))
    assert any(
        "selects nodes that CiliumBGPPeeringPolicy/one selects too" in text for text in said(done, Weight.WARNING)
    )
    apart = [policy(name=name, nodes={"matchLabels": {"rack": name}}) for name in ("a", "b")]
    assert not any("selects nodes" in text for text in said(translated(*apart), Weight.WARNING))


@pytest.mark.parametrize(("to", "warned"), [("1.19.3", True), ("1.19.4", False), ("1.18.0", False), ("1.20.2", False)])
def test_a_rolling_upgrade_without_rights_is_warned_of(to: str, warned: bool) -> None:
    assert any("#45829" in text for text in said(translated(policy(), to=to), Weight.WARNING)) is warned


@pytest.mark.parametrize(
    ("to", "graceful", "advice"),
    [
        ("1.18.0", True, "label one node after the other"),
        ("1.19.4", True, "delete it when all agents are upgraded"),
        ("1.19.4", False, "gracefulRestart is not enabled for every neighbor"),
    ],
)
def test_how_nodes_change_over_is_told(to: str, graceful: bool, advice: str) -> None:
    done = translated(policy({"gracefulRestart": {"enabled": graceful}}), to=to)
    [cease] = [message for message in done.messages if "Cease" in message.text]
    assert advice in str(cease.hint)


def test_any_as_number_is_known_from_1_17_on() -> None:
    anybody = policy({"peerASN": 0})
    assert not translated(anybody, to="1.16.0").complete
    assert translated(anybody, to="1.17.0").complete


def test_other_manifests_that_the_target_does_not_serve_are_named() -> None:
    pool = {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "pool"},
        "spec": {"cidrs": [{"cidr": "10.0.10.0/24"}]},
    }
    assert any("spec.cidrs" in text for text in said(translated(policy(), pool), Weight.WARNING))


# -- as YAML -----------------------------------------------------------------------------------------------------------


def test_the_yaml_says_what_it_replaces_and_reads_back_as_the_same_objects(tmp_path: Path) -> None:
    file = written(tmp_path, WRITTEN)
    done = migrate(manifests.load(file), parse("1.20.2"))
    text = render(done.documents["p"])
    assert f"{file}:2" in text.replace("\n# ", " ")
    assert "leave the CiliumBGPPeeringPolicy in place" in text.replace("\n# ", " ")
    assert "# was 10.0.0.1/32" in text
    assert [one.object for one in manifests.load_text(text)] == new(done)


def test_what_is_referred_to_comes_before_the_cluster_config() -> None:
    kinds = [one["kind"] for one in new(translated(policy()))]
    assert kinds == ["CiliumBGPAdvertisement", "CiliumBGPPeerConfig", "CiliumBGPClusterConfig"]


def test_remarks_stand_behind_their_fields() -> None:
    text = render([Document({"a": {"b": [{"c": 1, "d": 2}]}}, ("Heading.",), {("a", "b", 0, "d"): "why"})])
    assert text.startswith("# Heading.\n")
    assert "d: 2  # why" in text
