"""Which Cilium serves which manifests, and the sentence when none does."""

from pathlib import Path

import pytest

from harness import manifests, topology
from harness.cilium import api, tabulate
from harness.cilium.semver import Version, parse
from harness.cilium.versions import KNOWN, Choice, choices, resolve, select
from harness.errors import UserError
from harness.manifests import Manifest

ROOT = Path(__file__).parents[2]
POLICY = """\
apiVersion: cilium.io/v2alpha1
kind: CiliumBGPPeeringPolicy
metadata: {name: p}
spec:
  virtualRouters:
    - localASN: 64513
      neighbors:
        - {peerAddress: 192.168.130.1/32, peerASN: 64512}
"""
CLUSTER = """\
apiVersion: cilium.io/v2
kind: CiliumBGPClusterConfig
metadata: {name: c}
spec:
  nodeSelector: {matchLabels: {anything: goes, below: here}}
  bgpInstances:
    - name: i
      localASN: 64513
      peers: [{name: r, peerASN: 64512, peerAddress: 192.168.130.1}]
"""
INTERFACE = """\
apiVersion: cilium.io/v2
kind: CiliumBGPAdvertisement
metadata: {name: a}
spec:
  advertisements:
    - advertisementType: Interface
      interface: {name: eth0}
"""
POOL = """\
apiVersion: cilium.io/v2alpha1
kind: CiliumLoadBalancerIPPool
metadata: {name: pool}
spec:
  blocks:
    - cidr: 10.0.0.0/24
"""


def written(*texts: str, file: str = "m.yaml") -> list[Manifest]:
    return manifests.load_text("---\n".join(texts), file)


def complaint(text: str, version: str) -> str:
    with pytest.raises(UserError) as error:
        api.check(written(text), parse(version))
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "version"), [("1.20.2", Version(1, 20, 2)), ("v1.18.0-pre.2", Version(1, 18, 0, "pre.2"))]
)
def test_versions_are_read_and_written(text: str, version: Version) -> None:
    assert parse(text) == version
    assert str(version) == text.removeprefix("v")


def test_versions_are_ordered_as_released() -> None:
    texts = ["1.9.9", "1.18.0-snapshot.1", "1.18.0-pre.2", "1.18.0-pre.10", "1.18.0-rc.0", "1.18.0", "1.18.1", "1.19.0"]
    assert sorted(map(parse, reversed(texts))) == [parse(text) for text in texts]


