"""Cilium's L2 announcements without a lab: when they are on, who should answer, what the timeline says of a lease."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness import manifests, topology
from harness.backends.base import Stamp
from harness.cilium import expected_l2, l2
from harness.cilium.expected_l2 import Objects, owners
from harness.cilium.semver import parse
from harness.errors import MissingCapability, UserError
from harness.faults import ApiServerFiltered
from harness.lab import Lab
from harness.owner import Owner
from harness.timeline import event
from harness.timeline.kubernetes import ObjectWatch
from harness.timeline.stamp import Stamp as EventStamp
from harness.topology import Topology

ROOT = Path(__file__).parents[2]
FILE = ROOT / "topologies" / "cilium-l2.yaml"
POLICY = ROOT / "topologies" / "cilium-l2" / "policy.yaml"
SERVICES = ROOT / "topologies" / "cilium-l2" / "services.yaml"
LEASE = "cilium-l2announce-default-web"
NEWEST = parse("1.20.2")


def load(tmp_path: Path, old: str = "", new: str = "") -> Topology:
    text = FILE.read_text()
    assert old in text
    shutil.copytree(FILE.with_suffix(""), tmp_path / "cilium-l2", dirs_exist_ok=True)
    (tmp_path / "t.yaml").write_text(text.replace(old, new) if old else text)
    return topology.load(tmp_path / "t.yaml")


# -- when --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("enabled", "files", "on"),
    [
        ("", [POLICY, SERVICES], True),
        ("", [SERVICES], False),
        ("enabled: true", [SERVICES], True),
        ("enabled: false", [POLICY], False),
    ],
)
def test_a_policy_switches_them_on_unless_the_topology_says_otherwise(
    tmp_path: Path, enabled: str, files: list[Path], on: bool
) -> None:
    loaded = load(tmp_path, "    leaseDuration: 15s\n", f"    leaseDuration: 15s\n    {enabled}\n")
    decided, told = l2.decided(loaded, [one for file in files for one in manifests.load(file)], NEWEST)
    assert decided.cilium.l2announcements.enabled is on
    assert told == []
    assert ("--enable-l2-announcements=true" in l2.agent_options(decided.cilium)) is on


def test_a_policy_that_nobody_would_act_on_is_refused() -> None:
    without = cast(Lab, SimpleNamespace(announces_by_l2=False))
    with pytest.raises(UserError, match=r"policy\.yaml:2: .* were started without L2 announcements"):
        Lab._check_l2(without, manifests.load(POLICY))
    Lab._check_l2(without, manifests.load(SERVICES))
    Lab._check_l2(cast(Lab, SimpleNamespace(announces_by_l2=True)), manifests.load(POLICY))


def test_before_1_16_is_a_missing_capability_only_where_they_are_wanted(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    with pytest.raises(MissingCapability, match=r"from 1\.16 on, not at 1\.15\.19"):
        l2.decided(loaded, manifests.load(POLICY), parse("1.15.19"))
    decided, _ = l2.decided(loaded, manifests.load(SERVICES), parse("1.15.19"))
    assert not decided.cilium.l2announcements.enabled


def test_agents_get_ciliums_own_options(tmp_path: Path) -> None:
    old = "    leaseRetryPeriod: 2s\n"
    loaded = load(tmp_path, old, "    leaseRetryPeriod: 500ms\n  k8sClientRateLimit: {qps: 5, burst: 10}\n")
    decided, _ = l2.decided(loaded, manifests.load(POLICY), NEWEST)
    assert l2.agent_options(decided.cilium) == (
        "--k8s-client-qps=5",
        "--k8s-client-burst=10",
        "--enable-l2-announcements=true",
        "--l2-announcements-lease-duration=15s",
        "--l2-announcements-renew-deadline=5s",
        "--l2-announcements-retry-period=0.5s",
    )


def test_quick_timers_cut_down_and_say_so(tmp_path: Path) -> None:
    decided, told = l2.decided(load(tmp_path), manifests.load(POLICY), NEWEST, quick=True)
    assert decided.cilium.l2announcements.lease_duration == l2.QUICK.lease_duration
    assert told == ["L2 announcements: lease 15 -> 6 s, renew 5 -> 2 s, retry 2 -> 0.8 s"]
    shorter = load(tmp_path, "leaseRetryPeriod: 2s", "leaseRetryPeriod: 0.25")
    decided, told = l2.decided(shorter, manifests.load(POLICY), NEWEST, quick=True)
    assert decided.cilium.l2announcements.lease_retry_period == 0.25, "a shorter one stays"
    assert l2.decided(load(tmp_path), manifests.load(SERVICES), NEWEST, quick=True)[1] == [], "nobody uses them"


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("leaseDuration: 15s", "leaseDuration: 5s", 32, "leaseDuration is more than leaseRenewDeadline"),
        ("leaseRetryPeriod: 2s", "leaseRetryPeriod: 4500ms", 32, "more than 1.2 times leaseRetryPeriod"),
        ("leaseDuration: 15s", "leaseDuration: soon", 33, "leaseDuration"),
        ("leaseDuration: 15s", "leaseDurations: 15s", 33, 'unknown field "leaseDurations"'),
    ],
)
def test_timers_that_cannot_be_are_one_sentence(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, old, new)
    assert message in str(caught.value)
    assert f"t.yaml:{line}" in str(caught.value), str(caught.value)


# -- who ---------------------------------------------------------------------------------------------------------------


def service(**changes: Any) -> dict[str, Any]:
    spec = {"type": "LoadBalancer", **changes}
    ingress = [{"ip": "192.168.130.192"}, {"ip": "fd00::1"}]
    metadata = {"name": "web", "namespace": "default", "labels": {"app": "web"}}
    return {"metadata": metadata, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}


def policy(**changes: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"loadBalancerIPs": True, **changes}}


def decide(holder: str | None, *policies: Any, of: Any = None, **changes: Any) -> dict[str, Owner]:
    nodes = {"worker1": {"rack": "a"}, "worker2": {"rack": "a"}, "worker3": {"rack": "b"}}
    objects = Objects(nodes, [of or service()], policies=policies, holders={LEASE: holder}, **changes)
    return owners(objects)


def test_the_holder_answers_and_the_others_are_next() -> None:
    assert decide("worker2", policy()) == {
        "192.168.130.192": Owner("192.168.130.192", "Cilium L2", "worker2", ("worker1", "worker3"), f"holds {LEASE}")
    }


def test_nobody_holds_it() -> None:
    (owner,) = decide(None, policy(nodeSelector={"matchLabels": {"rack": "a"}})).values()
    assert (owner.node, owner.candidates) == (None, ("worker1", "worker2"))
    assert owner.why == f"nobody of worker1, worker2 holds {LEASE}"


def test_a_holder_that_may_not_announce_any_more_does_not_count() -> None:
    (owner,) = decide("worker3", policy(nodeSelector={"matchLabels": {"rack": "a"}})).values()
    assert owner.node is None


@pytest.mark.parametrize(
    "changed",
    [
        {"loadBalancerIPs": False},
        {"serviceSelector": {"matchLabels": {"app": "other"}}},
        {"serviceSelector": {"matchLabels": {"io.kubernetes.service.namespace": "other"}}},
        {"interfaces": ["^bond"]},
    ],
)
def test_what_a_policy_does_not_select(changed: dict[str, Any]) -> None:
    assert decide("worker1", policy(**changed)) == {}


def test_classes_and_external_addresses() -> None:
    assert decide("worker1", policy(), of=service(loadBalancerClass="io.cilium/l2-announcer"))
    assert decide("worker1", policy(), of=service(loadBalancerClass="io.cilium/bgp-control-plane")) == {}
    outside = service(externalIPs=["192.168.130.250"])
    assert set(decide("worker1", policy(loadBalancerIPs=False, externalIPs=True), of=outside)) == {"192.168.130.250"}


def test_policy_local_counts_from_1_20_on() -> None:
    local = service(externalTrafficPolicy="Local")
    backends = {"default/web": {"worker3"}}
    (new,) = decide("worker1", policy(), of=local, backends=backends).values()
    assert (new.node, new.candidates) == (None, ("worker3",))
    (old,) = decide("worker1", policy(), of=local, backends=backends, line=(1, 19)).values()
    assert old.node == "worker1"
    assert expected_l2.LOCAL_SINCE == (1, 20)


# -- what is seen and done -------------------------------------------------------------------------------------------


def lease(holder: str, transitions: int = 0, name: str = LEASE) -> dict[str, Any]:
    metadata = {"uid": name, "name": name, "namespace": "kube-system"}
    return {"metadata": metadata, "spec": {"holderIdentity": holder, "leaseTransitions": transitions}}


def test_a_lease_tells_when_its_holder_changes_and_not_when_it_is_renewed() -> None:
    watch, stamp = ObjectWatch("Lease"), EventStamp(1, 1)
    assert list(watch.seen(lease("worker1"), stamp)) == []
    assert list(watch.list_ends(stamp)) == []
    renewed = lease("worker1")
    renewed["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    assert list(watch.seen(renewed, stamp)) == []
    told = [*watch.seen(lease("", 0), stamp), *watch.seen(lease("worker2", 1), stamp), *watch.gone(LEASE, stamp)]
    assert [one.text for one in told] == [
        f"Lease kube-system/{LEASE} is released by worker1",
        f"Lease kube-system/{LEASE} is held by worker2",
        f"Lease kube-system/{LEASE} is deleted",
    ]
    assert all(one.kind == event.LEASE for one in told)
    assert told[1].data == {"name": f"kube-system/{LEASE}", "holder": "worker2", "transitions": 1}
    assert list(watch.seen(lease("worker2", name="kube-scheduler"), stamp)) == [], "no lease of Cilium's announcer"


def test_the_api_server_is_filtered_both_ways_in_the_node(tmp_path: Path) -> None:
    rules: list[tuple[str, str, str | None]] = []

    def set_filter(host: str, name: str, text: str | None) -> Stamp:
        rules.append((host, name, text))
        return Stamp(1, 1, "noted")

    backend = SimpleNamespace(folder=tmp_path, set_filter=set_filter)
    lab = SimpleNamespace(backend=backend, topology=load(tmp_path), node=lambda name: name, faults=[])
    with ApiServerFiltered("worker1").inject(cast(Lab, lab)):
        ((host, name, text),) = rules
        assert (host, name) == ("worker1", "api")
        assert text is not None
        assert "hook output priority -400; ip daddr 192.168.130.150 tcp dport 6443 drop" in text
        assert "hook prerouting priority -400; ip saddr 192.168.130.150 tcp sport 6443 drop" in text
    assert rules[1] == ("worker1", "api", None)


def test_two_announcers_of_one_address_both_answer() -> None:
    first = Owner("10.0.0.1", "MetalLB", "worker1", ("worker2",), "first of 2")
    second = Owner("10.0.0.1", "Cilium L2", "worker2", ("worker1",), "holds it")
    both = first.beside(second)
    assert both.node == "worker1"
    assert both.nodes == {"worker1", "worker2"}
    assert both.candidates == ("worker2",)
    assert both.announcer == "MetalLB and Cilium L2"
    assert both.why == "first of 2; worker2 holds it"
    assert first.beside(Owner("10.0.0.1", "Cilium L2", None, (), "nobody holds it")).nodes == {"worker1"}
    assert first.nodes == {"worker1"}