@pytest.mark.parametrize("text", ["", "latest", "1.18.x", "1", "1.18.0-beta.1", "1.18.0 1.19.0"])
def test_what_is_no_version_is_told(text: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(text)
    assert str(error.value) == f'"{text}" is not a Cilium version (as "1.20.2", "1.18" or "auto")'


@pytest.mark.parametrize(
    ("wanted", "version"), [("1.20.2", "1.20.2"), ("v1.20.0", "1.20.0"), ("1.15", "1.15.19"), ("1.18.7", "1.18.7")]
)
def test_a_version_is_made_exact(wanted: str, version: str) -> None:
    assert str(resolve(wanted)) == version


@pytest.mark.parametrize("wanted", ["1.13.18", "1.21", "v2.0.0"])
def test_an_unknown_minor_is_told_with_the_known_ones(wanted: str) -> None:
    with pytest.raises(UserError) as error:
        resolve(wanted)
    assert str(error.value) == (
        f"Cilium {wanted.removeprefix('v')} is not a version that lblab knows (tried: 1.14.19, 1.15.1, 1.15.19, "
        "1.16.0, 1.17.0, 1.18.0, 1.19.4, 1.20.1, 1.20.2; other releases of 1.14 to 1.20 are taken too)"
    )


@pytest.mark.parametrize(
    ("texts", "version"),
    [
        ([], "1.20.2"),
        (["apiVersion: v1\nkind: Service\n"], "1.20.2"),
        ([POLICY], "1.18.0"),
        ([POLICY, CLUSTER], "1.18.0"),
        ([CLUSTER], "1.20.2"),
        ([POLICY, POOL.replace("blocks", "cidrs")], "1.15.19"),
        ([CLUSTER.replace("io/v2", "io/v2alpha1")], "1.20.2"),
    ],
)
def test_auto_is_the_newest_that_serves_everything(texts: list[str], version: str) -> None:
    assert str(resolve("auto", [Choice.of(written(text)) for text in texts])) == version
    assert str(resolve("auto", [Choice.of(written(*texts))])) == version


def test_auto_names_two_that_no_version_serves_together() -> None:
    with pytest.raises(UserError) as error:
        resolve("auto", [Choice.of(written(POOL, POLICY)), Choice.of(written(INTERFACE, file="other.yaml"))])
    assert str(error.value) == (
        "m.yaml:9: CiliumBGPPeeringPolicy/p (cilium.io/v2alpha1) and CiliumBGPAdvertisement/a (cilium.io/v2) are "
        "served by no Cilium version together (CiliumBGPPeeringPolicy/p needs Cilium 1.14 to 1.18, "
        "CiliumBGPAdvertisement/a (other.yaml:2) needs Cilium 1.19 to 1.20)"
    )


def test_auto_tells_what_no_version_serves() -> None:
    with pytest.raises(UserError) as error:
        resolve("auto", [Choice.of(written(CLUSTER, POOL.replace("PPool", "PPol")))])
    assert str(error.value) == (
        "m.yaml:12: CiliumLoadBalancerIPPol (cilium.io/v2alpha1) is served by no Cilium version that lblab knows "
        '(did you mean "CiliumLoadBalancerIPPool"?)'
    )


def test_the_first_served_alternative_is_taken() -> None:
    new, old = tuple(written(CLUSTER)), tuple(written(POLICY, file="old.yaml"))
    both = Choice((new, old))
    assert select([both], parse("1.18.0")) == [*new]
    assert select([both, Choice.of(written(POOL))], parse("1.15.19"))[0] == old[0]
    assert resolve("auto", [both]) == KNOWN[-1]
    with pytest.raises(UserError) as error:
        select([Choice((new, tuple(written(INTERFACE, file="old.yaml"))))], parse("1.17.0"))
    assert str(error.value) == (
        "none of m.yaml, old.yaml is served by Cilium 1.17.0 (old.yaml:2: CiliumBGPAdvertisement (cilium.io/v2) is "
        "served by Cilium 1.18 and later, not by 1.17.0 (use cilium.io/v2alpha1))"
    )


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        (
            POLICY,
            "1.20.2",
            "m.yaml:2: CiliumBGPPeeringPolicy (cilium.io/v2alpha1) is served by Cilium 1.12 to 1.18, not by 1.20.2 "
            "(use CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement, cilium.io/v2)",
        ),
        (
            CLUSTER,
            "1.17.0",
            "m.yaml:2: CiliumBGPClusterConfig (cilium.io/v2) is served by Cilium 1.18 and later, not by 1.17.0 "
            "(use cilium.io/v2alpha1)",
        ),
        (
            CLUSTER.replace("io/v2", "io/v2alpha1"),
            "1.15.19",
            "m.yaml:2: CiliumBGPClusterConfig (cilium.io/v2alpha1) is served by Cilium 1.16 and later, not by 1.15.19 "
            "(use CiliumBGPPeeringPolicy, cilium.io/v2alpha1)",
        ),
        (
            POLICY.replace("v2alpha1", "v2"),
            "1.18.0",
            "m.yaml:1: CiliumBGPPeeringPolicy (cilium.io/v2) is served by no Cilium version that lblab knows "
            "(cilium.io/v2alpha1 is: Cilium 1.12 to 1.18)",
        ),
        (
            "apiVersion: cilium.io/v2\nkind: Wrong\n",
            "1.18.0",
            "m.yaml:2: Wrong (cilium.io/v2) is served by no Cilium version that lblab knows",
        ),
        (
            POOL.replace("blocks", "cidrs"),
            "1.16.0",
            "m.yaml:5: spec.cidrs of CiliumLoadBalancerIPPool (cilium.io/v2alpha1) is served by Cilium 1.13 to 1.15, "
            "not by 1.16.0 (use spec.blocks)",
        ),
        (
            POOL,
            "1.14.19",
            "m.yaml:5: spec.blocks of CiliumLoadBalancerIPPool (cilium.io/v2alpha1) is served by Cilium 1.15 and "
            "later, not by 1.14.19 (use spec.cidrs)",
        ),
        (
            POLICY.replace("peerASN", "authSecretRef: x, peerASN"),
            "1.14.19",
            "m.yaml:8: spec.virtualRouters[0].neighbors[0].authSecretRef of CiliumBGPPeeringPolicy "
            "(cilium.io/v2alpha1) is served by Cilium 1.15 to 1.18, not by 1.14.19",
        ),
        (
            CLUSTER.replace("peerAddress", "peerAdress"),
            "1.20.2",
            "m.yaml:9: unknown field spec.bgpInstances[0].peers[0].peerAdress of CiliumBGPClusterConfig (cilium.io/v2) "
            '(did you mean "peerAddress"?)',
        ),
        (
            CLUSTER.replace("nodeSelector", "wibble"),
            "1.20.2",
            "m.yaml:5: unknown field spec.wibble of CiliumBGPClusterConfig (cilium.io/v2) "
            "(known fields: bgpInstances, nodeSelector)",
        ),
        (
            CLUSTER.replace("io/v2", "io/v2alpha1").replace("peerAddress: 192.168.130.1", "autoDiscovery: {}"),
            "1.18.0",
            "m.yaml:9: spec.bgpInstances[0].peers[0].autoDiscovery of CiliumBGPClusterConfig (cilium.io/v2alpha1) is "
            "served by no Cilium version (cilium.io/v2 has it: Cilium 1.18 and later)",
        ),
        (
            CLUSTER.replace("io/v2", "io/v2alpha1").replace("localASN: 64513", "localPort: 179"),
            "1.17.0",
            "m.yaml:8: spec.bgpInstances[0].localPort of CiliumBGPClusterConfig (cilium.io/v2alpha1) is served by "
            "Cilium 1.18 and later, not by 1.17.0 (use localPort of a CiliumBGPNodeConfigOverride)",
        ),
    ],
)
def test_what_a_version_does_not_serve_is_one_sentence(text: str, version: str, message: str) -> None:
    assert complaint(text, version) == message


def test_other_groups_and_odd_shapes_are_the_api_servers_matter() -> None:
    for text in (
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nspec: {peerAddress: 10.0.0.1}\n",
        "apiVersion: cilium.io/v2\nkind: CiliumBGPClusterConfig\nspec: nothing\n",
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {whatever: 1}\n",
    ):
        api.check(written(text), parse("1.20.2"))


def test_every_known_version_is_in_the_table() -> None:
    lines = {parse(release).line for release in tabulate.RELEASES}
    assert {version.line for version in KNOWN} <= lines
    newest = max(lines)
    assert all(span.last is None or span.last < newest for span in (one.span for one in api.table().values()))


def test_the_table_is_rendered_by_minor_and_what_comes_back_is_refused() -> None:
    kind = ("cilium.io/v2", "CiliumThing", "")
    field = ("cilium.io/v2", "CiliumThing", "spec.a")
    text = tabulate.render({"1.1.0": {kind}, "1.2.0": {kind, field}, "1.3.0": {kind}})
    assert text.endswith(
        "tabulated: [1.1.0, 1.2.0, 1.3.0]\nkinds:\n  cilium.io/v2:\n    CiliumThing:\n      served: 1.1-\n"
        "      fields:\n        1.2-1.2:\n          - spec.a\n"
    )
    with pytest.raises(SystemExit):
        tabulate.render({"1.1.0": {kind}, "1.2.0": set(), "1.3.0": {kind}})


@pytest.mark.parametrize(
    ("name", "oldest", "newest"),
    [
        ("blog", "1.14.19", "1.18.0"),
        ("blog-v2", "1.16.0", "1.20.2"),
        ("small", "1.14.19", "1.20.2"),
        ("two-routers", "1.14.19", "1.20.2"),
        ("dual-stack", "1.14.19", "1.20.2"),
        ("sixteen", "1.14.19", "1.20.2"),
    ],
)
def test_the_topologies_run_on_the_versions_they_name(name: str, oldest: str, newest: str) -> None:
    wanted = choices(topology.load(ROOT / f"topologies/{name}.yaml"))
    assert str(resolve("auto", wanted)) == newest
    for version in KNOWN:
        if parse(oldest) <= version <= parse(newest):
            assert len(select(wanted, version)) >= 3
        else:
            with pytest.raises(UserError):
                select(wanted, version)


def test_the_guides_policy_says_what_replaces_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError) as error:
        select(choices(topology.load("topologies/blog.yaml")), parse("1.20.2"))
    assert str(error.value) == (
        "topologies/blog/bgp.yaml:3: CiliumBGPPeeringPolicy (cilium.io/v2alpha1) is served by Cilium 1.12 to 1.18, "
        "not by 1.20.2 (use CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement, cilium.io/v2)"
    )
